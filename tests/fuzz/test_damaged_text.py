"""Readers of text, questions, tables and settings, given files to which something has happened."""

import gzip
import json
import math

import hypothesis
import numpy as np
import pytest
from damage import (
    SETTINGS,
    WHOLLY_WRONG,
    Readable,
    damaged_bytes,
    damaged_json,
    read_or_refuse,
    try_bytes,
)
from hypothesis import strategies as st

from askew._config import load_config, read_toml
from askew.tasks import read_any, read_table_file
from askew.text import (
    load_tokenizer,
    read_aligned,
    read_documents,
    read_pairs,
    read_po,
    read_question_lines,
    read_questions,
    read_squad,
    train_tokenizer,
    translate_po,
    translate_xliff,
)
from askew.tradeoffs import judge_results
from askew.transformer import EncoderDecoderConfig

PO = r"""
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

#, fuzzy
msgctxt "menu"
msgid "Op\"en\n"
msgstr "Abr\tir"

#: a.c:7
msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d arquivo"
msgstr[1] "%d arquivos"

msgid "Close"
msgstr ""

#~ msgid "old"
#~ msgstr "velho"
"""
XLIFF = """<?xml version="1.0"?>
<xliff version="1.2"><file><body>
<trans-unit id="1"><source>Open <x id="1"/></source><target>Abrir <x id="1"/></target></trans-unit>
<trans-unit id="2"><source>Close &amp; go</source></trans-unit>
</body></file></xliff>
"""
TMX = """<tmx><header srclang="en"/><body>
<tu><tuv xml:lang="en"><seg>one</seg></tuv><tuv xml:lang="pt"><seg>um</seg></tuv></tu>
</body></tmx>
"""
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Ada",
            "paragraphs": [
                {
                    "context": "Ada wrote a note.",
                    "qas": [
                        {
                            "id": "1",
                            "question": "Who?",
                            "is_impossible": False,
                            "answers": [{"text": "Ada", "answer_start": 0}],
                        },
                        {"id": "2", "question": "What?", "is_impossible": True, "answers": []},
                    ],
                }
            ],
        }
    ],
}
LINE = {
    "id": 7,
    "title": "Ada",
    "question": "Who?",
    "context": "Ada wrote.",
    "answers": [{"text": "Ada", "start": 0}],
}
PAIR = {"source": "three trees", "target": "três árvores"}
TABLE = "arm,seed,item,metric,value\n" + "".join(
    f"{arm},{seed},{item},f1,{seed / 7 + len(arm)}\n"
    for arm in ("plain", "askew")
    for seed in range(5)
    for item in ("", "a", "b")
)
CSV = "x,y,label\n" + "".join(f"{i},{i / 2},{i % 2}\n" for i in range(12))
ARFF = (
    "% a comment\n@relation table\n@attribute x numeric\n@attribute y real\n"
    "@attribute label {0,1}\n@data\n" + "".join(f"{i},{i / 2},{i % 2}\n" for i in range(12))
)
TOML = """
source_vocab = 9
target_vocab = 9
tie_embeddings = "all" # of both sides
[encoder]
d_model = 8
num_layers = 2
num_heads = 2
d_ff = 16
dropout = 0.25
activation = "gelu"
[decoder]
d_model = 8
num_layers = 1
num_heads = 1
d_ff = 8
"""


def of_folder(path):
    return str(path.parent)


def file(name, text):
    raw = text if isinstance(text, bytes) else text.encode()
    if name.endswith(".gz"):
        raw = gzip.compress(raw, mtime=0)

    def make(folder):
        path = folder / name
        path.write_bytes(raw)
        return path

    return make


def pairs(read):
    def checked(path):
        found = read(path)
        assert len(found.sources) == len(found.targets) > 0
        for text in (*found.sources, *found.targets):
            assert text.strip()
            text.encode("utf-8")  # a tokenizer must be able to take it

    return checked


def questions(read):
    def checked(path):
        found = read(path)
        assert found.questions
        for question in found.questions:
            context = found.contexts[question.context].text
            assert question.text.strip()
            assert question.id.encode() is not None
            for start, end in question.answers:
                assert 0 <= start < end <= len(context)
                assert context[start:end].strip()

    return checked


def aligned(path):
    return pairs(lambda path: read_aligned(path, path.with_name("other.txt")))(path)


def make_aligned(folder):
    (folder / "other.txt").write_text("um\ndois\ntrês\n")
    return file("some.txt", "one\ntwo\nthree\n")(folder)


def documents(path):
    for context in read_documents(path):
        assert context.text.strip()
        context.text.encode("utf-8")


def filled(path):
    """What is filled in can be read again, and nothing else has changed."""
    out = path.with_name("filled.po")
    count = translate_po(path, lambda texts: [f"[{text}]" for text in texts], out)
    try:
        assert count == 0 or b"[" in out.read_bytes()
        assert translate_po(out, list, path.with_name("again.po")) == 0
    finally:
        out.unlink()


def filled_xliff(path):
    """What is filled in can be read again, and nothing is left to fill in."""
    out = path.with_name("filled.xlf")
    translate_xliff(path, lambda texts: [f"[{text}]" for text in texts], out)
    try:
        assert translate_xliff(out, list, path.with_name("again.xlf")) == 0
    finally:
        out.unlink()


def table(path):
    x, y = read_table_file(path, "label")
    assert len(x) == len(y) > 0
    assert np.isfinite(x).all()
    assert set(np.unique(y)) <= {0.0, 1.0}


def judged(path):
    try:
        verdicts, results = judge_results(path, baseline="plain")
    except ValueError as error:
        if "baseline" not in str(error):
            raise
        raise ValueError(f"{error} in {path}") from None  # of the arms, not of the file
    json.dumps(results, allow_nan=False)
    assert verdicts
    assert all(v.low is None or math.isfinite(v.low) for v in verdicts)


def configured(path):
    values = read_toml(path)
    try:
        config = load_config(EncoderDecoderConfig, values)
    except ValueError as error:  # of what is in the file, by its dotted path
        raise ValueError(f"{error} in {path}") from None
    assert type(config.encoder.d_model) is int
    assert type(config.encoder.dropout) is float


def tokenized(path):
    tokenizer = load_tokenizer(path)
    ids = tokenizer.encode("three trees 12").ids
    assert max(ids) < tokenizer.get_vocab_size()
    tokenizer.decode(ids)


TOKENIZER = train_tokenizer(["three trees see bees"] * 4, vocab_size=280).to_str()
BYTES = {
    "tsv": Readable(file("a.tsv", "one two\tum dois\nthree\ttrês\n"), pairs(read_pairs)),
    "tsv.gz": Readable(file("a.tsv.gz", "one two\tum dois\nthree\ttrês\n"), pairs(read_pairs)),
    "jsonl": Readable(file("a.jsonl", json.dumps(PAIR) + "\n"), pairs(read_pairs)),
    "any": Readable(file("a.jsonl.gz", json.dumps(PAIR) + "\n"), pairs(read_any)),
    "pairs csv": Readable(
        file("a.csv", 'source,target\n"one, two",um\nthree,três\n'), pairs(read_pairs)
    ),
    "pairs json": Readable(file("a.json", json.dumps([PAIR, PAIR])), pairs(read_pairs)),
    "xliff": Readable(file("a.xlf", XLIFF), pairs(read_pairs)),
    "xliff filled": Readable(file("a.xlf", XLIFF), filled_xliff),
    "tmx": Readable(file("a.tmx", TMX), pairs(read_pairs)),
    "aligned": Readable(make_aligned, aligned),
    "po": Readable(file("a.po", PO), pairs(read_po)),
    "po folder": Readable(file("a.po", PO), lambda path: pairs(read_po)(path.parent), of_folder),
    "po filled": Readable(file("a.po", PO), filled),
    "squad": Readable(file("a.json", json.dumps(SQUAD)), questions(read_squad)),
    "squad.gz": Readable(file("a.json.gz", json.dumps(SQUAD)), questions(read_questions)),
    "question lines": Readable(
        file("a.jsonl", f"{json.dumps(LINE)}\n{json.dumps(LINE | {'id': 8})}\n"),
        questions(read_question_lines),
    ),
    "questions": Readable(file("a.json", json.dumps(LINE)), questions(read_questions)),
    "documents": Readable(file("a.md", "# Ada\n\nShe wrote ünto us.\n"), documents),
    "documents.gz": Readable(file("a.txt.gz", "# Ada\n\nShe wrote.\n"), documents),
    "document folder": Readable(
        file("a.rst", "Ada\n===\n"), lambda path: documents(path.parent), of_folder
    ),
    "csv": Readable(file("a.csv", CSV), table),
    "arff": Readable(file("a.arff", ARFF), table),
    "results": Readable(file("a.csv", TABLE), judged),
    "toml": Readable(file("a.toml", TOML), configured),
    "tokenizer": Readable(file("tokenizer.json", TOKENIZER), tokenized),
}
VALUES = {
    "jsonl": PAIR,
    "squad": SQUAD,
    "questions": LINE,
    "tokenizer": {
        **json.loads(TOKENIZER),
        "model": json.loads(train_tokenizer(["a"], vocab_size=259).to_str())["model"],
    },
}
MISSING = [name for name in BYTES if name not in ("po folder", "document folder")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One good file for each reader, made once."""
    return {name: case.make(tmp_path_factory.mktemp("good")) for name, case in BYTES.items()}


@pytest.mark.parametrize("name", BYTES)
def test_a_good_file_is_read(name, made):
    assert read_or_refuse(BYTES[name], made[name])


@pytest.mark.parametrize("name", BYTES)
def test_damaged_bytes_are_read_rightly_or_refused(name, made):
    raw = made[name].read_bytes()

    @SETTINGS
    @hypothesis.given(damaged_bytes(raw))
    def check(other):
        try_bytes(BYTES[name], made[name], other)

    check()


@pytest.mark.parametrize("name", VALUES)
def test_other_values_are_read_rightly_or_refused(name, made):
    @SETTINGS
    @hypothesis.given(damaged_json(VALUES[name]))
    def check(other):
        try_bytes(BYTES[name], made[name], other)

    check()


@pytest.mark.parametrize("name", BYTES)
def test_what_is_no_such_file_is_refused(name, made):
    tried = WHOLLY_WRONG.items()
    read = [wrong for wrong, other in tried if try_bytes(BYTES[name], made[name], other)]
    assert not read or "document" in name or "filled" in name, "any text is a document"


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("what", ["nothing", "a folder", "a link to itself", "a dangling link"])
def test_what_is_not_a_file_is_refused(name, what, tmp_path):
    case = BYTES[name]
    path = case.make(tmp_path)
    path.unlink()
    if what == "a folder":
        path.mkdir()
    elif what == "a link to itself":
        path.symlink_to(path)
    elif what == "a dangling link":
        path.symlink_to(tmp_path / "nowhere")
    assert not read_or_refuse(case, path)


def test_a_loop_of_folders_is_read_once(tmp_path):
    (tmp_path / "a.md").write_text("Ada wrote.")
    (tmp_path / "a.po").write_text('msgid "Open"\nmsgstr "Abrir"\n')
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(read_documents(tmp_path)) == 1
    assert len(read_po(tmp_path)) == 2
    assert len(read_po(tmp_path).sources) == 1


CODECS = ["UTF-16", "utf-7", "idna", "punycode", "undefined", "unicode_escape", "rot13", "hex"]


@pytest.mark.parametrize("codec", [*CODECS, "raw_unicode_escape", "cp037", "UTF-8-sig", "mbcs"])
@pytest.mark.parametrize("text", ["Abrir", r"\ud800", "+2AA-", "ü"])
def test_any_charset_of_a_catalogue_is_read_or_refused(codec, text, tmp_path):
    path = tmp_path / "a.po"
    header = f'msgid ""\nmsgstr "Content-Type: text/plain; charset={codec}\\n"\n'
    path.write_text(f'{header}\nmsgid "Open"\nmsgstr "{text}"\n')
    for case in ("po", "po filled"):
        read_or_refuse(BYTES[case], path)


@SETTINGS
@hypothesis.given(st.text(max_size=40))
def test_any_setting_of_the_command_line_is_taken_or_refused(text):
    from askew._config import parse_setting

    try:
        assert isinstance(parse_setting(text), dict)
    except ValueError as error:
        assert str(error).startswith("parse_setting: ")
