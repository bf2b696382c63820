"""The examples of the page run and print the output that the page shows."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "optim.md"


def test_the_code_of_the_page_runs_and_prints_its_table(capsys):
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w*)\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, object] = {}
    for code in (text for kind, text in blocks if kind == "python"):
        exec(compile(code, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    tables = [text for kind, text in blocks if not kind and text.startswith("part ")]
    assert tables
    assert all(table in printed for table in tables)
