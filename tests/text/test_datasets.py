"""Pairs through the datasets library, replaced by a stand-in where it is not installed."""

import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from askew.text import ParallelText, read_dataset

ROWS = [{"source": "a", "target": "b", "id": 1}, {"source": "c", "target": "d", "id": 2}]
TREE = {"en": "tree", "de": "Baum"}


@pytest.fixture
def library(monkeypatch):
    """A stand-in that records the requests."""
    made = SimpleNamespace(rows=None, requests=[], __version__="4.0.0")

    def load(*given):
        made.requests.append(given)
        return made.rows

    made.load_dataset = made.load_from_disk = load
    monkeypatch.setitem(sys.modules, "datasets", made)
    return made


def test_versions_that_would_run_code_are_refused(library):
    library.__version__ = "3.6.0"
    with pytest.raises(ValueError, match=r"of version 4 or later, .*; got version 3.6.0"):
        read_dataset("any/name")
    assert not library.requests


def test_reads_two_columns_of_one_part(library):
    library.rows = {"train": ROWS, "test": ROWS[:1]}
    assert read_dataset("any/name") == ParallelText(["a", "c"], ["b", "d"])
    assert read_dataset("any/name", split="test") == ParallelText(["a"], ["b"])
    assert read_dataset("any/name", config="small").sources == ["a", "c"]
    assert library.requests == [("any/name", None), ("any/name", None), ("any/name", "small")]


def test_reads_two_languages_in_the_order_asked_for(library):
    library.rows = [{"translation": TREE}]
    assert read_dataset("n", source="en", target="de") == ParallelText(["tree"], ["Baum"])
    assert read_dataset("n", source="de", target="en") == ParallelText(["Baum"], ["tree"])
    library.rows = [{"translation": TREE | {"fr": "arbre"}}]
    assert read_dataset("n", source="fr", target="de") == ParallelText(["arbre"], ["Baum"])


def test_reads_columns_of_other_names(library):
    library.rows = [TREE | {"source": "web", "target": "x"}]
    assert read_dataset("n", source="en", target="de") == ParallelText(["tree"], ["Baum"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there must be rows; got none in n"),
        ([{"text": "a"}], r"a text for source and target; got row 0 of n with \['text'\]"),
        ([*ROWS, {"source": " ", "target": "b"}], "got row 2 of n"),
        ([*ROWS, {"source": "a", "target": None}], r"got row 2 of n with \['source'\]"),
        ([{"translation": TREE}], r"got row 0 of n with \['de', 'en'\]\. Say which columns or"),
    ],
)
def test_refuses_other_rows(library, rows, message):
    library.rows = rows
    with pytest.raises(ValueError, match=message):
        read_dataset("n")


def test_all_rows_without_a_text_are_named_or_left_out(library):
    library.rows = [{"src": "a", "tgt": "x"}, {"src": "", "tgt": "y"}, {"src": "b", "tgt": None}]
    with pytest.raises(ValueError, match=r"got row 1 of n with \['tgt'\]; row 2 of n with .*drop"):
        read_dataset("n")
    left_out = Counter()
    assert read_dataset("n", drop_empty=True, left_out=left_out) == ParallelText(["a"], ["x"])
    assert left_out == {"empty": 2}
    with pytest.raises(
        ValueError, match=r"must have en and de; got row 0 of n with \['src', 'tgt'\]"
    ):
        read_dataset("n", source="en", target="de", drop_empty=True)


def test_refuses_unknown_splits_and_languages(library):
    library.rows = {"train": [{"translation": TREE}]}
    with pytest.raises(ValueError, match=r"one of \['train'\]; got split 'test'"):
        read_dataset("n", split="test")
    with pytest.raises(ValueError, match="a text for en and pt; got row 0 of n"):
        read_dataset("n", source="en", target="pt")
    with pytest.raises(ValueError, match="go together; got source en, target None"):
        read_dataset("n", source="en")


def test_says_that_the_library_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match="must be installed; got none") as caught:
        read_dataset("n")
    assert caught.value.name == "datasets"


def test_reads_what_the_library_itself_wrote(tmp_path):
    datasets, pyarrow = pytest.importorskip("datasets"), pytest.importorskip("pyarrow")
    table = pyarrow.Table.from_pylist([{"translation": TREE}, {"translation": TREE}])
    parts = {  # with a fingerprint the library hashes nothing, which some versions cannot
        "train": datasets.Dataset(datasets.table.InMemoryTable(table), fingerprint="a"),
        "test": datasets.Dataset(datasets.table.InMemoryTable(table[:1]), fingerprint="b"),
    }
    parts["train"].save_to_disk(str(tmp_path / "part"))
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "all"))
    assert read_dataset(str(tmp_path / "part"), source="en", target="de").targets == ["Baum"] * 2
    assert read_dataset(str(tmp_path / "all"), split="test", source="de", target="en") == (
        ParallelText(["Baum"], ["tree"])
    )
