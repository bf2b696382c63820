"""Texts to labels from the command line: trained, scored, predicted, compared."""

import json

import pytest
from typer.testing import CliRunner

from askew.cli import app
from askew.tasks import APPLICATIONS
from askew.training import LayeredPartConfig, PartConfig

KINDS = {"cats": "the cat sat", "dogs": "a dog ran", "birds": "one bird flew"}
TINY = ("--preset", "tiny", "--vocab-size", 300, "--set", "encoder.num_layers=1")


def run(*arguments, **more):
    return CliRunner().invoke(app, list(map(str, arguments)), **more)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    names, lines = list(KINDS), []
    for number in range(90):
        held = sorted({names[number % 3], names[number // 3 % 3]})
        lines.append(f"{' '.join(KINDS[n] for n in held)} {number}\t{','.join(held)}\n")
    path = tmp_path_factory.mktemp("data") / "rows.tsv"
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("labels") / "model"
    result = run(
        "train", "labels", "--data", data, "--steps", 60, "--loss", "asl", *TINY,
        "--out", out, "--json", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["micro_f1"] > 90
    return out


def test_lines_get_their_labels(model, tmp_path):
    lines = "the cat sat 7\n\none bird flew a dog ran 8\n"
    result = run("predict", model, input=lines)
    assert result.exit_code == 0, result.output
    first, empty, both = result.stdout.split("\n")[:3]
    assert (first, empty, sorted(both.split(","))) == ("cats", "", ["birds", "dogs"])
    path, out = tmp_path / "lines.txt", tmp_path / "out.jsonl"
    path.write_text(lines)
    assert run("predict", model, path, "--out", out, "--json").exit_code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert rows[0]["labels"] == ["cats"]
    assert set(rows[0]["probabilities"]) == set(KINDS)
    assert rows[1] == {"line": 2, "labels": [], "probabilities": {}}


def test_numbers_of_a_loss_are_those_of_the_loss_that_is_named(data):
    application = APPLICATIONS["labels"]
    given = {"data": str(data), "set_": ["training.loss.gamma_neg=2"], "vocab_size": 300}
    training = application.train.options(loss="asl", **given)
    task = application.make_task(training)
    numbers = application.train.make_model(task, training)[1]["loss"]
    assert (numbers["gamma_neg"], task.training.loss.name) == (2, "plain")
    for baseline, gamma in (("twin", None), ("asl", 4.0)):
        options = application.options(challenger="asl", baseline=baseline, **given)
        first, other = application.make_arms(task, options)[0]
        assert first.training["loss"]["gamma_neg"] == 2
        assert other.training.get("loss", {}).get("gamma_neg") == gamma


@pytest.mark.parametrize("challenger", ["asl", "rates", "layer-decay"])
def test_a_twin_has_one_rate_whatever_is_set_and_the_frozen_layers_of_both(data, challenger):
    application = APPLICATIONS["labels"]
    given = ["lr=2e-3", "encoder.lr=1e-4", "encoder.frozen_layers=1", "encoder.layer_decay=0.7"]
    given += ["head.lr=1e-2", "head.schedule=constant", "head.weight_decay=0.5"]
    numbers = {}
    for baseline in ("twin", "plain"):
        options = application.options(
            data=str(data),
            vocab_size=300,
            challenger=challenger,
            baseline=baseline,
            set_=[f"training.{setting}" for setting in given],
        )
        task = application.make_task(options)
        arms, _ = application.make_arms(task, options)
        first, numbers[baseline] = (task._training_config(arm.training) for arm in arms)
        assert (first.encoder.lr, first.encoder.layer_decay, first.head.lr) == (1e-4, 0.7, 1e-2)
    twin, plain = numbers["twin"], numbers["plain"]
    assert twin.head == PartConfig()
    assert twin.encoder == LayeredPartConfig(frozen_layers=1)
    assert twin.lr == 2e-3
    assert (plain.encoder.lr, plain.head.schedule) == (1e-4, "constant")


def test_layers_that_a_file_freezes_are_frozen_in_its_twin_too(data, tmp_path):
    path = tmp_path / "frozen.toml"
    path.write_text("[training.encoder]\nfrozen_layers = 1\nlr = 1e-4\n")
    application = APPLICATIONS["labels"]
    options = application.options(data=str(data), vocab_size=300, challenger=str(path))
    arms, _ = application.make_arms(application.make_task(options), options)
    assert arms[1].training == {"encoder": {"frozen_layers": 1}}


def test_a_model_that_chooses_one_label_is_not_scored_on_several(data, tmp_path):
    single, out = tmp_path / "single.tsv", tmp_path / "model"
    rows = (line.split(",")[0].strip() for line in data.read_text().splitlines())
    single.write_text("".join(f"{row}\n" for row in rows))
    options = ("--steps", 1, *TINY, "--out", out, "--quiet")
    trained = run("train", "labels", "--data", single, *options)
    assert trained.exit_code == 0, trained.output
    assert run("evaluate", out, "--data", single).exit_code == 0
    result = run("evaluate", out, "--data", data)
    assert result.exit_code == 2, result.output
    assert "must have exactly one label, because" in result.stderr
    assert "got 60 of 90 texts with none or several" in result.stderr


def test_a_model_without_data_of_its_labels_names_the_option(model):
    result = run("evaluate", model)
    assert result.exit_code == 2, result.output
    assert result.stderr.strip().endswith("in the phrases of the CLDR. Give --data")


def test_a_model_is_scored_as_a_whole_and_by_label(model, data, tmp_path):
    out = tmp_path / "labels.txt"
    result = run("evaluate", model, "--data", data, "--part", "test", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)
    trained = json.loads((model / "scores.json").read_text())["scores"]
    for name, value in trained.items():
        assert results["scores"][name] == pytest.approx(value)
    assert 0 <= results["scores"]["calibration_error"] <= 1
    assert {row["label"] for row in results["by_label"]} == set(KINDS)
    assert len(out.read_text().splitlines()) == results["texts"] == 9
    bins = results["reliability"]
    assert sum(one["count"] for one in bins) == 9 * len(KINDS)
    gaps = sum(one["count"] * abs(one["right"] - one["probability"]) for one in bins)
    assert results["scores"]["calibration_error"] == pytest.approx(gaps / 9 / len(KINDS))
    page = tmp_path / "page.html"
    assert run("evaluate", model, "--data", data, "--reliability", data).exit_code == 2
    assert "trained on" not in result.stderr
    shown = run("evaluate", model, "--data", data, "--reliability", page)
    assert "note: the model was trained on 72 of these 90 texts; --part test scores" in shown.stderr
    shown = shown.stdout
    drawn = page.read_text()
    assert drawn.count("<rect") == drawn.count("<tr>") - 1 > 0
    assert "http" not in drawn
    assert "calibration_error" in shown
    assert "cats: " in shown


@pytest.mark.slow
def test_a_comparison_ends_with_a_verdict(data, tmp_path, in_process):
    result = run(
        "compare", "labels", "--data", data, "--steps", 20, "--seeds", 5, "--jobs", 1, *TINY,
        "--challenger", "hill", "--out", tmp_path / "out", "--json", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)
    assert [arm["name"] for arm in results["arms"]] == ["hill", "twin"]
    assert results["verdicts"][0]["metric"] == "map"
    assert results["verdicts"][0]["verdict"] in ("pays", "does not pay", "cannot tell")


@pytest.mark.slow
def test_a_search_tries_losses_and_rates(data, tmp_path, in_process):
    result = run(
        "find", "labels", "--data", data, "--steps", 8, "--candidates", 12, "--seeds", 5,
        "--jobs", 1, *TINY, "--challenger", "hill", "--out", tmp_path / "out", "--json", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)
    numbers = json.loads((tmp_path / "out" / "search.json").read_text())
    assert "training.loss.lambda_neg" in json.dumps(numbers)
    assert {arm["name"].split("-")[0] for arm in results["arms"]} == {"asymmetric", "symmetric"}


def test_bad_input_is_refused_in_one_line(model, data, tmp_path):
    bad = tmp_path / "bad.tsv"
    bad.write_text("one\tx\ntwo\n")
    text = tmp_path / "text.txt"
    text.write_bytes("\ufeffcat\n".encode("utf-16"))
    other = tmp_path / "other.tsv"
    other.write_text("one\tfish\n")
    train = ("train", "labels", "--out", tmp_path / "m", "--steps", 1)
    for arguments, fault in (
        ((*train, "--data", bad), f"got 1 at {bad}, line 2"),
        ((*train, "--data", data, "--loss", "none"), "a loss must be plain, asl"),
        (
            (*train, "--data", data, "--set", "training.loss.tau=1"),
            "plain must have no tau; it takes no numbers. Choose a loss that does",
        ),
        ((*train, "--data", data, "--columns", "1"), "columns must be two"),
        ((*train, "--valid", data), "Give --data"),
        ((*train, "--encoder", tmp_path), "an encoder folder holds"),
        (("evaluate", model, "--data", other), f"got fish at {other}, line 1"),
        (("predict", model, text), "predict: "),
        (("predict", tmp_path), "askew predict: a model folder holds"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert fault in result.stderr, result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "m").exists()
