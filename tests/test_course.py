"""The notebooks of the course are what their sources say, show what they promise, and run."""

import importlib.util
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "docs" / "course"
LINK = re.compile(r"\]\(([^)\s]+)\)")
SOURCES = sorted((COURSE / "source").glob("*.py"))
NOTEBOOKS = sorted(COURSE.glob("*/*.ipynb"))


def load_tool():
    spec = importlib.util.spec_from_file_location("course", ROOT / "docs/_tools/course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


def each(paths):
    return pytest.mark.parametrize(
        "path", paths, ids=lambda path: f"{path.parent.name}-{path.stem}"
    )


def cells_of(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def test_there_are_six_notebooks_in_both_languages():
    names = [path.stem for path in SOURCES]
    assert [name[0] for name in names] == list("123456")
    assert [path.stem for path in NOTEBOOKS] == names * 2


@each(SOURCES)
def test_the_files_are_those_that_the_source_makes(path):
    outputs = TOOL.stored_outputs(path)
    assert outputs is not None, "its code has changed: python docs/_tools/course.py --write"
    for made, content in TOOL.files_of(path, outputs).items():
        assert made.read_bytes() == content, f"{made}: python docs/_tools/course.py --write"


def test_outputs_of_other_code_are_not_taken(tmp_path):
    source = tmp_path / SOURCES[0].name
    text = SOURCES[0].read_text(encoding="utf-8")
    source.write_text(text, encoding="utf-8")
    assert TOOL.stored_outputs(source) is not None
    source.write_text(text.replace("manual_seed(0)", "manual_seed(1)"), encoding="utf-8")
    assert TOOL.stored_outputs(source) is None


def test_no_file_is_left_over():
    made = {file for path in SOURCES for file in TOOL.files_of(path, TOOL.stored_outputs(path))}
    kept = {path for path in COURSE.rglob("*.*") if path.name != "index.md"} - set(SOURCES)
    assert {path for path in kept if "__pycache__" not in path.parts} == made


@each(SOURCES)
def test_every_text_is_there_in_both_languages(path):
    cells = TOOL.read_cells(path)
    languages = [cell.metadata.lang for cell in cells if cell.cell_type == "markdown"]
    assert languages == ["en", "pt"] * (len(languages) // 2)
    english, portuguese = (
        [
            marks
            for cell in cells
            if cell.metadata.get("lang") == language
            for marks in re.findall(r"^#+ |^\|", cell.source, flags=re.MULTILINE)
        ]
        for language in ("en", "pt")
    )
    assert english == portuguese
    assert english[0] == "# "
    assert english.count("## ") >= 3


@each(NOTEBOOKS)
def test_a_notebook_is_small_and_every_cell_shows_something(path):
    nbformat.validate(nbformat.read(path, as_version=4))
    assert path.stat().st_size < 200_000
    pictures = 0
    for cell in cells_of(path, "code"):
        begins = cell.source.startswith(("import ", "from ", "def ", "class "))
        assert cell.outputs or begins, cell.source
        for output in cell.outputs:
            assert output.output_type in ("stream", "display_data", "execute_result"), output
            assert output.get("name") != "stderr", output.text
            pictures += "image/png" in output.get("data", {})
    assert pictures >= 2


@each(NOTEBOOKS)
def test_every_section_of_a_notebook_ends_in_something_to_look_at(path):
    sections: list[list[str]] = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            sections.append([])
        if sections:
            shown = cell.get("outputs") or re.search(r"^\|", cell.source, flags=re.MULTILINE)
            sections[-1].append("shown" if shown else "")
    assert all("shown" in section for section in sections[:-1])


def test_both_languages_have_the_same_code_and_outputs():
    for english in NOTEBOOKS[:6]:
        portuguese = COURSE / "pt" / english.name
        assert english.parent.name == "en"
        assert cells_of(english, "code") == cells_of(portuguese, "code"), english.name


@each(NOTEBOOKS)
def test_the_links_of_a_notebook_lead_somewhere(path):
    links = [link for cell in cells_of(path, "markdown") for link in LINK.findall(cell.source)]
    assert links
    for link in links:
        address = urlsplit(link)
        assert address.scheme or (path.parent / address.path).is_file(), link


def test_the_pictures_are_small():
    sizes = [path.stat().st_size for path in COURSE.rglob("*.png")]
    assert max(sizes) < 40_000
    assert sum(sizes) < 400_000


@pytest.mark.slow
@each(SOURCES)
def test_a_notebook_runs_from_scratch(path, monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    outputs = TOOL.run(TOOL.code_of(TOOL.read_cells(path)))
    kinds, stored = (
        [[output.output_type for output in cell] for cell in cells]
        for cells in (outputs, TOOL.stored_outputs(path))
    )
    assert kinds == stored
