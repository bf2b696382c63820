"""An index in a folder is the index in memory, whatever files it is cut into."""

import json
from pathlib import Path

import pytest
import torch
from small_answerer import QUESTION, answerer, contexts

from askew.models import ContextIndex, _context_encoding
from askew.text import Context

MAPS = Path("/proc/self/maps")


@pytest.fixture
def reader():
    return answerer()


def windows(index):
    """Every window by itself: its context, its places and its states."""
    rows = (index.gather(torch.tensor([row])) for row in range(index.num_windows))
    return [(int(w.contexts[0]), w.places[0].tolist(), w.states[0]) for w in rows]


@pytest.fixture
def small_files(monkeypatch):
    """Cut files after every batch of windows, so that contexts reach over several."""
    monkeypatch.setattr(_context_encoding, "SHARD_BYTES", 1)
    monkeypatch.setattr(_context_encoding, "_GROUP_CHARACTERS", 400)


def test_many_small_files_are_one_large_one(reader, tmp_path, monkeypatch, small_files):
    texts = [*contexts(9), Context("empty", "")]
    index = reader.encode([], dtype="float32")
    index.save(tmp_path)
    seen = []
    assert reader.append(index, texts, progress=lambda *done: seen.append(done)) == 0
    assert len(list(tmp_path.glob("*.safetensors"))) > 5
    total = sum(len(context.text) for context in texts)
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)
    loaded = ContextIndex.load(tmp_path, fingerprint=reader.fingerprint)
    assert loaded.contexts == index.contexts == texts
    assert loaded.num_bytes == sum(states.nbytes for _, _, states in windows(loaded))
    monkeypatch.undo()  # the same batches in one piece
    monkeypatch.setattr(_context_encoding, "_GROUP_CHARACTERS", 400)
    whole = reader.encode(texts, dtype="float32")
    for one, other in zip(windows(loaded), windows(whole), strict=True):
        assert one[:2] == other[:2]
        assert torch.equal(one[2], other[2])
    for held in (index, loaded):
        assert reader.answer(QUESTION, held, top_k=9) == reader.answer(QUESTION, whole, top_k=9)


def test_windows_of_several_files_come_together_in_the_order_asked_for(reader, small_files):
    index = reader.encode(contexts(5), dtype="float32")
    alone, rows = windows(index), [7, 0, index.num_windows - 1, 2, 7]
    held = index.gather(torch.tensor(rows))
    for place, row in enumerate(rows):
        context, places, states = alone[row]
        length = len(places)
        assert held.mask[place].sum() == length == index.window_lengths[row]
        assert int(held.contexts[place]) == context
        assert held.places[place, :length].tolist() == places
        assert held.places[place, length:].eq(-1).all()
        assert torch.equal(held.states[place, :length], states)


def test_half_precision_rounds_the_states_and_nothing_else(reader):
    whole, half = (reader.encode(contexts(4), dtype=d) for d in ("float32", "float16"))
    assert 2 * half.num_bytes == whole.num_bytes
    assert torch.equal(whole.vectors, half.vectors)
    for one, other in zip(windows(whole), windows(half), strict=True):
        assert one[:2] == other[:2]
        assert torch.equal(one[2].half(), other[2])
    with pytest.raises(
        ValueError, match="dtype must be one of float16, float32, int8; got dtype 'int16'"
    ):
        reader.encode([], dtype="int16")


def test_texts_come_back_to_the_character(reader, tmp_path):
    texts = [
        Context("a\nb", "x\r\ny\u2028z\x00\x85"),
        Context("\ud800", "ü\u0308 👩🏽‍🚀"),
        Context("", ""),
    ]
    reader.encode(texts).save(tmp_path)
    loaded = ContextIndex.load(tmp_path)
    assert loaded.contexts == texts
    assert [loaded.row(context) for context in texts] == [0, 1, 2]
    assert loaded.row(Context("", "x")) is None


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux lists mapped files, in /proc/self/maps")
def test_states_are_mapped_not_read(reader, tmp_path):
    reader.encode(contexts(4)).save(tmp_path)
    ContextIndex.load(tmp_path)
    name = str(tmp_path / "shard-00000.safetensors")
    assert name not in MAPS.read_text()
    index = ContextIndex.load(tmp_path)
    assert name in MAPS.read_text()
    assert index.num_windows


@pytest.mark.parametrize("step", range(5))  # two files of states, two of texts, the manifest
def test_wherever_an_append_dies_the_index_stays_whole(
    reader, tmp_path, monkeypatch, small_files, step
):
    texts = contexts(4)
    reader.encode(texts[:2]).save(tmp_path)
    index, replace, done = ContextIndex.load(tmp_path), Path.replace, []

    def dying(part, path):
        if len(done) == step:
            raise KeyboardInterrupt
        done.append(path)
        return replace(part, path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            reader.append(index, texts)
    assert len(done) == step
    assert index.contexts == ContextIndex.load(tmp_path).contexts == texts[:2]
    assert reader.append(index, texts) == 2
    again = ContextIndex.load(tmp_path)
    assert again.contexts == texts
    assert reader.answer(QUESTION, again, top_k=5) == reader.answer(QUESTION, index, top_k=5)


def test_an_encoding_that_dies_leaves_the_index_in_memory_as_it_was(
    reader, monkeypatch, small_files
):
    index = reader.encode(contexts(2))
    count, encode_batch, calls = index.num_windows, reader._encoder.encode_batch, []

    def dying(*given):
        calls.append(given)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return encode_batch(*given)

    monkeypatch.setattr(reader._encoder, "encode_batch", dying)
    with pytest.raises(KeyboardInterrupt):
        reader.append(index, contexts(9))
    assert (index.contexts, index.num_windows) == (contexts(2), count)


def test_two_who_append_do_not_lose_what_the_other_wrote(reader, tmp_path):
    texts = contexts(3)
    reader.encode(texts[:1]).save(tmp_path)
    one, other = ContextIndex.load(tmp_path), ContextIndex.load(tmp_path)
    reader.append(one, texts[1:2])
    with pytest.raises(ValueError, match=r"must be as it was loaded; got 2 files in .*, not 1"):
        reader.append(other, texts[2:])
    assert ContextIndex.load(tmp_path).contexts == texts[:2]
    with pytest.raises(ValueError, match=r"ContextIndex\.save: the folder must hold no index"):
        other.save(tmp_path)


def test_a_folder_is_written_while_it_is_encoded(reader, tmp_path, small_files):
    texts = contexts(5)
    made = reader.encode(texts, folder=tmp_path / "new")
    whole = reader.encode(texts)
    whole.save(tmp_path / "saved")
    files = [{p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("new", "saved")]
    assert files[0] == files[1]
    assert reader.answer(QUESTION, made, top_k=9) == reader.answer(QUESTION, whole, top_k=9)
    assert reader.encode([], folder=tmp_path / "empty").contexts == []
    assert ContextIndex.load(tmp_path / "empty").num_windows == 0
    with pytest.raises(ValueError, match=r"ContextIndex\.save: the folder must hold no index"):
        reader.encode(texts, folder=tmp_path / "new")


def test_what_a_killed_writer_left_is_cleared_and_what_is_not_ours_is_kept(reader, tmp_path):
    texts = contexts(3)
    killed, mine = tmp_path / "killed", tmp_path / "mine"
    for folder in (killed, mine):
        folder.mkdir()
        for name in ("shard-00000.jsonl", "shard-00007.safetensors"):
            (folder / name).write_text("half")
    (killed / ".lock").touch()
    (killed / ".shard-00009.jsonl.partial").write_text("half")
    reader.encode(texts, folder=killed)
    assert sorted(path.name for path in killed.iterdir()) == [
        *("index.json", "shard-00000.jsonl", "shard-00000.safetensors")
    ]
    assert ContextIndex.load(killed).contexts == texts
    for write in (lambda: reader.encode(texts, folder=mine), lambda: reader.encode([]).save(mine)):
        with pytest.raises(ValueError, match=r"must hold no other shards; got \['shard-00000.jso"):
            write()
        assert {path.read_text() for path in mine.iterdir()} == {"half"}


def altered(tmp_path, **changes):
    path = tmp_path / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_altered_files_are_refused_by_size_always_and_by_sum_unless_told_otherwise(
    reader, tmp_path
):
    reader.encode(contexts(3)).save(tmp_path)
    texts = tmp_path / "shard-00000.jsonl"
    kept = texts.read_text()
    texts.write_text(kept.replace("anna", "emma"))
    with pytest.raises(ValueError, match=r"as it was written; got .*shard-00000\.jsonl altered"):
        ContextIndex.load(tmp_path)
    assert "emma" in " ".join(
        c.text for c in ContextIndex.load(tmp_path, check_sums=False).contexts
    )
    for damaged in (kept + " ", kept[:-1]):
        texts.write_text(damaged)
        with pytest.raises(ValueError, match=rf"must have {len(kept)} bytes; got {len(damaged)}"):
            ContextIndex.load(tmp_path, check_sums=False)
    texts.unlink()
    with pytest.raises(ValueError, match=r"shard-00000\.jsonl must have .* got no file"):
        ContextIndex.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "must be of version 1; got version 2 in"),
        (
            {"dtype": "int16"},
            r"dtype must be one of float16, float32, int8; got dtype 'int16' in .*index\.json",
        ),
        ({"dtype": "float32"}, "be torch.float32; got states torch.float16"),
        ({"extra": 1}, r"index\.json must be what ContextIndex wrote"),
        ({"shards": 3}, r"index\.json must be what ContextIndex wrote"),
    ],
)
def test_a_foreign_manifest_is_refused_in_one_line(reader, tmp_path, changes, message):
    reader.encode(contexts(2)).save(tmp_path)
    altered(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as error:
        ContextIndex.load(tmp_path)
    assert "\n" not in str(error.value)


def test_no_file_outside_the_folder_is_opened(reader, tmp_path):
    reader.encode(contexts(2)).save(tmp_path / "index")
    shards = json.loads((tmp_path / "index" / "index.json").read_text())["shards"]
    altered(tmp_path / "index", shards=[shards[0] | {"name": "../shard-00000.safetensors"}])
    with pytest.raises(ValueError, match="a shard in another folder"):
        ContextIndex.load(tmp_path / "index")
    with pytest.raises(ValueError, match=r"an index folder holds index\.json"):
        ContextIndex.load(tmp_path)


def test_blank_texts_have_no_answers_and_no_trouble(reader):
    index = reader.encode([Context("", " \n" * 200), Context("", "  anna ")])
    found = reader.answer(QUESTION, index, top_k=99, shortlist=None)
    assert {answer.context for answer in found} == {1}
    assert "anna" in {answer.text for answer in found}


def live(index):
    """The states of every window by the text that it shows."""
    found = windows(index)
    return {(index.contexts[row], str(places)): states for row, places, states in found}


@pytest.mark.parametrize("in_folder", [False, True])
def test_what_is_dropped_is_found_no_longer_and_compacting_changes_nothing_else(
    reader, tmp_path, small_files, in_folder
):
    texts = contexts(6)
    index = reader.encode(texts, dtype="float32", folder=tmp_path / "i" if in_folder else None)
    before = live(index)
    index.update(dropped=[1, 4], titles={2: "new"})
    renamed = texts[2]._replace(title="new")
    expected = {
        (renamed if context == texts[2] else context, places): states
        for (context, places), states in before.items()
        if context not in (texts[1], texts[4])
    }
    held = [index, ContextIndex.load(tmp_path / "i")] if in_folder else [index]
    for one in held:
        assert one.dropped == {1, 4}
        assert one.row(texts[1]) is None
        assert one.row(texts[2]) is None
        assert one.row(renamed) == 2
        assert_equal(live(one), expected)
        assert len(one.window_spans) == one.num_windows
        assert {row for row, _ in reader.rank(QUESTION, one)} == {0, 2, 3, 5}
        assert {answer.context for answer in reader.answer(QUESTION, one, top_k=99)} <= {0, 2, 3, 5}
    index.compact()
    held = [index, ContextIndex.load(tmp_path / "i")] if in_folder else [index]
    for one in held:
        assert one.contexts == [texts[0], renamed, texts[3], texts[5]]
        assert one.dropped == frozenset()
        assert_equal(live(one), expected)
    if in_folder:
        assert len(list((tmp_path / "i").glob("shard-*"))) == 2
    assert reader.append(index, texts) == 3
    assert index.row(texts[4]) is not None


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


def test_a_name_that_comes_back_is_of_the_later_context(reader, tmp_path):
    text = contexts(1)[0]
    z = text._replace(title="z")
    index = reader.encode([text], folder=tmp_path / "i")
    index.update(titles={0: "z"})
    assert reader.append(index, [text]) == 0
    for one in (index, ContextIndex.load(tmp_path / "i")):
        assert (one.row(z), one.row(text)) == (0, 1)
    index.update(dropped=[0])
    assert reader.append(index, [z]) == 0
    for one in (index, ContextIndex.load(tmp_path / "i")):
        assert (one.row(z), one.row(text)) == (2, 1)
        assert reader.append(one, [z, text]) == 2


def test_only_rows_of_the_index_can_be_changed(reader):
    index = reader.encode(contexts(2))
    index.update(dropped=[1])
    for change in ({"dropped": [2]}, {"dropped": [-1]}, {"titles": {1: "again"}}):
        with pytest.raises(ValueError, match=r"a row must be of a context in the index; got row"):
            index.update(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"dropped": [9]},
        {"dropped": [1, 0]},
        {"dropped": ["0"]},
        {"dropped": [True]},
        {"dropped": 3},
        {"titles": {"9": "a"}},
        {"titles": {"0": 3}},
        {"titles": []},
    ],
)
def test_changes_that_are_not_of_the_index_are_refused(reader, tmp_path, change):
    reader.encode(contexts(2), folder=tmp_path)
    path = tmp_path / "index.json"
    values = json.loads(path.read_text())
    assert not {"dropped", "titles"} & values.keys()  # an earlier release reads it
    path.write_text(json.dumps(values | change))
    with pytest.raises(ValueError, match="must be what ContextIndex wrote"):
        ContextIndex.load(tmp_path)
