"""Progress on stderr: bars on a terminal, else one line per finished trial."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from askew._files import visible
from askew.cli._streams import make_console
from askew.tradeoffs import Arm, Watcher

_EVERY = 20.0  # seconds between two lines of progress where no bar is shown


class _Bar:
    """A progress bar of one line on a terminal; elsewhere a line from time to time."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.console = make_console(stderr=True)
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
        self.name = "starting"
        self.told = time.monotonic()

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

    def begin(self, name: str, *, told: bool = True) -> None:
        """Show the name of the work that begins."""
        self.name = name
        self.bar.update(self.line, description=name, completed=0, total=None)
        if told:
            self.print(f"{name} …")

    def reach(self, done: int, total: int, *, shown: str | None = None) -> None:
        """Show how much of the work is done."""
        self.bar.update(self.line, completed=done, total=total, description=shown or self.name)
        now = time.monotonic()
        if self.bar.disable and now - self.told >= _EVERY:
            self.told = now
            self.print(f"  {shown or self.name}: {done:,} of {total:,}")

    def print(self, text: str) -> None:
        if not self.quiet:
            self.console.print(visible(text), highlight=False, markup=False)


class _Watching(_Bar, Watcher):
    """A bar that also prints what is known so far."""

    def stage(self, name: str) -> None:
        """Show the name of the current stage."""
        self.begin(name)

    def costs(self, done: int, total: int) -> None:
        """Show the finished measurements, tries or candidates."""
        self.reach(done, total)

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

    def trials(self, done: Mapping[tuple[str, int], int], steps: Mapping[str, int]) -> None:
        """Show the finished steps and trials."""
        for (arm, seed), count in done.items():
            if count == steps[arm] and (arm, seed) not in self.finished:
                self.finished.add((arm, seed))
                self.print(f"  {len(self.finished)}/{self.num_trials} {arm}, seed {seed}")
        self.reach(
            sum(done.values()),
            sum(steps[arm] for arm, _ in done),
            shown=f"training, {len(self.finished)}/{self.num_trials} trials done, steps",
        )


class SearchProgress(_Watching):
    """Shows the progress of a search and of its confirmation."""

    def trials(self, done: Mapping[tuple[str, int], int], steps: Mapping[str, int]) -> None:
        """Show the finished steps of the confirmation."""
        self.reach(sum(done.values()), sum(steps[arm] for arm, _ in done))


class TrainingProgress(_Bar):
    """Shows the progress of one training; called with the number of steps done and of all."""

    speed = ""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.begin("training", told=False)

    def stage(self, name: str) -> None:
        """Show the name of the current stage."""
        self.speed = ""
        self.begin(name)

    def __call__(self, step: int, steps: int) -> None:
        """Show the finished steps."""
        self.reach(step, steps, shown=f"{self.name}{self.speed}")

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
        self.begin(what, told=False)
