"""Mappings and TOML become dataclasses strictly, and messages say where."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askew._check import did_you_mean, hint
from askew._config import load_config, parse_setting, read_toml, to_dict


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    d_model: int
    num_layers: int = 2
    d_key: int | None = None
    dropout: float = 0.1
    kind: Literal["relu", 3] = "relu"
    tied: bool = False

    def __post_init__(self) -> None:
        if self.d_model <= 0:
            raise ValueError(f"Stack: d_model must be positive; got d_model {self.d_model}")


@dataclass(frozen=True, kw_only=True)
class Run:
    encoder: Stack
    decoder: Stack | None = None
    name: str = "run"
    made: int = field(init=False, default=7)


def test_nested_values_become_nested_dataclasses():
    run = load_config(Run, {"encoder": {"d_model": 4}, "decoder": {"d_model": 6, "d_key": 3}})
    assert run == Run(encoder=Stack(d_model=4), decoder=Stack(d_model=6, d_key=3))


def test_base_fills_what_is_missing_at_every_depth():
    base = Run(encoder=Stack(d_model=4, num_layers=5), name="base")
    changed = load_config(Run, {"encoder": {"d_key": 2}}, base=base)
    assert changed == Run(encoder=Stack(d_model=4, num_layers=5, d_key=2), name="base")
    assert load_config(Run, {}, base=base) == base


def test_base_does_not_outlive_an_explicit_none():
    base = Run(encoder=Stack(d_model=4), decoder=Stack(d_model=6))
    assert load_config(Run, {"decoder": None}, base=base).decoder is None


def test_a_right_key_in_the_wrong_place_is_told_where_it_goes():
    def refused(values, kind=Run, **more):
        with pytest.raises(ValueError, match="unknown key") as caught:
            load_config(kind, values, **more)
        return str(caught.value).partition("; ")[2]

    whole = Run(encoder=Stack(d_model=4))
    assert refused({"num_layers": 2}) == (
        "did you mean 'encoder.num_layers' or 'decoder.num_layers'?"
    )
    assert refused({"num_layer": 2}) == (
        "did you mean 'encoder.num_layers' or 'decoder.num_layers'?"
    )
    beside = {"training": whole}
    assert (
        refused({"name": 1, "trainin": {}}, Stack, beside=beside) == "did you mean 'training.name'?"
    )
    assert refused({"trainin": {}}, Stack, beside=beside) == "did you mean 'training'?"
    assert refused({"encoder": {"zzz": 1}}).startswith("known: ")
    assert refused({"nam": 1}, where="training") == "did you mean 'training.name'?"


def test_names_are_suggested_by_their_nearness():
    assert did_you_mean("focl", ["focal", "asl"]) == "did you mean 'focal'?"
    assert did_you_mean("zzz", ["focal"], elsewhere=["a.focal"]) == ""
    assert did_you_mean("lr", ["b"], elsewhere=["a.lr", "c.lr"]) == "did you mean 'a.lr' or 'c.lr'?"
    assert did_you_mean("num", ["nun"], where="a") == "did you mean 'a.nun'?"
    assert hint("focl", ["focal"]) == " (did you mean 'focal'?)"
    assert hint("zzz", ["focal"]) == ""


def test_int_stands_for_float():
    dropout = load_config(Stack, {"d_model": 4, "dropout": 0}).dropout
    assert (dropout, type(dropout)) == (0.0, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"encoder": {"d_model": 4, "num_layer": 6}},
            "unknown key 'encoder.num_layer'; did you mean 'encoder.num_layers'?",
        ),
        ({"zzz": 1}, "unknown key 'zzz'; known: encoder, decoder, name"),
        ({"made": 1}, "unknown key 'made'"),
        ({"name": "x"}, "a key without a default must be given; missing encoder"),
        ({"encoder": {}}, "a key without a default must be given; missing encoder.d_model"),
        ({"encoder": {"d_model": "6"}}, "encoder.d_model must be int; got encoder.d_model '6'"),
        ({"encoder": {"d_model": True}}, "encoder.d_model must be int; got encoder.d_model True"),
        ({"encoder": {"d_model": 6.0}}, "encoder.d_model must be int; got encoder.d_model 6.0"),
        (
            {"encoder": {"d_model": 6, "dropout": True}},
            "encoder.dropout must be float; got encoder.dropout True",
        ),
        (
            {"encoder": {"d_model": 6, "d_key": "a"}},
            "encoder.d_key must be int or None; got encoder.d_key 'a'",
        ),
        (
            {"encoder": {"d_model": 6, "kind": "gelu"}},
            "encoder.kind must be 'relu' or 3; got encoder.kind 'gelu'",
        ),
        ({"encoder": {"d_model": 6, "kind": 3.0}}, "got encoder.kind 3.0"),
        ({"encoder": {"d_model": 6, "tied": 1}}, "encoder.tied must be bool; got encoder.tied 1"),
        ({"encoder": 5}, "encoder must be a table of Stack; got encoder 5"),
        ({"encoder": None}, "encoder must be a table of Stack; got encoder None"),
        (
            {"encoder": {"d_model": 1}, "decoder": {"d_model": -2}},
            "load_config: decoder: Stack: d_model must be positive; got d_model -2",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(values, message):
    with pytest.raises(ValueError, match=f"^load_config: .*{re.escape(message[-40:])}") as caught:
        load_config(Run, values)
    assert message in str(caught.value)


def test_messages_start_with_where_the_values_stand():
    with pytest.raises(ValueError, match=r"unknown key 'model\.encoder\.x'"):
        load_config(Run, {"encoder": {"x": 1}}, where="model")


def test_a_field_without_plain_form_is_a_type_error():
    @dataclass(frozen=True)
    class Odd:
        x: set

    with pytest.raises(TypeError, match="plain type; got <class 'set'>"):
        load_config(Odd, {"x": {1}})
    with pytest.raises(TypeError, match=r"plain form; got \{1\}"):
        to_dict(Odd({1}))
    with pytest.raises(TypeError, match="only a dataclass has fields; got 3"):
        to_dict(3)


@given(
    st.builds(
        Run,
        encoder=st.builds(
            Stack,
            d_model=st.integers(1),
            d_key=st.none() | st.integers(),
            dropout=st.floats(allow_nan=False),
            kind=st.sampled_from(["relu", 3]),
        ),
        decoder=st.none() | st.builds(Stack, d_model=st.integers(1), tied=st.booleans()),
        name=st.text(),
    )
)
def test_to_dict_and_load_config_undo_each_other(run):
    assert load_config(Run, to_dict(run)) == run


def test_to_dict_gives_what_json_knows():
    @dataclass(frozen=True)
    class Odd:
        x: tuple
        folder: Path
        table: dict

    given_ = Odd((1, Stack(d_model=4)), Path("a/b"), {1: (None,)})
    plain = {
        "x": [1, to_dict(Stack(d_model=4))],
        "folder": str(Path("a/b")),
        "table": {"1": [None]},
    }
    assert to_dict(given_) == plain


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("encoder.num_layers=6", {"encoder": {"num_layers": 6}}),
        ("lr = 2e-3", {"lr": 0.002}),
        ("tied=true", {"tied": True}),
        ("name=deep-shallow", {"name": "deep-shallow"}),
        ("path=/tmp/a b.toml", {"path": "/tmp/a b.toml"}),
        ('name="x=y"', {"name": "x=y"}),
        ("a.b.c=[1, 2]", {"a": {"b": {"c": [1, 2]}}}),
    ],
)
def test_a_setting_is_a_path_and_a_toml_value(text, setting):
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["encoder.num_layers", "=6", "a..b=6", "a b=6", ".a=1", ""])
def test_a_setting_without_key_and_equals_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(f"must read key=value; got {text!r}")):
        parse_setting(text)


@pytest.mark.parametrize("text", ["a=", "a=[1,", "a='x", "a={b=1", "a=b=c"])
def test_a_value_that_is_no_toml_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(f"must be TOML or a word; got {text!r}")):
        parse_setting(text)


def test_a_setting_does_not_smuggle_a_second_line():
    with pytest.raises(ValueError, match=re.escape(r"must be one line; got 'a=1\nb = 2'")):
        parse_setting("a=1\nb = 2")


def test_toml_is_read(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('name = "é"\n[encoder]\nd_model = 4\n', encoding="utf-8")
    assert read_toml(path) == read_toml(str(path)) == {"name": "é", "encoder": {"d_model": 4}}


def test_files_that_hold_no_toml_are_named(tmp_path):
    path = tmp_path / "run.toml"
    named = re.escape(str(path))
    with pytest.raises(ValueError, match=f"must exist; got path '{named}'"):
        read_toml(path)
    with pytest.raises(ValueError, match=f"got the directory '{re.escape(str(tmp_path))}'"):
        read_toml(tmp_path)
    path.write_text("a = 1\nb = = 2\n")
    with pytest.raises(ValueError, match=f"must be TOML; got path '{named}': .*line 2"):
        read_toml(path)
    path.write_bytes(b"a = '\xff'\n")
    with pytest.raises(ValueError, match=f"must be TOML; got path '{named}': .*0xff"):
        read_toml(path)
