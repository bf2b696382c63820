"""What receives the progress of a comparison."""

from collections.abc import Mapping


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

    def so_far(self, text: str) -> None:
        """Receive what is known so far.

        Args:
            text: Of a comparison, after each seed with which all arms are trained, the difference
                of a challenger on the metric that decides; of a search, after each rung, the best
                candidate of a family.
        """

    def costs(self, done: int, total: int) -> None:
        """Receive the progress of tuning or of measuring.

        Args:
            done: Measurements done.
            total: Measurements in all.
        """
