"""The task of retrieving rows of the same class, for classes that training never saw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from askew.tasks._tabular import MLP, TableTask, TableTrainingConfig, metrics_in_points
from askew.tasks._tabular_losses import RetrievalLossConfig
from askew.tradeoffs import Evaluation, Metric

METRICS = metrics_in_points({"map": "mAP", "recall_at_1": "recall@1"})
_WIDTH = 32


@dataclass(frozen=True, kw_only=True)
class RetrievalTrainingConfig(TableTrainingConfig):
    """The numbers of a training of embeddings: a loss, and those of `TableTrainingConfig`.

    Attributes:
        loss: The loss.

    Example:
        >>> RetrievalTrainingConfig(loss=RetrievalLossConfig(margin_neg=2.0)).batch_size
        64
    """

    loss: RetrievalLossConfig = field(default_factory=RetrievalLossConfig)


@dataclass(frozen=True, kw_only=True)
class RetrievalTask(TableTask):
    """Embed rows so that rows of a class are near; a task of `askew.tradeoffs.compare`.

    Every test row is a query, for which all other rows are ranked by the cosine of the embeddings.
    The metrics are the mean average precision, and the share of queries whose nearest row is of
    their class, both in per cent.

    Attributes:
        source_name: Where the data came from.
        table: Rows and their classes; the test rows may be of other classes.
        training: A `RetrievalTrainingConfig`.

    Example:
        >>> from askew.tasks import load_unseen_digits
        >>> RetrievalTask(source_name="digits", table=load_unseen_digits()).d_out
        32
    """

    training: RetrievalTrainingConfig = field(default_factory=RetrievalTrainingConfig)
    name: str = "retrieval"

    @property
    def metrics(self) -> Sequence[Metric]:
        """The metrics, the most important first."""
        return METRICS

    @property
    def d_out(self) -> int:
        """Width of an embedding."""
        return _WIDTH

    def loss_of(self, training: RetrievalTrainingConfig) -> Callable[[Tensor, Tensor], Tensor]:
        """Make the loss of an arm."""
        return training.loss.build()

    def evaluate(self, model: MLP) -> Evaluation:
        """Score the test rows."""
        return _evaluation(self.answers(model, self.table.test.x), self.table.test.y)

    def mean_precision(self, model: MLP, x: Tensor, y: Tensor) -> float:
        """Compute the mean average precision of retrieval among these rows."""
        return _evaluation(self.answers(model, x), y).metrics["map"]

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score the features themselves, as if they were embeddings."""
        return {"raw_features": dict(_evaluation(*self.table.test).metrics)}


def _evaluation(embeddings: Tensor, classes: Tensor) -> Evaluation:
    precisions, recalls = retrieval_scores(F.normalize(embeddings, dim=1), classes)
    items = {"map": (100 * precisions).tolist(), "recall_at_1": (100 * recalls).tolist()}
    return Evaluation({name: sum(v) / len(v) for name, v in items.items()}, items)


def retrieval_scores(embeddings: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """For every row, rank all other rows by distance and score the ranking.

    Args:
        embeddings: Shape (rows, width).
        classes: Shape (rows,); each class must have two rows or more.

    Returns:
        Average precision of each row, and 1 if its nearest row is of its class, else 0; both of
        shape (rows,).

    Example:
        >>> scores = retrieval_scores(torch.tensor([[0.0], [1.0], [1.5]]), torch.tensor([0, 0, 1]))
        >>> scores[0].tolist()[:2], scores[1].tolist()[:2]
        ([1.0, 0.5], [1.0, 0.0])
    """
    distances = torch.cdist(embeddings.double(), embeddings.double())
    distances.fill_diagonal_(torch.inf)
    order = distances.argsort(dim=1, stable=True)[:, :-1]
    relevant = (classes[order] == classes[:, None]).double()
    precision = relevant.cumsum(1) / torch.arange(1, relevant.shape[1] + 1)
    total = relevant.sum(1).clamp(min=1)
    return (precision * relevant).sum(1) / total, relevant[:, 0]
