"""Any saved model is opened, read with a text, and refused where it is damaged."""

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from saved_model import saved
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers.utils import logging as hf_logging

from askew.inspection import query_key_maps
from askew.models import (
    Reading,
    load_checkpoint,
    load_translation_model,
    read_attention,
    read_encoder_config,
)

WORDS = {"[PAD]": 0, "[UNK]": 1, "</s>": 2, "the": 3, "cat": 4, "sat": 5}
BERT = hf.BertConfig(
    vocab_size=9,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
)
T5 = hf.T5Config(
    vocab_size=9, d_model=16, d_kv=8, num_layers=2, num_heads=2, d_ff=16, decoder_start_token_id=0
)


def with_tokenizer(folder):
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(folder)


def test_a_model_with_a_head_is_loaded_without_it(tmp_path):
    torch.manual_seed(0)
    theirs = hf.BertForMaskedLM(BERT)
    theirs.save_pretrained(tmp_path)
    model = load_checkpoint(tmp_path)
    assert not model.training
    torch.testing.assert_close(
        query_key_maps(model)[1].key, query_key_maps(theirs)[1].key, rtol=0, atol=0
    )


def test_a_text_is_read_by_every_head_of_an_encoder(tmp_path):
    hf.BertModel(BERT).save_pretrained(tmp_path)
    with_tokenizer(tmp_path)
    model = load_checkpoint(tmp_path)
    reading = read_attention(model, tmp_path, "the cat sat the dog")
    assert isinstance(reading, Reading)
    assert len(reading.weights) == 2
    (picture,) = reading.pictures
    assert picture.rows == picture.columns == ["the", "cat", "sat", "the", "[UNK]"]
    assert picture.weights.shape == (2, 2, 5, 5)
    torch.testing.assert_close(picture.weights.sum(-1), torch.ones(2, 2, 5))
    expected = model(torch.tensor([[3, 4, 5, 3, 1]]), output_attentions=True).attentions
    torch.testing.assert_close(picture.weights, torch.stack(expected).detach()[:, 0])


def test_an_encoder_decoder_reads_the_text_on_both_sides(tmp_path):
    hf.T5ForConditionalGeneration(T5).save_pretrained(tmp_path)
    with_tokenizer(tmp_path)
    model = load_checkpoint(tmp_path)
    reading = read_attention(model, tmp_path, "the cat sat")
    encoder, decoder, cross = reading.pictures
    assert encoder.rows == encoder.columns == cross.columns == ["the", "cat", "sat"]
    assert decoder.rows == decoder.columns == cross.rows == ["[PAD]", "the", "cat"]
    assert float(decoder.weights[0, 0, 0, 1]) == 0.0  # causal
    inputs = {
        "input_ids": torch.tensor([[3, 4, 5]]),
        "decoder_input_ids": torch.tensor([[0, 3, 4]]),
    }
    expected = model(**inputs, output_attentions=True)
    for picture, theirs in (
        (encoder, expected.encoder_attentions),
        (decoder, expected.decoder_attentions),
        (cross, expected.cross_attentions),
    ):
        torch.testing.assert_close(picture.weights, torch.stack(theirs).detach()[:, 0])
    assert cross.title.endswith("decoder.block layer.1.EncDecAttention")


def test_an_own_translation_model_translates_the_text(tmp_path):
    saved(tmp_path)
    reading = read_attention(load_checkpoint(tmp_path), tmp_path, "three trees")
    encoder, decoder, cross = reading.pictures
    assert "".join(encoder.rows[:-1]) == "three trees"
    assert cross.columns == encoder.columns
    assert decoder.rows == cross.rows
    assert decoder.columns == ["<start>", *decoder.rows[:-1]]
    assert encoder.weights.shape[:2] == (3, 3)
    assert cross.weights.shape[:2] == (2, 4)


@pytest.mark.parametrize(
    ("folder", "text", "question", "message"),
    [
        ("bert", "", None, "must have 1 to 128 tokens; got 0"),
        ("bert", "cat " * 129, None, "must have 1 to 128 tokens; got 129"),
        ("bert", "cat", "who?", "a question goes with a question-answering model"),
        ("empty", "cat", None, "the folder must hold the model's tokenizer"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, folder, text, question, message):
    hf.BertModel(BERT).save_pretrained(tmp_path / "bert")
    with_tokenizer(tmp_path / "bert")
    model = load_checkpoint(tmp_path / "bert")
    with pytest.raises(ValueError, match=f"read_attention: .*{message}"):
        read_attention(model, tmp_path / folder, text, question=question)


def test_damaged_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"load_checkpoint: .* hold a config\.json"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "sphinx"}')
    with pytest.raises(ValueError, match=r"load_checkpoint: .* that transformers knows"):
        load_checkpoint(tmp_path)
    hf.BertModel(BERT).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = "encoder.layer.1.attention.self.key.weight"
    save_file({n: w for n, w in weights.items() if n != lost}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"every weight of attention.*{lost}"):
        load_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"load_checkpoint: .* as safetensors"):
        load_checkpoint(tmp_path)


def test_pickled_weights_are_not_read(tmp_path):
    model = hf.BertModel(BERT)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"load_checkpoint: .* as safetensors"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("kind", "load"),
    [
        ("bert", load_checkpoint),
        ("bert", read_encoder_config),
        ("ours", load_checkpoint),
        ("ours", load_translation_model),
    ],
)
def test_an_adapter_beside_the_weights_is_refused(tmp_path, kind, load):
    """Without peft, transformers would load the model without a word of it."""
    if kind == "ours":
        saved(tmp_path)
    else:
        hf.BertModel(BERT).save_pretrained(tmp_path)
        with_tokenizer(tmp_path)
    load(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"must be whole; got .*adapter_config\.json\. Merge"):
        load(tmp_path)


def test_loading_draws_no_bar_and_leaves_the_bars_of_others_alone(tmp_path, capfd):
    saved(tmp_path)
    shown = hf_logging.is_progress_bar_enabled()
    capfd.readouterr()
    load_translation_model(tmp_path)
    assert capfd.readouterr().err == ""
    assert hf_logging.is_progress_bar_enabled() == shown
