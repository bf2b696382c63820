"""The commands that look into a model and into an installation."""

import json
import re
from importlib.metadata import version

import pytest
import torch
import transformers as hf
from rules import first_every_day
from saved_model import saved
from typer.testing import CliRunner

from askew.cli import _installation as installation
from askew.cli import app
from askew.inspection import inspect_model
from askew.models import AsymmetricQAConfig, AsymmetricQAModel, load_checkpoint, model_kind
from askew.text import train_tokenizer

LLAMA = hf.LlamaConfig(
    vocab_size=40,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=32,
)


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    hf.LlamaForCausalLM(LLAMA).save_pretrained(folder)
    return folder


def test_the_scores_of_a_folder(llama):
    result = run("inspect", llama, "--json")
    assert result.exit_code == 0, result.output
    plain = json.loads(result.stdout)
    assert plain == inspect_model(load_checkpoint(llama)).to_plain()
    assert plain["stacks"][0]["kv_heads"] == 2
    assert len(plain["attention"][1]["symmetry"]) == 4


def test_the_table_fits_a_terminal_and_shows_what_it_says(llama):
    result = run("inspect", llama)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "layers, self-attention" in result.stdout
    assert "about 0.031" in result.stdout
    scores = inspect_model(load_checkpoint(llama)).attention[0]
    row = next(line for line in result.stdout.splitlines() if line.startswith("1 "))
    assert f"{scores.symmetry_of_sum:+.2f}".replace("0.", ".") in row.split()
    assert f"{float(scores.effective_rank.median()):.1f}/8" in row.split()
    assert "entropy" not in result.stdout  # which a text shows


def test_a_text_adds_the_entropy_and_a_page_the_pictures(tmp_path):
    saved(tmp_path)
    page = tmp_path / "page.html"
    result = run("inspect", tmp_path, "--text", "three trees", "--text", "bees", "--out", page)
    assert result.exit_code == 0, result.output
    assert f"page: {page}" in result.stdout.replace("\n", "")
    assert "cross-attention" in result.stdout
    assert result.stdout.count("  entropy") == 3
    assert page.read_text(encoding="utf-8").count('"title": "three trees · ') == 3
    plain = json.loads(run("inspect", tmp_path, "--text", "bees", "--json").stdout)
    assert plain["texts"] == ["bees"]
    assert all(0 <= share <= 1 for own in plain["attention"] for share in own["entropy"])


MODERNBERT = hf.ModernBertConfig(
    vocab_size=280,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=32,
    pad_token_id=0,
    cls_token_id=1,
    sep_token_id=2,
)


@pytest.mark.parametrize("encoder", first_every_day(MODERNBERT.to_dict(), None))
def test_a_question_is_read_with_its_context(tmp_path, encoder):
    spans = train_tokenizer(["where are the three trees"], vocab_size=280)
    torch.manual_seed(0)
    vocab = {"question_vocab": 280, "context_vocab": 280}
    config = AsymmetricQAConfig(**vocab, context_pretrained=encoder)
    AsymmetricQAModel(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "question_tokenizer.json"):
        spans.save(str(tmp_path / name))
    text = ["--text", "the three trees"]
    result = run("inspect", tmp_path, *text, "--question", "where", "--json")
    assert result.exit_code == 0, result.output
    plain = json.loads(result.stdout)
    stacks = [stack["name"] for stack in plain["stacks"]]
    assert [name.split(".")[0] for name in stacks[:3]] == [
        "question_encoder",
        "context_encoder",
        "reader",
    ]
    crossing = [own for own in plain["attention"] if own["stack"] == "reader.layers"]
    assert {own["kind"] for own in crossing} == {"cross"}
    assert all(own["entropy"] is not None for own in plain["attention"])
    read, model = model_kind(tmp_path).read_attention, load_checkpoint(tmp_path)
    seen, sides = read(model, tmp_path, "the three trees", "where")
    for outcome in (own for own in inspect_maps(tmp_path) if own.name in seen):
        rows, columns = sides(outcome)
        assert seen[outcome.name].shape[-2:] == (len(rows), len(columns)), outcome.name
    alone = run("inspect", tmp_path, *text)
    assert alone.exit_code == 2
    assert "a question goes with a question-answering" in alone.stderr


def inspect_maps(folder):
    from askew.inspection import query_key_maps

    return query_key_maps(load_checkpoint(folder))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "hello"], "must hold the model's tokenizer"),
        (["--out", "/nowhere/page.html"], "inspect: a file must be writable"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(llama, arguments, message):
    result = run("inspect", llama, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert run("inspect", llama / "none").exit_code == 2


def test_the_doctor_finds_this_installation_well():
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert f"torch         {version('torch')}" in result.stdout
    assert result.stdout.count("  right  ") == 7
    assert "WRONG" not in result.stdout
    assert re.search(r"^  apps +ready$", result.stdout, re.M)


def test_the_doctor_notices_a_wrong_number(monkeypatch):
    monkeypatch.setattr(installation, "asymmetric_bce_loss", lambda *a, **k: a[0].mean() * 3.0)
    result = run("doctor", "--json")
    assert result.exit_code == 1
    checks = json.loads(result.stdout)["checks"]
    assert [check["passed"] for check in checks].count(False) == 1
    monkeypatch.setattr(
        installation, "asymmetric_bce_loss", lambda *a, **k: a[0].mean() * torch.nan
    )
    assert run("doctor").stdout.count("WRONG") == 2
    nothing, broken = torch.zeros(2), torch.tensor([0.0, torch.nan])
    assert installation._furthest([(nothing, nothing), (broken, nothing)]) == float("inf")


def test_the_doctor_names_what_is_missing_or_too_old(monkeypatch):
    outcome = {"jinja2": None, "plotly": "1.0"}
    monkeypatch.setattr(installation, "_version", lambda name: outcome.get(name, "99"))
    missing = installation.extras()
    assert missing["report"][0] == "jinja2"
    assert missing["report"][1].startswith("plotly>=")
    result = run("doctor", "--no-self-test")
    assert result.exit_code == 0
    assert "lacks jinja2, plotly" in result.stdout
    assert "right" not in result.stdout
