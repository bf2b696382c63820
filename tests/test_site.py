"""The documentation is built as a site without a complaint, and none of its links is dead."""

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from base64 import b64decode
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from typer.main import get_command

import askew
from askew.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TEXTS = sorted(ROOT.glob("*.md"))
TEXTS += sorted(DOCS.rglob("*.md"))
QUIET = re.compile(r"(Build started|No issues found|Build finished in [\d.]+m?s)?")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FENCE = re.compile(r"^ *```.*?^ *```", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SNIPPET = re.compile(r"-{2,} ?8 ?< ?-{2,}")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built from a copy, so that nothing is left in the checkout."""
    for needed in ("zensical", "mkdocstrings_handlers.python", "latex2mathml"):
        pytest.importorskip(needed)
    root = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", root)
    for folder in ("docs", "examples", "src"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
    )
    # Strict counts zensical's own findings alone; those of docstrings are lines of their own.
    lines = COLOUR.sub("", done.stdout + done.stderr).splitlines()
    complaints = [line for line in lines if not QUIET.fullmatch(line.strip())]
    assert (done.returncode, complaints) == (0, [])
    return root / "site"


class Page(HTMLParser):
    """The text and the anchors of a page, and where it points."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := given.get(key))}
        target = given.get("href") or given.get("src")
        if target is not None and tag != "base":
            self.links.append(target)
            if tag in ("img", "script", "link", "iframe", "source"):
                self.loaded.append(target)


page_of = cache(Page)


def dead_links(site: Path) -> list[str]:
    """Every link of every page that leads to no file, or to no anchor of one."""
    dead = []
    for path in sorted(site.rglob("*.html")):
        for link in page_of(path).links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            base = site if address.path.startswith("/") else path.parent
            name = unquote(address.path).lstrip("/")
            target = (base / name).resolve() if address.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                dead.append(f"{path.relative_to(site)}: {link}")
                continue
            fragment = unquote(address.fragment) if target.suffix == ".html" else ""
            if fragment and fragment not in page_of(target).anchors:
                dead.append(f"{path.relative_to(site)}: {link}")
    return dead


@pytest.mark.slow
def test_no_link_of_the_site_is_dead(site):
    assert len(list(site.rglob("*.html"))) > 30
    assert dead_links(site) == []


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site):
    for path in site.rglob("*.html"):
        assert not [link for link in page_of(path).loaded if urlsplit(link).netloc], path
    for path in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", path.read_text()), path


@pytest.mark.slow
@pytest.mark.parametrize("name", askew.__all__)
def test_every_public_name_has_its_place_in_the_reference(site, name):
    page = site / "api" / f"{name}.html"
    assert page.is_file(), f"docs/api/{name}.md is missing"
    names = importlib.import_module(f"askew.{name}").__all__
    anchors = page_of(page).anchors
    assert [each for each in names if f"askew.{name}.{each}" not in anchors] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", askew.__all__)
def test_every_public_name_is_in_the_index_with_a_summary(site, name):
    page = (site / "api" / "names.html").read_text(encoding="utf-8")
    rows = dict(
        re.findall(rf'href="{name}\.html#askew\.{name}\.(\w+)".*?</td>\s*<td>(.*?)</td>', page)
    )
    assert rows.keys() == set(importlib.import_module(f"askew.{name}").__all__)
    assert [each for each, summary in rows.items() if len(summary.split()) < 3] == []


@pytest.mark.slow
def test_a_file_that_a_page_includes_is_shown_on_it(site):
    example = (ROOT / "examples/compare_two_models.py").read_text(encoding="utf-8")
    assert example.strip() in page_of(site / "example.html").text


@pytest.mark.slow
def test_no_page_shows_the_tag_of_a_snippet(site):
    shown = [path.name for path in site.rglob("*.html") if SNIPPET.search(page_of(path).text)]
    assert shown == []


@pytest.mark.slow
def test_formulas_and_examples_of_docstrings_are_rendered(site):
    page = (site / "api" / "losses.html").read_text(encoding="utf-8")
    assert page.count("<math") > 50
    assert ":math:" not in page
    assert ".. math::" not in page
    for path in (site / "api").glob("*.html"):
        assert "<blockquote>" not in path.read_text(encoding="utf-8"), path


@pytest.mark.slow
def test_every_function_that_draws_shows_its_picture(site):
    page = (site / "api" / "inspection.html").read_text(encoding="utf-8")
    drawing = [name for name in askew.inspection.__all__ if name.startswith("plot_")]
    after = re.split(r'id="askew\.inspection\.(\w+)"', page)[1:]
    sections = dict(zip(after[::2], after[1::2], strict=True))
    pictures = {
        name: re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', text)
        for name, text in sections.items()
    }
    assert [name for name in drawing if len(pictures[name]) != 1] == []
    drawn = [b64decode(pictures[name][0]) for name in drawing]
    assert len(set(drawn)) == len(drawing)
    assert all(b"<svg" in one and len(one) > 5000 for one in drawn)


def listed(entry: object) -> set[str]:
    """The pages of a navigation."""
    if isinstance(entry, str):
        return {entry}
    inner = entry.values() if isinstance(entry, dict) else entry
    return set().union(*map(listed, inner))


def test_every_page_is_in_the_navigation():
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert listed(config["project"]["nav"]) == pages


def slug(heading: str) -> str:
    """The anchor that code hosts give a heading."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def headings(path: Path) -> set[str]:
    prose = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {slug(line) for line in re.findall(r"^#+ (.*)$", prose, flags=re.MULTILINE)}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_the_texts_lead_somewhere(path):
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))
    for link in LINK.findall(prose):
        address = urlsplit(link)
        if address.scheme:
            continue
        target = path.parent / address.path if address.path else path
        api = DOCS / "api"
        assert target.exists(), f"{link} of {path.name}"
        if address.fragment and target.suffix == ".md" and target.parent.resolve() != api:
            assert address.fragment in headings(target), f"{link} of {path.name}"


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    fenced = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r" +# .*", "", block) for block in fenced]


@pytest.mark.parametrize("language", ["sh", "python"])
def test_the_portuguese_readme_has_the_same_commands(language):
    assert blocks("README.md", language)
    assert blocks("README.pt-BR.md", language) == blocks("README.md", language)


def figures(name: str, *, portuguese: bool = False) -> list[float]:
    """Every number of the prose and tables, sorted."""
    text = FENCE.sub("", (ROOT / name).read_text(encoding="utf-8"))
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text)
    point, comma = ("[.]", ",") if portuguese else (",", "[.]")
    number = rf"(?<![\w.,])\d{{1,3}}(?:{point}\d{{3}})+(?!\d)|\d*{comma}\d+|\d+(?:\.\d+)*"
    numbers = []
    for figure in re.findall(number, text):
        if re.fullmatch(rf"\d{{1,3}}(?:{point}\d{{3}})+", figure):
            figure = re.sub(point, "", figure)
        numbers.append(float(figure.replace(",", ".")))
    return sorted(numbers)


def test_the_portuguese_readme_has_the_same_figures():
    assert len(figures("README.md")) > 70
    assert figures("README.pt-BR.md", portuguese=True) == figures("README.md")


def test_the_portuguese_readme_has_the_same_links():
    english, portuguese = (
        sorted(LINK.findall((ROOT / name).read_text(encoding="utf-8")))
        for name in ("README.md", "README.pt-BR.md")
    )
    assert [link for link in portuguese if link != "README.md"] == english


def test_intervals_of_the_guide_are_those_of_the_evidence():
    guide, evidence = (
        " ".join((DOCS / name).read_text(encoding="utf-8").split())
        for name in ("choosing.md", "evidence.md")
    )
    number = r"[+−]?\d+\.\d+"
    intervals = re.findall(rf"{number}(?: ×)?(?: faster)? \({number}(?:, |–| to ){number}\)", guide)
    assert len(intervals) > 25
    assert [interval for interval in intervals if interval not in evidence] == []


def test_every_command_has_its_line():
    group = get_command(app)
    lines = {f"askew {name}" for name in group.commands if name != "train"}
    lines |= {f"askew train {name}" for name in group.commands["train"].commands}
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(askew (?:train )?\w+)", page, flags=re.MULTILINE)) == lines


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == askew.__version__
    assert citation["license"] == "Apache-2.0"
    assert {"message", "title", "authors"} <= set(citation)
