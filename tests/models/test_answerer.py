"""Answers are spans of the texts they come from, from contexts encoded once."""

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_answerer import QUESTION, TOKENIZER, answerer, contexts

from askew.models import (
    Answer,
    AsymmetricQAConfig,
    ContextIndex,
    QuestionAnswerer,
    model_fingerprint,
)
from askew.text import Context, fuse_ranks
from askew.transformer import SpanScores


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_contexts_read_from_disk_give_bit_equal_answers(tmp_path, dtype):
    reader, texts = answerer(), contexts(9)
    fresh = reader.encode(texts, dtype=dtype)
    reader.encode(texts, dtype=dtype).save(tmp_path / "index")
    loaded = ContextIndex.load(tmp_path / "index", fingerprint=reader.fingerprint)
    assert loaded.contexts == texts
    for question in (QUESTION, "the red house"):
        found = reader.answer(question, loaded, top_k=9)
        assert found == reader.answer(question, fresh, top_k=9)
        assert reader.rank(question, loaded) == reader.rank(question, fresh)


def test_answers_are_different_spans_in_falling_order():
    reader, texts = answerer(), contexts(9)
    found = reader.answer(QUESTION, reader.encode(texts), top_k=50)
    assert len({(a.context, a.start, a.end) for a in found}) == len(found) == 50
    assert [a.score for a in found] == sorted((a.score for a in found), reverse=True)
    for answer in found:
        assert isinstance(answer, Answer)
        assert answer.text == texts[answer.context].text[answer.start : answer.end]
        assert answer.text == answer.text.strip() != ""
        assert answer.title == texts[answer.context].title
        assert answer.nothing == (answer.score < 0)


def test_the_best_answers_are_those_of_the_scores():
    reader, texts = answerer(window=120), contexts(4)
    index = reader.encode(texts, dtype="float32")
    expected = {}
    question = reader.model.encode_questions(torch.tensor([TOKENIZER.encode(QUESTION).ids]))
    for row, context in enumerate(texts):
        encoding = TOKENIZER.encode(context.text)
        states = reader.model.encode_contexts(torch.tensor([encoding.ids]))
        with torch.no_grad():
            scores = reader.model.read(question, states)
        for i, (start, _) in enumerate(encoding.offsets):
            for j, (_, end) in enumerate(encoding.offsets[i : i + 4], i):
                piece = context.text[start:end]
                place = (row, start + len(piece) - len(piece.lstrip()), end)
                margin = float(scores.spans[0, i, j] - scores.nothing[0])
                if piece.strip():
                    expected[place] = max(margin, expected.get(place, margin))
    best = sorted(expected, key=expected.get, reverse=True)[:10]
    found = reader.answer(QUESTION, index, top_k=10)
    assert [(a.context, a.start, a.end) for a in found] == best
    assert [a.score for a in found] == pytest.approx([expected[p] for p in best], abs=1e-4)


def test_a_shortlist_of_all_windows_is_no_shortlist():
    reader = answerer()
    index = reader.encode(contexts(9))
    whole = reader.answer(QUESTION, index, top_k=5, shortlist=None)
    assert reader.answer(QUESTION, index, top_k=5, shortlist=index.num_windows) == whole


def test_a_shortlist_has_the_best_by_vectors_and_by_words():
    reader = answerer(window=120)
    index = reader.encode([*contexts(9), Context("words", "zebra zebra zebra")])
    rows = index.window_contexts.tolist()
    assert sorted(rows) == list(range(10))  # a window for each context
    for question in ("zebra", QUESTION):
        by_context = dict(reader.rank(question, index))
        by_vectors = np.array([by_context[row] for row in rows])
        fused = fuse_ranks([by_vectors, index.words.scores(question)])
        for count in (1, 3):
            best = {rows[window] for window in np.argsort(-fused, kind="stable")[:count]}
            found = reader.answer(question, index, top_k=999, shortlist=count)
            assert {answer.context for answer in found} == best
    assert rows[index.words.scores("zebra").argmax()] == 9
    index.update(dropped=[9])
    assert index.words.scores("zebra").max() == 0


def standardised(scores):
    return (scores - scores.mean()) / scores.std()


@pytest.mark.parametrize("shortlist", [None, 4])
def test_the_retrieval_adds_its_weighted_standardised_score(shortlist):
    reader = answerer(window=120)  # a window for each context
    index = reader.encode([*contexts(9), Context("words", "zebra anna")])
    rows = index.window_contexts.tolist()
    for question in ("zebra", QUESTION):
        by_context = dict(reader.rank(question, index))
        by_vectors = np.array([by_context[row] for row in rows])
        both = standardised(by_vectors) + standardised(index.words.scores(question))
        expected = dict(zip(rows, standardised(both), strict=True))
        each = reader.answer_each_window(question, index, shortlist=shortlist)
        assert len(each) == (shortlist or len(rows))
        assert [found for _, found in each] == pytest.approx([expected[a.context] for a, _ in each])
        alone = reader.answer(question, index, top_k=10**5, shortlist=shortlist, retrieval_weight=0)
        for weight in (0.5, 3.0):
            found = reader.answer(
                question, index, top_k=10**5, shortlist=shortlist, retrieval_weight=weight
            )
            by_place = {(a.context, a.start, a.end): a for a in found}
            assert len(by_place) == len(alone)
            for one in alone:
                other = by_place[one.context, one.start, one.end]
                assert other.retrieval == pytest.approx(weight * expected[one.context], abs=1e-6)
                assert other.score == pytest.approx(one.score + other.retrieval, abs=1e-5)
                assert other.nothing == (other.score - other.retrieval < 0)
            assert [a.score for a in found] == sorted((a.score for a in found), reverse=True)
            best = max(each, key=lambda one: one[0].score + weight * one[1])[0]
            assert found[0][:3] == best[:3]


def test_without_a_weight_only_the_reader_ranks():
    reader, texts = answerer(), contexts(9)
    index = reader.encode(texts)
    assert reader.retrieval_weight == 0
    for shortlist in (None, 5):
        found = reader.answer(QUESTION, index, top_k=50, shortlist=shortlist)
        zero = reader.answer(QUESTION, index, top_k=50, shortlist=shortlist, retrieval_weight=0.0)
        assert found == zero
        assert all(answer.retrieval == 0 for answer in found)
        each = reader.answer_each_window(QUESTION, index, shortlist=shortlist)
        assert {answer.score for answer, _ in each} >= {found[0].score}
    own = reader.answer(QUESTION, index, top_k=9, contexts=[3], retrieval_weight=2.0)
    assert {answer.context for answer in own} == {3}
    reader.model.config.retrieval = {"weight": 2.0}
    weighted = QuestionAnswerer(reader.model, TOKENIZER, TOKENIZER)
    assert weighted.retrieval_weight == 2.0
    assert weighted.answer(QUESTION, index, top_k=9) == reader.answer(
        QUESTION, index, top_k=9, retrieval_weight=2.0
    )
    assert weighted.answer(QUESTION, index) != reader.answer(QUESTION, index)


def test_wrong_weights_are_refused():
    reader = answerer()
    index = reader.encode([])
    assert reader.answer(QUESTION, index, retrieval_weight=1.0) == []
    assert reader.answer_each_window(QUESTION, index) == []
    for weight in (-1.0, float("nan"), 101.0):
        with pytest.raises(ValueError, match=r"retrieval_weight must be in \[0, 100\]"):
            reader.answer(QUESTION, index, retrieval_weight=weight)
        with pytest.raises(ValueError, match=r"retrieval must be numbers, with a weight in \[0, 1"):
            AsymmetricQAConfig(retrieval={"weight": weight})
    for kept in ({"weight": "much"}, {"f1": 3.0}, {}, [3], {"weight": 1.0, "f1": "high"}):
        with pytest.raises(ValueError, match="retrieval must be numbers"):
            AsymmetricQAConfig(retrieval=kept)


def test_contexts_can_be_chosen_and_ranked():
    reader, texts = answerer(), contexts(9)
    index = reader.encode(texts)
    assert {a.context for a in reader.answer(QUESTION, index, top_k=9, contexts=[3])} == {3}
    assert reader.answer(QUESTION, index, contexts=[]) == []
    ranked = reader.rank(QUESTION, index)
    assert sorted(row for row, _ in ranked) == list(range(9))
    vectors = reader.model.encode_questions(torch.tensor([TOKENIZER.encode(QUESTION).ids])).vectors
    for row, score in ranked:
        own = index.vectors[index.window_contexts == row] @ vectors[0]
        assert score == pytest.approx(float(own.detach().max()), abs=1e-6)


STRANGE = st.text(st.sampled_from("ab Zü\u0308\u200d👩🏽🚀אב中☕é\n\x00"), min_size=1, max_size=30)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=STRANGE, data=st.data())
def test_every_character_can_be_answered(monkeypatch, text, data):
    reader = answerer(window=data.draw(st.integers(9, 15)), overlap=8, longest=4)
    place = data.draw(st.integers(0, len(text) - 1))
    index = reader.encode([Context("", text)])

    def planted(question, context, answer_mask):
        """Give the best score to the tokens of one character alone."""
        spans = torch.full((*context.mask.shape, context.mask.shape[1]), -9.0)
        for row, places in enumerate(seen[0]):
            held = [i for i, (a, b) in enumerate(places.tolist()) if 0 <= a <= place < b]
            if held:
                spans[row, held[0], held[-1]] = 9.0
        return SpanScores(spans, torch.zeros(len(spans)))

    seen = []
    gather = index.gather

    def gathered(windows):
        states = gather(windows)
        seen[:] = [states.places]
        return states

    monkeypatch.setattr(reader.model, "read", planted)
    monkeypatch.setattr(index, "gather", gathered)
    found = reader.answer("who", index)
    if text[place].isspace():
        return  # nobody wants to hear a space
    assert found[0].score == 9.0
    assert found[0].start <= place < found[0].end
    assert found[0].text == text[found[0].start : found[0].end]


def test_what_is_added_later_is_as_if_it_had_been_there(tmp_path):
    reader, texts = answerer(), contexts(9)
    index = reader.encode(texts[:5], dtype="float32")
    index.save(tmp_path / "index")
    assert reader.append(ContextIndex.load(tmp_path / "index"), texts[3:]) == 2
    loaded, whole = ContextIndex.load(tmp_path / "index"), reader.encode(texts, dtype="float32")
    assert loaded.contexts == whole.contexts
    one, other = (reader.answer(QUESTION, held, top_k=5) for held in (loaded, whole))
    assert [a[:3] for a in one] == [a[:3] for a in other]
    assert [a.score for a in one] == pytest.approx([a.score for a in other], abs=1e-4)


def test_an_index_that_is_not_whole_is_refused(tmp_path):
    reader, folder = answerer(), tmp_path / "index"
    reader.encode(contexts(5)).save(folder)
    shard = next(folder.glob("*.safetensors"))
    kept, manifest = shard.read_bytes(), (folder / "index.json").read_text()

    def refused(message, **settings):
        with pytest.raises(ValueError, match=message) as error:
            ContextIndex.load(folder, **settings)
        assert "\n" not in str(error.value)

    shard.write_bytes(kept[:-9])
    refused(shard.name)
    shard.write_bytes(kept[:-9] + bytes(9))
    refused(shard.name)
    shard.unlink()
    refused(shard.name)
    shard.write_bytes(kept)
    refused("must be of the model that answers", fingerprint=answerer(seed=1).fingerprint)
    (folder / "index.json").write_text(json.dumps(json.loads(manifest) | {"version": 99}))
    refused("99")
    (folder / "index.json").write_text("{")
    refused("index.json")
    (folder / "index.json").write_text(manifest)
    assert len(ContextIndex.load(folder).contexts) == 5
    with pytest.raises(ValueError, match="must be of this model"):
        answerer(seed=1).answer(QUESTION, ContextIndex.load(folder))


def test_an_index_is_of_the_config_and_the_tokenizer_too_or_as_before_of_the_weights(tmp_path):
    folder = tmp_path / "model"
    answerer().model.save_pretrained(folder)
    for name in ("tokenizer.json", "question_tokenizer.json"):
        TOKENIZER.save(str(folder / name))
    reader = QuestionAnswerer.from_pretrained(folder)
    reader.encode(contexts(2)).save(tmp_path / "index")
    before = reader.encode([])
    before.fingerprint = model_fingerprint(folder)
    assert reader.append(before, contexts(2)) == 0
    for name in ("config.json", "tokenizer.json"):
        path, whole = folder / name, (folder / name).read_text("utf-8")
        path.write_text(whole + "\n")
        other = QuestionAnswerer.from_pretrained(folder)
        path.write_text(whole)
        with pytest.raises(ValueError, match="must be of this model"):
            other.answer(QUESTION, ContextIndex.load(tmp_path / "index"))
        with pytest.raises(ValueError, match="must be of the model that answers"):
            ContextIndex.load(tmp_path / "index", fingerprint=other.fingerprints)
        assert other.answer(QUESTION, before) == reader.answer(QUESTION, before)
    loaded = ContextIndex.load(tmp_path / "index", fingerprint=reader.fingerprints)
    assert loaded.contexts == contexts(2)


def test_an_append_that_dies_leaves_the_index_as_it_was(tmp_path, monkeypatch):
    from askew.models import _context_index

    reader, texts = answerer(), contexts(8)
    reader.encode(texts[:5]).save(tmp_path)

    def die(*_):
        raise KeyboardInterrupt

    index = ContextIndex.load(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(_context_index, "write_manifest", die)
        with pytest.raises(KeyboardInterrupt):
            reader.append(index, texts)
    again = ContextIndex.load(tmp_path)
    assert again.contexts == texts[:5]
    assert reader.append(again, texts) == 5
    assert ContextIndex.load(tmp_path).contexts == texts


def test_texts_without_tokens_and_twice_the_same():
    reader = answerer()
    index = reader.encode([Context("a", ""), Context("b", "anna"), Context("b", "anna")])
    assert len(index.contexts) == 2
    assert reader.answer(QUESTION, index)[0].context == 1
    assert reader.answer(QUESTION, reader.encode([Context("a", "")])) == []
    assert reader.rank(QUESTION, reader.encode([])) == []


def test_questions_that_cannot_be_read_are_refused_in_one_line():
    reader = answerer()
    index = reader.encode(contexts(2))
    for question, message in (
        ("  ", "must not be blank"),
        ("red " * 30, "must have 1 to 12 tokens"),
        ("\ud800", "lone surrogates"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            reader.answer(question, index)
        assert "\n" not in str(error.value)
    assert [reader.can_read(q) for q in (QUESTION, " ", "red " * 30)] == [True, False, False]
    with pytest.raises(ValueError, match="top_k must be positive"):
        reader.answer(QUESTION, index, top_k=0)
    with pytest.raises(ValueError, match="shortlist must be positive or None"):
        reader.answer(QUESTION, index, shortlist=0)
    with pytest.raises(ValueError, match="contexts must be rows of the index"):
        reader.answer(QUESTION, index, contexts=[2])


@pytest.mark.slow
def test_five_megabytes_are_read():
    reader = answerer(window=256, overlap=64, batch_windows=16)
    text = "anna lives in the red house . " * (5 * 2**20 // 30)
    index = reader.encode([Context("big", text)])
    found = reader.answer(QUESTION, index, top_k=3)
    assert all(text[a.start : a.end] == a.text for a in found)
