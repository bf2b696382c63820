"""Run outside the tree, where only the wheel and what it always needs are installed."""

import re
import subprocess
import sys
from importlib.metadata import files, version
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F

import askew
from askew.attention import AsymmetricAttention
from askew.losses import asymmetric_bce_loss
from askew.optim import AsymmetricOptimizer
from askew.regularizers import asymmetric_dropout
from askew.transformer import AsymmetricEncoderDecoder, EncoderDecoderConfig, StackConfig

OPTIONAL = ("transformers", "typer", "plotly", "optuna", "ray", "ctranslate2", "river")
EXPECTED = Path("files.txt").read_text().splitlines()  # every file of the package in the tree

assert "site-packages" in askew.__file__, askew.__file__
assert version("askew") == askew.__version__
commit = Path(askew.__file__).with_name("_commit.txt").read_text()
assert re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?\n", commit), commit
shipped = {path.as_posix() for path in files("askew") or ()}
assert len(EXPECTED) > 100
assert not set(EXPECTED) - shipped, sorted(set(EXPECTED) - shipped)
assert not [path for path in shipped if path.startswith(("tests/", "benchmarks/"))], shipped
for name in OPTIONAL:
    assert find_spec(name) is None, f"{name} is installed, so nothing is tested here"

theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True)
x = torch.randn(2, 5, 16)
torch.testing.assert_close(AsymmetricAttention.from_torch(theirs)(x).output, theirs(x, x, x)[0])
logits, targets = torch.randn(2, 9), torch.ones(2, 9)
expected = F.binary_cross_entropy_with_logits(logits, targets)
torch.testing.assert_close(asymmetric_bce_loss(logits, targets), expected)
assert asymmetric_dropout(x, p=[0.0, 0.0]).equal(x)
side = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=8)
config = EncoderDecoderConfig(source_vocab=9, target_vocab=9, encoder=side, decoder=side)
model = AsymmetricEncoderDecoder(config)
optimizer = AsymmetricOptimizer(
    model, {"encoder": 1e-3, "decoder": 1e-2, "rest": 1e-3}, rest="rest"
)
model(torch.ones(1, 3, dtype=torch.long), torch.ones(1, 2, dtype=torch.long)).sum().backward()
optimizer.step()
try:
    askew.models  # noqa: B018
except ModuleNotFoundError as error:
    assert "transformers" in str(error)
else:
    raise AssertionError("askew.models came without transformers")
for command in (["askew"], [sys.executable, "-m", "askew"]):
    done = subprocess.run([*command, "--help"], capture_output=True, text=True)
    assert done.returncode == 2, done
    assert "needs: pip install 'askew[all]'" in done.stderr, done.stderr
print(f"askew {askew.__version__} runs alone, with torch {torch.__version__}")
