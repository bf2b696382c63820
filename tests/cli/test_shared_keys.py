"""A shape whose layers share keys, from its file to a translation and a page."""

import json

import pytest
from typer.testing import CliRunner

from askew.cli import app
from askew.models import Translator, load_translation_model

SHAPE = """
[encoder]
num_layers = 3
kv_shared_every = 3
[decoder]
num_layers = 3
kv_shared_every = 2
num_kv_heads = 1
"""


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


@pytest.mark.unhooked
def test_it_is_trained_translates_is_inspected_and_is_not_exported(tmp_path):
    (tmp_path / "shape.toml").write_text(SHAPE, encoding="utf-8")
    pairs = "".join(f"number {i}\tnúmero {i}\n" for i in range(40))
    (tmp_path / "pairs.tsv").write_text(pairs, encoding="utf-8")
    out = tmp_path / "model"
    sizes = ["--preset", "tiny", "--vocab-size", "300", "--steps", "3", "--quiet"]
    call = ["--data", tmp_path / "pairs.tsv", "--shape", tmp_path / "shape.toml", "--out", out]
    result = run("train", "translation", *call, *sizes, "--set", "training.batch_tokens=100")
    assert result.exit_code == 0, result.output
    stacks = json.loads((out / "config.json").read_text(encoding="utf-8"))
    shared = [stacks[f"{side}_stack"]["kv_shared_every"] for side in ("encoder", "decoder")]
    assert shared == [3, 2]
    layers = load_translation_model(out).model.decoder.layers
    assert [layer.attention.key is None for layer in layers] == [False, True, False]
    ours = Translator.from_pretrained(out).translate(["number 3"])
    result = run("translate", out, stdin="number 3\n")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{ours[0]}\n"
    result = run("inspect", out, "--text", "number 3", "--out", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page.html").is_file()
    result = run("export", out, "--to", "ctranslate2")
    assert result.exit_code == 2
    assert "kv_shared_every 3" in result.stderr
