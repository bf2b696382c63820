"""Splits keep sources apart, count what they should, and can be identified."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from askew.text._pairs import ParallelText, SplitText, count_overlap, fingerprint, split_pairs


def numbered(count: int) -> ParallelText:
    return ParallelText([f"s{i}" for i in range(count)], [f"t{i}" for i in range(count)])


def rows(split: ParallelText) -> list[tuple[str, str]]:
    return list(zip(split.sources, split.targets, strict=True))


def sizes(splits: SplitText) -> tuple[int, ...]:
    return tuple(len(rows(split)) for split in splits)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (3, (1, 1, 1)),
        (25, (23, 1, 1)),
        (200, (180, 10, 10)),
        (41_000, (37_000, 2000, 2000)),
    ],
)
def test_valid_and_test_take_a_twentieth_each_within_bounds(count, expected):
    assert sizes(split_pairs(numbered(count))) == expected


def test_named_sizes_are_kept_exactly_when_sources_differ():
    assert sizes(split_pairs(numbered(20), num_valid=3, num_test=5)) == (12, 3, 5)


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz")), min_size=9),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_every_pair_lands_once_and_no_source_in_two_splits(pairs, num_valid, num_test, seed):
    pairs += [("a", "x"), ("b", "x"), ("c", "x")]
    text = ParallelText(*(list(side) for side in zip(*pairs, strict=True)))
    splits = split_pairs(text, num_valid=num_valid, num_test=num_test, seed=seed)
    assert sorted(row for split in splits for row in rows(split)) == sorted(pairs)
    train, valid, test = (set(split.sources) for split in splits)
    assert train
    assert valid
    assert test
    assert not (train & valid)
    assert not (train & test)
    assert not (valid & test)


def test_a_source_too_frequent_for_a_split_goes_to_training():
    often = ParallelText(["often"] * 98 + ["b", "c"], ["x"] * 100)
    for seed in range(5):
        splits = split_pairs(often, seed=seed)
        assert sizes(splits) == (98, 1, 1)
        assert set(splits.train.sources) == {"often"}


def test_a_split_smaller_than_every_source_takes_the_least_frequent():
    thrice = ParallelText(list("aaabbbbcccc"), ["x"] * 11)
    assert sizes(split_pairs(thrice, num_valid=1, num_test=1)) == (4, 4, 3)


def test_the_seed_alone_decides():
    splits = split_pairs(numbered(50), seed=1)
    assert splits == split_pairs(numbered(50), seed=1)
    assert splits != split_pairs(numbered(50), seed=2)
    assert splits.train.sources != sorted(splits.train.sources)


def test_overlap_counts_test_pairs_with_both_sides_alike():
    train = ParallelText(["a", "a", "b"], ["x", "y", "z"])
    test = ParallelText(["a", "a", "a", "b"], ["y", "y", "z", "x"])
    assert count_overlap(train, test) == 2


@pytest.mark.parametrize(
    "moved",
    [
        (["a", "bc"], ["x", "y"]),
        (["ab", "c", "x"], ["y"]),
        (["ab", "c"], ["x", "y\n"]),
        (["c", "ab"], ["x", "y"]),
        (["ab2:c"], ["x", "y"]),
    ],
)
def test_fingerprint_changes_with_any_content(moved):
    rest = numbered(2)
    first = SplitText(ParallelText(["ab", "c"], ["x", "y"]), rest, rest)
    assert fingerprint(first) != fingerprint(SplitText(ParallelText(*moved), rest, rest))
    assert fingerprint(first) == fingerprint(SplitText(ParallelText(*first.train), rest, rest))


def test_fingerprint_tells_the_splits_apart():
    one, two = numbered(1), numbered(2)
    assert len(fingerprint(SplitText(one, two, two))) == 64
    assert fingerprint(SplitText(one, two, two)) != fingerprint(SplitText(two, one, two))


def test_errors_name_the_values():
    with pytest.raises(ValueError, match=r"^split_pairs: .*got 2 sources, 1 targets$"):
        split_pairs(ParallelText(["a", "b"], ["x"]))
    with pytest.raises(ValueError, match=r"at least 3 different sources; got 2 in 4 pairs$"):
        split_pairs(ParallelText(list("abab"), list("wxyz")))
    with pytest.raises(ValueError, match=r"got num_valid 0, num_test 1, 9 pairs$"):
        split_pairs(numbered(9), num_valid=0, num_test=1)
    with pytest.raises(ValueError, match=r"got num_valid 4, num_test 5, 9 pairs$"):
        split_pairs(numbered(9), num_valid=4, num_test=5)
