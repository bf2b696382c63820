"""Files of a user in all their forms: empty lines, marks at the start, names in quotes."""

import re

import numpy as np
import pytest

from askew.tasks import read_table_file, split_table

CSV = "a,b,sick\n1,2,0\n3,4.5,1\n"
ARFF = """@relation rows
@attribute a numeric
@attribute 'b c' real
@attribute sick {0,1}
@attribute tired {0,1}
@data
1,2,0,1
3,4.5,1,1
"""


def write(folder, text, name="rows.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_may_stand_anywhere_and_empty_lines_are_nothing(tmp_path):
    path = write(tmp_path, "\ufeffp, a ,q\n1,5,0\n\n0,6,1\n\n")
    x, y = read_table_file(path, "q,p")
    assert x.tolist() == [[5], [6]]
    assert y.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("name", ["rows.arff", "rows.ARFF"])
def test_arff(tmp_path, name):
    x, y = read_table_file(write(tmp_path, ARFF, name), "2")
    assert x.tolist() == [[1, 2], [3, 4.5]]
    assert y.tolist() == [[0, 1], [1, 1]]
    x, y = read_table_file(tmp_path / name, "tired")
    assert x.tolist() == [[1, 2, 0], [3, 4.5, 1]]
    assert y.tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("name", "text", "labels", "message"),
    [
        ("none.csv", None, "1", "there must be such a file; got .*none.csv"),
        (
            "a.jsonl",
            '{"a": 1, "b": 2}\n',
            "1",
            "the name must end with .csv or .arff; got .*a.jsonl",
        ),
        ("a.csv", "", "1", "a header and lines"),
        ("a.csv", "a,a,sick\n1,2,0\n", "1", r"columns must have different names; got \['a'\]"),
        ("a.arff", "no arff", "1", "the file must be dense ARFF"),
        ("a.arff", ARFF.replace("3,4.5", "3,?"), "2", "values must be there and finite"),
        ("a.arff", ARFF.replace("@attribute a numeric", "@attribute a string"), "2", "dense ARFF"),
        ("a.arff", ARFF.replace("1,2,0,1", "{0 1, 1 2, 3 1}"), "2", "dense ARFF"),
        ("a.arff", ARFF.replace("{0,1}", "{no,yes}").replace(",1\n", ",yes\n"), "2", "dense ARFF"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, name, text, labels, message):
    path = tmp_path / name
    if text is not None:
        write(tmp_path, text, name)
    with pytest.raises(ValueError, match=message):
        read_table_file(path, labels)


def test_words_for_0_and_1_are_read(tmp_path):
    text = ARFF.replace("{0,1}", "{no,yes}", 1).replace("2,0,1", "2,no,1").replace(",1,1", ",yes,1")
    x, y = read_table_file(write(tmp_path, text, "rows.arff"), "2")
    assert (x.tolist(), y.tolist()) == ([[1, 2], [3, 4.5]], [[0, 1], [1, 1]])
    backwards = text.replace("{no,yes}", "{yes,no}")
    assert read_table_file(write(tmp_path, backwards, "rows.arff"), "2")[1].tolist() == y.tolist()
    x, y = read_table_file(write(tmp_path, "a,b,sick\n1,True,Yes\n2, false,no\n"), "1")
    assert (x.tolist(), y.tolist()) == ([[1, 1], [2, 0]], [[1], [0]])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "1,2,0\n3,4,1\n", r"must name the columns; got numbers, \['1', '2', '0'\], in"),
        ("a.csv", "a;b;sick\n1;2,5;0\n", r"must have commas .*; got \['a;b;sick'\] in .*, line 1"),
        ("a.csv", "a\tsick\n1\t0\n", r"must have commas between its fields and points"),
        ("a.csv", 'a,sick\n"2,5",0\n', r"got '2,5' in .*a\.csv, line 2, a\. Write a decimal point"),
        ("a.csv", "a,sick\n1,0\n,1\n", r"got '' in .*a\.csv, line 3, a\. Fill in missing values"),
        ("a.csv", "a,sick\nNaN,0\n", r"got 'NaN' in .*a\.csv, line 2, a\. Fill in"),
        ("a.csv", "a,sick\ninf,0\n", r"finite numbers; got inf in .*a\.csv, line 2, a"),
        ("a.csv", "a,sick\nred,0\n", r"got 'red' in .*, line 2, a\. Write a column of 0 and 1"),
        ("a.csv", "a,sick\n1,0,7\n", r"must have 2 finite numbers; got 3 fields"),
        ("a.arff", ARFF.replace("3,4.5", "3,?"), r"got a missing value in .*\. Fill in"),
        ("a.arff", ARFF.replace("1,1\n", "?,1\n"), r"got '\?' in .*a\.arff, sick\. Fill in"),
        ("a.arff", ARFF.replace("real", "{red,blue}").replace("4.5", "red"), "dense ARFF"),
        ("a.arff", ARFF.replace("real", "{2,red}").replace("4.5", "red"), "got 'red' in .*, b c"),
        ("a.arff", ARFF.replace("1,2,0,1", "{0 1, 1 2, 3 1}"), "dense ARFF; .* Sparse rows and"),
        ("a.arff", ARFF.replace("a numeric", "a string"), "dense ARFF; .* columns of text have"),
        (
            "a.arff",
            ARFF.replace("3,4.5,1,1", "3,4.5,1,1,7"),
            "must have 4 values; got 5 in .*, line 8",
        ),
    ],
)
def test_what_people_have_is_named(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_table_file(write(tmp_path, text, name), "1")


def rows_of(columns):
    """A file whose columns are functions of the row, as text."""
    rows = [",".join(str(make(i)) for make in columns.values()) for i in range(40)]
    return "\n".join([",".join(columns), *rows])


USUAL = {"a": lambda i: i * i % 7 / 2, "sick": lambda i: int(i % 7 > 4)}


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("", lambda i: i, "'' is left out: it has no name, as an index that pandas wrote"),
        ("", lambda i: i * 7 % 40, "'' is left out: it has no name"),
        ("Unnamed: 0", lambda i: i, "'Unnamed: 0' is left out: it has no name"),
        ("id", lambda i: 3 * i + 100, "'id' is left out: its whole numbers only count the rows"),
        ("id", lambda i: -i, "'id' is left out: its whole numbers only count the rows"),
        ("unit", lambda i: 0.1, "'unit' is left out: it is 0.1 in every row"),
    ],
)
def test_a_column_that_is_no_feature_is_left_out_with_a_word(tmp_path, name, make, reason):
    usual = read_table_file(write(tmp_path, rows_of(USUAL)), "sick")
    path = write(tmp_path, rows_of({name: make, **USUAL}))
    with pytest.warns(UserWarning, match=f"read_table_file: column {re.escape(reason)}"):
        x, y = read_table_file(path, "sick")
    assert x.tolist() == usual[0].tolist()
    assert y.tolist() == usual[1].tolist()


def test_a_column_that_may_name_the_rows_is_kept_with_a_word(tmp_path):
    path = write(tmp_path, rows_of({"id": lambda i: i * 7 % 40, **USUAL}))
    with pytest.warns(UserWarning, match="'id' has another whole number in every row; if it only"):
        assert read_table_file(path, "sick")[0].shape == (40, 2)


@pytest.mark.parametrize(
    "make", [lambda i: int(i % 7 > 4), lambda i: int(i % 7 <= 4), lambda i: 2.5 + (i % 7 > 4)]
)
def test_a_column_that_tells_a_label_is_refused(tmp_path, make):
    path = write(tmp_path, rows_of({"again": make, **USUAL}))
    with pytest.raises(ValueError, match="got column 'again', which tells sick in every row of"):
        read_table_file(path, "sick")


def test_a_constant_by_rounding_alone_is_constant():
    x = np.random.default_rng(0).normal(size=(30, 2))
    x[:, 1] = 0.1
    assert 0 < np.full(18, 0.1).std() < 1e-16  # as numpy computes it for the training rows
    for row in range(30):  # in a test row, too, another value becomes no huge one
        other = x.copy()
        other[row, 1] = 0.1 + 1e-17 if row % 2 else np.nextafter(0.1, 1)
        assert all((rows.x[:, 1] == 0).all() for rows in split_table(other, x[:, :1] > 0))
    x[:, 1] += x[:, 0] * 1e-6
    assert split_table(x, x[:, :1] > 0).train.x[:, 1].std(correction=0) == pytest.approx(1, 1e-5)


@pytest.mark.parametrize("value", [1e200, -1e200, np.inf, np.nan])
def test_a_value_too_large_to_scale_is_refused(value):
    x = np.random.default_rng(0).normal(size=(30, 2))
    x[7, 1] = value
    message = f"finite and at most 1e\\+100; got {re.escape(str(value))} in row 8, column 2"
    with pytest.raises(ValueError, match=message):
        split_table(x, x[:, :1] > 0)
