"""What a model is trained for: batches, loss, optimizer and schedule."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers.modeling_outputs import Seq2SeqLMOutput

from askew.optim import AsymmetricScheduler
from askew.training._config import RunConfig, TrainingConfig
from askew.training._examples import IGNORED, collate_translation
from askew.training._optimizer import training_optimizer, training_scheduler


class Examples(Protocol):
    """Training data of n examples; row i of epoch e has the number e * n + i."""

    @property
    def lengths(self) -> Sequence[tuple[int, int]]:
        """Two lengths of every example; the longer one counts towards the budget of a batch."""
        ...

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def __getitem__(self, index: int) -> Any:
        """Return an example as `Objective.collate` takes it."""
        ...

    def lengths_in(self, epoch: int) -> Sequence[tuple[int, int]]:
        """Return the lengths of all examples in an epoch."""
        ...


class Objective(Protocol):
    """What a model is trained for, and how.

    Attributes:
        config: The settings of the run.
    """

    @property
    def config(self) -> RunConfig:
        """The settings of the run."""
        ...

    def collate(self, rows: Sequence[Any]) -> dict[str, Any]:
        """Make a batch: the inputs of the model, and `labels`."""
        ...

    def counted(self, labels: Any) -> Tensor:
        """Return a tensor with one element per item of the loss; -100 does not count."""
        ...

    def loss(self, outputs: Any, labels: Any, num_items_in_batch: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch over the items of the whole step."""
        ...

    def score(self, outputs: Any, labels: Any) -> tuple[float, int]:
        """Return the sum of the validation loss of a batch, and the number of its items."""
        ...

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Make the optimizer."""
        ...

    def scheduler(self, optimizer: Optimizer) -> AsymmetricScheduler:
        """Make the schedule."""
        ...


class TranslationObjective:
    """Predicts the next target token, with cross-entropy and smoothed labels.

    Args:
        config: The settings of the run.

    Example:
        >>> from askew.training import TrainingConfig
        >>> TranslationObjective(TrainingConfig(steps=10)).config.label_smoothing
        0.1
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self.collate = collate_translation

    def counted(self, labels: Tensor) -> Tensor:
        """Count tokens."""
        return labels

    def loss(
        self, outputs: Seq2SeqLMOutput, labels: Tensor, num_items_in_batch: Tensor | None = None
    ) -> Tensor:
        """Compute the mean over all tokens of the step."""
        count = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return _cross_entropy(outputs, labels, self.config.label_smoothing) / count

    def score(self, outputs: Seq2SeqLMOutput, labels: Tensor) -> tuple[float, int]:
        """Sum over tokens, without smoothing."""
        total = _cross_entropy(outputs, labels, 0.0).item()
        return total, int((labels != IGNORED).sum())

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Make the optimizer with a part for each side."""
        return training_optimizer(model, self.config)

    def scheduler(self, optimizer: Optimizer) -> AsymmetricScheduler:
        """Make the schedule of each side."""
        return training_scheduler(optimizer, self.config)


def _cross_entropy(outputs: Seq2SeqLMOutput, labels: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(
        # pyrefly: ignore[missing-attribute]  our models always compute logits
        outputs.logits.flatten(0, 1).float(),
        labels.flatten(),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )
