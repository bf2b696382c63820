"""Laws that hold for all texts, answers and tables of results."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askew.metrics import answer_exact_match, answer_f1, mean_reciprocal_rank, recall_at
from askew.text import (
    ParallelText,
    cut_windows,
    find_placeholders,
    pad_batch,
    protect,
    restore,
    split_pairs,
    train_tokenizer,
)
from askew.tradeoffs import Metric, Row, judge_results

FEW = settings(max_examples=25)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MARKED = st.lists(
    st.sampled_from(["%s", "{0}", "<b>", ":file:`a`", "``x``", "http://a.b", " ", "word", "ç"]),
    max_size=12,
).map("".join)
TOKENIZER = train_tokenizer(["one two three", "bees see trees"], vocab_size=300)


@FEW
@given(TEXT | MARKED)
def test_what_is_protected_is_restored(text):
    kept = protect(text)
    assert restore(kept.text, kept.originals) == text
    assert not Counter(kept.originals) - find_placeholders(text) or not kept.originals


@FEW
@given(TEXT)
def test_a_tokenizer_gives_back_what_it_cut(text):
    plain = text.replace("\x00", "")
    assert TOKENIZER.decode(TOKENIZER.encode(plain).ids) == TOKENIZER.decode(
        TOKENIZER.encode(TOKENIZER.decode(TOKENIZER.encode(plain).ids)).ids
    )


@FEW
@given(st.integers(0, 60), st.integers(1, 12), st.data())
def test_windows_cover_every_token_and_share_enough(tokens, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    windows = cut_windows(tokens, size=size, overlap=overlap)
    assert {i for start, end in windows for i in range(start, end)} == set(range(tokens))
    assert all(end - start <= size for start, end in windows)
    for (_, end), (start, _) in pairwise(windows):
        assert end - start >= overlap


@FEW
@given(st.integers(10, 60), st.integers(0, 99))
def test_a_split_shares_out_every_pair_once(count, seed):
    pairs = ParallelText([f"s{i}" for i in range(count)], [f"t{i}" for i in range(count)])
    parts = split_pairs(pairs, seed=seed)
    assert Counter(s for part in parts for s in part.sources) == Counter(pairs.sources)
    assert all(s[1:] == t[1:] for part in parts for s, t in zip(*part, strict=True))


@FEW
@given(st.lists(st.lists(st.integers(3, 9), min_size=1, max_size=6), min_size=1, max_size=5))
def test_a_padded_batch_holds_its_rows(rows):
    tokens, mask = pad_batch(rows)
    assert [row[kept.bool()].tolist() for row, kept in zip(tokens, mask, strict=True)] == rows


@FEW
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_scores_of_answers_lie_between_nothing_and_all(pairs):
    found, wanted = [a for a, _ in pairs], [[b] for _, b in pairs]
    f1, exact = answer_f1(found, wanted), answer_exact_match(found, wanted)
    assert 0 <= exact.value <= f1.value + 1e-9 <= 100 + 1e-6
    assert answer_f1(found, [[a] for a in found]).value == pytest.approx(100)
    assert all(0 <= item <= 100 for item in f1.items)


@FEW
@given(st.lists(st.none() | st.integers(1, 50), min_size=1, max_size=9))
def test_recall_grows_with_the_list_and_bounds_the_reciprocal_rank(ranks):
    recalls = [recall_at(ranks, k).value for k in (1, 5, 50)]
    assert recalls == sorted(recalls)
    assert recalls[0] - 1e-9 <= mean_reciprocal_rank(ranks).value <= recalls[2] + 1e-9


@FEW
@given(
    st.lists(st.tuples(st.floats(1, 99), st.floats(1, 99)), min_size=5, max_size=8),
    st.sampled_from(["higher", "lower"]),
)
def test_swapped_arms_turn_the_verdict(scores, better):
    def verdict(challenger, baseline):
        rows = [
            Row(arm, seed, "", "m", pair[place])
            for seed, pair in enumerate(scores)
            for arm, place in ((challenger, 0), (baseline, 1))
        ]
        known = [Metric(name="m", label="M", better=better, equivalence=0.5)]
        return judge_results(rows, baseline="base", metrics=known).verdicts[0]

    one, other = verdict("new", "base"), verdict("base", "new")
    assert one.difference == pytest.approx(-other.difference, abs=1e-9)
    assert one.low == pytest.approx(-other.high, abs=1e-6)
    assert one.low <= one.difference <= one.high
    turned = {"pays": "does not pay", "does not pay": "pays", "cannot tell": "cannot tell"}
    assert other.verdict == turned[one.verdict]
    assert (one.verdict == "pays") == (one.low > 0)
