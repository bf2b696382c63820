"""The table of `docs/security.md` names the tests that hold, and every file of attacks."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "security.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## What was attacked")[2].partition("\n## ")[0]
ROWS = [line for line in TABLE.splitlines() if line.startswith("| ") and "`test_" in line]
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", TABLE)))


def functions_in(file: str) -> set[str]:
    (path,) = HERE.parent.rglob(file)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_what_the_table_names_is_a_test(file, name):
    functions = functions_in(file)
    assert not name or name in functions


def test_every_attack_has_its_test_and_every_file_its_row():
    assert len(ROWS) == TABLE.count("\n| ") - 1  # the head
    files = {path.name for path in HERE.glob("test_*.py")} - {Path(__file__).name}
    assert files <= {file for file, _ in NAMED}
