"""Makes the notebooks and the pages of the course from one source for both languages.

python docs/_tools/course.py             # names the files that are not what the sources say
python docs/_tools/course.py --write     # runs sources whose code has changed, writes all files
python docs/_tools/course.py --run 2 5   # runs these again first

A source is a script of cells (the percent format of jupytext). A cell of text names its language;
a cell of code is for both. So the code runs once, and both notebooks show the same outputs.
"""

import argparse
import hashlib
import io
import os
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

COURSE = Path(__file__).parents[1] / "course"
SOURCES = sorted((COURSE / "source").glob("*.py"))
LANGUAGES = {
    "en": "[Download the notebook]({name}.ipynb) · [Em português](../pt/{name}.md)",
    "pt": "[Baixe o notebook]({name}.ipynb) · [In English](../en/{name}.md)",
}
_PNG = "image/png"
_SECONDS = 300
_COLOURS = 96

Outputs = list[list[NotebookNode]]


def read_cells(source: Path) -> list[NotebookNode]:
    """Return the cells of a source; those of text have a `lang` in their metadata."""
    return jupytext.read(source, fmt="py:percent").cells


def code_of(cells: list[NotebookNode]) -> list[str]:
    """Return the code of every cell of code."""
    return [cell.source for cell in cells if cell.cell_type == "code"]


def digest(code: list[str]) -> str:
    """Return a hash of code, by which outputs belong to it."""
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def run(code: list[str]) -> Outputs:
    """Run code in a new kernel and an empty folder, without a network and on one thread."""
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, code)))
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment |= {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    environment["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm asks for ipywidgets
    with tempfile.TemporaryDirectory() as folder:
        settings = {"kernel_name": "python3", "timeout": _SECONDS, "record_timing": False}
        client = NotebookClient(notebook, resources={"metadata": {"path": folder}}, **settings)
        client.execute(env=environment)
    for cell in notebook.cells:
        for output in cell.outputs:
            output.pop("execution_count", None)
            if _PNG in output.get("data", {}):
                output.data[_PNG] = _smaller(output.data[_PNG])
    return [cell.outputs for cell in notebook.cells]


def stored_outputs(source: Path) -> Outputs | None:
    """Return the outputs in the notebook of a source, if they are those of its code."""
    path = COURSE / "en" / f"{source.stem}.ipynb"
    if not path.is_file():
        return None
    notebook = nbformat.read(path, as_version=4)
    if notebook.metadata.askew.code != digest(code_of(read_cells(source))):
        return None
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def files_of(source: Path, outputs: Outputs) -> dict[Path, bytes]:
    """Return all files that are made of a source: notebooks, pages and pictures."""
    files: dict[Path, bytes] = {}
    for language, links in LANGUAGES.items():
        notebook = _notebook(source, language, outputs)
        page = links.format(name=source.stem) + "\n\n" + "\n\n".join(_page(notebook, source)) + "\n"
        folder = COURSE / language
        files[folder / f"{source.stem}.ipynb"] = (nbformat.writes(notebook) + "\n").encode()
        files[folder / f"{source.stem}.md"] = page.encode()
    for name, picture in _pictures(source, outputs):
        files[COURSE / "pictures" / name] = picture
    return files


def _notebook(source: Path, language: str, outputs: Outputs) -> NotebookNode:
    cells, given = read_cells(source), iter(outputs)
    shown, runs = [], 0
    for number, cell in enumerate(cells):
        if cell.cell_type == "code":
            runs += 1
            here = [NotebookNode(output) for output in next(given)]
            for output in here:
                if output.output_type == "execute_result":
                    output.execution_count = runs
            new = nbformat.v4.new_code_cell(cell.source, outputs=here, execution_count=runs)
        elif cell.metadata.lang == language:
            new = nbformat.v4.new_markdown_cell(cell.source)
        else:
            continue
        new.id = f"cell-{number}"
        shown.append(new)
    notebook = nbformat.v4.new_notebook(cells=shown)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = {"source": source.name, "code": digest(code_of(cells))}
    notebook.metadata.update(kernelspec=kernel, language_info={"name": "python"}, askew=made)
    nbformat.validate(notebook)
    return notebook


def _page(notebook: NotebookNode, source: Path) -> Iterator[str]:
    """Yield the blocks of a Markdown page."""
    heading, shown = "", 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield cell.source.replace(".ipynb)", ".md)")  # a link to the next page
            heading = next(
                (line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")),
                heading,
            )
            continue
        yield f"```python\n{cell.source}\n```"
        for output in cell.outputs:
            if _PNG in output.get("data", {}):
                shown += 1
                yield f"![{heading}](../pictures/{source.stem}_{shown}.png)"
            else:
                text = output.text if output.output_type == "stream" else output.data["text/plain"]
                yield f"```text\n{text.rstrip()}\n```"


def _pictures(source: Path, outputs: Outputs) -> Iterator[tuple[str, bytes]]:
    data = [output.get("data", {}).get(_PNG) for cell in outputs for output in cell]
    for number, picture in enumerate(filter(None, data), 1):
        yield f"{source.stem}_{number}.png", b64decode(picture)


def _smaller(picture: str) -> str:
    """Return a picture with few colours: curves and text need no more."""
    from PIL import Image

    image = Image.open(io.BytesIO(b64decode(picture))).convert("RGB")
    file = io.BytesIO()
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return b64encode(file.getvalue()).decode()


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write what differs")
    parser.add_argument("--run", nargs="+", default=[], help="numbers of sources to run again")
    return parser.parse_args()


def main() -> None:
    """Compare the files with their sources, or write them."""
    arguments, differ = _arguments(), []
    for source in SOURCES:
        outputs = stored_outputs(source)
        again = source.stem.split("_")[0] in arguments.run
        if again or (outputs is None and arguments.write):
            began = time.monotonic()
            outputs = run(code_of(read_cells(source)))
            print(f"{source.name}: ran in {time.monotonic() - began:.0f} s", flush=True)
        if outputs is None:
            differ.append(f"{source.name}: its code has changed, run it again")
            continue
        for path, content in files_of(source, outputs).items():
            if not path.is_file() or path.read_bytes() != content:
                if arguments.write or again:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                else:
                    differ.append(f"{path.relative_to(COURSE)}: not what its source says")
    if differ:
        raise SystemExit("\n".join(differ))


if __name__ == "__main__":
    main()
