"""A piece of work that a process or a worker of a cluster does."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Work(NamedTuple):
    """What a process does: it stores its result, and keeps its checkpoints in a folder.

    Attributes:
        name: Of the folder, `work/NAME` of the run.
        run: Called with the arguments, the settings and `out`, the folder of the run. It stores its
            result in another sub-folder of `out` than `work`.
        arguments: The task, the same for all work of a run, and more.
        settings: Passed by keyword.
    """

    name: str
    run: Callable[..., None]
    arguments: tuple[Any, ...]
    settings: Mapping[str, Any]
