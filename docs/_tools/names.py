"""Lists every public name with its one-line summary, in the docstring of the package."""

from collections.abc import Iterator
from typing import Any

import griffe


def summary(found: griffe.Object | griffe.Alias) -> str:
    """Return the first paragraph of a docstring as one line that fits into a table."""
    text = found.docstring.value if found.docstring is not None else ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def listed(package: griffe.Module) -> Iterator[str]:
    """Yield a heading and a table for each package inside, a row for each name of `__all__`."""
    for name in map(str, package.exports or ()):
        module = package[name]
        yield f"## {module.path}\n\n{summary(module)}\n\n| name | summary |\n|---|---|"
        for each in sorted(map(str, module.exports or ()), key=str.lower):
            yield f"| [`{each}`][{module.path}.{each}] | {summary(module[each])} |"
        yield ""


class Names(griffe.Extension):
    """Appends the list to the docstring of the package, which the index of names shows."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Append the list when everything in the package is read."""
        if pkg.docstring is not None:
            pkg.docstring.value += "\n\n" + "\n".join(listed(pkg))
