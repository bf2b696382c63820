"""A search among students of one model: which layers they keep."""

import json
from dataclasses import replace

import pytest
import torch
from saved_model import CONFIG, saved
from tradeoffs.conftest import InProcess
from typer.testing import CliRunner

from askew.cli import app
from askew.tasks import APPLICATIONS
from askew.tasks._layers import SIDES
from askew.tasks._student import StudentConfig, cut_config, student_config
from askew.tasks._student_cuts import CutConfig, SideCut
from askew.tasks._student_search import student_space
from askew.tradeoffs import search_status, with_values
from askew.tradeoffs._running import candidate_costs, trials

pytestmark = pytest.mark.usefixtures("few_rounds")

TRANSLATION = APPLICATIONS["translation"]
WORDS = ["--steps", 4, "--candidates", 60, "--finalists", 1, "--seeds", 1, "--jobs", 1]


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "model")
    words = ["three", "trees", "see", "bees"]
    lines = [f"{a} {b} {c}\t{c} {b} {a}\n" for a in words for b in words for c in words]
    (tmp_path / "pairs.tsv").write_text("".join(lines))

    def make(**settings):
        usual = {"from_": tmp_path / "model", "data": tmp_path / "pairs.tsv"}
        return TRANSLATION.options(**{**usual, **settings})

    return make


@pytest.fixture
def quick(monkeypatch):
    """Train in this process, and let the numbers of layers stand for the clock."""
    monkeypatch.setattr(trials, "ProcessPoolExecutor", InProcess)

    def latencies(task, *configs, rounds):
        return [(c.encoder.num_layers + 3 * c.decoder.num_layers) / 1000 for c in configs]

    monkeypatch.setattr(candidate_costs, "latencies", latencies)


def side(num_layers, keep="spread", order="2,0,1"):
    return SideCut(num_layers=num_layers, keep=keep, order=order)


def test_rules_that_keep_the_same_layers_are_one_cut():
    assert [side(2, keep).kept for keep in ("spread", "first", "last", "measured")] == [
        [0, 2],
        [0, 1],
        [1, 2],
        [0, 2],
    ]
    assert side(2, "measured") == side(2, "0,2") == side(2)
    assert side(3, "last") == side(3, "first") == side(3)
    assert side(1, "measured") == side(1, "last") != side(1)
    assert side(1, "1").keep == "1"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_layers": 4}, r"num_layers must be in \[1, 3\], the layers of the model"),
        (
            {"num_layers": 2, "keep": "odd"},
            "layers must be spread, .* or numbers as 0,2; got 'odd'",
        ),
        ({"num_layers": 2, "keep": "0,1,2"}, "keep must hold 2 different layers"),
        ({"num_layers": 2, "order": "0,2"}, "order must have all layers once; got order '0,2'"),
    ],
)
def test_cuts_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        side(**settings)


def test_a_candidate_is_the_student_of_its_layers(options):
    task = TRANSLATION.make_task(options())
    cut = CutConfig(encoder=side(2, "last"), decoder=side(1, "last", order="0,1"))
    student = cut_config(CONFIG, {"encoder": [1, 2], "decoder": [1]}, copied=True)
    assert isinstance(student, StudentConfig)
    assert task.parameters(cut) == task.parameters(student)
    assert task.flops_per_step(cut) == task.flops_per_step(student)
    assert task.side_parameters(cut) == task.side_parameters(student)
    one, other = (task.build(config, 0).state_dict() for config in (cut, student))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_a_search_begins_with_the_students_of_a_comparison(options):
    setup = TRANSLATION.search_setup(options(), {})
    kept = {arm.name: arm.config.kept for arm in setup.arms}
    assert kept == {
        "student-deep-shallow": {"encoder": [0, 1, 2], "decoder": [0]},
        "student-symmetric": {"encoder": [0, 2], "decoder": [0, 1]},
    }
    most = max(setup.task.parameters(arm.config) for arm in setup.arms)
    assert setup.settings["match"] == "nothing"
    assert setup.settings["at_most"] == {"parameters": most}
    assert TRANSLATION.search_setup(options(match="latency"), {}).settings["match"] == "latency"
    again = TRANSLATION.search_setup(options(), {})  # what was measured is read
    assert again.arms == setup.arms
    space = student_space(setup.task)
    assert space.is_symmetric({"encoder.num_layers": 2, "decoder.num_layers": 2})
    with pytest.raises(ValueError, match="num_layers must be in"):
        with_values(setup.arms[0], {"decoder.num_layers": 3})
    with pytest.raises(ValueError, match="find: with --from, weights of candidates are copied"):
        TRANSLATION.search_setup(options(challenger="fresh-3-1"), {})


@pytest.mark.slow
def test_a_limit_of_latency_brings_cuts_of_a_knapsack(options, monkeypatch):
    setup = TRANSLATION.search_setup(options(), {"latency_ms": 1e6})
    kept = {arm.name: arm.config.kept for arm in setup.arms}
    assert kept["knapsack-asymmetric"] == {"encoder": [0, 1, 2], "decoder": [0, 1]}
    assert {len(layers) for layers in kept["knapsack-symmetric"].values()} == {2}
    assert setup.settings["at_most"] == {"latency_ms": 1e6}
    lines = list(TRANSLATION.notes(setup.task, options()))
    assert lines[0].split() == ["layer", "loss", "without", "it", "ms"]
    assert [line.split()[:2] for line in lines[1:6]] == [
        *(["encoder", str(n)] for n in range(3)),
        *(["decoder", str(n)] for n in range(2)),
    ]
    monkeypatch.setattr("askew.tasks._student_search._measure", pytest.fail)
    assert TRANSLATION.search_setup(options(), {"latency_ms": 1e6}).arms == setup.arms
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"find: a cut must meet latency_ms 0\.001; got"):
        TRANSLATION.search_setup(options(), {"latency_ms": 0.001})


@pytest.mark.slow
def test_a_search_tries_every_cut_once_and_what_it_found_is_taken(options, quick, tmp_path):
    call = ["find", "translation", "--from", tmp_path / "model", "--data", tmp_path / "pairs.tsv"]
    call += [*WORDS, "--set", "training.warmup_steps=1", "--out", tmp_path / "out", "--json"]
    done = CliRunner().invoke(app, list(map(str, [*call, "--quiet"])))
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    entry = results["search"]
    again = CliRunner().invoke(app, list(map(str, [*call, "--quiet"])))
    assert json.loads(again.stdout)["search"] == entry
    assert sorted(entry["exhausted"]) == ["asymmetric", "symmetric"]
    assert search_status(tmp_path / "out").exhausted == entry["exhausted"]
    task = TRANSLATION.search_setup(options(), {})
    cuts = [with_values(task.arms[0], one["values"]).config for one in entry["candidates"]]
    kept = [json.dumps(cut.kept) for cut in cuts]
    assert len(set(kept)) == len(kept) > 10
    for one, cut in zip(entry["candidates"], cuts, strict=True):
        assert one["symmetric"] == (len({len(layers) for layers in cut.kept.values()}) == 1)
        assert one["parameters"] <= task.settings["at_most"]["parameters"]
    assert "teacher" in results["baselines"]
    assert results["arms"][0]["config"]["encoder"]["num_layers"] >= 1


def test_what_a_search_found_is_a_challenger(options, tmp_path):
    toml = 'encoder.num_layers = 2\nencoder.keep = "last"\nencoder.order = "0,1,2"\n'
    toml += 'decoder.num_layers = 1\ndecoder.keep = "measured"\ndecoder.order = "1,0"\n'
    (tmp_path / "found.toml").write_text(toml + "training.lr = 0.002\n")
    path = str(tmp_path / "found.toml")
    student = student_config(CONFIG, path)
    assert (student.encoder_kept, student.decoder_kept) == ((1, 2), (1,))
    _, arms, _, _ = TRANSLATION.setup(options(challenger=path, baseline="student-2-1"))
    assert [arm.name for arm in arms] == ["found", "student-2-1"]
    assert (arms[0].config, arms[0].training) == (student, {"lr": 0.002})
    (tmp_path / "found.toml").write_text("encoder.d_model = 8\n")
    with pytest.raises(ValueError, match=r"unknown key 'encoder\.d_model'.*found\.toml"):
        student_config(CONFIG, path)


def test_a_model_of_one_layer_cannot_be_cut(options, tmp_path):
    make, one = options, {s: replace(getattr(CONFIG, s), num_layers=1) for s in SIDES}
    saved(tmp_path / "model", replace(CONFIG, **one))
    with pytest.raises(ValueError, match="find: a model to be cut must have two layers on one si"):
        TRANSLATION.search_setup(make(), {})
