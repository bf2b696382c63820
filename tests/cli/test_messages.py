"""What a command tells on stderr: errors by the command, what was read, progress; and its width."""

import json
import tomllib
from pathlib import Path

import pytest
from saved_model import saved
from small_encoder import save_encoder
from typer.testing import CliRunner

from askew.cli import _installation as installation
from askew.cli import _progress, _streams, app
from askew.cli._exits import in_one_line, typed
from askew.cli._progress import ComparisonProgress, LineProgress
from askew.tasks import APPLICATIONS, Scorer, describe_read
from askew.tasks import Application as Row
from askew.text import read_pairs

ROOT = Path(__file__).parents[2]


def run(*words, code=0, **settings):
    done = CliRunner().invoke(app, [str(word) for word in words], **settings)
    assert done.exit_code == code, done.output
    return done


def test_an_error_begins_with_the_command_and_not_with_a_function(tmp_path):
    gone = tmp_path / "gone.tsv"
    words = ["train", "translation", "--data", gone, "--out", tmp_path / "out"]
    assert run(*words, code=2).stderr == (
        f"askew train translation: --data must exist; got {gone}\n"
    )
    with pytest.raises(ValueError, match="read_pairs: the file must exist"):
        read_pairs(gone)
    assert run("search", "who", code=2).stderr.startswith("askew search: documents are needed")
    assert run("compare", "chess", code=2).stderr.startswith("askew compare: task must be ")
    assert run("evaluate", code=2).stderr.startswith("askew evaluate: Missing argument")
    done = run("search", "--context", ROOT / "SECURITY.md", input=b"\xff\n", code=2)
    assert "askew search: the question must be UTF-8" in done.stderr


def test_what_others_raise_is_told_as_it_is():
    def told(error):
        try:
            raise error
        except ValueError as caught:
            return in_one_line(caught)

    assert told(ValueError("mine: the width is odd")) == "mine: the width is odd"
    with pytest.raises(ValueError, match="read_pairs: ") as caught:
        read_pairs("gone.tsv")
    assert in_one_line(caught.value) == "the file must exist; got gone.tsv"


def test_a_command_does_not_speak_in_the_name_of_the_one_before():
    run("evaluate", code=2)
    assert typed.get() == "evaluate"
    run("--no-such-option", code=2)
    assert typed.get() == ""


@pytest.mark.parametrize("command", ["translate", "predict"])
def test_a_sentence_in_the_place_of_a_file_is_told_where_it_goes(command):
    told = run(command, "model", "Hello, it's me", code=2).stderr
    assert f"""Write echo 'Hello, it'"'"'s me' | askew {command} FOLDER""" in told
    assert "the file must exist; got gone.txt" in run(command, "model", "gone.txt", code=2).stderr


def test_what_a_command_takes_is_named_where_more_is_given():
    told = run("translate", "model", "a", "b", code=2).stderr
    assert "it takes FOLDER [FILE]. A text of several words needs quotes" in told
    assert "it takes options alone. See askew doctor" in run("doctor", "x", code=2).stderr


def test_what_was_read_and_left_out_is_one_line():
    line = describe_read("pairs", "a.tsv", {"empty": 9, "too long": 0}, {"train": 1200, "test": 3})
    assert line == "read 1,203 pairs from a.tsv (9 left out: 9 empty): 1,200 to train, 3 to test"
    assert describe_read("rows", "b.csv", {}, {"score": 3}) == "read 3 rows from b.csv"
    assert describe_read("rows", "b.csv", {}, {"score": 1}) == "read 1 row from b.csv"


def test_a_task_that_counts_nothing_says_nothing_of_what_it_read():
    row = Row(name="x", help="", options=int, make_task=int, make_arms=None, budget=None)
    assert row.read(type("T", (), {"describe": lambda self: {"name": "x"}})(), None) == ""


def test_training_says_what_it_read_and_left_out(tmp_path):
    data = tmp_path / "pairs.tsv"
    rows = [f"three {i}\ttrês {i}\n" for i in range(40)]
    data.write_text("".join([*rows, "\tx\n", "y\t\n"]), encoding="utf-8")
    options = APPLICATIONS["translation"].train.options(data=data, drop_empty=True, vocab_size=300)
    row = APPLICATIONS["translation"]
    line = row.read(row.make_task(options), options)
    expected = f"read 40 pairs from {data} (2 left out: 2 empty): 36 to train, 2 to validate, "
    assert line == expected + "2 to test"
    test = tmp_path / "test.en", tmp_path / "test.pt"
    for path in test:
        path.write_text("one\n\ntwo\n")
    options = APPLICATIONS["translation"].train.options(
        data=data, drop_empty=True, vocab_size=300, test_source=test[0], test_target=test[1]
    )
    line = row.read(row.make_task(options), options)
    assert line.startswith(f"read 42 pairs from {data}, {test[0]} (3 left out: 3 empty): ")


def test_scoring_says_what_it_read(tmp_path):
    saved(tmp_path / "model")
    data = tmp_path / "pairs.tsv"
    data.write_text("three cats\ttrês gatos\n\tx\n", encoding="utf-8")
    words = ["evaluate", tmp_path / "model", "--data", data, "--drop-empty"]
    done = run(*words, "--json")
    assert f"askew: read 1 pair from {data} (1 left out: 1 empty)\n" in done.stderr
    assert json.loads(done.stdout)["scores"]
    assert "read" not in run(*words, "--quiet").stderr
    row = APPLICATIONS["translation"].evaluate
    assert isinstance(
        row.score(tmp_path / "model", row.options(data=data, drop_empty=True)), Scorer
    )


def test_questions_that_are_refused_are_left_out(tmp_path):
    def item(number, *answers):
        found = [{"text": text, "answer_start": start} for text, start in answers]
        return {"id": str(number), "question": "Who?", "answers": found}

    asked = [item(0, ("Ada", 0)), item(1, ("Bob", 0)), item(2, ("Ada", 0), ("Bob", 1))]
    articles = [
        {"title": f"t{i}", "paragraphs": [{"context": f"Ada wrote {i}.", "qas": [item(9 + i)]}]}
        for i in range(4)
    ]
    articles[0]["paragraphs"][0]["qas"] += asked
    data = tmp_path / "squad.json"
    data.write_text(json.dumps({"data": articles}))
    row = APPLICATIONS["qa"]
    options = row.train.options(data=data, vocab_size=300)
    line = row.read(row.make_task(options), options)
    assert line.startswith(f"read 6 questions from {data} (1 left out: 1 refused): ")


def test_documents_that_were_read_and_left_out_are_counted(tmp_path):
    for name, text in (("a.md", "Ann lives."), ("b.md", " \n"), ("c.txt", "Ben lives.")):
        (tmp_path / name).write_text(text)
    done = run("search", "Ann", "--context", tmp_path)
    assert done.stderr == (
        f"askew: read 2 documents from {tmp_path} (1 left out: 1 empty or unreadable)\n"
    )
    assert not run("search", "Ann", "--context", tmp_path, "--quiet").stderr


def test_progress_is_lines_where_no_bar_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(_progress, "_EVERY", 0.0)
    with ComparisonProgress([], [], quiet=False) as progress:
        progress.stage("measuring speed and memory")
        progress.costs(1, 7)
    assert "  measuring speed and memory: 1 of 7\n" in capsys.readouterr().err
    with LineProgress("evaluating", quiet=False) as progress:
        progress.reach(1024, 2000)
    assert capsys.readouterr().err == "  evaluating: 1,024 of 2,000\n"
    with LineProgress("evaluating", quiet=True) as progress:
        progress.reach(1024, 2000)
    monkeypatch.setattr(_progress, "_EVERY", 60.0)
    with LineProgress("evaluating", quiet=False) as progress:
        progress.reach(1024, 2000)
    assert capsys.readouterr().err == ""


def test_lines_are_cut_for_a_terminal_alone(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    text = "word " * 60
    _streams.make_console().print(text)
    assert capsys.readouterr().out == f"{text}\n"
    monkeypatch.setenv("COLUMNS", "40")
    _streams.make_console().print(text)
    assert capsys.readouterr().out.count("\n") > 5


def test_the_doctor_names_every_extra_and_what_all_leaves_out():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    shown = run("doctor", "--no-self-test").stdout
    within, beyond = shown.split("extras that all leaves out\n")
    others = set(extras) - {"all", "dev", "test"}
    named = [line.split()[0] for line in beyond.splitlines()]
    assert named == installation.left_out_of_all() == ["cluster", "pretrained"]
    inside = within.split("installed by pip install 'askew[all]'\n")[1]
    assert {line.split()[0] for line in inside.splitlines()} == others - set(named)
    assert f"askew[{','.join(n for n in extras['all'][0][6:-1].split(','))}]" == extras["all"][0]
    assert set(extras["all"][0][6:-1].split(",")) == others - set(named)


def test_columns_of_results_are_explained_where_they_are_wrong(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("model,run,score\na,0,1\n")
    told = run("compare", "--results", table, code=2).stderr
    for words in (
        "arm is the model or method; seed is the number of the training",
        "item is the test item",
        "empty for a value of the whole test; metric is what was measured",
        "value is the number that came out",
    ):
        assert words in told


def test_a_folder_of_ours_in_the_place_of_an_encoder_is_named(tmp_path):
    saved(tmp_path / "model")
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "index.json").write_text("{}")
    document = ROOT / "SECURITY.md"
    for name, what in (
        ("model", "a model that askew train translation wrote"),
        ("index", "an index of documents"),
    ):
        words = ["search", "who", "--context", document, "--encoder", tmp_path / name]
        told = run(*words, code=2).stderr.splitlines()[-1]
        assert told == (
            "askew search: the folder must hold an encoder of transformers, such as BERT; got "
            f"{tmp_path / name}, which is {what}. Give the folder of an encoder, or minilm"
        )
    told = run("answer", tmp_path / "model", "who", "--context", document, code=2).stderr
    assert "which is of a model that askew train translation wrote" in told
    save_encoder(tmp_path / "encoder")
    words = ["search", "who", "--context", document, "--encoder", tmp_path / "encoder", "--index"]
    run(*words, tmp_path / "made", "--quiet")
    words = [*words, tmp_path / "made", "--question-encoder", tmp_path / "model"]
    assert "which is a model that askew train translation wrote" in run(*words, code=2).stderr
