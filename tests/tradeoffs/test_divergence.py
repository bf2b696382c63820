"""A training that diverges is named as such, and costs no other arm its verdict."""

import csv
import io
import json
import math
from functools import partial

import pytest
import torch
from rich.console import Console
from rules import first_every_day
from torch import nn
from torch.nn import functional as F

from askew.tradeoffs import Experiment, Metric, Score, print_results, read_run, write_report

SEEDS = 5


def points(count, seed):
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def net(width):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))


class Breaking(torch.optim.SGD):
    """Leaves weights that are no numbers."""

    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.data.fill_(math.nan)


class Sometimes(nn.Module):
    """Diverges where its first weight is positive, which depends on the seed."""

    def __init__(self):
        super().__init__()
        self.inner = net(8)
        self.diverges = self.inner[0].weight[0, 0].item() > 0

    def forward(self, x):
        return self.inner(x) * (math.nan if self.diverges else 1.0)


def experiment(**changes):
    settings = {
        "name": "signs",
        "models": {"wide": partial(net, 32), "bad": Sometimes, "narrow": partial(net, 2)},
        "train_data": points(128, 0),
        "test_data": points(100, 1),
        "valid_data": points(60, 2),
        "batch_size": 32,
        "steps": 12,
    }
    return Experiment(**settings | changes)


@pytest.fixture
def comparison(tmp_path, in_process):
    return experiment().compare(out=tmp_path / "out", seeds=SEEDS)


def test_the_arm_gets_no_verdict_and_the_others_keep_theirs(comparison, tmp_path, in_process):
    lost = [t["seed"] for t in comparison.results["trials"] if "diverged" in t]
    assert 0 < len(lost) < SEEDS
    assert {t["arm"] for t in comparison.results["trials"] if "diverged" in t} == {"bad"}
    assert all("loss nan" in t.get("diverged", "loss nan") for t in comparison.results["trials"])
    verdicts = {(v.metric, v.challenger): v for v in comparison.verdicts}
    assert verdicts["accuracy", "wide"].verdict is not None
    for (_, challenger), verdict in verdicts.items():
        if challenger == "bad":
            assert (verdict.verdict, verdict.difference, verdict.seeds) == (
                None,
                None,
                SEEDS - len(lost),
            )
            assert verdict.reason.startswith("the training of bad diverged with seed")
            assert verdict.reason.endswith(", ".join(map(str, lost)))
    without = experiment(models={"wide": partial(net, 32), "narrow": partial(net, 2)})
    alone = without.compare(out=tmp_path / "alone", seeds=SEEDS)
    (expected,) = [v for v in alone.verdicts if v.metric == "accuracy"]
    found = verdicts["accuracy", "wide"]
    assert (found.difference, found.seed_differences) == (
        expected.difference,
        expected.seed_differences,
    )
    assert found.confidence > expected.confidence  # still shared by two challengers


def test_results_and_report_name_it_in_both_languages(comparison):
    folder, results = comparison.folder, comparison.results
    (folder / "again").mkdir()
    json.dumps(results, allow_nan=False)
    run = read_run(folder)
    words = {
        "en": ("the training of bad diverged with seed", "(diverged)"),
        "pt": ("o treino de bad divergiu com a", "(divergiu)"),
    }
    for language, (reason, mark) in words.items():
        page = folder / "again" / "report.html"
        write_report(run.results, page, items=run.items, language=language)
        text = page.read_text(encoding="utf-8")
        assert reason in text
        assert mark in text
        shown = io.StringIO()
        print_results(results, Console(file=shown, width=200), language=language)
        assert reason in shown.getvalue()
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert len(rows) == 3 * SEEDS
    assert any(row["accuracy"] == "" for row in rows if row["arm"] == "bad")
    assert experiment().compare(out=folder, seeds=SEEDS).results == results


def test_a_baseline_that_diverges_leaves_no_verdict(tmp_path, in_process):
    models = {"wide": partial(net, 32), "bad": Sometimes}
    comparison = experiment(models=models).compare(out=tmp_path / "out", seeds=SEEDS)
    assert {verdict.verdict for verdict in comparison.verdicts} == {None}
    write_report(
        comparison.results, tmp_path / "report.html", items=read_run(tmp_path / "out").items
    )


def test_an_arm_that_always_diverges_has_no_figures(tmp_path, in_process):
    losses = dict.fromkeys(("wide", "bad", "narrow"), F.cross_entropy)
    losses["bad"] = lambda output, target: output.sum() * math.nan
    comparison = experiment(loss=losses).compare(out=tmp_path / "out", seeds=SEEDS)
    _, bad, _ = comparison.results["arms"]
    assert bad["costs"]["latency_ms"] is None
    assert not (tmp_path / "out" / "trials" / "bad-seed0" / "model").exists()
    write_report(
        comparison.results, tmp_path / "report.html", items=read_run(tmp_path / "out").items
    )
    print_results(comparison.results, Console(file=io.StringIO()))


@pytest.mark.parametrize("value", first_every_day(math.nan, math.inf, 1e200, -1e200))
def test_a_score_that_cannot_be_judged_is_a_divergence(value, tmp_path, in_process):
    metric = Metric(name="sum", label="sum", equivalence=0)
    score = Score(
        metric=metric, function=lambda outputs, targets: torch.tensor(value, dtype=torch.float64)
    )
    with pytest.raises(FloatingPointError, match=r"compare: every training diverged, first .*sum "):
        experiment(scores=[score]).compare(out=tmp_path / "out", seeds=SEEDS)


def test_weights_that_break_in_the_last_step_are_a_divergence(tmp_path, in_process):
    made = experiment(
        optimizer=lambda model: Breaking(model.parameters()), steps=1, valid_data=None
    )
    with pytest.raises(FloatingPointError, match=r"every training diverged, first .*weights must"):
        made.compare(out=tmp_path / "out", seeds=[0, 1])
