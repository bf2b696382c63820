"""What a file lacks is drawn anew: no weight is ever memory that nobody wrote."""

import json
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.initialization import TORCH_INIT_FUNCTIONS

from askew.models import (
    AsymmetricQAConfig,
    AsymmetricQAModel,
    AsymmetricTranslationConfig,
    AsymmetricTranslationModel,
    QAConfig,
)
from askew.transformer import (
    AsymmetricEncoderDecoder,
    EncoderDecoderConfig,
    ReaderConfig,
    StackConfig,
)

WIDE = StackConfig(d_model=12, num_layers=2, num_heads=3, d_ff=20)
NARROW = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=14, num_kv_heads=1, qk_norm=True)
BERT = {
    "model_type": "bert",
    "vocab_size": 30,
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def translation(**changes):
    vocabs = {"source_vocab": 300, "target_vocab": 300}
    plain = EncoderDecoderConfig(encoder=WIDE, decoder=NARROW, **(vocabs | changes))
    return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))


def answering(pretrained=None, **changes):
    vocabs = {"question_vocab": 300, "context_vocab": 300}
    reader = ReaderConfig(d_model=8, num_layers=1, num_heads=2, d_key=4, d_ff=8)
    plain = QAConfig(question=NARROW, context=WIDE, reader=reader, **(vocabs | changes))
    config = AsymmetricQAConfig.from_plain(plain, context_pretrained=pretrained)
    return AsymmetricQAModel(config)


MODELS = {
    "translation": translation,
    "one table": lambda **changes: translation(tie_embeddings="all", d_embedding=6, **changes),
    "untied": lambda **changes: translation(tie_embeddings="none", adapter="shared", **changes),
    "qa": lambda **changes: answering(d_pool=8, **changes),
    "qa of transformers": lambda **changes: answering(BERT, **changes),
}
each = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@contextmanager
def seeded_init(monkeypatch):
    """Let every call of an initializer draw the same numbers, whatever was drawn before."""

    def seeded(function):
        def call(*args, **kwargs):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name, function in TORCH_INIT_FUNCTIONS.items():
            patch.setitem(TORCH_INIT_FUNCTIONS, name, seeded(function))
            patch.setattr(torch.nn.init, name, seeded(function))
        yield


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, weight in one.items():
        assert torch.equal(weight, other[name]), name


def fill_with_nan(tensor, **kwargs):
    """Stand for memory that holds anything."""
    empty = EMPTY_LIKE(tensor, **kwargs)
    return empty.fill_(torch.nan) if empty.is_floating_point() else empty


EMPTY_LIKE = torch.empty_like


@each
def test_a_file_without_weights_gives_those_of_the_constructor(make, monkeypatch):
    with seeded_init(monkeypatch):
        built = make()
        monkeypatch.setattr(torch, "empty_like", fill_with_nan)
        drawn = type(built).from_pretrained(None, config=built.config, state_dict={})
    assert_same(drawn.state_dict(), built.state_dict())


@each
def test_removed_keys_are_drawn_anew_and_the_others_kept(make, tmp_path, monkeypatch):
    model = make()
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: weight for i, (name, weight) in enumerate(weights.items()) if i % 2}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr(torch, "empty_like", fill_with_nan)
    loaded = type(model).from_pretrained(tmp_path).state_dict()
    for name, weight in model.state_dict().items():
        assert loaded[name].isfinite().all(), name
        if name in kept:
            assert torch.equal(loaded[name], weight), name
        elif weight.std() > 0.0 and weight.dim() > 1 and not weight.equal(torch.eye(len(weight))):
            assert not torch.equal(loaded[name], weight), name
            assert loaded[name].std() == pytest.approx(weight.std().item(), rel=0.5), name


@each
def test_tables_of_another_size_are_drawn_anew(make, tmp_path):
    model = make()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    changed = {name: 290 for name in config if name in CHANGED}
    (tmp_path / "config.json").write_text(json.dumps(config | changed))
    loaded = type(model).from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    state, sizes = loaded.state_dict(), []
    for name, weight in model.state_dict().items():
        if state[name].shape == weight.shape:
            assert torch.equal(state[name], weight), name
        else:
            sizes.append(len(state[name]))
            assert state[name].std() == pytest.approx(weight.std().item(), rel=0.2), name
    assert sizes
    assert set(sizes) == {290}


CHANGED = ("source_vocab", "vocab_size", "question_vocab", "context_vocab")


def test_building_a_model_draws_its_weights_once():
    torch.manual_seed(3)
    once = translation()
    after = torch.random.get_rng_state()
    torch.manual_seed(3)
    AsymmetricEncoderDecoder(once.config.to_plain())
    assert torch.equal(torch.random.get_rng_state(), after)
    before = {name: weight.clone() for name, weight in once.state_dict().items()}
    once.init_weights()
    assert_same(once.state_dict(), before)


def test_a_new_table_is_drawn_like_those_of_the_model():
    table = torch.nn.Embedding(400, 64)
    translation()._init_weights(table)
    assert table.weight.std().item() == pytest.approx(64**-0.5, rel=0.05)
