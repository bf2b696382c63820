"""The loss of question answering: which span is the answer, if any, and in which context."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from askew._check import require
from askew.losses import asymmetric_contrastive_loss
from askew.models import PretrainedEncoder, QAOutput
from askew.optim import AsymmetricScheduler
from askew.training._config import PartConfig
from askew.training._optimizer import parts_optimizer, parts_scheduler
from askew.training._qa_config import QATrainingConfig
from askew.training._qa_examples import collate_questions
from askew.training._taught_spans import SoftSpan, soft_span_loss

_ENCODERS = ("question", "context")


def span_loss(spans: Tensor, nothing: Tensor, gold: Tensor, unanswered: Tensor) -> Tensor:
    r"""Compute minus the log of the probability of all right spans, or of "nothing".

    .. math:: \log\sum_{s \in S \cup \{\varnothing\}} e^{z_s} - \log\sum_{s\in G} e^{z_s}

    S are all spans, G the right ones. The probabilities of several right answers are added, so
    that the model need not find all of them.

    Args:
        spans: Scores [pairs, start, end], -inf where there is no span.
        nothing: Scores [pairs] of "no answer".
        gold: [answers, 3]: pair, start and end of every right answer.
        unanswered: [pairs], True where "nothing" is right.

    Returns:
        The loss of every pair, [pairs].

    Example:
        >>> spans = torch.tensor([[[0.0, 0.0], [-torch.inf, 0.0]]])  # three spans of two tokens
        >>> gold, unanswered = torch.tensor([[0, 0, 1]]), torch.tensor([False])
        >>> loss = span_loss(spans, torch.zeros(1), gold, unanswered)
        >>> round(loss.exp().item())
        4
    """
    total = torch.cat([spans.flatten(1), nothing.unsqueeze(1)], 1).float().logsumexp(1)
    pair, start, end = gold.unbind(1)
    scores = spans[pair, start, end].float()
    zeros = torch.zeros_like(total)
    # A log-sum-exp per pair: the largest score is subtracted first, so that exp cannot overflow.
    peaks = zeros.scatter_reduce(0, pair, scores.detach(), "amax", include_self=False)
    right = zeros.index_add(0, pair, (scores - peaks[pair]).exp())
    answered = right.masked_fill(unanswered, 1.0).log() + peaks
    return total - torch.where(unanswered, nothing.float(), answered)


class QAObjective:
    r"""Learns spans by `span_loss`, and contexts by a contrastive loss from question to context.

    Where a teacher read a pair, the loss of its spans is, with its weight a,

    .. math:: (1-a)\,\text{span\_loss} + a\,\text{soft\_span\_loss}.

    Args:
        config: The settings of the run.

    Example:
        >>> objective = QAObjective(QATrainingConfig(steps=10))
        >>> objective.config.steps
        10
    """

    def __init__(self, config: QATrainingConfig) -> None:
        self.config = config
        self.collate = collate_questions

    def counted(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Count pairs."""
        return labels["nothing"].long()

    def loss(
        self,
        outputs: QAOutput,
        labels: Mapping[str, Tensor],
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Compute the mean over all pairs of the step."""
        count = len(labels["nothing"]) if num_items_in_batch is None else num_items_in_batch
        total = self._losses(outputs, labels).sum()
        weight = self.config.retrieval_weight
        if weight > 0:
            retrieval = asymmetric_contrastive_loss(
                outputs.questions,
                outputs.contexts,
                positives=labels["positives"],
                exclude=labels["exclude"],
                temperature=self.config.temperature,
                weight_queries=1.0,
                weight_documents=0.0,
                reduction="sum",
            )
            total = total + weight * retrieval
        return total / count

    def _losses(self, outputs: QAOutput, labels: Mapping[str, Tensor]) -> Tensor:
        hard, weight = _span_losses(outputs, labels), self.config.teacher_weight
        if weight == 0 or "taught" not in labels:
            return hard
        soft = soft_span_loss(
            outputs.spans,
            outputs.nothing,
            SoftSpan(*(labels[name] for name in SoftSpan._fields)),
            temperature=self.config.teacher_temperature,
        )
        return torch.where(labels["taught"], (1 - weight) * hard + weight * soft, hard)

    def score(self, outputs: QAOutput, labels: Mapping[str, Tensor]) -> tuple[float, int]:
        """Sum over pairs, of the spans alone."""
        losses = _span_losses(outputs, labels)
        return losses.sum().item(), len(losses)

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Make the optimizer of questions, contexts and reader; freeze the frozen layers.

        Raises:
            ValueError: If layers are to be frozen in an encoder that is not of transformers.
        """
        parts: dict[str, tuple[list[nn.Module] | None, PartConfig]] = {}
        for name in _ENCODERS:
            encoder, settings = getattr(model, f"{name}_encoder"), getattr(self.config, name)
            if settings.frozen_layers:
                require(
                    isinstance(encoder, PretrainedEncoder),
                    "QAObjective: only an encoder of transformers can be frozen; "
                    f"got {name}.frozen_layers {settings.frozen_layers}. Leave it out",
                )
                encoder.freeze(settings.frozen_layers)
            if any(weight.requires_grad for weight in encoder.parameters()):
                parts[name] = ([encoder], settings)
        return parts_optimizer(model, self.config, {**parts, "reader": (None, self.config.reader)})

    def scheduler(self, optimizer: Optimizer) -> AsymmetricScheduler:
        """Make the schedule of each part that is trained."""
        return parts_scheduler(
            optimizer,
            self.config,
            {name: getattr(self.config, name) for name in (*_ENCODERS, "reader")},
        )


def _span_losses(outputs: QAOutput, labels: Mapping[str, Tensor]) -> Tensor:
    return span_loss(outputs.spans, outputs.nothing, labels["gold"], labels["nothing"])
