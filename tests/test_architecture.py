"""Imports point down, files stay small, and nothing heavy is loaded before it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from rules import holds_for_each

import askew

ROOT = Path(__file__).parents[1] / "src" / "askew"
FILES = sorted(ROOT.rglob("*.py"))
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
TIERS = [
    {"_check", "_lazy", "_plain", "_settings_module"},
    {
        "_budget",
        "_commit",
        "_decoding",
        "_devices",
        "_encoding",
        "_files",
        "_key_mask",
        "_reduction",
        "_split_text",
        "_threads",
    },
    {"_folders"},
    {"_config", "attention", "losses", "metrics", "optim", "regularizers", "text"},
    {"_ctranslate2_engine", "inspection", "transformer"},
    {"_translator"},
    {"models"},
    {"export", "tradeoffs", "training"},
    {"tasks"},
    {"cli"},
    {"__main__"},
]
TIER = {part: height for height, parts in enumerate(TIERS) for part in parts}
WITHOUT_TRANSFORMERS = [
    name for name in PACKAGES if TIER[name] <= TIER["transformer"] or name == "tradeoffs"
]

each_file = holds_for_each(*((path,) for path in FILES))


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree_of(path)))


@cache
def imported(path: Path) -> list[str]:
    """Full names of all modules, and of all names taken from modules, that a file imports."""
    return imported_by(nodes(path))


def imported_by(nodes: Iterable[ast.AST]) -> list[str]:
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names += [f"{prefix}.{alias.name}" for alias in node.names]
    return names


def modules_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint()\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_every_tier_names_what_there_is():
    assert TIER.keys() == {part_of(path) for path in FILES} - {"__init__"}


@each_file
def test_imports_point_down(path):
    own = part_of(path)
    for name in imported(path):
        assert not name.startswith("."), f"relative import {name}"
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package == "askew" and other != own:
            assert own != "__init__", f"the package itself imports {name}"
            assert TIER[other] < TIER[own], f"{own} may not import {name}"


@each_file
def test_other_packages_are_used_by_their_public_names(path):
    for name in imported(path):
        package, *inner = name.split(".")
        if package == "askew" and inner and inner[0] != part_of(path):
            assert not any(step.startswith("_") for step in inner[1:]), name


@holds_for_each(*((path,) for path in sorted(ROOT.glob("models/*.py"))))
def test_models_know_neither_losses_nor_optimizers(path):
    assert not [n for n in imported(path) if n.startswith(("askew.losses", "askew.optim"))]


@holds_for_each(*((path,) for path in sorted(ROOT.glob("tradeoffs/**/*.py"))))
def test_the_judge_knows_no_model(path):
    tops = ("transformers", "askew.models", "askew.training", "askew.tasks")
    assert not [
        name for name in imported(path) if f"{name}.".startswith(tuple(f"{t}." for t in tops))
    ]


@each_file
def test_one_module_knows_the_versions_of_transformers(path):
    if path.name == "_transformers_versions.py":
        return
    assert not [name for name in imported(path) if name.startswith("packaging.version")]
    looked_at = {ast.unparse(node) for node in nodes(path) if isinstance(node, ast.Attribute)}
    assert not {"transformers.__version__", "torch.__version__", "torch.version"} & looked_at
    words = {node.value for node in nodes(path) if isinstance(node, ast.Constant)}
    assert not {"cache_position", "cache_kwargs"} & words
    for node in nodes(path):
        if isinstance(node, ast.Try):
            tried = [name for step in node.body for name in imported_by(ast.walk(step))]
            assert not [name for name in tried if name.startswith("transformers")]


@each_file
def test_a_file_is_short_and_says_what_it_is(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(tree_of(path))
    assert "__future__.annotations" not in imported(path)


@each_file
def test_public_functions_name_their_settings(path):
    if part_of(path) in ("models", "training"):
        return
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert node.args.kwarg is None, f"{node.name} takes **{node.args.kwarg.arg}"


@each_file
def test_nothing_is_unpickled(path):
    packages = {name.split(".")[0] for name in imported(path)}
    own_job = {"cloudpickle"} if path.name == "torchrun.py" else set()  # handed to its own child
    assert not {"pickle", "cloudpickle", "dill"} & packages - own_job
    settings = {
        (word.arg, getattr(word.value, "value", None))
        for node in nodes(path)
        if isinstance(node, ast.Call)
        for word in node.keywords
    }
    assert not {("weights_only", False), ("allow_pickle", True)} & settings
    for node in nodes(path):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert "weights_only" in {word.arg for word in node.keywords}


@each_file
def test_models_of_transformers_are_made_in_one_place(path):
    """Where code, adapters and pickles of a folder are kept out, see tests/fuzz."""
    one_place = "models/_transformers_models.py"
    if str(path.relative_to(ROOT)) == one_place:
        return
    names = ("Translator", "QuestionAnswerer", "PassageEncoder", "TextLabeller", "SpanTeacher")
    ours = {f"{name}.from_pretrained" for name in names}
    makes = ("from_pretrained", "from_config", "_from_config", "for_model")
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and node.attr in makes:
            assert ast.unparse(node) in ours, f"{ast.unparse(node)}: only {one_place} may"
        if isinstance(node, ast.Name | ast.Attribute):
            name = ast.unparse(node)
            auto = name.rpartition(".")[2].startswith("Auto")
            if auto and "transformers" in "".join(imported(path)):
                assert str(path.relative_to(ROOT)) == "models/__init__.py", f"{name} in {path}"
    if str(path.relative_to(ROOT)) == "models/__init__.py":
        calls = [ast.unparse(n.func) for n in nodes(path) if isinstance(n, ast.Call)]
        assert all(call.endswith(".register") for call in calls if call.startswith("Auto"))


@holds_for_each(*((path,) for path in sorted(ROOT.glob("cli/*.py"))))
def test_commands_print_by_one_function(path):
    """`show` and `tell` make visible what would steer a terminal."""
    for node in nodes(path):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo"):
            constant = all(isinstance(one, ast.Constant) for one in node.args)
            ours = path.name in ("_streams.py", "_exits.py")
            assert constant or ours, f"line {node.lineno}: {ast.unparse(node)}"


def test_the_package_offers_its_sub_packages_lazily():
    assert sorted([*askew.__all__, "cli"]) == PACKAGES  # the command line is no library
    assert set(askew.__all__) <= set(dir(askew))
    seen = modules_after("import askew\nassert askew.__version__")
    assert not {"torch", "transformers", "numpy"} & seen
    assert {name for name in seen if name.startswith("askew")} == {"askew"}
    assert "askew.attention" in modules_after("import askew\naskew.attention.attend")


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'askew' has no attribute 'atention'"):
        _ = askew.atention


def test_parts_come_without_transformers():
    steps = [
        f"import askew.{name}\nassert 'transformers' not in sys.modules, {name!r}"
        for name in WITHOUT_TRANSFORMERS
    ]
    modules_after("\n".join(steps))


def modules_after_command(*words: str) -> set[str]:
    return modules_after(
        "import runpy\n"
        f"sys.argv = {['askew', *words]!r}\n"
        "try:\n"
        "    runpy.run_module('askew', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
    )


def test_help_comes_without_torch():
    seen = modules_after_command("--help")
    assert "askew.cli" in seen
    assert not {"torch", "transformers", "sklearn"} & seen


def test_searching_documents_comes_without_torch():
    readme = str(ROOT.parents[1] / "README.md")
    seen = modules_after_command("search", "--context", readme, "What is a twin?")
    assert "askew.text" in seen
    assert not {"torch", "transformers", "sklearn"} & seen


def test_results_of_elsewhere_are_judged_without_torch(tmp_path):
    table, out = str(ROOT.parents[1] / "examples" / "digits.csv"), str(tmp_path / "out")
    words = ("--results", table, "--baseline", "pair", "--out", out, "--quiet")
    seen = modules_after_command("compare", *words)
    assert "askew.tradeoffs._report.page" in seen
    assert not {"torch", "transformers", "sklearn"} & seen
