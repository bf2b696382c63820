import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import naive_window

from askew.attention import (
    AsymmetricAttention,
    band_mask,
    causal_mask,
    mask_from_torch,
    padding_mask,
    prefix_mask,
    sinusoidal_positions,
)


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (3, 3), (2, 5), (5, 2), (0, 3)])
def test_causal_mask_equals_its_definition(queries, keys):
    expected = [[j <= i + keys - queries for j in range(keys)] for i in range(queries)]
    assert causal_mask(queries, keys).tolist() == expected


def test_causal_mask_refuses_negative_lengths():
    with pytest.raises(ValueError, match=r"causal_mask: .*got num_queries -1, num_keys 2"):
        causal_mask(-1, 2)


def test_a_band_without_limits_hides_nothing_and_one_side_is_causal():
    assert band_mask(4, 6, 9, 9).all()
    assert torch.equal(band_mask(4, 6, 9, 0), causal_mask(4, 6))
    assert torch.equal(band_mask(5, 5, 2, 1), band_mask(5, 5, 1, 2).T)


@given(
    queries=st.integers(0, 9),
    keys=st.integers(0, 9),
    before=st.integers(0, 10),
    after=st.integers(0, 10),
    num_sinks=st.integers(0, 10),
)
def test_band_mask_equals_its_definition(queries, keys, before, after, num_sinks):
    expected, _ = naive_window(queries, keys, (before, after), causal=False, num_sinks=num_sinks)
    assert torch.equal(band_mask(queries, keys, before, after, num_sinks), expected)


def test_band_mask_refuses_negative_numbers():
    with pytest.raises(ValueError, match=r"band_mask: .*got queries 2, keys 3, before -1, after 0"):
        band_mask(2, 3, -1, 0)


@pytest.mark.parametrize(
    ("queries", "keys", "prefix"), [(3, 3, 0), (3, 5, 4), (5, 3, 9), (0, 2, 1)]
)
def test_prefix_mask_equals_its_definition(queries, keys, prefix):
    expected = [
        [j < prefix or j <= i + keys - queries for j in range(keys)] for i in range(queries)
    ]
    assert prefix_mask(queries, keys, prefix=prefix).tolist() == expected


def test_no_prefix_is_causal_and_a_negative_one_an_error():
    assert torch.equal(prefix_mask(4, prefix=0), causal_mask(4))
    with pytest.raises(ValueError, match=r"prefix_mask: prefix must not be .*got prefix -1"):
        prefix_mask(3, prefix=-1)


def test_padding_mask_is_true_for_real_tokens():
    assert padding_mask(torch.tensor([[3, 0, 0]]), 0).tolist() == [[True, False, False]]


def test_positions_go_on_where_they_start():
    whole = sinusoidal_positions(9, 6)
    assert torch.equal(sinusoidal_positions(4, 6, start=5), whole[5:])
    assert whole.unique(dim=0).shape[0] == 9


def test_positions_shift_by_a_rotation():
    """Closed form: sin and cos of one wavelength rotate by the same angle at every step."""
    table = sinusoidal_positions(50, 8).double()
    products = (table[3:] * table[:-3]).sum(-1)
    torch.testing.assert_close(products, products[:1].expand(47), atol=1e-5, rtol=0)


def test_positions_need_an_even_width():
    with pytest.raises(ValueError, match="d_model must be even; got d_model 7"):
        sinusoidal_positions(3, 7)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_mask_of_three_axes_is_read_as_torch_reads_it(batch):
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    hidden, x = torch.rand(batch * 3, 5, 5) < 0.4, torch.randn(batch, 5, 12)
    hidden[:, :, 0] = False
    expected, weights = theirs(x, x, x, attn_mask=hidden, average_attn_weights=False)
    ours = AsymmetricAttention.from_torch(theirs)
    result = ours(x, attn_mask=mask_from_torch(hidden, batch=batch), return_weights=True)
    torch.testing.assert_close(result.output, expected)
    torch.testing.assert_close(result.weights, weights)


def test_a_mask_for_each_row_of_the_batch_holds_for_all_heads():
    hidden = torch.rand(3, 5, 5) < 0.4  # as many rows as heads
    layer, x = AsymmetricAttention(12, num_heads=3), torch.randn(3, 5, 12)
    result = layer(x, attn_mask=mask_from_torch(hidden, batch=3), return_weights=True)
    assert torch.equal(result.weights == 0, hidden[:, None].expand(3, 3, 5, 5))


@pytest.mark.parametrize("batch", [None, 0, 4])
def test_a_mask_of_three_axes_needs_the_batch(batch):
    hidden = torch.zeros(6, 4, 5, dtype=torch.bool)
    message = rf"mask_from_torch: a mask of three axes .*; got mask \(6, 4, 5\), batch {batch}"
    with pytest.raises(ValueError, match=message):
        mask_from_torch(hidden, batch=batch)
