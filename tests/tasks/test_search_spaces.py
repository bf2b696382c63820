"""The space of every application holds the models that are given, as they are."""

from functools import cache

import numpy as np
import pytest

from askew.tasks import APPLICATIONS
from askew.tasks._table_application import _LABELS, _ONE_LABEL, _RETRIEVAL
from askew.tradeoffs import with_values
from askew.tradeoffs._running.candidates import flat

PRESETS = {"multilabel": _LABELS, "imbalanced": _ONE_LABEL, "retrieval": _RETRIEVAL}
CASES = [(name, preset) for name, presets in PRESETS.items() for preset in presets]


@cache
def searched(name, challenger):
    application = APPLICATIONS[name]
    choices = application.options(challenger=challenger)
    task, arms, *_ = application.setup(choices)
    return task, arms, application.space(task, choices)


def settings(training):
    return {name: value for name, value in flat(training).items() if value is not None}


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_given_arm_is_a_candidate_with_its_own_numbers(name, preset):
    _, arms, space = searched(name, preset)
    for arm in arms:
        made = with_values(space.base_of(arms[0]), space.values_of(arm))
        assert made.config == arm.config
        assert settings(made.training) == settings(arm.training)


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_draws_of_both_families_can_be_trained(name, preset):
    task, arms, space = searched(name, preset)
    base, generator = space.base_of(arms[0]), np.random.default_rng(0)
    for symmetric in (False, True):
        for _ in range(30):
            values = space.draw(generator, symmetric=symmetric)
            if values.get("training.loss.margin", 0.0) < 0.19:  # a margin may be out of its range
                task.check_training(with_values(base, values).training)


@pytest.mark.parametrize("challenger", ["asl", "hill", "two-way", "adaptive"])
def test_symmetric_candidates_have_the_two_sided_loss_with_equal_sides(challenger):
    _, arms, space = searched("multilabel", challenger)
    values = space.draw(np.random.default_rng(1), symmetric=True)
    loss = with_values(space.base_of(arms[0]), values).training["loss"]
    assert loss.pop("name", "asymmetric") == "asymmetric"
    assert loss.pop("gamma_pos") == loss.pop("gamma_neg")
    assert loss.pop("weight_pos") == loss.pop("weight_neg")
    assert loss == {"margin": 0.0}


def test_a_loss_for_missing_labels_brings_its_like():
    _, _, space = searched("multilabel", "hill")
    generator = np.random.default_rng(0)
    drawn = [space.draw(generator, symmetric=False) for _ in range(60)]
    numbers = {
        name: {key for one in drawn if one["training.loss.name"] == name for key in one}
        for name in ("asymmetric", "hill", "splc", "two_way")
    }
    endings = {
        name: {key.removeprefix("training.loss.") for key in keys if ".loss." in key} - {"name"}
        for name, keys in numbers.items()
    }
    assert endings == {
        "asymmetric": {"gamma_pos", "gamma_neg", "weight_pos", "weight_neg", "margin"},
        "hill": {"gamma_pos", "margin_pos", "lambda_neg"},
        "splc": {"gamma_pos", "gamma_neg", "margin_pos", "tau"},
        "two_way": {"temperature_pos", "temperature_neg"},
    }


def test_the_two_sided_loss_is_searched_alone_by_default():
    _, _, space = searched("multilabel", "asl")
    assert not space.conditions
    assert "training.loss.name" not in space.numbers
