"""An encoder of tokens is the encoder side of the encoder-decoder."""

from dataclasses import replace

import pytest
import torch

from askew.transformer import (
    AsymmetricEncoderDecoder,
    EncoderDecoderConfig,
    PositionConfig,
    StackConfig,
    TokenEncoder,
)

STACK = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16, dropout=0.0)


def test_it_is_the_encoder_of_the_encoder_decoder():
    whole = AsymmetricEncoderDecoder(
        EncoderDecoderConfig(source_vocab=11, target_vocab=7, encoder=STACK, decoder=STACK)
    ).eval()
    alone = TokenEncoder(11, STACK).eval()
    alone.embedding.load_state_dict(whole.source_embedding.state_dict())
    alone.stack.load_state_dict(whole.encoder.state_dict())
    tokens = torch.randint(11, (2, 5))
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    torch.testing.assert_close(alone(tokens, mask), whole.encode(tokens, source_mask=mask))


def test_padding_changes_nothing():
    encoder = TokenEncoder(11, STACK).eval()
    tokens = torch.randint(11, (1, 6))
    mask = torch.arange(6) < 4
    both = encoder(tokens, mask[None])
    torch.testing.assert_close(both[:, :4], encoder(tokens[:, :4]))


def test_dropout_acts_in_training():
    encoder = TokenEncoder(
        11, StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=8, dropout=0.5)
    )
    tokens = torch.randint(11, (2, 5))
    encoder.train()
    assert not torch.equal(encoder(tokens), encoder(tokens))


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="TokenEncoder: vocab must be positive"):
        TokenEncoder(0, STACK)
    with pytest.raises(ValueError, match="an even width"):
        TokenEncoder(9, StackConfig(d_model=9, num_layers=1, num_heads=3, d_ff=8))


@pytest.mark.unhooked
def test_a_mask_that_does_not_fit_is_refused():
    config = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
    with pytest.raises(TypeError, match=r"TokenEncoder: mask must be boolean"):
        TokenEncoder(9, config)(torch.ones(2, 5, dtype=int), torch.ones(2, 5, dtype=int))


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"embedding_scale": 1.0}, "embedding_scale 1.0"),
        ({"embedding_norm": True}, "embedding_norm True"),
        ({"positions": PositionConfig()}, "positions PositionConfig"),
    ],
)
def test_other_embeddings_are_those_of_translation_models_alone(changed, words):
    with pytest.raises(ValueError, match=f"TokenEncoder: embeddings must be .*; got .*{words}"):
        TokenEncoder(11, replace(STACK, **changed))
