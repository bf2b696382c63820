"""Any text decodes to itself, and padding hides nothing."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tokenizers import Tokenizer, models, pre_tokenizers

from askew.text import (
    END,
    PADDING,
    START,
    BpeDropout,
    SpanTokenizer,
    load_any_tokenizer,
    load_tokenizer,
    pad_batch,
    read_special_tokens_as_text,
    train_tokenizer,
)

TEXTS = ["the second of May 2021", "the third of June 1999", "12 de maio de 2021"]
TOKENIZER = train_tokenizer(TEXTS, vocab_size=300)


@given(st.text())
def test_any_text_comes_back_from_its_tokens(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids) == text


@given(st.text())
def test_no_token_of_a_plain_text_is_special(text):
    assert not {PADDING, START, END} & set(TOKENIZER.encode(text).ids)


SPECIAL = "<s>one</s> <pad> <s></s></s>"


def test_special_tokens_in_a_text_are_text(tmp_path):
    tokenizer = train_tokenizer([SPECIAL] * 50, vocab_size=300)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for one in (tokenizer, load_tokenizer(tmp_path / "tokenizer.json")):
        ids = one.encode(SPECIAL).ids
        assert one.decode(ids) == SPECIAL
        assert not {PADDING, START, END} & set(ids)
        assert [row.ids for row in one.encode_batch_fast([SPECIAL])] == [ids]
        assert BpeDropout(one, 0.0).encode(SPECIAL, key="") == ids


def unigram():
    pieces = [(piece, -2.0) for piece in ("▁", "a", "<", "/", "s", ">")]
    specials = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    tokenizer = Tokenizer(models.Unigram([*specials, *pieces], 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def words():
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def word_pieces():
    pieces = {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "<": 4, "s": 5, ">": 6, "/": 7}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def alone():
    return Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, "<unk>"))


@pytest.mark.parametrize("make", [unigram, words, word_pieces, alone])
def test_special_tokens_match_nothing_in_any_tokenizer(make, tmp_path):
    tokenizer = make()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    usual = tokenizer.encode("a a").ids
    assert {1, 2} & set(tokenizer.encode("a <s> a</s> </s>").ids)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for one in (tokenizer, load_any_tokenizer(tmp_path / "tokenizer.json"), tokenizer):
        spans = SpanTokenizer(one)
        assert not {1, 2} & {*spans.encode("a <s> a</s> </s>").ids}
        assert spans.encode("a a").ids.tolist() == usual
        cut = one.to_str()
        read_special_tokens_as_text(one)
        assert one.to_str() == cut


def test_every_digit_is_a_token_of_its_own_however_often_it_repeats():
    tokenizer = train_tokenizer(["2021 2021 2021"] * 50, vocab_size=400)
    pieces = tokenizer.encode("in 2021").tokens
    assert pieces[-4:] == ["2", "0", "2", "1"]


def test_frequent_pieces_are_merged_within_the_vocabulary():
    tokenizer = train_tokenizer(["the the then"] * 20, vocab_size=262)
    assert tokenizer.get_vocab_size() == 262
    assert tokenizer.encode("the").tokens == ["the"]
    assert len(TOKENIZER.encode("the").ids) == 1
    assert len(TOKENIZER.encode("xyzq").ids) == 4


def test_the_smallest_vocabulary_holds_bytes_and_special_tokens_alone():
    tokenizer = train_tokenizer(["the the"], vocab_size=259)
    assert tokenizer.get_vocab_size() == 259
    assert len(tokenizer.encode("the").ids) == 3


@pytest.mark.parametrize("size", [0, 258])
def test_refuses_a_vocabulary_without_room_for_all_bytes(size):
    with pytest.raises(ValueError, match=rf"at least 259; got vocab_size {size}$"):
        train_tokenizer(["a"], vocab_size=size)


def test_special_tokens_are_numbered_and_a_saved_tokenizer_is_the_same(tmp_path):
    path = tmp_path / "tokenizer.json"
    TOKENIZER.save(str(path))
    loaded = load_tokenizer(path)
    assert loaded.to_str() == TOKENIZER.to_str()
    assert [loaded.id_to_token(number) for number in (PADDING, START, END)] == [
        "<pad>",
        "<s>",
        "</s>",
    ]
    text = "the 3rd of ünknown 🦥"
    assert load_tokenizer(str(path)).encode(text).ids == TOKENIZER.encode(text).ids


def test_refuses_a_file_that_is_missing_or_no_tokenizer(tmp_path):
    with pytest.raises(ValueError, match=r"load_tokenizer: the file must exist; got .*gone\.json"):
        load_tokenizer(tmp_path / "gone.json")
    with pytest.raises(ValueError, match="load_tokenizer: the file must exist"):
        load_tokenizer(tmp_path)
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no tokenizer can be read; got .*broken\.json: "):
        load_tokenizer(tmp_path / "broken.json")


def test_refuses_a_tokenizer_that_numbers_its_special_tokens_otherwise(tmp_path):
    saved = TOKENIZER.to_str().replace('"<s>"', '"<bos>"')
    (tmp_path / "other.json").write_text(saved, encoding="utf-8")
    with pytest.raises(ValueError, match=r"tokens 0, 1, 2; got \(0, None, 2\) in .*other\.json"):
        load_tokenizer(tmp_path / "other.json")


def test_padding_by_hand():
    tokens, mask = pad_batch([[5, 6, 7], [], [8]])
    assert tokens.tolist() == [[5, 6, 7], [0, 0, 0], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert pad_batch([[5, 6], [7]], value=-100)[0].tolist() == [[5, 6], [7, -100]]
    assert pad_batch([])[0].shape == (0, 0)


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=5))
def test_what_the_mask_shows_is_what_went_in(rows):
    tokens, mask = pad_batch(rows)
    assert tokens.shape == mask.shape == (len(rows), max(map(len, rows)))
    assert [row[hit].tolist() for row, hit in zip(tokens, mask.bool(), strict=True)] == rows
    assert not tokens[mask == 0].any()
