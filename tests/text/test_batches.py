"""Batches are a fair cut of the data: whole passes, within budget, repeatable, tight."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given
from torch.utils.data import DataLoader

from askew.text import TokenBatches

LENGTHS = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=40)
BUDGETS = st.integers(12, 60)
SEEDS = st.integers(0, 2**32)


def one_pass(lengths, max_tokens, seed):
    return TokenBatches(lengths, max_tokens=max_tokens, num_batches=None, seed=seed)


def some_lengths(count=200, longest=9):
    drawn = random.Random(3)
    return [(drawn.randint(3, longest), drawn.randint(3, longest)) for _ in range(count)]


def padded(batch, lengths):
    return len(batch) * max(max(lengths[row]) for row in batch)


@given(LENGTHS, BUDGETS, SEEDS)
def test_one_pass_gives_every_row_once(lengths, max_tokens, seed):
    batches = one_pass(lengths, max_tokens, seed)
    given_rows = [row for batch in batches for row in batch]
    assert sorted(given_rows) == list(range(len(lengths)))
    assert len(batches) == len(list(batches))


@given(LENGTHS, BUDGETS, SEEDS)
def test_no_batch_is_empty_or_beyond_the_budget(lengths, max_tokens, seed):
    for batch in one_pass(lengths, max_tokens, seed):
        assert batch
        assert padded(batch, lengths) <= max_tokens


@given(LENGTHS, BUDGETS, SEEDS, st.integers(1, 40))
def test_gives_exactly_num_batches_in_passes_that_are_each_whole(lengths, budget, seed, count):
    batches = TokenBatches(lengths, max_tokens=budget, num_batches=count, seed=seed)
    taken = list(batches)
    assert len(taken) == len(batches) == count
    size = len(one_pass(lengths, budget, seed))
    for start in range(0, count - size + 1, size):
        rows = [row for batch in taken[start : start + size] for row in batch]
        assert sorted(rows) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS, SEEDS)
def test_same_seed_same_batches_however_often_they_are_asked_for(lengths, max_tokens, seed):
    batches = one_pass(lengths, max_tokens, seed)
    assert list(batches) == list(batches) == list(one_pass(lengths, max_tokens, seed))


def test_another_seed_and_another_pass_give_other_batches():
    lengths = some_lengths()
    first, second = (list(one_pass(lengths, 64, seed)) for seed in (0, 1))
    assert first != second
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
    size = len(first)
    two = list(TokenBatches(lengths, max_tokens=64, num_batches=2 * size, seed=0))
    assert two[:size] == first
    assert two[size:] != first


def test_batches_are_shuffled_and_not_given_from_short_to_long():
    lengths = [(n, n) for n in range(1, 31)]
    longest = [max(batch) for batch in one_pass(lengths, 60, 0)]
    assert longest != sorted(longest)


def test_randomness_of_others_is_neither_used_nor_changed():
    before = random.getstate()
    first = list(one_pass(some_lengths(40), 64, 0))
    assert random.getstate() == before
    random.seed(99)
    assert list(one_pass(some_lengths(40), 64, 0)) == first


def padding_share(batches, lengths):
    space = sum(2 * padded(batch, lengths) for batch in batches)
    return 1 - sum(map(sum, lengths)) / space


def test_little_of_a_batch_is_padding():
    drawn = random.Random(4)
    lengths = []
    for _ in range(2000):  # both sides of a sentence are of like length
        source = drawn.randint(4, 30)
        lengths.append((source, source + drawn.randint(-2, 2)))
    as_they_come = [range(start, start + 20) for start in range(0, len(lengths), 20)]
    assert padding_share(as_they_come, lengths) > 0.4
    assert padding_share(one_pass(lengths, 512, 0), lengths) < 0.1


def test_batches_are_full():
    lengths = [(4, 4)] * 50
    assert sorted(map(len, one_pass(lengths, 40, 0))) == [10] * 5
    assert sorted(map(len, one_pass(lengths, 43, 0))) == [10] * 5
    after_a_long_source = [(9, 1)] + [(1, 2)] * 8
    assert sorted(map(len, one_pass(after_a_long_source, 9, 0))) == [1, 4, 4]


def test_lengths_that_change_are_those_of_their_own_pass():
    passes = [[(n % 7 + 1, n % 5 + 1) for n in range(60)], [(1, n % 11 + 1) for n in range(60)]]
    epochs = []

    def lengths(epoch):
        epochs.append(epoch)
        return passes[epoch]

    size = len(one_pass(passes[0], 40, 6))
    both = TokenBatches(lengths, max_tokens=40, num_batches=size + 5, seed=6)
    taken = list(both)
    assert len(both) == size + 5
    assert taken[:size] == list(one_pass(passes[0], 40, 6))
    assert all(padded(batch, passes[1]) <= 40 for batch in taken[size:])
    assert epochs == [0, 0, 1]
    same = TokenBatches(lambda epoch: passes[0], max_tokens=40, num_batches=3 * size, seed=6)
    usual = TokenBatches(passes[0], max_tokens=40, num_batches=3 * size, seed=6)
    assert list(same) == list(usual)


def test_an_example_that_outgrows_the_budget_for_a_pass_is_a_batch_by_itself():
    lengths = [(1, 1), (9, 2), (1, 1), (2, 12), (1, 13)]
    batches = TokenBatches(lambda epoch: lengths, max_tokens=8, num_batches=None, seed=0)
    assert sorted(map(sorted, batches)) == [[0, 2], [1], [3], [4]]


def test_serves_a_data_loader():
    rows = [10, 20, 30]
    batches = one_pass([(1, 1), (1, 1), (3, 3)], 3, 0)
    loader = DataLoader(rows, batch_sampler=batches, collate_fn=list)
    assert sorted(map(sorted, loader)) == [[10, 20], [30]]


def test_refuses_no_examples_and_an_example_beyond_the_budget():
    with pytest.raises(ValueError, match="TokenBatches: there must be examples; got none"):
        one_pass([], 8, 0)
    with pytest.raises(ValueError, match=r"num_batches must be >= 0 or None; got num_batches -1"):
        TokenBatches([(1, 1)], max_tokens=8, num_batches=-1, seed=0)
    with pytest.raises(ValueError, match=r"max_tokens 8, example 1 with 9 tokens"):
        one_pass([(2, 8), (9, 2), (1, 1)], 8, 0)
    with pytest.raises(ValueError, match=r"max_tokens 8, example 0 with 11 tokens"):
        one_pass([(2, 11), (9, 2)], 8, 0)
