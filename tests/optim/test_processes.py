"""In the Trainer and in accelerate, alone or in two processes, a schedule moves once a step."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from optim import two_processes as runs
from optim.trainer_run import by_trainer

TESTS = Path(runs.__file__).parents[1]
EXPECTED = [
    {part: rate * runs.schedules()[part](step) for part, rate in runs.RATES.items()}
    for step in range(runs.STEPS)
]


@pytest.fixture(autouse=True)
def _own_state():
    """Accelerate keeps its settings for the process; each test starts and leaves without them."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def equal(one, two):
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def launch(how, out):
    """Run two processes that communicate by gloo, and read the output of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    running = [
        subprocess.Popen(
            [sys.executable, str(Path(runs.__file__)), how, str(out)],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=90) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, outputs, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(printed.splitlines()[-1]) for printed, _ in outputs]


def test_the_trainer_steps_and_logs_every_part(tmp_path):
    _, rates, logged = by_trainer(tmp_path)
    assert rates == EXPECTED
    assert len(logged) == runs.STEPS
    assert [{part: record[f"lr/{part}"] for part in runs.RATES} for record in logged] == EXPECTED
    assert [record["learning_rate"] for record in logged] == [rate["encoder"] for rate in EXPECTED]


@pytest.mark.parametrize("stop", [3, 5])
def test_the_trainer_resumes_bit_for_bit(tmp_path, stop):
    whole, _, _ = by_trainer(tmp_path / "whole")
    by_trainer(tmp_path / "cut", stop=stop)
    resumed, rates, _ = by_trainer(tmp_path / "cut", resume=str(tmp_path / "cut" / "checkpoint-3"))
    assert rates == EXPECTED[3:]
    assert equal(whole, resumed)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_accelerate_alone_steps_every_part_once_a_step(accumulate):
    _, rates = runs.by_accelerate(None, accumulate=accumulate)
    assert rates == EXPECTED


def test_accelerate_resumes_bit_for_bit(tmp_path):
    whole, _ = runs.by_accelerate(None)
    runs.by_accelerate(tmp_path, stop=4)
    resumed, rates = runs.by_accelerate(None, resume=tmp_path)
    assert rates == EXPECTED[4:]
    assert equal(whole, resumed)


def test_the_trainer_and_accelerate_step_two_algorithms_and_resume_bit_for_bit(tmp_path):
    parts = runs.ALGORITHMS
    whole, rates, _ = by_trainer(tmp_path / "whole", parts=parts)
    assert rates == EXPECTED
    by_trainer(tmp_path / "cut", stop=5, parts=parts)
    checkpoint = str(tmp_path / "cut" / "checkpoint-3")
    resumed, rates, _ = by_trainer(tmp_path / "cut", resume=checkpoint, parts=parts)
    assert rates == EXPECTED[3:]
    assert equal(whole, resumed)
    assert not equal(whole, by_trainer(tmp_path / "plain")[0])
    whole, _ = runs.by_accelerate(None, parts=parts)
    runs.by_accelerate(tmp_path / "state", stop=4, parts=parts)
    resumed, rates = runs.by_accelerate(None, resume=tmp_path / "state", parts=parts)
    assert rates == EXPECTED[4:]
    assert equal(whole, resumed)


def check_two_processes(how, out):
    one, two = launch(how, out)
    assert one["processes"] == two["processes"] == 2
    assert one["rates"] == two["rates"] == EXPECTED
    assert one["weights"] == two["weights"]


@pytest.mark.slow
def test_two_processes_of_accelerate_step_every_part_once_a_step(tmp_path):
    check_two_processes("accelerate", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["trainer", "accumulate", "split"])
def test_two_processes_of_any_kind_step_every_part_once_a_step(tmp_path, how):
    check_two_processes(how, tmp_path)


@pytest.mark.slow
def test_sharded_parameters_train_alike_and_their_state_goes_round(tmp_path):
    for fused, rates, parts in launch("shards", tmp_path):
        assert fused
        assert rates == runs.RATES
        assert parts == ["encoder", "head"]
