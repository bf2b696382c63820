"""The plan of a comparison: everything that its trials, measurements and results depend on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic

from askew._budget import Budget, Tuning
from askew._check import require
from askew._config import to_dict
from askew._files import check_name
from askew.tradeoffs._statistics.sequential import sequential_confidence
from askew.tradeoffs._statistics.verdicts import shared_confidence
from askew.tradeoffs._task import Arm, Model, Task


@dataclass(frozen=True, kw_only=True)
class RunPlan(Generic[Model]):
    """What a comparison runs, where, and how; the arguments of `compare` as one value.

    Attributes:
        task: Data, training and scoring.
        arms: Challengers, and the baseline last.
        seeds: One trial per arm and seed.
        budget: Of every trial.
        out: Folder of the comparison.
        threads: Threads of PyTorch in each trial.
        jobs: Trials at the same time.
        settings: More to write into the results.
        command: What to type to get these results again.
        looks: Numbers of seeds after which the arms are judged.
        tuning: How the arms are tuned before their trials.
        cluster: Where trials run; None for processes of this machine.
        processes: Processes that share the training of each trial.
        steps: Training budget of each arm, once it is known.
    """

    task: Task[Model]
    arms: Sequence[Arm]
    seeds: Sequence[int]
    budget: Budget
    out: Path
    threads: int
    jobs: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)
    command: str = ""
    looks: Sequence[int] = ()
    tuning: Tuning | None = None
    cluster: str | None = None
    processes: int = 1
    steps: Mapping[str, int] = field(default_factory=dict)

    @property
    def trials(self) -> list[tuple[Arm, int]]:
        """Every arm with every seed; the arms alternate, so that all see the same machine."""
        return [(arm, seed) for seed in self.seeds for arm in self.arms]

    @property
    def whole_settings(self) -> dict[str, object]:
        """The settings with those of several processes and of tuning."""
        settings = dict(self.settings)
        if self.processes > 1:
            settings["processes"] = self.processes
        if self.tuning is not None:
            settings["tuning"] = tuning_values(self.tuning)
        return settings

    def interval_confidence(self) -> float:
        """Return that of each interval for which all arms and looks err as often as a single one.

        Raises:
            ValueError: If the looks do not increase, or they and the arms are too many.
        """
        shared = shared_confidence(0.95, len(self.arms) - 1)
        return sequential_confidence(self.looks, confidence=shared)

    def identity(self) -> dict:
        """Return the plain values that two runs must share to be one comparison."""
        return {
            "version": 1,
            "task": self.task.name,
            "data": dict(self.task.describe()),
            "arms": {arm.name: arm_values(arm) for arm in self.arms},
            "baseline": self.arms[-1].name,
            "budget": asdict(self.budget),
            "threads": self.threads,
            "settings": self.whole_settings,
        }

    def check(self) -> None:
        """Refuse a plan that cannot run.

        Raises:
            ValueError: If `task` is no `Task`, arms or seeds repeat, an arm has a field of `Arm` in
                its config or numbers of training that the task refuses, or `processes` do not fit.
        """
        require(
            isinstance(self.task, Task),
            f"compare: task must be derived from askew.tradeoffs.Task; got task {self.task!r}",
        )
        check_name("compare", "the name of the task", self.task.name)
        names = [arm.name for arm in self.arms]
        require(
            len(names) >= 2 and len(set(names)) == len(names),
            f"compare: arms must be two or more with different names; got {names}",
        )
        self.check_seeds(self.seeds)
        for arm in self.arms:
            taken = sorted({"init_offset", "training"} & to_dict(arm.config).keys())
            require(
                not taken,
                f"compare: a config must not have the fields of its arm; got {taken} of {arm.name}",
            )
            self.task.check_training(arm.training)
        self._check_processes()

    @staticmethod
    def check_seeds(seeds: Sequence[int]) -> None:
        """Refuse seeds that repeat, or none."""
        require(
            len(seeds) >= 1 and len(set(seeds)) == len(seeds),
            f"compare: seeds must be one or more and different; got {list(seeds)}",
        )

    def _check_processes(self) -> None:
        processes = self.processes
        require(processes >= 1, f"compare: processes must be >= 1; got processes {processes}")
        if processes == 1:
            return
        require(
            self.cluster is None,
            f"compare: a trial on a cluster trains in one process; got processes {processes}, "
            f"cluster {self.cluster!r}",
        )
        require(
            self.task.distributed,
            f"compare: task {self.task.name} trains in one process; got processes {processes}",
        )
        require(
            self.budget.steps is not None and self.tuning is None,
            "compare: several processes need a budget in steps and no tuning, which run in "
            f"one process; got processes {processes}, {self.budget}",
        )


def arm_values(arm: Arm) -> dict[str, object]:
    """Return the plain values that identify an arm."""
    training = {"training": dict(arm.training)} if arm.training else {}
    return {**to_dict(arm.config), "init_offset": arm.init_offset, **training}


def tuning_values(tuning: Tuning) -> dict[str, Any]:
    """Return the plain values that identify a tuning."""
    values: dict[str, Any] = to_dict(tuning)
    for spread in values["space"].values():
        if spread.get("step", 0) is None:
            del spread["step"]  # which comparisons of before do not know
    return values
