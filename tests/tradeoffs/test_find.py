import io
import itertools
import json
import math
import os
import re
import signal
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rules import first_every_day
from stub_task import StubTask, line_config

from askew._config import load_config, read_toml
from askew.tasks import search_folder
from askew.tradeoffs import (
    Arm,
    Choice,
    Cost,
    Evaluation,
    Found,
    Range,
    SearchBudget,
    SearchStatus,
    Space,
    Watcher,
    find,
    prepare_search,
    print_search,
    read_run,
    search_status,
    with_values,
    write_report,
)
from askew.tradeoffs._report.language import language_of
from askew.tradeoffs._report.search_section import search_section
from askew.tradeoffs._report.search_summary import shape_of
from askew.tradeoffs._running import candidate_costs
from askew.tradeoffs._running.importance import importances
from askew.tradeoffs._running.proposals import Offer, propose
from askew.tradeoffs._running.rungs import FIRST_SEARCH_SEED
from askew.tradeoffs._running.search_plan import rung_steps
from askew.transformer import EncoderDecoderConfig

DEPTH = Range(low=1, high=8, step=1)
SPACE = Space(
    numbers={"encoder.num_layers": DEPTH, "decoder.num_layers": DEPTH},
    ties={"decoder.num_layers": "encoder.num_layers"},
)
START = [Arm(name="given", config=line_config(2))]
BUDGET = SearchBudget(steps=180, candidates=24, finalists=2, seeds=5)


class Planted(StubTask):
    """A task whose best model is known: its quality is read off its depths, plus noise."""

    def build(self, config, seed):
        model = super().build(config, seed)
        model.config = config
        return model

    def quality(self, config, seed):
        noise = np.random.default_rng([seed, config.encoder.num_layers]).normal(0, 0.1)
        return self.truth(config.encoder.num_layers, config.decoder.num_layers) + noise

    @staticmethod
    def truth(encoder, decoder):
        return -abs(encoder - 2) - abs(decoder - 7)

    def train(self, model, *, steps, seed, folder, **_):
        done = int((folder / "done").read_text()) if (folder / "done").exists() else 0
        folder.mkdir(parents=True, exist_ok=True)
        self.note("train", folder.name, steps - done, seed)
        if os.environ.get("CRASH") == f"{folder.name}:{steps}":
            raise ValueError("crashed on purpose")
        killed = Path(os.environ["NOTES"] + "-killed")
        if os.environ.get("KILL") == f"{folder.name}:{steps}" and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / "done").write_text(str(steps))
        model.seed = torch.nn.Parameter(torch.tensor(float(seed)), requires_grad=False)
        depths = [model.config.encoder.num_layers, model.config.decoder.num_layers]
        model.depths = torch.nn.Parameter(torch.tensor(depths).float(), requires_grad=False)
        loss = {"loss": 1.0, "eval_loss": 2.0}
        return [{"step": s, "train_seconds": s / 8, **loss} for s in range(1, steps + 1)]

    def validate(self, model):
        return self.quality(model.config, int(model.seed))

    def validation_quality(self, model, *, items):
        self.note("quality", "", items, int(model.seed))
        return self.quality(model.config, int(model.seed))

    def evaluate(self, model):
        self.note("test", "", 0, int(model.seed))
        value = self.quality(model.config, int(model.seed))
        items = np.random.default_rng(0).normal(0, 0.01, 20)
        items = value + items - items.mean()
        return Evaluation({"fit": value, "sign": 1.0}, {"fit": items.tolist(), "sign": [1.0] * 20})

    def load(self, folder):
        return torch.nn.Linear(2, 1)

    def note(self, *what):
        with open(os.environ["NOTES"], "a") as file:
            file.write(json.dumps(what) + "\n")


class Even(Planted):
    """A task in which equal depths are best."""

    @staticmethod
    def truth(encoder, decoder):
        return -abs(encoder - 4) - abs(decoder - 4)


@pytest.fixture
def notes(tmp_path, in_process, monkeypatch):
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setattr(
        candidate_costs,
        "latencies",
        lambda task, *configs, rounds: [c.encoder.num_layers for c in configs],
    )
    (tmp_path / "notes").touch()
    return lambda: [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]


def search(out, task=None, **changes):
    settings = {"out": out, "budget": BUDGET, "match": "nothing"}
    return find(task or Planted(), SPACE, START, **settings | changes)


def test_a_planted_asymmetry_is_found_and_confirmed(notes, tmp_path):
    found = search(tmp_path / "out")
    assert isinstance(found, Found)
    best = next(c for c in found.candidates if c["name"] == found.finalists[0])
    lost = -Planted.truth(*best["values"].values())
    assert lost <= 1  # one of the five best of 64; proposals differ between versions of Optuna
    assert found.sentence.startswith("Of 20 candidates tried in ")
    assert f"{found.finalists[0]} " in found.sentence
    assert "pays" in found.sentence
    control = next(
        c for c in found.candidates if c["name"] == found.comparison.results["search"]["control"]
    )
    assert control["symmetric"]
    # The best of the eight symmetric shapes, (2, 2) to (7, 7), all lose 5.
    assert 2 <= control["values"]["encoder.num_layers"] <= 7
    verdict = next(v for v in found.comparison.verdicts if v.metric == "fit")
    assert verdict.difference == pytest.approx(5 - lost, abs=0.3)


def test_found_toml_is_the_winner(notes, tmp_path):
    found = search(tmp_path / "out")
    values = read_toml(tmp_path / "out" / "found.toml")
    config = load_config(EncoderDecoderConfig, values, base=START[0].config)
    best = next(c for c in found.candidates if c["name"] == found.finalists[0])["values"]
    assert {
        "encoder.num_layers": config.encoder.num_layers,
        "decoder.num_layers": config.decoder.num_layers,
    } == best
    assert found.comparison.folder == tmp_path / "out"


def test_symmetry_is_an_answer(notes, tmp_path):
    found = search(tmp_path / "out", Even())
    assert "none was confirmed on 5 fresh seeds" in found.sentence
    # Speeds are measured: any shape may happen to be faster on a busy machine.
    assert all(
        v.verdict != "pays" for v in found.comparison.verdicts if v.metric in ("fit", "sign")
    )
    assert not (tmp_path / "out" / "found.toml").exists()


def test_search_and_confirmation_share_neither_seeds_nor_test_items(notes, tmp_path):
    search(tmp_path / "out")
    kinds = {kind: {seed for k, *_, seed in notes() if k == kind} for kind in ("quality", "test")}
    trained = [(n, seed) for kind, n, _, seed in notes() if kind == "train" and "symmetric" in n]
    assert kinds["test"] == set(range(5))
    assert kinds["quality"] == {FIRST_SEARCH_SEED + 2}
    for name, seed in trained:
        assert (seed >= FIRST_SEARCH_SEED) == ("seed" not in name)


def test_both_families_get_as_many_steps_and_promoted_trainings_go_on(notes, tmp_path):
    search(tmp_path / "out")
    steps = {"asymmetric": [], "symmetric": []}
    for kind, name, count, seed in notes():
        if kind == "train" and seed >= FIRST_SEARCH_SEED:
            steps[name.split("-")[0]].append((seed - FIRST_SEARCH_SEED, count))
    # The symmetric family has eight members alone: all of them are tried.
    assert sorted(steps["asymmetric"]) == [(0, 40)] * 12 + [(1, 40)] * 4 + [(2, 100)] * 2
    assert sorted(steps["symmetric"]) == [(0, 40)] * 8 + [(1, 40)] * 3 + [(2, 100)] * 2
    assert not list((tmp_path / "out" / "work").iterdir())


def test_in_a_small_space_no_model_is_tried_twice_and_its_end_is_said(notes, tmp_path):
    class Saying(Watcher):
        said, best = (), ()

        def stage(self, name):
            self.said = (*self.said, name)

        def so_far(self, text):
            self.best = (*self.best, text)

    watcher = Saying()
    budget = replace(BUDGET, candidates=140)
    found = search(tmp_path / "out", budget=budget, watcher=watcher)
    shapes = [tuple(c["values"].values()) for c in found.candidates]
    assert len(set(shapes)) == len(shapes) == 64
    assert all(
        (e == d) == c["symmetric"] for (e, d), c in zip(shapes, found.candidates, strict=True)
    )
    entry = found.comparison.results["search"]
    assert sorted(entry["exhausted"]) == ["asymmetric", "symmetric"]
    assert "there are only 8 symmetric candidates; all are tried" in watcher.said
    assert len([line for line in watcher.best if line.startswith("best symmetric cand")]) == 4
    climbed = [c for c in entry["candidates"] if not c["symmetric"] and len(c["scores"]) == 3]
    best = max(climbed, key=lambda candidate: candidate["scores"][-1])
    shape, score = shape_of(best["values"]), f"{best['scores'][-1]:.4g}"
    assert f"best asymmetric candidate after 180 steps: {shape}, score {score}" in watcher.best
    assert search_status(tmp_path / "out").exhausted == entry["exhausted"]
    assert "Only 56 asymmetric candidates meet the limits" in printed_status(tmp_path / "out")
    page = search_section(found.comparison.results, language_of("test", "en"))
    assert any(note.startswith("Only 8 symmetric candidates") for note in page.notes)
    unequal = search(tmp_path / "few")
    assert unequal.comparison.results["search"]["exhausted"] == ["symmetric"]


@pytest.mark.parametrize(
    "crash", first_every_day("asymmetric-11:40", "symmetric-3:40", "last", "confirmation")
)
def test_a_search_that_died_has_the_same_end(crash, notes, tmp_path, monkeypatch):
    whole = search(tmp_path / "whole")
    if crash == "last":
        crash = f"{whole.finalists[0]}:180"
    elif crash == "confirmation":
        crash = f"{whole.finalists[0]}-seed3:180"
    monkeypatch.setenv("CRASH", crash)
    with pytest.raises(ValueError, match="crashed on purpose"):
        search(tmp_path / "died")
    monkeypatch.delenv("CRASH")
    again = search(tmp_path / "died")
    assert again.candidates == whole.candidates
    assert again.sentence == whole.sentence
    names = [sorted(p.name for p in (tmp_path / f).iterdir()) for f in ("whole", "died")]
    assert names[0] == names[1]


def test_what_a_killed_calibration_left_is_removed(notes, tmp_path):
    left = tmp_path / "out" / "work" / "tmp1" / "checkpoint"
    left.mkdir(parents=True)
    (tmp_path / "out" / ".lock").touch()
    search(tmp_path / "out")
    assert not left.parent.exists()


def trained(entries):
    return [entry for entry in entries if entry[0] == "train" and "symmetric" in entry[1]]


@pytest.mark.slow
def test_a_cluster_gives_the_same_result_though_a_worker_is_killed(notes, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    budget = SearchBudget(steps=180, candidates=8, finalists=1, seeds=5)
    here = search(tmp_path / "here", budget=budget)
    done = trained(notes())
    monkeypatch.setenv("KILL", f"{here.finalists[0]}:180")  # it was promoted twice by then
    there = search(tmp_path / "there", budget=budget, cluster="local", jobs=2)
    assert (tmp_path / "notes-killed").exists()
    assert there.candidates == here.candidates
    assert there.finalists == here.finalists
    fits = [[v for v in f.comparison.verdicts if v.metric == "fit"] for f in (here, there)]
    assert fits[0] == fits[1]
    names = [sorted(p.name for p in (tmp_path / f).rglob("*")) for f in ("here", "there")]
    assert names[0] == names[1]
    # Only what was lost is done again, and it continues from the second rung.
    again = ["train", here.finalists[0], 100, FIRST_SEARCH_SEED + 2]
    assert sorted([*done, *done, again]) == sorted(trained(notes()))


def test_models_of_one_size_have_one_latency_after_a_crash_too(notes, tmp_path, monkeypatch):
    ticks = itertools.count(1.0)
    monkeypatch.setattr(
        candidate_costs, "latencies", lambda task, *configs, rounds: [next(ticks) for _ in configs]
    )
    numbers = {name: Choice(values=(1, 2)) for name in SPACE.numbers}
    numbers["encoder.dropout"] = Range(low=0.0, high=0.5)
    space = Space(numbers=numbers, ties=SPACE.ties)
    settings = {"out": tmp_path / "out", "budget": BUDGET, "match": "nothing"}
    monkeypatch.setenv("CRASH", "asymmetric-2:40")
    with pytest.raises(ValueError, match="crashed on purpose"):
        find(Planted(), space, START, **settings)
    monkeypatch.delenv("CRASH")
    latencies = {}
    for one in find(Planted(), space, START, **settings).candidates:
        size = tuple(one["values"][name] for name in SPACE.numbers)
        latencies.setdefault(size, set()).add(one["latency_ms"])
    assert len(latencies) == 4
    assert {len(each) for each in latencies.values()} == {1}


def test_a_finished_search_is_read(notes, tmp_path, monkeypatch):
    first = search(tmp_path / "out")
    count = len(notes())

    def timed_again(*_):
        raise AssertionError("what was timed is stored: another time could promote others")

    monkeypatch.setattr(candidate_costs, "latencies", timed_again)
    again = search(tmp_path / "out")
    assert len(notes()) == count
    assert again.sentence == first.sentence


@pytest.mark.parametrize("how", ["score", "error", "weights"])
def test_a_diverged_candidate_is_no_finalist(how, notes, tmp_path):
    class Diverging(Planted):
        def validate(self, model):
            if model.config.encoder.num_layers <= 6 or how == "weights":
                return super().validate(model)
            if how == "error":
                raise FloatingPointError("score nan")
            return math.nan

        def train(self, model, **settings):
            records = super().train(model, **settings)
            if model.config.encoder.num_layers > 6 and how == "weights":
                next(model.parameters()).data.fill_(math.nan)
            return records

    found = search(tmp_path / "out", Diverging())
    diverged = [c for c in found.candidates if c["scores"] == [None]]
    assert diverged
    assert all(c["values"]["encoder.num_layers"] > 6 for c in diverged)
    assert not {c["name"] for c in diverged} & set(found.finalists)


def test_a_training_without_a_validation_score_is_named(notes, tmp_path):
    class Mute(Planted):
        def validate(self, model):
            return None

        def train(self, model, **settings):
            records = super().train(model, **settings)
            return [{k: v for k, v in one.items() if k != "eval_loss"} for one in records]

    with pytest.raises(ValueError, match="find: training must record a validation loss; got none"):
        search(tmp_path / "out", Mute())


def test_all_diverged_is_one_line(notes, tmp_path):
    class Hopeless(Planted):
        def validate(self, model):
            return math.nan

    with pytest.raises(ValueError, match="a training must not diverge; got asymmetric candidates"):
        search(tmp_path / "out", Hopeless())


def test_candidates_cost_what_they_may(notes, tmp_path):
    space = Space(
        numbers={**SPACE.numbers, "encoder.d_model": Range(low=2, high=400, step=1)},
        ties=SPACE.ties,
        solved=("encoder.d_model",),
    )
    start = [Arm(name="given", config=line_config(100))]
    found = find(Planted(), space, start, out=tmp_path / "out", budget=BUDGET, match="parameters")
    assert {c["parameters"] for c in found.candidates} == {101}


def test_a_draw_that_cannot_cost_what_it_may_is_no_candidate(notes, tmp_path):
    class Deep(Planted):
        def parameters(self, config):
            return config.encoder.num_layers * config.encoder.d_model

    space = Space(
        numbers={**SPACE.numbers, "encoder.d_model": Range(low=20, high=40, step=2)},
        ties=SPACE.ties,
        solved=("encoder.d_model",),
    )
    start = [with_values(START[0], {"encoder.num_layers": 4, "encoder.d_model": 30})]
    budget = SearchBudget(steps=60, candidates=12, finalists=1, seeds=5)
    found = find(Deep(), space, start, out=tmp_path / "out", budget=budget, match="parameters")
    assert {c["values"]["encoder.num_layers"] for c in found.candidates} == {3, 4, 5, 6}
    assert all(abs(c["parameters"] / 120 - 1) <= 0.01 for c in found.candidates)


def test_a_draw_that_the_task_cannot_train_is_no_candidate(notes, tmp_path):
    class Careful(Planted):
        def check_training(self, training):
            if 0.1 < training.get("lr", 1.0) < 0.6:
                raise ValueError("no such rate")

    rate = {"training.lr": Range(low=0.0, high=1.0)}
    space = Space(numbers={**SPACE.numbers, **rate}, ties=SPACE.ties)
    found = find(Careful(), space, START, out=tmp_path / "out", budget=BUDGET, match="nothing")
    rates = [c["values"].get("training.lr", 1.0) for c in found.candidates]
    assert len(rates) == 24
    assert not [rate for rate in rates if 0.1 < rate < 0.6]


def test_a_candidate_without_quality_is_no_finalist(notes, tmp_path):
    class Silent(Planted):
        def validation_quality(self, model, *, items):
            known = model.config.decoder.num_layers < 7
            return super().validation_quality(model, items=items) if known else math.nan

    found = search(tmp_path / "out", Silent())
    depths = {c["name"]: c["values"]["decoder.num_layers"] for c in found.candidates}
    fully = [c["name"] for c in found.candidates if len(c["scores"]) == 3]
    assert any(depths[name] >= 7 for name in fully)
    assert all(depths[name] < 7 for name in found.finalists)


def test_a_bound_holds(notes, tmp_path):
    found = search(tmp_path / "out", at_most={"latency_ms": 3000.0})
    assert all(c["latency_ms"] <= 3000 for c in found.candidates)
    assert max(c["values"]["encoder.num_layers"] for c in found.candidates) == 3


class Shelved(Planted):
    """A task with a cost of its own that a model has before it is trained."""

    def costs(self, model):
        return {"shelf": Cost(value=10.0 * int(model.config.decoder.num_layers), label="shelf")}

    def untrained_costs(self):
        return ("shelf",)

    def load(self, folder):
        model = super().load(folder)
        model.config = START[0].config
        return model


@pytest.mark.slow
def test_a_bound_of_what_a_task_adds_holds(notes, tmp_path):
    found = search(tmp_path / "out", Shelved(), at_most={"shelf": 50.0})
    assert {c["costs"]["shelf"] for c in found.candidates} == {10.0, 20.0, 30.0, 40.0, 50.0}
    for one in found.candidates:
        assert one["costs"] == {"shelf": 10.0 * one["values"]["decoder.num_layers"]}
    with pytest.raises(ValueError, match=r"got \+100.0% from it at the nearest, in shelf. Widen"):
        search(tmp_path / "other", Shelved(), at_most={"shelf": 5.0})


def test_a_bound_of_memory_holds(notes, tmp_path, monkeypatch):
    def measured(self, config):
        return {"memory_mb": 100.0 + config.encoder.num_layers}

    monkeypatch.setattr(candidate_costs.UntrainedCosts, "of", measured)
    found = search(tmp_path / "out", at_most={"memory_mb": 103.0})
    assert {c["costs"]["memory_mb"] for c in found.candidates} == {101.0, 102.0, 103.0}
    search(tmp_path / "none")
    stored = json.loads((tmp_path / "none" / "candidates-0.json").read_text())["candidates"]
    assert all(not one["costs"] for one in stored)  # what is not bounded is not measured


def test_a_measured_bound_out_of_reach_is_given_up_soon(notes, tmp_path, monkeypatch):
    asked = []

    def measured(self, config):
        asked.append(config)
        return {"memory_mb": 50.0}

    monkeypatch.setattr(candidate_costs.UntrainedCosts, "of", measured)
    space = Space(
        numbers={**SPACE.numbers, "encoder.d_model": Range(low=2, high=4000, step=1)},
        ties=SPACE.ties,
    )
    settings = {"out": tmp_path / "out", "budget": BUDGET, "match": "nothing"}
    with pytest.raises(ValueError, match=r"\+25.0% from it at the nearest, in memory_mb"):
        find(Planted(), space, START, at_most={"memory_mb": 40.0}, **settings)
    assert len(asked) <= 61  # the given model, and sixty draws


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"match": "weight"}, "match must be parameters, flops, latency, nothing; got match 'wei"),
        (
            {"at_most": {"size": 3}},
            "a bound must be of parameters, .*, memory_mb; got",
        ),
        (
            {"at_most": {"shelf": 3}},
            "a bound must be of parameters, .*, memory_mb; got",
        ),
        ({"at_most": {"parameters": -1.0}}, "a bound must be finite and positive; got parameters"),
        (
            {"at_most": {"parameters": 2.0}},
            r"a candidate must meet .* \+50.0% .*, in parameters",
        ),
        (
            {"at_most": {"latency_ms": 800.0}},
            r"a candidate must meet .* \+25.0% .*, in latency_ms",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(changes, message, notes, tmp_path):
    with pytest.raises(ValueError, match=f"find: {message}"):
        search(tmp_path / "out", **changes)
    assert not [note for note in notes() if note[0] == "train"]


def test_a_space_that_is_too_small_is_refused(notes, tmp_path):
    small = Space(numbers={"encoder.num_layers": Choice(values=(1, 2))}, fixed={"x": 1})
    with pytest.raises(ValueError, match="space must have 6 candidates or more; got 2"):
        find(Planted(), small, START, out=tmp_path / "out", budget=BUDGET, match="nothing")


def test_the_folder_of_another_search_is_refused(notes, tmp_path):
    search(tmp_path / "out")
    other = {"at_most": {"parameters": 9.0}, "threads": 1, "match": "nothing"}
    with pytest.raises(ValueError, match="with other at_most and hash"):
        prepare_search(Planted(), SPACE, START, out=tmp_path / "out", budget=BUDGET, **other)


def test_the_contract_is_written_before_the_first_training(notes, tmp_path, monkeypatch):
    monkeypatch.setenv("CRASH", "asymmetric-1:40")
    with pytest.raises(ValueError, match="crashed on purpose"):
        search(tmp_path / "out")
    contract = json.loads((tmp_path / "out" / "search.json").read_text())
    assert contract["deciding_metric"] == "fit"
    assert contract["schedule"] == {"steps": 180, "candidates": 24, "seeds": 5}
    assert [rung["steps"] for rung in contract["rungs"]] == [40, 80, 180]
    assert len(contract["hash"]) == 64


def test_each_rung_is_longer_than_the_one_before():
    for steps in range(3, 200):
        rungs = [0, *rung_steps(steps)]
        assert rungs == sorted(set(rungs))
    with pytest.raises(ValueError, match="steps must be >= 3, one for each rung; got steps 2"):
        SearchBudget(steps=2)


def test_minutes_buy_candidates_and_seeds(notes, tmp_path):
    # A step takes an eighth of a second: 480 steps a minute.
    found = search(tmp_path / "out", budget=SearchBudget(minutes=10.0))
    contract = json.loads((tmp_path / "out" / "search.json").read_text())
    assert contract["schedule"] == {"steps": 120, "candidates": 54, "seeds": 5}
    assert len(found.candidates) < 78  # the space has no more
    with pytest.raises(ValueError, match="minutes must buy 5 seeds of 3 models"):
        search(tmp_path / "other", budget=SearchBudget(minutes=10.0, steps=1000))


def test_a_search_of_few_steps_says_so_before_it_begins(notes, tmp_path):
    class Told(Exception):  # noqa: N818
        """Ends the search."""

    class Listening(Watcher):
        def stage(self, name):
            if "9 steps are too few" in name:
                raise Told

    with pytest.raises(Told):
        search(tmp_path / "out", budget=replace(BUDGET, steps=9), watcher=Listening())
    assert not [note for note in notes() if note[0] == "train"]


@pytest.mark.parametrize(
    ("language", "words"), first_every_day(("en", "The search"), ("pt", "A busca"))
)
def test_the_report_shows_the_search(language, words, notes, tmp_path):
    found = search(tmp_path / "out")
    run = read_run(tmp_path / "out")
    assert run.items["fit"]
    write_report(found.comparison.results, tmp_path / "page.html", language=language)
    page = (tmp_path / "page.html").read_text()
    assert f"<h2>{words}</h2>" in page
    for candidate in found.finalists:
        assert candidate in page


def test_numbers_of_a_candidate_are_those_of_its_arm():
    arm = with_values(START[0], {"encoder.num_layers": 3, "training.lr": 0.1})
    space = Space(
        numbers={**SPACE.numbers, "training.lr": Range(low=0.01, high=1.0, log=True)},
        ties=SPACE.ties,
    )
    assert space.values_of(arm) == {
        "encoder.num_layers": 3,
        "decoder.num_layers": 1,
        "training.lr": 0.1,
    }
    assert not space.is_symmetric(space.values_of(arm))
    assert space.is_symmetric(space.completed(space.values_of(arm), symmetric=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"numbers": {}}, "numbers must be one or more; got none"),
        (
            {"ties": {"encoder.num_layer": "decoder.num_layers"}},
            "did you mean 'encoder.num_layers'",
        ),
        ({"solved": ("depth",)}, "unknown number 'depth'; known: encoder.num_layers, decoder"),
        (
            {"fixed": {"decoder.num_layers": 2}},
            "a tied number must equal one that is not; got ties",
        ),
    ],
)
def test_a_space_refuses_what_contradicts_itself(settings, message):
    kept = {"numbers": SPACE.numbers, "ties": SPACE.ties}
    if "numbers" in settings:
        kept = {}
    with pytest.raises(ValueError, match=f"Space: .*{message}"):
        Space(**kept | settings)


def test_a_list_is_no_range():
    with pytest.raises(TypeError, match=r"Space: .* a Range or a Choice; got lr \[1, 2\]\. Write"):
        Space(numbers={"lr": [1, 2]})


def test_frozen_numbers_are_not_drawn():
    space = SPACE.frozen({"encoder.num_layers": 2})
    generator = np.random.default_rng(0)
    drawn = [space.draw(generator, symmetric=False) for _ in range(20)]
    assert {values["encoder.num_layers"] for values in drawn} == {2}
    assert len({values["decoder.num_layers"] for values in drawn}) > 3
    with pytest.raises(ValueError, match=r"unknown number 'encoder\.layers'"):
        SPACE.frozen({"encoder.layers": 2})


@pytest.mark.parametrize(
    ("frozen", "symmetric"),
    [
        ({"a": 3}, {"a": 3, "b": 3, "c": 3, "margin": 0}),
        ({"b": 3}, {"a": 3, "b": 3, "c": 3, "margin": 0}),
        ({"a": 3, "b": 4}, {"a": 3, "b": 4, "c": 3, "margin": 0}),
        ({"a": 3, "margin": 2}, {"a": 3, "b": 3, "c": 3, "margin": 2}),
    ],
)
def test_a_frozen_number_has_its_value_in_both_families(frozen, symmetric):
    kind = Range(low=0, high=9, step=1)
    space = Space(
        numbers=dict.fromkeys(("a", "b", "c", "margin", "free"), kind),
        ties={"b": "a", "c": "a"},
        fixed={"margin": 0},
    ).frozen(frozen)
    generator = np.random.default_rng(0)
    drawn = [space.draw(generator, symmetric=False) for _ in range(9)]
    assert all(values.items() >= frozen.items() for values in drawn)
    for _ in range(9):
        values = space.draw(generator, symmetric=True)
        assert values.items() >= symmetric.items()
        assert values.keys() == space.numbers.keys()
        assert space.is_symmetric(values)


def test_draws_of_a_range_are_its_values_and_equally_likely():
    widths = Range(low=32, high=150, step=32)
    assert {widths.at(share) for share in np.linspace(0, 1, 50)} == {32, 64, 96, 128}
    counts = [sum(DEPTH.at(u) == n for u in np.linspace(0, 1, 801)) for n in range(1, 9)]
    assert max(counts) - min(counts) <= 1
    assert 64 in widths
    assert 65 not in widths
    assert "x" not in widths
    assert Range(low=1, high=100, log=True, step=1).at(0.5) == 10


def test_the_same_search_has_the_same_folder():
    settings = {"match": "nothing", "at_most": {}, "threads": 1}
    first = search_folder(Planted(), SPACE, START, BUDGET, **settings)
    again = search_folder(Planted(), SPACE, START, BUDGET, **settings)
    other = search_folder(Planted(), SPACE, START, BUDGET, **settings | {"threads": 2})
    assert first == again
    assert first != other


def test_moved_data_have_the_same_folder():
    folders = set()
    for name in ("here.tsv", "there.tsv"):
        task = Planted()
        task.describe = lambda name=name: {"name": name, "fingerprint": "of its bytes"}
        folders.add(search_folder(task, SPACE, START, BUDGET, "nothing", {}, 1))
    assert len(folders) == 1


def printed_status(folder, language="en"):
    console = Console(file=io.StringIO(), width=160)
    print_search(search_status(folder, language=language), console, language=language)
    return " ".join(console.file.getvalue().split())


class Looks(Watcher):
    """Looks at a search whenever something of it is done."""

    def __init__(self, out):
        self.out, self.seen = out, []

    def stage(self, name):
        self.costs(0, 0)

    def costs(self, done, total):
        self.seen.append(search_status(self.out))
        printed_status(self.out)


def test_where_a_search_stands_can_be_read_while_it_runs(notes, tmp_path):
    looks = Looks(tmp_path / "out")
    found = search(tmp_path / "out", watcher=looks)
    finished = [
        [rung[family]["finished"] for rung in status.rungs for family in rung if family != "steps"]
        for status in looks.seen
    ]
    assert finished[0] == [0] * 6
    assert finished[-1] == [12, 8, 4, 3, 2, 2]
    assert all(all(a <= b for a, b in zip(*two, strict=True)) for two in pairwise(finished))
    assert [s.rungs[0]["asymmetric"]["promoted"] for s in looks.seen][:3] == [None] * 3
    assert not any(status.finished or status.sentence for status in looks.seen)
    status = search_status(tmp_path / "out")
    assert isinstance(status, SearchStatus)
    assert (status.finished, status.quiet_seconds) == (True, None)
    assert status.sentence == found.sentence
    promoted = [[rung[f]["promoted"] for rung in status.rungs] for f in status.best]
    assert promoted == [[4, 2, None], [3, 2, None]]
    best = status.best["asymmetric"]
    assert (best["name"], best["decides"], best["steps"]) == (found.finalists[0], True, 180)
    assert status.contract["hash"] == json.loads((tmp_path / "out/search.json").read_text())["hash"]
    assert status.confirmation["finished"] == status.confirmation["trials"] > 0
    trained = sum(count for kind, _, count, _ in notes() if kind == "train")
    measured = 20 * len(status.confirmation["arms"])  # steps of which the memory is measured
    assert status.budget["steps_spent"] == trained - measured
    assert status.budget["steps_left"] == 0
    assert status.budget["minutes"] is None  # all numbers are given


def test_looking_at_a_search_leaves_no_trace(notes, tmp_path):
    search(tmp_path / "out")

    def trace():
        files = sorted((tmp_path / "out").rglob("*"))
        return [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files]

    before = trace()
    printed_status(tmp_path / "out")
    assert trace() == before
    assert not (tmp_path / "out" / ".lock").exists()


def test_where_a_killed_search_stands(notes, tmp_path, monkeypatch):
    candidates = search(tmp_path / "whole").candidates
    crashed = next(c["name"] for c in candidates if c["symmetric"] and len(c["scores"]) > 1)
    monkeypatch.setenv("CRASH", f"{crashed}:80")
    with pytest.raises(ValueError, match="crashed on purpose"):
        search(tmp_path / "out")
    began = {path.parent.name for path in (tmp_path / "out" / "work").rglob("done")}
    name = next(iter(sorted(one for one in began if one.startswith("asym"))))
    (tmp_path / "out" / "rungs" / f"{name}-1.json").unlink(missing_ok=True)
    (tmp_path / "out" / "work" / name / "progress").write_text("31")
    status = search_status(tmp_path / "out")
    assert (status.finished, status.sentence, status.confirmation) == (False, None, None)
    assert [rung["asymmetric"]["running"] for rung in status.rungs] == [0, 1, 0]
    first = status.rungs[0]
    assert [first[family]["promoted"] for family in status.best] == [4, 3]
    assert status.rungs[1]["symmetric"]["promoted"] is None
    words = printed_status(tmp_path / "out")
    assert "Search of line: not finished; last written 0 s ago" in words
    assert "fit decides; no limit; candidates: 24; steps: 180 at most" in words
    assert re.search(
        r"Best symmetric candidate so far: symmetric-\d .*, validation score -\d",
        words.replace("\u2212", "-"),
    )
    assert "Confirmation: not begun" in words
    hour = time.time() - 3600
    for path in (tmp_path / "out", *(tmp_path / "out").rglob("*")):
        os.utime(path, (hour, hour))
    assert "last written 60 min ago. If no process runs it" in printed_status(tmp_path / "out")


def test_promotions_of_ranks_that_do_not_settle_are_read(notes, tmp_path):
    class Turning(Planted):
        def validate(self, model):
            return super().validate(model) * (-1 if int(model.seed) % 2 else 1)

    budget = SearchBudget(steps=180, candidates=42, finalists=2, seeds=5)
    found = search(tmp_path / "out", Turning(), budget=budget)
    assert found.comparison.results["search"]["promoted_one_in"] == [3, 2]
    status = search_status(tmp_path / "out")
    for number, rung in enumerate(status.rungs):
        for family in status.best:
            own = [c for c in found.candidates if c["symmetric"] == (family == "symmetric")]
            assert rung[family]["candidates"] == sum(len(c["scores"]) > number for c in own)


def test_the_status_speaks_portuguese(notes, tmp_path):
    search(tmp_path / "out", at_most={"parameters": 1000.0})
    words = printed_status(tmp_path / "out", "pt")
    assert "Busca de line: terminada" in words
    assert "fit decide; parâmetros no máximo 1 000" in words.replace("\u202f", " ")
    assert "candidatos testados" in words
    assert "15 de 15 ensaios terminados" in words or "10 de 10 ensaios terminados" in words


def test_a_folder_without_a_search_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"search_status: the folder must hold a search; got fold"):
        search_status(tmp_path)


LOSS_SPACE = Space(
    numbers={
        "training.loss.name": Choice(values=("two-sided", "hill")),
        "training.loss.gamma": Range(low=0.0, high=4.0),
        "training.loss.height": Range(low=1.0, high=2.0),
        "training.lr": Range(low=1e-4, high=1e-2, log=True),
    },
    fixed={"training.loss.name": "two-sided"},
    conditions={
        "training.loss.gamma": {"training.loss.name": ("two-sided",)},
        "training.loss.height": {"training.loss.name": ("hill",)},
    },
)


def test_a_candidate_has_the_numbers_whose_conditions_it_meets():
    generator = np.random.default_rng(0)
    drawn = [LOSS_SPACE.draw(generator, symmetric=False) for _ in range(20)]
    assert {(one["training.loss.name"], *sorted(one)) for one in drawn} == {
        ("two-sided", "training.loss.gamma", "training.loss.name", "training.lr"),
        ("hill", "training.loss.height", "training.loss.name", "training.lr"),
    }
    symmetric = LOSS_SPACE.draw(generator, symmetric=True)
    assert sorted(symmetric) == ["training.loss.gamma", "training.loss.name", "training.lr"]


def test_a_condition_names_numbers_of_the_space():
    with pytest.raises(ValueError, match=r"unknown number 'training\.los'; did you mean"):
        Space(numbers=LOSS_SPACE.numbers, conditions={"training.lr": {"training.los": (1,)}})


def test_a_candidate_inherits_no_number_of_the_space_from_the_given_arm():
    first = Arm(name="a", config=line_config(2), training={"loss": {"gamma": 3.0}, "steps": 7})
    plain = Arm(name="b", config=line_config(2), training={"steps": 7})
    base = LOSS_SPACE.base_of(first)
    assert base.training == {"steps": 7}
    assert first.training == {"loss": {"gamma": 3.0}, "steps": 7}
    assert with_values(base, LOSS_SPACE.values_of(plain)).training == plain.training
    assert with_values(base, LOSS_SPACE.values_of(first)).training == first.training
    assert LOSS_SPACE.shares_training(first, plain)
    other = Arm(name="c", config=line_config(2), training={"loss": {"tau": 1.0}, "steps": 7})
    assert not LOSS_SPACE.shares_training(first, other)


def test_proposals_learn_which_numbers_belong_together():
    generator = np.random.default_rng(0)
    tried = [LOSS_SPACE.draw(generator, symmetric=False) for _ in range(40)]

    def score(values):
        return values["training.lr"] - abs(values.get("training.loss.height", 9.0) - 1.5)

    scored = [(values, score(values)) for values in tried]
    proposed = propose(
        LOSS_SPACE, 12, scored, tried, lambda v: Offer(dict(v), 0.0), symmetric=False, seed=0
    )
    assert sum(values["training.loss.name"] == "hill" for values in proposed) >= 9
    near = [abs(v["training.loss.height"] - 1.5) for v in proposed if "training.loss.height" in v]
    assert np.median(near) < 0.15
    outcome = importances(LOSS_SPACE, scored, symmetric=False)
    assert set(outcome["shares"]) == {"training.loss.name", "training.lr"}
    assert outcome["shares"]["training.loss.name"] > 0.8
