"""Any two models of a user's own: built by callables, on any data, by any training."""

import itertools
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import cloudpickle
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from askew.tradeoffs import (
    ACCURACY,
    Experiment,
    Metric,
    ModelConfig,
    Range,
    Score,
    adamw,
    count_parameters,
    train_loop,
)
from askew.tradeoffs._running.batches import training_batches

CPU = torch.device("cpu")


def points(count, seed):
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def net(width, dropout=0.0):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 2))


def experiment(**changes):
    settings = {
        "name": "signs",
        "models": {"wide": partial(net, 32), "narrow": partial(net, 2)},
        "train_data": points(256, 0),
        "test_data": points(200, 1),
        "valid_data": points(100, 2),
        "optimizer": partial(torch_adam, lr=0.02),
        "batch_size": 32,
        "steps": 60,
    }
    return Experiment(**settings | changes)


def torch_adam(model, lr):
    return torch.optim.Adam(model.parameters(), lr=lr)


@pytest.fixture
def comparison(tmp_path, in_process):
    return experiment().compare(out=tmp_path / "out", seeds=5)


def test_two_builders_are_trained_and_judged(comparison):
    verdicts = {verdict.metric: verdict for verdict in comparison.verdicts}
    assert verdicts["accuracy"].verdict == "pays"
    assert verdicts["accuracy"].wins == 5
    wide, narrow = comparison.results["arms"]
    assert wide["costs"]["parameters"] == 4 * 32 + 32 + 32 * 2 + 2
    forward = 2 * 32 * (4 * 32 + 32 * 2)
    assert wide["costs"]["flops_per_step"] == 3 * forward - 2 * 32 * 4 * 32  # not to the input
    assert wide["config"]["build"] == "net(32)"
    assert narrow["config"]["build"] == "net(2)"
    assert wide["config"]["optimizer"] == "torch_adam(lr=0.02)"
    assert wide["config"]["loss"] == "cross_entropy"


def test_the_curve_has_training_and_validation_loss(comparison):
    curve = comparison.results["trials"][0]["curve"]
    assert [p["step"] for p in curve if "valid_loss" in p] == list(range(6, 61, 6))
    assert sum("train_loss" in point for point in curve) == 60
    assert curve[-1]["valid_loss"] < curve[0].get("valid_loss", math.inf)


def test_the_gap_to_training_data_is_shown_and_not_judged(comparison):
    gaps = [trial["metrics"]["generalisation_gap"] for trial in comparison.results["trials"]]
    assert len(set(gaps)) > 1
    assert all(-0.5 < gap < 0.5 for gap in gaps)
    assert "generalisation_gap" not in {verdict.metric for verdict in comparison.verdicts}
    known = {metric["name"]: metric for metric in comparison.results["metrics"]}
    assert known["generalisation_gap"]["label"] == "generalisation gap of accuracy"


def test_the_gap_is_training_score_minus_test_score():
    made = experiment()
    model = made.build(made.arms[0].config, 0)
    x, y = points(256, 0)
    on_train = (model(x[:200]).argmax(-1) == y[:200]).double().mean().item()
    assert made.train_score(model) == pytest.approx(on_train)


def test_the_same_command_goes_on_and_other_data_are_refused(comparison):
    again = experiment().compare(out=comparison.folder, seeds=5)
    assert again.results == comparison.results
    with pytest.raises(ValueError, match=r"got out .* with other data \(fingerprint\)"):
        experiment(test_data=points(200, 3)).compare(out=comparison.folder)
    with pytest.raises(ValueError, match=r"got out .* with other data \(functions\) and arms"):
        experiment(models={"wide": partial(net, 31), "narrow": partial(net, 2)}).compare(
            out=comparison.folder
        )


def test_data_of_another_type_and_functions_of_another_content_are_refused(tmp_path, in_process):
    def run(factor, kind=torch.float32):
        def loss(output, target):
            return nn.functional.cross_entropy(output, target) * factor

        x, y = points(64, 0)
        data = (x.to(kind), y)
        made = experiment(loss=loss, train_data=data, test_data=(x, y), steps=2)
        return made.compare(out=tmp_path / "out", seeds=2)

    first = run(1.0)
    assert run(1.0).results == first.results
    with pytest.raises(ValueError, match=r"with other data \(functions\)\. Choose another"):
        run(2.0)
    with pytest.raises(ValueError, match=r"with other data \(fingerprint, tensors\)\. Choose"):
        run(1.0, torch.bfloat16)


def test_tensors_that_numpy_does_not_have_are_data_too():
    x, y = points(16, 0)
    half = experiment(test_data=(x.bfloat16(), y)).describe()
    learnt = experiment(test_data=(x.clone().requires_grad_(), y)).describe()
    assert half["tensors"][1] == ["torch.bfloat16 (16, 4)", "torch.int64 (16,)"]
    assert learnt["fingerprint"] == experiment(test_data=(x, y)).describe()["fingerprint"]
    swapped = experiment(test_data=(x.view(torch.int32), y)).describe()
    assert swapped["fingerprint"] == learnt["fingerprint"]
    assert swapped["tensors"] != learnt["tensors"]


def test_a_description_names_no_place_in_memory():
    """It differs from process to process; a comparison could never go on."""
    models = {"left": partial(net, 4), "right": partial(with_activation, nn.GELU())}
    made = experiment(models=models, loss=partial(weighed, weigh=lambda x: 2 * x))
    assert " at 0x" not in repr([arm.config for arm in made.arms])


def weighed(output, target, weigh):
    return weigh(nn.functional.cross_entropy(output, target))


def with_activation(activation, gate=torch.relu):
    return nn.Sequential(nn.Linear(4, 2), activation, Gate(gate))


class Gate(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def extra_repr(self):
        return str(self.function)

    def forward(self, x):
        return self.function(x)


def test_modules_that_print_functions_are_the_same_in_every_process():
    models = {"left": with_activation_of_its_own, "right": with_activation_of_its_own}
    first, second = experiment(models=models), experiment(models=models)
    assert first.arms[1].config == second.arms[1].config
    assert first.describe() == second.describe()


def with_activation_of_its_own():
    return with_activation(nn.ReLU(), lambda x: x)


def test_two_functions_of_one_name_are_two_models():
    """Only equal models start from other weights; else the pairs would not be pairs."""

    def scaled(factor):
        return lambda output, target: nn.functional.cross_entropy(output * factor, target)

    def twins(left, right):
        models = {"left": partial(net, 4), "right": partial(net, 4)}
        losses = {"left": scaled(left), "right": scaled(right)}
        return [arm.init_offset for arm in experiment(models=models, loss=losses).arms]

    assert twins(1.0, 2.0) == [0, 0]
    assert twins(2.0, 2.0)[0]


def test_a_stored_model_is_what_was_trained(comparison):
    made = experiment()
    model = made.load(comparison.folder / "trials" / "wide-seed3" / "model")
    stored = json.loads((comparison.folder / "trials" / "wide-seed3" / "trial.json").read_text())
    accuracy = made.evaluate(model).metrics["accuracy"]
    assert accuracy == stored["metrics"]["accuracy"]
    gap = made.train_score(model) - accuracy
    assert gap
    assert stored["metrics"]["generalisation_gap"] == pytest.approx(gap)
    assert count_parameters(model) == 226


def _orders(data, seed, disturb):
    order = []
    for x, _ in itertools.islice(training_batches(data, 8, seed, CPU), 8):
        torch.rand(disturb)  # as dropout does
        order += x[:, 0].tolist()
    return order


@pytest.mark.parametrize("kind", ["dataset", "loader", "own generator"])
def test_the_order_depends_on_the_seed_alone(kind):
    data = TensorDataset(*points(32, 0))
    if kind != "dataset":
        generator = torch.Generator() if kind == "own generator" else None
        data = DataLoader(data, 8, shuffle=True, generator=generator)
    first = _orders(data, 3, 0)
    assert first == _orders(data, 3, 5)
    assert first != _orders(data, 4, 0)
    assert first[:32] != first[32:]
    assert sorted(first[:32]) == sorted(first[32:])


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, left, right):
        return self.layer(torch.cat([left, right], -1))


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, values):
        return type("Output", (), {"logits": self.layer(values)})()


@pytest.mark.parametrize("kind", ["several inputs", "a mapping"])
def test_inputs_may_be_several_or_named(kind, tmp_path, in_process):
    x, y = points(64, 0)
    if kind == "several inputs":
        build, data = Pair, (x[:, :2], x[:, 2:], y)
    else:
        build, data = Named, [{"values": a, "labels": b} for a, b in zip(x, y, strict=True)]
        data = DataLoader(data, 16)
    made = experiment(
        models={"a": build, "b": build}, train_data=data, test_data=data, valid_data=None
    )
    comparison = made.compare(out=tmp_path / "out", seeds=[0], steps=3)
    assert {t["metrics"]["accuracy"] for t in comparison.results["trials"]} != {0.0}
    assert comparison.results["arms"][0]["costs"]["flops_per_step"] > 0


class TwoHeads(nn.Module):
    """Gives more than logits while it trains, which only a training of its own can read."""

    def __init__(self, width):
        super().__init__()
        self.body, self.head = nn.Linear(4, width), nn.Linear(width, 2)
        self.second = nn.Linear(width, 3)

    def forward(self, x):
        states = torch.tanh(self.body(x))
        logits = self.head(states)
        return (logits, {"second": self.second(states)}, None, 2.0) if self.training else logits


def test_a_training_of_ones_own_needs_no_other_loss(tmp_path, in_process):
    def fit(model, *, steps, seed, folder, progress):
        logits, named, *_ = model.train()(x)
        nn.functional.cross_entropy(logits, y).backward()
        assert named["second"].shape == (64, 3)

    x, y = points(64, 0)
    made = experiment(
        models={"wide": partial(TwoHeads, 32), "narrow": partial(TwoHeads, 8)},
        train_data=(x, y),
        test_data=(x, y),
        valid_data=None,
        fit=fit,
    )
    comparison = made.compare(out=tmp_path / "out", seeds=[0], steps=1)
    forward = 2 * 32 * (4 * 32 + 32 * 2 + 32 * 3)
    costs = comparison.results["arms"][0]["costs"]
    assert costs["flops_per_step"] == 3 * forward - 2 * 32 * 4 * 32  # not to the input


def test_a_model_against_itself_begins_with_other_weights():
    made = experiment(models={"again": partial(net, 8), "net": partial(net, 8)})
    again, same = made.arms
    assert isinstance(same.config, ModelConfig)
    assert again.config == same.config
    assert again.init_offset
    assert not same.init_offset


def test_losses_optimizers_and_trainings_may_differ_by_arm(tmp_path, in_process):
    calls = []

    def custom_loop(model, *, steps, seed, folder, progress):
        calls.append((steps, seed, folder.name))
        progress(steps, steps)

    def loop(model, *, steps, seed, folder, progress):
        return [{"step": 1, "train_seconds": 0.5, "loss": 3.0}]

    build = partial(net, 4)
    made = experiment(
        models={"a": build, "b": build},
        loss={"a": nn.CrossEntropyLoss(label_smoothing=0.1), "b": nn.functional.cross_entropy},
        optimizer={"a": adamw, "b": partial(torch_adam, lr=0.1)},
        fit={"a": custom_loop, "b": loop},
    )
    comparison = made.compare(out=tmp_path / "out", seeds=[0], steps=7)
    assert calls[0] == (7, 0, "a-seed0")
    a, b = comparison.results["trials"]
    assert a["curve"] == []
    assert b["curve"][0]["train_loss"] == 3.0
    assert comparison.results["arms"][0]["config"]["loss"].startswith("CrossEntropyLoss")
    with pytest.raises(ValueError, match="minutes needs training records with the loss of two"):
        made.compare(out=tmp_path / "other", minutes=0.1)


def test_records_are_heard_and_no_curves_for_tensorboard_are_drawn(tmp_path):
    def loop(model, *, steps, seed, folder, progress):
        return [{"step": 1, "train_seconds": 0.5, "loss": 3.0}]

    call = {"training": {}, "steps": 7, "seed": 0, "folder": tmp_path, "progress": lambda *_: None}
    for fit in (None, loop):
        made, heard = experiment(fit=fit), []
        model = made.build(made.arms[0].config, 0)
        assert made.train(model, **call, on_record=heard.append) == heard
        assert "loss" in heard[0]
    with pytest.raises(ValueError, match="Experiment: tensorboard must be None; got runs"):
        made.train(model, **call, tensorboard=Path("runs"))


def test_an_arms_own_loss_is_what_it_learns(tmp_path, in_process):
    def upside_down(output, target):
        return nn.functional.cross_entropy(output, 1 - target)

    build = partial(net, 32)
    made = experiment(
        models={"against": build, "for": build},
        loss={"against": upside_down, "for": nn.functional.cross_entropy},
    )
    against, right = made.compare(out=tmp_path / "out", seeds=[0]).results["trials"]
    assert against["metrics"]["accuracy"] < 0.3 < 0.8 < right["metrics"]["accuracy"]


def test_figures_of_the_whole_set_and_of_items(tmp_path, in_process):
    mean = Score(
        metric=Metric(name="mean", label="mean", better="lower", equivalence=0),
        function=lambda outputs, targets: outputs.mean(),
    )
    made = experiment(scores=[mean, ACCURACY])
    evaluation = made.evaluate(made.build(made.arms[0].config, 0))
    assert list(evaluation.metrics) == ["mean", "accuracy"]
    assert list(evaluation.items) == ["accuracy"]
    assert len(evaluation.items["accuracy"]) == 200
    assert [metric.better for metric in made.metrics] == ["lower", "higher"]


def test_a_loss_that_is_not_finite_ends_the_trial(tmp_path, in_process):
    made = experiment(loss=lambda output, target: output.sum() * math.nan)
    with pytest.raises(FloatingPointError, match=r"must be finite; got loss nan of \w+ at step 1"):
        made.compare(out=tmp_path / "out", seeds=[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {"a": partial(net, 2)}}, r"models must be two or more; got \['a'\]"),
        ({"loss": {"wide": nn.MSELoss()}}, "loss by arm must have the arms of models; got"),
        ({"batch_size": 0}, "batch_size must be >= 1; got batch_size 0"),
        ({"scores": []}, r"scores must be one or more with different names; got \[\]"),
        ({"test_data": (torch.ones(2), torch.ones(3))}, r"test_data must be tensors of equal len"),
        ({"train_data": iter([])}, "train_data must be a dataset with a length above 0"),
        ({"train_data": []}, "train_data must be tensors of equal length"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=f"Experiment: {message}"):
        experiment(**changes)


def test_refuses_builders_and_scores_that_give_something_else():
    made = experiment(models={"a": lambda: 3, "b": partial(net, 2)})
    with pytest.raises(ValueError, match=r"models must build nn.Modules; got int of a"):
        _ = made.arms
    half = replace(ACCURACY, function=lambda outputs, targets: outputs[:3, 0])
    made = experiment(scores=[half])
    with pytest.raises(ValueError, match=r"one number or one per item; got shape \(3,\) of accur"):
        made.evaluate(made.build(made.arms[0].config, 0))


def test_needs_a_budget(tmp_path):
    with pytest.raises(ValueError, match="exactly one of steps and minutes must be given"):
        experiment(steps=None).compare(out=tmp_path / "out")


def test_numbers_of_an_experiment_are_tuned(tmp_path, in_process):
    made = experiment(
        optimizer=torch_adam_or_not, search={"lr": Range(low=1e-6, high=0.1, log=True)}
    )
    comparison = made.compare(out=tmp_path / "out", seeds=[0], steps=20, draws=5)
    best = comparison.results["tuning"]["wide"]["best"]["training.lr"]
    assert comparison.results["arms"][0]["training"] == {"lr": best}
    assert best > 1e-3
    model = made.load(comparison.folder / "trials" / "wide-seed0" / "model")
    x, y = points(100, 2)
    right = (model(x).argmax(-1) == y).double().mean().item()
    assert made.validate(model) == pytest.approx(right)


def torch_adam_or_not(model, lr=1e-7):
    return torch.optim.Adam(model.parameters(), lr=lr)


def test_tuning_needs_something_to_draw_and_to_judge():
    with pytest.raises(ValueError, match="space must have a number to draw"):
        experiment().tuning(3)
    drawn = {"lr": Range(low=0.1, high=1.0)}
    with pytest.raises(ValueError, match="tuning needs valid_data; got none, draws 3"):
        experiment(valid_data=None, search=drawn).tuning(3)
    assert experiment().tuning(0) is None


def test_an_experiment_reaches_another_process():
    made = experiment()
    model = made.build(made.arms[0].config, 0)
    made.predict(model, items=8, batch_size=4)
    again = cloudpickle.loads(cloudpickle.dumps(made))
    assert again.arms == made.arms
    assert again.describe() == made.describe()
    other = again.build(again.arms[0].config, 0)
    assert again.evaluate(other) == made.evaluate(model)
    assert again.train_score(other) == made.train_score(model)


def test_the_loop_trains_on_the_batches_of_its_seed():
    x, y = points(64, 0)
    data, settings = TensorDataset(x, y), {"batch_size": 8, "device": "cpu", "steps": 6}
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(5)
        model = net(4)
        records = train_loop(
            model,
            "net",
            torch.optim.SGD(model.parameters(), lr=0.1),
            nn.functional.cross_entropy,
            data,
            None,
            seed=seed,
            progress=lambda step, steps: None,
            **settings,
        )
        losses.append([record["loss"] for record in records])
    assert losses[0] == losses[1] != losses[2]
    assert len(losses[0]) == 6


def test_validation_turns_the_sign_where_lower_is_better():
    wrong = Score(
        metric=Metric(name="wrong", label="wrong", better="lower", equivalence=0),
        function=lambda outputs, targets: (outputs.argmax(-1) != targets).double(),
    )
    made = experiment(scores=[wrong])
    model = made.build(made.arms[0].config, 0)
    x, y = points(100, 2)
    share = (model(x).argmax(-1) != y).double().mean().item()
    assert made.validate(model) == pytest.approx(-share)


def test_validation_does_not_count_as_training_time(monkeypatch):
    clock = [0.0]

    def validated(*_):
        clock[0] += 100
        return 0.5

    monkeypatch.setattr("askew.tradeoffs._running.train_loop.seconds", lambda device: clock[0])
    monkeypatch.setattr("askew.tradeoffs._running.train_loop._mean_loss", validated)
    made = experiment()
    records = made.train(
        made.build(made.arms[0].config, 0),
        training={},
        steps=20,
        seed=0,
        folder=None,
        progress=lambda step, steps: None,
    )
    assert clock[0] == 1000
    assert {record["train_seconds"] for record in records} == {0.0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"models": [partial(net, 2), partial(net, 3)]},
            "models must map .* got models of type list",
        ),
        ({"models": {"a": net(2), "b": partial(net, 2)}}, r"function that builds .*models\['a'\]"),
        ({"loss": "mse"}, "loss must be a function, or one by arm; got loss 'mse'"),
        ({"train_data": ([[1.0] * 4], [0])}, "train_data must be tensors; .* of list, list"),
        ({"test_data": torch.randn(8, 4)}, r"test_data must be inputs and targets; .*\(8, 4\)"),
    ],
)
def test_what_has_the_wrong_type_is_refused_before_any_training(changes, words):
    with pytest.raises(TypeError, match=rf"^Experiment: .*{words}"):
        experiment(**changes)


@pytest.mark.parametrize("steps", [0, -1, "60", 1.5])
def test_steps_are_a_positive_integer(steps):
    with pytest.raises(ValueError, match=r"^Experiment: steps must be an integer >= 1"):
        experiment(steps=steps)
