"""Models whose weights accelerate loads only for the module that needs them."""

import copy
from dataclasses import replace

import pytest
import torch
from accelerate import cpu_offload
from saved_model import CONFIG, saved, sentences

from askew.models import (
    AsymmetricQAConfig,
    AsymmetricQAModel,
    DecodingConfig,
    QAConfig,
    QuestionAnswerer,
    TorchEngine,
)
from askew.text import Context, train_tokenizer
from askew.transformer import ReaderConfig, StackConfig

SHAPES = {
    "different sides": CONFIG,
    "untied": replace(CONFIG, tie_embeddings="none"),
    "one table": replace(CONFIG, tie_embeddings="all", d_embedding=10),
    "adapter": replace(CONFIG, adapter="shared"),
}


def offloaded(model):
    return cpu_offload(copy.deepcopy(model), execution_device=torch.device("cpu"))


@torch.no_grad()
@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_an_offloaded_translation_model_computes_and_decodes_the_same(tmp_path, config):
    model = saved(tmp_path, config)
    apart = offloaded(model)
    assert apart.device == torch.device("cpu")
    tokens = torch.tensor([[3, 9, 4, 2], [7, 2, 0, 0]])
    call = {"input_ids": tokens, "attention_mask": (tokens > 0).long()}
    target = torch.tensor([[1, 5, 6], [1, 8, 0]])
    torch.testing.assert_close(
        apart(**call, decoder_input_ids=target).logits,
        model(**call, decoder_input_ids=target).logits,
    )
    sources, search = sentences(5), DecodingConfig(num_beams=2)
    decoded = [TorchEngine(m).decode(sources, [8] * 5, search) for m in (apart, model)]
    assert [[h.tokens for h in row] for row in decoded[0]] == [
        [h.tokens for h in row] for row in decoded[1]
    ]


BERT = {
    "model_type": "bert",
    "vocab_size": 300,
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


@pytest.mark.parametrize("pretrained", [None, BERT], ids=["ours", "of transformers"])
def test_an_offloaded_model_encodes_contexts_and_answers_the_same(pretrained):
    torch.manual_seed(0)
    plain = QAConfig(
        question_vocab=300,
        context_vocab=300,
        question=StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16),
        context=StackConfig(d_model=12, num_layers=2, num_heads=2, d_ff=16),
        reader=ReaderConfig(d_model=8, num_layers=1, num_heads=2, d_key=4, d_ff=8),
        d_pool=8,
    )
    config = AsymmetricQAConfig.from_plain(plain, context_pretrained=pretrained)
    model = AsymmetricQAModel(config).eval()
    tokenizer = train_tokenizer(["anna lives in the red house"], vocab_size=300)
    contexts = [Context("one", "anna lives in the red house"), Context("two", "ben has it")]
    answers = []
    for one in (model, offloaded(model)):
        answerer = QuestionAnswerer(one, tokenizer, tokenizer, fingerprint="0" * 64)
        answers.append(answerer.answer("where is anna", answerer.encode(contexts), top_k=3))
    for one, other in zip(*answers, strict=True):
        assert one.text == other.text
        assert one.score == pytest.approx(other.score, abs=1e-4)
