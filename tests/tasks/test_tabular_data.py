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
