"""With an optional package absent its command says what to install, and the others go on."""

import inspect
import subprocess
import sys

import pytest
from saved_model import saved
from typer.testing import CliRunner

from askew.cli import app
from askew.losses import __all__ as losses

EXTRAS = {
    "report": (("jinja2", "plotly"), ["compare", "--quiet", "--steps", "1"]),
    "serve": (("ctranslate2",), ["export", "MODEL", "--to", "ctranslate2"]),
    "onnx": (("onnx", "onnxscript"), ["export", "MODEL", "--to", "onnx"]),
    "sweep": (("optuna",), ["compare", "imbalanced", "--tune", "3", "--steps", "1"]),
    "cluster": (("ray",), ["compare", "--cluster", "local", "--steps", "1"]),
    "track": (("tensorboard",), ["train", "translation", "--tensorboard", "LOGS", "--steps", "1"]),
    "web": (("starlette", "uvicorn"), ["serve", "--context", "LOGS"]),
    "data": (("river",), ["compare", "multilabel", "--steps", "1"]),
}
OPTIONAL = [
    "transformers",
    "accelerate",
    "tokenizers",
    "typer",
    "rich",
    "babel",
    "sklearn",
    "sacrebleu",
    "loky",
    "cloudpickle",
    "filelock",
    "plotly",
    "jinja2",
    "matplotlib",
    "scipy",
    "ctranslate2",
    "onnx",
    "onnxscript",
    "optuna",
    "ray",
    "tensorboard",
    "peft",
    "starlette",
    "uvicorn",
    "river",
]


class Without:
    """A finder of modules that does not find some packages."""

    def __init__(self, names, finder):
        self.names, self.finder = names, finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        absent = name.partition(".")[0] in self.names
        return None if absent else self.finder.find_spec(name, path, target)


def run_blocked(names, code):
    hiding = f"sys.meta_path[:] = [Without({set(names)!r}, own) for own in sys.meta_path]"
    program = "\n".join(["import sys", inspect.getsource(Without), hiding, code])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_command_names_what_it_lacks_before_work_starts(extra, tmp_path, monkeypatch):
    names, arguments = EXTRAS[extra]
    if "MODEL" in arguments:
        saved(tmp_path / "model")
    places = {"MODEL": str(tmp_path / "model"), "LOGS": str(tmp_path / "logs")}
    command = [places.get(word, word) for word in arguments]
    if command[0] not in ("export", "serve"):
        command += ["--out", str(tmp_path / "out")]
    for loaded in [own for own in sys.modules if own.partition(".")[0] in names]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [Without(names, finder) for finder in sys.meta_path])
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, (result.stdout, result.exception)
    assert f"{names[0]} must be installed" in result.stderr
    assert f"pip install 'askew[{extra}]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "logs").exists()


def test_the_parts_work_with_torch_alone():
    code = f"""
import torch
from askew import attention, inspection, losses, optim, regularizers, transformer
assert set(losses.__all__) == {set(losses)!r}
layer = attention.AsymmetricAttention(8, d_query=16, num_heads=2)
loss = losses.asymmetric_bce_loss(layer(torch.randn(1, 3, 8)).output, torch.zeros(1, 3, 8))
optimizer = optim.AsymmetricOptimizer(layer, {{"all": 1e-3}}, rest="all")
loss.backward()
optimizer.step()
assert inspection.inspect_model(layer).attention[0].d_head == 8
print("done")
"""
    done = run_blocked(OPTIONAL, code)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_the_command_line_without_its_packages_says_what_to_install():
    code = "import runpy\nsys.argv = ['askew']\nrunpy.run_module('askew', run_name='__main__')"
    done = run_blocked(["typer"], code)
    assert done.returncode == 2
    assert "No module named 'typer'" in done.stderr
    assert "pip install 'askew[all]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_translating_needs_neither_report_nor_serving(tmp_path):
    saved(tmp_path)
    code = f"""
from typer.testing import CliRunner
from askew.cli import app
done = CliRunner().invoke(app, ["translate", {str(tmp_path)!r}], input="three trees\\n")
assert done.exit_code == 0 and done.stdout.count("\\n") == 1, done.output
"""
    names = [name for extra in EXTRAS.values() for name in extra[0]]
    done = run_blocked([*names, "babel", "sacrebleu"], code)
    assert done.returncode == 0, done.stderr[-900:]
