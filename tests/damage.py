"""What can befall a file, and what a reader may make of it: all of it rightly, or a ValueError."""

import copy
import json
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

DEEP = "deeper than any stack"
ODD = [
    *(None, True, False, 0, -1, 7, 2**70, 1e308, float("nan"), float("inf"), 0.5),
    *("", "x", "../x", "\ud800", "0" * 64, [], {}, [[]], [None], {"a": 1}, DEEP),
]
SETTINGS = hypothesis.settings(max_examples=15)
MESSAGE = re.compile(r"^[A-Za-z_][\w.]*: .*; .*", re.DOTALL)


@dataclass(frozen=True)
class Readable:
    """A reader, and a good file for it.

    `make` writes the files into a new folder and gives the one that is damaged; `read` reads it and
    fails where what came out is not whole. `named` is what a refusal names: the file, its folder.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    named: Callable[[Path], str] = str


def read_or_refuse(case: Readable, path: Path) -> bool:
    """Whether it was read; anything but a sentence about the file fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.read(path)
    except ValueError as error:
        told = str(error)
        assert MESSAGE.match(told), f"not a sentence of the house: {type(error)} {told!r}"
        assert case.named(path) in told, f"does not name the file: {told!r}"
        told.encode("utf-8")
        return False
    return True


def try_bytes(case: Readable, path: Path, raw: bytes) -> bool:
    """Read a file with other bytes, and put the good ones back."""
    good = path.read_bytes()
    path.write_bytes(raw)
    try:
        return read_or_refuse(case, path)
    finally:
        path.write_bytes(good)


@st.composite
def damaged_bytes(draw: st.DrawFn, raw: bytes) -> bytes:
    """Cut, flip, overwrite, repeat, or write in another encoding."""
    way = draw(st.sampled_from(["cut", "flip", "overwrite", "insert", "remove", "encode"]))
    place = draw(st.integers(0, max(0, len(raw) - 1)))
    if way == "cut":
        return raw[:place]
    if way == "flip":
        bit = 1 << draw(st.integers(0, 7))
        return raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :] if raw else raw
    if way == "encode":
        text = raw.decode("utf-8", "replace")
        name = draw(st.sampled_from(["utf-16", "utf-32", "latin-1", "utf-8-sig", "utf-7"]))
        return text.encode(name, "replace")
    length = draw(st.integers(1, 12))
    if way == "remove":
        return raw[:place] + raw[place + length :]
    new = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\0", b"\n", b'"', b"\xff"]))
    return raw[:place] + new + raw[place + (length if way == "overwrite" else 0) :]


@st.composite
def damaged_json(draw: st.DrawFn, good: object) -> bytes:
    """One or two values of another type, missing, or one too many."""
    whole = [copy.deepcopy(good)]
    for _ in range(draw(st.integers(1, 2))):
        _, holder, key = draw(st.sampled_from(list(_paths(whole))))
        way = draw(st.sampled_from(["change", "change", "remove", "add"]))
        if way == "remove" and holder is not whole:
            del holder[key]
        elif way == "add" and isinstance(holder[key], dict):
            holder[key][draw(st.sampled_from(["", "version", "extra"]))] = draw(odd_values())
        else:
            holder[key] = draw(odd_values())
    return _written(whole[0])


def every_other_value(good: object) -> Iterator[bytes]:
    """Each place in turn with each odd value, and without what is there.

    Entries of a list are taken as alike: the first stands for all.
    """
    whole = [copy.deepcopy(good)]
    seen = set()
    for path, holder, key in list(_paths(whole)):
        shape = tuple("" if isinstance(part, int) else part for part in path)
        if shape in seen:
            continue
        seen.add(shape)
        kept = holder[key]
        for odd in ODD:
            holder[key] = odd
            yield _written(whole[0])
        holder[key] = kept
        if isinstance(holder, dict):
            del holder[key]
            yield _written(whole[0])
            holder[key] = kept


def _written(values: object) -> bytes:
    nested = "[" * 100_000 + "]" * 100_000
    return json.dumps(values).replace(json.dumps(DEEP), nested).encode()


def odd_values() -> st.SearchStrategy:
    return st.sampled_from(ODD).map(copy.deepcopy)


def _paths(holder, above=()):
    """Every value within: the way there, what holds it and where."""
    keys = range(len(holder)) if isinstance(holder, list) else list(holder)
    for key in keys:
        yield (*above, key), holder, key
        if isinstance(holder[key], list | dict):
            yield from _paths(holder[key], (*above, key))


WHOLLY_WRONG = {
    "empty": b"",
    "blank": b"\n",
    "binary": bytes(range(256)),
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "number": b"1" * 200_000,
    "not a number": b"NaN",
    "deep list": b"[" * 200_000,
    "deep object": b'{"a":' * 200_000,
    "deep setting": b"a = " + b"[" * 200_000,
    "other encoding": '{"version": 1}\n'.encode("utf-16"),
}
