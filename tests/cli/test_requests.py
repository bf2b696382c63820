"""A space in a file: every value that is of another kind is named, with the file."""

import pytest

from askew.cli._requests import read_space
from askew.tradeoffs import Choice, Range

NUMBERS = '[numbers]\ndropout = "0.0..0.5"\nwidth = [8, 16]\n'


def test_a_space_is_read_from_its_tables(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(f'solved = ["dropout"]\n{NUMBERS}[fixed]\nwidth = 8\n')
    space = read_space(path)
    assert space.numbers == {"dropout": Range(low=0.0, high=0.5), "width": Choice(values=(8, 16))}
    assert (space.solved, space.fixed) == (("dropout",), {"width": 8})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ties = 3", "ties must be a table; got ties 3"),
        (f"{NUMBERS}[fixed]\nwidth = [8]", r"values must be numbers, .*; got values \(\[8\],\)"),
        ("fixed = 3", "fixed must be a table; got fixed 3"),
        ("conditions = []", r"conditions must be a table; got conditions \[\]"),
        ("solved = 3", "solved must be a list; got solved 3"),
        ("numbers = 3", "numbers must be a table; got numbers 3"),
        ("number = 3", r"a space has numbers, ties, .*; got \['number'\]"),
        (f"solved = [3]\n{NUMBERS}", "the number of 0 must be the name of a number; got .* 3"),
        (f"{NUMBERS}[ties]\nwidth = 3", "the number of width must be the name of a number; got"),
        (f"{NUMBERS}[conditions]\nwidth = 3", "conditions of width must be a table; got"),
        (
            f"{NUMBERS}[conditions]\nwidth = {{ dropout = 0.1 }}",
            "values of dropout in conditions of width must be a list; got .* 0.1",
        ),
        ('numbers.training.lr = "1..2"', "got training {'lr': '1..2'}. Quote a name with dots"),
        ("numbers.dropout = [[1], [2]]", "values must be numbers, words or truth values; got"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_file(text, words, tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"{words}.*\(in .*space\.toml or an override\)"):
        read_space(path)
