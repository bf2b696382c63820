from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from askew.tradeoffs._statistics.table import Row, read_table

ROWS = [
    Row(arm, seed, item, "f1", float(value))
    for value, (arm, seed, item) in enumerate(
        (arm, seed, item) for arm in ("thin", "twin") for seed in (0, 10, 2) for item in ("", "a")
    )
]


def _write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(["arm,seed,item,metric,value", *lines]) + "\n", encoding="utf-8")
    return path


def test_seeds_sort_as_numbers_and_values_follow():
    sample = read_table(ROWS).samples["f1", "twin"]
    assert sample.seeds == [0, 2, 10]
    assert sample.items == ["a"]
    assert sample.values.tolist() == [6.0, 10.0, 8.0]
    assert sample.grid is not None
    assert sample.grid.tolist() == [[7.0], [11.0], [9.0]]
    assert not sample.averaged


def test_values_of_a_seed_are_the_mean_of_its_items_where_nothing_else_is_given():
    rows = [
        Row(arm, seed, item, "f1", seed + 2.0 * (item == "b"))
        for arm in ("thin", "twin")
        for seed in (0, 1)
        for item in ("a", "b")
    ]
    sample = read_table(rows).samples["f1", "thin"]
    assert sample.averaged
    assert sample.values.tolist() == [1.0, 2.0]


def test_file_equals_rows_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("askew.tradeoffs._statistics.table._CHUNK", 5)
    path = _write(tmp_path / "t.csv", [",".join(map(str, row)) for row in ROWS])
    for results in (path, str(path), iter(ROWS[::-1])):
        table = read_table(results)
        assert (table.arms, table.metrics) == (["thin", "twin"], ["f1"])
        for key, sample in read_table(ROWS).samples.items():
            assert table.samples[key].seeds == sample.seeds
            np.testing.assert_array_equal(table.samples[key].values, sample.values)
            np.testing.assert_array_equal(table.samples[key].grid, sample.grid)


def test_a_quoted_item_with_a_comma_and_a_byte_order_mark(tmp_path: Path):
    text = '\ufeffarm,seed,item,metric,value\nthin,1,"a, b",f1,2\n'
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert read_table(tmp_path / "t.csv").samples["f1", "thin"].items == ["a, b"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["thin,1,,f1"], "a row must have 5 fields; got 4 in .*t.csv, line 2"),
        (["thin,1,,f1,2", ""], "a row must have 5 fields; got 0 in .*t.csv, line 3"),
        (["thin,1,,f1,two"], "value must be a number; got value 'two' of arm 'thin', seed 1"),
        (["thin,x1,,f1,2"], "seed must be an integer; got seed 'x1'"),
        (["thin,1,,f1,2", "thin,01,,f1,2"], "a row must occur once; got arm 'thin', seed 1, "),
        ([], "results must have rows; got none"),
    ],
)
def test_malformed_file(tmp_path: Path, lines: list[str], message: str):
    with pytest.raises(ValueError, match=f"^analyze: {message}"):
        read_table(_write(tmp_path / "t.csv", lines))


def test_wrong_header(tmp_path: Path):
    (tmp_path / "t.csv").write_text("arm,seed,value\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"must be arm,seed,item,metric,value; got 'arm,seed,val"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: [*rows, rows[3]],
            "a row must occur once; got arm 'thin', seed 10, item 'a', metric 'f1' twice",
        ),
        (
            lambda rows: [rows[0]._replace(value=float("nan")), *rows[1:]],
            "value must be finite; got value nan of arm 'thin', seed 0, item '', metric 'f1'",
        ),
        (
            lambda rows: [*rows[:-1], rows[-1]._replace(value=float("-inf"))],
            "value must be finite; got value -inf of arm 'twin', seed 2, item 'a'",
        ),
        (
            lambda rows: [rows[0]._replace(value=-1.1e300), *rows[1:]],
            r"value must be between -1e\+300 and 1e\+300; got value -1.1e\+300 of arm 'thin'",
        ),
        (
            lambda rows: [rows[0]._replace(value=10**400), *rows[1:]],
            "value must be a number; got value 1000.* of arm 'thin', seed 0",
        ),
        (
            lambda rows: [rows[0]._replace(value=None), *rows[1:]],
            "value must be a number; got value None of arm 'thin', seed 0",
        ),
        (
            lambda rows: [*rows, Row("thin", 0, "", "em", 1.0)],
            "every metric needs values of every arm; got no metric 'em' of arm 'twin'",
        ),
        (
            lambda rows: [*rows, Row("thin", 2, "b", "f1", 1.0)],
            "every seed must have the same items; got no item 'b' for seed 0, arm 'thin'",
        ),
        (
            lambda rows: rows[1:],
            r"one for every seed; got none for seeds \[0\], arm 'thin', metric 'f1'",
        ),
    ],
)
def test_incomplete_rows(change: Callable[[list[Row]], list[Row]], message: str):
    with pytest.raises(ValueError, match=f"^analyze: .*{message}"):
        read_table(change(ROWS))
