"""Questions on the command line: trained, evaluated, answered, compared."""

import json
import shutil
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForQuestionAnswering
from typer.testing import CliRunner

from askew._files import folder_sha256
from askew.cli import app
from askew.models import ContextIndex
from askew.tasks import APPLICATIONS, load_test_questions

SMALL = ["--preset", "tiny", "--vocab-size", "400", "--quiet"]
SHALLOW = ["--set", "context.num_layers=1", "--set", "question.num_layers=1"]

ANSWER = ("answer", "--reader", "model")


def run(*words, code=0, **settings):
    done = CliRunner().invoke(app, [str(word) for word in words], **settings)
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("qa") / "model"
    run("train", "qa", "--out", out, "--steps", 3, *SMALL, *SHALLOW)
    return out


@pytest.fixture
def documents(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "one.md").write_text("Anna lives in Rome.\nBen lives in Oslo.", encoding="utf-8")
    (folder / "two.txt").write_text("Der Kaffee ist heiß ☕.", encoding="utf-8")
    return folder


def few_questions(path):
    shipped = load_test_questions(None)
    rows = [
        {
            "question": one.text,
            "context": shipped.contexts[one.context].text,
            "answer": shipped.contexts[one.context].text[slice(*one.answers[0])],
            "start": one.answers[0][0],
        }
        for one in shipped.questions[::20]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return len(rows)


def test_evaluation_by_the_kind_of_model(model, tmp_path):
    count, out = few_questions(tmp_path / "few.jsonl"), tmp_path / "answers.txt"
    words = ["--data", tmp_path / "few.jsonl", "--out", out]
    results = json.loads(run("evaluate", model, "--json", "--quiet", *words).stdout)
    assert results["questions"] == count
    assert len(out.read_text().splitlines()) == count
    assert "f1_wrong_question" in results["scores"]
    kept = json.loads((model / "config.json").read_text())["retrieval"]
    assert results["retrieval"] == kept
    part = load_test_questions(None, part="valid")
    assert (kept["questions"], kept["contexts"]) == (len(part.questions), len(part.contexts))
    assert {"f1_among_all", "f1_among_all_unweighted"} <= results["scores"].keys()


@pytest.mark.slow
def test_evaluation_on_the_shipped_questions(model):
    results = json.loads(run("evaluate", model, "--json", "--quiet").stdout)
    assert results["questions"] == 212


def test_evaluation_refuses_what_would_have_no_effect(model, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("one\n")
    for words in (["--test-source", lines], ["--test-source", lines, "--test-target", lines]):
        done = run("evaluate", model, *words, code=2)
        assert "--test-source must be left out for a model of qa" in done.output


def test_options_without_effect_are_refused(model, documents, tmp_path):
    index = tmp_path / "index"
    run(
        *ANSWER,
        model,
        "who",
        "--context",
        documents,
        "--index",
        index,
        "--quiet",
    )
    done = run(*ANSWER, model, "who", "--index", index, "--single", "--quiet", code=2)
    assert "--single goes with a new index" in done.output
    for words, message in (
        (["train", "qa", "--out", tmp_path / "m", "--question-layers", 2], "question_layers goes"),
        (["inspect", model, "--question", "who"], "--question goes with --text"),
        (["parts", model, "--lr", "all=1", "--names", "--json"], "--names must be left out"),
        (
            ["compare", "qa", "--baseline", "symmetric", "--match", "flops"],
            "match goes with the baseline twin; got match flops, baseline symmetric",
        ),
    ):
        done = run(*words, code=2)
        assert message in done.output
        assert done.output.count("\n") == 1


def test_a_model_that_is_scored_on_what_it_learnt_says_so(model, tmp_path):
    scoring = APPLICATIONS["qa"].evaluate
    seen = scoring.score(model, scoring.options()).notes
    assert seen == [
        "the model was trained on 172 of these 212 questions; --part test scores those that it "
        "never saw"
    ]
    few_questions(tmp_path / "few.jsonl")
    assert scoring.score(model, scoring.options(data=tmp_path / "few.jsonl")).notes == []


def test_only_the_part_that_training_did_not_see_is_scored(model):
    done = run("evaluate", model, "--part", "test", "--json", "--quiet")
    results = json.loads(done.stdout)
    part = load_test_questions(None, part="test")
    assert results["questions"] == len(part.questions) < 212
    trained = json.loads((model / "scores.json").read_text())["scores"]
    assert results["scores"]["f1"]["value"] == pytest.approx(trained["f1"])


def test_a_model_below_the_most_similar_sentence_is_called_so(model):
    lines = run("evaluate", model, "--part", "test", "--quiet").stdout.splitlines()
    assert any(
        line.startswith("retrieval, fitted on validation questions: weight ") for line in lines
    )
    scores = {line.split()[0]: float(line.split()[1]) for line in lines[:4]}
    assert scores["f1"] < scores["f1_best_sentence"]
    assert "the sentence most like the question answers better than this model" in lines[-1]


def test_the_better_reader_answers_unless_told_otherwise(model, documents, tmp_path):
    stored = json.loads((model / "scores.json").read_text())
    assert stored["scores"]["f1"] < stored["baselines"]["tf_idf"]["f1"]
    words = ["where is Ben", "--context", documents, "--json", "--quiet"]
    done = run("answer", model, *words)
    result = json.loads(done.stdout)
    assert result["reader"] == "sentence"
    assert [answer["text"] for answer in result["answers"]] == [
        passage["sentence"]
        for passage in json.loads(run("search", *words[:-1], "--quiet").stdout)["passages"]
    ]
    assert "the sentence most like the question answered better than this model" in done.stderr
    assert "--reader model asks the model" in done.stderr
    assert "encod" not in done.stderr  # for sentences no document is encoded
    asked = run("answer", model, *words, "--reader", "model")
    assert json.loads(asked.stdout)["reader"] == "model"
    assert not asked.stderr
    better = tmp_path / "better"
    shutil.copytree(model, better)
    stored["scores"]["f1"] = stored["baselines"]["tf_idf"]["f1"]
    (better / "scores.json").write_text(json.dumps(stored))
    assert run("answer", better, *words).stdout == asked.stdout
    told = run("answer", better, *words, "--reader", "sentence")
    assert told.stdout == done.stdout
    assert not told.stderr
    del stored["baselines"]  # as earlier releases wrote it
    (better / "scores.json").write_text(json.dumps(stored))
    assert run("answer", better, *words).stdout == asked.stdout
    (better / "scores.json").write_text('{"version": 1, "scores": {"f1": "9"}}')
    assert "f1 must be a number; got '9'" in run("answer", better, *words, code=2).stderr
    done = run("answer", model, "--context", documents, input=b"\xff\n", code=2)
    assert "the question must be UTF-8" in done.stderr


def test_questions_that_are_typed_are_answered_in_order(model, documents):
    questions = ["where is Ben", "who is Anna"]
    done = run(*ANSWER, model, *questions, "--context", documents, "--json", "--quiet")
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == questions
    done = run(*ANSWER, model, "Ben", " ", "--context", documents, code=2)
    assert "a question is needed; got an empty one" in done.stderr


def test_answers_are_spans_of_the_documents_with_offsets(model, documents):
    done = run(
        *ANSWER,
        model,
        "where is Ben",
        "--context",
        documents,
        "--json",
        "--quiet",
    )
    result = json.loads(done.stdout)
    assert result["question"] == "where is Ben"
    assert len(result["answers"]) == 3
    texts = {path.name: path.read_text(encoding="utf-8") for path in documents.iterdir()}
    for answer in result["answers"]:
        name = answer["title"].rsplit("/", 1)[-1]
        assert texts[name][answer["start"] : answer["end"]] == answer["text"]


def test_an_index_is_kept_extended_and_guarded(model, documents, tmp_path):
    index = tmp_path / "index"
    shown = run(
        *ANSWER,
        model,
        "who",
        "--context",
        documents,
        "--index",
        index,
        "--json",
        "--quiet",
    )
    again = run(*ANSWER, model, "who", "--index", index, "--json", "--quiet")
    assert again.stdout == shown.stdout
    more = tmp_path / "three.txt"
    more.write_text("Carl lives in Lima.")
    run(*ANSWER, model, "who", "--context", more, "--index", index, "--quiet")
    result = run(
        *ANSWER,
        model,
        "who",
        "--index",
        index,
        "--json",
        "--quiet",
        "--top-k",
        9999,
    )
    assert any(a["title"].endswith("three.txt") for a in json.loads(result.stdout)["answers"])
    other = tmp_path / "other"
    run("train", "qa", "--out", other, "--steps", 1, "--seed", 7, *SMALL, *SHALLOW)
    done = run(*ANSWER, other, "who", "--index", index, "--quiet", code=2)
    assert "must be of the model that answers" in done.output
    assert done.output.count("\n") == 1


def test_an_index_never_answers_from_what_documents_held_before(model, documents, tmp_path):
    index = tmp_path / "index"
    one = documents / "one.md"
    old = one.read_text(encoding="utf-8")
    made = ["--context", documents, "--index", index, "--quiet"]
    run(*ANSWER, model, "who", *made)
    assert not run(*ANSWER, model, "who", *made).stderr
    for change, word in (
        (lambda: one.write_text("Anna lives in Lima."), "changed"),
        (one.unlink, "deleted"),
    ):
        change()
        done = run(*ANSWER, model, "who", "--index", index, "--quiet", code=2)
        assert f"{one} {word}. Give --context, and {index} follows them" in done.output
        assert done.output.count("\n") == 1
    one.write_text(old, encoding="utf-8")
    done = run(*ANSWER, model, "who", "--index", index, "--json", "--quiet")
    assert not done.stderr
    shutil.rmtree(documents)
    assert "deleted" in run(*ANSWER, model, "who", "--index", index, code=2).output


def test_an_index_alone_answers_with_a_word_where_its_documents_cannot_be_compared(model, tmp_path):
    index, there = tmp_path / "index", tmp_path / "there" / "documents"
    there.mkdir(parents=True)
    (there / "one.md").write_text("Anna lives in Rome.")
    run(*ANSWER, model, "who", "--context", there, "--index", index, "--quiet")
    shutil.rmtree(there.parent)
    done = run(*ANSWER, model, "who", "--index", index, "--json", "--quiet")
    assert json.loads(done.stdout)["answers"]
    assert "note: 1 documents of the index are not here" in done.stderr
    (index / "documents.json").write_text('{"version": 1, "documents": {"a": 3}}')
    done = run(*ANSWER, model, "who", "--index", index, code=2)
    assert "the list must hold documents with their sums" in done.output


@pytest.mark.slow
def test_two_processes_that_write_one_index_leave_it_whole(model, tmp_path):
    index, texts, commands = tmp_path / "index", [], []
    for name in ("Anna", "Ben"):
        (tmp_path / f"{name}.md").write_text(f"{name} lives in Rome. " * 2000)
        texts.append(tmp_path / f"{name}.md")
        commands.append([*ANSWER, model, "who", "--index", index, "--context", texts[-1]])
    calls = [[sys.executable, "-m", "askew", *map(str, call), "--quiet"] for call in commands]
    both = [subprocess.Popen(call, stderr=subprocess.PIPE, text=True) for call in calls]
    written = []
    for text, process in zip(texts, both, strict=True):
        _, errors = process.communicate(timeout=300)
        if process.returncode:
            assert process.returncode == 2
            assert "another process is at work in" in errors
        else:
            written.append(text.name)
    assert written
    assert sorted(c.title for c in ContextIndex.load(index).contexts) == sorted(written)
    for command in commands:
        run(*command, "--quiet")
    assert len(ContextIndex.load(index).contexts) == 2
    assert not (index / ".lock").exists()


def test_many_questions_from_stdin(model, documents):
    done = run(
        *ANSWER,
        model,
        "--context",
        documents,
        "--json",
        "--quiet",
        input="who\n\nwhere is it\n",
    )
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == [
        "who",
        "where is it",
    ]


def test_a_byte_order_mark_is_no_part_of_a_question_and_utf16_is_named(model, documents):
    words = [*ANSWER, model, "--context", documents, "--json", "--quiet"]
    done = run(*words, input=b"\xef\xbb\xbfwho\r\n\xe9\xff\r\nwho\r\n", code=2)
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == ["who", "who"]
    assert "a question must be text without lone surrogates" in done.stderr
    done = run(*words, input="who\n".encode("utf-16"), code=2)
    assert "text must be UTF-8; got UTF-16 in stdin" in done.stderr


def test_what_cannot_be_answered_is_refused_in_one_line(model, documents, tmp_path):
    for words, message in (
        (["  ", "--context", documents], "a question is needed"),
        (["who"], "documents are needed"),
        (["who", "--index", tmp_path / "none"], "the index must exist"),
        (["who " * 99, "--context", documents], "must have 1 to 64 tokens"),
        (["who", "--context", tmp_path / "gone"], "gone"),
    ):
        done = run(*ANSWER, model, *words, "--quiet", code=2)
        assert message in done.output
        assert done.output.count("\n") == 1


def test_refused_answers_are_told_and_not_trained_on(tmp_path):
    rows = [
        {"question": f"what is {n}", "context": f"number {n}", "title": f"page {n}",
         "answers": [{"text": str(n), "start": 7 if n else 3}]}
        for n in range(9)
    ]  # fmt: skip
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(
        "train", "qa", "--data", data, "--out", tmp_path / "m", "--steps", 1, *SMALL, *SHALLOW
    )
    assert "1 answer refused" in done.output


@pytest.mark.slow
def test_a_comparison_of_questions(tmp_path):
    done = run(
        "compare", "qa", "--seeds", 2, "--steps", 3, "--out", tmp_path / "c", "--json",
        "--report-language", "pt", *SMALL
    )  # fmt: skip
    results = json.loads(done.stdout[done.stdout.index("{") :])
    assert results["task"] == "qa"
    labels = {metric["name"]: metric["label"] for metric in results["metrics"]}
    assert labels["latency_ms"] == "time per question"
    page = (tmp_path / "c" / "report.html").read_text("utf-8")
    assert '<html lang="pt">' in page
    assert "Itens de F1" in page


def test_a_teacher_is_read_once_and_its_work_is_told(tmp_path, monkeypatch):
    words = [f"w{n}" for n in range(20)]
    vocabulary = {word: number for number, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=66,
    )
    teacher, out = tmp_path / "teacher", tmp_path / "model"
    BertForQuestionAnswering(config).save_pretrained(teacher)
    tokenizer.save(str(teacher / "tokenizer.json"))
    train = ["train", "qa", "--steps", 2, *SMALL, *SHALLOW]
    taught = [*train, "--teacher", teacher, "--out", out]
    said = run(*taught, "--set", "training.teacher_top_k=4").stderr
    assert "the teacher read 172 questions in 0." in said
    assert "the 4 largest probabilities of starts and of ends hold" in said
    identity = json.loads((out / "training.json").read_text())
    assert identity["data"]["teacher"] == folder_sha256(teacher)
    assert identity["data"]["training"]["teacher_top_k"] == 4
    parts = sorted(path.name for path in (tmp_path / "model-taught").iterdir())
    assert parts == ["kept.json", "part-00000.safetensors", "part-00001.safetensors"]
    assert "other data" in run(*taught, code=2).output  # of another number of probabilities
    shutil.rmtree(out)
    again = run(*taught, code=1)  # so what is kept is of other settings, too
    assert "the folder must be of a run with the same settings" in again.output
    for words, message in (
        ([*train, "--teacher", out.parent, "--out", out], "must hold a config.json"),
        ([*train, "--set", "training.teacher_weight=1", "--out", out], "needs a teacher; got none"),
    ):
        done = run(*words, code=2)
        assert message in done.output
        assert done.output.count("\n") == 1
