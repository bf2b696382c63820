"""Finding rows of the same class, of classes that training never saw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from askew.tasks._tabular import MLP, TableTask, TableTrainingConfig
from askew.tasks._tabular_losses import RetrievalLossConfig
from askew.tradeoffs import Evaluation, Metric

METRICS = (
    Metric(name="map", label="mAP", equivalence=0.5, unit="points"),
    Metric(name="recall_at_1", label="recall@1", equivalence=0.5, unit="points"),
)
_WIDTH = 32


@dataclass(frozen=True, kw_only=True)
class RetrievalTrainingConfig(TableTrainingConfig):
    """The numbers of a training of embeddings.

    Attributes:
        loss: What is learnt.
        batch_size: As of `TableTrainingConfig`, like the rest.

    Example:
        >>> RetrievalTrainingConfig(loss=RetrievalLossConfig(margin_neg=2.0)).batch_size
        64
    """

    loss: RetrievalLossConfig = field(default_factory=RetrievalLossConfig)


@dataclass(frozen=True, kw_only=True)
class RetrievalTask(TableTask):
    """Embed rows so that those of a class lie together; a task of `askew.tradeoffs.compare`.

    Every test row is a query, all others are ranked by the cosine of their embeddings. The figures
    are the mean average precision and the share of queries whose nearest row is of their class, in
    per cent.

    Attributes:
        source_name: Where the data came from.
        table: Rows and their classes; those of the test may be others.
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
        """The figures, the most important first."""
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

    def validate(self, model: MLP) -> float:
        """Give the mean average precision among the validation rows."""
        x, y = self.table.valid
        return _evaluation(self.answers(model, x), y).metrics["map"]

    def train_score(self, model: MLP) -> float:
        """Give the mean average precision among training rows, as many as the test has."""
        x, y = (tensor[: len(self.table.test.x)] for tensor in self.table.train)
        return _evaluation(self.answers(model, x), y).metrics["map"]

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score the features themselves."""
        return {"raw_features": dict(_evaluation(*self.table.test).metrics)}


def _evaluation(embeddings: Tensor, classes: Tensor) -> Evaluation:
    precisions, firsts = retrieval_scores(F.normalize(embeddings, dim=1), classes)
    items = {"map": (100 * precisions).tolist(), "recall_at_1": (100 * firsts).tolist()}
    return Evaluation({name: sum(v) / len(v) for name, v in items.items()}, items)


def retrieval_scores(embeddings: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Rank all other rows by distance, for every row.

    Args:
        embeddings: Shape (rows, width).
        classes: Shape (rows,); each class has two rows or more.

    Returns:
        Average precision of each row, and 1 where its nearest row is of its class, else 0; both
        of shape (rows,).

    Example:
        >>> scores = retrieval_scores(torch.tensor([[0.0], [1.0], [1.5]]), torch.tensor([0, 0, 1]))
        >>> scores[0].tolist()[:2], scores[1].tolist()[:2]
        ([1.0, 0.5], [1.0, 0.0])
    """
    distances = torch.cdist(embeddings.double(), embeddings.double())
    distances.fill_diagonal_(torch.inf)
    order = distances.argsort(dim=1, stable=True)[:, :-1]
    right = (classes[order] == classes[:, None]).double()
    ranks = torch.arange(1, right.shape[1] + 1)
    precision = right.cumsum(1) / ranks
    total = right.sum(1).clamp(min=1)
    return (precision * right).sum(1) / total, right[:, 0]
