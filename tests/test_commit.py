"""The library knows its commit: from its tree, or from a file that its build wrote."""

import shutil
import subprocess
from pathlib import Path

import pytest

from askew import _commit

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git")


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    call = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty package in a tree without git, in place of the library's."""
    folder = tmp_path / "src" / "askew"
    folder.mkdir(parents=True)
    (folder / "_commit.py").touch()
    monkeypatch.setattr(_commit, "__file__", str(folder / "_commit.py"))
    return folder


def test_a_tree_with_git_says_its_commit_and_whether_it_has_changes(package, tmp_path):
    assert _commit.commit() is None
    git(tmp_path, "init")
    assert _commit.commit() is None  # no commit yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "tag", "v9")
    first = git(tmp_path, "rev-parse", "HEAD")
    assert len(_commit.commit()) >= 7
    assert first.startswith(_commit.commit())
    (package / "_commit.py").write_text("changed")
    assert _commit.commit() == f"{first[:7]}-dirty"


def test_what_was_built_says_it_without_git(package, monkeypatch):
    (package / "_commit.txt").write_text("0123abc\n")
    monkeypatch.setenv("PATH", "")
    assert _commit.commit() == "0123abc"


def test_without_git_a_tree_says_nothing(package, tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert _commit.commit() is None
