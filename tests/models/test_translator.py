"""Text in, text out: in order, within a length, and the same whatever the batches are."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from saved_model import saved

from askew.models import (
    AsymmetricTranslationConfig,
    AsymmetricTranslationModel,
    DecodingConfig,
    Hypothesis,
    TokenHypothesis,
    Translator,
    load_translation_model,
    write_checksums,
)
from askew.text import END, PADDING, START, train_tokenizer
from askew.transformer import EncoderDecoderConfig, PositionConfig, StackConfig

TEXTS = ["two", "one hundred and twenty", "", "ten", "a very long line of words 123", " \t", "é"]
TOKENIZER = train_tokenizer(["one hundred two ten words"] * 3, vocab_size=280)


@pytest.fixture(scope="module")
def model():
    """Louder than initial weights, so that what was read decides what is written."""
    torch.manual_seed(1)
    encoder, decoder = (
        StackConfig(d_model=d_model, num_layers=1, num_heads=2, d_ff=24) for d_model in (16, 12)
    )
    vocab = TOKENIZER.get_vocab_size()
    plain = EncoderDecoderConfig(
        source_vocab=vocab,
        target_vocab=vocab,
        encoder=encoder,
        decoder=decoder,
        tie_embeddings="none",
    )
    made = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))
    for name, parameter in made.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=1.5 * parameter.shape[-1] ** -0.5)
    return made


class Echo:
    """Writes what it reads."""

    def decode(self, sources, limits, config):
        assert not {PADDING, START, END} & {token for source in sources for token in source}
        return [[TokenHypothesis(list(source), -1.0)] for source in sources]


def test_special_tokens_in_a_text_reach_the_engine_as_text_in_a_copied_tokenizer_too():
    texts = ["<s>one</s>", "ten <pad> two", "</s>"]
    long = "<s>a</s>. " * 40
    for tokenizer in (TOKENIZER, pickle.loads(pickle.dumps(TOKENIZER))):
        assert Translator(Echo(), tokenizer).translate(texts) == texts
        assert Translator(Echo(), tokenizer, max_source_tokens=30).translate([long]) == [long]


@pytest.fixture
def folder(tmp_path, model):
    model.save_pretrained(tmp_path)
    TOKENIZER.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_order_is_kept_and_empty_lines_stay_empty(model):
    translator = Translator(model, TOKENIZER)
    together = translator.translate(TEXTS)
    assert together == [translator.translate([text])[0] for text in TEXTS]
    assert [row for row, text in enumerate(together) if text == ""] == [2, 5]
    assert len(set(together)) == 6
    beams = translator.translate(TEXTS, num_beams=3)
    assert beams != together
    assert translator.translate(TEXTS[::-1], num_beams=3) == beams[::-1]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batch_size_does_not_change_greedy_translations(model, batch_size):
    translator = Translator(model, TOKENIZER, batch_size=batch_size)
    assert translator.translate(TEXTS) == Translator(model, TOKENIZER).translate(TEXTS)


def test_at_most_batch_size_sentences_of_like_length_are_decoded_together(model, monkeypatch):
    shapes, encode = [], model.model.encode

    def noted(tokens, **settings):
        shapes.append(tuple(tokens.shape))
        return encode(tokens, **settings)

    monkeypatch.setattr(model.model, "encode", noted)
    Translator(model, TOKENIZER, batch_size=2).translate(["a" * n for n in (9, 1, 4, 2, 5)])
    assert shapes == [(2, 3), (2, 6), (1, 10)]


def test_nothing_is_translated_to_nothing(model):
    translator = Translator(model, TOKENIZER)
    assert translator.translate([]) == []
    assert translator.translate(["", "\n"]) == ["", ""]


def test_greedy_translation_is_the_most_likely_next_token_each_time(model):
    model.eval()
    source = torch.tensor([[*TOKENIZER.encode("one hundred").ids, 2]])
    written = [1]
    while written[-1] != 2 and len(written) <= 2 * (source.numel() - 1) + 16:
        with torch.no_grad():
            logits = model(source, decoder_input_ids=torch.tensor([written])).logits
        written.append(logits[0, -1].argmax().item())
    expected = TOKENIZER.decode([token for token in written if token > 2])
    assert Translator(model, TOKENIZER).translate(["one hundred"]) == [expected]


class Endless:
    """An engine that writes as much as it may, and notes what it was asked."""

    def __init__(self):
        self.calls = []

    def decode(self, sources, limits, config):
        self.calls.append((len(sources), config.num_beams))
        letter = TOKENIZER.token_to_id("x")
        return [[TokenHypothesis([letter] * limit, -1.0)] for limit in limits]


@pytest.mark.unhooked
@pytest.mark.parametrize("num_beams", [1, 2])
def test_a_translation_that_never_ends_is_cut_by_the_length_of_its_own_source(num_beams):
    engine, texts = Endless(), ["abc", "z" * 20]
    assert [len(TOKENIZER.encode(text).ids) for text in texts] == [3, 20]
    found = Translator(engine, TOKENIZER).translate(texts, num_beams=num_beams)
    assert found == ["x" * 22, "x" * 56]
    assert engine.calls == [(2, num_beams)]


@pytest.mark.unhooked
def test_batches_are_bounded_in_lines_and_in_tokens_times_beams():
    engine = Endless()
    Translator(engine, TOKENIZER, batch_size=4).translate(["abc"] * 10)
    assert engine.calls == [(4, 1), (4, 1), (2, 1)]
    engine = Endless()
    Translator(engine, TOKENIZER).translate(["z" * 400] * 30, num_beams=5)
    assert {size for size, _ in engine.calls} == {4, 2}  # 401 tokens x 5 beams x 4 fit 8192


@pytest.mark.unhooked
@pytest.mark.parametrize("longest", [1, 7, 30])
@pytest.mark.parametrize(
    "text",
    [
        "One sentence. Another one! A third? And an end without a dot",
        "nospacesatall" * 9,
        "zwei  Zeilen\nmit Öl\tund größeren 😀 Rädern " * 4,
        " leading and trailing ",
        "\u200f\u0301\x00\x0b\x85\u2028" * 20,
    ],
)
def test_pieces_of_a_long_text_fit_and_join_to_the_text(text, longest):
    translator = Translator(Endless(), TOKENIZER, max_source_tokens=longest)
    pieces = translator.split_text(text)
    assert "".join(piece + after for piece, after in pieces) == text
    assert all(not after.strip() for _, after in pieces)
    for piece, _ in pieces:
        assert len(TOKENIZER.encode(piece).ids) <= longest or len(piece.rstrip()) <= 1
    assert translator.split_text(" \n ") == translator.split_text("") == []


@pytest.mark.unhooked
def test_a_long_text_is_cut_where_sentences_end_and_its_translation_is_joined():
    translator = Translator(Endless(), TOKENIZER, max_source_tokens=20)
    text = "A first one. A second one.  And more"
    assert [piece for piece, _ in translator.split_text(text)] == [
        "A first one.",
        "A second one.",
        "And more",
    ]
    (found,) = translator.translate([text])
    assert found.count(" ") == 3
    assert set(found) == {"x", " "}


@pytest.mark.unhooked
def test_a_text_without_spaces_is_cut_where_sentences_end():
    translator = Translator(Endless(), TOKENIZER, max_source_tokens=24)
    text = "今日は晴。「明日も。」と言う。"
    pieces = [piece for piece, _ in translator.split_text(text)]
    assert pieces == ["今日は晴。", "「明日も。」", "と言う。"]


@pytest.mark.unhooked
@pytest.mark.parametrize("blank", [" \n" * 40, "\n" * 90, "\u2003" * 30])
def test_white_space_of_more_tokens_than_are_read_stays_as_it_is(blank):
    read = []

    class Noting(Echo):
        def decode(self, sources, limits, config):
            read.extend(TOKENIZER.decode(source) for source in sources)
            return super().decode(sources, limits, config)

    translator = Translator(Noting(), TOKENIZER, max_source_tokens=12)
    text = f"{blank}one.{blank}two.{blank}"
    (best,) = translator.hypotheses([text], DecodingConfig())[0]
    assert best == Hypothesis(text, -1.0)
    assert read == ["one.", "two."]


@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("num_beams", [1, 2])
def test_a_text_of_more_tokens_than_the_model_has_positions_is_split(side, num_beams):
    torch.manual_seed(0)
    plain = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
    few = replace(plain, positions=PositionConfig(kind="learned", offset=2, length=22))
    sides = {"encoder": plain, "decoder": plain} | {side: few}
    vocab = TOKENIZER.get_vocab_size()
    config = EncoderDecoderConfig(
        source_vocab=vocab, target_vocab=vocab, **sides, tie_embeddings="none"
    )
    model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(config))
    translator = Translator(model, TOKENIZER)
    assert translator.max_source_tokens == 19  # and the end token
    texts = ["z" * 60, "two", "a b c. " * 9]
    assert all(translator.translate(texts, num_beams=num_beams))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_altered_file_is_refused_where_checksums_were_written(folder, name):
    write_checksums(folder)
    Translator.from_pretrained(folder)
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    with pytest.raises(ValueError, match=rf"as it was written; got .*{name} missing or altered"):
        load_translation_model(folder)


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "other model", "nan"])
def test_a_damaged_model_is_refused_also_without_checksums(folder, damage):
    weights = folder / "model.safetensors"
    raw = weights.read_bytes()
    if damage == "nan":
        state = load_file(weights)
        state["model.decoder.norm.bias"][0] = float("nan")
        save_file(state, weights, metadata={"format": "pt"})
    elif damage == "other model":
        state = load_file(weights)
        state["model.decoder.norm.weird"] = state.pop("model.decoder.norm.bias")
        save_file(state, weights, metadata={"format": "pt"})
    else:
        weights.write_bytes({"truncated": raw[:-40], "empty": b"", "garbage": b"x" * 99}[damage])
    with pytest.raises(ValueError, match=r"must hold every weight of the model; got .*Restore"):
        Translator.from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json must be JSON"),
        ('{"model_type": "bert"}', "of an askew-translation model; got model_type 'bert'"),
        ("[]", "config.json must hold an object"),
        ("{}", "of an askew-translation model; got model_type None"),
    ],
)
def test_a_foreign_config_is_refused(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Translator.from_pretrained(folder)


def test_refuses_an_unknown_engine(folder):
    with pytest.raises(ValueError, match="engine must be torch or ctranslate2; got 'jax'"):
        Translator.from_pretrained(folder, engine="jax")


def test_puts_the_model_into_evaluation_mode_and_keeps_no_gradient(model):
    model.train()
    translator = Translator(model, TOKENIZER)
    assert not model.training
    assert translator.translate(["ten"]) == translator.translate(["ten"])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_saved_folder_translates_the_same(folder, model):
    expected = Translator(model, TOKENIZER).translate(TEXTS)
    assert Translator.from_pretrained(folder).translate(TEXTS) == expected
    loaded = Translator.from_pretrained(str(folder), batch_size=3)
    assert loaded.batch_size == 3
    assert loaded.translate(TEXTS) == expected


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_refuses_a_folder_that_lacks_a_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"a model folder holds {name}; got folder {folder}\. G"):
        Translator.from_pretrained(folder)


def test_refuses_numbers_that_are_not_positive(folder, model):
    for size in (0, -1):
        with pytest.raises(
            ValueError, match=f"Translator: batch_size must be .*; got batch_size {size}$"
        ):
            Translator(model, TOKENIZER, batch_size=size)
        with pytest.raises(
            ValueError, match=f"Translator: batch_size must be .*; got batch_size {size}$"
        ):
            Translator.from_pretrained(folder, batch_size=size)
        with pytest.raises(ValueError, match=f"num_beams must be positive; got num_beams {size}$"):
            Translator(model, TOKENIZER).translate(["a"], num_beams=size)


def test_n_best_translations_come_with_their_scores_and_empty_lines_with_none(model):
    translator = Translator(model, TOKENIZER)
    found = translator.hypotheses(TEXTS, DecodingConfig(num_beams=4, num_hypotheses=2))
    best = translator.translate(TEXTS, num_beams=4)
    for own, text, source in zip(found, best, TEXTS, strict=True):
        assert [type(one) for one in own] == [Hypothesis, Hypothesis]
        assert own[0].text == text
        assert own[0].score >= own[1].score
        assert (own == [Hypothesis("", 0.0)] * 2) == (not source.strip())


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"sha256": 3}'])
def test_checksums_that_cannot_be_read_are_refused(folder, text):
    (folder / "checksums.json").write_text(text)
    with pytest.raises(ValueError, match=r"checksums.json must hold checksums; got .*Restore it"):
        load_translation_model(folder)


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("pad_token_id", -1),
        ("pad_token_id", 2**70),
        ("decoder_start_token_id", 10**6),
        ("bos_token_id", 2**70),
        ("bos_token_id", [None]),
        ("eos_token_id", ["a"]),
    ],
)
def test_a_token_that_is_none_is_refused_with_the_file(tmp_path, name, token):
    saved(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: token}))
    (tmp_path / "checksums.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=f"got {path}: .*{name} must be "):
        Translator.from_pretrained(tmp_path)
