"""Readers give back what the file holds, or say where it is wrong."""

import gzip
import json
from pathlib import Path

import pytest

from askew.text._pairs import ParallelText
from askew.text._readers import read_aligned, read_pairs

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
        (b"a\tb\nab\n", r"exactly one tab, .*; got 0 at \S+p.tsv, line 2$"),
        (b"a\tb\tc\td\n", r"got 3 at \S+p.tsv, line 1$"),
        (b"a\tb\n\n", r"got 0 at \S+p.tsv, line 2$"),
        (b"a\tb\n \tb\n", r"got an empty source at \S+p.tsv, line 2$"),
        (b"a\t\xe2\x80\xa8\n", r"got an empty target at \S+p.tsv, line 1$"),
        (b"a\tb\nx\xffy\tc\n", r"UTF-8; got byte 0xff at \S+p.tsv, line 2, byte 2\. Convert"),
        (b"\xef\xbb\xbfab\xe9\tc\n", r"got byte 0xe9 at \S+p.tsv, line 1, byte 6\. Convert"),
        (b"a\tb\nc\0\td\n", r"must be text; got a NUL byte at \S+p.tsv, line 2$"),
        (b"", r"must hold a pair; got none in \S+p.tsv$"),
    ],
)
def test_a_bad_tsv_is_refused_with_its_place(tmp_path, raw, message):
    with pytest.raises(ValueError, match=rf"^read_pairs: .*{message}"):
        read_pairs(put(tmp_path / "p.tsv", raw))


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
        ('{"source": "a", "target": " "}', r"must have text; got an empty target"),
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
    with pytest.raises(ValueError, match=r"^read_pairs: .*\.jsonl\.gz; got \S+p\.csv\. Two al"):
        read_pairs(put(tmp_path / "p.csv", b"a\tb\n"))
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
        (b"a\nb\n", b"x\n \n", r"must have text; got an empty one at \S+a.pt, line 2$"),
        (b"a\n\n", b"x\ny\n", r"must have text; got an empty one at \S+a.en, line 2$"),
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
