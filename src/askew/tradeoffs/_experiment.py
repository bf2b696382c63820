"""The user's models on the user's data, as a task of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from askew._budget import Budget, Range, Tuning
from askew._check import require
from askew._files import check_name
from askew.tradeoffs._compare import Comparison, compare
from askew.tradeoffs._experiment_code import code_digest
from askew.tradeoffs._experiment_models import ArmModels, check_arms, check_space, numbers_of
from askew.tradeoffs._experiment_settings import (
    ACCURACY,
    Build,
    Fit,
    Loss,
    MakeOptimizer,
    ModelConfig,
    NumberedConfig,
    Score,
    adamw,
    data_digest,
    name_of,
    of_arm,
    score_model,
    seconds,
    tensors_of,
    without,
)
from askew.tradeoffs._running.batches import (
    answer,
    as_data,
    dataset_of,
    ordered_batches,
    training_batches,
)
from askew.tradeoffs._running.flops import count_parameters, flops_of_step
from askew.tradeoffs._running.train_loop import train_loop
from askew.tradeoffs._running.watcher import Watcher
from askew.tradeoffs._space import Space
from askew.tradeoffs._statistics.verdicts import Metric
from askew.tradeoffs._task import Arm, Evaluation, OnRecord, Progress, Records, Task

_OTHER_WEIGHTS = 10_000


@dataclass(frozen=True, kw_only=True)
class Experiment(Task[nn.Module]):
    """Any models on any data: a task of `compare`, and what `askew compare FILE:NAME` takes.

    All models are trained for the same number of steps, on the same batches in the same order, from
    the seed of each trial; `compare` then judges every model against the last one.

    Attributes:
        name: Name of the comparison.
        models: By arm, a function that builds its model and can be called without arguments; the
            baseline last.
        train_data: Training data: a dataset of (input, target), a `DataLoader`, or a tuple of
            tensors. Inputs may be several, or a mapping with "labels" as those of transformers.
        test_data: Test data, likewise; the dataset of a loader is read in its order.
        valid_data: Validation data, likewise, for the learning curve and for tuning; may be absent.
        scores: Figures of quality, the most important first.
        loss: `loss(output, target)`, or one by arm.
        optimizer: A function from a model to its optimizer, or one by arm.
        batch_size: Items per step, if `train_data` is no loader, >= 1.
        steps: Optimizer steps of a training, if `compare` is given none.
        fit: A training loop that replaces the usual one, or one by arm:
            `fit(model, steps=, seed=, folder=, progress=)`. It may return records with `step`,
            `train_seconds` and `loss` for the learning curve; it must train on the same data
            in the same order for the same seed, and may keep checkpoints in `folder`.
        search: Numbers that tuning draws, by name. They are passed to `optimizer` or `fit` as
            keywords, such as `lr=`; tuning needs `valid_data`.
        space: What `find` varies: `model.NAME` is a keyword of every function of `models`, with a
            number as its default; `training.NAME` is one of `optimizer` or `fit`. A search needs
            `valid_data`.
        device: Where models are trained.

    Raises:
        ValueError: If there are fewer than two models, a setting by arm lacks an arm, data
            cannot be used, or the space has a number that a model or its training does not take.
        TypeError: If a model is no function that builds it, or data are lists or arrays.

    Example:
        >>> import tempfile
        >>> x = torch.randn(64, 4)
        >>> data = (x, (x[:, 0] > 0).long())
        >>> experiment = Experiment(
        ...     name="sign",
        ...     models={"bent": lambda: nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 2)),
        ...             "line": lambda: nn.Linear(4, 2)},
        ...     train_data=data, test_data=data,
        ... )
        >>> [arm.config.build for arm in experiment.arms], experiment.describe()["train"]
        (['<lambda>', '<lambda>'], 64)
    """

    name: str
    models: Mapping[str, Build]
    train_data: Any
    test_data: Any
    valid_data: Any = None
    scores: Sequence[Score] = (ACCURACY,)
    loss: Loss | Mapping[str, Loss] = nn.functional.cross_entropy
    optimizer: MakeOptimizer | Mapping[str, MakeOptimizer] = adamw
    batch_size: int = 64
    steps: int | None = None
    fit: Fit | Mapping[str, Fit] | None = None
    search: Mapping[str, Range] = field(default_factory=dict)
    space: Space | None = None
    device: str = "cpu"
    speeds: Mapping[str, str] = field(
        default_factory=lambda: {"throughput": "items answered", "latency_ms": "time per item"}
    )
    _models: ArmModels = field(init=False, repr=False, compare=False)
    _timed: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name("Experiment", "name", self.name)
        check_arms(self.models, {"loss": self.loss, "optimizer": self.optimizer, "fit": self.fit})
        require(
            self.batch_size >= 1,
            f"Experiment: batch_size must be >= 1; got batch_size {self.batch_size}",
        )
        require(
            self.steps is None or (isinstance(self.steps, int) and self.steps >= 1),
            f"Experiment: steps must be an integer >= 1 or None; got steps {self.steps!r}",
        )
        names = [score.metric.name for score in self.scores]
        require(
            len(names) >= 1 and len(set(names)) == len(names),
            f"Experiment: scores must be one or more with different names; got {names}",
        )
        for name, data in (("train_data", self.train_data), ("test_data", self.test_data)):
            object.__setattr__(self, name, as_data(data, name))
        if self.valid_data is not None:
            object.__setattr__(self, "valid_data", as_data(self.valid_data, "valid_data"))
        object.__setattr__(self, "_models", ArmModels(self.models, self.device))
        if self.space is not None:
            require(
                self.valid_data is not None,
                "Experiment: a search needs valid_data; got none, a space",
            )
            trainings = dict.fromkeys(self.models, self.fit or self.optimizer)
            check_space(
                self.space,
                self.models,
                {arm: of_arm(given, arm) for arm, given in trainings.items()},
            )

    def __getstate__(self) -> dict[str, object]:
        """Pickle no batch that was kept for timing."""
        return self.__dict__ | {"_timed": {}}

    @property
    def distributed(self) -> bool:
        """Whether several processes may train: only with `fit`, which shares the batches out."""
        return self.fit is not None

    @property
    def metrics(self) -> Sequence[Metric]:
        """The metrics of the scores."""
        return tuple(score.metric for score in self.scores)

    @cached_property
    def arms(self) -> list[Arm]:
        """One arm per model; a model that equals the baseline starts from other weights."""
        *others, baseline = self._described
        twins = [name for name in others if self._described[name] == self._described[baseline]]
        return [
            Arm(name=name, config=config, init_offset=_OTHER_WEIGHTS * number * (name in twins))
            for number, (name, (config, _)) in enumerate(self._described.items(), start=1)
        ]

    @cached_property
    def _described(self) -> dict[str, tuple[ModelConfig, str]]:
        """By arm, its config, and a digest of the code of its functions and modules."""
        return {arm: self._describe(arm) for arm in self.models}

    @cached_property
    def _functions(self) -> list[str]:
        return [*(one for _, one in self._described.values()), code_digest(self.scores)]

    def _describe(self, arm: str) -> tuple[ModelConfig, str]:
        build = self.models[arm]
        loss, optimizer, fit = (of_arm(x, arm) for x in (self.loss, self.optimizer, self.fit))
        modules, classes = self._models.describe(arm)
        numbers = {} if self.space is None else numbers_of(build)
        values = {
            "arm": arm,
            "build": name_of(without(build, numbers)),
            "modules": modules,
            "loss": name_of(loss),
            "optimizer": name_of(optimizer),
            "fit": name_of(fit),
        }
        config = NumberedConfig(**values, model=numbers) if numbers else ModelConfig(**values)
        return config, code_digest(classes, build, loss, optimizer, fit)

    def compare(
        self,
        *,
        out: str | Path,
        seeds: int | Sequence[int] = 5,
        steps: int | None = None,
        minutes: float | None = None,
        jobs: int = 1,
        threads: int = 1,
        looks: Sequence[int] | None = None,
        draws: int = 0,
        command: str = "",
        watcher: Watcher | None = None,
    ) -> Comparison:
        """Train every model with every seed, measure, and judge them against the last.

        Args:
            out: Folder of the comparison; called again, the comparison continues.
            seeds: How many, or which; five or more give verdicts.
            steps: Optimizer steps of each training; those of the experiment by default.
            minutes: Instead of steps, CPU-minutes.
            jobs: Trials at the same time, each in a process.
            threads: Threads of PyTorch in each.
            looks: As in `compare`.
            draws: Settings from `search` that every model tries before its trials; 0 for none.
            command: What to type to get these results again.
            watcher: Receives the progress.

        Returns:
            Verdicts and results, which `write_report` and `print_results` show.

        Raises:
            ValueError: If a setting does not fit, or the folder holds something else.
        """
        return compare(
            self,
            self.arms,
            list(range(seeds)) if isinstance(seeds, int) else seeds,
            budget=self.budget(steps, minutes),
            out=Path(out),
            jobs=jobs,
            threads=threads,
            looks=looks,
            tuning=self.tuning(draws),
            command=command,
            watcher=watcher,
        )

    def budget(self, steps: int | None = None, minutes: float | None = None) -> Budget:
        """Return the given budget of a trial, or else `steps` of the experiment."""
        if steps is None and minutes is None:
            steps = self.steps
        return Budget(steps=steps, minutes=minutes)

    def tuning(self, draws: int) -> Tuning | None:
        """Return a tuning of some draws from `search`, None for 0; needs validation data."""
        if draws == 0:
            return None
        require(
            self.valid_data is not None,
            f"Experiment: tuning needs valid_data; got none, draws {draws}",
        )
        return Tuning(draws=draws, space=self.search_space())

    def search_space(self) -> Mapping[str, Range]:
        """Return what tuning draws, as settings of the training."""
        return {f"training.{name}": values for name, values in self.search.items()}

    def describe(self) -> Mapping[str, object]:
        """Return sizes, and digests of data that is in memory as tensors."""
        splits = {"train": self.train_data, "test": self.test_data}
        if self.valid_data is not None:
            splits["valid"] = self.valid_data
        return {
            "name": self.name,
            **{split: len(dataset_of(data)) for split, data in splits.items()},
            "batch_size": self.batch_size,
            "device": self.device,
            "fingerprint": [data_digest(data) for data in splits.values()],
            "tensors": [tensors_of(data) for data in splits.values()],
            "functions": self._functions,
        }

    def build(self, config: ModelConfig, seed: int) -> nn.Module:
        """Make a model with its initial weights."""
        numbers = config.model if isinstance(config, NumberedConfig) else {}
        return self._models.build(config.arm, seed, numbers)

    def train(
        self,
        model: nn.Module,
        *,
        training: Mapping[str, object],
        steps: int,
        seed: int,
        folder: Path,
        progress: Progress,
        on_record: OnRecord | None = None,
        tensorboard: Path | None = None,
    ) -> Records:
        """Train in place, by the usual loop or the user's own.

        Raises:
            ValueError: If `tensorboard` is given.
            FloatingPointError: If the loss of the usual loop is not finite.
        """
        require(tensorboard is None, f"Experiment: tensorboard must be None; got {tensorboard}")
        torch.manual_seed(seed)
        arm = self._models.arm_of[model]
        fit = of_arm(self.fit, arm)
        if fit is None:
            optimizer = of_arm(self.optimizer, arm)(model, **training)
            return train_loop(
                model,
                arm,
                optimizer,
                of_arm(self.loss, arm),
                self.train_data,
                self.valid_data,
                batch_size=self.batch_size,
                device=self.device,
                steps=steps,
                seed=seed,
                progress=progress,
                on_record=on_record,
            )
        started = seconds(self.device)
        records = fit(model, steps=steps, seed=seed, folder=folder, progress=progress, **training)
        spent = {"step": steps, "train_seconds": seconds(self.device) - started}
        records = [*(records or ()), spent]
        for record in records:
            if on_record is not None:
                on_record(record)
        return records

    def evaluate(self, model: nn.Module) -> Evaluation:
        """Score on the test data."""
        scores = self._score(model, self.test_data)
        return Evaluation(
            {name: values.mean().item() for name, values in scores.items()},
            {name: values.tolist() for name, values in scores.items() if values.ndim},
        )

    def train_score(self, model: nn.Module) -> float:
        """Compute the first score on training data, on as many items as the test data has."""
        items = min(len(dataset_of(data)) for data in (self.train_data, self.test_data))
        return self._score(model, self.train_data, items)[self.metrics[0].name].mean().item()

    def validate(self, model: nn.Module) -> float:
        """Compute the first score on validation data, with its sign turned if lower is better.

        Raises:
            ValueError: If there is none.
        """
        require(self.valid_data is not None, "Experiment: validate needs valid_data; got none")
        first = self.metrics[0]
        value = self._score(model, self.valid_data)[first.name].mean().item()
        return value if first.better == "higher" else -value

    def _score(self, model: nn.Module, data: Any, items: int | None = None) -> dict[str, Tensor]:
        batches = ordered_batches(data, self.batch_size, torch.device(self.device), items)
        return score_model(model, batches, self.scores)

    @torch.no_grad()
    def predict(self, model: nn.Module, *, items: int, batch_size: int) -> None:
        """Answer the first test items."""
        model.eval()
        for inputs, _ in self._timed_batches(items, batch_size):
            answer(model, inputs)
        if self.device != "cpu":
            torch.accelerator.synchronize()

    def _timed_batches(self, items: int, batch_size: int) -> list:
        """Return batches that are kept in memory, so that reading them is not timed."""
        if (items, batch_size) not in self._timed:
            batches = ordered_batches(self.test_data, batch_size, torch.device(self.device), items)
            self._timed[items, batch_size] = list(batches)
        return self._timed[items, batch_size]

    def parameters(self, config: ModelConfig) -> int:
        """Count the trainable numbers of a model."""
        return count_parameters(self.build(config, 0))

    def flops_per_step(self, config: ModelConfig) -> float:
        """Count the operations of one forward and backward pass; the loss of a `fit` is its own."""
        loss_of = None if of_arm(self.fit, config.arm) else of_arm(self.loss, config.arm)
        data = training_batches(self.train_data, self.batch_size, 0, torch.device(self.device))
        return flops_of_step(self.build(config, 0).train(), next(data), loss_of)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the weights."""
        self._models.save(model, folder)

    def load(self, folder: Path) -> nn.Module:
        """Read a model that `save` wrote."""
        return self._models.load(folder)
