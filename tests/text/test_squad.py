"""Readers keep what is right, name what they refuse, and say where a file is wrong."""

import errno
import gzip
import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from askew.text import (
    Context,
    Question,
    list_documents,
    read_documents,
    read_question_lines,
    read_questions,
    read_squad,
    split_by_article,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
TEXT = "Ada wrote it, and Ada knew.\r\n二😀 end"
RIGHT = {"id": "ok", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}


def put(path: Path, raw: bytes | str) -> Path:
    raw = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def squad(path: Path, *items: dict, text: str = TEXT, **more) -> Path:
    paragraph = {"context": text, "qas": list(items)}
    return put(path, json.dumps({"data": [{"title": "T", "paragraphs": [paragraph]}], **more}))


def question(name: str, *answers: tuple[str, int], **more) -> dict:
    given_ = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": f"{name}?", "answers": given_, **more}


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "A.JSON"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_squad_gives_contexts_questions_and_all_annotators(tmp_path, name, start):
    items = [question("1", ("Ada", 0), ("Ada", 18), ("Ada", 0)), question("2", ("😀", 30))]
    articles = [
        {
            "title": "A",
            "paragraphs": [{"context": TEXT, "qas": items}, {"context": "n", "qas": []}],
        },
        {"paragraphs": [{"context": "x", "qas": [question("3", ("x", 0)) | {"id": 3}]}]},
        {"title": "A", "paragraphs": [{"context": TEXT, "qas": [question("4", ("a", 2))]}]},
    ]
    text = start + json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False, indent=1)
    loaded = read_squad(str(put(tmp_path / name, text)))
    assert loaded.contexts == [Context("A", TEXT), Context("A", "n"), Context("", "x")]
    assert loaded.questions == [
        Question("1", "1?", 0, ((0, 3), (18, 21))),
        Question("2", "2?", 0, ((30, 31),)),
        Question("3", "3?", 2, ((0, 1),)),
        Question("4", "4?", 0, ((2, 3),)),
    ]
    assert loaded.refused == []
    assert loaded.answer_texts(loaded.questions[0]) == ["Ada", "Ada"]
    assert read_questions(tmp_path / name) == loaded


def test_impossible_questions_have_no_answers(tmp_path):
    plausible = [{"text": "wrote", "answer_start": 4}]
    path = squad(
        tmp_path / "v2.json",
        RIGHT | {"is_impossible": False},
        question("a", is_impossible=True, plausible_answers=plausible),
        question("b", ("Ada", 0), is_impossible=True),
        {"id": "c", "question": "c?", "is_impossible": True},
        question("d"),
        question("e", is_impossible=False),
    )
    loaded = read_squad(path)
    assert [(q.id, q.answers) for q in loaded.questions] == [
        ("ok", ((0, 3),)),
        *((name, ()) for name in "abcd"),
    ]
    assert loaded.refused == ["id e: it is called possible and has no answers"]


def test_wrong_answers_are_named_and_neither_moved_nor_kept(tmp_path):
    long = "knew" * 30
    path = squad(
        tmp_path / "q.json",
        RIGHT,
        question("a", ("Ada", 1)),
        question("b", ("Ada", 17), ("Ada", 18), (long, 4)),
        question("c", ("end", -3)),
        question("d", ("", 3), ("  ", 4), ("end!", 32)),
        question("e", ("ada", 0)),
        question("f", ("end", 10_000)),
    )
    loaded = read_squad(path)
    assert [(q.id, q.answers) for q in loaded.questions] == [("ok", ((0, 3),)), ("b", ((18, 21),))]
    assert loaded.refused == [
        "id a: answer 'Ada' is not at 1",
        "id b: answer 'Ada' is not at 17; its other answers stay",
        f"id b: answer '{long[:60]}…' is not at 4; its other answers stay",
        "id c: answer 'end' is not at -3",
        "id d: answer '' is not at 3, answer '  ' is not at 4, answer 'end!' is not at 32",
        "id e: answer 'ada' is not at 0",
        "id f: answer 'end' is not at 10000",
    ]


def test_other_questions_that_cannot_be_used_are_named(tmp_path):
    path = squad(tmp_path / "q.json", RIGHT, question("ok", ("it", 10)), RIGHT | {"id": "b"})
    record = json.loads(path.read_text())
    blank = {"context": " \n", "qas": [question("c")]}
    record["data"][0]["paragraphs"] += [blank, {"context": "x", "qas": [question("d")]}]
    record["data"][0]["paragraphs"][2]["qas"][0]["question"] = " \t"
    loaded = read_squad(put(path, json.dumps(record)))
    assert [q.id for q in loaded.questions] == ["ok", "b"]
    assert loaded.questions[0].answers == ((0, 3),)
    assert loaded.refused == [
        "id ok: another question before has this id",
        "id c: the context is blank",
        "id d: the question is blank",
    ]
    assert loaded.contexts == [Context("T", TEXT), Context("T", "x")]


@given(
    st.text(st.sampled_from("ab 😀é\n"), min_size=1, max_size=12),
    st.lists(st.tuples(st.text("ab 😀é", max_size=4), st.integers(-3, 14)), max_size=5),
)
def test_every_span_kept_is_the_text_given_and_every_other_is_refused(
    tmp_path_factory, text, given
):
    path = tmp_path_factory.mktemp("q") / "q.json"
    right = [(w, at) for w, at in given if w.strip() and at >= 0 and text[at:][: len(w)] == w]
    always = {"context": "Ada", "qas": [RIGHT]}
    paragraphs = [always, {"context": text, "qas": [question("q", *given)]}]
    put(path, json.dumps({"data": [{"paragraphs": paragraphs}]}))
    loaded = read_squad(path)
    kept = [q for q in loaded.questions if q.id == "q"]
    if not text.strip() or (given and not right):
        assert not kept
        assert len(loaded.refused) == 1
        return
    spans = {(start, start + len(words)) for words, start in right}
    assert set(kept[0].answers) == spans
    assert len(kept[0].answers) == len(spans)
    assert set(loaded.answer_texts(kept[0])) == {words for words, _ in right}
    assert len(loaded.refused) == len(given) - len(right)


QAS = "data[0].paragraphs[0].qas[1]"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"question": "?", "answers": []}, rf'"id" is needed; got \[.*\] at \S+, {QAS}$'),
        ({"id": "1", "answers": []}, r'"question" is needed; got \[\'answers\', \'id\'\] at'),
        ({"id": "1", "question": "?"}, r'"answers" is needed; got \[\'id\', \'question\'\] at'),
        (question("1") | {"id": 1.5}, r'"id" must be a string; got float at'),
        (question("1") | {"question": None}, r'"question" must be a string; got NoneType at'),
        (question("1") | {"answers": {}}, r'"answers" must be a list; got dict at'),
        (question("1") | {"is_impossible": "no"}, r"must be true or false; got str at"),
        (
            question("1", ("Ada", 0.0)),
            r'start" must be a whole number; got float at .*answers\[0\]$',
        ),
        (question("1", ("Ada", True)), r'"answer_start" must be a whole number; got bool at'),
        (
            question("1", (5, 0)),
            r'"text" must be a string; got int at \S+, .*qas\[1\].answers\[0\]$',
        ),
        (question("1", ("\ud83d", 0)), r'"text" must be whole Unicode; got half a surrogate'),
        (question("1") | {"answers": [{"text": "Ada"}]}, r'"answer_start" is needed; got'),
        (["?"], rf"an object is needed; got list at \S+q.json, {QAS}$"),
    ],
)
def test_a_squad_file_of_another_form_is_refused_with_its_place(tmp_path, item, message):
    message = message.replace(QAS, QAS.replace("[", r"\[").replace("]", r"\]"))
    with pytest.raises(ValueError, match=rf"^read_squad: .*{message}"):
        read_squad(squad(tmp_path / "q.json", RIGHT, item))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"JSON is needed; got Expecting value: line 1 column 1 \(char 0\) at \S+q.json$"),
        (b'{"data": [}', r"JSON is needed; got Expecting value: line 1 column 11"),
        (b"[" * 100_000, r"JSON is needed; got maximum recursion depth"),
        (b"[1]", r"an object is needed; got list at \S+q.json$"),
        (b"{}", r'"data" is needed; got \[\] at \S+q.json$'),
        (b'{"data": [{}]}', r'"paragraphs" is needed; got \[\] at \S+q.json, data\[0\]$'),
        (b'{"data": []}', r"hold a question that can be used; got none in \S+q.json, 0 refused$"),
        (b'{"data":\n"\xff"}', r"must be UTF-8; got byte 0xff at \S+q.json, line 2\. Convert"),
    ],
)
def test_a_damaged_squad_file_is_refused(tmp_path, raw, message):
    with pytest.raises(ValueError, match=rf"^read_squad: .*{message}"):
        read_squad(put(tmp_path / "q.json", raw))


def test_a_file_of_refused_questions_says_why(tmp_path):
    path = squad(tmp_path / "q.json", question("a", ("x", 5)), question("b", ("y", 5)))
    with pytest.raises(ValueError, match=r"2 refused\. The first, id a: answer 'x' is not at 5$"):
        read_squad(path)


def test_paths_that_are_no_such_file_are_refused(tmp_path):
    for read in (read_squad, read_question_lines):
        name = read.__name__
        with pytest.raises(ValueError, match=rf"^{name}: the file must exist; got \S+no.json$"):
            read(tmp_path / "no.json")
        with pytest.raises(ValueError, match=rf"^{name}: a file is needed; got the directory"):
            read(tmp_path)
    path = tmp_path / "q.json.gz"
    for raw in (b"{}", gzip.compress(b"{}")[:-3]):
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=r"^read_squad: .*gzip; got \S+q.json.gz damaged: "):
            read_squad(path)
    with pytest.raises(ValueError, match=r"^read_questions: .*\.jsonl\.gz; got \S+q\.csv$"):
        read_questions(put(tmp_path / "q.csv", "x"))


LINES = [
    {"question": "Who?", "context": TEXT, "answers": [{"text": "Ada", "start": 18}], "x": 1},
    {"question": "What?", "context": "x y", "answer": "y", "start": 2, "title": "T", "id": "q"},
    {"question": "Why?", "context": TEXT, "answers": []},
    {"question": "How?", "context": "x y", "answer": "y", "start": 1, "id": 7},
    {"question": "Same?", "context": "x y", "answer": "x", "start": 0, "id": "q"},
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["q.jsonl", "q.jsonl.gz", "q.json"])
def test_lines_give_one_question_each(tmp_path, name, end):
    path = put(tmp_path / name, "\ufeff" + end.join(map(json.dumps, LINES)) + end)
    loaded = read_question_lines(path)
    assert loaded.contexts == [Context("", TEXT), Context("T", "x y")]
    assert loaded.questions == [
        Question("line-1", "Who?", 0, ((18, 21),)),
        Question("q", "What?", 1, ((2, 3),)),
        Question("line-3", "Why?", 0, ()),
    ]
    assert loaded.refused == [
        "id 7: answer 'y' is not at 1",
        "id q: another question before has this id",
    ]
    assert read_questions(path) == loaded


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", r"JSON is needed; got Expecting value.* at \S+q.jsonl, line 2$"),
        ("[1]", r"an object is needed; got list at \S+q.jsonl, line 2$"),
        (
            '{"question": "?"}',
            r'"context" is needed; got \[\'question\'\] at \S+, line 2. A line is an object',
        ),
        (
            '{"question": "?", "context": "c"}',
            r'"answer" is needed; got .* at \S+, line 2\. A line is',
        ),
        ('{"question": "?", "context": "c", "answer": "c"}', r'"start" is needed; got'),
        ('{"context": "c", "answers": []}', r'"question" is needed; got'),
        ('{"context": "c", "answers": [{"text": 1}]}', r"got int at \S+, line 2.answers\[0\]$"),
        ('{"context": "\\ud800", "answers": []}', r'"context" must be whole Unicode; got half'),
    ],
)
def test_a_bad_line_is_refused_with_its_place(tmp_path, line, message):
    path = put(tmp_path / "q.jsonl", f"{json.dumps(LINES[0])}\n{line}\n")
    with pytest.raises(ValueError, match=rf"^read_question_lines: .*{message}"):
        read_question_lines(path)


def test_rows_of_the_datasets_library_are_lines_too(tmp_path):
    row = {"id": "a", "title": "T", "context": TEXT, "question": "Who?"}
    answers = {"text": ["Ada", "Ada"], "answer_start": [0, 18]}
    rows = [
        row | {"answers": answers},
        row | {"id": "b", "answers": {"text": [], "answer_start": []}},
        row | {"id": "c", "answers": [{"text": "Ada", "answer_start": 18}]},
    ]
    path = put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert [q.answers for q in read_questions(path).questions] == [
        ((0, 3), (18, 21)),
        (),
        ((18, 21),),
    ]
    for wrong, message in (
        ({"text": ["Ada"], "answer_start": []}, "the same length; got 1 and 0 at .*line 1"),
        ({"text": ["Ada"]}, '"answer_start" is needed; got .* at .*line 1'),
        ({"text": ["Ada"], "answer_start": ["0"]}, "must be a whole number; got str at .*line 1"),
    ):
        put(path, json.dumps(row | {"answers": wrong}))
        with pytest.raises(ValueError, match=message):
            read_questions(path)


def test_an_empty_file_of_lines_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^read_question_lines: .*got none in \S+, 0 refused$"):
        read_questions(put(tmp_path / "q.jsonl", ""))


def test_documents_of_a_folder_come_sorted_with_their_paths_as_titles(tmp_path):
    (tmp_path / "b" / ".git").mkdir(parents=True)
    for name in ("b/z.txt", "b/a.MD", "c.rst.gz", "a.markdown", "b/d.markdown.gz"):
        put(tmp_path / name, f"\ufeffin {name}\r\n")
    for name in ("x.py", "b/.git/x.md", ".hidden.txt", "x.gz"):
        put(tmp_path / name, "not read")
    put(tmp_path / "blank.txt", " \n")
    loaded = read_documents(tmp_path)
    titles = ["a.markdown", "b/a.MD", "b/d.markdown.gz", "b/z.txt", "c.rst.gz"]
    assert loaded == [Context(title, f"in {title}\r\n") for title in titles]
    listed = [path.relative_to(tmp_path).as_posix() for path in list_documents(tmp_path)]
    assert listed == [*titles[:4], "blank.txt", titles[4]]
    assert read_documents([str(tmp_path / "b"), tmp_path / "b" / "z.txt"]) == [
        Context("a.MD", loaded[1].text),
        Context("d.markdown.gz", loaded[2].text),
        Context("z.txt", loaded[3].text),
    ]
    assert read_documents(tmp_path / "b" / "z.txt") == [Context("z.txt", loaded[3].text)]


def test_equal_titles_become_whole_paths(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        put(tmp_path / name / "a.md", name)
    put(tmp_path / "two" / "b.md", "b")
    first, second = ((tmp_path / name / "a.md").as_posix() for name in ("one", "two"))
    loaded = read_documents([tmp_path / "one", tmp_path / "two"])
    assert loaded == [Context(first, "one"), Context(second, "two"), Context("b.md", "b")]


def test_a_whole_path_is_no_title_of_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "top/one"):
        (tmp_path / name).mkdir(parents=True)
        put(tmp_path / name / "a.md", name)
    loaded = read_documents(["one", "two", "top"])
    assert loaded == [Context(f"{name}/a.md", name) for name in ("one", "two", "top/one")]


def test_a_file_of_a_folder_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    for name in ("a.md", "b.md"):
        put(tmp_path / name, name)
    read = Path.open

    def refuse(path, *rest, **more):
        if path.name == "a.md":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return read(path, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.warns(UserWarning, match="read_documents") as caught:
        assert read_documents(tmp_path) == [Context("b.md", "b.md")]
    assert [str(one.message) for one in caught] == [
        f"read_documents: a document must be readable; got {tmp_path / 'a.md'}: Input/output error",
        "read_documents: 1 of 2 files cannot be read, so nothing is found in them",
    ]
    with pytest.raises(OSError, match="Input/output error"):
        read_documents(tmp_path / "a.md")


def test_other_bytes_than_utf8_are_replaced_with_a_warning(tmp_path):
    put(tmp_path / "a.txt", b"caf\xe9 \0")
    put(tmp_path / "b.txt", "whole \ufffd")
    with pytest.warns(UserWarning, match=r"must be UTF-8; got .* in 1 of 2 files, .*a\.txt$"):
        loaded = read_documents(tmp_path)
    assert loaded == [Context("a.txt", "caf\ufffd \0"), Context("b.txt", "whole \ufffd")]


def test_a_large_document_is_one_context(tmp_path):
    text = "A sentence of words. " * 250_000
    assert read_documents(put(tmp_path / "a.txt", text)) == [Context("a.txt", text)]


def test_documents_that_are_not_there_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    put(tmp_path / "blank.txt", "\n")
    for path, message in [
        (tmp_path / "no", r"the path must exist; got \S+no$"),
        (tmp_path / "empty", r"a document with text; got none in \S+empty$"),
        (tmp_path / "blank.txt", r"a document with text; got none in \S+blank.txt$"),
        (put(tmp_path / "a.png", "x"), r"end with .txt, .md, .rst, .markdown, or .* got \S+a.png$"),
        ([], r"there must be a path; got none$"),
        ([tmp_path / "a.png"], r"got \S+a.png$"),
    ]:
        with pytest.raises(ValueError, match=f"^read_documents: .*{message}"):
            read_documents(path)
    (tmp_path / "a.txt.gz").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"^read_documents: .*whole gzip; got \S+a.txt.gz damaged"):
        read_documents(tmp_path)


@pytest.mark.skipif(not (DATA / "squadshifts_wiki").is_dir(), reason="no SQuADShifts at hand")
def test_squadshifts_reads_whole_and_splits_by_article():
    loaded = read_questions(DATA / "squadshifts_wiki" / "new_wiki_v1.0.json.gz")
    assert (len(loaded.contexts), len(loaded.questions), loaded.refused) == (1581, 7938, [])
    splits = split_by_article(loaded)
    assert [len({context.title for context in split.contexts}) for split in splits] == [37, 5, 6]
    assert sum(len(split.questions) for split in splits) == 7938
    assert all(0.09 < len(split.questions) / 7938 <= 0.1 for split in splits[1:])


@pytest.mark.skipif(not (DATA / "faquad").is_dir(), reason="no FaQuAD at hand")
def test_faquad_keeps_every_question_and_names_30_wrong_answers():
    loaded = read_questions(DATA / "faquad" / "train.json")
    assert (len(loaded.contexts), len(loaded.questions), len(loaded.refused)) == (211, 837, 30)
    assert all(reason.endswith("its other answers stay") for reason in loaded.refused)
    record = json.loads((DATA / "faquad" / "train.json").read_text())
    first = [q["answers"][0] for a in record["data"] for p in a["paragraphs"] for q in p["qas"]]
    assert [loaded.answer_texts(q)[0] for q in loaded.questions] == [one["text"] for one in first]
