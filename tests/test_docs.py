"""Every Python example of the documentation runs."""

import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from askew.cli import app

ROOT = Path(__file__).parents[1]
EXTENDING = ROOT / "docs" / "extending.md"
PAGES = [ROOT / "README.md", *sorted({*(ROOT / "docs").glob("*.md")} - {EXTENDING})]
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
SHOWN = re.compile(
    r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", flags=re.MULTILINE | re.DOTALL
)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page):
    """The blocks of a page build on one another."""
    names: dict[str, object] = {}
    for code in BLOCK.findall(page.read_text(encoding="utf-8")):
        exec(compile(code, page.name, "exec"), names)


@pytest.mark.parametrize("page", ["README.md", "README.pt-BR.md"])
def test_the_first_commands_print_what_stands_under_them(page, monkeypatch):
    """A score and the place of a sentence change with the documentation; the words do not."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("COLUMNS", raising=False)
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.findall(r"^```sh\naskew ([^\n]*)\n```\n\n```text\n(.*?)^```", text, re.M | re.S)
    assert [command.split()[0] for command, _ in shown] == ["search", "compare"]
    for command, lines in shown:
        done = CliRunner().invoke(app, shlex.split(command))
        assert done.exit_code == 0, done.stderr
        printed = " ".join(done.stdout.split())
        for line in lines.splitlines():
            line = re.sub(r"^ +[\d.]+  (\S+):\d+:\d+-\d+$", r"\1", line)
            for piece in filter(None, line.split("…")):
                assert " ".join(piece.split()) in printed


def test_what_the_blocks_of_a_guide_print_stands_under_them():
    """Numbers may differ between versions of torch; words may not."""
    page = EXTENDING.read_text(encoding="utf-8")
    names: dict[str, object] = {}
    shown, printed = [], []
    for code, output in SHOWN.findall(page):
        text = StringIO()
        with redirect_stdout(text):
            exec(compile(code, "extending.md", "exec"), names)
        shown.append(NUMBER.sub("0", output))
        printed.append(NUMBER.sub("0", text.getvalue()))
    assert len(list(filter(None, shown))) == 5
    assert printed == shown


def benchmark(name: str) -> dict[str, Any]:
    """The names of a script of the benchmarks."""
    script = ROOT / "benchmarks" / f"{name}.py"
    names: dict[str, Any] = {"__name__": name, "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), script, "exec"), names)
    return names


def test_the_page_of_speeds_is_that_of_the_stored_results():
    page = benchmark("all")["page"]()
    assert (ROOT / "docs" / "speed.md").read_text(encoding="utf-8") == page
    assert page.count("**") // 2 == 2 * page.split("## Where we lose")[1].count("**") // 2


def test_the_age_of_evidence_is_that_of_all_code_that_it_needs():
    names = benchmark("evidence_all")
    sections = {section.title: section for section in names["sections"]()}
    assert sections.keys() == set(
        re.findall(r"^## (.+)$", (ROOT / "docs" / "evidence.md").read_text("utf-8"), re.M)
    )
    losses = sections["Losses for wrong labels, long tails and unequal prices"]
    needed = {names["relative"](path) for path in names["dependencies"](losses.entries())}
    assert "benchmarks/evidence_parts.py" in needed
    assert {"src/askew/losses/_linex.py", "src/askew/_reduction.py"} <= needed  # and through it
    assert not [path for path in needed if path.startswith(names["_SHOWN"])]
    assert "src/askew/models/_qa.py" not in needed
