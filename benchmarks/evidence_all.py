"""Which measured figures are older than the code that they depend on?

    python benchmarks/evidence_all.py             # a line for each section of docs/evidence.md
    python benchmarks/evidence_all.py --changes   # and the files that changed since

A section depends on the scripts and applications that its commands name, and on all files of the
library that these import, directly or not; what only prints or draws is left out. Its age is that
of its newest row of figures in git. Changed code need not change figures: read what changed.
"""

import argparse
import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
SOURCE, PAGE = ROOT / "src", ROOT / "docs" / "evidence.md"
_SCRIPT = re.compile(r"python (benchmarks/\w+\.py)")
_COMMAND = re.compile(r"\baskew (train|compare|find|shrink|evaluate|export)(?: ([a-z]+)\b)?")
_TABLES = ("multilabel", "imbalanced", "retrieval")
_ENGINE = {"compare": "_compare", "find": "_find"}
_SHOWN = ("src/askew/cli/", "src/askew/tradeoffs/_report/", "src/askew/inspection/")


class Section(NamedTuple):
    """A section of the page.

    Attributes:
        title: Its heading.
        lines: Numbers of its first and last line.
        text: Its lines.
    """

    title: str
    lines: tuple[int, int]
    text: str

    def entries(self) -> set[Path]:
        """Return the scripts and modules that its commands begin with."""
        found = {ROOT / name for name in _SCRIPT.findall(self.text)}
        for command, name in _COMMAND.findall(self.text):
            found |= set(_modules_of(command, name))
        return {path for path in found if path.exists()}

    def measured(self) -> tuple[str, str]:
        """Return commit and date of its newest row of figures."""
        rows = [n for n, line in self._numbered() if line.startswith("|")]
        chosen = rows or [n for n, _ in self._numbered()]
        arguments = [f"-L{n},{n}" for n in chosen]
        blamed = git("blame", "--porcelain", *arguments, str(PAGE))
        times = dict(re.findall(r"^([0-9a-f]{40}) .*?^committer-time (\d+)", blamed, re.S | re.M))
        newest = max(times, key=lambda commit: int(times[commit]))
        return newest, git("show", "-s", "--format=%cs", newest)

    def _numbered(self) -> list[tuple[int, str]]:
        return list(enumerate(self.text.splitlines(), self.lines[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", action="store_true", help="name the files that changed")
    options = parser.parse_args()
    table = Table(box=None)
    for name in ("section", "measured", "files", "changed since"):
        table.add_column(name)
    for section in sections():
        entries = section.entries()
        if not entries:
            table.add_row(section.title, "", "", "no command")
            continue
        needed = dependencies(entries)
        commit, date = section.measured()
        changed = changed_since(commit, needed)
        shown = "nothing" if not changed else f"{len(changed)} files"
        if options.changes and changed:
            shown += "\n" + "\n".join(changed)
        table.add_row(section.title, date, str(len(needed)), shown)
    Console().print(table)


def sections() -> list[Section]:
    """Read the sections of the page."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("## ")]
    return [
        Section(lines[start][3:], (start + 1, end), "\n".join(lines[start:end]))
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)
    ]


def dependencies(entries: set[Path]) -> set[Path]:
    """Return files and all that they import of this project, without what shows results."""
    reached, left = set(), list(entries)
    while left:
        path = left.pop()
        if path not in reached and not relative(path).startswith(_SHOWN):
            reached.add(path)
            left += imported(path)
    return reached


def changed_since(commit: str, needed: set[Path]) -> list[str]:
    """Name the files that changed after a commit."""
    changed = git("diff", "--name-only", commit, "--", *map(str, sorted(needed)))
    return changed.splitlines()


@cache
def imported(path: Path) -> tuple[Path, ...]:
    """Return the files of the project that a file imports, in any of its functions."""
    found: list[Path] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found += _file_of(node.module, alias.name, path.parent)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found += _file_of(alias.name, "", path.parent)
    return tuple(found)


def _file_of(module: str, name: str, beside: Path) -> Iterator[Path]:
    """Yield the file that defines a name of a module, if it is of this project."""
    base = SOURCE.joinpath(*module.split("."))
    candidates = (base.with_suffix(".py"), base / f"{name}.py", beside / f"{module}.py")
    for file in candidates:
        if file.is_file():
            yield file
            return
    if (base / "__init__.py").is_file() and name in _exports(base / "__init__.py"):
        yield _exports(base / "__init__.py")[name]


@cache
def _exports(package: Path) -> dict[str, Path]:
    """Return the file of each name that a package exports."""
    exported = {}
    for node in ast.walk(ast.parse(package.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                for file in _file_of(node.module, alias.name, package.parent):
                    exported[alias.asname or alias.name] = file
    return exported


def _modules_of(command: str, name: str) -> Iterator[Path]:
    """Yield where a command of the library begins."""
    tasks = SOURCE / "askew" / "tasks"
    if command in _ENGINE:
        yield SOURCE / "askew" / "tradeoffs" / f"{_ENGINE[command]}.py"
    if command in ("train", "shrink"):
        yield tasks / f"_{command}.py"
    if command == "export":
        yield SOURCE / "askew" / "export" / "_ctranslate2.py"
    application = {"qa": "_qa", "labels": "_text_label"} | dict.fromkeys(_TABLES, "_table")
    yield tasks / f"{application.get(name, '_translation')}_application.py"


def git(*arguments: str) -> str:
    call = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


if __name__ == "__main__":
    main()
