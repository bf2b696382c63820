"""Strict loading of dataclasses from TOML files and mappings, and back to plain values."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from askew._check import did_you_mean, require
from askew._encoding import BOM, refuse_utf16
from askew._files import existing_file

T = TypeVar("T")
_types_of = cache(get_type_hints)

ADDED = {"added": True}
"""Metadata of a field that files of earlier versions lack.

`to_dict` and `short_repr` leave out its default: what was stored, or named after the config, before
the field was there is then stored and named in the same way.
"""
DESCRIBES = {"describes": True}
"""Metadata of a field that describes a model and cannot be set."""

_Paths = Callable[[], list[str]]
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_WORD = re.compile(r"[^\s\"'\[\]{}=#,][^\n\"'\[\]{}=#,]*")


def load_config(
    kind: type[T],
    values: Mapping[str, object],
    *,
    base: T | None = None,
    where: str = "",
    beside: Mapping[str, object] | None = None,
) -> T:
    """Build a dataclass, and the dataclasses in its fields, from plain values.

    Fields may be `bool`, `int`, `float`, `str`, a `Literal`, a dataclass, or one of these
    or None. An int may stand for a float; nothing else is converted. Of a field that is a mapping,
    values can be replaced by others of the same types.

    Args:
        kind: The dataclass.
        values: A value per field; for a field that is a dataclass itself, a mapping.
        base: An instance that provides the fields that `values` lacks, at every depth.
        where: Dotted path of `values` in the user's file, for messages.
        beside: Other dataclasses of the user's file by name, whose keys a message may suggest.

    Returns:
        The dataclass.

    Raises:
        ValueError: If a key is unknown or missing, a value has the wrong type, or the
            dataclass refuses a value. The message contains the dotted path.
        TypeError: If a field is of a type that has no plain form.

    Example:
        >>> from askew.transformer import StackConfig
        >>> small = StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=16)
        >>> load_config(StackConfig, {"num_layers": 6}, base=small).num_layers
        6
    """

    def paths() -> list[str]:
        own = {_join(where, name): one for name, one in _types_of(kind).items()}
        return list(_paths({**own, **(beside or {})}))

    return _load(kind, values, base, where, paths)


def _load(
    kind: type[T], values: Mapping[str, object], base: T | None, where: str, paths: _Paths
) -> T:
    known = {field.name: field for field in _init_fields(kind)}
    for key in values:
        if key not in known:
            raise ValueError(_unknown_key(str(key), known, where, paths))
    types = _types_of(kind)
    arguments = {} if base is None else {name: getattr(base, name) for name in known}
    for key, value in values.items():
        arguments[key] = _convert(types[key], value, arguments.get(key), _join(where, key), paths)
    missing = [name for name, field in known.items() if _is_missing(field, arguments)]
    require(
        not missing,
        "load_config: a key without a default must be given; "
        f"missing {', '.join(_join(where, name) for name in missing)}",
    )
    try:
        return kind(**arguments)
    except ValueError as error:
        if not where:
            raise
        raise ValueError(f"load_config: {where}: {error}") from error


def read_toml(path: Path | str) -> dict[str, object]:
    """Read a TOML file.

    Raises:
        ValueError: If there is no such file or it is not TOML. The message contains the path
            and, if known, the line.
    """
    path = Path(path)
    require(path.exists(), f"read_toml: the file must exist; got path {str(path)!r}")
    require(not path.is_dir(), f"read_toml: path must be a file; got the directory {str(path)!r}")
    existing_file("read_toml", path)
    raw = path.read_bytes()
    refuse_utf16(raw, "read_toml", path)
    try:
        return tomllib.loads(raw.decode("utf-8").removeprefix(BOM))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"read_toml: the file must be TOML; got path {str(path)!r}: {error}"
        ) from error


@contextmanager
def errors_name_file(path: Path | str | None) -> Iterator[None]:
    """Add the name of a file to every ValueError in the block; None adds nothing.

    The wrong value comes from this file, or from an option that overrides it.

    Example:
        >>> from askew.transformer import StackConfig
        >>> with errors_name_file("small.toml"):
        ...     load_config(StackConfig, {"d_modle": 8})
        Traceback (most recent call last):
        ValueError: load_config: unknown key 'd_modle'; did you mean 'd_model'? (in
        small.toml or an override)
    """
    try:
        yield
    except ValueError as error:
        if path is None:
            raise
        raise ValueError(f"{error} (in {path} or an override)") from error


def parse_setting(text: str) -> dict[str, object]:
    """Read one `key=value` of the command line into a mapping nested as deep as the key has dots.

    The value is TOML; a bare word is a string.

    Raises:
        ValueError: If there is no key, no value, or a value that is neither TOML nor a word.

    Example:
        >>> parse_setting("encoder.num_layers=6")
        {'encoder': {'num_layers': 6}}
        >>> parse_setting("schedule=cosine")
        {'schedule': 'cosine'}
    """
    path, equals, written = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    require(
        bool(equals) and all(_BARE_KEY.fullmatch(key) for key in keys),
        f"parse_setting: a setting must read key=value; got {text!r}. Write encoder.num_layers=6",
    )
    setting: dict[str, object] = {keys[-1]: _parse_value(written.strip(), text)}
    for key in reversed(keys[:-1]):
        setting = {key: setting}
    return setting


def to_dict(config: object) -> dict[str, object]:
    """Convert a dataclass to plain values that JSON and `load_config` understand.

    The mapping is nested like the dataclasses; paths become strings.

    Raises:
        TypeError: If a value has no plain form.
    """
    values = ((field, getattr(config, field.name)) for field in _init_fields(config))
    return {
        field.name: _plain(value)
        for field, value in values
        if not (field.metadata == ADDED and value == field.default)
    }


def short_repr(config: object) -> str:
    """Write a config as dataclasses do, without later fields that have their defaults."""
    shown = (
        f"{field.name}={getattr(config, field.name)!r}"
        for field in _init_fields(config)
        if not (field.metadata == ADDED and getattr(config, field.name) == field.default)
    )
    return f"{type(config).__qualname__}({', '.join(shown)})"


def _init_fields(config: object) -> list[Field[Any]]:
    if not is_dataclass(config):
        raise TypeError(f"load_config: only a dataclass has fields; got {config!r}")
    return [field for field in fields(config) if field.init]


def _is_missing(field: Field[Any], arguments: Mapping[str, object]) -> bool:
    no_default = field.default is MISSING and field.default_factory is MISSING
    return no_default and field.name not in arguments


def _unknown_key(key: str, known: Iterable[str], where: str, paths: _Paths) -> str:
    near = did_you_mean(key, known, where=where, elsewhere=paths())
    repair = near or f"known: {', '.join(known)}"
    return f"load_config: unknown key {_join(where, key)!r}; {repair}"


def _paths(values: Mapping[str, Any]) -> Iterator[str]:
    """List the dotted names of all keys of values, each a type or a dataclass."""
    for path, one in values.items():
        yield path
        for kind in get_args(one) or (one,):
            if is_dataclass(kind):
                hints = _types_of(kind if isinstance(kind, type) else type(kind))
                names = (field.name for field in _init_fields(kind))
                yield from _paths({_join(path, name): hints[name] for name in names})


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _convert(wanted: Any, value: object, base: Any, path: str, paths: _Paths) -> object:
    kinds = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    for kind in kinds:
        if is_dataclass(kind) and isinstance(value, Mapping):
            return _load(kind, value, base if isinstance(base, kind) else None, path, paths)
        if get_origin(kind) is Mapping and isinstance(value, Mapping):
            return _replaced(value, base, path, paths)
        if kind is float and type(value) is int:
            return float(value)
        if _fits(value, kind):
            return value
    names = " or ".join(_name(kind) for kind in kinds)
    raise ValueError(f"load_config: {path} must be {names}; got {path} {value!r}")


def _replaced(
    values: Mapping[str, object], base: Any, where: str, paths: _Paths
) -> dict[str, object]:
    known = dict(base or {})
    for key, value in values.items():
        if key not in known:
            raise ValueError(_unknown_key(str(key), known, where, paths))
        known[key] = _convert(type(known[key]), value, None, _join(where, key), paths)
    return known


def _fits(value: object, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return any(value == word and type(value) is type(word) for word in get_args(kind))
    if is_dataclass(kind) or get_origin(kind) is Mapping:
        return False
    if kind not in (bool, int, float, str, type(None)):
        raise TypeError(f"load_config: a field must be of a plain type; got {kind!r}")
    return type(value) is kind


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(word) for word in get_args(kind))
    if is_dataclass(kind):
        return f"a table of {kind.__name__}"
    if get_origin(kind) is Mapping:
        return "a table"
    return "None" if kind is type(None) else kind.__name__


def _parse_value(written: str, text: str) -> object:
    try:
        table = tomllib.loads(f"value = {written}")
    except (tomllib.TOMLDecodeError, RecursionError):
        require(
            _BARE_WORD.fullmatch(written) is not None,
            f"parse_setting: the value must be TOML or a word; got {text!r}. Quote a string",
        )
        return written
    # A line break in the text could add keys of its own.
    require(list(table) == ["value"], f"parse_setting: a setting must be one line; got {text!r}")
    return table["value"]


def _plain(value: object) -> object:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"to_dict: a value must have a plain form; got {value!r}")
    return value
