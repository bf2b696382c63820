"""Results of a comparison as a report gets them, and the page as its reader does."""

import io
import json
import math
import random
from html.parser import HTMLParser

from rich.console import Console

from askew.tasks._arms import sides_space
from askew.tradeoffs import Range, print_results, write_report
from askew.tradeoffs._report.language import LANGUAGES
from askew.tradeoffs._report.results_view import checked, localised
from askew.tradeoffs._running.importance import importances

CHRF = {"deep": (93.0, 93.5, 92.6, 93.2, 93.3), "twin": (93.4, 93.6, 93.1, 93.5, 94.0)}
RATES = {side: Range(low=5e-4, high=1e-2, log=True) for side in ("encoder", "decoder")}
LATENCY = {"deep": (10.0, 11.0, 10.5, 10.2, 10.8), "twin": (16.2, 17.9, 17.0, 16.5, 17.4)}


def metric(name, label, **changes):
    usual = {"better": "higher", "scale": "difference", "unit": "points", "equivalence": 1.0}
    return {"name": name, "label": label} | usual | changes


def verdict(name, word, difference, low, high, **changes):
    return {
        "metric": name,
        "challenger": "deep",
        "baseline": "twin",
        "verdict": word,
        "difference": difference,
        "low": low,
        "high": high,
        "equivalence": 1.0,
        "equivalent": False,
        "minimum_detectable": 0.7,
        "seeds": 5,
        "seed_differences": [],
        "reason": "",
    } | changes


def arm(name, layers):
    return {
        "name": name,
        "config": {"encoder": {"d_model": 24, "num_layers": layers, "d_key": None}},
        "costs": {"parameters": 1912345, "flops_per_step": 1.2e10, "latency_ms": None},
    }


def trial(name, seed):
    curve = [
        {"step": step, "train_seconds": step / 50, "valid_loss": 80.0 / step}
        for step in (10, 20, 40)
    ]
    metrics = {"chrf": CHRF[name][seed], "latency_ms": LATENCY[name][seed]}
    return {"arm": name, "seed": seed, "metrics": metrics, "train_seconds": 2.0, "curve": curve}


def example_results():
    """Two arms, five seeds, a quality and a cost."""
    latency = {"unit": "ms", "scale": "ratio", "better": "lower", "equivalence": 0.05}
    ends = [math.log(factor) for factor in (1.62, 1.55, 1.70)]
    return {
        "version": 1,
        "task": "translation",
        "summary": "deep decodes 1.62 times as fast.",
        "settings": {
            "data": {"name": "phrases", "train": 20000},
            "match": "parameters",
            "seeds": [0, 1, 2, 3, 4],
            "steps": {"deep": 1500, "twin": 1500},
            "signatures": {"chrf": "nrefs:1"},
            "command": "askew compare translation",
        },
        "versions": {"askew": "0.1.0", "torch": "2.13.0"},
        "metrics": [metric("latency_ms", "latency", **latency), metric("chrf", "chrF")],
        "arms": [arm("deep", 4), arm("twin", 3)],
        "baselines": {"nearest_neighbour": {"chrf": 55.1}},
        "trials": [trial(name, seed) for seed in range(5) for name in ("deep", "twin")],
        "verdicts": [
            verdict("latency_ms", "pays", *ends, equivalence=0.05, minimum_detectable=0.06),
            verdict("chrf", "cannot tell", -0.4, -0.9, 0.1, equivalent=True),
        ],
    }


def candidate(name, values, score, **changes):
    """A candidate that the first rung was the last one of."""
    usual = {
        "name": name,
        "symmetric": name.startswith("symmetric"),
        "origin": "random",
        "values": values,
        "parameters": 1_900_000,
        "latency_ms": 9.0 + len(values),
        "scores": [score],
        "quality": None,
        "train_seconds": 4.0,
        "curve": [],
    }
    return usual | changes


def search_results(candidates=60, *, noise=0.05):
    """A confirmed search whose scores follow from the depth of the decoder and one rate."""
    draw = random.Random(0)
    entries = []
    for number in range(candidates):
        family = ("asymmetric", "symmetric")[number % 2]
        values = {}
        for side in ("encoder", "decoder"):
            values[f"{side}.num_layers"] = draw.randint(1, 6)
            values[f"{side}.d_model"] = 32 * draw.randint(1, 8)
            values[f"{side}.num_heads"] = draw.choice((2, 4, 8))
            values[f"{side}.d_ff"] = 8 * draw.randint(2, 200)
            values[f"training.{side}.lr"] = 10 ** draw.uniform(-3.3, -2)
        if family == "symmetric":
            values = {n: values[n.replace("decoder", "encoder")] for n in values}
        rate = math.log10(values["training.encoder.lr"]) + 2.6
        score = -2 - 0.3 * abs(values["decoder.num_layers"] - 2) - rate**2
        sides = {
            side: 12 * values[f"{side}.num_layers"] * values[f"{side}.d_model"] ** 2
            for side in ("encoder", "decoder")
        }
        score += draw.gauss(0, noise)
        name = f"{family}-{number // 2 + 1}"
        entries.append(candidate(name, values, score, side_parameters=sides))
    for family in (False, True):
        of_family = [one for one in entries if one["symmetric"] == family]
        for rung, share in ((1, 3), (2, 9)):
            best = sorted(of_family, key=lambda one: -one["scores"][0])
            for one in best[: max(3, len(of_family) // share)]:
                one["scores"].append(one["scores"][0] + 0.3 * rung)
                one["quality"] = 90 + 2 * one["scores"][0] if rung == 2 else None
    fully = [one for one in entries if len(one["scores"]) == 3]
    best = {
        symmetric: max(
            (one for one in fully if one["symmetric"] == symmetric), key=lambda one: one["quality"]
        )["name"]
        for symmetric in (False, True)
    }
    space = sides_space(("encoder", "decoder"), 128, RATES)
    results = example_results()
    names = {"deep": best[False], "twin": best[True]}
    text = json.dumps({key: results[key] for key in ("arms", "trials", "verdicts")})
    for old, new in names.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    return (
        results
        | json.loads(text)
        | {
            "version": 2,
            "metrics": results["metrics"][::-1],
            "search": {
                "sentence": "none was confirmed.",
                "rungs": [60, 180, 540],
                "candidates": entries,
                "rank_correlations": [0.9, None],
                "promoted_one_in": [3, 3],
                "importances": {
                    family: importances(
                        space,
                        [
                            (one["values"], one["scores"][0])
                            for one in entries
                            if one["symmetric"] == (family == "symmetric")
                        ],
                        symmetric=family == "symmetric",
                    )
                    for family in ("asymmetric", "symmetric")
                },
                "fronts": {"asymmetric": [best[False]], "symmetric": [best[True]]},
                "finalists": [best[False]],
                "control": best[True],
                "train_seconds": 1200.0,
            },
        }
    )


class Page(HTMLParser):
    """Every tag with its attributes, the words outside scripts, and the figures of the charts."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words, self.open = [], [], ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())
        figures = (attributes.get("data-figure") for _, attributes in self.tags)
        self.figures = [json.loads(figure) for figure in figures if figure]

    def handle_starttag(self, tag, attrs):
        self.open = tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        if self.open not in ("script", "style"):
            self.words.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def render(results, folder, **settings):
    write_report(results, folder / "report.html", **settings)
    return Page(folder / "report.html")


def printed(results, width=80, **settings):
    console = Console(file=io.StringIO(), width=width)
    print_results(results, console, **settings)
    return console.file.getvalue()


def page_of(results):
    return localised(checked("test", results), LANGUAGES["en"])
