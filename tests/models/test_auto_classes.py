"""Our folders in the classes of transformers that find out what a folder holds."""

import logging

import pytest
import torch
from saved_model import CONFIG, PAIRS, TOKENIZERS, saved
from transformers import AutoModel, AutoModelForSeq2SeqLM, AutoTokenizer

from askew.models import (
    AsymmetricQAConfig,
    AsymmetricQAModel,
    AsymmetricTranslationModel,
    Translator,
)
from askew.text import END, Tokenizers, load_tokenizers, train_tokenizers
from askew.training import TranslationExamples, collate_translation

LINES = ["three trees", "see </s> bees <s>", "", "bees  see"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    saved(path)
    return path


def test_the_tokenizer_gives_what_training_reads(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    examples = TranslationExamples(PAIRS, TOKENIZERS, max_tokens=99)
    batch = collate_translation([examples[0]])
    read = tokenizer(PAIRS.sources[:1], text_target=PAIRS.targets[:1], return_tensors="pt")
    for name in ("input_ids", "attention_mask", "labels"):
        assert torch.equal(read[name], batch[name])
    padded = tokenizer(LINES, padding=True)
    assert [row[-1] for row in padded.input_ids].count(0) == 3
    assert all(sum(number == END for number in row) == 1 for row in padded.input_ids)
    assert tokenizer.batch_decode(padded.input_ids, skip_special_tokens=True) == LINES


def test_our_own_tokenizers_add_nothing(folder, tmp_path):
    assert [t.to_str() for t in load_tokenizers(folder)] == [t.to_str() for t in TOKENIZERS]
    assert TOKENIZERS.source.encode("bees").ids[-1] != END
    separate = train_tokenizers(PAIRS, vocab_size=280, separate=True)
    assert isinstance(separate, Tokenizers)
    saved(tmp_path, tokenizers=separate)
    assert [t.to_str() for t in load_tokenizers(tmp_path)] == [t.to_str() for t in separate]


def test_transformers_alone_translates_as_the_translator_does(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    line = ["three trees"]
    expected = Translator.from_pretrained(folder).translate(line)
    output = model.generate(**tokenizer(line, return_tensors="pt"), max_length=40)
    (text,) = tokenizer.batch_decode(output, skip_special_tokens=True)
    assert expected[0]
    assert text.startswith(expected[0])


def test_generation_is_long_enough_and_stops_at_strings(folder, caplog):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    assert isinstance(model, AsymmetricTranslationModel)
    assert model.generation_config.max_length == 512
    batch = tokenizer(["three trees"], return_tensors="pt")

    def drawn(**settings):
        torch.manual_seed(0)
        settings |= {"do_sample": True, "temperature": 3.0, "eos_token_id": None}
        output = model.generate(**batch, **settings)
        return tokenizer.decode(output[0], skip_special_tokens=True)

    whole = drawn()
    assert len(tokenizer(whole).input_ids) > 21
    letter = next(letter for letter in whole[20:] if letter.isascii() and letter.isalpha())
    stopped = drawn(stop_strings=[letter], tokenizer=tokenizer)
    assert whole.startswith(stopped)
    assert letter in stopped
    assert len(stopped) < len(whole)
    with caplog.at_level(logging.WARNING, "transformers"):
        Translator.from_pretrained(folder).translate(["see"])
    assert "max_length" not in caplog.text


def test_the_plainest_class_finds_both_models(folder, tmp_path):
    assert AutoModel.from_pretrained(folder).config.to_plain() == CONFIG
    AsymmetricQAModel(AsymmetricQAConfig()).save_pretrained(tmp_path)
    assert isinstance(AutoModel.from_pretrained(tmp_path), AsymmetricQAModel)
