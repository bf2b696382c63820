"""BPE-dropout is the tokenizer at 0, bytes at 1, and between them what the library draws."""

from collections import Counter

import pytest
from tokenizers import Tokenizer

from askew.text import BpeDropout, train_tokenizer

TEXTS = ["low lower lowest", "newer wider 12 times", "Öl für größere Räder", "  two  spaces\t", ""]
TOKENIZER = train_tokenizer(TEXTS * 4, vocab_size=330)


@pytest.mark.parametrize("text", [*TEXTS, "never seen: žluťoučký 😀 kůň 2026"])
def test_nothing_left_out_is_the_tokenizer_and_all_left_out_is_bytes(text):
    assert BpeDropout(TOKENIZER, 0.0).encode(text, key="any") == TOKENIZER.encode(text).ids
    assert len(BpeDropout(TOKENIZER, 1.0).encode(text, key="any")) == len(text.encode())


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("text", TEXTS)
def test_every_cut_decodes_to_the_text_and_the_key_decides(p, text):
    cut = BpeDropout(TOKENIZER, p)
    cuts = [cut.encode(text, key=str(key)) for key in range(50)]
    assert {TOKENIZER.decode(tokens) for tokens in cuts} == {text}
    again = BpeDropout(TOKENIZER, p)
    assert cuts == [again.encode(text, key=str(key)) for key in range(50)]
    assert len({tuple(tokens) for tokens in cuts}) > 5 or len(text) < 2


@pytest.mark.parametrize("p", [0.2, 0.6])
def test_cuts_are_as_frequent_as_those_of_the_library(p):
    """Total variation between 4,000 draws each is within what chance gives two samples."""
    text, draws = "lowest", 4000
    theirs = Tokenizer.from_str(TOKENIZER.to_str())
    theirs.model.dropout = p
    ours = BpeDropout(TOKENIZER, p)
    one = Counter(tuple(ours.encode(text, key=str(key))) for key in range(draws))
    other = Counter(tuple(theirs.encode(text).ids) for _ in range(draws))
    distance = sum(abs(one[cut] - other[cut]) for cut in one | other) / draws / 2
    assert distance < 0.06
    near = Counter(
        tuple(BpeDropout(TOKENIZER, p + 0.15).encode(text, key=str(k))) for k in range(draws)
    )
    assert sum(abs(near[cut] - other[cut]) for cut in near | other) / draws / 2 > 0.08


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_texts_of_several_words_are_cut_as_those_of_the_library(p):
    """The number of tokens: words draw from one run after the other."""
    text, draws = "lowest newer wider lower low spaces times", 3000
    theirs = Tokenizer.from_str(TOKENIZER.to_str())
    theirs.model.dropout = p
    ours = BpeDropout(TOKENIZER, p)
    one = Counter(len(ours.encode(text, key=str(key))) for key in range(draws))
    other = Counter(len(theirs.encode(text).ids) for _ in range(draws))
    assert sum(abs(one[size] - other[size]) for size in one | other) / draws / 2 < 0.07


def test_refuses_what_is_no_share():
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"BpeDropout: p must be in \[0, 1\]; got p {p}$"):
            BpeDropout(TOKENIZER, p)
