"""Labels that are there or not: several of a row, or a rare one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    precision_recall_curve,
)
from torch import Tensor

from askew._check import require
from askew.tasks._tabular import MLP, TableTask, TableTrainingConfig
from askew.tasks._tabular_losses import LabelLossConfig
from askew.tradeoffs import Evaluation, Metric

_REMOVAL_SEED = 7
MULTILABEL = (
    Metric(name="map", label="mAP", equivalence=0.5, unit="points"),
    Metric(name="micro_f1", label="micro-F1", equivalence=0.5, unit="points"),
    Metric(name="macro_f1", label="macro-F1", equivalence=0.5, unit="points"),
    Metric(name="micro_f1_half", label="micro-F1 at .5", equivalence=0.5, unit="points"),
)
IMBALANCED = (
    Metric(name="ap", label="average precision", equivalence=0.5, unit="points"),
    Metric(name="f1", label="F1", equivalence=0.5, unit="points"),
    Metric(name="balanced_accuracy", label="balanced accuracy", equivalence=0.5, unit="points"),
)


@dataclass(frozen=True, kw_only=True)
class LabelTrainingConfig(TableTrainingConfig):
    """The numbers of a training on labels.

    Attributes:
        loss: What is learnt.
        batch_size: As of `TableTrainingConfig`, like the rest.

    Example:
        >>> LabelTrainingConfig(loss=LabelLossConfig(gamma_neg=4.0)).lr
        0.001
    """

    loss: LabelLossConfig = field(default_factory=LabelLossConfig)


@dataclass(frozen=True, kw_only=True)
class LabelTask(TableTask):
    """Predict labels 0 or 1; a task of `askew.tradeoffs.compare`.

    With several labels the figures are mAP, micro-F1 and macro-F1, with one of them average
    precision, F1 and balanced accuracy, all in per cent. Whatever needs a threshold takes the one
    with the best micro-F1 on the validation rows, found anew for every trained model.

    Attributes:
        source_name: Where the data came from.
        table: Rows whose labels are 0 or 1, shape (rows, labels).
        training: A `LabelTrainingConfig`.
        name: "multilabel" or "imbalanced".

    Raises:
        ValueError: If a label never or always holds in a part of the rows.

    Example:
        >>> from askew.tasks import split_table
        >>> x = np.random.default_rng(0).normal(size=(60, 3))
        >>> table = split_table(x, (x[:, :1] > 0).astype(np.float32))
        >>> task = LabelTask(source_name="signs", table=table, name="imbalanced")
        >>> [metric.name for metric in task.metrics]
        ['ap', 'f1', 'balanced_accuracy']
    """

    training: LabelTrainingConfig = field(default_factory=LabelTrainingConfig)

    def __post_init__(self) -> None:
        for part, rows in zip(self.table._fields, self.table, strict=True):
            share = rows.y.mean(0)
            odd = torch.argwhere((share == 0) | (share == 1)).flatten().tolist()
            require(
                not odd,
                f"LabelTask: every label must hold of some rows and not of others; got labels "
                f"{odd} the same in all {len(rows.y)} rows of the {part} part",
            )

    @property
    def metrics(self) -> Sequence[Metric]:
        """The figures, the most important first."""
        return MULTILABEL if self.d_out > 1 else IMBALANCED

    @property
    def d_out(self) -> int:
        """Labels of a row."""
        return self.table.train.y.shape[1]

    def signatures(self) -> Mapping[str, str]:
        """Tell where the threshold comes from."""
        found = "one for all labels, best micro-F1 on the validation rows"
        return {"threshold": found, "average": "of labels, by scikit-learn"}

    def loss_of(self, training: LabelTrainingConfig) -> Callable[[Tensor, Tensor], Tensor]:
        """Make the loss of an arm."""
        labels = self.labels_learnt(training)
        return training.loss.build(labels, epoch_steps=max(1, len(labels) // training.batch_size))

    def labels_learnt(self, training: LabelTrainingConfig) -> Tensor:
        """Give the labels of the training rows, without the positives that are taken away."""
        y = self.table.train.y
        if training.remove_positives == 0:
            return y
        drawn = torch.rand(y.shape, generator=torch.Generator().manual_seed(_REMOVAL_SEED))
        return torch.where(drawn < training.remove_positives, torch.zeros_like(y), y)

    def evaluate(self, model: MLP) -> Evaluation:
        """Score the test rows."""
        valid, test = (self.answers(model, part.x).numpy() for part in self.table[1:])
        return Evaluation(self._scores(test, best_threshold(valid, self.table.valid.y.numpy())), {})

    def _scores(self, logits: np.ndarray, threshold: float) -> dict[str, float]:
        right = self.table.test.y.numpy()
        found = logits >= threshold
        if self.d_out == 1:
            return {
                "ap": 100 * float(average_precision_score(right, logits)),
                "f1": 100 * float(f1_score(right, found, zero_division=0)),
                "balanced_accuracy": 100 * float(balanced_accuracy_score(right, found)),
            }
        return {
            "map": 100 * float(average_precision_score(right, logits, average="macro")),
            "micro_f1": 100 * float(f1_score(right, found, average="micro", zero_division=0)),
            "macro_f1": 100 * float(f1_score(right, found, average="macro", zero_division=0)),
            "micro_f1_half": 100
            * float(f1_score(right, logits >= 0, average="micro", zero_division=0)),
        }

    def validate(self, model: MLP) -> float:
        """Give the mean average precision of the validation rows."""
        return self._precision(model, *self.table.valid)

    def train_score(self, model: MLP) -> float:
        """Give the mean average precision of training rows, as many as the test has."""
        return self._precision(model, *(t[: len(self.table.test.x)] for t in self.table.train))

    def _precision(self, model: MLP, x: Tensor, y: Tensor) -> float:
        some = y.any(0)
        logits = self.answers(model, x)[:, some].numpy()
        return 100 * float(average_precision_score(y[:, some].numpy(), logits, average="macro"))

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score the share of each label in the training rows."""
        share = torch.logit(self.table.train.y.mean(0))
        valid, test = (share.expand(len(part.x), -1).numpy() for part in self.table[1:])
        threshold = best_threshold(valid, self.table.valid.y.numpy())
        return {"frequency": self._scores(test, threshold)}


def best_threshold(logits: np.ndarray, labels: np.ndarray) -> float:
    """Find the logit from which on a label counts as found, by the best micro-F1.

    Args:
        logits: Shape (rows, labels).
        labels: 0 or 1, of the same shape, at least one of them 1.

    Returns:
        The threshold, one of the logits.

    Example:
        >>> best_threshold(np.array([[-1.0], [0.5], [2.0]]), np.array([[0], [1], [1]]))
        0.5
    """
    precision, recall, thresholds = precision_recall_curve(labels.ravel(), logits.ravel())
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[np.argmax(f1[:-1])])
