"""What the repository says of itself: scripts, workflows, versions and addresses fit together."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
YAML = [*sorted((ROOT / ".github").rglob("*.yml")), ROOT / ".pre-commit-config.yaml"]
CALLERS = [*YAML, ROOT / ".ci/run", ROOT / ".ci/oldest", ROOT / ".ci/newest"]
CALLERS += [ROOT / name for name in ("justfile", "CONTRIBUTING.md", "README.md")]
SCRIPT = re.compile(r"\.ci/\w[\w.]*")
PLACE = re.compile(r"`((?:src|tests|docs)/[\w./-]*)`")
COMMANDS = (
    "pip install -c constraints.txt -e '.[all]' && askew compare",
    "pip install -c constraints.txt -e '.[dev]' && pytest",
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def pinned() -> dict[str, str]:
    """Every line of constraints.txt: the package and its one version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins)
    return dict(pins)


def allowed(extras: tuple[str, ...]) -> list[Requirement]:
    """What the package and some of its extras need, with the ranges of pyproject.toml."""
    groups = PROJECT["optional-dependencies"]
    requirements = [Requirement(line) for line in PROJECT["dependencies"]]
    pending = list(extras)
    while pending:
        for line in groups[pending.pop()]:
            requirement = Requirement(line)
            if requirement.name == "askew":
                pending += sorted(requirement.extras)
            else:
                requirements.append(requirement)
    return requirements


def steps(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", YAML, ids=relative)
def test_yaml_is_read(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("name", ["pyproject.toml", "zensical.toml"])
def test_toml_is_read(name):
    assert "project" in tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CALLERS, ids=relative)
def test_every_script_that_is_called_exists_and_runs(path):
    for name in set(SCRIPT.findall(path.read_text(encoding="utf-8"))) - {".ci/_venv"}:
        script = ROOT / name
        assert script.is_file(), name
        if not script.suffix:
            assert os.access(script, os.X_OK), f"{name} is not executable"


@pytest.mark.parametrize("path", sorted((ROOT / ".ci").glob("[a-z]*")), ids=relative)
def test_a_script_is_bash_and_stops_at_an_error(path):
    if path.suffix == ".py":
        compile(path.read_text(encoding="utf-8"), path, "exec")
        return
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n# ")
    assert "set -euo pipefail\n" in path.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", path], check=True)


def test_the_workflows_run_every_script_that_the_whole_check_runs():
    texts = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    whole = set(SCRIPT.findall((ROOT / ".ci/run").read_text(encoding="utf-8"))) - {".ci/_venv"}
    assert whole == {".ci/lint", ".ci/types"}
    others = {".ci/test", ".ci/wheel", ".ci/shapes", ".ci/site", ".ci/oldest", ".ci/newest"}
    assert whole | others <= set(SCRIPT.findall(texts))


@pytest.mark.parametrize("path", WORKFLOWS, ids=relative)
def test_a_workflow_has_few_rights_and_an_end(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
    for step in steps(workflow):
        assert ("run" in step) != ("uses" in step), step
        assert "${{ github" not in step.get("run", ""), "a name from outside becomes code"
        assert re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+)", step.get("uses", "a@v1")), step


def test_the_oldest_python_of_the_package_is_tested():
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    versions = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={versions[0]}"


@pytest.mark.parametrize("requirement", allowed(("all", "dev")), ids=lambda each: each.name)
def test_the_tested_version_is_in_the_range(requirement):
    assert requirement.specifier.contains(pinned()[requirement.name])


@pytest.mark.parametrize("requirement", allowed(("all", "cluster", "dev")), ids=str)
def test_a_range_has_a_lowest_version_and_no_upper_bound_but_of_interfaces_that_break(requirement):
    operators = sorted(each.operator for each in requirement.specifier)
    bounded = requirement.name in ("transformers", "pyrefly", "ruff")
    assert operators == (["<", ">="] if bounded else [">="])


def test_torch_and_transformers_are_let_in_as_promised():
    ranges = {each.name: str(each.specifier) for each in allowed(("apps",))}
    assert ranges["torch"] == ">=2.9"
    assert ranges["transformers"] == "<6,>=5.0"


def test_the_oldest_versions_are_the_lowest_of_every_range():
    lines = (ROOT / ".ci/oldest").read_text(encoding="utf-8").splitlines()
    command = next(line for line in lines if line.startswith("grep")).partition(" >")[0]
    found = subprocess.check_output(["bash", "-c", command], cwd=ROOT, text=True).split()
    ranges = allowed(("all", "cluster", "pretrained", "dev"))
    lowest = {
        f"{each.name}=={bound.version}"
        for each in ranges
        for bound in each.specifier
        if bound.operator == ">="
    }
    assert lowest == set(found)


def test_both_ends_of_the_ranges_the_slow_tests_and_speeds_run_every_night():
    path = ROOT / ".github/workflows/versions.yml"
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    (nightly,) = workflow[True]["schedule"]  # YAML reads the key `on` as true
    assert re.fullmatch(r"\d+ \d+ \* \* \*", nightly["cron"])
    (job,) = workflow["jobs"].values()
    runs = job["strategy"]["matrix"]["include"]
    scripts = [run["script"] for run in runs]
    assert scripts == [".ci/oldest", ".ci/newest", ".ci/slow", ".ci/speed"]
    assert PROJECT["requires-python"] == f">={runs[0]['python']}"


def test_the_tested_set_has_no_build_of_one_place():
    assert [
        pin for pin in pinned().values() if not re.fullmatch(r"[\d.]+(\.?(post|rc|b)\d+)?", pin)
    ] == []
    assert list(pinned()) == sorted(pinned())


@pytest.mark.parametrize("name", ["README.md", "README.pt-BR.md", "docs/index.md"])
def test_the_two_commands_are_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert [command for command in COMMANDS if command not in text] == []


def test_the_places_that_contributing_names_exist():
    places = PLACE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(places) > 20
    assert [place for place in places if not (ROOT / place).exists()] == []
