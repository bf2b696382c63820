"""A teacher's translations are made once, and resumed after a crash."""

import json

import pytest

from askew.tasks import Teacher, _teacher, find_teacher, teach

SOURCES = [f"line {i}" for i in range(9)]


class Upper:
    """Translates into capitals, and records its calls."""

    asked: list = []  # noqa: RUF012  (one list, of the test)

    @classmethod
    def from_pretrained(cls, folder, *, engine):
        cls.asked.append((folder.name, engine))
        return cls()

    def translate(self, texts, *, num_beams):
        self.asked.append((len(texts), num_beams))
        return ["" if text == "line 4" else text.upper() for text in texts]


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setattr(_teacher, "Translator", Upper)
    monkeypatch.setattr(_teacher, "_CHUNK", 4)
    monkeypatch.setattr(Upper, "asked", [])
    return Upper


def test_translates_every_source_and_leaves_out_what_comes_back_empty(asked, tmp_path):
    reported = []
    pairs = teach(
        tmp_path,
        Teacher(fingerprint="", num_beams=3, engine="ctranslate2"),
        SOURCES,
        store=tmp_path / "taught.jsonl",
        progress=lambda *call: reported.append(call),
    )
    kept = [source for source in SOURCES if source != "line 4"]
    assert pairs.sources == kept
    assert pairs.targets == [source.upper() for source in kept]
    assert reported == [(4, 9), (8, 9), (9, 9)]
    assert asked.asked == [(tmp_path.name, "ctranslate2"), (4, 3), (4, 3), (1, 3)]


@pytest.mark.parametrize("cut", [0, 3, 20, 40])
def test_goes_on_where_it_was_cut_off(asked, tmp_path, cut):
    store, call = tmp_path / "taught.jsonl", {"progress": lambda *_: None}
    teacher = Teacher(fingerprint="")
    whole = teach(tmp_path, teacher, SOURCES, store=store, **call)
    written = store.read_bytes()
    store.write_bytes(written[:cut])
    left = 9 - written[:cut].count(b"\n")
    asked.asked.clear()
    assert teach(tmp_path, teacher, SOURCES, store=store, **call) == whole
    assert sum(count for count, _ in asked.asked[1:]) == left
    assert store.read_bytes() == written
    asked.asked.clear()
    assert teach(tmp_path, teacher, SOURCES, store=store, **call) == whole
    assert asked.asked == []


@pytest.mark.parametrize(
    ("teacher", "sources"),
    [
        (Teacher(fingerprint="b"), SOURCES),
        (Teacher(fingerprint="a", num_beams=1), SOURCES),
        (Teacher(fingerprint="a"), [*SOURCES, "one more"]),
    ],
)
def test_what_another_teacher_said_or_of_other_sources_is_refused(
    asked, tmp_path, teacher, sources
):
    call = {"store": tmp_path / "taught.jsonl", "progress": lambda *_: None}
    whole = teach(tmp_path, Teacher(fingerprint="a"), SOURCES, **call)
    with pytest.raises(ValueError, match=r"the store must be of this teacher, .* Remove it"):
        teach(tmp_path, teacher, sources, **call)
    (tmp_path / "taught.json").unlink()  # as in stores of earlier releases
    assert teach(tmp_path, Teacher(fingerprint="b"), SOURCES, **call) == whole


def test_stored_lines_hold_any_character(asked, tmp_path):
    hostile = ["a\u2028b", "c\rd", "e\x85f", "\u200fg", "h\\n"]
    store = tmp_path / "taught.jsonl"
    for _ in range(2):
        pairs = teach(
            tmp_path, Teacher(fingerprint=""), hostile, store=store, progress=lambda *_: None
        )
        assert pairs.targets == [text.upper() for text in hostile]
    assert [json.loads(line) for line in store.read_bytes().splitlines()] == pairs.targets


def test_a_teacher_is_known_by_its_weights_and_its_engine_by_its_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    result = find_teacher(tmp_path, num_beams=2)
    assert (result.num_beams, result.engine, len(result.fingerprint)) == (2, "torch", 64)
    (tmp_path / "ctranslate2").mkdir()
    assert find_teacher(tmp_path).engine == "ctranslate2"
    (tmp_path / "model.safetensors").write_bytes(b"other")
    assert find_teacher(tmp_path).fingerprint != result.fingerprint
    with pytest.raises(ValueError, match="must be a folder that training wrote; got"):
        find_teacher(tmp_path / "ctranslate2")
