"""Files of a user in all their forms: empty lines, marks at the start, names in quotes."""

import pytest

from askew.tasks import read_table_file

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
