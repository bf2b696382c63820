"""Every Python example of the documentation runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page):
    """The blocks of a page build on one another."""
    names: dict[str, object] = {}
    for code in BLOCK.findall(page.read_text(encoding="utf-8")):
        exec(compile(code, page.name, "exec"), names)


def test_the_page_of_speeds_is_that_of_the_stored_results():
    script = ROOT / "benchmarks" / "all.py"
    names: dict[str, object] = {"__name__": "all", "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), script, "exec"), names)
    page = names["page"]()
    assert (ROOT / "docs" / "speed.md").read_text(encoding="utf-8") == page
    assert page.count("**") // 2 == 2 * page.split("## Where we lose")[1].count("**") // 2
