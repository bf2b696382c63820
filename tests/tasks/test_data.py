"""Every way to say where the text lies, and every way to say it wrong."""

from pathlib import Path

import pytest

from askew.tasks import Sources, _data, load_text, read_any
from askew.text import ParallelText, split_pairs


def numbered(count, mark=""):
    return ParallelText(
        [f"source {mark}{i}" for i in range(count)], [f"target {mark}{i}" for i in range(count)]
    )


def write(folder, name, lines):
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def aligned(folder, part, pairs):
    prefix = "" if part == "train" else f"{part}_"
    return {
        f"{prefix}source": write(folder, f"{part}.source", pairs.sources),
        f"{prefix}target": write(folder, f"{part}.target", pairs.targets),
    }


def test_without_files_phrases_of_the_pair_are_made(monkeypatch):
    def phrases(pair, *, seed):
        return split_pairs(numbered(20, f"{pair} {seed} "), seed=seed)

    monkeypatch.setattr(_data, "localisation_phrases", phrases)
    name, text = load_text(Sources(pair="en-de"), seed=3)
    assert (name, text) == ("localisation phrases en-de", phrases("en-de", seed=3))
    assert load_text(Sources())[1] == phrases("en-pt", seed=0)


def test_refuses_a_language_that_it_has_no_phrases_of():
    with pytest.raises(ValueError, match=r"localisation_phrases: .*'en-xx'"):
        load_text(Sources(pair="en-xx"))


@pytest.mark.parametrize("seed", [0, 5])
def test_one_file_of_pairs_is_split(tmp_path, seed):
    pairs = numbered(60)
    lines = [f"{s}\t{t}" for s, t in zip(*pairs, strict=True)]
    path = write(tmp_path, "pairs.tsv", lines)
    assert load_text(Sources(data=path), seed=seed) == (str(path), split_pairs(pairs, seed=seed))


def test_two_aligned_files_are_split(tmp_path):
    pairs = numbered(60)
    files = aligned(tmp_path, "train", pairs)
    name, text = load_text(Sources(**files), seed=2)
    assert name == f"{files['source']} → {files['target']}"
    assert text == split_pairs(pairs, seed=2)


def test_own_validation_and_test_files_leave_all_pairs_for_training(tmp_path):
    parts = {"train": numbered(20), "valid": numbered(4, "v"), "test": numbered(3, "t")}
    files = {}
    for part, pairs in parts.items():
        files |= aligned(tmp_path, part, pairs)
    _, text = load_text(Sources(**files))
    assert text._asdict() == parts


@pytest.mark.parametrize(("given", "split_off"), [("valid", "test"), ("test", "valid")])
def test_what_has_no_file_is_split_off_and_nothing_is_lost(tmp_path, given, split_off):
    pairs, extra = numbered(60), numbered(4, "own ")
    files = aligned(tmp_path, "train", pairs) | aligned(tmp_path, given, extra)
    _, text = load_text(Sources(**files), seed=1)
    assert getattr(text, given) == extra
    assert getattr(text, split_off) == getattr(split_pairs(pairs, seed=1), split_off)
    both = [*zip(*text.train, strict=True), *zip(*getattr(text, split_off), strict=True)]
    assert sorted(both) == sorted(zip(*pairs, strict=True))


def test_own_test_files_go_with_one_file_of_pairs(tmp_path):
    path = write(tmp_path, "pairs.tsv", [f"s{i}\tt{i}" for i in range(40)])
    extra = numbered(3)
    name, text = load_text(Sources(data=path, **aligned(tmp_path, "test", extra)))
    assert (name, text.test, len(text.valid.sources)) == (str(path), extra, 2)
    assert len(text.train.sources) == 38


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("prefix", ["", "valid_", "test_"])
def test_refuses_half_a_pair_of_files(prefix, side):
    message = f"load_text: {prefix}source and {prefix}target go together; got only one"
    with pytest.raises(ValueError, match=message):
        load_text(Sources(**{f"{prefix}{side}": Path("some.txt")}))


def test_refuses_two_kinds_of_training_files():
    sources = Sources(data=Path("a.tsv"), source=Path("a"), target=Path("b"))
    with pytest.raises(ValueError, match="data and source/target exclude each other; got both"):
        load_text(sources)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_refuses_validation_and_test_files_without_training_files(part):
    files = {f"{part}_source": Path("a"), f"{part}_target": Path("b")}
    with pytest.raises(ValueError, match=r"need training files; got none\. Give --data, or --s"):
        load_text(Sources(**files))


def test_says_which_file_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"read_pairs: the file must exist; got .*gone\.tsv"):
        load_text(Sources(data=tmp_path / "gone.tsv"))
    files = aligned(tmp_path, "train", numbered(9))
    gone = {"test_source": tmp_path / "gone", "test_target": files["target"]}
    with pytest.raises(ValueError, match=r"read_aligned: the file must exist; got .*gone"):
        load_text(Sources(**files, **gone))


def test_every_form_of_data_is_known_by_its_name(tmp_path):
    pairs = numbered(3)
    tsv = write(tmp_path, "a.tsv", [f"{s}\t{t}" for s, t in zip(*pairs, strict=True)])
    entries = [f'msgid "{s}"\nmsgstr "{t}"\n' for s, t in zip(*pairs, strict=True)]
    po = write(tmp_path, "a.po", entries)
    for data in (tsv, str(tsv), po, str(po), tmp_path, str(tmp_path)):
        assert read_any(data) == pairs
    assert load_text(Sources(data=str(po)))[0] == str(po)


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ("org/name", {}),
        ("./folder/x", {}),
        ("org/name#test", {"split": "test"}),
        ("name?source=en&target=de", {"source": "en", "target": "de"}),
        ("n#dev?config=de-en&source=en&target=de", {"split": "dev", "config": "de-en"}),
    ],
)
def test_a_data_set_is_asked_for_by_name_part_and_languages(monkeypatch, spec, given):
    received = {}

    def read(name, **settings):
        received.update(name=name, **settings)
        return numbered(20)

    monkeypatch.setattr(_data, "read_dataset", read)
    name, text = load_text(Sources(data=f"datasets:{spec}"))
    assert name == f"datasets:{spec}"
    assert text == split_pairs(numbered(20), seed=0)
    usual = {"split": "train", "config": None, "source": None, "target": None}
    usual |= {"drop_empty": False, "left_out": None}
    languages = {"source": "en", "target": "de"} if "source=en" in spec else {}
    bare = spec.split("?")[0].split("#")[0]
    assert received == usual | languages | given | {"name": bare}


@pytest.mark.parametrize("spec", ["", "#test", "name?from=en", "name?source=en&to=de"])
def test_refuses_half_a_name_of_a_data_set(spec):
    with pytest.raises(ValueError, match=r"read_any: a data set must be datasets:NAME#SPLIT\?"):
        read_any(f"datasets:{spec}")


def test_columns_of_a_data_set_are_its_languages(monkeypatch):
    received = {}
    monkeypatch.setattr(_data, "read_dataset", lambda name, **given: received.update(given))
    read_any("datasets:n", columns="en, de")
    assert (received["source"], received["target"]) == ("en", "de")
    with pytest.raises(ValueError, match="columns must be named once; got columns en,de and"):
        read_any("datasets:n?source=en&target=de", columns="en,de")


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (Sources(data=Path("a.tsv"), columns="en"), "two with a comma .*; got columns 'en'"),
        (Sources(data=Path("a.tsv"), columns="en,en"), "two with a comma .*; got columns 'en,en'"),
        (Sources(data=Path("a.po"), columns="en,de"), "got columns 'en,de', data a.po"),
        (Sources(columns="en,de"), "got columns 'en,de', data None"),
    ],
)
def test_columns_that_choose_nothing_are_refused(sources, message):
    with pytest.raises(ValueError, match=message):
        load_text(sources)


def test_a_folder_of_catalogues_gives_the_language_that_is_named(tmp_path):
    for language in ("de", "fr"):
        folder = tmp_path / language / "LC_MESSAGES"
        folder.mkdir(parents=True)
        messages = (f'msgid "{i}"\nmsgstr "{language} {i}"\n' for i in range(9))
        (folder / "a.po").write_text("\n".join(messages))
    with pytest.raises(ValueError, match=r"must be of one language; got de, fr in "):
        load_text(Sources(data=tmp_path))
    split = load_text(Sources(data=tmp_path, language="fr"))[1]
    assert {text[:2] for side in split for text in side.targets} == {"fr"}
    for data in (None, tmp_path / "pairs.tsv", "datasets:org/books"):
        with pytest.raises(ValueError, match=r"language goes with a folder of \.po files"):
            load_text(Sources(data=data, language="fr"))
