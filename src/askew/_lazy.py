"""Packages whose names are imported on first use, so that commands load only what they use."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def on_first_use(
    package: str, names: Sequence[str], homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of a package.

    Args:
        package: Its name.
        names: All its public names.
        homes: For each module that holds some, those names, with spaces between.

    Returns:
        Both functions.
    """
    places = {name: home for home, held in homes.items() for name in held.split()}

    def get(name: str) -> object:
        if name in places:
            return getattr(import_module(places[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*vars(import_module(package)), *names})
