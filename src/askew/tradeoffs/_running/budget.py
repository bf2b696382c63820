"""How long trials train, and what receives their progress."""

from collections.abc import Mapping
from dataclasses import dataclass

from askew._check import require


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The training budget of every trial: steps, or CPU-minutes that are turned into steps once.

    Attributes:
        steps: Optimizer steps.
        minutes: CPU-minutes of training, > 0.

    Raises:
        ValueError: Unless exactly one is given, and positive.

    Example:
        >>> Budget(steps=100).steps
        100
        >>> Budget(steps=100, minutes=2.0)
        Traceback (most recent call last):
        ValueError: Budget: exactly one of steps and minutes must be given, and positive; g...
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.minutes) if value is not None]
        require(
            len(given) == 1 and given[0] > 0,
            "Budget: exactly one of steps and minutes must be given, and positive; "
            f"got steps {self.steps}, minutes {self.minutes}",
        )


class Watcher:
    """Receives the progress of a comparison; this one ignores it, for subclasses to override.

    Example:
        >>> class Prints(Watcher):
        ...     def stage(self, name):
        ...         print(name)
        >>> Prints().stage("training")
        training
    """

    def stage(self, name: str) -> None:
        """Receive the name of the stage that begins.

        Args:
            name: Such as "training".
        """

    def trials(self, done: Mapping[tuple[str, int], int], steps: Mapping[str, int]) -> None:
        """Receive the progress of the trials.

        Args:
            done: Steps done by arm and seed.
            steps: Steps in all by arm.
        """

    def costs(self, done: int, total: int) -> None:
        """Receive the progress of tuning or of measuring.

        Args:
            done: Measurements done.
            total: Measurements in all.
        """
