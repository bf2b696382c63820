"""Passages on the command line, found without a model."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from document_files import DOCUMENTS, FIRST, HEADING, pdf
from small_encoder import save_encoder
from typer.testing import CliRunner

from askew.cli import app


def run(*words, code=0, **settings):
    done = CliRunner().invoke(app, [str(word) for word in words], **settings)
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def documents(tmp_path):
    folder = tmp_path / "documents"
    (folder / "inner").mkdir(parents=True)
    (folder / "one.md").write_text("# People\n\nAnna lives in Rome.\nBen lives in Oslo.")
    (folder / "inner" / "two.txt").write_text("Der Kaffee ist heiß ☕.", encoding="utf-8")
    return folder


def test_every_question_gets_one_object_with_places_in_the_files(documents):
    done = run("search", "--context", documents, "--json", input="where is Ben?\n\nder Kaffee\n")
    one, two = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(one) == ["question", "passages"]
    assert one["question"] == "where is Ben?"
    passage = one["passages"][0]
    keys = ["file", "start", "end", "text", "score", "sentence", "page", "heading"]
    assert list(passage) == keys
    assert (passage["page"], passage["heading"]) == (None, "People")
    assert passage["file"] == (documents / "one.md").as_posix()
    text = (documents / "one.md").read_text()
    assert text[passage["start"] : passage["end"]] == passage["text"]
    assert passage["sentence"] == "Ben lives in Oslo."
    assert [p["sentence"] for p in two["passages"]] == ["Der Kaffee ist heiß ☕."]


def test_questions_that_are_typed_are_answered_in_order_as_lines_are(documents):
    questions = ["where is Ben?", "der Kaffee"]
    done = run("search", *questions, "--context", documents, "--json")
    lines = run("search", "--context", documents, "--json", input="\n".join(questions))
    assert done.stdout == lines.stdout
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == questions
    assert "note" not in done.stderr


def test_a_question_without_its_quotes_is_noticed(documents):
    done = run("search", "where", "is", "Ben", "--context", documents)
    assert '3 words are 3 questions; put quotes around a question of several words: "where' in (
        done.stderr
    )


def test_one_blank_question_among_others_is_refused_before_any_is_answered(documents):
    done = run("search", "Ben", " ", "--context", documents, code=2)
    assert "a question is needed; got an empty one" in done.stderr
    assert not done.stdout


def test_a_person_sees_file_line_and_characters(documents):
    shown = run("search", "where is Ben?", "--context", documents, "--top", 1).stdout
    head, passage = shown.splitlines()
    assert head.split()[1] == f"{(documents / 'one.md').as_posix()}:4:30-48"
    assert passage == "# People  Anna lives in Rome. **Ben lives in Oslo.**"  # without colours


def test_the_sentence_is_highlighted_on_a_terminal(documents, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = run("search", "Ben", "--context", documents, "--top", 1).stdout
    assert "\x1b[1;7mBen lives in Oslo.\x1b[0m" in shown


def test_top_is_how_many_passages_are_shown(tmp_path):
    text = "\n\n".join(f"# {number}\n\nBen is there." for number in range(5))
    (tmp_path / "a.md").write_text(text)
    for top in (1, 4, 9):
        done = run("search", "Ben", "--context", tmp_path, "--json", "--top", top)
        assert len(json.loads(done.stdout)["passages"]) == min(top, 5)


def test_nothing_found(documents):
    assert run("search", "zebra", "--context", documents).stdout == "nothing found\n"
    assert json.loads(run("search", "?", "--context", documents, "--json").stdout)["passages"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", " ", "--context", "DOCUMENTS"], "a question is needed; got an empty one"),
        (["search", "who", "--context", "DOCUMENTS/none"], "the path must exist"),
        (["search", "who"], "documents are needed; got none. Give --context"),
        (["search", "who", "--index", "DOCUMENTS"], "--index goes with --encoder; got none"),
        (
            ["search", "who", "--context", "DOCUMENTS", "--question-encoder", "static"],
            "--question-encoder goes with --index; got none",
        ),
        (
            ["search", "who", "--context", "DOCUMENTS", "--jobs", "0"],
            "Invalid value for '--jobs': Input should be greater than or equal to 1",
        ),
        (
            ["search", "who", "--context", "DOCUMENTS", "--jobs", "2"],
            "search: --jobs goes with --encoder, which encodes documents; got none",
        ),
        (
            ["search", "who", "--context", "DOCUMENTS", "--dtype", "int8"],
            "search: --dtype goes with --encoder, which encodes documents; got none",
        ),
        (["search", "who", "--context", "DOCUMENTS", "--top", "0"], "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(documents, words, message):
    done = run(*[word.replace("DOCUMENTS", str(documents)) for word in words], code=2)
    assert message in done.output
    assert done.output.count("\n") == 1


def test_a_question_that_is_no_text_is_refused_and_the_others_are_answered(documents):
    done = run("search", "--context", documents, "--json", input=b"\xff who\nBen\n", code=2)
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == ["Ben"]
    assert "the question must be UTF-8" in done.stderr


def test_a_file_name_cannot_steer_the_terminal(tmp_path):
    (tmp_path / "a\x1b[31m.md").write_text("Ben\x1b[2J is there.")
    assert "\x1b" not in run("search", "Ben", "--context", tmp_path).stdout


def test_an_encoder_finds_what_shares_no_word(documents, tmp_path):
    encoder = save_encoder(tmp_path / "encoder")
    words = ["search", "zebra", "--context", documents, "--json", "--quiet"]
    found = json.loads(run(*words, "--encoder", encoder).stdout)["passages"]
    assert sorted(p["file"].rsplit("/", 1)[-1] for p in found) == ["one.md", "two.txt"]
    assert all(p["sentence"] in p["text"] for p in found)
    shown = run(*words[:-2], "--encoder", encoder)
    assert len(shown.stdout.splitlines()) == 4


def test_an_encoder_that_is_none_is_refused_before_any_work(documents, tmp_path):
    done = run("search", "who", "--context", documents, "--encoder", tmp_path, code=2)
    assert "an encoder folder holds config.json" in done.output
    assert done.output.count("\n") == 1


def test_an_index_is_kept_and_follows_its_documents(documents, tmp_path):
    encoder, index = save_encoder(tmp_path / "encoder"), tmp_path / "index"
    words = ["search", "where is Ben?", "--encoder", encoder, "--index", index, "--json", "--quiet"]
    first = run(*words, "--context", documents)
    alone = run(*words)
    assert alone.stdout == first.stdout
    one = documents / "one.md"
    one.write_text("Ben is gone.")
    done = run(*words, code=2)
    assert f"{one} changed. Give --context" in done.output
    done = run(*words, "--context", documents)
    assert "1 encoded again" in done.stderr
    found = json.loads(done.stdout)["passages"]
    assert {p["text"] for p in found} == {"Ben is gone.", "Der Kaffee ist heiß ☕."}
    assert {p["file"] for p in found} == {str(one), str(documents / "inner" / "two.txt")}
    other = save_encoder(tmp_path / "other", seed=1)
    done = run(*["search", "Ben", "--encoder", other, "--index", index], code=2)
    assert "the index must be of the model that answers" in done.output


def test_a_static_question_encoder_is_made_once_and_asked_without_the_encoder(documents, tmp_path):
    encoder, index = save_encoder(tmp_path / "encoder"), tmp_path / "index"
    asked = ["search", "where is Ben?", "--index", index, "--json", "--quiet"]
    static = ["--question-encoder", "static"]
    run(*asked, "--encoder", encoder, "--context", documents)
    done = run(*asked, *static, code=2)
    assert "holds no static yet. Give --encoder" in done.output
    first = run(*asked, *static, "--encoder", encoder, "--context", documents)
    assert "Ben lives in Oslo." in [
        passage["sentence"] for passage in json.loads(first.stdout)["passages"]
    ]
    written = (index / "static" / "static.json").stat().st_mtime_ns
    shutil.rmtree(encoder)
    assert run(*asked, *static).stdout == first.stdout
    assert run(*asked, "--question-encoder", index / "static").stdout == first.stdout
    assert (index / "static" / "static.json").stat().st_mtime_ns == written
    (documents / "one.md").write_text("Ben is gone.")
    assert "one.md changed. Give --context" in run(*asked, *static, code=2).output


@pytest.mark.slow
def test_a_static_question_encoder_that_was_being_written_is_made_again(documents, tmp_path):
    encoder, index = save_encoder(tmp_path / "encoder"), tmp_path / "index"
    words = ["search", "where is Ben?", "--encoder", encoder, "--context", documents]
    words += ["--index", index, "--question-encoder", "static", "--json", "--quiet"]
    script = (
        "import os, sys; import askew.models._question_folder as module; from askew.cli import app;"
        "module.write_json = lambda *_: os.kill(os.getpid(), 9); app(sys.argv[1:])"
    )
    killed = subprocess.run([sys.executable, "-c", script, *map(str, words)], check=False)
    assert killed.returncode == -9
    assert (index / "static" / "tables.safetensors").is_file()
    assert not (index / "static" / "static.json").exists()
    first = run(*words)
    assert (index / "static" / "static.json").is_file()
    other = save_encoder(tmp_path / "other", seed=1)
    done = run("search", "who", "--index", index, "--encoder", other, *words[-4:-2], code=2)
    assert "the index must be of the model that answers" in done.output
    assert run(*words).stdout == first.stdout


def test_layers_of_the_encoder_are_kept_beside_the_index_and_asked_without_it(documents, tmp_path):
    encoder, index = save_encoder(tmp_path / "encoder"), tmp_path / "index"
    asked = ["search", "where is Ben?", "--index", index, "--json", "--quiet"]
    made = [*asked, "--encoder", encoder, "--context", documents, "--dtype", "int8"]
    for number in ("0", "3"):
        done = run(*made, "--question-encoder", number, code=2)
        assert f"layers from 1 to 2, or a folder; got {number}" in done.output
        assert not (index / "index.json").exists()
    first = run(*made, "--question-encoder", 1)
    assert json.loads((index / "index.json").read_text())["dtype"] == "int8"
    shutil.rmtree(encoder)
    written = (index / "layers-1" / "student.json").stat().st_mtime_ns
    assert run(*asked, "--question-encoder", 1).stdout == first.stdout
    assert run(*asked, "--question-encoder", index / "layers-1").stdout == first.stdout
    assert (index / "layers-1" / "student.json").stat().st_mtime_ns == written
    done = run(*asked, "--question-encoder", 2, code=2)
    assert "--question-encoder 2 is made by the encoder; got none" in done.output
    assert "holds no layers-2 yet. Give --encoder" in done.output


def test_numbers_of_an_index_stay_as_they_are(documents, tmp_path):
    encoder, index = save_encoder(tmp_path / "encoder"), tmp_path / "index"
    words = ["search", "Ben", "--encoder", encoder, "--index", index, "--context", documents]
    run(*words, "--dtype", "float32")
    done = run(*words, "--dtype", "int8", code=2)
    assert "--dtype goes with a new index; got int8 and" in done.output
    assert "which is in float32" in done.output
    run(*words)
    assert json.loads((index / "index.json").read_text())["dtype"] == "float32"


def test_pages_and_headings_of_other_formats_are_named(tmp_path):
    for name, raw in DOCUMENTS.items():
        (tmp_path / name).write_bytes(raw)
    words = ["search", "in the mountains?", "--context", tmp_path, "--top", 9]
    passages = json.loads(run(*words, "--json").stdout)["passages"]
    assert {p["file"].rsplit("/", 1)[-1] for p in passages} == set(DOCUMENTS)
    for passage in passages:
        is_pdf = passage["file"].endswith(".pdf")
        assert (passage["page"], passage["heading"]) == ((2, None) if is_pdf else (None, HEADING))
    shown = run(*words).stdout
    assert "a.pdf:page 2:" in shown
    assert "a.docx:5:" in shown


def test_files_that_are_not_read_are_named_on_stderr(documents):
    (documents / "a.pdf").write_bytes(b"%PDF-1.4 nothing")
    (documents / "b.png").write_bytes(b"")
    (documents / ".hidden.png").write_bytes(b"")
    done = run("search", "Ben", "--context", documents, "--json")
    assert json.loads(done.stdout)["passages"]
    assert done.stderr.splitlines() == [
        "askew: note: 1 files of other kinds are not read: .png 1",
        f"askew: note: a document must be readable; got {documents / 'a.pdf'}: it is no whole PDF",
        "askew: note: 1 of 3 files cannot be read, so nothing is found in them",
        f"askew: read 2 documents from {documents} (1 left out: 1 empty or unreadable)",
    ]


@pytest.fixture
def locked(monkeypatch):
    """Names of files that nobody may open, whoever runs the test."""
    names, read = set(), Path.open

    def refuse(path, *rest, **more):
        if path.name in names:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    return names


def test_a_file_that_nobody_may_open_is_named_and_the_others_are_searched(documents, locked):
    locked.add("one.md")
    done = run("search", "Kaffee", "--context", documents, "--json")
    assert json.loads(done.stdout)["passages"][0]["text"] == "Der Kaffee ist heiß ☕."
    assert done.stderr.splitlines() == [
        f"askew: note: a document must be readable; got {documents / 'one.md'}: Permission denied",
        "askew: note: 1 of 2 files cannot be read, so nothing is found in them",
        f"askew: read 1 document from {documents} (1 left out: 1 empty or unreadable)",
    ]
    locked.add("two.txt")
    done = run("search", "Kaffee", "--context", documents, code=2)
    assert "there must be a document with text; got none" in done.output
    assert "two.txt: Permission denied" in done.output


def test_a_file_of_an_index_that_nobody_may_open_any_more(documents, locked, tmp_path):
    encoder, index = save_encoder(tmp_path / "encoder"), tmp_path / "index"
    words = ["search", "who", "--encoder", encoder, "--index", index, "--json", "--quiet"]
    run(*words, "--context", documents)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "three.md").write_text("Cleo lives in Lima.")
    locked.add("one.md")
    done = run(*words)
    assert (
        "1 documents of the index cannot be read, so they are not compared with it" in done.stderr
    )
    done = run(*words, "--context", tmp_path / "more", "--top", 9)
    assert "Permission denied" in done.stderr
    assert "1 dropped" in done.stderr
    files = {passage["file"] for passage in json.loads(done.stdout)["passages"]}
    assert files == {str(tmp_path / "more" / "three.md"), str(documents / "inner" / "two.txt")}


def test_two_files_of_one_name_are_told_apart_when_they_come_one_after_the_other(
    documents, tmp_path
):
    encoder, index = save_encoder(tmp_path / "encoder"), tmp_path / "index"
    words = ["search", "who", "--encoder", encoder, "--index", index, "--json", "--quiet"]
    more = tmp_path / "more"
    more.mkdir()
    (more / "one.md").write_text("Cleo lives in Lima.")

    def found(*context):
        passages = json.loads(run(*words, *context, "--top", 9).stdout)["passages"]
        return {(passage["file"], passage["text"].split()[-1]) for passage in passages}

    two = (str(documents / "inner" / "two.txt"), "☕.")
    old, new = (str(documents / "one.md"), "Oslo."), (str(more / "one.md"), "Lima.")
    found("--context", documents)
    assert found("--context", more) == {old, new, two}
    assert found("--context", documents) == found() == {old, new, two}
    shutil.rmtree(documents)
    assert found("--context", more) == {new}


def test_an_index_drops_a_document_that_can_be_read_no_longer(documents, tmp_path):
    encoder, index = save_encoder(tmp_path / "encoder"), tmp_path / "index"
    words = ["search", "who", "--encoder", encoder, "--index", index, "--json", "--quiet"]
    (documents / "a.pdf").write_bytes(pdf(FIRST))
    done = run(*words, "--context", documents, "--top", 9)
    assert any(p["page"] == 1 for p in json.loads(done.stdout)["passages"])
    (documents / "a.pdf").write_bytes(pdf(FIRST, locked=True))
    done = run(*words, "--context", documents, "--top", 9)
    assert "it is encrypted" in done.stderr
    assert "1 dropped" in done.stderr
    assert not any(p["page"] for p in json.loads(done.stdout)["passages"])
    assert run(*words, "--top", 9).stdout == done.stdout
