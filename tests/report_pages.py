"""Results of a comparison as a report gets them, and the page as its reader does."""

import io
import json
import math
from html.parser import HTMLParser

from rich.console import Console

from askew.tradeoffs import print_results, write_report
from askew.tradeoffs._report.language import LANGUAGES
from askew.tradeoffs._report.results_view import checked, localised

CHRF = {"deep": (93.0, 93.5, 92.6, 93.2, 93.3), "twin": (93.4, 93.6, 93.1, 93.5, 94.0)}
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
