"""Text in, text out: in order, within a length, and the same whatever the batches are."""

import pytest
import torch

from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel, Translator
from askew.text import train_tokenizer
from askew.transformer import EncoderDecoderConfig, StackConfig

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


@pytest.mark.unhooked
@pytest.mark.parametrize("num_beams", [1, 2])
def test_a_translation_that_never_ends_is_cut_by_the_length_of_its_own_source(model, num_beams):
    class Endless:
        def __init__(self):
            self.config, self.device = model.config, torch.device("cpu")

        def eval(self):
            return self

        def generate(self, tokens, *, max_new_tokens, **settings):
            assert settings["num_beams"] == num_beams
            letter = TOKENIZER.token_to_id("x")
            return torch.full((len(tokens), 1 + max_new_tokens), letter)

    texts = ["abc", "z" * 20]
    assert [len(TOKENIZER.encode(text).ids) for text in texts] == [3, 20]
    found = Translator(Endless(), TOKENIZER).translate(texts, num_beams=num_beams)
    assert found == ["x" * 22, "x" * 56]


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
        with pytest.raises(ValueError, match=f"Translator: batch_size must be .*; got {size}$"):
            Translator(model, TOKENIZER, batch_size=size)
        with pytest.raises(ValueError, match=f"Translator: batch_size must be .*; got {size}$"):
            Translator.from_pretrained(folder, batch_size=size)
        with pytest.raises(ValueError, match=f"num_beams must be positive; got {size}$"):
            Translator(model, TOKENIZER).translate(["a"], num_beams=size)
