"""A teacher's starts and ends, kept on disk, moved to a student's tokens, and learnt."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_questions import TOKENIZER, examples, tiny_model, where_people_live

from askew.models import PairScores
from askew.text import SpanTokenizer, train_tokenizer
from askew.training import (
    QAObjective,
    QATrainingConfig,
    SoftSpan,
    TaughtSpans,
    collate_questions,
    soft_span,
    soft_span_loss,
    span_loss,
    teach_spans,
    train_model,
)

PART = where_people_live(9, seed=2)
WORDS = SpanTokenizer(train_tokenizer(["anna is in rome . ben"] * 9, vocab_size=400))


class Planted:
    """Scores the tokens of the context by its own tokenizer, each in a way of its own."""

    def __init__(self, tokenizer=WORDS, scale=3.0):
        self.tokenizer, self.scale, self.questions = tokenizer, scale, []

    def read(self, questions, contexts):
        self.questions += questions
        return [self.scores(*pair) for pair in zip(questions, contexts, strict=True)]

    def scores(self, question, context):
        tokens = self.tokenizer.encode(context)
        draw = torch.Generator().manual_seed(sum(map(ord, question + context)))
        places = torch.tensor([tokens.starts.tolist(), tokens.ends.tolist()])
        return PairScores(places, self.scale * torch.randn(2, len(tokens.ids), generator=draw))


def taught(folder, part=PART, teacher=None, *, k=8, temperature=2.0, fingerprint="a"):
    teacher = teacher or Planted()
    return teach_spans(
        lambda: teacher,
        part,
        fingerprint=fingerprint,
        k=k,
        temperature=temperature,
        folder=folder,
        progress=lambda *_: None,
    )


def test_what_is_kept_are_the_largest_probabilities_and_the_mass_of_the_others(tmp_path):
    teacher, k, t = Planted(), 5, 1.5
    kept = taught(tmp_path / "kept", teacher=teacher, k=k, temperature=t)
    assert teacher.questions == [question.text for question in PART.questions]
    for number, question in enumerate(PART.questions):
        scores = teacher.scores(question.text, PART.contexts[question.context].text)
        for side in range(2):
            p = torch.softmax(torch.cat([torch.zeros(1), scores.scores[side]]) / t, 0)
            order = p[1:].argsort(descending=True)[:k]
            assert kept.places[number, side].tolist() == scores.places[side][order].tolist()
            found = kept.log_probabilities[number, side].exp()
            torch.testing.assert_close(found, p[1:][order])
            torch.testing.assert_close(kept.log_nothing[number, side].exp(), p[0])
            rest = 1 - p[0] - p[1:][order].sum()
            torch.testing.assert_close(kept.log_rest[number, side].exp(), rest, atol=1e-6, rtol=0)
    assert kept.mass.item() == pytest.approx(1 - kept.log_rest.exp().mean().item())
    assert kept.describe().endswith(f" {100 * kept.mass.item():.1f} %")
    assert kept.describe().startswith(f"the teacher read {len(PART.questions)} questions in 0.0 ")


def test_a_context_with_fewer_tokens_than_are_kept_has_no_rest(tmp_path):
    class Short(Planted):
        def scores(self, question, context):
            return PairScores(torch.tensor([[0, 5], [4, 7]]), torch.zeros(2, 2))

    kept = taught(tmp_path / "kept", teacher=Short(), k=4)
    assert (kept.log_rest == -torch.inf).all()
    assert [sorted(places) for places in kept.places[0].tolist()] == [
        [-1, -1, 0, 5],
        [-1, -1, 4, 7],
    ]
    assert not kept.places.is_floating_point()
    assert kept.mass == 1


def test_a_teacher_that_was_killed_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("askew.training._taught_spans._PART", 10)
    whole = taught(tmp_path / "whole")

    class Dying(Planted):
        def read(self, questions, contexts):
            if len(self.questions) >= 20:
                raise KeyboardInterrupt
            return super().read(questions, contexts)

    with pytest.raises(KeyboardInterrupt):
        taught(tmp_path / "kept", teacher=Dying())
    again = Planted()
    kept = taught(tmp_path / "kept", teacher=again)
    assert again.questions == [question.text for question in PART.questions[20:]]
    for one, other in zip(whole[:-1], kept[:-1], strict=True):
        assert torch.equal(one, other)
    assert kept.seconds >= 0
    unread = Planted()
    assert torch.equal(taught(tmp_path / "kept", teacher=unread).places, whole.places)
    assert unread.questions == []
    for changed in ({"fingerprint": "b"}, {"k": 3}, {"temperature": 1.0}, {"part": PART_2}):
        with pytest.raises(ValueError, match="teach_spans: the folder must be of a run with"):
            taught(tmp_path / "kept", **changed)


PART_2 = where_people_live(9, seed=3)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_no_probability_is_lost_or_moved_elsewhere_in_another_tokenizer(data):
    number = data.draw(st.integers(0, len(PART.questions) - 1))
    k = data.draw(st.integers(1, 9))
    question = PART.questions[number]
    text = PART.contexts[question.context].text
    scores = Planted().scores(question.text, text)
    log_p = torch.log_softmax(torch.cat([torch.zeros(2, 1), scores.scores], 1), 1)
    top = log_p[:, 1:].topk(k, 1)
    kept = TaughtSpans(
        scores.places.gather(1, top.indices)[None],
        top.values[None],
        log_p[None, :, 0],
        log_p[:, 1:].scatter(1, top.indices, -math.inf).logsumexp(1)[None],
        0.0,
    )
    tokens = TOKENIZER.encode(text)
    start = data.draw(st.integers(0, len(tokens.ids) - 1))
    end = data.draw(st.integers(start + 1, len(tokens.ids)))
    found = soft_span(kept, 0, tokens, (start, end), 1)
    total = torch.cat([found.log_probabilities, found.log_rest[:, None]], 1).logsumexp(1)
    torch.testing.assert_close(total, torch.zeros(2), atol=1e-5, rtol=0)
    for side in range(2):
        expected = {-1: kept.log_nothing[0, side].exp().item()}
        for place, log in zip(kept.places[0, side], kept.log_probabilities[0, side], strict=True):
            character = int(place) - side  # the last one of an end
            token = next(i for i in range(len(tokens.ids)) if character < tokens.ends[i])
            where = token - start + 1 if start <= token < end else -1
            expected[where] = expected.get(where, 0.0) + log.exp().item()
        if len(expected) == end - start + 1:  # all positions are named
            expected[-1] += kept.log_rest[0, side].exp().item()
        said = {
            i: p
            for i, p in zip(
                found.indices[side].tolist(),
                found.log_probabilities[side].exp().tolist(),
                strict=True,
            )
            if p > 0
        }
        assert said == pytest.approx({i: p for i, p in expected.items() if p > 0}, abs=1e-5)


def scores_of_spans(pairs=3, length=5, seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    spans = torch.randn(pairs, length, length, dtype=dtype)
    allowed = torch.ones(length, length).triu().tril(2).bool()
    spans = spans.masked_fill(~allowed, -torch.inf)
    spans[:, 0], spans[:, :, 0] = -torch.inf, -torch.inf  # no answer begins or ends with it
    return spans.requires_grad_(), torch.randn(pairs, dtype=dtype).requires_grad_()


def sure(rows):
    """What a teacher says that knows start and end, or that there is none (-1)."""
    indices = torch.tensor([[[start], [end]] for start, end in rows])
    return SoftSpan(indices, torch.zeros(indices.shape), torch.full((len(rows), 2), -torch.inf))


def gradients(loss, *inputs):
    return torch.autograd.grad(loss.sum(), inputs)


def test_of_a_sure_teacher_value_and_gradient_are_those_of_the_span_loss():
    spans, nothing = scores_of_spans()
    rows = [(1, 3), (-1, -1), (2, 2)]
    soft = soft_span_loss(spans, nothing, sure(rows), temperature=1.0)
    unanswered = torch.tensor([False, True, False])
    held = (spans > -torch.inf).nonzero()
    gold = [
        torch.tensor([row for row in held.tolist() if row[1 + side] == rows[row[0]][side]])
        for side in range(2)
    ]
    hard = sum(span_loss(spans, nothing, right, unanswered) for right in gold)
    torch.testing.assert_close(soft, hard)
    for one, other in zip(
        gradients(soft, spans, nothing), gradients(hard, spans, nothing), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_where_start_and_end_do_not_depend_on_each_other_it_is_the_span_loss_of_the_span():
    torch.manual_seed(1)
    start, end = (torch.randn(2, 6, requires_grad=True) for _ in range(2))
    spans, nothing = start.unsqueeze(2) + end.unsqueeze(1), torch.full((2,), -1e3)
    soft = soft_span_loss(spans, nothing, sure([(1, 3), (4, 4)]), temperature=1.0)
    gold = torch.tensor([[0, 1, 3], [1, 4, 4]])
    hard = span_loss(spans, nothing, gold, torch.tensor([False, False]))
    torch.testing.assert_close(soft, hard)
    for one, other in zip(gradients(soft, start, end), gradients(hard, start, end), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_loss_is_the_divergence_of_starts_and_of_ends(temperature):
    spans, nothing = scores_of_spans(seed=3)
    indices = torch.tensor([[[-1, 2, 4], [-1, 3, 1]], [[-1, 1, -1], [-1, 4, -1]]])
    p = torch.tensor([[[0.2, 0.5, 0.1], [0.1, 0.3, 0.3]], [[0.6, 0.4, 0.0], [0.5, 0.4, 0.0]]])
    rest = 1 - p.sum(2)
    taught = SoftSpan(indices, p.log(), rest.clamp(min=0).log())
    found = soft_span_loss(spans[:2], nothing[:2], taught, temperature=temperature)
    for pair in range(2):
        expected = 0.0
        for side in range(2):
            marginal = spans[pair].exp().sum(1 - side)
            scores = torch.cat([nothing[pair : pair + 1], marginal.log()]) / temperature
            q = torch.softmax(scores, 0).tolist()
            listed = {
                i: x
                for i, x in zip(indices[pair, side].tolist(), p[pair, side].tolist(), strict=True)
                if x > 0
            }
            for place, share in listed.items():
                expected += share * math.log(share / q[place + 1])
            others = sum(q) - sum(q[place + 1] for place in listed)
            share = rest[pair, side].item()
            if share > 1e-6:
                expected += share * math.log(share / others)
        assert found[pair].item() == pytest.approx(temperature**2 * expected, rel=1e-4)
    assert all(one.isfinite().all() for one in gradients(found, spans, nothing))


def test_the_loss_of_a_student_that_agrees_is_zero_and_long_padding_changes_nothing():
    spans, nothing = scores_of_spans(seed=4)
    marginals = torch.stack([spans.logsumexp(2), spans.logsumexp(1)], 1)
    logits = torch.cat([nothing[:, None, None].expand(-1, 2, 1), marginals], 2) / 2
    log_p = logits.log_softmax(2).detach()
    every = torch.arange(-1, 5).expand(3, 2, 6)
    never = torch.full((3, 2), -torch.inf)
    loss = soft_span_loss(spans, nothing, SoftSpan(every, log_p, never), temperature=2.0)
    torch.testing.assert_close(loss, torch.zeros(3), atol=1e-5, rtol=0)
    assert all(one.abs().max() < 1e-5 for one in gradients(loss, spans, nothing))
    padded = torch.nn.functional.pad(spans, (0, 4, 0, 4), value=-torch.inf)
    other = sure([(1, 3), (-1, -1), (2, 2)])
    torch.testing.assert_close(
        soft_span_loss(padded, nothing, other, temperature=2.0),
        soft_span_loss(spans, nothing, other, temperature=2.0),
    )


def test_pairs_with_another_article_learn_that_there_is_no_answer_alone(tmp_path):
    made = examples(PART, max_context_tokens=40, unanswerable=0.5, taught=taught(tmp_path / "kept"))
    rows = [made[row] for row in range(5)]
    batch = collate_questions(rows)
    labels = batch.pop("labels")
    asked = list(dict.fromkeys(q.number for window in rows for q in window.questions))
    contexts = [PART.questions[asked[row]].context for row in batch["question_rows"].tolist()]
    read = [rows[row].context for row in batch["context_rows"].tolist()]
    own = torch.tensor(contexts) == torch.tensor(read)
    assert torch.equal(labels["taught"], own)
    assert not own.all()
    outputs = tiny_model()(**batch)
    numbers = {"steps": 1, "retrieval_weight": 0.0}
    hard = span_loss(outputs.spans, outputs.nothing, labels["gold"], labels["nothing"])
    said = SoftSpan(*(labels[name] for name in SoftSpan._fields))
    soft = soft_span_loss(outputs.spans, outputs.nothing, said, temperature=2.0)
    for weight in (0.0, 0.3, 1.0):
        objective = QAObjective(QATrainingConfig(teacher_weight=weight, **numbers))
        expected = torch.where(own, (1 - weight) * hard + weight * soft, hard).mean()
        torch.testing.assert_close(objective.loss(outputs, labels), expected)
    assert objective.score(outputs, labels)[0] == pytest.approx(hard.sum().item(), rel=1e-5)


def test_without_a_teacher_a_batch_is_as_before():
    labels = collate_questions(examples(PART).windows[:3])["labels"]
    assert set(labels) == {"gold", "nothing", "positives", "exclude"}


def test_a_weight_of_zero_trains_as_without_a_teacher_bit_for_bit(tmp_path):
    def trained(name, weight, said):
        numbers = {"steps": 6, "batch_tokens": 200, "lr": 1e-2, "warmup_steps": 1}
        config = QATrainingConfig(evaluations=1, checkpoints=1, teacher_weight=weight, **numbers)
        data = examples(PART, max_context_tokens=40, unanswerable=0.2, taught=said)
        model = tiny_model()
        train_model(model, data, data, QAObjective(config), out=tmp_path / name, seed=0)
        return model.state_dict()

    said = taught(tmp_path / "kept")
    alone = trained("alone", 0.5, None)
    for name, weight in trained("zero", 0.0, said).items():
        assert torch.equal(weight, alone[name]), name
    half = trained("half", 0.5, said)
    assert any(not torch.equal(weight, alone[name]) for name, weight in half.items())


def test_a_student_learns_what_its_teacher_says_and_no_label_does(tmp_path):
    """Of a sure teacher that is always wrong, the student learns the wrong place."""

    class Wrong(Planted):
        def scores(self, question, context):
            places = torch.tensor([[0], [context.index(" ")]])  # the first name
            return PairScores(places, torch.full((2, 1), 20.0))

    said = taught(tmp_path / "kept", teacher=Wrong(), temperature=1.0)
    numbers = {"steps": 60, "batch_tokens": 300, "lr": 1e-2, "warmup_steps": 5}
    config = QATrainingConfig(
        evaluations=1,
        teacher_weight=1.0,
        teacher_temperature=1.0,
        retrieval_weight=0.0,
        unanswerable=0.0,
        **numbers,
    )
    data = examples(PART, max_context_tokens=40, taught=said)
    model = tiny_model()
    train_model(model, data, data, QAObjective(config), out=tmp_path / "run", seed=0)
    batch = collate_questions(data.windows)
    del batch["labels"]
    with torch.no_grad():
        spans = model.eval()(**batch).spans.flatten(1)
    length = batch["context_ids"].shape[1]
    starts = spans.argmax(1) // length
    assert (starts == 0).float().mean() > 0.9


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"teacher_weight": 1.1}, r"teacher_weight must be in \[0, 1\]"),
        ({"teacher_temperature": 0.0}, "teacher_temperature must be finite and positive"),
        ({"teacher_top_k": 0}, "teacher_top_k at least 1"),
    ],
)
def test_wrong_numbers_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        QATrainingConfig(steps=1, **numbers)
