"""What tasks on tables share: the network, its training and how it is stored."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from askew._check import require
from askew._config import load_config, to_dict
from askew._files import existing_file, read_json, write_json
from askew._folders import whole_model
from askew.optim import AsymmetricOptimizer, AsymmetricScheduler
from askew.regularizers import AsymmetricDropout
from askew.tasks._tabular_data import SplitTable
from askew.tradeoffs import Metric, OnRecord, Progress, Range, Records, Task, train_loop
from askew.training import Decay, rise_and_fall

SPEEDS = {"throughput": "rows answered", "latency_ms": "time per row"}


def metrics_in_points(labels: Mapping[str, str]) -> tuple[Metric, ...]:
    """Return metrics in per cent, equivalent within half a point, from their names and labels."""
    return tuple(
        Metric(name=name, label=label, equivalence=0.5, unit="points")
        for name, label in labels.items()
    )


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """A network of equal hidden layers.

    Attributes:
        width: Width of the hidden layers, even, >= 2.
        num_layers: Number of hidden layers, >= 1.
        d_out: Width of the output; 0 means what the task needs.
        dropout: Dropout rate of the hidden features, in [0, 1).
        dropout_second: Dropout rate of the second half of them; None means the same rate.
        input_dropout: Dropout rate of the features of a row, in [0, 1).
        input_dropout_second: Dropout rate of the second half of them; None means the same rate.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> MLPConfig(width=64, dropout=0.1, dropout_second=0.5).num_layers
        2
    """

    width: int = 128
    num_layers: int = 2
    d_out: int = 0
    dropout: float = 0.2
    dropout_second: float | None = None
    input_dropout: float = 0.0
    input_dropout_second: float | None = None

    def __post_init__(self) -> None:
        require(
            self.width >= 2 and self.width % 2 == 0,
            f"MLPConfig: width must be even and >= 2; got width {self.width}",
        )
        require(
            self.num_layers >= 1,
            f"MLPConfig: num_layers must be >= 1; got num_layers {self.num_layers}",
        )
        for name in ("dropout", "dropout_second", "input_dropout", "input_dropout_second"):
            value = getattr(self, name)
            require(
                value is None or 0 <= value < 1,
                f"MLPConfig: {name} must be in [0, 1); got {name} {value}",
            )


class MLP(nn.Module):
    """Hidden layers with ReLU and dropout, then a linear layer.

    Args:
        config: Sizes and dropout rates.
        d_in: Width of the input, >= 1.

    Example:
        >>> MLP(MLPConfig(width=4, d_out=3), 5)(torch.ones(2, 5)).shape
        torch.Size([2, 3])
    """

    def __init__(self, config: MLPConfig, d_in: int) -> None:
        super().__init__()
        self.config = config
        widths = [d_in, *[config.width] * config.num_layers]
        self.hidden = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.dropout = _halves(config.dropout, config.dropout_second)
        self.input_dropout = _halves(config.input_dropout, config.input_dropout_second)
        self.head = nn.Linear(config.width, config.d_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map features [rows, d_in] to [rows, d_out]."""
        x = self.input_dropout(x)
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        return self.head(x)


def _halves(first: float, second: float | None) -> AsymmetricDropout:
    return AsymmetricDropout(first if second is None else (first, second))


@dataclass(frozen=True, kw_only=True)
class TableTrainingConfig:
    """The numbers of a training on a table.

    Attributes:
        batch_size: Rows per step, >= 1.
        lr: Learning rate of AdamW, > 0.
        lr_first: Learning rate of the first hidden layer; None means `lr`.
        lr_head: Learning rate of the last layer; None means `lr`.
        weight_decay: Weight decay of all parameters, >= 0.
        warmup_steps: Steps in which the learning rates rise from 0, at most half of all steps.
        schedule: How the learning rates fall afterwards; "linear" and "cosine" end at 0.
        schedule_first: Schedule of the first hidden layer; None means `schedule`.
        schedule_head: Schedule of the last layer; None means `schedule`.
        remove_positives: Share of the positive labels of the training rows that are set to 0, in
            [0, 1). They are the same for every arm; validation and test labels are unchanged.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> TableTrainingConfig(lr=1e-3, lr_head=1e-2).batch_size
        64
    """

    batch_size: int = 64
    lr: float = 1e-3
    lr_first: float | None = None
    lr_head: float | None = None
    weight_decay: float = 0.01
    warmup_steps: int = 0
    schedule: Decay = "constant"
    schedule_first: Decay | None = None
    schedule_head: Decay | None = None
    remove_positives: float = 0.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        require(
            self.batch_size >= 1,
            f"{name}: batch_size must be >= 1; got batch_size {self.batch_size}",
        )
        for key in ("lr", "lr_first", "lr_head"):
            value = getattr(self, key)
            require(value is None or value > 0, f"{name}: {key} must be > 0; got {key} {value}")
        for key in ("weight_decay", "warmup_steps"):
            value = getattr(self, key)
            require(value >= 0, f"{name}: {key} must be >= 0; got {key} {value}")
        for key in ("lr", "lr_first", "lr_head", "weight_decay"):
            value = getattr(self, key)
            require(
                value is None or math.isfinite(value),
                f"{name}: {key} must be finite; got {key} {value}",
            )
        require(
            0 <= self.remove_positives < 1,
            f"{name}: remove_positives must be in [0, 1); got remove_positives "
            f"{self.remove_positives}",
        )


@dataclass(frozen=True, kw_only=True)
class TableTask(Task[MLP]):
    """The base class of tasks on tables.

    Attributes:
        source_name: Where the data came from.
        table: Its rows.
        training: Numbers of training, which an arm may change.
        name: Name of the task.
        device: Where models are trained; they answer on the CPU.

    Example:
        >>> from askew.tasks import LabelTask, RetrievalTask
        >>> issubclass(LabelTask, TableTask), issubclass(RetrievalTask, TableTask)
        (True, True)
    """

    source_name: str
    table: SplitTable
    training: Any
    name: str
    speeds: Mapping[str, str] = field(default_factory=lambda: dict(SPEEDS))
    device: str = "cpu"

    @property
    @abstractmethod
    def metrics(self) -> Sequence[Metric]:
        """The metrics, the most important first."""

    def describe(self) -> Mapping[str, object]:
        """Return sizes, training numbers and a fingerprint of all rows."""
        return {
            "name": self.source_name,
            **{split: len(rows.x) for split, rows in self.table._asdict().items()},
            "features": self.d_in,
            "fingerprint": self.table.fingerprint,
            "training": to_dict(self.training),
        }

    @property
    def d_in(self) -> int:
        """Number of features."""
        return self.table.train.x.shape[1]

    @property
    @abstractmethod
    def d_out(self) -> int:
        """Width of the output of a model whose config has 0."""

    @abstractmethod
    def loss_of(self, training: Any) -> Callable[[Tensor, Tensor], Tensor]:
        """Make the loss that these numbers of training name."""

    @abstractmethod
    def mean_precision(self, model: MLP, x: Tensor, y: Tensor) -> float:
        """Compute the mean average precision on these rows, in per cent."""

    def validate(self, model: MLP) -> float:
        """Compute the mean average precision on the validation rows."""
        return self.mean_precision(model, *self.table.valid)

    def train_score(self, model: MLP) -> float:
        """Compute the mean average precision on as many training rows as the test set has."""
        count = len(self.table.test.x)
        return self.mean_precision(model, *(tensor[:count] for tensor in self.table.train))

    def search_space(self) -> Mapping[str, Range]:
        """Return what tuning draws by default."""
        return {
            "training.lr": Range(low=1e-4, high=1e-2, log=True),
            "dropout": Range(low=0.0, high=0.6),
        }

    def build(self, config: MLPConfig, seed: int) -> MLP:
        """Make a model with its initial weights."""
        torch.manual_seed(seed)
        return MLP(self._whole(config), self.d_in)

    def _whole(self, config: MLPConfig) -> MLPConfig:
        return load_config(MLPConfig, {"d_out": config.d_out or self.d_out}, base=config)

    def train(
        self,
        model: MLP,
        *,
        training: Mapping[str, object],
        steps: int,
        seed: int,
        folder: Path,
        progress: Progress,
        on_record: OnRecord | None = None,
        tensorboard: Path | None = None,
    ) -> Records:
        """Train in place.

        Raises:
            ValueError: If a folder for TensorBoard is given.
        """
        require(
            tensorboard is None,
            f"{self.name}: its training draws no curves; got tensorboard {tensorboard}",
        )
        config = self._training_config(training)
        torch.manual_seed(seed)
        records = train_loop(
            model.to(self.device),
            "the model",
            _optimizer(model, config, steps),
            self.loss_of(config),
            torch.utils.data.TensorDataset(self.table.train.x, self.labels_learnt(config)),
            torch.utils.data.TensorDataset(*self.table.valid),
            batch_size=config.batch_size,
            device=self.device,
            steps=steps,
            seed=seed,
            progress=progress,
            on_record=on_record,
        )
        model.cpu()
        return records

    def check_training(self, training: Mapping[str, object]) -> None:
        """Refuse numbers of training that are unknown or out of their range."""
        self.loss_of(self._training_config(training))

    def _training_config(self, training: Mapping[str, object]) -> Any:
        return load_config(type(self.training), training, base=self.training, where="training")

    def labels_learnt(self, training: Any) -> Tensor:
        """Return the labels of the training rows."""
        return self.table.train.y

    @torch.no_grad()
    def answers(self, model: MLP, x: Tensor) -> Tensor:
        """Compute the output of a model, without dropout."""
        return model.eval()(x)

    def predict(self, model: MLP, *, items: int, batch_size: int) -> None:
        """Answer the first test rows, over again if there are too few."""
        rows = self.table.test.x
        rows = rows[torch.arange(items) % len(rows)]
        for batch in rows.split(batch_size):
            self.answers(model, batch)

    def parameters(self, config: MLPConfig) -> int:
        """Count the trainable numbers of a model."""
        return sum((d_in + 1) * d_out for d_in, d_out in self._widths(config))

    def flops_per_step(self, config: MLPConfig) -> float:
        """Count the matrix products of a step; the input needs no gradient."""
        products = [d_in * d_out for d_in, d_out in self._widths(config)]
        rows = min(self.training.batch_size, len(self.table.train.x))
        return 2.0 * rows * (3 * sum(products) - products[0])

    def _widths(self, config: MLPConfig) -> list[tuple[int, int]]:
        widths = [self.d_in, *[config.width] * config.num_layers, config.d_out or self.d_out]
        return list(pairwise(widths))

    def save(self, model: MLP, folder: Path) -> None:
        """Write the weights and the config into a folder."""
        folder.mkdir(exist_ok=True)
        save_file(model.state_dict(), folder / "model.safetensors")
        write_json(folder / "config.json", {"version": 1, **to_dict(model.config)})

    def load(self, folder: Path) -> MLP:
        """Read a model that `save` wrote."""
        values = read_json(folder / "config.json")
        del values["version"]
        with whole_model("load", folder):
            model = MLP(load_config(MLPConfig, values), self.d_in)
            model.load_state_dict(load_file(existing_file("load", folder / "model.safetensors")))
        return model.eval()


def _optimizer(model: MLP, config: TableTrainingConfig, steps: int) -> AsymmetricOptimizer:
    """Make the optimizer: first, other hidden and last layers have their own rates."""
    settings = {
        "first": (["hidden.0.**"], config.lr_first, config.schedule_first),
        "hidden": (["hidden.**"], None, None),
        "head": (["head.**"], config.lr_head, config.schedule_head),
    }
    if len(model.hidden) == 1:
        del settings["hidden"]
    parts = {
        part: {"where": where, "lr": lr or config.lr, "weight_decay": config.weight_decay}
        for part, (where, lr, _) in settings.items()
    }
    optimizer = AsymmetricOptimizer(model, parts)
    rise = min(config.warmup_steps, steps // 2)
    schedules = {
        part: rise_and_fall(schedule or config.schedule, rise=rise, steps=steps)
        for part, (_, _, schedule) in settings.items()
    }
    scheduler = AsymmetricScheduler(optimizer, schedules)
    optimizer.register_step_post_hook(lambda *_: scheduler.step())
    return optimizer
