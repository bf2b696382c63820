import pytest
import torch

from askew.attention import causal_mask, padding_mask, sinusoidal_positions


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (3, 3), (2, 5), (5, 2), (0, 3)])
def test_causal_mask_equals_its_definition(queries, keys):
    expected = [[j <= i + keys - queries for j in range(keys)] for i in range(queries)]
    assert causal_mask(queries, keys).tolist() == expected


def test_causal_mask_refuses_negative_lengths():
    with pytest.raises(ValueError, match=r"causal_mask: .*got num_queries -1, num_keys 2"):
        causal_mask(-1, 2)


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
