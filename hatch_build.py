"""What is built says from which commit: `askew/_commit.txt`, in the sdist and so in its wheel."""

import subprocess
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):
    """Adds the commit where there is one: an editable install asks git, an sdist has the file."""

    def initialize(self, version: str, build_data: dict) -> None:
        """Put the commit beside the files, unless they are used in place."""
        if version == "editable" or not (Path(self.root) / ".git").exists():
            return
        call = ["git", "-C", self.root, "describe", "--always", "--dirty", "--exclude=*"]
        described = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        file = Path(tempfile.mkdtemp()) / "_commit.txt"
        file.write_text(described)
        folder = "src/askew" if self.target_name == "sdist" else "askew"
        build_data["force_include"][str(file)] = f"{folder}/_commit.txt"
