"""What the functions of an experiment do, as a digest: functions of one name may differ."""

import dis
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_LIBRARIES = ("<frozen", sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]))
_INSTALLED = ("site-packages", "dist-packages")
_PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, type(None), type(...))
_CODE = (FunctionType, MethodType, partial, type, nn.Module)
_CONSTANTS = (*_PLAIN, tuple, np.generic, np.ndarray, Tensor)


def code_digest(*things: object) -> str:
    """Identify functions by what they do: their code, and the values and code that it refers to.

    Functions, classes, modules and constants of the user's files are followed; lists and mappings
    that are global are not, since a training may fill them. Code of installed packages counts by
    name, and so do objects of their types. Comments, docstrings and the places of lines do not
    count. Another version of Python may compile to another digest.

    Args:
        things: Functions, partial functions, methods, classes, modules of PyTorch, plain values.

    Returns:
        Twelve digits.

    Example:
        >>> code_digest(lambda x: x + 1) == code_digest(lambda x: x + 1)
        True
        >>> code_digest(lambda x: x + 1) == code_digest(lambda x: x + 2)
        False
    """
    return _Digests().of(things).hex()[:12]


def tensor_bytes(tensor: Tensor) -> bytes:
    """Return the numbers of a tensor of any type and device as they lie in memory."""
    plain = tensor.detach().cpu().contiguous().flatten()
    return plain.view(torch.uint8).numpy().tobytes()


def without_addresses(text: str) -> str:
    """Leave out where objects lie in memory, which is another place in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


class _Digests:
    """Digests of values; those that refer to each other end at the place of the first."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self.done: dict[int, tuple[bytes, object]] = {}  # with the value, so that its id stays its

    def of(self, thing: object) -> bytes:
        if isinstance(thing, bytes):
            return hashlib.sha256(b"bytes " + thing).digest()
        if isinstance(thing, _PLAIN):
            return _hash(f"{type(thing).__name__} {thing!r}")
        if id(thing) in self.open:
            return _hash(f"open {self.open.index(id(thing))}")
        if id(thing) not in self.done:
            self.open.append(id(thing))
            parts = list(map(self.of, _parts_of(thing)))
            if isinstance(thing, set | frozenset | Mapping):
                parts.sort()
            self.open.pop()
            content = type(thing).__qualname__.encode() + b"".join(parts)
            self.done[id(thing)] = hashlib.sha256(content).digest(), thing
        return self.done[id(thing)][0]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="backslashreplace")).digest()


def _parts_of(thing: Any) -> Iterator[object]:
    match thing:
        case Tensor():
            is_dense = thing.layout == torch.strided
            yield from (str(thing.layout), thing.dtype, *thing.shape)
            yield tensor_bytes(thing) if is_dense else None
        case np.ndarray() | np.generic():
            plain = np.asarray(thing)
            yield from (str(plain.dtype), *plain.shape)
            yield plain.tolist() if plain.dtype.hasobject else plain.tobytes()
        case Mapping():
            yield from thing.items()
        case set() | frozenset() | list() | tuple():
            yield from thing
        case _:
            yield from _parts_of_code(thing)


def _parts_of_code(thing: Any) -> Iterator[object]:
    match thing:
        case partial():
            yield from (thing.func, thing.args, thing.keywords)
        case MethodType():
            yield from (thing.__func__, thing.__self__)
        case CodeType():
            yield from (thing.co_code, thing.co_names, thing.co_consts)
        case ModuleType() | BuiltinFunctionType():
            yield thing.__name__
        case FunctionType() | type() if _is_installed(thing):
            yield f"{thing.__module__}.{thing.__qualname__}"
            yield getattr(thing, "__wrapped__", None)
        case FunctionType():
            yield from (_without_text(thing), thing.__defaults__, thing.__kwdefaults__)
            yield from (cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell))
            yield from _globals_of(thing)
        case type():
            yield from (thing.__bases__, dict(_members_of(thing)))
        case nn.Module():
            yield from (without_addresses(str(thing)), type(thing), dict(thing.named_buffers()))
        case _ if is_dataclass(thing) or not _is_installed(type(thing)):
            yield from (type(thing), getattr(thing, "__dict__", None))
        case _:
            yield from (type(thing), getattr(thing, "__wrapped__", None))


def _without_text(function: FunctionType) -> CodeType:
    """Return the code of a function without its docstring, which is the first constant."""
    code = function.__code__
    has_text = function.__doc__ is not None and code.co_consts[:1] == (function.__doc__,)
    return code.replace(co_consts=(None, *code.co_consts[1:])) if has_text else code


def _members_of(kind: type) -> Iterator[tuple[str, object]]:
    """Yield the functions and constants of a class by name."""
    for name, member in vars(kind).items():
        inner: Any = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if _is_code(inner) or _is_constant(name, inner):
            yield name, inner


def _globals_of(function: FunctionType) -> Iterator[object]:
    """Yield the code and the constants of the user's files that a function names."""
    steps = [step for code in _codes_in(function.__code__) for step in dis.get_instructions(code)]
    read = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    written = {step.argval for step in steps if step.opname == "STORE_GLOBAL"}
    attributes = {step.argval for step in steps if step.opname in ("LOAD_ATTR", "LOAD_METHOD")}
    for name in sorted((read - written) & function.__globals__.keys()):
        value = function.__globals__[name]
        if isinstance(value, ModuleType) and not _is_library(getattr(value, "__file__", None)):
            inner = vars(value)
            used = {key: inner[key] for key in sorted(attributes & inner.keys())}
            yield {key: one for key, one in used.items() if _is_code(one) or _is_constant(key, one)}
        elif _is_code(value) or _is_constant(name, value):
            yield from (name, value)


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes_in(constant)


def _is_code(value: object) -> bool:
    return isinstance(value, _CODE) or hasattr(value, "__wrapped__")


def _is_constant(name: str, value: object) -> bool:
    return isinstance(value, _CONSTANTS) and not name.startswith("__")


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # of a name that has no value yet
        return False


def _is_installed(thing: FunctionType | type) -> bool:
    if isinstance(thing, FunctionType):
        return _is_library(thing.__code__.co_filename)
    if thing.__module__ == "__main__":
        return False
    module = sys.modules.get(thing.__module__)
    return module is not None and _is_library(getattr(module, "__file__", None))


def _is_library(path: str | None) -> bool:
    """Return whether a file is of an installed package; None is of what Python has built in."""
    return path is None or path.startswith(_LIBRARIES) or any(one in path for one in _INSTALLED)
