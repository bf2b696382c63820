"""Progress on stderr: bars on a terminal, else one line per finished trial."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from askew._files import visible
from askew.tradeoffs import Arm, Watcher


class _Bar:
    """A progress bar of one line, shown on a terminal only."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
            transient=True,
        )
        self.line = self.bar.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.bar.disable:  # a bar that was never shown ends with an empty line in rich 13
            self.bar.stop()

    def print(self, text: str) -> None:
        if not self.quiet:
            self.console.print(visible(text), highlight=False, markup=False)


class _Watching(_Bar, Watcher):
    """A bar that also prints what is known so far."""

    def so_far(self, text: str) -> None:
        """Print a line."""
        self.print(f"  {text}")


class ComparisonProgress(_Watching):
    """Shows the progress of a comparison.

    Args:
        arms: All arms.
        seeds: All seeds.
        quiet: Show nothing.
    """

    def __init__(self, arms: Sequence[Arm], seeds: Sequence[int], *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.num_trials = len(arms) * len(seeds)
        self.finished: set[tuple[str, int]] = set()

    def stage(self, name: str) -> None:
        """Show the name of the current stage."""
        self.bar.update(self.line, description=name)
        self.print(f"{name} …")

    def trials(self, done: Mapping[tuple[str, int], int], steps: Mapping[str, int]) -> None:
        """Show the finished steps and trials."""
        for (arm, seed), count in done.items():
            if count == steps[arm] and (arm, seed) not in self.finished:
                self.finished.add((arm, seed))
                self.print(f"  {len(self.finished)}/{self.num_trials} {arm}, seed {seed}")
        self.bar.update(
            self.line,
            completed=sum(done.values()),
            total=sum(steps[arm] for arm, _ in done),
            description=f"training, {len(self.finished)}/{self.num_trials} trials done",
        )

    def costs(self, done: int, total: int) -> None:
        """Show the finished measurements."""
        self.bar.update(self.line, completed=done, total=total)


class SearchProgress(_Watching):
    """Shows the progress of a search and of its confirmation."""

    def stage(self, name: str) -> None:
        """Show the name of the current stage."""
        self.bar.update(self.line, description=name, completed=0, total=None)
        self.print(f"{name} …")

    def trials(self, done: Mapping[tuple[str, int], int], steps: Mapping[str, int]) -> None:
        """Show the finished steps of the confirmation."""
        total = sum(steps[arm] for arm, _ in done)
        self.bar.update(self.line, completed=sum(done.values()), total=total)

    def costs(self, done: int, total: int) -> None:
        """Show the finished candidates or measurements."""
        self.bar.update(self.line, completed=done, total=total)


class TrainingProgress(_Bar):
    """Shows the progress of one training; called with the number of steps done and of all."""

    speed = ""
    doing = "training"

    def stage(self, name: str) -> None:
        """Show the name of the current stage."""
        self.doing, self.speed = name, ""
        self.bar.update(self.line, description=name, completed=0, total=None)
        self.print(f"{name} …")

    def __call__(self, step: int, steps: int) -> None:
        """Show the finished steps."""
        text = f"{self.doing}{self.speed}"
        self.bar.update(self.line, completed=step, total=steps, description=text)

    def record(self, record: Mapping[str, float]) -> None:
        """Show the losses and the speed of the newest record."""
        if "loss" in record:
            self.speed = f", loss {record['loss']:.3f}"
        if "tokens_per_second" in record:
            self.speed += f", {record['tokens_per_second']:,.0f} tokens/s"
        if "eval_loss" in record:
            self.print(f"  step {record['step']}{self.speed}, validation {record['eval_loss']:.4f}")


class LineProgress(_Bar):
    """Shows the progress of work on lines.

    Args:
        what: Name of the work.
        quiet: Show nothing.
    """

    def __init__(self, what: str, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.bar.update(self.line, description=what)

    def reach(self, done: int, total: int) -> None:
        """Show the finished lines."""
        self.bar.update(self.line, completed=done, total=total)
