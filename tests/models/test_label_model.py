"""The model that labels texts keeps the promises that transformers make of a model."""

import warnings

import pytest
import torch
from torch import nn
from transformers import BertConfig

from askew.models import AsymmetricLabelConfig, AsymmetricLabelModel, LabelModelConfig
from askew.transformer import StackConfig

BERT = BertConfig(
    vocab_size=29,
    hidden_size=12,
    num_attention_heads=3,
    num_hidden_layers=2,
    intermediate_size=16,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
TOKENS = torch.arange(1, 15).view(2, 7)


@pytest.fixture(params=["own", "transformers"])
def model(request):
    torch.manual_seed(0)
    stack = StackConfig(d_model=12, num_layers=2, num_heads=3, d_ff=16, dropout=0.0)
    pretrained = BERT.to_dict() if request.param == "transformers" else None
    config = AsymmetricLabelConfig.from_plain(
        LabelModelConfig(vocab=29, encoder=stack),
        labels=["a", "b", "c"],
        exclusive=False,
        pretrained=pretrained,
    )
    return AsymmetricLabelModel(config).eval()


@torch.no_grad()
def test_the_number_of_tokens_changes_and_is_stored(model, tmp_path):
    before = model(TOKENS).logits
    table = model.resize_token_embeddings(33)
    assert table is model.get_input_embeddings()
    assert table.num_embeddings == model.config.vocab_size == 33
    assert torch.equal(model(TOKENS).logits, before)
    changed = TOKENS.clone()
    changed[0, 0] = 32
    logits = model(changed).logits
    model.save_pretrained(tmp_path)
    loaded = AsymmetricLabelModel.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(changed).logits, logits)
    new = nn.Embedding(40, 12)
    model.set_input_embeddings(new)
    assert model.get_input_embeddings() is new


@torch.no_grad()
def test_rows_of_the_table_may_stand_for_tokens(model):
    rows = model.get_input_embeddings()(TOKENS)
    assert torch.equal(model(rows).logits, model(TOKENS).logits)


def test_layers_that_are_computed_again_have_the_same_gradients(model):
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    model.train()
    gradients = []
    for _ in range(2):
        model.zero_grad()
        model(TOKENS, labels=labels).loss.backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
        with warnings.catch_warnings():  # newer versions have another name for it
            warnings.simplefilter("ignore", FutureWarning)
            model.gradient_checkpointing_enable()
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
