"""A translator that knows marks: what must be copied goes around the model, whatever engine."""

import pytest
from saved_model import CONFIG, saved

from askew.models import DecodingConfig, Hypothesis, TokenHypothesis, Translator, attention_map
from askew.text import ParallelText, Tokenizers, protect_pairs, train_tokenizers

PAIRS = ParallelText(["three trees see %s bees"] * 4, ["três árvores veem %s abelhas"] * 4)
MADE = train_tokenizers(protect_pairs(PAIRS), vocab_size=280, protect=True)
PLAIN = train_tokenizers(PAIRS, vocab_size=280)
MARK = MADE.source.token_to_id("\ufdd0")
MARKED = "see ``x`` in :ref:`a list <ll>`, %(name)s"
HOSTILE = ["\ufdd0 %s", "\ufddf\ufdd1", "%s", MARKED, "", "a\ufde0 {0}", "</s> <pad> \ufdd3"]


class Copying:
    """Writes what it read; further hypotheses lack marks, or have one that stands for nothing."""

    def __init__(self):
        self.read = []

    def decode(self, sources, limits, config):
        self.read += sources
        marks = {MADE.source.token_to_id(chr(0xFDD0 + i)) for i in range(16)}
        return [
            [
                TokenHypothesis(list(source), -1.0),
                TokenHypothesis([token for token in source if token not in marks], -2.0),
                TokenHypothesis([MARK, max(marks), MARK], -3.0),
            ][: config.num_hypotheses]
            for source in sources
        ]


@pytest.mark.unhooked
def test_what_is_copied_comes_back_and_the_model_never_saw_it():
    engine = Copying()
    translator = Translator(engine, MADE.source)
    assert translator.protects
    assert translator.translate(HOSTILE) == HOSTILE
    read = [MADE.source.decode(tokens) for tokens in engine.read]
    assert "see \ufdd0 in \ufdd1a list \ufdd2, \ufdd3" in read
    assert not any("%" in text or "<" in text for text in read)


@pytest.mark.unhooked
def test_every_hypothesis_is_restored_and_nothing_is_mended():
    decoding = DecodingConfig(num_beams=3, num_hypotheses=3)
    (found,) = Translator(Copying(), MADE.source).hypotheses(["see %s, {0}"], decoding)
    assert found == [
        Hypothesis("see %s, {0}", -1.0),
        Hypothesis("see , ", -2.0),
        Hypothesis("%s%s", -3.0),
    ]


@pytest.mark.unhooked
@pytest.mark.parametrize("longest", [1, 7, 30])
def test_long_texts_are_cut_between_what_is_copied(longest):
    text = " ".join(f"A sentence with ``a long literal {i}`` and %s. " for i in range(9))
    translator = Translator(Copying(), MADE.source, max_source_tokens=longest)
    assert translator.translate([text, MARKED]) == [text, MARKED]
    pieces = translator.split_text(text)
    assert "".join(piece + after for piece, after in pieces) == text
    assert len(pieces) > 2
    assert all(piece.count("``") % 2 == 0 for piece, _ in pieces)


@pytest.mark.unhooked
def test_a_model_that_knows_no_marks_reads_the_text_itself():
    engine = Copying()
    translator = Translator(engine, PLAIN.source)
    assert not translator.protects
    assert translator.translate(HOSTILE) == HOSTILE
    texts = [text for text in HOSTILE if text]
    assert sorted(engine.read) == sorted(PLAIN.source.encode(text).ids for text in texts)


@pytest.mark.parametrize("separate", [False, True])
def test_engines_agree_and_no_mark_is_left(tmp_path, separate):
    pytest.importorskip("ctranslate2")
    from askew.export import export_ctranslate2

    made = train_tokenizers(protect_pairs(PAIRS), vocab_size=280, separate=separate, protect=True)
    assert isinstance(made, Tokenizers)
    saved(tmp_path, vocabularies(made), made)
    export_ctranslate2(tmp_path)
    ours = Translator.from_pretrained(tmp_path)
    theirs = Translator.from_pretrained(tmp_path, engine="ctranslate2")
    texts = [*HOSTILE, "three %s trees see bees", "%s" * 3]
    found = ours.translate(texts)
    assert theirs.protects
    assert theirs.translate(texts) == found
    for translator in (ours, theirs):
        drawn = translator.hypotheses(texts, DecodingConfig(sample=True, num_hypotheses=4))
        said = [own.text for group in drawn for own in group]
        assert any("%s" in text for text in said)  # loud weights write any mark
        left = {c for text in said for c in text if "\ufdd0" <= c <= "\ufddf"}
        assert left <= {"\ufdd0", "\ufdd1", "\ufdd3", "\ufddf"}  # those that a source had


def test_attention_shows_what_marks_stand_for(tmp_path):
    saved(tmp_path, vocabularies(MADE), MADE)
    found = attention_map(Translator.from_pretrained(tmp_path), "see %(long)s")
    assert "".join(found.source_tokens[:-1]) == "see %(long)s"
    assert "%(long)s" in found.source_tokens


def vocabularies(made):
    from dataclasses import replace

    source, target = (tokenizer.get_vocab_size() for tokenizer in made)
    return replace(CONFIG, source_vocab=source, target_vocab=target)
