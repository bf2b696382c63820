"""An index follows its documents, whatever became of them since."""

import json
import shutil

import pytest
from small_answerer import TOKENIZER, answerer
from typer.testing import CliRunner

from askew.cli import app
from askew.models import ContextIndex, _context_encoding
from askew.models._context_encoding import ContextEncoder

TEXTS = {"a.md": "anna lives in rome", "b.md": "ben lives in oslo", "c.md": "the red house"}

ANSWER = ("answer", "--reader", "model")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("model"), answerer()
    made.model.save_pretrained(folder)
    for name in ("tokenizer.json", "question_tokenizer.json"):
        TOKENIZER.save(str(folder / name))
    return folder


@pytest.fixture
def place(tmp_path):
    (tmp_path / "docs").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "docs" / name).write_text(text)
    return tmp_path


@pytest.fixture
def follow(model, place):
    """Ask, and return what the index holds then and what was said."""

    def ask(*more):
        tops = more or ("docs",)
        words = [word for top in tops for word in ("--context", str(place / top))]
        words = [
            *ANSWER,
            model,
            "who",
            *words,
            "--index",
            place / "index",
            "--quiet",
        ]
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        index = ContextIndex.load(place / "index")
        live = {c.title: c.text for i, c in enumerate(index.contexts) if i not in index.dropped}
        windows = {index.contexts[row].title for row in index.window_contexts.tolist()}
        assert windows == set(live)
        return live, done.stderr

    ask()
    return ask


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """Count the characters that are encoded."""
    seen, steps = [], ContextEncoder._steps

    def counting(self, contexts, *rest):
        seen.extend(context.text for context in contexts)
        return steps(self, contexts, *rest)

    monkeypatch.setattr(ContextEncoder, "_steps", counting)
    return seen


def test_a_changed_document_is_encoded_again_and_the_others_are_not(follow, place, counted):
    counted.clear()
    (place / "docs" / "a.md").write_text("anna lives in oslo")
    live, said = follow()
    assert live == TEXTS | {"a.md": "anna lives in oslo"}
    assert counted == ["anna lives in oslo"]
    assert said == "askew: note: of the documents of the index: 1 encoded again\n"
    assert follow() == (live, "")


def test_a_deleted_document_is_dropped(follow, place, counted):
    counted.clear()
    (place / "docs" / "b.md").unlink()
    (place / "docs" / "c.md").write_text("  ")
    live, said = follow()
    assert live == {"a.md": TEXTS["a.md"]}
    assert "2 dropped" in said
    assert counted == []


def test_a_renamed_document_keeps_its_states(follow, place, counted):
    counted.clear()
    (place / "docs" / "b.md").rename(place / "docs" / "z.txt")
    live, said = follow()
    assert live == {"a.md": TEXTS["a.md"], "z.txt": TEXTS["b.md"], "c.md": TEXTS["c.md"]}
    assert said == "askew: note: of the documents of the index: 1 renamed\n"
    assert counted == []
    assert follow() == (live, "")


def test_a_document_that_is_as_it_was_again_is_found_again(follow, place):
    one = place / "docs" / "a.md"
    for text in ("ben", TEXTS["a.md"], "tree"):
        one.write_text(text)
        assert follow()[0] == TEXTS | {"a.md": text}


def test_documents_of_other_folders_are_followed_too(follow, place):
    (place / "more").mkdir()
    (place / "more" / "d.md").write_text("blue tree")
    assert follow("more")[0] == TEXTS | {"d.md": "blue tree"}
    (place / "docs" / "a.md").write_text("rome or oslo")
    (place / "docs" / "b.md").unlink()
    live, said = follow("more")
    assert live == {"a.md": "rome or oslo", "c.md": TEXTS["c.md"], "d.md": "blue tree"}
    assert said == "askew: note: of the documents of the index: 1 encoded again, 1 dropped\n"


def test_two_files_of_one_name_stay_apart(follow, place):
    (place / "more").mkdir()
    (place / "more" / "a.md").write_text("blue tree")
    live, _ = follow("docs", "more")
    both = {(place / top / "a.md").as_posix() for top in ("docs", "more")}
    assert both <= set(live)
    assert "a.md" not in live
    (place / "more" / "a.md").unlink()
    live, _ = follow("docs")
    assert live == TEXTS


def test_two_files_of_one_name_that_come_after_each_other_stay_apart(follow, place, counted):
    (place / "more").mkdir()
    new = place / "more" / "a.md"
    new.write_text("blue tree")
    counted.clear()
    both = TEXTS | {str(new): "blue tree"}
    assert follow("more") == (both, "")
    assert follow("docs") == follow("more") == (both, "")
    assert counted == ["blue tree"]
    (place / "docs").rename(place / "away")
    new.write_text("green tree")
    assert follow("more")[0] == {"a.md": "green tree"}


def test_an_index_of_an_earlier_release_in_which_two_files_have_one_title(follow, place, counted):
    (place / "more").mkdir()
    (place / "other").mkdir()
    (place / "other" / "d.md").write_text("red")
    new = place / "more" / "a.md"
    new.write_text("blue tree")
    follow("more")
    counted.clear()
    index = ContextIndex.load(place / "index")
    row = next(row for row, one in enumerate(index.contexts) if one.text == "blue tree")
    index.update(titles={row: "a.md"})
    path = place / "index" / "documents.json"
    values = json.loads(path.read_text())
    values["documents"][str(new)]["title"] = "a.md"
    path.write_text(json.dumps(values))
    live, _ = follow("other")
    old = str(place / "docs" / "a.md")
    assert live == TEXTS | {"a.md": "blue tree", old: TEXTS["a.md"], "d.md": "red"}
    assert counted == ["red"]


def test_an_index_of_an_earlier_release_follows_too(follow, place):
    path = place / "index" / "documents.json"
    values = json.loads(path.read_text())
    for record in values["documents"].values():
        del record["title"]
    path.write_text(json.dumps(values))
    (place / "docs" / "a.md").write_text("anna lives in oslo")
    assert follow()[0] == TEXTS | {"a.md": "anna lives in oslo"}


def test_documents_that_are_not_here_stay(follow, place):
    there = place / "there" / "docs"
    shutil.copytree(place / "docs", there)
    (there / "a.md").rename(there / "d.md")
    (there / "b.md").unlink()
    (there / "c.md").unlink()
    follow("there/docs")
    shutil.rmtree(place / "there")
    live, said = follow()
    assert live == TEXTS | {"d.md": TEXTS["a.md"]}
    assert "1 documents of the index are not here" in said


def test_what_was_dropped_is_cleared_when_it_is_the_most(follow, place):
    one = place / "docs" / "a.md"
    for number in range(9):
        one.write_text(f"anna {number}")
        live, _ = follow()
        assert live == TEXTS | {"a.md": f"anna {number}"}
        index = ContextIndex.load(place / "index")
        assert 2 * len(index.dropped) < len(index.contexts)
    assert len(list((place / "index").glob("shard-*.safetensors"))) <= 3


@pytest.mark.parametrize("moment", ["update", "compact", "_write"])
def test_an_update_that_stops_halfway_is_made_up_for(follow, place, monkeypatch, moment):
    def stop(*_, **__):
        raise KeyboardInterrupt

    (place / "docs" / "a.md").write_text("anna lives in oslo")
    (place / "docs" / "b.md").unlink()
    (place / "docs" / "c.md").rename(place / "docs" / "z.md")
    owner = "askew.cli._indexed_documents._write" if moment == "_write" else None
    with monkeypatch.context() as patch:
        patch.setattr(owner, stop) if owner else patch.setattr(ContextIndex, moment, stop)
        with pytest.raises(AssertionError):
            follow()
    assert follow()[0] == {"a.md": "anna lives in oslo", "z.md": TEXTS["c.md"]}


def test_an_encoding_that_is_stopped_keeps_what_is_done_and_says_so(
    model, place, monkeypatch, counted
):
    monkeypatch.setattr(_context_encoding, "_GROUP_CHARACTERS", 1)  # each document by itself
    encode, calls = ContextEncoder.encode_batch, []

    def dying(self, *given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(self, *given)

    alone = [*ANSWER, str(model), "who", "--index", str(place / "index"), "--quiet"]
    words = [*alone, "--context", str(place / "docs"), "--jobs", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(ContextEncoder, "encode_batch", dying)
        assert CliRunner().invoke(app, words).exit_code != 0
    assert [c.title for c in ContextIndex.load(place / "index").contexts] == ["a.md"]
    done = CliRunner().invoke(app, alone)
    assert done.exit_code == 0
    assert "some documents of" in done.stderr
    assert "--context encodes the rest" in done.stderr
    counted.clear()
    assert CliRunner().invoke(app, words).exit_code == 0
    assert counted == [TEXTS["b.md"], TEXTS["c.md"]]
    assert {c.title for c in ContextIndex.load(place / "index").contexts} == set(TEXTS)
    assert CliRunner().invoke(app, alone).stderr == ""
