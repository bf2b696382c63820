"""The commit that this library was built from, or whose tree it runs in."""

import subprocess
from pathlib import Path


def commit() -> str | None:
    """Return the commit, "-dirty" after it where the tree has changes; None if nothing says it.

    A wheel has it in a file. An editable install asks git.
    """
    here = Path(__file__).parent
    if (built := here / "_commit.txt").is_file():
        return built.read_text(encoding="utf-8").strip()
    tree = here.parents[1]
    if not (tree / ".git").exists():
        return None
    call = ["git", "-C", str(tree), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        asked = subprocess.run(call, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
