"""A device is named, refused or left to transformers, and what trained is recorded."""

import os
from dataclasses import dataclass

import pytest
import torch
from typer.testing import CliRunner

from askew import _devices as devices
from askew._files import read_json
from askew.cli import app
from askew.tasks import APPLICATIONS
from askew.training import TrainingConfig
from askew.training._trainer import _arguments

CPU_ONLY, VISIBLE = "ACCELERATE_USE_CPU", "CUDA_VISIBLE_DEVICES"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in (CPU_ONLY, VISIBLE):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)


@pytest.fixture
def four_gpus(monkeypatch):
    """Four CUDA devices, as far as one can ask for them."""

    def there():
        visible = os.environ.get(VISIBLE, "0,1,2,3").split(",")
        return any(name in ("0", "1", "2", "3", "GPU-5f") for name in visible)

    monkeypatch.setattr(torch.cuda, "is_available", there)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.accelerator, "is_available", there)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("auto", None, None),
        ("cuda", None, None),
        ("cuda", "2,3", "2,3"),
        ("cuda:1", None, "1"),
        ("cuda:1", "3,GPU-5f", "GPU-5f"),
    ],
)
def test_a_number_leaves_one_gpu_visible(name, before, after, four_gpus, monkeypatch):
    if before is not None:
        monkeypatch.setenv(VISIBLE, before)
    devices.use_device("train", name)
    assert os.environ.get(VISIBLE) == after
    assert not devices.trains_on_cpu()


def test_the_cpu_is_used_beside_gpus_until_one_is_named(four_gpus):
    devices.use_device("train", "cpu")
    assert devices.trains_on_cpu()
    assert devices.device_name() == "cpu"
    devices.use_device("train", "auto")
    assert devices.trains_on_cpu()
    devices.use_device("train", "cuda:2")
    assert not devices.trains_on_cpu()


@pytest.mark.parametrize("name", ["cuda:2", "cuda:7", "mps"])
def test_what_is_not_there_is_refused_and_leaves_nothing(name, four_gpus, monkeypatch):
    monkeypatch.setenv(VISIBLE, "0,1")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"train: --device must be a device .*; got .* {name}"):
        devices.use_device("train", name)
    assert os.environ[VISIBLE] == "0,1"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:one", "CPU", ""])
def test_what_no_device_is_called_is_refused(name):
    message = "train: --device must be auto, cpu, cuda, cuda:NUMBER or mps; got --device"
    with pytest.raises(ValueError, match=message):
        devices.use_device("train", name)


def test_one_process_takes_one_gpu(tmp_path, four_gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # nothing is put there
    arguments = _arguments(TrainingConfig(steps=2), tmp_path, 0)
    assert not arguments.use_cpu
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == arguments.per_device_train_batch_size


@dataclass(frozen=True)
class Chooser:
    device: str


def test_a_task_that_has_a_choice_of_its_own_takes_the_device():
    assert devices.on_device(Chooser("cpu"), "cuda:3") == Chooser("cuda")
    assert devices.on_device(Chooser("cuda"), "auto") == Chooser("cuda")
    assert devices.on_device(Chooser("auto"), "cuda") == Chooser("auto")
    application = APPLICATIONS["imbalanced"]
    task = application.make_task(application.options())
    assert devices.on_device(task, "mps").device == "mps"
    assert devices.on_device(task, "mps").describe() == task.describe()


COMMANDS = {
    "train": ["train", "labels", "--out", "new"],
    "compare": ["compare"],
    "compare, tables": ["compare", "imbalanced"],
    "compare, your own": ["compare", "experiment", "nowhere:nothing"],
    "find": ["find"],
    "shrink": ["shrink", ".", "--out", "new"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.parametrize(
    ("name", "message"), [("cuda:99", "must be a device of this machine"), ("gpu", "must be auto")]
)
def test_every_command_that_trains_refuses_it_before_work(
    arguments, name, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    done = invoke(*arguments, "--device", name)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"askew {arguments[0]}")
    assert f": --device {message}" in done.stderr
    assert f"got --device {name}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["compare", "find"])
def test_another_machine_has_devices_of_its_own(command):
    done = invoke(command, "--device", "cuda", "--cluster", "local")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"askew {command}")
    assert ": --cluster must go without a device of one machine" in done.stderr


def test_several_processes_do_not_share_a_numbered_gpu():
    done = invoke("compare", "--device", "cuda:1", "--processes", 2)
    assert done.exit_code == 2
    assert done.stderr.startswith("askew compare")
    assert ": --processes must go without a device of one machine" in done.stderr


@pytest.mark.slow
def test_a_comparison_records_its_device_and_resumes_with_another(tmp_path, device):
    call = ["compare", "imbalanced", "--seeds", 1, "--steps", 3, "--jobs", 1, "--quiet"]
    call += ["--out", tmp_path / "run"]
    assert invoke(*call).exit_code == 0
    results = read_json(tmp_path / "run" / "results.json")
    assert results["versions"]["device"] == "cpu"
    done = invoke(*call, "--device", device)
    assert done.exit_code == 0, done.stderr
    assert read_json(tmp_path / "run" / "results.json")["versions"]["device"].startswith(device)
