"""Marks stand for what must be copied, come back as it was, and are tokens of their own."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from askew.text import (
    BpeDropout,
    ParallelText,
    Protected,
    find_placeholders,
    is_protecting,
    load_tokenizers,
    protect,
    protect_pairs,
    protect_target,
    restore,
    save_tokenizers,
    train_tokenizer,
    train_tokenizers,
)

A, B, C = MARKS = "\ufdd0\ufdd1\ufdd2"
PIECES = [A, "\ufddf", "\ufde0", *"ab <>`%s{}:|_*\\\n", ":ref:`", "``", "%s", "<x>", "é😀\u202e"]
HOSTILE = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join))
TEXTS = [f"open {A}{B} now", "plain words", f"{C}"]
TOKENIZER = train_tokenizer(["open now, plain words"] * 3, vocab_size=300, protect=True)


@pytest.mark.parametrize(
    ("text", "marked", "originals"),
    [
        ("see ``x`` or |y|", f"see {A} or {B}", ("``x``", "|y|")),
        (
            "%s of %(n)d, {0} of {a.b}",
            f"{A} of {B}, {C} of \ufdd3",
            ("%s", "%(n)d", "{0}", "{a.b}"),
        ),
        ("``x``, ``y``, ``x``", f"{A}, {B}, {A}", ("``x``", "``y``")),
        (":func:`open` at http://a.b/c.", f"{A} at {B}.", (":func:`open`", "http://a.b/c")),
        ("the :ref:`long list <ll>`", f"the {A}long list {B}", (":ref:`", "<ll>`")),
        ("`a page <http://a.b>`_", f"`a page {A}", ("<http://a.b>`_",)),
        ("<b>now</b> `here`_ *at* **once**", f"{A}now{B} `here`_ *at* **once**", ("<b>", "</b>")),
        ("*the ``x``*", f"*the {A}*", ("``x``",)),
        ("100 % of it, {", "100 % of it, {", ()),
    ],
)
def test_masks_what_is_copied_and_leaves_what_is_translated(text, marked, originals):
    assert protect(text) == Protected(marked, originals)


def test_there_are_sixteen_marks_and_what_comes_after_stays():
    text = " ".join(f"%({i})s" for i in range(20))
    marked, originals = protect(text)
    assert originals == tuple(f"%({i})s" for i in range(16))
    assert marked.endswith(" %(18)s %(19)s")
    assert restore(marked, originals) == text


@settings(max_examples=500)
@given(HOSTILE)
@example(f"{A} ``{B}`` %s")
@example("".join(chr(0xFDD0 + i) for i in range(16)) + "%s")
@example("\ud800 %s")
@example("".join(f"%({i})s" for i in range(16)) + A)
def test_every_text_comes_back_from_its_marks(text):
    marked, originals = protect(text)
    assert restore(marked, originals) == text
    assert len(set(originals)) == len(originals) <= 16
    assert {c for c in marked if "\ufdd0" <= c <= "\ufddf"} == {
        chr(0xFDD0 + number) for number in range(len(originals))
    }


@given(HOSTILE, HOSTILE)
def test_a_reference_comes_back_but_for_marks_that_its_source_lacks(source, target):
    originals = protect(source).originals
    kept = "".join(c for c in target if not "\ufdd0" <= c <= "\ufddf" or c in originals)
    assert restore(protect_target(target, originals), originals) == kept


@given(HOSTILE, HOSTILE)
def test_a_pair_has_the_same_marks_on_both_sides(source, target):
    marked = protect_pairs(ParallelText([source], [target]))
    own, other = ({c for c in side[0] if "\ufdd0" <= c <= "\ufddf"} for side in marked)
    assert other <= own
    if not any("\ufdd0" <= c <= "\ufddf" for c in source):
        assert other == own


def test_a_reference_has_the_longest_original_and_no_mark_of_its_own():
    originals = protect("``%s`` and %s in :ref:`the list <ll>`").originals
    target = f"%s e ``%s`` em :ref:`a lista <ll>`{A}"
    marked = protect_target(target, originals)
    roles = protect(":ref:`the list <ll>`, :ref:`a`").originals
    assert protect_target(":ref:`a` :ref:`x <ll>`", roles) == f"{C} {A}x {B}"
    assert originals == ("``%s``", "%s", ":ref:`", "<ll>`")
    assert marked == f"{B} e {A} em {C}a lista \ufdd3"


def test_what_the_reference_translates_stays_in_its_source():
    pairs = ParallelText([":term:`tree` of ``x``", "%s"], [":term:`árvore` de ``x``", "nada"])
    assert protect_pairs(pairs) == ParallelText(
        [f":term:`tree` of {A}", "%s"], [f":term:`árvore` de {A}", "nada"]
    )


def test_a_mark_in_a_source_is_no_mark_of_its_pair_also_where_the_reference_lacks_it():
    pairs = ParallelText([f"%s {A}"], ["%s"])
    assert protect_pairs(pairs) == ParallelText([f"{B} {A}"], [B])


def test_a_mark_that_stands_for_nothing_is_dropped():
    assert restore(f"a {C}b{A}", ["%s"]) == "a b%s"


def test_whatever_is_found_is_kept_when_all_marks_are_copied():
    text = "%s of {n} in ``x``, :ref:`here <a>`, <b>`x <http://a.b>`__</b> |s| :func:`f`"
    marked, originals = protect(text)
    translated = marked.replace("here", "aqui").replace(" of ", " de ").replace("`x", "`y")
    assert find_placeholders(restore(translated, originals)) == find_placeholders(text)


@pytest.mark.parametrize("text", [*TEXTS, f" {A} {A}", f"{A}\n", "\ufde0"])
def test_a_mark_is_one_token_and_decodes_to_itself(text):
    encoding = TOKENIZER.encode(text)
    assert TOKENIZER.decode(encoding.ids) == text
    for mark in MARKS:
        assert encoding.ids.count(TOKENIZER.token_to_id(mark)) == text.count(mark)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("text", TEXTS)
def test_dropout_leaves_marks_whole(text, p):
    cut = BpeDropout(TOKENIZER, p)
    for key in range(20):
        tokens = cut.encode(text, key=str(key))
        assert TOKENIZER.decode(tokens) == text
        for mark in MARKS:
            assert tokens.count(TOKENIZER.token_to_id(mark)) == text.count(mark)
    if p == 0.0:
        assert tokens == TOKENIZER.encode(text).ids


def test_marks_come_last_within_the_size_and_nothing_is_learnt_across_them():
    plain = train_tokenizer(["ab"] * 9 + ["cd"] * 9, vocab_size=284)
    marked = train_tokenizer([f"ab{A}cd"] * 9, vocab_size=300, protect=True)
    own, other = plain.get_vocab(), marked.get_vocab()
    assert own == {token: i for token, i in other.items() if i < plain.get_vocab_size()}
    assert marked.get_vocab_size() == plain.get_vocab_size() + 16
    full = train_tokenizer(["many words make more tokens"] * 9, vocab_size=285, protect=True)
    assert full.get_vocab_size() == 285
    assert not is_protecting(plain)
    assert is_protecting(marked)
    with pytest.raises(ValueError, match="vocab_size must be at least 275; got vocab_size 274"):
        train_tokenizer(["a"], vocab_size=274, protect=True)


@pytest.mark.parametrize("separate", [False, True])
def test_tokenizers_protect_on_both_sides_or_on_none(tmp_path, separate):
    pairs = ParallelText(["one %s"], ["um %s"])
    made = train_tokenizers(protect_pairs(pairs), vocab_size=280, separate=separate, protect=True)
    save_tokenizers(made, tmp_path)
    assert all(map(is_protecting, load_tokenizers(tmp_path)))
    other = tmp_path / "target_tokenizer.json"
    train_tokenizer(["um"], vocab_size=270).save(str(other))
    with pytest.raises(
        ValueError, match=r"both sides must protect .*; got source True, target Fal"
    ):
        load_tokenizers(tmp_path)


def test_a_tokenizer_that_does_not_protect_has_no_more_tokens_than_before():
    plain = train_tokenizer(["open %s"] * 3, vocab_size=280)
    assert len(json.loads(plain.to_str())["added_tokens"]) == 3
    text = f"open {A}"
    cut = BpeDropout(plain, 0.0)
    assert cut.encode(text, key="any") == plain.encode(text).ids
    assert plain.decode(plain.encode(text).ids) == text
