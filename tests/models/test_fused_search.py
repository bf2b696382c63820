"""Passages found by words and token states: each side as written out, and both fused."""

import numpy as np
import pytest
import torch
from small_encoder import save_encoder
from transformers import BertModel

import askew.models._encoders as module
from askew.models import (
    ContextIndex,
    EncodedQuestion,
    FusedSearch,
    PassageEncoder,
    Proposed,
    max_sim,
)
from askew.text import Context, cut_passages, fuse_ranks, fuse_scores

DOCUMENTS = [
    Context("rome", "anna lives in rome\n\n# the house\n\nthe house is red"),
    Context("oslo", "ben lives in oslo"),
    Context("none", "\n"),
    Context("long", "tree blue " * 60),
]
QUESTION = "where is the red house"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def encoder(folder):
    return PassageEncoder.from_pretrained(folder)


@pytest.fixture(scope="module")
def index(encoder):
    return encoder.encode(DOCUMENTS, dtype="float32")


def loops(question, states, mask):
    """The formula of max_sim over single numbers."""
    scores = []
    for passage, real in zip(states, mask, strict=True):
        tokens = [state for state, is_real in zip(passage, real, strict=True) if is_real]
        best = [max(float(q @ c) for c in tokens) for q in question] if tokens else []
        scores.append(sum(best))
    return scores


def test_max_sim_is_that_of_the_formula_and_reads_no_hidden_state():
    torch.manual_seed(0)
    question, states = torch.randn(3, 5), torch.randn(4, 7, 5)
    mask = torch.rand(4, 7) > 0.4
    mask[2] = False
    states[~mask] = torch.nan
    assert max_sim(question, states, mask).tolist() == pytest.approx(loops(question, states, mask))
    assert max_sim(question[:0], states, mask).tolist() == [0] * 4
    assert max_sim(question, states[:, :0], mask[:, :0]).tolist() == [0] * 4
    assert max_sim(question, states[:0], mask[:0]).shape == (0,)


def test_one_token_on_both_sides_is_a_product_of_vectors():
    one, other = torch.randn(1, 5), torch.randn(3, 1, 5)
    expected = (other[:, 0] @ one[0]).tolist()
    mask = torch.ones(3, 1, dtype=torch.bool)
    assert max_sim(one, other, mask).tolist() == pytest.approx(expected)


def test_states_and_vectors_are_those_of_transformers(folder, encoder, index):
    model, tokenizer = BertModel.from_pretrained(folder).eval(), encoder._contexts.tokenizer
    spans = [(row, *s) for row, c in enumerate(DOCUMENTS[:2]) for s in cut_passages(c.text)]
    for row, start, end in spans:
        text = DOCUMENTS[row].text[start:end]
        ids = torch.tensor([tokenizer.wrap(tokenizer.encode(text).ids)])
        with torch.no_grad():
            states = model(input_ids=ids).last_hidden_state[0]
        window = index.window_spans.index((row, start, end))
        gathered = index.gather(torch.tensor([window]))
        unit = torch.nn.functional.normalize(states, dim=-1)
        torch.testing.assert_close(gathered.states[0], unit, atol=1e-5, rtol=1e-4)
        mean = torch.nn.functional.normalize(states.mean(0), dim=-1)
        torch.testing.assert_close(index.vectors[window], mean, atol=1e-5, rtol=1e-4)


def test_passages_are_those_of_the_text_and_a_long_one_is_cut_to_the_positions(encoder, index):
    spans = index.window_spans
    assert encoder.max_tokens == 64
    for row in (0, 1):
        cut = [(row, *span) for span in cut_passages(DOCUMENTS[row].text)]
        assert sorted(span for span in spans if span[0] == row) == cut
    long_ones = sorted(span for span in spans if span[0] == 3)
    assert len(long_ones) > 1
    assert int(index.window_lengths.max()) <= 64
    assert (long_ones[0][1], long_ones[-1][2]) == (0, len(DOCUMENTS[3].text.strip()))


def test_a_question_is_read_as_a_text_is(encoder, index):
    question = encoder.question("ben lives in oslo")
    assert isinstance(question, EncodedQuestion)
    window = index.window_spans.index((1, 0, 17))
    torch.testing.assert_close(index.vectors[window], question.vector, atol=1e-5, rtol=1e-4)
    sims = max_sim(question.states, *_inner(index, window))
    assert float(sims) == pytest.approx(len(question.states), rel=1e-4)


def _inner(index, window):
    gathered = index.gather(torch.tensor([window]))
    return gathered.states, gathered.places[..., 0] >= 0


def test_both_sides_propose_and_the_fused_order_is_that_of_the_formulas(encoder, index):
    search = FusedSearch(index, encoder, shortlist=2)
    proposed = search.propose(QUESTION)
    assert isinstance(proposed, Proposed)
    words = search.passages.bm25.scores(QUESTION)
    vectors = (index.vectors @ encoder.question(QUESTION).vector).numpy()
    expected = set(np.argsort(-words)[:2][words[np.argsort(-words)[:2]] > 0])
    expected |= set(np.argsort(-vectors)[:2])
    assert set(proposed.passages.tolist()) == expected
    assert proposed.by_words.tolist() == words[proposed.passages].tolist()
    for weight in (None, 0.0, 0.3, 1.0):
        search.weight = weight
        both = [proposed.by_tokens, proposed.by_words]
        fused = fuse_ranks(both) if weight is None else fuse_scores(both, [weight, 1 - weight])
        found = search.search(QUESTION, top=2)
        assert [p.score for p in found] == pytest.approx(sorted(fused, reverse=True)[:2])
        rows = [search.passages.passages[n][0] for n in proposed.passages[np.argsort(-fused)]]
        assert search.rank(QUESTION)[0] == rows[0] == found[0].context


def test_more_passages_than_the_shortlist_can_be_asked_for(encoder, index):
    found = FusedSearch(index, encoder, shortlist=1).search(QUESTION, top=99)
    assert len(found) == index.num_windows


def test_the_best_sentence_has_the_most_similar_tokens(encoder):
    text = "anna lives in rome. the house is red. ben or blue tree"
    sentences = [(0, 19), (20, 37), (38, 54)]
    index = encoder.encode([Context("", text)], dtype="float32")
    search, question = FusedSearch(index, encoder), encoder.question("a red house")
    window = index.gather(torch.tensor([0]))
    begins = window.places[0, :, 0]
    masks = torch.stack([(begins >= start) & (begins < end) for start, end in sentences])
    expected = loops(question.states, window.states.expand(3, -1, -1), masks)
    assert search.score_sentences(question, 0, sentences).tolist() == pytest.approx(expected)
    best = sentences[int(np.argmax(expected))]
    assert search.search("a red house", top=1)[0].sentence == best


def test_the_fitted_weight_is_the_best_of_the_grid(encoder, index):
    search = FusedSearch(index, encoder)
    questions, rows = ["red house", "oslo ben", "anna", "blue"], [0, 1, 0, 3]
    reached = {}
    for step in range(21):
        search.weight = step / 20
        ranked = [search.rank(question) for question in questions]
        reached[step / 20] = sum(
            1 / (1 + r.index(row)) for r, row in zip(ranked, rows, strict=True)
        )
    weight = search.fit_weight(questions, rows)
    assert reached[round(weight, 2)] == pytest.approx(max(reached.values()))
    assert len(set(reached.values())) > 1  # else any weight would do


@pytest.mark.parametrize("question", ["", " ", "\n"])
def test_a_question_without_a_token_finds_nothing(encoder, index, question):
    assert FusedSearch(index, encoder).search(question) == []


def test_an_empty_index_finds_nothing(encoder, tmp_path):
    assert FusedSearch(encoder.encode([]), encoder).search(QUESTION) == []
    assert ContextIndex.load(encoder.encode([], folder=tmp_path / "i").folder).num_windows == 0


def test_an_index_in_a_folder_is_found_again_and_guarded(encoder, tmp_path):
    index = encoder.encode(DOCUMENTS, folder=tmp_path / "index")
    assert encoder.append(index, DOCUMENTS) == len(DOCUMENTS)
    loaded = ContextIndex.load(tmp_path / "index", fingerprint=encoder.fingerprint)
    found = [FusedSearch(one, encoder).search(QUESTION) for one in (index, loaded)]
    assert found[0] == found[1]
    other = PassageEncoder.from_pretrained(save_encoder(tmp_path / "other", seed=1))
    with pytest.raises(ValueError, match="the index must be of this encoder"):
        FusedSearch(loaded, other)


def test_an_encoder_in_a_package_is_found_without_running_it(folder, tmp_path, monkeypatch):
    package = tmp_path / "site" / "packaged_encoder"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('run')")
    (folder).rename(package / "model")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(module, "_PACKAGED", {"minilm": ("packaged_encoder", "model")})
    try:
        assert PassageEncoder.from_pretrained("minilm").max_tokens == 64
    finally:
        (package / "model").rename(folder)


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setattr(module, "_PACKAGED", {"minilm": ("no_such_encoder", "model")})
    with pytest.raises(ModuleNotFoundError, match=r"minilm must be installed.*askew\[pretrained\]"):
        PassageEncoder.from_pretrained("minilm")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 1.5}, "got weight 1.5, shortlist 50"),
        ({"shortlist": 0}, "got weight None, shortlist 0"),
    ],
)
def test_numbers_out_of_range_are_refused(encoder, index, settings, message):
    with pytest.raises(ValueError, match=message):
        FusedSearch(index, encoder, **settings)


def test_questions_that_cannot_be_asked_are_refused(encoder, index):
    search = FusedSearch(index, encoder)
    with pytest.raises(ValueError, match="top must be at least 1; got top 0"):
        search.search(QUESTION, top=0)
    with pytest.raises(ValueError, match="without lone surrogates"):
        search.search("\ud800")
    with pytest.raises(ValueError, match="got 1 questions, 2 contexts"):
        search.fit_weight(["a"], [0, 1])
    with pytest.raises(ValueError, match="without lone surrogates"):
        encoder.encode([Context("", "\ud800")])
