"""Texts of files that would steer a terminal, or become part of a page."""

import io
import json
import sys

import pytest
import torch
from report_pages import example_results
from rich.console import Console
from saved_model import saved
from small_answerer import TOKENIZER, answerer
from typer.testing import CliRunner

from askew._files import visible
from askew.attention import AsymmetricAttention
from askew.cli import app
from askew.cli._exits import tell
from askew.cli._inspect import _show
from askew.cli._progress import ComparisonProgress
from askew.cli._streams import show
from askew.inspection import inspect_model
from askew.tradeoffs import Arm, print_results, write_report

STREAM = "_NamedTextIOWrapper"
STEERING = [
    *("\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\x08\x08\x08", "\r", "\x00", "\x7f", "\u2028"),
    *("\u202e", "\u2066", "\ud800"),
]
HARMLESS = [
    "um gato",
    "a\tb",
    "a\nb",
    "l\u2019été\u00a0!",
    "👩\u200d👩",
    "\u06cc\u200c\u062e",
    "\u200f",
]
LOUD = "".join(one for one in STEERING if one != "\ud800")


def steers(text):
    """Whether a text holds anything but characters to be seen, tabs and ends of lines."""
    return any(one in text for one in STEERING)


@pytest.mark.parametrize("text", STEERING)
def test_what_steers_is_made_visible(text):
    seen = visible(f"a{text}b")
    assert not steers(seen)
    seen.encode()
    assert json.loads(f'"{seen}"') == f"a{text}b"  # nothing is lost


@pytest.mark.parametrize("text", HARMLESS)
def test_what_does_not_steer_stays(text):
    assert visible(text) == text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_output_is_exact_in_a_pipe_and_visible_on_a_terminal(monkeypatch):
    for stream, expected in ((io.StringIO(), LOUD), (Terminal(), visible(LOUD))):
        monkeypatch.setattr(sys, "stdout", stream)
        show(LOUD)
        assert stream.getvalue() == expected + "\n"


def test_messages_are_visible_everywhere(capsys):
    tell(f"got {LOUD}")
    assert capsys.readouterr().err == f"askew: got {visible(LOUD)}\n"


def test_a_name_of_a_file_in_an_error_steers_nothing(tmp_path):
    name = f"{tmp_path}/\x1b[31m\u202e"
    for words in ("inspect {}", "translate {}", "report {}", "parts {} --lr a=1"):
        result = CliRunner().invoke(app, words.format(name).split(" "))
        assert result.exit_code == 2
        assert "\\u001b[31m\\u202e" in result.stderr
        assert not steers(result.stderr)


def hostile_results():
    results = example_results()
    loud = f"{LOUD}[bold red]x[/bold red]<script>alert(1)</script>{{{{7*7}}}}</script><img src=x>"
    results["task"] = results["summary"] = loud
    for metric in results["metrics"]:
        metric["label"] = metric["unit"] = loud
    for verdict in results["verdicts"]:
        verdict["reason"] = loud
    results["settings"] = results["settings"] | {"command": loud}
    results["baselines"] = {loud: {"chrf": 1.0}}
    return results


@pytest.mark.parametrize("language", ["en", "pt"])
def test_printed_results_show_markup_and_steer_nothing(language):
    out = io.StringIO()
    print_results(hostile_results(), Console(file=out, width=400), language=language)
    assert not steers(out.getvalue())
    assert "[bold red]x[/bold red]" in out.getvalue()
    assert "\\u001b[31m" in out.getvalue()


@pytest.mark.parametrize("language", ["en", "pt"])
def test_a_page_shows_markup_and_turns_no_line_around(language, tmp_path, monkeypatch):
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    write_report(hostile_results(), tmp_path / "report.html", language=language)
    page = (tmp_path / "report.html").read_bytes().decode()
    assert "alert(1)" in page
    for tag in ("<script>alert", "</script><img", "<img src=x"):
        assert tag not in page
    assert "49" not in page.partition("alert(1)")[2][:40]
    assert not steers(page)


def test_progress_shows_markup(capsys, monkeypatch):
    progress = ComparisonProgress(
        [Arm(name="[red]a", config=None), Arm(name="[b]", config=None)], [0], quiet=False
    )
    with progress:
        progress.stage(f"[bold]x[/bold]{LOUD}")
        progress.trials({("[red]a", 0): 1, ("[b]", 0): 1}, {"[red]a": 1, "[b]": 1})
    told = capsys.readouterr().err
    assert "[bold]x[/bold]" in told
    assert "[red]a, seed 0" in told
    assert "[b], seed 0" in told
    assert not steers(told)


def test_answers_steer_nothing(tmp_path):
    one = answerer()
    one.model.save_pretrained(tmp_path / "model")
    for name in ("tokenizer", "question_tokenizer"):
        TOKENIZER.save(str(tmp_path / "model" / f"{name}.json"))
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a\x1b[31m\u202e.md").write_text(f"anna {LOUD} lives {LOUD} in {LOUD} rome")
    call = ["answer", str(tmp_path / "model"), "--context", str(documents), "where is anna"]
    result = CliRunner().invoke(app, [*call, "--quiet"])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()
    assert not steers(result.stdout)
    exact = CliRunner().invoke(app, [*call, "--quiet", "--json"]).stdout
    assert json.loads(exact)["answers"][0]["title"] == "a\x1b[31m\u202e.md"


def test_names_of_modules_show_markup(capsys):
    """Some configs name modules, as those of languages do."""
    model = torch.nn.ModuleDict({f"[red]{LOUD}x": TransformerStack()})
    _show(inspect_model(model))
    told = capsys.readouterr().out.replace("\n", "")
    assert "[red]" in told
    assert not steers(told)


class TransformerStack(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([AsymmetricAttention(8, num_heads=2)])


def test_translations_are_visible_on_a_terminal(tmp_path, monkeypatch):
    saved(tmp_path)
    monkeypatch.setattr("askew.models.Translator.restore", lambda self, text, originals: LOUD + "x")
    exact = CliRunner().invoke(app, ["translate", str(tmp_path)], input="trees\n").stdout
    assert exact == " ".join((LOUD + "x").splitlines()) + "\n"
    modules = [sys.modules[base.__module__] for base in CliRunner.__mro__]  # typer's or click's
    stream = next(vars(m)[STREAM] for m in modules if STREAM in vars(m))
    monkeypatch.setattr(stream, "isatty", lambda self: True, raising=False)
    seen = CliRunner().invoke(app, ["translate", str(tmp_path)], input="trees\n").stdout
    assert seen == visible(exact)
