"""Every reader of text drops a byte order mark, takes "\\r\\n", and names UTF-16."""

import json

import numpy as np
import pytest

from askew._config import read_toml
from askew.tasks._tabular_files import read_table_file
from askew.text import read_aligned, read_documents, read_pairs, read_questions
from askew.tradeoffs import judge_results

TABLE = "\n".join(
    ["arm,seed,item,metric,value", *(f"{arm},{s},,f1,{s}" for arm in "ab" for s in range(5))]
)
SQUAD = {
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "Ada wrote.",
                    "qas": [
                        {
                            "id": "1",
                            "question": "Who?",
                            "answers": [{"text": "Ada", "answer_start": 0}],
                        }
                    ],
                }
            ],
        }
    ]
}
LINE = {"question": "Who?", "context": "Ada wrote.", "answer": "Ada", "start": 0}
READERS = {
    "tsv": ("one\tum\ntwo\tdois\n", "a.tsv", read_pairs),
    "jsonl": ('{"source": "one", "target": "um"}\n', "a.jsonl", read_pairs),
    "aligned": ("one\ntwo\n", "a.en", lambda path: read_aligned(path, path)),
    "squad": (json.dumps(SQUAD, indent=1), "a.json", read_questions),
    "questions": (json.dumps(LINE) + "\n", "b.jsonl", read_questions),
    "documents": ("Ada wrote.", "a.md", read_documents),
    "csv": ("a,b,sick\n1,2,0\n3,5,1\n", "a.csv", lambda path: read_table_file(path, "sick")),
    "arff": (
        "@relation r\n@attribute a numeric\n@attribute b numeric\n@data\n1,0\n2,1\n",
        "a.arff",
        lambda path: read_table_file(path, "b"),
    ),
    "results": (TABLE, "t.csv", lambda path: judge_results(path, baseline="a").verdicts),
    "toml": ("d_model = 4\n[encoder]\nnum_layers = 2\n", "a.toml", read_toml),
}


@pytest.mark.parametrize(("text", "name", "read"), READERS.values(), ids=READERS)
def test_a_mark_and_other_line_ends_change_nothing(text, name, read, tmp_path):
    path = tmp_path / name
    path.write_bytes(text.encode())
    plain = read(path)
    for other in (text, text.replace("\n", "\r\n")):
        path.write_bytes(other.encode("utf-8-sig"))
        np.testing.assert_equal(read(path), plain)


@pytest.mark.parametrize(("text", "name", "read"), READERS.values(), ids=READERS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_another_encoding_is_named(text, name, read, encoding, tmp_path):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=rf"must be UTF-8; got {encoding[:6].upper()} in {path}"):
        read(path)


def test_bytes_that_are_not_utf8_are_named_in_a_table(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,'\xe9'\n")
    with pytest.raises(ValueError, match=rf"UTF-8; got byte 0xe9 at {path}, line 2\. Convert"):
        read_table_file(path, "b")
