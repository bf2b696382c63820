"""Scores of query-key maps against the square matrix itself, and on constructed maps."""

import math

import pytest
import torch

from askew.inspection import attention_entropy, directionality_score, effective_rank, symmetry_score

HEADS = torch.randn(2, 3, 5, 24, generator=torch.Generator().manual_seed(1)).double()
QUERY, KEY = HEADS  # 3 heads of 5 on a stream of 24


def skew_partner(weights):
    """Keys J W with a skew-symmetric J, so that Wᵀ J W is skew-symmetric."""
    half = weights.shape[-2] // 2
    return torch.cat([weights[..., half:, :], -weights[..., :half, :]], -2)


def naive_symmetry(query, key):
    square = query.T @ key
    total = symmetric = 0.0
    for i in range(len(square)):
        for j in range(len(square)):
            total += float(square[i, j]) ** 2
            symmetric += float(square[i, j] + square[j, i]) ** 2 / 4
    return 2 * symmetric / total - 1


def naive_directionality(query, key):
    square = query.T @ key

    def excess(vectors):
        norms = [math.sqrt(sum(float(x) ** 2 for x in vector)) for vector in vectors]
        mean = sum(norms) / len(norms)
        spread = math.sqrt(sum((n - mean) ** 2 for n in norms) / len(norms))
        return sum(n - mean - 2 * spread for n in norms if n > mean + 2 * spread)

    columns, rows = excess(square.T), excess(square)
    return (columns - rows) / (columns + rows) if columns + rows else 0.0


def test_symmetry_is_that_of_the_square_matrix():
    expected = [naive_symmetry(q, k) for q, k in zip(QUERY, KEY, strict=True)]
    assert symmetry_score(QUERY, KEY).tolist() == pytest.approx(expected, rel=1e-10)


def test_directionality_is_that_of_the_square_matrix():
    query, key = QUERY.clone(), KEY.clone()
    key[:, :, 4] *= 6  # so that something stands out
    query[2, :, 7] *= 9
    expected = [naive_directionality(q, k) for q, k in zip(query, key, strict=True)]
    assert directionality_score(query, key).tolist() == pytest.approx(expected, rel=1e-10)
    assert expected[2] < expected[0]


def test_scores_of_all_heads_in_one_row_are_those_of_the_sum_of_their_maps():
    summed = sum(q.T @ k for q, k in zip(QUERY, KEY, strict=True))
    eye = torch.eye(24, dtype=torch.double)
    whole = QUERY.flatten(0, 1), KEY.flatten(0, 1)
    for score in (symmetry_score, directionality_score):
        assert float(score(*whole)) == pytest.approx(float(score(eye, summed)), rel=1e-10)


def test_planted_symmetric_is_one_and_skew_is_minus_one():
    weights = QUERY[:, :4]
    assert symmetry_score(weights, weights).tolist() == pytest.approx([1.0] * 3)
    assert symmetry_score(weights, skew_partner(weights)).tolist() == pytest.approx([-1.0] * 3)


def test_the_orientation_is_keys_up_and_queries_down():
    query, key = torch.ones(2, 3, 16), torch.ones(2, 3, 16)
    key[0, :, 5] = 40.0
    query[1, :, 5] = 40.0
    assert directionality_score(query, key).tolist() == [1.0, -1.0]
    assert directionality_score(key, query).tolist() == [-1.0, 1.0]


def test_nothing_stands_out_of_a_map_that_is_even_or_symmetric():
    flat = torch.ones(3, 16)
    assert float(directionality_score(flat, flat)) == 0.0
    turned = torch.linalg.qr(QUERY.flatten(0, 1)[:, :15].T)[0].T  # norms of 1 but for rounding
    eye = torch.eye(15, dtype=torch.double)
    assert float(directionality_score(turned[:, :15] @ turned[:, :15].T, eye)) == 0.0
    weights = QUERY.clone()
    weights[:, :, 3] *= 8
    assert directionality_score(weights, weights).tolist() == pytest.approx([0.0] * 3, abs=1e-6)


def test_random_weights_give_one_over_the_width():
    for width in (32, 128):
        generator = torch.Generator().manual_seed(width)
        query, key = torch.randn(2, 4000, 8, width, generator=generator)
        scores = symmetry_score(query, key)
        error = float(scores.std()) / len(scores) ** 0.5
        assert abs(float(scores.mean()) - 1 / width) < 4 * error
        assert error < 0.1 / width


def test_effective_rank_counts_equal_directions_and_reads_two_widths():
    generator = torch.Generator().manual_seed(3)
    left = torch.linalg.qr(torch.randn(24, 6, generator=generator).double())[0].T
    right = torch.linalg.qr(torch.randn(40, 6, generator=generator).double())[0].T
    for rank in (1, 3, 6):
        kept = torch.diag(torch.tensor([1.0] * rank + [0.0] * (6 - rank))).double()
        assert float(effective_rank(kept @ left, right)) == pytest.approx(rank, rel=1e-6)
    values = torch.linalg.svdvals(QUERY[0].T @ KEY[0])
    shares = values / values.sum()
    expected = math.exp(-sum(float(p) * math.log(float(p)) for p in shares if p > 1e-12))
    assert float(effective_rank(QUERY[0], KEY[0])) == pytest.approx(expected, rel=1e-9)


def test_scores_do_not_depend_on_the_scale_of_a_head():
    for score in (symmetry_score, directionality_score, effective_rank):
        torch.testing.assert_close(score(QUERY, KEY), score(3 * QUERY, 0.1 * KEY))


def test_a_head_of_zeros_has_no_symmetry_and_no_rank():
    nothing = torch.zeros(1, 2, 8)
    assert symmetry_score(nothing, nothing).isnan().all()
    assert effective_rank(nothing, nothing).isnan().all()


def test_entropy_is_one_for_all_alike_and_zero_for_one():
    uniform = torch.full((2, 4, 5), 0.2)
    sure = torch.eye(5)[:4].expand(2, 4, 5)
    assert attention_entropy(uniform).tolist() == pytest.approx([1.0, 1.0])
    assert attention_entropy(sure).tolist() == [0.0, 0.0]


def test_entropy_counts_only_what_a_query_sees():
    causal = torch.ones(4, 4).tril().bool()
    weights = causal / causal.sum(-1, keepdim=True)
    assert float(attention_entropy(weights, causal)) == pytest.approx(1.0)
    assert float(attention_entropy(weights)) < 0.8
    assert attention_entropy(torch.ones(1, 1)).isnan()  # one key is no choice
    mixed = torch.tensor([[0.9, 0.1, 0.0], [1.0, 0.0, 0.0]])
    seen = torch.tensor([[True, True, False], [True, False, False]])
    by_hand = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert float(attention_entropy(mixed, seen)) == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("score", [symmetry_score, directionality_score, effective_rank])
def test_sides_that_do_not_fit_are_refused(score):
    with pytest.raises(ValueError, match=rf"{score.__name__}: query and key must .*\(3, 5, 24\)"):
        score(QUERY, KEY[:, :4])
