from dataclasses import FrozenInstanceError, replace

import pytest

from askew.training import TrainingConfig


@pytest.mark.parametrize("name", ["steps", "batch_tokens", "evaluations", "checkpoints"])
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


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5])
def test_smoothing_is_a_share_below_one(value):
    assert TrainingConfig(steps=10, label_smoothing=0.0).label_smoothing == 0.0
    with pytest.raises(ValueError, match=rf"in \[0, 1\); got label_smoothing {value}$"):
        TrainingConfig(steps=10, label_smoothing=value)


def test_schedule_is_one_of_three():
    for schedule in ("linear", "cosine", "inverse_sqrt"):
        assert TrainingConfig(steps=10, schedule=schedule).schedule == schedule


@pytest.mark.unhooked
def test_refuses_another_schedule():
    with pytest.raises(ValueError, match="linear, cosine or inverse_sqrt; got schedule 'step'"):
        TrainingConfig(steps=10, schedule="step")


def test_is_frozen_checked_when_replaced_and_only_steps_have_no_default():
    config = TrainingConfig(steps=10)
    with pytest.raises(FrozenInstanceError):
        config.steps = 11
    with pytest.raises(ValueError, match="got steps 0"):
        replace(config, steps=0)
    with pytest.raises(TypeError, match="steps"):
        TrainingConfig()
