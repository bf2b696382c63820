from dataclasses import FrozenInstanceError, replace
from functools import partial

import pytest

from askew._config import to_dict
from askew.training import QATrainingConfig, SideConfig, TrainingConfig


@pytest.mark.parametrize(
    "name", ["steps", "batch_tokens", "accumulate", "evaluations", "checkpoints"]
)
@pytest.mark.parametrize("value", [0, -3])
def test_counts_must_be_positive(name, value):
    values = {"steps": 10, name: value}
    with pytest.raises(
        ValueError, match=rf"TrainingConfig: {name} .* positive; got {name} {value}$"
    ):
        TrainingConfig(**values)


@pytest.mark.parametrize("name", ["lr", "clip_norm"])
@pytest.mark.parametrize("value", [0.0, -0.5, float("nan")])
def test_rates_must_be_positive(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be positive; got {name} {value}$"):
        TrainingConfig(steps=10, **{name: value})


@pytest.mark.parametrize(("name", "value"), [("warmup_steps", -1), ("weight_decay", -0.1)])
def test_warmup_and_weight_decay_may_be_zero_but_not_less(name, value):
    assert getattr(TrainingConfig(steps=10, **{name: 0 * value}), name) == 0
    with pytest.raises(ValueError, match=rf"{name} must be >= 0; got {name} {value}$"):
        TrainingConfig(steps=10, **{name: value})


def test_rates_and_decays_are_finite():
    for make in (
        partial(TrainingConfig, steps=10),
        SideConfig,
        partial(QATrainingConfig, steps=10),
    ):
        for name in ("lr", "weight_decay"):
            with pytest.raises(ValueError, match=f"{name} must be finite; got {name} inf"):
                make(**{name: float("inf")})
    for name in ("retrieval_weight", "temperature"):
        with pytest.raises(ValueError, match=f"{name} must be finite; got {name} inf"):
            QATrainingConfig(steps=10, **{name: float("inf")})


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5])
def test_smoothing_is_a_share_below_one(value):
    assert TrainingConfig(steps=10, label_smoothing=0.0).label_smoothing == 0.0
    with pytest.raises(ValueError, match=rf"in \[0, 1\); got label_smoothing {value}$"):
        TrainingConfig(steps=10, label_smoothing=value)


def test_the_algorithm_is_one_of_two_and_not_stored_where_it_is_the_usual_one():
    for make in (partial(TrainingConfig, steps=10), SideConfig, partial(QATrainingConfig, steps=1)):
        assert make(base="muon").base == "muon"
        with pytest.raises(ValueError, match="base must be adamw or muon; got base 'sgd'"):
            make(base="sgd")
    usual = to_dict(TrainingConfig(steps=10))
    assert "base" not in usual
    assert "base" not in usual["encoder"]
    other = to_dict(TrainingConfig(steps=10, base="muon", encoder=SideConfig(base="adamw")))
    assert (other["base"], other["encoder"]["base"]) == ("muon", "adamw")


def test_schedule_is_one_of_four():
    for schedule in ("linear", "cosine", "inverse_sqrt", "constant", "wsd"):
        assert TrainingConfig(steps=10, schedule=schedule).schedule == schedule


@pytest.mark.unhooked
def test_refuses_another_schedule():
    with pytest.raises(
        ValueError, match="linear, cosine, inverse_sqrt, constant or wsd; got schedule 'step'"
    ):
        TrainingConfig(steps=10, schedule="step")


def test_is_frozen_checked_when_replaced_and_only_steps_have_no_default():
    config = TrainingConfig(steps=10)
    with pytest.raises(FrozenInstanceError):
        config.steps = 11
    with pytest.raises(ValueError, match="got steps 0"):
        replace(config, steps=0)
    with pytest.raises(TypeError, match="steps"):
        TrainingConfig()


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_average_decay_is_below_one(value):
    with pytest.raises(ValueError, match=rf"in \[0, 1\); got average_decay {value}$"):
        TrainingConfig(steps=10, average_decay=value)


def test_patience_is_positive_or_none():
    assert TrainingConfig(steps=10, patience=1).patience == 1
    with pytest.raises(ValueError, match=r"positive or None; got patience 0$"):
        TrainingConfig(steps=10, patience=0)


@pytest.mark.unhooked
@pytest.mark.parametrize("name", ["precision", "target"])
def test_refuses_unknown_words(name):
    with pytest.raises(ValueError, match=rf"{name} must be .* or .*; got {name} 'other'$"):
        TrainingConfig(steps=10, **{name: "other"})


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [
        ("lr", 0.0, "positive"),
        ("warmup_steps", -1, ">= 0"),
        ("weight_decay", -0.5, ">= 0"),
        ("schedule", "step", "linear, cosine, inverse_sqrt, constant or wsd"),
        ("bpe_dropout", 1.5, r"in \[0, 1\]"),
    ],
)
def test_a_side_refuses_what_is_out_of_range(name, value, range_):
    with pytest.raises(ValueError, match=rf"SideConfig: {name} must be {range_}; got {name} "):
        SideConfig(**{name: value})


def test_a_side_differs_in_nothing_by_default():
    assert TrainingConfig(steps=1).encoder == TrainingConfig(steps=1).decoder == SideConfig()
