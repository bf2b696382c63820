import itertools
import json
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from stub_task import StubTask, line_config

from askew.tradeoffs import (
    Arm,
    Budget,
    Choice,
    Draw,
    Range,
    Task,
    Tuned,
    Tuning,
    compare,
    expected_best,
    prepare_comparison,
    tune,
    with_values,
)

ARMS = [Arm(name="wide", config=line_config(8)), Arm(name="narrow", config=line_config(2))]
SPACE = {
    "training.lr": Range(low=1e-3, high=1.0, log=True),
    "encoder.dropout": Range(low=0.1, high=0.9),
}


class Tunable(StubTask):
    """Says what it was trained with as its score."""

    def train(self, model, *, training, seed, folder, **settings):
        model.lr = training.get("lr", 0.05)
        with open(os.environ["TRIES"], "a") as file:
            file.write(f"{seed} {model.in_features} {model.lr}\n")
        return super().train(model, seed=seed, folder=folder, **settings)

    def validate(self, model):
        return -abs(math.log(model.lr / 0.2)) if model.in_features == 8 else -model.lr


@pytest.fixture
def run(tmp_path, in_process, monkeypatch):
    monkeypatch.setenv("TRIES", str(tmp_path / "tries"))

    def run(task=None, arms=ARMS, draws=6, space=SPACE, **changes):
        settings = {"steps": {"wide": 3, "narrow": 3}, "out": tmp_path / "out"}
        tuning = Tuning(draws=draws, space=space)
        return tune(task or Tunable(), arms, tuning, **settings | changes)

    run.tries = lambda: (tmp_path / "tries").read_text().splitlines()
    return run


def test_a_list_of_values_is_tuned_as_a_range_is(tmp_path):
    tuning = Tuning(draws=2, space={"training.lr": Choice(values=(0.1, 0.2))})
    call = {"seeds": [0], "budget": Budget(steps=3), "tuning": tuning, "threads": 1, "settings": {}}
    prepare_comparison(Tunable(), ARMS, out=tmp_path / "out", **call)


def test_all_arms_try_the_same_and_each_takes_its_best(run):
    wide, narrow = run()
    assert isinstance(wide, Tuned)
    assert len(wide.draws) == 6
    assert all(isinstance(draw, Draw) for draw in wide.draws)
    assert [d.values for d in wide.draws] == [d.values for d in narrow.draws]
    rates = [draw.values["training.lr"] for draw in wide.draws]
    assert len(set(rates)) == 6
    assert all(1e-3 <= rate <= 1 for rate in rates)
    assert all(0.1 <= d.values["encoder.dropout"] <= 0.9 for d in wide.draws)
    best = min(rates, key=lambda rate: abs(math.log(rate / 0.2)))
    assert wide.arm.training == {"lr": best}
    assert (
        wide.arm.config.encoder.dropout == wide.draws[rates.index(best)].values["encoder.dropout"]
    )
    assert narrow.arm.training == {"lr": min(rates)}
    assert wide.given == -abs(math.log(0.05 / 0.2))
    assert narrow.given == -0.05
    assert wide.curve == expected_best([draw.score for draw in wide.draws])


@pytest.mark.slow
def test_a_ray_cluster_tunes_as_processes_do(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("TRIES", str(tmp_path / "tries"))
    call = {"steps": {"wide": 3, "narrow": 3}, "jobs": 2}
    tuning = Tuning(draws=3, space=SPACE)
    here, there = (
        tune(Tunable(), ARMS, tuning, out=tmp_path / str(cluster), cluster=cluster, **call)
        for cluster in (None, "local")
    )
    assert here == there
    assert sorted(path.name for path in (tmp_path / "local").iterdir()) == [
        "tuning.journal",
        "work",
    ]


def test_a_score_that_was_stored_before_the_run_died_is_not_computed_again(run, tmp_path):
    whole = run()
    tries = run.tries()
    (tmp_path / "out" / "tuning.journal").write_bytes(b"")
    scores = tmp_path / "out" / "tries"
    scores.mkdir()
    for arm, tuned in zip(ARMS, whole, strict=True):
        stored = {"version": 1, "score": tuned.given}
        (scores / f"{arm.name}-draw0.json").write_text(json.dumps(stored))
    assert run() == whole
    assert len(run.tries()) == 2 * len(tries) - 2
    assert not scores.exists()


def test_an_arm_that_no_draw_improves_stays_as_given(run):
    class Content(Tunable):
        def validate(self, model):
            return 1.0 if model.lr == 0.05 else 0.0

    wide, _ = run(Content())
    assert wide.arm == ARMS[0]
    assert wide.given == 1.0


def test_seeds_are_far_from_those_of_trials_and_the_same_for_all_arms(run):
    run(draws=2)
    seeds = [int(line.split()[0]) for line in run.tries()]
    assert min(seeds) >= 1_000_000
    assert sorted(set(seeds)) == sorted(seeds[::2]) == sorted(seeds[1::2])


def test_it_goes_on_where_it_stopped(run, tmp_path):
    first = run(draws=3)
    assert len(run.tries()) == 8
    more = run(draws=5)
    assert len(run.tries()) == 12
    assert [tuned.draws[:3] for tuned in more] == [tuned.draws for tuned in first]
    study = optuna.load_study(
        study_name="wide",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / "out" / "tuning.journal"))
        ),
    )
    assert len(study.trials) == 6


def test_a_try_that_died_is_tried_again_with_the_same_values(run, tmp_path):
    class Dying(Tunable):
        def validate(self, model):
            if len(run.tries()) == 5:
                raise RuntimeError("died")
            return super().validate(model)

    with pytest.raises(RuntimeError, match="died"):
        run(Dying(), draws=3)
    assert [t.draws for t in run(draws=3)] == [t.draws for t in run(draws=3, out=tmp_path / "n")]


def test_a_killed_run_leaves_no_lock_that_holds_up_the_next(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    first = run(draws=2, out=out)
    os.symlink("out/tuning.journal", out / "tuning.journal.lock")  # leads nowhere from there
    with (out / "tuning.journal").open("a") as file:
        file.write('{"op_code":5,"worker')
    started = time.monotonic()
    assert [t.draws[:2] for t in run(draws=3, out=out)] == [t.draws for t in first]
    assert time.monotonic() - started < 20
    assert sorted(path.name for path in out.iterdir()) == ["tuning.journal", "work"]
    assert not any((out / "work").iterdir())


def test_a_damaged_journal_is_refused_before_any_work(run, tmp_path):
    settings = {
        "budget": Budget(steps=3),
        "out": tmp_path / "cmp",
        "tuning": Tuning(draws=2, space=SPACE),
    }
    prepare = {**settings, "threads": 1, "settings": {}}
    compare(Tunable(), ARMS, [0], **settings)
    journal = tmp_path / "cmp" / "tuning.journal"
    lines = journal.read_text().splitlines(keepends=True)
    damaged = [
        "".join([*lines[:3], "x\n", *lines[3:]]),
        '{"op_code": 99}\n' * 2,
        "".join(line for line in lines if "number" not in line),
    ]
    for text in damaged:
        journal.write_text(text)
        tries = len(run.tries())
        with pytest.raises(
            ValueError, match=r"tune: the journal must be what tuning wrote; got .*"
        ):
            prepare_comparison(Tunable(), ARMS, [0], **prepare)
        assert journal.read_text() == text
        assert len(run.tries()) == tries


def test_without_validate_the_validation_loss_counts(run):
    class Plain(Tunable):
        validate = Task.validate

    wide, _ = run(Plain())
    assert wide.given == -0.5


def test_what_diverges_is_the_worst(run):
    class Diverging(Tunable):
        def validate(self, model):
            return math.nan if model.lr > 0.1 else model.lr

    wide, _ = run(Diverging())
    assert wide.arm.training.get("lr", 0.05) <= 0.1
    assert -math.inf in [draw.score for draw in wide.draws]


def test_a_try_whose_score_cannot_be_computed_is_the_worst(run):
    class Diverging(Tunable):
        def validate(self, model):
            if model.lr > 0.1:
                raise FloatingPointError(f"score nan of rate {model.lr}")
            return model.lr

    wide, _ = run(Diverging())
    assert wide.arm.training.get("lr", 0.05) <= 0.1
    assert -math.inf in [draw.score for draw in wide.draws]


def test_weights_that_are_not_finite_are_the_worst_whatever_their_score(run):
    class Broken(Tunable):
        def train(self, model, *, training, **settings):
            records = super().train(model, training=training, **settings)
            if model.lr > 0.1:
                next(model.parameters()).data.fill_(math.nan)
            return records

        def validate(self, model):
            return model.lr

    wide, _ = run(Broken())
    assert wide.arm.training.get("lr", 0.05) <= 0.1


@pytest.mark.parametrize("what", ["data", "arm", "space", "steps"])
def test_tries_of_other_settings_are_not_taken(run, what):
    class Other(Tunable):
        def describe(self):
            return super().describe() | {"slope": 4}

    whole = run()
    tries = len(run.tries())
    space = {"training.lr": Range(low=1e-4, high=1.0, log=True)}
    arms = [replace(arm, config=line_config(4)) for arm in ARMS]
    other = {
        "data": {"task": Other()},
        "arm": {"arms": arms},
        "space": {"space": space},
        "steps": {"steps": {"wide": 4, "narrow": 3}},
    }
    with pytest.raises(
        ValueError, match=rf"tune: the journal must .* other {what}( \(slope\))? of"
    ):
        run(**other[what])
    assert run(draws=8)[0].draws[:6] == whole[0].draws
    assert len(run.tries()) == tries + 4


def test_a_journal_of_an_earlier_release_is_continued(run, tmp_path):
    whole = run()
    journal = tmp_path / "out" / "tuning.journal"
    lines = journal.read_text().splitlines(keepends=True)
    kept = [line for line in lines if '_attr":{"identity"' not in line]
    assert len(kept) == len(lines) - 2
    journal.write_text("".join(kept))
    assert run() == whole


def test_draws_that_diverged_leave_a_curve_of_numbers():
    assert expected_best([-math.inf, 1.0, 2.0]) == [-math.inf, pytest.approx(5 / 3), 2.0]


def test_the_curve_is_the_mean_of_the_best_over_all_subsets():
    scores = [0.3, -1.0, 2.5, 0.3, 7.0]
    for k, value in enumerate(expected_best(scores), 1):
        bests = [max(subset) for subset in itertools.combinations(scores, k)]
        assert value == pytest.approx(sum(bests) / len(bests))


def test_refuses(run):
    with pytest.raises(ValueError, match="Tuning: draws must be >= 1; got draws 0"):
        run(draws=0)
    unknown = Tuning(draws=1, space={"encoder.drop": Range(low=0, high=1)})
    with pytest.raises(ValueError, match=r"unknown key 'encoder\.drop'"):
        tune(Tunable(), ARMS, unknown, steps={}, out="nowhere")
    too_high = Tuning(draws=1, space={"encoder.dropout": Range(low=0.0, high=3.0)})
    with pytest.raises(ValueError, match=r"dropout must .* got dropout 3"):
        tune(Tunable(), ARMS, too_high, steps={}, out="nowhere")
    with pytest.raises(ValueError, match="Tuning: space must have a number to draw"):
        Tuning(draws=1, space={})
    with pytest.raises(ValueError, match=r"low must be below high, both finite; got low 1, high 1"):
        Range(low=1, high=1)
    with pytest.raises(ValueError, match="low must be positive where logarithms are drawn; got lo"):
        Range(low=0, high=1, log=True)
    with pytest.raises(ValueError, match="expected_best: scores must be one or more"):
        expected_best([])


def test_a_draw_that_the_task_refuses_is_refused_before_the_first_try(run, tmp_path):
    class Careful(Tunable):
        def check_training(self, training):
            if 0.01 < training.get("lr", 0) < 0.9:  # neither end of the range
                raise ValueError(f"careful: got lr {training['lr']}")

    with pytest.raises(ValueError, match=r"^careful: got lr 0\.\d+$"):
        run(Careful())
    assert list(tmp_path.iterdir()) == []


def test_values_go_to_training_and_config_and_leave_the_rest():
    arm = Arm(name="a", config=line_config(4), training={"encoder": {"lr": 1.0, "bpe": 0.5}})
    changed = with_values(arm, {"training.encoder.lr": 2.0, "decoder.dropout": 0.3})
    assert changed.training == {"encoder": {"lr": 2.0, "bpe": 0.5}}
    assert arm.training["encoder"]["lr"] == 1.0, "the arm given is left alone"
    assert (changed.config.decoder.dropout, changed.config.encoder.dropout) == (0.3, 0.1)


def test_a_missing_package_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"optuna must be installed; .*askew\[sweep\]"):
        run()


def test_a_comparison_is_of_the_tuned_arms(run, tmp_path):
    settings = {
        "budget": Budget(steps=3),
        "out": tmp_path / "cmp",
        "tuning": Tuning(draws=4, space=SPACE),
    }
    comparison = compare(Tunable(), ARMS, [0, 1], **settings)
    wide = comparison.results["tuning"]["wide"]
    best = max(wide["draws"], key=lambda draw: draw["score"])
    assert wide["best"] == best["values"]
    assert len(wide["expected_best"]) == 4
    assert comparison.results["arms"][0]["training"] == {"lr": best["values"]["training.lr"]}
    assert comparison.results["settings"]["tuning"]["draws"] == 4
    trained = [line.split() for line in run.tries() if int(line.split()[0]) < 2]
    assert {rate for _, width, rate in trained if width == "8"} == {
        str(best["values"]["training.lr"])
    }
    tries = len(run.tries())
    assert compare(Tunable(), ARMS, [0, 1], **settings).results == comparison.results
    assert len(run.tries()) == tries, "nothing is tried twice"
    with pytest.raises(ValueError, match=r"same settings; .* with other settings"):
        compare(Tunable(), ARMS, [0], **settings | {"tuning": Tuning(draws=5, space=SPACE)})
