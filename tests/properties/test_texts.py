"""Laws that hold for all texts and answers."""

import string
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from drawn import FEW
from hypothesis import given, settings
from hypothesis import strategies as st

from askew.metrics import (
    answer_exact_match,
    answer_f1,
    bleu,
    bleu_tokenizer,
    bootstrap_interval,
    chrf,
    exact_match,
    mean_reciprocal_rank,
    normalize_answer,
    placeholder_survival,
    recall_at,
    tokenizer_note,
)
from askew.models import max_sim
from askew.text import (
    Context,
    ParallelText,
    Question,
    QuestionSet,
    SpanTokenizer,
    count_overlap,
    cut_passages,
    cut_windows,
    find_place,
    find_placeholders,
    fingerprint,
    fuse_ranks,
    fuse_scores,
    is_protecting,
    labelled_phrases,
    localisation_phrases,
    nearest_neighbour,
    pad_batch,
    placeholder_kind,
    protect,
    protect_pairs,
    protect_target,
    restore,
    sentence_spans,
    split_by_article,
    split_pairs,
    tokens_of_span,
    train_tokenizer,
    train_tokenizers,
    with_unanswerable,
)
from askew.text._protect import MARKS

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MARKED = st.lists(
    st.sampled_from(["%s", "{0}", "<b>", ":file:`a`", "``x``", "http://a.b", " ", "word", "ç"]),
    max_size=12,
).map("".join)
TOKENIZER = train_tokenizer(["one two three", "bees see trees"], vocab_size=300)
SPANS = SpanTokenizer(TOKENIZER)


@FEW
@given(TEXT | MARKED, st.sampled_from(["", MARKS[1], MARKS[1] + " %d "]))
def test_what_is_protected_is_restored(text, mark):
    text = mark + text
    kept = protect(text)
    assert restore(kept.text, kept.originals) == text
    found = find_placeholders(text)
    assert not {*kept.originals} - {*found, *MARKS}
    assert len(found) + 1 > len(MARKS) or not find_placeholders(kept.text)


@FEW
@given(TEXT, st.integers(1, 9))
def test_passages_and_sentences_together_are_the_text(text, longest):
    for spans in (cut_passages(text, longest=longest), sentence_spans(text)):
        joined = "".join(text[start:end] for start, end in spans)
        assert "".join(joined.split()) == "".join(text.split())


@FEW
@given(st.lists(st.floats(-9, 9), min_size=1, max_size=6), st.permutations(range(6)))
def test_the_order_of_texts_changes_no_fused_score(scores, order):
    one = np.array(scores)
    order = [place for place in order if place < len(one)]
    for fuse in (lambda *both: fuse_scores(both, [1, 2]), lambda *both: fuse_ranks(both)):
        fused = fuse(one, one[::-1])
        assert fuse(one[order], one[::-1][order]) == pytest.approx(fused[order], abs=1e-9)


@FEW
@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 4))
def test_more_tokens_of_a_passage_never_lower_its_similarity(seed, questions, tokens):
    draw = torch.Generator().manual_seed(seed)
    question, states = (torch.randn(n, 3, generator=draw) for n in (questions, tokens + 1))
    shown = torch.ones(2, tokens + 1, dtype=torch.bool)
    shown[1, -1] = False
    more, fewer = max_sim(question, states.expand(2, -1, -1), shown).tolist()
    assert more >= fewer - 1e-5


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
@given(TEXT | MARKED, st.sampled_from(["en", "pt", "fr", "de-AT", "xx"]))
def test_an_answer_is_reduced_to_its_words(text, language):
    once = normalize_answer(text, language)
    assert once == " ".join(once.split())
    assert not set(once) & set(string.punctuation)
    loud = f"  {text}!  "
    assert normalize_answer(loud, language) == once
    assert answer_exact_match([loud], [[text]], language=language).value == 100


@FEW
@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=4))
def test_translations_that_are_right_have_the_highest_score(texts):
    wrong = ["\N{SNOWMAN}"] * len(texts)
    for score, top in ((bleu, 100), (chrf, 100), (exact_match, 1)):
        right = score(texts, texts).value
        assert 0 <= score(wrong, texts).value <= right <= top + 1e-9
    assert exact_match(texts, texts).value == 1
    assert chrf(texts, texts).value == pytest.approx(100)


@FEW
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9), st.floats(0.05, 0.94))
def test_an_interval_holds_the_mean_and_grows_with_its_level(items, level):
    one, wider = (bootstrap_interval(items, level=c, resamples=400) for c in (level, level + 0.05))
    assert min(items) - 1e-9 <= wider.low <= one.low <= one.high <= wider.high
    assert wider.high <= max(items) + 1e-9
    groups = bootstrap_interval(items, level=level, resamples=400, groups=range(len(items)))
    assert groups == one


@FEW
@given(st.lists(MARKED, min_size=1, max_size=4))
def test_placeholders_survive_where_nothing_is_changed(texts):
    same = placeholder_survival(texts, texts, find_placeholders, kind=placeholder_kind)
    assert same.kept == same.total == sum(find_placeholders(t).total() for t in texts)
    some = placeholder_survival(texts, ["", *texts[1:]], find_placeholders)
    assert some.total == same.total
    assert some.kept == same.total - find_placeholders(texts[0]).total()


@FEW
@given(st.lists(st.tuples(MARKED, MARKED), min_size=1, max_size=4))
def test_marks_stand_alike_on_both_sides_and_give_the_pair_back(pairs):
    whole = ParallelText([s for s, _ in pairs], [t for _, t in pairs])
    marked = protect_pairs(whole)
    for (source, target), ours, theirs in zip(pairs, *marked, strict=True):
        kept = protect(source)
        shared = [mark for mark in MARKS if mark in ours]
        assert restore(protect_target(target, kept.originals), kept.originals) == target
        assert {mark for mark in MARKS if mark in theirs} == set(shared)


@FEW
@given(TEXT, st.data())
def test_tokens_of_a_span_hold_its_characters(text, data):
    tokens = SPANS.encode(text)
    assert len(tokens.ids) == len(tokens.starts) == len(tokens.ends)
    if not text:
        return
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    found = tokens_of_span(tokens, start, end)
    touched = [
        i
        for i, (a, b) in enumerate(zip(tokens.starts, tokens.ends, strict=True))
        if a < end and b > start
    ]
    assert found == ((touched[0], touched[-1]) if touched else None)


WORDS = st.sampled_from(["lima", "oslo", "rome", "quito", "bonn", "bern"])


@FEW
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6), st.lists(WORDS, min_size=1))
def test_the_nearest_of_what_was_learnt_is_itself(pairs, queries):
    learnt = dict(pairs)
    text = ParallelText(list(learnt), list(learnt.values()))
    found = nearest_neighbour(queries, text)
    for query, answer in zip(queries, found, strict=True):
        assert answer == learnt[query] if query in learnt else answer in learnt.values()
    parts = [ParallelText(queries, queries), text]
    assert count_overlap(text, text) == len(text.sources)
    assert count_overlap(*parts) == sum(
        (q, q) in set(zip(*parts[0], strict=True)) for q in learnt if learnt[q] == q
    )


@FEW
@given(st.integers(3, 12), st.integers(0, 99), st.data())
def test_articles_stand_in_one_split_and_keep_their_questions(articles, seed, data):
    contexts, questions = [], []
    for article in range(articles):
        for place in range(data.draw(st.integers(1, 3))):
            contexts.append(Context(f"t{article}", f"k{article:02d} says {place}"))
            held = Question(f"{article}-{place}", "what", len(contexts) - 1, ((0, 3),))
            questions.append(held)
    whole = QuestionSet(contexts, questions, [])
    parts = split_by_article(whole, test_share=0.2, valid_share=0.2, seed=seed)
    titles = [{context.title for context in part.contexts} for part in parts]
    assert sum(map(len, titles)) == len(set.union(*titles)) == articles
    ids = sorted(question.id for part in parts for question in part.questions)
    assert ids == sorted(question.id for question in questions)
    for part in parts:
        assert part.questions
        for question in part.questions:
            assert part.contexts[question.context].title == f"t{question.id.split('-')[0]}"
    asked = with_unanswerable(whole, 0.5, seed=seed)
    added = asked.questions[len(questions) :]
    assert asked.questions[: len(questions)] == questions
    assert asked.contexts == contexts
    assert len(added) == round(0.5 * len(questions))
    for question in added:
        assert not question.answers
        assert question.id.endswith("-unanswerable")
        own = question.id.split("-")[0]
        assert contexts[question.context].title != f"t{own}"


@FEW
@given(st.integers(10, 40), st.integers(0, 99))
def test_a_fingerprint_tells_other_data(count, seed):
    pairs = ParallelText([f"s{i}" for i in range(count)], [f"t{i}" for i in range(count)])
    one, again, other = (fingerprint(split_pairs(pairs, seed=s)) for s in (seed, seed, seed + 1))
    assert one == again != other
    phrases = localisation_phrases(num_train=20, num_valid=2, num_test=2, seed=seed)
    assert [len(part.sources) for part in phrases] == [20, 2, 2]
    assert count_overlap(phrases.train, phrases.test) == 0
    labelled = labelled_phrases(num_texts=count, seed=seed)
    assert len(set(labelled.texts)) == len(labelled.texts) <= count + 1
    assert min(map(len, labelled.labels)) >= 2


@settings(max_examples=5)
@given(st.booleans(), st.booleans())
def test_tokenizers_know_whether_they_protect(separate, protecting):
    pairs = ParallelText(["open %s now"] * 5, ["abra %s agora"] * 5)
    both = train_tokenizers(pairs, vocab_size=300, separate=separate, protect=protecting)
    assert is_protecting(both.source) == is_protecting(both.target) == protecting
    assert (both.source is both.target) != separate


SCRIPTS = st.sampled_from(["cat", "кошка", "那只猫", "ねこです", "고양이", "แมว", "12 !", ""])


@given(st.lists(SCRIPTS, max_size=6), st.randoms(use_true_random=False))
def test_the_tokenizer_of_bleu_depends_on_the_letters_alone(texts, rng):
    mixed = [f"{text} 12, ?" for text in rng.sample(texts, len(texts))]
    assert bleu_tokenizer(mixed) == bleu_tokenizer(texts)
    assert tokenizer_note(mixed) == tokenizer_note(texts)


@given(st.text(st.sampled_from("a#=\n \f"), max_size=30), st.sampled_from(["a.md", "a.pdf"]))
def test_places_only_go_on_and_headings_are_of_the_text(text, title):
    places = [find_place(Context(title, text), at) for at in range(len(text) + 1)]
    pages = [place.page for place in places]
    if title == "a.pdf":
        assert pages == sorted(pages)
        assert pages[-1] == 1 + text.count("\f")
        assert {place.heading for place in places} == {None}
    else:
        assert set(pages) == {None}
        assert all(place.heading is None or place.heading in text for place in places)
        assert find_place(Context(title, text + "\n\n# b\n"), len(text) + 4).heading is not None
