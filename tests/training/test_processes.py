"""Real processes: killed at any step, without room on the disk, two at once, sharded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sharded_run import CONFIG, batches, step, tokens
from training_run import tiny_model

from askew.training import last_checkpoint, load_sharded, training_optimizer

HERE = Path(__file__).parents[1]
EVERYTHING = {
    "steps": 24,
    "batch_tokens": 96,
    "accumulate": 2,
    "lr": 5e-3,
    "warmup_steps": 4,
    "evaluations": 8,
    "checkpoints": 4,
    "average_decay": 0.9,
    "patience": 6,
    "encoder": {"bpe_dropout": 0.2, "lr": 3e-3},
}
STILL = {**EVERYTHING, "dropout": 0.0}
CLOCK = ("train_seconds", "tokens_per_second")


def launch(*arguments, processes=1, program="training_run.py", **environment):
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    start = [] if processes == 1 else [*torchrun, "--master-port", "0", "--standalone"]
    command = [sys.executable, *start, str(HERE / program), *map(str, arguments)]
    place = {
        "PYTHONPATH": f"{HERE}:{HERE.parent / 'src'}",
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_ERROR_FILE": "",
    }
    return subprocess.run(
        command,
        env={**os.environ, **place, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run(out, config, *how, processes=1):
    out.mkdir(exist_ok=True)
    return launch(out, json.dumps(config), *how, processes=processes)


def found(out):
    """Records without the clock, and weights."""
    records = json.loads((out / "records.json").read_text())
    kept = [{k: v for k, v in r.items() if k not in CLOCK} for r in records if "loss" in r]
    kept += [{k: v for k, v in r.items() if k not in CLOCK} for r in records if "eval_loss" in r]
    return kept, load_file(out / "weights.safetensors")


def check_equal(one, other):
    (records, weights), (expected, expected_weights) = found(one), found(other)
    assert records == expected
    assert all(torch.equal(weight, weights[name]) for name, weight in expected_weights.items())


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)])
def undisturbed(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    done = run(out, EVERYTHING, processes=request.param)
    assert done.returncode == 0, done.stderr
    return out, request.param


@pytest.mark.slow
@pytest.mark.parametrize("how", ["11", "save:12", pytest.param("17", marks=pytest.mark.slow)])
def test_killed_at_a_step_or_while_saving_it_goes_on_bit_for_bit(undisturbed, tmp_path, how):
    expected, processes = undisturbed
    assert run(tmp_path, EVERYTHING, how, processes=processes).returncode != 0
    assert not (tmp_path / "records.json").exists()
    last = last_checkpoint(tmp_path / "checkpoints").name
    assert last == ("checkpoint-12" if how == "17" else "checkpoint-6")
    done = run(tmp_path, EVERYTHING, processes=processes)
    assert done.returncode == 0, done.stderr
    check_equal(tmp_path, expected)


@pytest.mark.slow
def test_without_room_on_the_disk_the_last_good_checkpoint_stays(tmp_path):
    """The limit is below the size of a checkpoint's moments: every save is cut short."""
    expected, out = tmp_path / "expected", tmp_path / "out"
    assert run(expected, EVERYTHING).returncode == 0
    assert run(out, EVERYTHING, "8").returncode != 0
    last = last_checkpoint(out / "checkpoints")
    assert last.name == "checkpoint-6"
    full = run(out, EVERYTHING, "full:20000")
    assert full.returncode != 0
    assert not (out / "records.json").exists()
    assert last_checkpoint(out / "checkpoints") == last
    assert run(out, EVERYTHING).returncode == 0
    check_equal(out, expected)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_same_global_batches(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    config = {**STILL, "average_decay": 0.0}
    for out, processes in ((one, 1), (two, 2)):
        done = run(out, config, processes=processes)
        assert done.returncode == 0, done.stderr
    (records, weights), (expected, expected_weights) = found(two), found(one)
    for ours, theirs in zip(records, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert len(records) == 16
    for name, weight in expected_weights.items():
        if not name.endswith("key.bias"):  # without gradient: Adam makes steps of rounding errors
            torch.testing.assert_close(weights[name], weight, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_two_processes_refuse_batches_that_cannot_be_shared(tmp_path):
    done = run(tmp_path, {**STILL, "accumulate": 3}, processes=2)
    assert done.returncode != 0
    assert "got accumulate 3, 2 processes. Set training.accumulate=4" in done.stderr


@pytest.mark.slow
def test_a_sharded_model_learns_as_a_whole_one_and_one_process_reads_what_it_saved(tmp_path):
    done = launch(tmp_path, processes=2, program="sharded_run.py")
    assert done.returncode == 0, done.stderr
    tokenizers, pairs = batches()
    vocab = tokenizers.source.get_vocab_size()
    model = tiny_model(vocab, 0.0)
    optimizer = training_optimizer(model, CONFIG)
    losses = [step(model, optimizer, pair, tokens(pair), 1).item() for pair in pairs]
    assert json.loads((tmp_path / "losses.json").read_text()) == pytest.approx(losses, rel=1e-4)
    assert losses[-1] < 0.9 * losses[0]
    read = tiny_model(vocab, 0.0)
    load_sharded(read, tmp_path / "sharded")
    others = dict(model.named_parameters())
    for name, weight in read.named_parameters():
        if not name.endswith("key.bias"):  # without gradient: Adam makes steps of rounding errors
            torch.testing.assert_close(weight, others[name], rtol=1e-2, atol=1e-3)
    source = torch.tensor([[5, 6, 2]])
    read.eval()
    assert torch.equal(
        read.generate(source, max_new_tokens=6, do_sample=False),
        model.eval().generate(source, max_new_tokens=6, do_sample=False),
    )


def test_sharding_needs_processes_and_a_checkpoint(tmp_path):
    from askew.training import save_sharded, shard_model

    assert callable(save_sharded)
    with pytest.raises(ValueError, match="a process group must be initialised; got none"):
        shard_model(tiny_model(280, 0.0))
    with pytest.raises(ValueError, match="must be what save_sharded wrote; got"):
        load_sharded(tiny_model(280, 0.0), tmp_path)


@pytest.mark.slow
def test_the_command_line_under_torchrun_trains_as_one_process(tmp_path):
    losses = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        words = ["train", "translation", "--out", str(out), "--steps", "12", "--quiet"]
        words += ["--preset", "tiny", "--vocab-size", "400"]
        words += ["--set", "training.accumulate=2", "--set", "training.batch_tokens=256"]
        torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
        start = [] if processes == 1 else torchrun
        done = subprocess.run(
            [sys.executable, *start, "-m", "askew", *words], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("test set:") == 1  # one process speaks
        records = json.loads((out / "curve.json").read_text())["records"]
        losses.append([r[name] for r in records for name in ("loss", "eval_loss") if name in r])
    assert len(losses[0]) > 1
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
