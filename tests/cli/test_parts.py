import json

import pytest
from transformers import BertConfig, BertForMaskedLM, MarianConfig, MarianMTModel
from typer.testing import CliRunner

from askew.cli import app
from askew.models import build_on_meta

SMALL = {"vocab_size": 40, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1}
SMALL |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "pad_token_id": 39}
SMALL |= {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 16}


def run(*arguments):
    return CliRunner().invoke(app, ["parts", *map(str, arguments)])


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marian")
    config = MarianConfig(**SMALL, decoder_start_token_id=39, architectures=["MarianMTModel"])
    config.save_pretrained(folder)
    return folder


def test_every_parameter_is_listed_once(marian):
    sides = ["--rule", "encoder=model.encoder.layers.**", "--rule", "decoder=model.decoder.**"]
    rates = ["--lr", "encoder=1e-4", "--lr", "decoder=1e-3", "--lr", "other=1e-5"]
    result = run(marian, *sides, *rates, "--rest", "other", "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    model = MarianMTModel(MarianConfig(**SMALL, decoder_start_token_id=39))
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(row["parameters"] for row in rows) == sum(p.numel() for p in trained)
    assert {row["part"]: row["lr"] for row in rows} == {
        "encoder": 1e-4,
        "decoder": 1e-3,
        "other": 1e-5,
    }
    # The embedding is one tensor under several names.
    assert any(len(names) > 1 for row in rows for names in row["names"])


def test_the_table_and_the_names(marian):
    result = run(marian, "--lr", "model=1e-3", "--lr", "head=1", "--rest", "head", "--names")
    assert result.exit_code == 0, result.output
    assert "model" in result.stdout.splitlines()[1]
    assert "model\tmodel.decoder.layers.0.fc1.weight" in result.stdout


def test_roles_and_algorithms_of_parts(marian):
    rates = ["--lr", "matrices=0.02", "--lr", "rest=3e-4", "--rest", "rest"]
    chosen = ["--role", "matrices=hidden_matrices", "--base", "matrices=muon"]
    result = run(marian, *rates, *chosen)
    assert result.exit_code == 0, result.output
    lines = [line.split()[:4] for line in result.stdout.splitlines()]
    # Four maps of each attention, of which the decoder has two, and two of each feed-forward.
    assert lines[1] == ["matrices", "Muon", "16", "1,280"]
    assert lines[2][:2] == ["rest", "AdamW"]
    rows = json.loads(run(marian, *rates, *chosen, "--json").stdout)
    assert [row["algorithm"] for row in rows] == ["Muon", "AdamW"]
    everything = ["--rule", "all=**", "--lr", "all=0.1", "--base", "all=muon"]
    refused = run(marian, *everything)
    assert refused.exit_code == 2
    assert "Muon trains matrices alone; got part 'all' with model." in refused.stderr


def test_without_a_choice_the_table_has_no_algorithms(marian):
    result = run(marian, "--lr", "model=1e-3", "--rest", "head", "--lr", "head=1")
    assert "algorithm" not in result.stdout
    assert "AdamW" not in result.stdout


def test_orphans_are_named(marian):
    result = run(marian, "--lr", "model.encoder=1e-3")
    assert result.exit_code == 2
    assert "model.decoder" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "encoder"], "--base must be PART=VALUE, such as encoder=0.001; got 'encoder'"),
        (["--lr", "encoder=fast"], "the rate must be a number; got encoder=fast"),
        (["--lr", "nothing=1"], "nothing"),
        (["--lr", "model=1", "--base", "model=lion"], "base must be adadelta, adafactor, adagrad,"),
        (["--lr", "model=1", "--role", "model=tail"], "role must be hidden_matrices, embeddings, "),
        (
            ["--lr", "model=1", "--base", "head=muon"],
            "every algorithm needs a rule; got algorithms",
        ),
    ],
)
def test_bad_input_is_one_line(marian, arguments, message):
    result = run(marian, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_without_a_known_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the folder must hold a config.json; got folder"):
        build_on_meta(tmp_path)
    BertConfig(architectures=["SomethingElse"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"got architectures \['SomethingElse'\]"):
        build_on_meta(tmp_path)


def test_a_skeleton_has_shapes_and_no_memory(tmp_path):
    BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, architectures=["BertForMaskedLM"]
    ).save_pretrained(tmp_path)
    model = build_on_meta(tmp_path)
    assert isinstance(model, BertForMaskedLM)
    assert all(parameter.is_meta for parameter in model.parameters())
