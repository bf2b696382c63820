"""A search among a user's own models, which a function builds from numbers."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from askew._config import read_toml
from askew.cli import app
from askew.tradeoffs import (
    Experiment,
    Metric,
    Range,
    Score,
    SearchBudget,
    Space,
    count_parameters,
    find,
    prepare_search,
)

INPUTS = 12
WIDTH = Range(low=1, high=9, step=1)
SPACE = Space(
    numbers={"model.left": WIDTH, "model.right": WIDTH},
    ties={"model.right": "model.left"},
    solved=("model.right",),
)
ERROR = Score(
    metric=Metric(name="error", label="error", better="lower", equivalence=0.01),
    function=lambda outputs, targets: (outputs - targets).square().mean(1),
)
BUDGET = SearchBudget(steps=180, candidates=12, finalists=1, seeds=5)


class Sides(nn.Module):
    """A map of two halves of the input: a side of width w can be of rank w at most."""

    def __init__(self, left, right):
        super().__init__()
        self.left, self.right = (
            nn.Sequential(nn.Linear(INPUTS, w, bias=False), nn.Linear(w, INPUTS, bias=False))
            for w in (left, right)
        )

    def forward(self, x):
        return self.left(x[:, :INPUTS]) + self.right(x[:, INPUTS:])


def build(left=5, right=5):
    if left == 4:
        raise ValueError("nobody has four")
    return Sides(left, right)


def adam(model, lr=0.02):
    return torch.optim.Adam(model.parameters(), lr=lr)


def points(items, seed, ranks):
    """Draw inputs, and targets for which the sides need widths of these ranks."""
    x = torch.randn(items, 2 * INPUTS, generator=torch.Generator().manual_seed(seed))
    y = torch.zeros(items, INPUTS)
    for half, rank in zip(x.split(INPUTS, 1), ranks, strict=True):
        y[:, :rank] += half[:, :rank]
    return x, y


def experiment(ranks=(9, 1), **changes):
    settings = {
        "name": "sides",
        "models": {"uneven": partial(build, left=6, right=4), "even": partial(build, right=5)},
        "train_data": points(256, 0, ranks),
        "valid_data": points(100, 1, ranks),
        "test_data": points(100, 2, ranks),
        "scores": (ERROR,),
        "loss": nn.functional.mse_loss,
        "optimizer": adam,
        "space": SPACE,
    }
    return Experiment(**settings | changes)


def search(out, task, jobs=1):
    return find(task, SPACE, task.arms, out=out, budget=BUDGET, jobs=jobs)


def test_a_planted_asymmetry_is_found_and_confirmed(tmp_path, request, device):
    if device == "cpu":  # else several processes share the device
        request.getfixturevalue("in_process")
    task = experiment(device=device)
    found = search(tmp_path / "out", task, jobs=3)
    best = {"left": 9, "right": 1}
    assert read_toml(tmp_path / "out" / "found.toml") == {"model": best}
    assert "(left 9, right 1) pays" in found.sentence
    verdict = next(v for v in found.comparison.verdicts if v.metric == "error")
    assert verdict.verdict == "pays"
    # The best equal widths, 5 and 5, lack four of nine ranks; each is an error of 1 / 12.
    assert verdict.difference == pytest.approx(4 / 12, abs=0.05)
    values = [c["values"] for c in found.candidates if not c["symmetric"]]
    assert all(v["model.left"] + v["model.right"] == 10 for v in values)
    assert 4 not in {v["model.left"] for v in values}  # nobody has four
    assert {c["parameters"] for c in found.candidates} == {240}
    stored = next((tmp_path / "out" / "confirmation" / "trials").glob("asym*-seed3")) / "model"
    model = task.load(stored)
    assert (model.left[0].out_features, model.right[0].out_features) == (9, 1)
    assert task.evaluate(model).metrics["error"] < 1e-3


@pytest.mark.slow
def test_symmetry_is_an_answer(tmp_path, in_process):
    found = search(tmp_path / "out", experiment(ranks=(5, 5)))
    assert "none was confirmed on 5 fresh seeds" in found.sentence
    assert not (tmp_path / "out" / "found.toml").exists()
    control = found.comparison.results["search"]["control"]
    values = {c["name"]: c["values"] for c in found.candidates}
    assert values[control] == {"model.left": 5, "model.right": 5}


def test_numbers_of_an_arm_are_the_keywords_of_its_function():
    uneven, even = experiment().arms
    assert uneven.config.model == {"left": 6, "right": 4}
    assert even.config.model == {"left": 5, "right": 5}
    assert uneven.config.build == even.config.build == "build"
    assert SPACE.values_of(uneven) == {"model.left": 6, "model.right": 4}
    assert not hasattr(experiment(space=None).arms[0].config, "model")


def test_a_model_is_built_from_the_numbers_of_its_config():
    task = experiment()
    config = replace(task.arms[0].config, model={"left": 2, "right": 3})
    assert task.parameters(config) == count_parameters(Sides(2, 3))
    assert count_parameters(task.build(config, 0)) == 24 * 5


def test_numbers_of_training_go_to_the_optimizer(tmp_path):
    rates = {"training.lr": Range(low=0.01, high=0.1)}
    space = Space(numbers=SPACE.numbers | rates, ties=SPACE.ties)
    task = experiment(space=space)
    settings = {"budget": BUDGET, "match": "nothing", "at_most": {}, "threads": 1}
    identity = prepare_search(task, space, task.arms, out=tmp_path / "out", **settings)
    assert identity["start"]["uneven"]["model"] == {"left": 6, "right": 4}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("numbers", "changes", "message"),
    [
        ({"model.lfet": WIDTH}, {}, "model.lfet must be a keyword of every model, with a number"),
        ({"training.rate": WIDTH}, {}, "training.rate must be a keyword of every training; got un"),
        ({"left": WIDTH}, {}, "must be model.NAME or training.NAME; got 'left'"),
        ({"model.left": WIDTH}, {"valid_data": None}, "a search needs valid_data; got none"),
    ],
)
def test_a_space_that_does_not_fit_is_refused(numbers, changes, message):
    with pytest.raises(ValueError, match=f"Experiment: .*{message}"):
        experiment(space=Space(numbers=numbers, fixed={"x": 1}), **changes)


def test_a_number_of_another_type_is_refused_before_any_work(tmp_path):
    space = Space(numbers={"model.left": Range(low=1, high=9)}, fixed={"model.left": 5})
    task = experiment(space=space)
    settings = {"budget": BUDGET, "match": "nothing", "at_most": {}, "threads": 1}
    with pytest.raises(ValueError, match=r"model\.left must be int; got model\.left \d\.\d"):
        prepare_search(task, space, task.arms, out=tmp_path / "out", **settings)
    with pytest.raises(ValueError, match=r"unknown key 'model\.lfet'; did you mean 'model\.left'"):
        prepare_search(
            task,
            Space(numbers={"model.lfet": WIDTH}, fixed={"model.lfet": 5}),
            task.arms,
            out=tmp_path / "out",
            **settings,
        )


OWN = """
from tradeoffs.test_find_experiment import experiment
made = experiment()
bare = experiment(space=None)
"""


def command(*words):
    return CliRunner().invoke(app, ["find", *map(str, words)])


def test_an_experiment_of_a_file_is_searched(tmp_path, in_process, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_sides.py").write_text(OWN)
    words = ["--steps", 60, "--candidates", 6, "--finalists", 1, "--seeds", 2, "--jobs", 1]
    words += ["--search", "model.left=3,4", "--match", "nothing", "--quiet", "--json"]
    done = command("own_sides.py:made", *words, "--out", "out")
    assert done.exit_code == 0, done.output
    candidates = json.loads(done.stdout)["search"]["candidates"]
    drawn = [c["values"]["model.left"] for c in candidates if c["origin"] != "given"]
    assert set(drawn) == {3}  # nobody has four
    assert Path("out/report.html").is_file()
    refused = command("own_sides.py:bare", *words, "--out", "other")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "an Experiment must have a space; got none" in refused.stderr
    absent = command("own_sides.py:absent", *words)
    assert "askew find experiment: own_sides.py:absent must be there to import" in absent.stderr
    assert not Path("other").exists()
