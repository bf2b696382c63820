"""Devices: trainings compute on the accelerator of the machine, or on what the user names."""

import os
import re
from dataclasses import replace
from typing import Any

from askew._check import require

_CPU_ONLY = "ACCELERATE_USE_CPU"
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device(caller: str, name: str) -> None:
    """Refuse a name that no device can have."""
    require(
        _NAMES.fullmatch(name) is not None,
        f"{caller}: --device must be auto, cpu, cuda, cuda:NUMBER or mps; got --device {name}",
    )


def use_device(caller: str, name: str) -> None:
    """Let this process and those that it starts compute on a device, by their environment.

    It must be called before PyTorch looks for CUDA devices, which it does once.

    Args:
        caller: Who asks, for the error.
        name: "auto" changes nothing; "cpu", "cuda" (the first one), "cuda:1" (no other is visible
            from then on), "mps".

    Raises:
        ValueError: If the device is not there.
    """
    check_device(caller, name)
    if name == "auto":
        return
    if name == "cpu":
        os.environ[_CPU_ONLY] = "true"
        return
    import torch

    os.environ.pop(_CPU_ONLY, None)
    kind, _, number = name.partition(":")
    before = os.environ.get(_VISIBLE)
    if number:
        os.environ[_VISIBLE] = _nth(before, int(number))
    if torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available():
        return
    if number:
        os.environ.pop(_VISIBLE)
        os.environ.update({} if before is None else {_VISIBLE: before})
    raise ValueError(
        f"{caller}: --device must be a device of this machine; got --device {name}. askew doctor "
        "lists them"
    )


def _nth(visible: str | None, number: int) -> str:
    """Return the device of a number among those that are visible; "" for none."""
    if visible is None:
        return str(number)
    return next(iter(visible.split(",")[number:]), "").strip()


def trains_on_cpu() -> bool:
    """Return whether a training is to compute on the CPU though there may be an accelerator."""
    import torch
    from accelerate.utils import parse_flag_from_env

    return parse_flag_from_env(_CPU_ONLY) or not torch.accelerator.is_available()


def device_name(device: str = "auto") -> str:
    """Name a device as results record it: "cpu", or its kind and its model.

    Args:
        device: "auto" is the one on which transformers trains.
    """
    import torch

    if device == "auto":
        found = None if trains_on_cpu() else torch.accelerator.current_accelerator()
        device = "cpu" if found is None else found.type
    return f"{device}, {torch.cuda.get_device_name(device)}" if "cuda" in device else device


def on_device(task: Any, name: str) -> Any:
    """Return a task that trains on the device of `use_device`, if it has a choice of its own."""
    if name == "auto" or task.device == "auto":
        return task
    return replace(task, device=name.partition(":")[0])
