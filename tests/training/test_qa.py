"""Questions become windows, spans and a loss that is the share of the right answers."""

import math

import pytest
import torch
from small_questions import SIZES, TEXT, TOKENIZER, examples, tiny_model, where_people_live

from askew.models import QAOutput
from askew.text import Question, QuestionSet
from askew.training import (
    EncoderPartConfig,
    PartConfig,
    QAObjective,
    QATrainingConfig,
    QuestionExamples,
    RunConfig,
    TrainingConfig,
    Window,
    WindowQuestion,
    collate_questions,
    span_loss,
    train_model,
)


def test_every_answer_stands_at_its_place_in_some_window():
    made = examples()
    assert isinstance(made, QuestionExamples)
    assert made.left_out == []
    found = set()
    for window in made.windows:
        for asked in window.questions:
            question = TEXT.questions[asked.number]
            start, end = question.answers[0]
            for first, last in asked.spans:
                text = TOKENIZER.tokenizer.decode(window.tokens[first : last + 1]).strip()
                assert text == TEXT.contexts[question.context].text[start:end]
                found.add(asked.number)
    assert found == set(range(len(TEXT.questions)))


def test_windows_of_one_context_ask_all_its_questions_and_share_the_overlap():
    made = examples()
    own = [window for window in made.windows if window.context == 0]
    assert len(own) > 1
    assert all({q.number for q in window.questions} == {0, 1, 2} for window in own)
    assert own[0].tokens[-SIZES["overlap"] :] == own[1].tokens[: SIZES["overlap"]] or len(own) == 2
    assert any(not q.spans for window in own for q in window.questions)


def test_what_is_too_long_is_named_and_left_out():
    wordy = Question("wordy", "where , do tell me at last , is anna", 0, ((0, 4),))
    part = QuestionSet(TEXT.contexts, [*TEXT.questions, wordy], [])
    most = len(TOKENIZER.encode(wordy.text).ids) - 1
    assert examples(part, max_question_tokens=most).left_out == ["wordy: it has too many tokens"]
    long = Question("long", "where is anna", 0, ((0, len(TEXT.contexts[0].text)),))
    made = examples(QuestionSet(TEXT.contexts, [*TEXT.questions, long], []))
    assert made.left_out == ["long: its answer has too many tokens"]
    asked = {question.number for window in made.windows for question in window.questions}
    assert asked == set(range(len(TEXT.questions)))
    with pytest.raises(ValueError, match=r"QuestionExamples: there must be questions to learn"):
        examples(max_question_tokens=1)


def test_which_questions_go_elsewhere_depends_on_epoch_and_seed_alone():
    made = examples(unanswerable=0.5, seed=3)
    again = examples(unanswerable=0.5, seed=3)
    size = len(made)

    def drawn(data, epoch):
        return [q.elsewhere for row in range(size) for q in data[epoch * size + row].questions]

    assert drawn(made, 0) == drawn(again, 0) != drawn(made, 1)
    assert 0.2 < sum(drawn(made, 0)) / len(drawn(made, 0)) < 0.8


def test_a_batch_pairs_questions_with_their_windows_and_with_another_article():
    rows = [
        Window(
            [7, 8, 9],
            (0, 3),
            0,
            0,
            [WindowQuestion(5, [4, 4], [(1, 2)], True), WindowQuestion(6, [3], [], False)],
        ),
        Window([9, 9], (0, 2), 0, 0, [WindowQuestion(5, [4, 4], [], False)]),
        Window([6], (0, 1), 1, 1, [WindowQuestion(9, [2], [(0, 0)], False)]),
    ]
    batch = collate_questions(rows)
    pairs = list(zip(batch["question_rows"].tolist(), batch["context_rows"].tolist(), strict=True))
    assert pairs == [(0, 0), (0, 2), (1, 0), (0, 1), (2, 2)]
    labels = batch["labels"]
    assert labels["gold"].tolist() == [[0, 1, 2], [4, 0, 0]]
    assert labels["nothing"].tolist() == [False, True, True, True, False]
    assert labels["positives"].tolist() == [[True, False, False], [False] * 3, [False, False, True]]
    assert labels["exclude"].tolist() == [[False, True, False], [True, False, False], [False] * 3]
    assert batch["answer_mask"].tolist() == [[True] * 3, [True, True, False], [True, False, False]]


def test_contexts_without_title_are_another_article_for_each_other():
    untitled = [context._replace(title="") for context in TEXT.contexts]
    made = examples(QuestionSet(untitled, TEXT.questions, []), unanswerable=1.0)
    rows = [made[row] for row in range(len(made))]
    pairs = sum(len(row.questions) for row in rows)
    assert len({row.context for row in rows}) > 1
    assert len(collate_questions(rows)["question_rows"]) == 2 * pairs


def naive_loss(spans, nothing, gold, unanswered):
    losses = []
    for pair in range(len(nothing)):
        total = math.exp(nothing[pair]) + sum(math.exp(z) for z in spans[pair].flatten())
        right = [math.exp(spans[pair, a, b]) for p, a, b in gold if p == pair]
        share = math.exp(nothing[pair]) if unanswered[pair] else sum(right)
        losses.append(-math.log(share / total))
    return losses


def test_the_loss_is_the_share_of_the_right_spans():
    torch.manual_seed(0)
    spans, nothing = torch.randn(3, 4, 4).double(), torch.randn(3).double()
    spans[:, 3, 0] = -torch.inf
    gold = [(0, 1, 2), (0, 2, 2), (2, 0, 3)]
    unanswered = torch.tensor([False, True, False])
    found = span_loss(spans, nothing, torch.tensor(gold), unanswered)
    expected = naive_loss(spans, nothing, gold, unanswered.tolist())
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_the_loss_is_that_of_the_share_and_finite_at_extremes():
    spans = torch.tensor([[[-90.0, 40.0], [-torch.inf, 0.0]]], requires_grad=True)
    nothing = torch.zeros(1, requires_grad=True)
    loss = span_loss(spans, nothing, torch.tensor([[0, 0, 0]]), torch.tensor([False]))
    assert loss.item() == pytest.approx(130.0)
    loss.sum().backward()
    expected = torch.tensor([[[-1.0, 1.0], [0.0, 0.0]]])
    torch.testing.assert_close(spans.grad, expected, atol=1e-6, rtol=0)


def test_the_loss_of_a_step_is_over_all_its_pairs():
    objective = QAObjective(QATrainingConfig(steps=1, retrieval_weight=0.0))
    batch = collate_questions(examples().windows[:2])
    labels = batch.pop("labels")
    outputs = tiny_model()(**batch)
    assert isinstance(outputs, QAOutput)
    alone = objective.loss(outputs, labels)
    assert objective.loss(outputs, labels, torch.tensor(2 * len(labels["nothing"]))).item() == (
        pytest.approx(alone.item() / 2)
    )
    total, count = objective.score(outputs, labels)
    assert total / count == pytest.approx(alone.item())


def test_questions_of_one_context_are_not_each_others_negatives():
    objective = QAObjective(QATrainingConfig(steps=1, retrieval_weight=1.0))
    batch = collate_questions(examples(max_context_tokens=40).windows[:1])
    labels = batch.pop("labels")
    outputs = tiny_model()(**batch)
    without = QAObjective(QATrainingConfig(steps=1, retrieval_weight=0.0)).loss(outputs, labels)
    assert objective.loss(outputs, labels).item() == pytest.approx(without.item())


def test_training_learns_where_people_live_and_resumes_bit_for_bit(tmp_path, device):
    part = where_people_live(60, seed=1)
    data = examples(part, max_context_tokens=40, unanswerable=0.2)
    config = QATrainingConfig(
        steps=60, batch_tokens=400, lr=5e-3, warmup_steps=6, evaluations=4, checkpoints=2
    )
    model = tiny_model()
    records = train_model(model, data, data, QAObjective(config), out=tmp_path / "whole", seed=0)
    losses = [record["eval_loss"] for record in records if "eval_loss" in record]
    assert losses[-1] < 0.8 * losses[0]
    assert model.device.type == device

    class CrashError(Exception):
        pass

    def crash(step, _):
        if step == 45:
            raise CrashError

    with pytest.raises(CrashError):
        train_model(
            tiny_model(),
            data,
            data,
            QAObjective(config),
            out=tmp_path / "two",
            seed=0,
            progress=crash,
        )
    again = tiny_model()
    train_model(again, data, data, QAObjective(config), out=tmp_path / "two", seed=0)
    for (name, one), other in zip(
        model.state_dict().items(), again.state_dict().values(), strict=True
    ):
        if device == "cpu":  # sums of CUDA have no order of their own
            assert torch.equal(one, other), name
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)


def test_each_part_has_its_rate_and_frozen_layers_have_none():
    config = QATrainingConfig(
        steps=9, lr=0.5, question=EncoderPartConfig(lr=0.25), context=EncoderPartConfig(lr=0.125)
    )
    optimizer = QAObjective(config).optimizer(tiny_model())
    rates = {group["part"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {"question": 0.25, "context": 0.125, "reader": 0.5}


def test_a_run_and_a_part_have_the_defaults_of_translation():
    assert RunConfig(steps=3).weight_decay == TrainingConfig(steps=3).weight_decay
    assert PartConfig(lr=0.5).schedule is None
    with pytest.raises(ValueError, match="PartConfig: lr must be positive"):
        PartConfig(lr=0.0)
    with pytest.raises(ValueError, match="RunConfig: steps must be positive"):
        RunConfig(steps=0)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"temperature": 0.0}, "temperature positive"),
        ({"retrieval_weight": -1.0}, "retrieval_weight must be >= 0"),
        ({"unanswerable": 1.0}, "unanswerable must be in"),
    ],
)
def test_wrong_numbers_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        QATrainingConfig(steps=1, **numbers)
    with pytest.raises(ValueError, match="frozen_layers must be >= 0"):
        EncoderPartConfig(frozen_layers=-1)
