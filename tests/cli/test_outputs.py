"""What commands write: over nothing that they read or that is not theirs; what goes wrong."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from full_disk import no_room_beyond
from report_pages import example_results
from saved_model import saved
from small_answerer import answerer
from typer.testing import CliRunner

from askew._files import write_json
from askew.cli import app
from askew.cli._streams import encode_all_text
from askew.tasks import teach

TINY = ["--preset", "tiny", "--vocab-size", "300", "--steps", "3", "--quiet"]
TINY += ["--set", "encoder.num_layers=1", "--set", "decoder.num_layers=1"]


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def refused(*arguments, code=2):
    result = run(*arguments)
    assert result.exit_code == code, (arguments, result.output, result.exception)
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def write_table(path):
    values = [("thin", 2), ("twin", 0)]
    rows = [f"{arm},{seed},,f1,{shift + seed % 2}\n" for arm, shift in values for seed in range(5)]
    path.write_text("arm,seed,item,metric,value\n" + "".join(rows))


def snapshot(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in Path(folder).rglob("*")}


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translator")
    saved(folder)
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A model that answers questions."""
    folder, made = tmp_path_factory.mktemp("reader"), answerer()
    made.model.save_pretrained(folder)
    for name in ("tokenizer.json", "question_tokenizer.json"):
        made.context_tokenizer.tokenizer.save(str(folder / name))
    return folder


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"three {i}\ttr\u00eas {i}\n" for i in range(40)), encoding="utf-8")
    return path


@pytest.fixture
def compared(tmp_path):
    folder = tmp_path / "compared"
    folder.mkdir()
    write_json(folder / "results.json", example_results())
    return folder


def test_no_command_writes_over_what_it_reads(translator, compared, pairs, tmp_path):
    model, lines, refs = tmp_path / "model", tmp_path / "lines.txt", tmp_path / "refs.txt"
    shutil.copytree(translator, model)
    lines.write_text("three\n")
    refs.write_text("tr\u00eas\n")
    catalogue = tmp_path / "a.po"
    catalogue.write_text('msgid ""\nmsgstr ""\n\nmsgid "three"\nmsgstr ""\n')
    aligned = ["--test-source", lines, "--test-target", refs]
    before = snapshot(tmp_path)
    for call in (
        ["evaluate", model, "--data", pairs, "--out", pairs],
        ["evaluate", model, *aligned, "--out", lines],
        ["evaluate", model, *aligned, "--out", refs],
        ["evaluate", model, *aligned, "--out", model / "config.json"],
        ["translate", model, lines, "--out", lines],
        ["translate", model, lines, "--out", model / "tokenizer.json"],
        ["translate", model, catalogue, "--out", catalogue],
        ["translate", model, lines, "--show-attention", lines],
        ["translate", model, lines, "--out", tmp_path / "x", "--show-attention", tmp_path / "x"],
        ["inspect", model, "--out", model / "model.safetensors"],
        ["report", compared, "--out", compared / "results.json"],
    ):
        assert "must be another file than the input" in refused(*call), call
    assert snapshot(tmp_path) == before


def test_no_command_writes_into_what_is_not_its_own(translator, compared, pairs, tmp_path):
    write_table(tmp_path / "table.csv")
    judge = ["compare", "--results", tmp_path / "table.csv", "--out"]
    mine, page = tmp_path / "mine", tmp_path / "page"
    for folder, name in ((mine, "thesis.txt"), (page, "report.html")):
        folder.mkdir()
        (folder / name).write_text("mine")
    before = snapshot(tmp_path)
    for call, message in (
        ([*judge, compared], "or of the results of table.csv; got out .* with another results.js"),
        ([*judge, page], "with another report.html"),
        (["train", "translation", "--data", pairs, "--out", mine, *TINY], "must be new, empty or"),
        (["compare", "--data", pairs, "--out", mine, *TINY], "must be new, empty or"),
        (["export", translator, "--out", mine], "out must be new, empty or an earlier export"),
        (["export", translator, "--out", translator], "out must be new, empty or an earlier exp"),
        (["report", compared, "--out", mine], "a file must be writable; got .*mine, a folder"),
    ):
        assert re.search(message, refused(*call)), call
    assert snapshot(tmp_path) == before
    out = tmp_path / "out"
    for baseline in ("twin", "thin"):  # the results of one table are judged again
        assert run(*judge, out, "--baseline", baseline).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "results.json"]


def test_a_file_that_no_teacher_wrote_stays_as_it_is(tmp_path):
    store = tmp_path / "model-taught.jsonl"
    for text in (b"my notes", b'"a"\nmy notes', b"1\n"):
        store.write_bytes(text)
        with pytest.raises(ValueError, match="the store must hold a translation, a JSON string"):
            teach(tmp_path, None, ["a", "b"], store=store, progress=lambda *_: None)
        assert store.read_bytes() == text


def test_what_cannot_be_written_is_refused_before_the_work(
    translator, reader, compared, pairs, tmp_path, monkeypatch
):
    """A file stands where a folder would have to be made; no model is loaded, none is trained."""
    for name in ("tensorboard", "onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    shutil.copytree(translator, model := tmp_path / "model")
    (model / "ctranslate2").write_text("mine")
    (tmp_path / "file").write_text("mine")
    below, text = tmp_path / "file" / "below", tmp_path / "a.md"
    text.write_text("Anna lives in Rome.")
    train = ["train", "translation", "--data", pairs, "--out", tmp_path / "new", *TINY]

    def no_work(*_, **__):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("askew.export._ctranslate2.load_translation_model", no_work)
    monkeypatch.setattr("askew.export._onnx.load_translation_model", no_work)
    monkeypatch.setattr("askew.models.QuestionAnswerer.from_pretrained", no_work)
    monkeypatch.setattr("askew.models.load_checkpoint", no_work)
    monkeypatch.setattr("askew.tradeoffs.read_run", no_work)
    monkeypatch.setattr("askew.tasks.train_into", no_work)
    before = snapshot(tmp_path)
    for call in (
        ["report", compared, "--out", below],
        ["report", compared, "--out", tmp_path],
        ["report", compared, "--out", "/proc/report.html"],
        ["inspect", model, "--out", below],
        ["export", model],
        ["export", model, "--out", below],
        ["export", model, "--to", "onnx", "--out", "/proc/askew/onnx"],
        ["answer", reader, "who", "--context", text, "--index", below],
        ["answer", reader, "who", "--context", text, "--index", "/proc/index"],
        [*train, "--tensorboard", below],
        [*train, "--tensorboard", tmp_path / "file"],
    ):
        message = refused(*call)
        assert "writable; got" in message or "must be new, empty or an earlier" in message, call
    assert snapshot(tmp_path) == before


def test_seeds_that_no_generator_takes_are_refused(translator, pairs, tmp_path):
    call = ["train", "translation", "--data", pairs, "--out", tmp_path / "m", *TINY]
    for seed, bound in ((-1, "(equal to 0|range 0)"), (2**32, "(equal to |<=)4294967295")):
        for command in (call, ("translate", translator)):
            assert re.search(rf"'--seed': .*{bound}", refused(*command, "--seed", seed))
    assert not (tmp_path / "m").exists()


def test_a_teacher_of_another_kind_is_refused_before_the_work(reader, pairs, tmp_path):
    before = snapshot(tmp_path)
    for command in ("train", "compare"):
        call = [command, "translation", "--data", pairs, "--teacher", reader, *TINY]
        message = refused(*call, "--out", tmp_path / "m")
        assert "the teacher must be a translation model" in message
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a value"),
        OSError(28, "No space left on device"),
        pytest.param(FloatingPointError("a loss"), marks=pytest.mark.slow),
        pytest.param(RuntimeError("a state"), marks=pytest.mark.slow),
    ],
)
def test_what_fails_on_the_way_is_one_line_everywhere(
    error, translator, reader, compared, pairs, tmp_path, monkeypatch
):
    def failing(*_, **__):
        raise error

    text = tmp_path / "a.md"
    text.write_text("Anna lives in Rome.")
    later = {
        "askew.cli._report.show": ["report", compared],
        "askew.cli._export.show": ["export", translator, "--out", tmp_path / "e"],
        "askew.cli._inspect._show": ["inspect", translator],
        "askew.cli._parts.show": ["parts", translator, "--lr", "rest=1", "--rest", "rest"],
        "askew.cli._doctor._show": ["doctor"],
        "askew.cli._answer._show": ["answer", reader, "who", "--context", text, "--quiet"],
        "askew.models.Translator.hypotheses": ["translate", translator, text],
        "askew.cli._evaluate.write_text": [
            *("evaluate", translator, "--data", pairs, "--out", tmp_path / "x", "--quiet")
        ],
        "askew.tasks.train_into": [
            *("train", "translation", "--data", pairs, "--out", tmp_path / "t", *TINY)
        ],
        "askew.tradeoffs.compare": [
            *("compare", "--data", pairs, "--out", tmp_path / "c", "--seeds", 1, *TINY)
        ],
    }
    for place, call in later.items():
        with monkeypatch.context() as changed:
            changed.setattr(place, failing, raising=False)
            message = refused(*call, code=1)
        assert str(error.args[-1]) in message, call
        assert "type the same command" not in message


@pytest.mark.slow
def test_no_room_for_what_is_printed_is_one_line(translator):
    for arguments in (["--version"], ["parts", "--help"], ["parts", translator, "--lr", "model=1"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "askew", *map(str, arguments)],
                stdout=full, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        name = "askew" if arguments == ["--version"] else "askew parts"
        told = f"{name}: [Errno 28] No space left on device\n"
        assert (done.returncode, done.stderr) == (1, told)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    translator, reader, compared, pairs, tmp_path, monkeypatch
):
    from tradeoffs.conftest import InProcess

    from askew.tradeoffs._running import trials

    monkeypatch.setattr(trials, "ProcessPoolExecutor", InProcess)
    text = tmp_path / "a.md"
    text.write_text("Anna lives in Rome. " * 500)
    (tmp_path / "lines.txt").write_text("three\n")
    write_table(tmp_path / "table.csv")
    new = tmp_path / "new"
    before = snapshot(tmp_path)
    for call in (
        ["report", compared],
        ["inspect", translator, "--out", tmp_path / "page.html"],
        ["export", translator, "--out", new],
        ["answer", reader, "who", "--context", text, "--index", new, "--quiet"],
        ["compare", "--results", tmp_path / "table.csv", "--out", new],
        ["evaluate", translator, "--data", pairs, "--out", tmp_path / "x", "--quiet"],
        ["translate", translator, tmp_path / "lines.txt", "--show-attention", tmp_path / "x"],
        ["train", "translation", "--data", pairs, "--out", new, *TINY],
        ["compare", "--data", pairs, "--out", new, "--seeds", 1, *TINY],
    ):
        with no_room_beyond(500):
            message = refused(*call, code=1)
        assert "too large" in message or "os error 27" in message, message
        if call[0] == "train":  # what was trained is kept, and the same command ends it
            assert {p.name for p in new.iterdir()} <= {"training.json", "checkpoints"}
        shutil.rmtree(new, ignore_errors=True)
        assert snapshot(tmp_path) == before, call


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("kind", "encoding", "written"),
    [
        (io.TextIOWrapper, "ascii", "Σ é".encode()),
        (io.TextIOWrapper, "latin-1", "Σ é".encode()),
        (Terminal, "latin-1", b"\\u03a3 \xe9"),
        (Terminal, "ascii", b"\\u03a3 \\xe9"),
        (Terminal, "utf-8", "Σ é".encode()),
    ],
)
def test_all_text_is_written_whatever_the_language(kind, encoding, written, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", kind(raw, encoding=encoding))
    encode_all_text()
    sys.stdout.write("Σ é")
    sys.stdout.flush()
    assert raw.getvalue() == written
