"""Every Python example of the documentation runs."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

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


def test_the_page_of_speeds_is_that_of_the_stored_results():
    script = ROOT / "benchmarks" / "all.py"
    names: dict[str, object] = {"__name__": "all", "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), script, "exec"), names)
    page = names["page"]()
    assert (ROOT / "docs" / "speed.md").read_text(encoding="utf-8") == page
    assert page.count("**") // 2 == 2 * page.split("## Where we lose")[1].count("**") // 2
