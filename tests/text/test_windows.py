"""Windows show every span, and tokens know which characters they stand for."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from askew.text import SpanTokenizer, TextTokens, cut_windows, tokens_of_span, train_tokenizer


def word_pieces():
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"
    vocab = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])}
    for letter in letters:
        vocab.setdefault(letter, len(vocab))
        vocab.setdefault("##" + letter, len(vocab))
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.enable_padding(length=32)
    made.enable_truncation(8)
    return made


BYTES = SpanTokenizer(train_tokenizer(["some text to learn from", "ein Kaffee ☕"], vocab_size=300))
PIECES = SpanTokenizer(word_pieces())
both = pytest.mark.parametrize("spans", [BYTES, PIECES], ids=["bytes", "pieces"])


@given(
    num_tokens=st.integers(0, 300),
    size=st.integers(1, 60),
    overlap=st.integers(0, 59),
    data=st.data(),
)
def test_windows_show_every_span_as_long_as_the_overlap(num_tokens, size, overlap, data):
    overlap = min(overlap, size - 1)
    windows = cut_windows(num_tokens, size=size, overlap=overlap)
    assert all(0 <= a < b <= num_tokens and b - a <= size for a, b in windows)
    assert len(windows) <= 1 or all(b - a == size for a, b in windows)
    assert {i for a, b in windows for i in range(a, b)} == set(range(num_tokens))
    if num_tokens:
        length = data.draw(st.integers(1, max(1, min(overlap, num_tokens))))
        start = data.draw(st.integers(0, num_tokens - length))
        assert any(a <= start and start + length <= b for a, b in windows)


def test_wrong_windows_are_refused():
    for size, overlap in ((4, 4), (4, -1), (0, 0)):
        with pytest.raises(ValueError, match="cut_windows: num_tokens must be >= 0 and overlap"):
            cut_windows(9, size=size, overlap=overlap)
    with pytest.raises(ValueError, match="got num_tokens -1"):
        cut_windows(-1, size=3, overlap=1)


LETTERS = "ab Z.\n\t09ü\u0308\u200d👩🏽🚀אב中文\x00☕é"
STRANGE = st.text(st.sampled_from(LETTERS) | st.characters(codec="utf-8"), max_size=40)


@both
@given(text=STRANGE)
def test_offsets_slice_the_text_in_order_and_every_token_can_be_found(spans, text):
    tokens = spans.encode(text)
    assert isinstance(tokens, TextTokens)
    assert len(tokens.ids) == len(tokens.starts) == len(tokens.ends)
    places = list(zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True))
    assert all(0 <= start <= end <= len(text) for start, end in places)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(places))
    for i, (start, end) in enumerate(places):
        if start < end:
            first, last = tokens_of_span(tokens, start, end)
            assert first <= i <= last
    if spans is BYTES:  # bytes lose nothing
        assert {i for start, end in places for i in range(start, end)} == set(range(len(text)))


@both
def test_many_are_cut_as_one_by_one(spans):
    texts = ["", "one two", "  three?  ", "☕" * 9]
    for text, tokens in zip(texts, spans.encode_all(texts), strict=True):
        alone = spans.encode(text)
        assert all((a == b).all() for a, b in zip(tokens, alone, strict=True))


def test_what_an_encoder_expects_is_put_around_and_nothing_is_cut_or_filled():
    tokens = PIECES.encode("abcdefghijklmnop")
    assert len(tokens.ids) == 16
    assert (PIECES.before, PIECES.after, PIECES.num_special) == ([2], [3], 2)
    assert PIECES.wrap(tokens.ids) == [2, *tokens.ids.tolist(), 3]
    assert (BYTES.num_special, BYTES.wrap(tokens.ids[:2])) == (0, tokens.ids[:2].tolist())


def test_a_span_between_tokens_has_none():
    tokens = PIECES.encode("a   b")
    assert tokens_of_span(tokens, 1, 4) is None
    assert tokens_of_span(tokens, 0, 5) == (0, 1)
    assert tokens_of_span(tokens, 4, 5) == (1, 1)
