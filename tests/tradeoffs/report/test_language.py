import re
from pathlib import Path
from string import Formatter

import pytest
from report_pages import printed, render

from askew.tradeoffs import Metric, Row, analyze, judge_results, summary_sentence, write_report
from askew.tradeoffs._report import language
from askew.tradeoffs._report.language import LANGUAGES, number, percent

pytestmark = pytest.mark.usefixtures("short_script")
HERE = Path(language.__file__).parent
ENGLISH, PORTUGUESE = (LANGUAGES[code].words for code in ("en", "pt"))
NARROW = "\N{NARROW NO-BREAK SPACE}"
ENGLISH_WORDS = [
    "the",
    "interval",
    "better",
    "worse",
    "higher",
    "lower",
    "cannot",
    "tell",
    "against",
    "every",
    "quality",
    "difference",
    "costs",
    "learning",
    "details",
    "mean",
    "setting",
    "versions",
    "made",
    "trade",
    "faster",
    "slower",
    "equivalent",
]


def places(text):
    return sorted(name for _, name, *_ in Formatter().parse(text) if name)


def faults(english, portuguese):
    """Keys that only one language has, and sentences whose places differ."""
    keys = set(english) ^ set(portuguese)
    both = set(english) & set(portuguese)
    return keys | {key for key in both if places(english[key]) != places(portuguese[key])}


def test_both_languages_say_the_same_things():
    assert not faults(ENGLISH, PORTUGUESE)
    assert faults(ENGLISH, {**PORTUGUESE, "mean": "{x}"}) == {"mean"}
    assert faults({**ENGLISH, "more": ""}, PORTUGUESE) == {"more"}
    same = {key for key in ENGLISH if ENGLISH[key] == PORTUGUESE[key]}
    assert same <= {"against_work", "item", "position"}, "every other word has a translation"


def test_every_key_is_said_and_every_said_key_exists():
    texts = [path.read_text("utf-8") for path in HERE.rglob("*.*") if path.suffix in (".py", ".j2")]
    said = set()
    for text in texts:
        said |= set(re.findall(r'"([\w ]+)"', text))
        said |= {f"{start}{end}" for start, end in computed(text)}
    assert not set(ENGLISH) - said
    direct = {key for text in texts for key in re.findall(r'say\["([\w ]+)"\]', text)}
    assert not direct - set(ENGLISH)


def computed(text):
    """Keys of which a part is put in: axis_{axis} and {better}_is_better."""
    yield from ((f"{a}_", b) for a in ("axis", "against") for b in ("steps", "seconds", "work"))
    yield from ((a, "_is_better") for a in ("higher", "lower"))


def test_the_page_speaks_portuguese_alone(results, tmp_path):
    results["metrics"][0]["label"] = "latency, batch 1"
    page = render(results, tmp_path, language="pt")
    assert page.named("html") == [{"lang": "pt"}]
    for words in (
        "1,62× mais rápido",
        "Intervalo de 95 %: 1,55–1,70",
        "✓ compensa",
        "? não se pode dizer ≈ equivalente",
        "20 000 treino",
        "latência, lote de 1, ms",
        "vizinho mais próximo",
        "igualados por parâmetros",
    ):
        assert words in page.text, words
    labels = [str(a.get("aria-label")) for _, a in page.tags]
    figures = str(page.figures)
    for text in (page.text, *labels, figures):
        english = set(re.findall(r"[a-z]+", text.lower())) & set(ENGLISH_WORDS)
        assert not english, english
    separators = {figure["layout"]["separators"] for figure in page.figures}
    assert separators == {f",{NARROW}"}


def test_the_tables_speak_portuguese(results):
    text = printed(results, width=120, language="pt")
    assert "1,62× mais rápido (1,55–1,70)" in text
    assert "não se pode dizer" in text
    assert "Com 5 sementes, deep contra twin" in text
    assert max(map(len, printed(results, language="pt").splitlines())) <= 80


def test_the_sentence_in_portuguese():
    rows = [
        Row(arm, seed, "", name, value + seed / 10)
        for (arm, name), values in {
            ("thin", "chrf"): [62, 63, 62, 64, 63],
            ("twin", "chrf"): [60] * 5,
            ("thin", "throughput"): [20, 21, 20, 22, 21],
            ("twin", "throughput"): [20, 20.5, 20, 21, 22],
            ("thin", "latency_ms"): [2, 2.1, 2.2, 2, 2],
            ("twin", "latency_ms"): [1, 1.1, 1.2, 1, 1],
        }.items()
        for seed, value in enumerate(values)
    ]
    metrics = [
        Metric(name="chrf", label="chrF", equivalence=1.0, unit="points"),
        Metric(name="throughput", label="throughput", scale="ratio", equivalence=0.05),
        Metric(name="latency_ms", label="latency", better="lower", scale="ratio", equivalence=0.05),
    ]
    said = summary_sentence(analyze(rows, baseline="twin", metrics=metrics), metrics, language="pt")
    assert said == (
        "Com 5 sementes, thin contra twin: melhor em chrF por 2,8 pontos (1,8 a 3,8, compensa); "
        "igual em débito dentro de um fator de 1,05 (0,963 a 1,048, equivalente); "
        "fator 1,80 em latência (1,67 a 1,95, não compensa)."
    )


@pytest.mark.parametrize("scale", ["difference", "ratio"])
def test_a_diverged_value_is_short_everywhere(scale, tmp_path):
    other = 1e-200 if scale == "ratio" else -1e200
    figures = {"new": [1e200, other, 2, 3, 4], "old": [1, 2, 3, 4, 5]}
    rows = [
        Row(arm, seed, "", "perplexity", value)
        for arm, values in figures.items()
        for seed, value in enumerate(values)
    ]
    metric = Metric(name="perplexity", label="perplexity", scale=scale, equivalence=0)
    judged = judge_results(rows, baseline="old", metrics=[metric])
    render(judged.results, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for text in (judged.results["summary"], printed(judged.results, width=200), page):
        assert {"difference": "8.78e+199", "ratio": "3.89e+175"}[scale] in text
        assert not re.search(r"(?<![\d.])\d{40}", text)


def test_refusals_in_portuguese_follow_the_ones_that_analyze_makes():
    rows = [Row(arm, seed, "", "f1", seed + len(arm)) for arm in ("a", "bb") for seed in range(2)]
    for kept, said in (
        (rows, "são precisas 5 sementes para um veredito; há 2"),
        (rows[::2], "são precisas 5 sementes para um veredito, 2 para um intervalo; há 1"),
    ):
        [verdict] = analyze(kept, baseline="bb")
        assert LANGUAGES["pt"].reason(verdict.reason) == said
        assert LANGUAGES["en"].reason(verdict.reason) == verdict.reason
        assert said in summary_sentence([verdict], [], language="pt")
    assert LANGUAGES["pt"].reason("something else") == "something else"


@pytest.mark.parametrize(
    ("value", "english", "portuguese"),
    [
        (1234567, "1,234,567", f"1{NARROW}234{NARROW}567"),
        (12345.6, "12,346", f"12{NARROW}346"),
        (2.5e9, "2.50 G", "2,50 G"),
        (-1.25e200, "−1.25e+200", "−1,25e+200"),
        (-0.5, "−0.5000", "−0,5000"),
        (0.0, "0", "0"),
        (None, "–", "–"),
    ],
)
def test_numbers_of_a_language(value, english, portuguese):
    assert number(LANGUAGES["en"], value) == english
    assert number(LANGUAGES["pt"], value) == portuguese


def test_percentages_and_names():
    assert percent(LANGUAGES["pt"], 0.975) == "97,5\N{NO-BREAK SPACE}%"
    assert LANGUAGES["pt"].name("generalisation gap of exact match") == (
        "diferença de generalização de correspondência exata"
    )
    assert LANGUAGES["en"].name("throughput") == "throughput"
    assert LANGUAGES["pt"].name("chrF") == "chrF"


def test_what_the_shipped_tasks_measure_has_portuguese_names():
    """Found in their source, since some of the tasks have to train before they tell."""
    folder = HERE.parents[1] / "tasks"
    texts = [path.read_text("utf-8") for path in folder.glob("*.py")]
    labels = {label for text in texts for label in re.findall(r'(?<![\w-])label="([^"]+)"', text)}
    for table in re.findall(r"^SPEEDS = \{(.*)\}$", "\n".join(texts), flags=re.MULTILINE):
        labels |= set(re.findall(r': "([^"]+)"', table))
    assert {"chrF", "exact match", "time per question"} <= labels
    names = {"BLEU", "F1", "chrF", "mAP", "macro-F1", "micro-F1", "recall@1"}
    assert not {label for label in labels - names if LANGUAGES["pt"].name(label) == label}


def test_other_languages_are_refused(results, tmp_path):
    with pytest.raises(ValueError, match=r"write_report: the language must be en or pt; got .*'x'"):
        write_report(results, tmp_path / "report.html", language="x")
    with pytest.raises(ValueError, match="summary_sentence: the language must be en or pt"):
        summary_sentence([], [], language="de")
