"""Tasks of binary labels: several labels per row, or one rare label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

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
from askew.tasks._tabular import MLP, TableTask, TableTrainingConfig, metrics_in_points
from askew.tasks._tabular_losses import LabelLossConfig
from askew.tradeoffs import Evaluation, Metric

_REMOVAL_SEED = 7
MULTILABEL = metrics_in_points(
    {
        "map": "mAP",
        "micro_f1": "micro-F1",
        "macro_f1": "macro-F1",
        "micro_f1_half": "micro-F1 at .5",
    }
)
IMBALANCED = metrics_in_points(
    {"ap": "average precision", "f1": "F1", "balanced_accuracy": "balanced accuracy"}
)


@dataclass(frozen=True, kw_only=True)
class LabelTrainingConfig(TableTrainingConfig):
    """The numbers of a training on labels: a loss, and those of `TableTrainingConfig`.

    Attributes:
        loss: The loss.

    Example:
        >>> LabelTrainingConfig(loss=LabelLossConfig(gamma_neg=4.0)).lr
        0.001
    """

    loss: LabelLossConfig = field(default_factory=LabelLossConfig)


@dataclass(frozen=True, kw_only=True)
class LabelTask(TableTask):
    """Predict labels 0 or 1; a task of `askew.tradeoffs.compare`.

    The metrics of several labels are mAP, micro-F1 and macro-F1; those of one label are average
    precision, F1 and balanced accuracy; all are in per cent. The threshold, where one is needed,
    is the one with the best micro-F1 on the validation rows, chosen anew for every trained model.

    Attributes:
        source_name: Where the data came from.
        table: Rows whose labels are 0 or 1, shape (rows, labels).
        training: A `LabelTrainingConfig`.
        name: "multilabel" or "imbalanced".
        notes: What the user should know about the columns.

    Raises:
        ValueError: If a label holds of no row of a split, or of all its rows.

    Example:
        >>> from askew.tasks import split_table
        >>> x = np.random.default_rng(0).normal(size=(60, 3))
        >>> table = split_table(x, (x[:, :1] > 0).astype(np.float32))
        >>> task = LabelTask(source_name="signs", table=table, name="imbalanced")
        >>> [metric.name for metric in task.metrics]
        ['ap', 'f1', 'balanced_accuracy']
    """

    training: LabelTrainingConfig = field(default_factory=LabelTrainingConfig)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for split, rows in self.table._asdict().items():
            share = rows.y.mean(0)
            constant = torch.argwhere((share == 0) | (share == 1)).flatten().tolist()
            require(
                not constant,
                f"LabelTask: every label must hold of some rows and not of others; got labels "
                f"{constant}, counted from 0, the same in all {len(rows.y)} rows of the {split} "
                "split. Give more rows, or leave these labels out",
            )

    @property
    def metrics(self) -> Sequence[Metric]:
        """The metrics, the most important first."""
        return MULTILABEL if self.d_out > 1 else IMBALANCED

    @property
    def d_out(self) -> int:
        """Number of labels."""
        return self.table.train.y.shape[1]

    def signatures(self) -> Mapping[str, str]:
        """Return the rules of the threshold and of averages."""
        return {
            "threshold": "one for all labels, best micro-F1 on the validation rows",
            "average": "of labels, by scikit-learn",
        }

    def loss_of(self, training: LabelTrainingConfig) -> Callable[[Tensor, Tensor], Tensor]:
        """Make the loss of an arm."""
        labels = self.labels_learnt(training)
        return training.loss.build(labels, epoch_steps=max(1, len(labels) // training.batch_size))

    def labels_learnt(self, training: LabelTrainingConfig) -> Tensor:
        """Return the labels of the training rows, without the positives that are removed."""
        y = self.table.train.y
        if training.remove_positives == 0:
            return y
        drawn = torch.rand(y.shape, generator=torch.Generator().manual_seed(_REMOVAL_SEED))
        return torch.where(drawn < training.remove_positives, torch.zeros_like(y), y)

    def evaluate(self, model: MLP) -> Evaluation:
        """Score the test rows."""
        valid, test = (self.answers(model, rows.x).numpy() for rows in self.table[1:])
        return Evaluation(self._scores(test, best_threshold(valid, self.table.valid.y.numpy())), {})

    def _scores(self, logits: np.ndarray, threshold: float) -> dict[str, float]:
        labels = self.table.test.y.numpy()
        predicted = logits >= threshold

        def f1(predicted: np.ndarray, average: Literal["binary", "micro", "macro"]) -> float:
            return float(f1_score(labels, predicted, average=average, zero_division=0))

        scores = (
            {
                "ap": average_precision_score(labels, logits),
                "f1": f1(predicted, "binary"),
                "balanced_accuracy": balanced_accuracy_score(labels, predicted),
            }
            if self.d_out == 1
            else {
                "map": average_precision_score(labels, logits, average="macro"),
                "micro_f1": f1(predicted, "micro"),
                "macro_f1": f1(predicted, "macro"),
                "micro_f1_half": f1(logits >= 0, "micro"),
            }
        )
        return {name: 100 * float(score) for name, score in scores.items()}

    def mean_precision(self, model: MLP, x: Tensor, y: Tensor) -> float:
        """Compute the mean average precision of the labels that hold of some of these rows."""
        some = y.any(0)
        logits = self.answers(model, x)[:, some].numpy()
        return 100 * float(average_precision_score(y[:, some].numpy(), logits, average="macro"))

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score a constant answer: the share of each label in the training rows."""
        share = torch.logit(self.table.train.y.mean(0))
        valid, test = (share.expand(len(rows.x), -1).numpy() for rows in self.table[1:])
        threshold = best_threshold(valid, self.table.valid.y.numpy())
        return {"frequency": self._scores(test, threshold)}


def best_threshold(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the logit from which a label is predicted, chosen by the best micro-F1.

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
