"""Texts with labels: every form is read, and what is damaged is refused by file and line."""

import sys
from types import SimpleNamespace

import pytest

from askew.text import LabelledTexts, labelled_phrases, read_labelled, read_labelled_dataset

ROWS = LabelledTexts(["Cats sleep.", "Dogs, too.", "Nothing"], [("cats", "sleep"), ("dogs",), ()])


def written(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.tsv", "Cats sleep.\tsleep, cats\nDogs, too.\tdogs\nNothing\t\n", None),
        ("a.tsv", "label\ttext\ncats,sleep\tCats sleep.\ndogs\tDogs, too.\n\tNothing\n", None),
        ("a.tsv", "1\tCats sleep.\tcats,sleep\n2\tDogs, too.\tdogs\n3\tNothing\t\n", ("2", "3")),
        ("a.csv", 'text,labels\nCats sleep.,"cats,sleep"\n"Dogs, too.",dogs\nNothing,\n', None),
        ("a.csv", 'x,y\nCats sleep.,"cats,sleep"\n"Dogs, too.",dogs\nNothing,\n', ("x", "y")),
        (
            "a.jsonl",
            '{"text": "Cats sleep.", "labels": ["sleep", "cats"]}\n'
            '{"text": "Dogs, too.", "label": "dogs"}\n{"text": "Nothing", "labels": []}\n',
            None,
        ),
    ],
)
def test_every_form_gives_the_same_rows(tmp_path, name, text, columns):
    assert read_labelled(written(tmp_path, name, text), columns=columns) == ROWS


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.tsv", "one\tx\ntwo\n", "every line must have 2 fields; got 1 at PATH, line 2"),
        ("a.tsv", "one\tx\ntwo\ty\tz\n", "every line must have 2 fields; got 3 at PATH, line 2"),
        ("a.tsv", "one\tx\n \ty\n", "a text must not be empty; got an empty one at PATH, line 2"),
        ("a.tsv", "one\tx,x\n", "labels must be different names; got 'x,x' at PATH, line 1"),
        ("a.tsv", "one\tx,,y\n", "labels must be different names; got 'x,,y' at PATH, line 1"),
        ("a.tsv", b"one\tx\n\xff\ty\n", "PATH, line 2"),
        ("a.tsv", b"one\tx\na\0b\ty\n", "got a NUL byte at PATH, line 2"),
        ("a.tsv", "", "there must be texts; got none in PATH"),
        ("a.csv", "one,x\n", "a .csv must name the columns text and labels in its first line"),
        ("a.csv", 'text,labels\n"one,x\n', "double quotes; got unexpected end of data at PATH"),
        ("a.csv", "text,labels\none,x,y\n", "must have 2 fields; got 3 at PATH, line 2"),
        ("a.jsonl", '{"text": "a", "labels": []}\n{"text"', "JSON object; got"),
        ("a.jsonl", "[]\n", "a line must be a JSON object; got list at PATH, line 1"),
        (
            "a.jsonl",
            '{"text": "a"}\n',
            "every object needs \"labels\"; got ['text'] at PATH, line 1",
        ),
        ("a.jsonl", '{"text": 3, "labels": []}\n', "must be a string; got int at PATH, line 1"),
        ("a.jsonl", '{"text": "a", "labels": [null]}\n', "got [None] at PATH, line 1"),
        ("a.jsonl", '{"text": "a", "labels": ["b\\nc"]}\n', "must be one line; got ['b\\nc']"),
        ("a.jsonl", '{"text": "\\ud800", "labels": []}\n', "surrogate pair at PATH, line 1"),
        ("a.tsv", "one\tx\nsa\tf\te\n".encode("utf-16"), "PATH"),
        ("a.csv", b"text,labels\none,x\nt\xe9o,y\n", "PATH, line 3"),
        ("a.csv", b"text,labels\none,x\nt\0o,y\n", "got a NUL byte at PATH, line 3"),
        (
            "a.csv",
            'text,labels\n"one\ntwo",x\nthree\n',
            "2 fields; got 1 at PATH, line 4",
        ),
        ("a.csv", 'text,labels\n"one" two,x\n', "expected after '\"' at PATH, line 2"),
        (
            "a.csv",
            "text;labels\none;x\n",
            "a .csv must have commas between its fields; got 'text;labels' at PATH, line 1",
        ),
        ("a.jsonl", b'{"text": "\xff", "labels": []}\n', "PATH, line 1"),
        ("a.jsonl", '{"text": "a", "labels": []}\n\n{"text": "b", "labels": []}\n', "PATH, line 2"),
        ("a.jsonl", '{"text": "a", "labels": {"x": 1}}\n', "got {'x': 1} at PATH, line 1"),
        ("a.jsonl", '{"text": "a", "labels": 0.5}\n', "got 0.5 at PATH, line 1"),
        ("a.jsonl", '{"text": "a", "labels": true}\n', "got True at PATH, line 1"),
        ("a.jsonl", '{"text": "a", "labels": null}\n', "got None at PATH, line 1"),
        ("a.jsonl", '{"text": "a", "labels": ["x", ""]}\n', "got ['x', ''] at PATH, line 1"),
        ("a.txt", "one\tx\n", "the name must end with .tsv, .csv or .jsonl"),
    ],
)
def test_what_is_damaged_is_refused_in_one_line(tmp_path, name, text, fault):
    path = written(tmp_path, name, text)
    with pytest.raises(ValueError, match=r"^read_labelled: ") as caught:
        read_labelled(path)
    assert fault.replace("PATH", str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_and_a_quoted_end_of_line_are_read(tmp_path):
    text = '\ufefftext,labels\r\n"Cats\nsleep.","cats,sleep"\r\n"He said ""no"".",dogs\r\n'
    rows = read_labelled(written(tmp_path, "a.csv", text))
    assert rows.texts == ["Cats\nsleep.", 'He said "no".']
    assert rows.labels == [("cats", "sleep"), ("dogs",)]
    jsonl = written(tmp_path, "a.jsonl", '\ufeff{"text": "a\\nb", "label": 3}\n')
    assert read_labelled(jsonl) == LabelledTexts(["a\nb"], [("3",)])


def test_a_label_that_training_does_not_know_is_refused_by_line(tmp_path):
    path = written(tmp_path, "a.tsv", "one\tcats\ntwo\tcats,fish\n")
    assert read_labelled(path, known={"cats", "fish"}).names == ["cats", "fish"]
    with pytest.raises(ValueError, match=r"knows, cats; got fish at .*a\.tsv, line 2\. Leave"):
        read_labelled(path, known={"cats"})


def test_columns_that_are_not_there_are_refused(tmp_path):
    path = written(tmp_path, "a.tsv", "one\tx\n")
    with pytest.raises(ValueError, match=r"names in the first line or numbers from 1 to 2"):
        read_labelled(path, columns=("text", "tags"))
    with pytest.raises(ValueError, match="columns must be two"):
        read_labelled(path, columns=("1", "1"))


def test_numbers_of_a_data_set_become_names(monkeypatch):
    class Rows(list):
        column_names = ("text", "label")
        features = {"label": SimpleNamespace(int2str=["cats", "dogs"].__getitem__)}  # noqa: RUF012

    rows = Rows([{"text": "Cats sleep.", "label": 0}, {"text": "Dogs run.", "label": 1}])
    fake = SimpleNamespace(__version__="4.0", load_dataset=lambda name, config: {"train": rows})
    monkeypatch.setitem(sys.modules, "datasets", fake)
    assert read_labelled_dataset("pets").labels == [("cats",), ("dogs",)]
    with pytest.raises(ValueError, match=r"must be one of \['train'\]; got split 'test'"):
        read_labelled_dataset("pets", split="test")
    with pytest.raises(ValueError, match="rows must have the columns text and tags"):
        read_labelled_dataset("pets", columns=("text", "tags"))


def test_phrases_have_their_kind_and_all_their_languages():
    rows = labelled_phrases(num_texts=400)
    assert len(set(rows.texts)) == len(rows.texts)
    languages = {"Portuguese", "Spanish", "Galician", "Catalan"}
    assert all(languages & set(names) and set(names) - languages for names in rows.labels)
    assert len(rows.names) == 4 + 7
    assert rows == labelled_phrases(num_texts=400)
    assert rows.fingerprint != labelled_phrases(num_texts=400, seed=1).fingerprint
    with pytest.raises(ValueError, match=r"num_texts must be >= 1"):
        labelled_phrases(num_texts=0)
