"""What the functions of an experiment do, as a digest: functions of one name may differ."""

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


def code_digest(*things: object) -> str:
    """Identify functions by what they do: their code, and the values and code that it refers to.

    Functions, classes, modules and constants of the user's files are followed. Those of installed
    packages count by name, and so do objects of unknown types. Comments and the places of lines do
    not count. Another version of Python may compile to another digest.

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
        if isinstance(thing, _PLAIN):
            return _hash(f"{type(thing).__name__} {thing!r}")
        if id(thing) in self.open:
            return _hash(f"open {self.open.index(id(thing))}")
        if id(thing) not in self.done:
            self.open.append(id(thing))
            parts = [type(thing).__qualname__.encode(), *map(self.of, _parts_of(thing))]
            self.open.pop()
            self.done[id(thing)] = hashlib.sha256(b"".join(parts)).digest(), thing
        return self.done[id(thing)][0]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="backslashreplace")).digest()


def _parts_of(thing: Any) -> Iterator[object]:
    match thing:
        case Tensor() | np.ndarray():
            tensor = torch.as_tensor(thing)
            yield from (tensor.dtype, *tensor.shape, tensor_bytes(tensor))
        case Mapping():
            yield from (part for key in sorted(thing, key=repr) for part in (key, thing[key]))
        case set() | frozenset():
            yield from sorted(thing, key=repr)
        case list() | tuple():
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
        case FunctionType():
            yield from (thing.__code__, thing.__defaults__, thing.__kwdefaults__)
            yield from (cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell))
            yield from _globals_of(thing)
        case type():
            members = {name: _function_of(member) for name, member in vars(thing).items()}
            yield thing.__bases__
            yield {name: member for name, member in members.items() if isinstance(member, _CODE)}
        case nn.Module():
            yield from (without_addresses(str(thing)), type(thing), dict(thing.named_buffers()))
        case _ if is_dataclass(thing) or not _is_installed(type(thing)):
            yield from (type(thing), getattr(thing, "__dict__", None))
        case _:
            yield type(thing)


def _globals_of(function: FunctionType) -> Iterator[object]:
    """Return the code and the constants of its file that a function names."""
    names = {name for code in _codes_in(function.__code__) for name in code.co_names}
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        if isinstance(value, (*_CODE, *_PLAIN, tuple)) and not name.startswith("__"):
            yield from (name, value)


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes_in(constant)


def _function_of(member: Any) -> object:
    """Return the function of a class method, a static method or a property."""
    return getattr(member, "__func__", None) or getattr(member, "fget", None) or member


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # of a name that has no value yet
        return False


def _is_installed(thing: FunctionType | type) -> bool:
    if isinstance(thing, FunctionType):
        path = thing.__code__.co_filename
    elif thing.__module__ == "__main__":
        return False
    else:
        module = sys.modules.get(thing.__module__)
        path = getattr(module, "__file__", None) or ("" if module is None else "<frozen")
    return path.startswith(_LIBRARIES) or any(name in path for name in _INSTALLED)
