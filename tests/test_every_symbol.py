"""Every public name is explained, with all its parameters, and named by a test."""

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import get_origin

import pytest
from rules import holds_for_each

TESTS = Path(__file__).parent
ROOT = TESTS.parent / "src" / "askew"


def public_names(init: Path) -> list[str]:
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def names_used(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    fields = [vars(node) for node in tree]
    return {str(node.get(key)) for node in fields for key in ("id", "attr", "name") if key in node}


SYMBOLS = [
    (init.parent.name, name)
    for init in sorted(ROOT.glob("*/__init__.py"))
    for name in public_names(init)
]


@cache
def names_in_tests() -> set[str]:
    return set().union(*(names_used(path) for path in TESTS.rglob("test_*.py")))


def explained_constants(path: Path) -> set[str]:
    """Names that are assigned and followed by a string."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {
        ast.unparse(line.targets[0])
        for line, following in pairwise(body)
        if isinstance(line, ast.Assign)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }


EXPLAINED = set().union(*(explained_constants(path) for path in ROOT.rglob("*.py")))

each_symbol = holds_for_each(*SYMBOLS)


def own_docstring(symbol: object) -> str:
    """What somebody wrote; not the signature that dataclass and NamedTuple put there."""
    text = inspect.cleandoc(symbol.__doc__ or "")
    return "" if text.startswith(f"{symbol.__name__}(") else text


@pytest.mark.parametrize("package", sorted({package for package, _ in SYMBOLS}))
def test_public_names_are_distinct_and_exist(package):
    module = import_module(f"askew.{package}")
    assert len(set(module.__all__)) == len(module.__all__)
    assert set(module.__all__) <= set(dir(module))


@each_symbol
def test_a_function_takes_a_path_as_a_string_too(package, name):
    symbol = getattr(import_module(f"askew.{package}"), name)
    parameters = inspect.signature(symbol).parameters if inspect.isfunction(symbol) else {}
    for parameter in parameters.values():
        kinds = str(parameter.annotation)
        assert "Path" not in kinds or "str" in kinds or "Callable" in kinds, parameter


@each_symbol
def test_symbol_is_explained(package, name):
    symbol = getattr(import_module(f"askew.{package}"), name)
    if not inspect.isclass(symbol) and not inspect.isfunction(symbol):
        assert name in EXPLAINED, f"no docstring follows the constant {name}"
        return
    text = own_docstring(symbol)
    assert len(text.split()) >= 3, f"{name} has no docstring of its own"
    assert text.split("\n\n")[0].endswith((".", ":")), f"{name} has no full first sentence"
    if inspect.isfunction(symbol):
        described = re.findall(r"^ +\*{0,2}(\w+)(?: \(.*?\))?: ", text, flags=re.MULTILINE)
        missing = set(inspect.signature(symbol).parameters) - set(described)
        assert not missing, f"{name} does not explain {sorted(missing)}"


@each_symbol
def test_symbol_has_an_example_that_runs(package, name):
    symbol = getattr(import_module(f"askew.{package}"), name)
    if not inspect.isclass(symbol) and not inspect.isfunction(symbol):
        return
    text = own_docstring(symbol)
    assert re.search(r"^ *>>> ", text, flags=re.MULTILINE), f"{name} shows no example"
    assert "+SKIP" not in text, f"{name} has an example that does not run"


@each_symbol
def test_what_a_symbol_gives_and_holds_is_explained(package, name):
    symbol = getattr(import_module(f"askew.{package}"), name)
    text = own_docstring(symbol) if inspect.isclass(symbol) or inspect.isfunction(symbol) else ""
    if inspect.isfunction(symbol):
        given = inspect.signature(inspect.unwrap(symbol)).return_annotation
        gives = given not in (None, "None", inspect.Signature.empty)
        assert not gives or re.search(r"^ *(Returns|Yields):", text, flags=re.MULTILINE), name
    elif inspect.isclass(symbol) and hasattr(symbol, "_fields"):
        told = set(re.findall(r"[a-z0-9]+", text.partition("Example:")[0].lower()))
        missing = [field for field in symbol._fields if not set(field.split("_")) & told]
        assert not missing, f"{name} does not explain {missing}"


@each_symbol
def test_symbol_is_named_by_a_test(package, name):
    is_type_alias = get_origin(getattr(import_module(f"askew.{package}"), name)) is not None
    assert is_type_alias or name in names_in_tests(), f"no test names askew.{package}.{name}"
