"""Every example runs as its first lines say, is short, and shows what it is for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[1] / "examples"
SHOWN = {
    "ask_documents": r"  search  .*\n(.*\n)+encoded \d+ documents in \d+ windows\n.*\n  reader  ",
    "compare_two_models": r"bottleneck (pays|does not pay|cannot tell)|accuracy",
    "find_an_asymmetry": r"best asymmetric settings:\n  loss\.(.*\n)+Of 16 candidates tried in ",
    "imbalanced_loss": r"(?s)no certain difference in F1, tuned.*better in F1 at \.5 by",
    "linear_window": r" 4096 .*x   \de-0[5-9]\n.*route 'banded'",
    "rates_per_part": r"'lr/embeddings': .*'lr/head': .*'step': 30",
    "rates_per_tower": r"(rates [\d.]+ and 0\.001: [3-9]\d% of the halves find their digit\n){3}",
    "replace_multihead_attention": r"largest difference: (0\.0e\+00|\d\.\de-0[6-9])\n",
    "serve_faster": r"times as fast; (2\d|30) of 30 texts the same",
    "shrink_a_model": r"kept: \[0\].*\nteacher .*\nuntaught .*\nstudent .*\nan answer is [12]\.\d",
    "translate_po": r"filled in and marked fuzzy: 50\nmsgid ",
}


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_an_example_shows_what_it_says(name, tmp_path):
    path = EXAMPLES / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    assert f"python examples/{name}.py" in text
    assert len(text.splitlines()) < 60
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(SHOWN[name], done.stdout), done.stdout
    assert not list(tmp_path.iterdir())


def test_every_example_has_an_output_to_expect():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SHOWN)
