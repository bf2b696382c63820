import io
import json
import math
import sys
from pathlib import Path

import pytest
from report_pages import CHRF, LATENCY, page_of, printed, render
from rich.console import Console

from askew.tradeoffs import Row, judge_results, print_results, write_report
from askew.tradeoffs._report import chart_style
from askew.tradeoffs._report.language import LANGUAGES
from askew.tradeoffs._report.learning_curves import learning_charts
from askew.tradeoffs._report.quality_charts import quality_charts

HOSTILE = "<img src=x onerror=alert(1)> & 'co' [red]"
pytestmark = pytest.mark.usefixtures("short_script")


@pytest.fixture
def one_seed(results):
    empty = {"verdict": None, "low": None, "high": None, "equivalent": None}
    for entry in results["verdicts"]:
        entry |= empty | {"minimum_detectable": None, "reason": "1 seed; a verdict needs 5"}
    results["trials"] = [entry | {"curve": []} for entry in results["trials"][:2]]
    return results


def replace_name(results, old, new):
    return json.loads(json.dumps(results).replace(json.dumps(old), json.dumps(new)))


def test_page_shows_factors_differences_and_verdicts(results, tmp_path):
    page = render(results, tmp_path)
    assert "1.62× faster" in page.text
    assert "interval 1.55–1.70" in page.text
    assert "\N{MINUS SIGN}0.4 points" in page.text
    assert "? cannot tell ≈ equivalent" in page.text
    assert "✓ pays" in page.text
    assert page.text.index("cannot tell") < page.text.index("✓ pays"), "quality comes first"
    assert "Seeds for and against:" not in page.text, "where nothing is known of them"


@pytest.mark.parametrize(
    ("known", "sign"),
    [
        ({"seed_differences": [0.1, -0.2, 0.0, 0.3, 0.4]}, "3 : 1"),
        ({"seed_differences": [], "wins": 4}, "4 : 1"),
    ],
)
def test_seeds_for_and_against_are_counted(results, tmp_path, known, sign):
    results["verdicts"][1] |= known
    text = render(results, tmp_path).text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert f"Seeds for and against: {sign}." in text
    assert sign in printed(results, width=120).replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_an_interval_of_another_confidence_says_so(results, tmp_path):
    for entry in results["verdicts"]:
        entry["confidence"] = 0.975
    assert "97.5 % interval 1.55–1.70" in render(results, tmp_path).text
    assert "change (97.5" in printed(results)


def test_a_worse_ratio_turns_into_a_factor_above_one(results):
    results["verdicts"][0] |= {
        "verdict": "does not pay",
        "difference": -math.log(1.2),
        "low": -math.log(1.31),
        "high": -math.log(1.1),
    }
    assert "1.20× slower (1.10–1.31)" in printed(results, width=120)


@pytest.mark.parametrize(
    ("unit", "better", "value", "words"),
    [
        ("sentences/s", "higher", 0.5, "1.65× faster"),
        ("MB", "lower", -0.5, "1.65× larger"),
        ("", "higher", 0.5, "1.65× higher"),
        ("", "lower", -0.5, "1.65× higher"),
        ("ms", "lower", 0.001, "1.00× as fast"),
        ("ms", "lower", 3.0, "20.1× faster"),
    ],
)
def test_words_of_a_ratio_fit_its_unit(results, unit, better, value, words):
    results["metrics"][0] |= {"unit": unit, "better": better}
    results["verdicts"][0] |= {"difference": value, "low": None, "high": None}
    assert words in printed(results)


def test_a_narrow_interval_gets_another_decimal(results):
    results["verdicts"][0] |= {"difference": 0.005, "low": 0.002, "high": 0.008}
    assert "1.005× faster (1.002–1.008)" in printed(results, width=120)


def test_charts_show_every_seed_and_the_paired_differences(results, tmp_path):
    values, differences, tradeoff, steps, seconds, work = render(results, tmp_path).figures
    seeds = [trace["x"] for trace in values["data"] if len(trace["x"]) == 5]
    assert seeds == [list(CHRF["deep"]), list(CHRF["twin"])]
    expected = [a - b for a, b in zip(CHRF["deep"], CHRF["twin"], strict=True)]
    assert expected in [trace["x"] for trace in differences["data"]]
    assert [-0.9, 0.1] in [trace["x"] for trace in differences["data"]]
    band = differences["layout"]["shapes"][0]
    assert (band["x0"], band["x1"]) == (-1.0, 1.0)
    assert list(LATENCY["twin"]) in [trace["x"] for trace in tradeoff["data"]]
    assert len(steps["data"]) == len(seconds["data"]) == len(work["data"]) == 10 + 2
    assert steps["data"][0]["x"] == [10, 20, 40]
    assert seconds["data"][0]["x"] == [0.2, 0.4, 0.8]
    assert work["data"][0]["x"] == [1.2e11, 2.4e11, 4.8e11]
    assert steps["data"][-1]["y"] == [8.0, 4.0, 2.0], "the mean of an arm"


def test_ratios_of_lower_is_better_are_drawn_as_factors_to_the_right(results):
    [_, chart] = quality_charts(page_of(results), results["metrics"][0], LANGUAGES["en"])
    expected = [b / a for a, b in zip(LATENCY["deep"], LATENCY["twin"], strict=True)]
    shown = next(trace["x"] for trace in chart.figure["data"] if len(trace["x"]) == 5)
    assert shown == pytest.approx(expected, rel=1e-12)
    assert chart.figure["layout"]["xaxis"]["type"] == "log"


def test_training_loss_stands_in_where_no_other_was_recorded(results):
    for entry in results["trials"]:
        entry["curve"] = [{"step": 5, "train_seconds": 0.5, "train_loss": 2.0}]
    charts = learning_charts(page_of(results), LANGUAGES["en"])
    assert [name for name, _ in charts] == ["steps", "CPU time", "FLOP"]
    assert {chart.y_title for _, chart in charts} == {"training loss"}
    assert charts[0][1].figure["data"][0]["y"] == [2.0]


def test_curves_without_work_leave_that_axis_out(results):
    for entry in results["arms"]:
        del entry["costs"]["flops_per_step"]
    names = [name for name, _ in learning_charts(page_of(results), LANGUAGES["en"])]
    assert names == ["steps", "CPU time"]


def test_only_differing_settings_are_marked(results, tmp_path):
    page = render(results, tmp_path)
    assert sum(row.get("class") == "differs" for row in page.named("tr")) == 1
    assert "encoder.num_layers differs 4 3" in page.text
    assert "encoder.d_model 24 24" in page.text


def test_page_names_what_is_needed_to_repeat_it(results, tmp_path):
    text = render(results, tmp_path).text
    for words in ("askew compare translation", "nrefs:1", "2.13.0", "20,000 train", "5 seeds"):
        assert words in text


def test_page_loads_nothing_from_anywhere(results, tmp_path, monkeypatch):
    monkeypatch.undo()
    page = render(results, tmp_path)
    loads = [
        attributes[name]
        for _, attributes in page.tags
        for name in ("src", "href", "srcset", "action")
        if name in attributes
    ]
    assert loads
    assert all(load.startswith(("#", "data:")) for load in loads)
    outside_scripts = " ".join(str(attributes) for _, attributes in page.tags)
    assert "http://" not in outside_scripts
    assert "https://" not in outside_scripts
    policy = next(a["content"] for a in page.named("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    assert page.named("html") == [{"lang": "en"}]
    assert 4_000_000 < len(page.source.encode()) < 6_000_000, "plotly is inside, once"


def test_hostile_names_stay_words(results, tmp_path):
    results["metrics"][1]["label"] = results["summary"] = HOSTILE
    page = render(replace_name(results, "deep", HOSTILE + "</script>"), tmp_path)
    assert not page.named("img")
    assert len(page.named("script")) == 2
    assert HOSTILE in page.text
    drawn = json.dumps(page.figures)
    assert "&lt;img src=x" in drawn
    assert "<img" not in drawn


def test_charts_have_words_for_who_cannot_see_them(results, tmp_path):
    charts = [a for a in render(results, tmp_path).named("div") if a.get("class") == "plot"]
    assert len(charts) == 6
    assert all(chart["role"] == "img" for chart in charts)
    assert "deep: mean 93.12, from 92.60 to 93.50" in charts[0]["aria-label"]


def test_tuning_is_told(results, tmp_path):
    draws = [{"values": {"training.lr": 0.01}, "score": score} for score in (None, 0.75, 0.5)]
    results["tuning"] = {
        "deep": {"given": 0.7, "best": {"training.lr": 0.01}, "draws": draws},
        "twin": {"given": None, "best": None, "draws": draws[:1]},
    }
    text = render(results, tmp_path).text
    assert "deep 3 0.7000 0.7500 training.lr 0.01" in text
    assert "twin 1 – – as given" in text


def test_results_measured_elsewhere_have_no_costs_and_settings(tmp_path):
    values = {"new": [3.0, 4.0, 5.0, 4.0, 4.5], "old": [1.0, 2.0, 2.5, 2.0, 2.5]}
    rows = [
        Row(name, seed, "", metric, value + len(metric))
        for name, scores in values.items()
        for metric in ("f1", "recall")
        for seed, value in enumerate(scores)
    ]
    judged = judge_results(rows, baseline="old", name="table.csv").results
    page = render(judged, tmp_path, language="pt")
    assert "Nenhum custo foi medido" in page.text
    assert "Definições dos modelos" not in page.text
    assert "melhor em f1" in page.text
    assert "melhor em recall" in page.text
    assert "Custos" not in printed(judged, language="pt")


def test_one_seed_gives_a_page_without_a_verdict(one_seed, tmp_path):
    page = render(one_seed, tmp_path)
    assert page.text.count("no verdict 1 seed; a verdict needs 5.") == 2
    assert "No learning curve was recorded" in page.text
    assert "NaN" not in json.dumps(page.figures)
    assert "None" not in page.text


def test_empty_results_give_a_page(results, tmp_path):
    results |= {"verdicts": [], "trials": [], "metrics": [], "baselines": {}, "settings": {}}
    assert "nothing to judge yet" in render(results, tmp_path).text


def test_missing_measurements_are_dashes(results, tmp_path):
    for entry in results["trials"]:
        entry["metrics"]["latency_ms"] = None
    results["verdicts"].pop(0)
    page = render(results, tmp_path)
    assert "No cost was measured together with a quality" in page.text
    assert "latency, ms \N{EN DASH} \N{EN DASH}" in page.text


def test_tables_fit_eighty_columns(results):
    text = printed(results)
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "pays",
        "cannot tell",
        "equivalent",
        "1.62× faster",
        "nearest neighbour",
        "55.10",
    ):
        assert words in text
    assert text.startswith(results["summary"])
    assert "\x1b" not in text


def test_tables_of_one_seed_say_once_why_there_is_no_verdict(one_seed):
    text = printed(one_seed)
    assert text.count("no verdict") == 2
    assert text.count("chrF, latency: 1 seed; a verdict needs 5") == 1


def test_tables_print_markup_as_it_stands(results):
    text = printed(replace_name(results | {"summary": HOSTILE}, "deep", HOSTILE), width=200)
    assert text.count(HOSTILE) == 4, "summary, title of the verdicts, quality, costs"


def test_tables_reach_a_file_without_unicode(results):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_results(results, Console(file=file, width=80))
    file.flush()
    text = file.buffer.getvalue().decode("ascii")
    assert "1.62x faster" in text
    assert "(-0.9, +0.1)" in text


def test_a_failed_write_leaves_the_old_page(results, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(self, target):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write_report(results, path)
    assert path.read_text() == "old"
    write_report(results, path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("theme", [chart_style.LIGHT, chart_style.DARK])
def test_colours_can_be_read(theme):
    texts, shapes = ("ink", "muted", "good", "bad", "unsure"), ("join", *_arms(theme))
    for ground in ("paper", "card"):
        assert min(contrast(theme[name], theme[ground]) for name in texts) >= 4.5
        assert min(contrast(theme[name], theme[ground]) for name in shapes) >= 3.0


def test_marks_differ_for_twenty_arms():
    names = [f"arm {i}" for i in range(20)]
    assert len(set(chart_style.marks(names).values())) == 20


def test_other_versions_are_refused(results, tmp_path):
    with pytest.raises(ValueError, match=r"print_results: results must be of version 1; .* 2$"):
        printed(results | {"version": 2})
    with pytest.raises(ValueError, match=r"write_report: results must be of version 1; .* None$"):
        write_report({}, tmp_path / "report.html")


def test_incomplete_results_are_refused(results, tmp_path):
    del results["trials"], results["verdicts"]
    with pytest.raises(ValueError, match="must be complete; got none of trials, verdicts"):
        write_report(results, tmp_path / "report.html")


def test_a_missing_package_is_named(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"jinja2 must be installed; .*askew\[report\]"):
        write_report(results, tmp_path / "report.html")


def test_a_missing_folder_is_refused(results, tmp_path):
    with pytest.raises(ValueError, match=r"the folder must exist; got path .*nowhere"):
        write_report(results, tmp_path / "nowhere" / "report.html")


def _arms(theme):
    return [name for name in theme if name.startswith("arm-")]


def contrast(one, other):
    """The contrast ratio of the Web Content Accessibility Guidelines 2.1."""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
