"""The space of every application holds the models that are given, as they are."""

from functools import cache

import numpy as np
import pytest

from askew.tasks import APPLICATIONS
from askew.tasks._table_application import _LABELS, _ONE_LABEL, _RETRIEVAL
from askew.tasks._text_label_application import _EXCLUSIVE, _SEVERAL
from askew.tradeoffs import with_values
from askew.tradeoffs._running.candidates import Candidate, flat, found_toml

PRESETS = {"multilabel": _LABELS, "imbalanced": _ONE_LABEL, "retrieval": _RETRIEVAL}
TEXTS = {"labels": _SEVERAL, "one label": _EXCLUSIVE}
PRESETS |= {name: [*losses, "rates", "layer-decay"] for name, losses in TEXTS.items()}
CASES = [(name, preset) for name, presets in PRESETS.items() for preset in presets]


@pytest.fixture(scope="module", autouse=True)
def texts(tmp_path_factory):
    """Texts of which some have two labels, and texts of which each has one."""
    folder = tmp_path_factory.mktemp("texts")
    held = {"labels": ["cats", "dogs", "cats,dogs"], "one label": ["cats", "dogs", "birds"]}
    for name, labels in held.items():
        rows = (f"number {n}\t{labels[n % 3]}\n" for n in range(30))
        (folder / f"{name}.tsv").write_text("".join(rows))
    FOLDERS.append(folder)


FOLDERS = []


@cache
def searched(name, challenger):
    data = {"data": str(FOLDERS[0] / f"{name}.tsv"), "vocab_size": 300} if name in TEXTS else {}
    application = APPLICATIONS["labels" if name in TEXTS else name]
    choices = application.options(challenger=challenger, **data)
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
        for _ in range(8):
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


def test_texts_with_several_labels_have_the_two_sided_loss_and_a_rate_for_each_part():
    _, arms, space = searched("labels", "asl")
    assert space.numbers["training.loss.name"].values == ("asymmetric",)
    values = space.draw(np.random.default_rng(1), symmetric=True)
    training = with_values(space.base_of(arms[0]), values).training
    loss, encoder, head = (training[name] for name in ("loss", "encoder", "head"))
    assert encoder == {"lr": head["lr"], "layer_decay": 1.0}
    assert loss["gamma_pos"] == loss["gamma_neg"]
    assert (loss["name"], loss["margin"]) == ("asymmetric", 0.0)
    assert [space.is_symmetric(space.values_of(arm)) for arm in arms] == [False, True]


def test_a_candidate_is_read_again_from_its_file(tmp_path):
    task, arms, space = searched("labels", "hill")
    generator = np.random.default_rng(0)
    values = next(
        values
        for values in (space.draw(generator, symmetric=False) for _ in range(99))
        if values["training.loss.name"] == "hill"
    )
    arm = with_values(space.base_of(arms[0]), values)
    path = tmp_path / "found.toml"
    path.write_text(found_toml(Candidate(arm, False, "random", values, 1.0, {})))
    options = APPLICATIONS["labels"].options(challenger=str(path))
    first, _ = APPLICATIONS["labels"].make_arms(task, options)[0]
    assert settings(first.training) == settings(arm.training)
    assert first.config == arm.config


WHOLE = {
    "translation": ["adapter=shared", "tie_embeddings=all", "d_embedding=48"],
    "qa": ["d_pool=96", "max_context_tokens=200", "overlap=40", "reader.d_ff=80"],
    "labels": ["max_tokens=40", "encoder.d_ff=96"],
    "multilabel": ["width=32", "num_layers=1", "input_dropout=0.1"],
    "retrieval": ["width=32", "num_layers=1"],
}
"""Settings of each application, in no space, of which most are of no part of the model."""


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_describes_the_whole_of_what_was_found(name, tmp_path):
    application = APPLICATIONS[name]
    chosen = application.options(set_=WHOLE[name])
    task, arms, *_ = application.setup(chosen)
    space = application.space(task, chosen)
    generator = np.random.default_rng(4)
    values = space.draw(generator, symmetric=False)
    if space.solved:
        values, _ = space.solve(values, lambda _: 1.0, 2.0, symmetric=False)
    arm = with_values(space.base_of(arms[0]), values)
    path = tmp_path / "found.toml"
    path.write_text(found_toml(Candidate(arm, False, "random", values, 1.0, {})))
    first, *_ = application.make_arms(task, application.options(challenger=str(path)))[0]
    assert first.config == arm.config
    assert settings(first.training) == settings(arm.training)
    if application.train is not None:
        names = {"labels": "loss"}
        options = application.train.options(**{names.get(name, "shape"): str(path)})
        config, training = application.train.make_model(task, options)
        assert config == arm.config
        assert settings(training) == settings(arm.training)


@pytest.mark.parametrize(
    ("challenger", "losses"),
    [
        ("ldam", ("focal", "logit_adjusted", "ldam")),
        ("aul", ("focal", "agce", "aul", "ael")),
        ("rates", ("focal",)),
    ],
)
def test_texts_with_one_label_have_losses_like_that_of_the_challenger(challenger, losses):
    _, arms, space = searched("one label", challenger)
    assert space.numbers["training.loss.name"].values == losses
    values = space.draw(np.random.default_rng(1), symmetric=True)
    loss = with_values(space.base_of(arms[0]), values).training["loss"]
    assert loss.keys() == {"name", "gamma"}
    assert space.is_symmetric(space.values_of(arms[1]))
