"""Readers give back what the file holds, or say where it is wrong."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from askew.text._pairs import ParallelText
from askew.text._readers import numbered_aligned, numbered_pairs, read_aligned, read_pairs

MULTI30K = Path(__file__).parents[3] / "shared" / "data" / "multi30k"
# None of these ends a line, whatever str.splitlines says.
ODD = "a\u2028b\x0bc\x85d\x0ce"


def put(path: Path, raw: bytes) -> Path:
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("name", ["p.tsv", "p.tsv.gz", "P.TSV"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False])
def test_tsv_keeps_text_and_order(tmp_path, name, end, start, last):
    text = start + end.join([f"{ODD}\t ü ", "b\t二"]) + (end if last else "")
    expected = ParallelText([ODD, "b"], [" ü ", "二"])
    assert read_pairs(put(tmp_path / name, text.encode())) == expected


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz"])
def test_jsonl_reads_source_and_target_of_each_object(tmp_path, name):
    records = [{"source": "a\tb", "target": "😀", "id": 3}, {"target": "y", "source": ODD}]
    text = "\n".join(json.dumps(record) for record in records)
    expected = ParallelText(["a\tb", ODD], ["😀", "y"])
    assert read_pairs(put(tmp_path / name, text.encode())) == expected


def test_aligned_files_may_differ_in_packing_and_line_ends(tmp_path):
    source = put(tmp_path / "a.en", f"one\r\n{ODD}\r\n".encode())
    target = put(tmp_path / "a.pt.gz", "\ufeffum\ndois\tx".encode())
    assert read_aligned(str(source), target) == ParallelText(["one", ODD], ["um", "dois\tx"])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a\tb\nab\n", r"exactly one tab, .*; got 0 at \S+p.tsv, line 2\. Give --columns"),
        (b"a\tb\tc\td\n", r"got 3 at \S+p.tsv, line 1\. Give --columns"),
        (b"a\tb\n\n", r"got 0 at \S+p.tsv, line 2\. Give --columns"),
        (b"a\tb\n \tb\n", r"got an empty source at \S+p.tsv, line 2\. Mend .* --drop-empty"),
        (b"a\t\xe2\x80\xa8\n", r"got an empty target at \S+p.tsv, line 1\. Mend"),
        (
            b"a\tb\n\tb\na\t\n",
            r"an empty source at \S+p.tsv, line 2; an empty target at \S+p.tsv, line 3\. Mend",
        ),
        (b"a\t\n" * 12, r"got 12 of these: an empty target at .*, line 10; …\. Mend"),
        (b"source\ttarget\textra\na\tb\n", r"3 fields of the first; got 2 at \S+p.tsv, line 2$"),
        (b"a\tb\nx\xffy\tc\n", r"UTF-8; got byte 0xff at \S+p.tsv, line 2, byte 2\. Convert"),
        (b"\xef\xbb\xbfab\xe9\tc\n", r"got byte 0xe9 at \S+p.tsv, line 1, byte 6\. Convert"),
        (b"a\tb\nc\0\td\n", r"must be text; got a NUL byte at \S+p.tsv, line 2$"),
        (b"", r"must hold a pair; got none in \S+p.tsv$"),
        (b"source\ttarget\n", r"must hold a pair; got none in \S+p.tsv$"),
    ],
)
def test_a_bad_tsv_is_refused_with_its_place(tmp_path, raw, message):
    with pytest.raises(ValueError, match=rf"^read_pairs: .*{message}"):
        read_pairs(put(tmp_path / "p.tsv", raw))


def test_what_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(ValueError, match=r"end with \.tsv.*; got \S+nothere, which does not exist"):
        read_pairs(tmp_path / "nothere")
    with pytest.raises(ValueError, match=r"end with \.tsv.*; got \S+here\. Two aligned"):
        read_pairs(put(tmp_path / "here", b""))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"source": "a" "b"}', r"JSON object; got Expecting ',' delimiter in column 16"),
        ("[" * 100_000, r"JSON object; got maximum recursion depth .*"),
        ("[1]", r"JSON object; got list"),
        ("", r"JSON object; got Expecting value in column 1"),
        ('{"src": "a", "target": "b"}', r"object needs \"source\"; got \['src', 'target'\]"),
        ('{"source": "a"}', r"object needs \"target\"; got \['source'\]"),
        ('{"source": "a", "target": 5}', r"\"target\" must be a string; got int"),
        ('{"source": null, "target": "b"}', r"\"source\" must be a string; got NoneType"),
        ('{"source": "\\ud800", "target": "b"}', r"whole Unicode; got half a surrogate pair"),
    ],
)
def test_a_bad_jsonl_is_refused_with_its_place(tmp_path, line, message):
    path = put(tmp_path / "p.jsonl", f'{{"source": "a", "target": "b"}}\n{line}\n'.encode())
    with pytest.raises(ValueError, match=rf"^read_pairs: .*{message} at \S+p.jsonl, line 2$"):
        read_pairs(path)


def test_damaged_gzip_is_refused(tmp_path):
    whole = gzip.compress("".join(f"{i}\t{i * i}\n" for i in range(9)).encode())
    flipped = whole[:20] + bytes([whole[20] ^ 255]) + whole[21:]
    path = tmp_path / "p.tsv.gz"
    for raw in (b"a\tb\n", whole[:-10], whole[:-1] + b"x", flipped):
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=r"whole gzip; got \S+p.tsv.gz damaged after line \d"):
            read_pairs(path)


def test_paths_that_are_no_such_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^read_pairs: .*also with \.gz; got \S+p\.xls\. Two al"):
        read_pairs(put(tmp_path / "p.xls", b"a\tb\n"))
    with pytest.raises(ValueError, match=r"^read_pairs: the file must exist; got \S+no\.tsv$"):
        read_pairs(tmp_path / "no.tsv")
    (tmp_path / "d.tsv").mkdir()
    with pytest.raises(ValueError, match=r"^read_pairs: a file .*; got the directory \S+d\.tsv$"):
        read_pairs(tmp_path / "d.tsv")
    with pytest.raises(ValueError, match=r"^read_aligned: the file must exist; got \S+no\.pt$"):
        read_aligned(put(tmp_path / "a.en", b"a\n"), tmp_path / "no.pt")


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (b"a\nb\nc\n", b"x\ny", r"same number of lines; got \S+a.en with 3, \S+a.pt with 2$"),
        (b"a\nb\n", b"x\n \n", r"must have text; got an empty target at \S+a.pt, line 2\. Mend"),
        (b"a\n\n", b"x\ny\n", r"must have text; got an empty source at \S+a.en, line 2\. Mend"),
        (b"Source\na\n", b"target\nb\n", r"names of columns, \['Source'\] and .*\. Remove"),
        (b"", b"", r"must hold a pair; got none in \S+a.en, \S+a.pt$"),
        (b"a\n", b"\xff\xfex\0", r"must be UTF-8; got UTF-16 in \S+a.pt\. Convert"),
        (b"a\n", b"x\xc3", r"got byte 0xc3 at \S+a.pt, line 1, byte 2\. Convert"),
    ],
)
def test_bad_aligned_files_are_refused_with_their_place(tmp_path, source, target, message):
    paths = put(tmp_path / "a.en", source), put(tmp_path / "a.pt", target)
    with pytest.raises(ValueError, match=rf"^read_aligned: .*{message}"):
        read_aligned(*paths)


@pytest.mark.skipif(not MULTI30K.is_dir(), reason="no Multi30k at hand")
def test_multi30k_reads_whole():
    pairs = read_aligned(MULTI30K / "val.en.gz", MULTI30K / "val.de.gz")
    assert len(pairs.sources) == len(pairs.targets) == 1014


ROWS = [("a, b", "um"), ("c", 'dois "x"\nund')]


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("p.tsv", "source\ttarget\na\tx\n", None),
        ("p.tsv", "\ufeffSRC\tTGT\na\tx\n", None),
        ("p.tsv", "id\tsrc\ttrg\n1\ta\tx\n", None),
        ("p.tsv", "de\ten\nx\ta\n", ("en", "de")),
        ("p.tsv", "English\tGerman\na\tx\n", ("English", "German")),
        ("p.tsv", "7\ta\t8\tx\n", ("2", "4")),
        ("p.tsv", "a\tx\tCC-BY 2.0\n", ("1", "2")),
        ("p.tsv", "source\ttarget\textra\na\tx\ty\n", ("1", "2")),
        ("p.csv", "source,target\na,x\n", None),
        ("p.csv.gz", 'id,target,source\r\n1,"x","a"\r\n', None),
        ("p.csv", "a,x\n", ("1", "2")),
        ("p.csv", "en,de\na,x\n", ("en", "de")),
        ("p.jsonl", '{"src": "a", "tgt": "x"}', None),
        ("p.jsonl", '{"src": "a", "trg": "x", "id": 1}', None),
        ("p.jsonl", '{"translation": {"de": "x", "en": "a"}}', ("en", "de")),
        ("p.jsonl", '{"translation": {"target": "x", "source": "a"}}', None),
        ("p.jsonl", '{"de": "x", "en": "a"}', ("en", "de")),
        ("p.json", '[{"source": "a",\n "target": "x"}]', None),
        ("p.json.gz", '[{"translation": {"de": "x", "en": "a"}}]', ("en", "de")),
    ],
)
def test_pairs_are_read_from_the_columns_that_have_them(tmp_path, name, text, columns):
    path = put(tmp_path / name, text.encode())
    assert read_pairs(path, columns=columns) == ParallelText(["a"], ["x"])


def test_names_of_languages_may_be_a_pair_of_words(tmp_path):
    path = put(tmp_path / "p.tsv", b"English\tGerman\nred\trot\n")
    assert read_pairs(path, columns=("1", "2")).sources == ["English", "red"]
    path = put(tmp_path / "q.tsv", b"de\tde\n")
    assert read_pairs(path).targets == ["de"]


def test_csv_may_have_quotes_and_lines_in_them(tmp_path):
    text = 'source,target\n"a, b",um\nc,"dois ""x""\nund"\n,\n'
    path = put(tmp_path / "p.csv", text.encode())
    assert list(zip(*read_pairs(path, drop_empty=True), strict=True)) == ROWS
    assert [number for number, *_ in numbered_pairs(path)] == [2, 4, 5]


@pytest.mark.parametrize(
    ("name", "text", "columns", "message"),
    [
        (
            "p.csv",
            "one cat,um gato\n",
            None,
            r"must name the columns .*got \['one cat', 'um gato'\]",
        ),
        ("p.csv", "source;target\na;x\n", None, r"must have commas .*; got 'source;target' at"),
        ("p.csv", "source\ttarget\n", ("1", "2"), r"must have commas between its fields; got"),
        ("p.csv", 'source,target\n"a"b,x\n', None, r"CSV with commas and double quotes; got .* 2$"),
        (
            "p.csv",
            "source,target\na\n",
            None,
            r"2 fields of .* got 1 at \S+p\.csv, line 2$",
        ),
        (
            "p.tsv",
            "de\ten\nx\ta\n",
            ("en", "fr"),
            r"1 to 2; got columns en,fr, \S+p.tsv",
        ),
        (
            "p.tsv",
            "en\tpt_BR\none cat\tum gato\n",
            None,
            r"must be a pair; got names of languages, \['en', 'pt_BR'\], in \S+p\.tsv\. "
            "Give --columns en,pt_BR if they name columns, --columns 1,2 if they are a pair$",
        ),
        ("p.tsv", "English\tGerman\n", None, "got names of languages, "),
        ("p.tsv", "x\ta\n", ("0", "1"), r"numbers from 1 to 2; got columns 0,1, \S+p.tsv begins"),
        (
            "p.jsonl",
            '{"translation": {"de": "x", "en": "a"}}',
            None,
            r"must be named; got \['de', 'en'\]",
        ),
        (
            "p.jsonl",
            '{"de": "x", "en": "a"}',
            ("en", "fr"),
            r"object needs \"fr\"; got \['de', 'en'\]",
        ),
        ("p.json", '{"source": "a", "target": "x"}', None, r"unlike a \.jsonl; got dict at"),
        ("p.json", "[", None, r"a list of objects, unlike a \.jsonl; got Expecting value"),
        ("p.json", "[1]", None, r"must be a JSON object; got int at \S+p\.json, entry 1$"),
    ],
)
def test_rows_of_another_form_are_refused(tmp_path, name, text, columns, message):
    with pytest.raises(ValueError, match=rf"^read_pairs: .*{message}"):
        read_pairs(put(tmp_path / name, text.encode()), columns=columns)


def test_pairs_with_an_empty_side_can_be_left_out(tmp_path):
    path = put(tmp_path / "p.tsv", b"a\tx\n\ty\nb\t \nc\tz\n")
    left_out = Counter()
    rows = read_pairs(path, drop_empty=True, left_out=left_out)
    assert rows == ParallelText(["a", "c"], ["x", "z"])
    assert left_out.total() == left_out["empty"] > 0
    files = put(tmp_path / "a.en", b"a\n\nb\nc"), put(tmp_path / "a.pt", b"x\ny\n\nz")
    assert [number for number, *_ in numbered_aligned(*files)] == [1, 2, 3, 4]
    again = Counter()
    rows = read_aligned(*files, drop_empty=True, left_out=again)
    assert (rows, again) == (ParallelText(["a", "c"], ["x", "z"]), left_out)
    with pytest.raises(
        ValueError, match=r"source at \S+a.en, line 2; an empty target at \S+, line 3\."
    ):
        read_aligned(*files)
    with pytest.raises(ValueError, match="must hold a pair; got none"):
        read_pairs(put(tmp_path / "q.tsv", b"\ty\n"), drop_empty=True)
