"""One table says what opens each kind of model folder."""

import json
from dataclasses import FrozenInstanceError

import pytest
from saved_model import saved
from transformers import AutoConfig, BertConfig, BertModel

from askew.models import MODEL_KINDS, ModelKind, build_on_meta, load_checkpoint, model_kind


def test_every_kind_is_known_to_transformers_and_has_its_own_type():
    types = [kind.model_type for kind in MODEL_KINDS]
    assert len(set(types)) == len(types)
    assert types[-1] is None  # all others
    for kind in MODEL_KINDS[:-1]:
        assert kind.model_class.config_class is type(AutoConfig.for_model(kind.model_type))
        assert kind.application in ("translation", "qa", "labels")


def test_a_row_is_fixed():
    assert all(isinstance(kind, ModelKind) for kind in MODEL_KINDS)
    with pytest.raises(FrozenInstanceError):
        MODEL_KINDS[0].application = "other"


@pytest.mark.parametrize("model_type", ["bert", "", None, 3, ["askew-qa"], {}])
def test_any_other_type_is_the_last_row(tmp_path, model_type):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert model_kind(tmp_path) is MODEL_KINDS[-1]


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_config_that_cannot_be_read_is_the_last_row_and_refused_by_its_loader(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert model_kind(tmp_path) is MODEL_KINDS[-1]
    with pytest.raises(
        ValueError, match=r"load_checkpoint: config\.json must (be JSON|hold an object)"
    ):
        load_checkpoint(tmp_path)


def test_the_row_of_a_folder_loads_it(tmp_path):
    saved(tmp_path / "ours")
    BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path / "theirs")
    for name, application in (("ours", "translation"), ("theirs", None)):
        kind = model_kind(tmp_path / name)
        assert kind.application == application
        loaded, shape = kind.load(tmp_path / name), build_on_meta(tmp_path / name)
        assert type(loaded) is type(shape)
        sizes = [[(n, p.shape) for n, p in m.named_parameters()] for m in (loaded, shape)]
        assert sizes[0] == sizes[1]
