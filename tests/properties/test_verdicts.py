"""Laws of verdicts, of budgets of error and of twins, for all scores and shapes."""

import itertools
from dataclasses import replace

import pytest
import torch
from drawn import FEW
from hypothesis import given, settings
from hypothesis import strategies as st

from askew.models import (
    AsymmetricQAConfig,
    AsymmetricQAModel,
    QAConfig,
    qa_parameter_count,
    qa_question_flops,
    qa_training_flops,
)
from askew.tasks import best_threshold, references, retrieval_scores, split_table
from askew.text import Context, Question, QuestionSet
from askew.tradeoffs import (
    Arm,
    Metric,
    Row,
    analyze,
    count_flops,
    count_parameters,
    expected_best,
    interim_schedule,
    judge_results,
    sequential_confidence,
    shared_confidence,
    summary_sentence,
    symmetric_twin,
    with_values,
)
from askew.transformer import (
    AsymmetricEncoderDecoder,
    EncoderDecoderConfig,
    ReaderConfig,
    StackConfig,
    parameter_count,
    training_flops,
)

VERDICTS = ("pays", "does not pay", "cannot tell")


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


@FEW
@given(
    st.lists(st.tuples(st.floats(1, 99), st.floats(1, 99)), min_size=1, max_size=7),
    st.floats(0.5, 0.99),
)
def test_the_sentence_claims_what_the_verdict_says(scores, confidence):
    rows = [
        Row(arm, seed, "", "m", pair[place])
        for seed, pair in enumerate(scores)
        for place, arm in enumerate(("new", "base"))
    ]
    known = [Metric(name="m", label="M", equivalence=0.5)]
    (found,) = analyze(rows, baseline="base", metrics=known, confidence=confidence)
    assert (found.verdict is None) == (len(scores) < 5)
    assert found.wins == sum(new > base for new, base in scores)
    mean = sum(new - base for new, base in scores) / len(scores)
    assert found.difference == pytest.approx(mean, abs=1e-9)
    said = summary_sentence([found], known)
    assert all((word in said) == (word == found.verdict) for word in VERDICTS)
    (wider,) = analyze(rows, baseline="base", metrics=known, confidence=(1 + confidence) / 2)
    if found.low is not None:
        assert wider.low <= found.low <= found.high <= wider.high


@FEW
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_the_expected_best_rises_from_the_mean_to_the_best(scores):
    curve = expected_best(scores)
    slack = 1e-9 * max(1.0, *map(abs, scores))
    assert curve[0] == pytest.approx(sum(scores) / len(scores), abs=slack)
    assert curve[-1] == max(scores)
    assert all(low <= high + slack for low, high in itertools.pairwise(curve))
    pairs = [max(pair) for pair in itertools.combinations(scores, 2)]
    assert not pairs or curve[1] == pytest.approx(sum(pairs) / len(pairs), abs=slack)


@FEW
@given(st.floats(0.5, 0.999), st.integers(1, 20))
def test_a_shared_error_adds_up(confidence, challengers):
    each = shared_confidence(confidence, challengers)
    assert confidence <= each < 1
    assert challengers * (1 - each) == pytest.approx(1 - confidence)


@settings(max_examples=5)
@given(st.integers(5, 14), st.sampled_from([0.8, 0.95]))
def test_more_looks_are_stricter_and_never_beyond_their_sum(most, confidence):
    looks = interim_schedule(most)
    assert looks[0] == 5
    assert looks[-1] == most
    assert list(looks) == sorted(set(looks))
    each = sequential_confidence(looks, confidence=confidence)
    assert confidence <= each <= shared_confidence(confidence, len(looks)) + 1e-3
    assert (each == confidence) == (len(looks) == 1)


SIDES = st.builds(
    lambda heads, width, layers, ff, kv: StackConfig(
        d_model=heads * width * 2,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=1 if kv else None,
        d_ff=ff,
    ),
    st.sampled_from([1, 2]),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(4, 32),
    st.booleans(),
)


@FEW
@given(SIDES, SIDES, st.integers(1, 9))
def test_what_is_counted_is_what_is_built(encoder, decoder, longer):
    config = EncoderDecoderConfig(
        source_vocab=11, target_vocab=13, encoder=encoder, decoder=decoder
    )
    assert parameter_count(config).total == count_parameters(AsymmetricEncoderDecoder(config))
    work = [training_flops(config, source_length=n, target_length=5) for n in (4, 4 + longer)]
    assert 0 < work[0] < work[1]
    deeper = with_values(Arm(name="a", config=config), {"encoder.num_layers": 4}).config
    assert deeper == replace(config, encoder=replace(encoder, num_layers=4))
    try:
        twin = symmetric_twin(config, tolerance=0.05)
    except ValueError as error:
        assert "symmetric_twin" in str(error)
        return
    assert twin.config.encoder == twin.config.decoder
    off = parameter_count(twin.config).total / parameter_count(config).total - 1
    assert off == pytest.approx(twin.residual)
    assert abs(off) <= 0.05


@FEW
@given(SIDES, SIDES, st.integers(1, 9))
def test_what_is_counted_of_questions_is_what_is_built(question, context, longer):
    config = QAConfig(
        question_vocab=11,
        context_vocab=13,
        question=question,
        context=context,
        reader=ReaderConfig(d_model=8, num_layers=1, num_heads=2, d_key=4, d_ff=8),
        d_pool=6,
        max_context_tokens=16,
        overlap=4,
        max_answer_tokens=4,
    )
    model = AsymmetricQAModel(AsymmetricQAConfig.from_plain(config))
    assert qa_parameter_count(config).total == count_parameters(model)
    length = 5 + longer
    texts = (torch.zeros(1, n, dtype=torch.long) for n in (3, length))
    with torch.no_grad():
        asked = model.encode_questions(next(texts))
        held = model.encode_contexts(next(texts))
        read = count_flops(lambda: model.read(asked, held))
    assert qa_question_flops(config, question_length=3, context_length=length) == read
    call = {"question_length": 3, "context_length": 5}
    one, many = (qa_training_flops(config, questions_per_context=n, **call) for n in (1, 3))
    assert 0 < one < many < 3 * one


@FEW
@given(st.integers(0, 2**31), st.integers(10, 60), st.integers(1, 4))
def test_a_table_is_shared_out_and_its_threshold_is_the_best(seed, rows, labels):
    generator = torch.Generator().manual_seed(seed)
    x = torch.arange(rows, dtype=torch.double).reshape(-1, 1).numpy()
    y = (torch.rand(rows, labels, generator=generator) < 0.4).double().numpy()
    y[0, 0] = 1
    parts = split_table(x, y)
    assert sum(len(part.x) for part in parts) == sum(len(part.y) for part in parts) == rows
    assert sum(part.y.sum() for part in parts) == y.sum()
    logits = torch.randn(rows, labels, generator=generator).double().numpy()

    def f1(threshold):
        found = logits >= threshold
        return 2 * (found * y).sum() / (found.sum() + y.sum())

    best = f1(best_threshold(logits, y))
    assert best == pytest.approx(max(f1(value) for value in logits.flatten()))


@FEW
@given(st.integers(0, 2**31), st.integers(2, 5), st.floats(0.1, 10))
def test_ranks_do_not_mind_the_size_and_find_what_is_near(seed, classes, size):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(3)
    x = torch.randn(3 * classes, classes, generator=generator)
    found = retrieval_scores(x, labels)
    for ours, theirs in zip(found, retrieval_scores(size * x, labels), strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ((ours >= 0) & (ours <= 1)).all()
    apart = torch.nn.functional.one_hot(labels).float() + 1e-3 * x
    assert all((score == 1).all() for score in retrieval_scores(apart, labels))


@FEW
@given(st.text("abc ", min_size=1, max_size=12), st.data())
def test_right_answers_are_parts_of_their_text(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    held = QuestionSet([Context("", text)], [Question("1", "what", 0, ((start, end),))], [])
    assert references(held) == [[text[start:end]]]
