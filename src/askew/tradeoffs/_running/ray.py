"""Trials as tasks of a Ray cluster, on this machine or on others."""

import io
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from askew._check import requires_extra
from askew._folders import WORK
from askew.tradeoffs._running.plan import RunPlan
from askew.tradeoffs._running.trial import run_trial, trial_name
from askew.tradeoffs._task import Arm, Model, Task

LOCAL = "local"
_RETRIES = 2
_POLL_SECONDS = 0.5
_STORE_BYTES = 512 * 2**20


def run_on_ray(
    plan: RunPlan[Model],
    trials: Sequence[tuple[Arm, int]],
    cluster: str,
    report_progress: Callable[[], None],
) -> None:
    """Train every given trial on a cluster, and store each here when it ends.

    A trial whose worker is lost is run again, twice at most, from its beginning: workers need
    share no folder with this machine. What they need is the same Python, packages and code. The
    task is sent once. The jobs of the plan are trials at the same time on a local cluster; Ray
    counts its threads as CPUs. The cluster is "local" (of this machine, ending with the trials),
    "auto" (the one that the environment names) or an address.

    Raises:
        ModuleNotFoundError: If ray is not installed.
        RuntimeError: If there is no such cluster, or a worker was lost three times.
    """
    ray = import_ray()
    _connect(ray, plan, cluster)
    try:
        remote = ray.remote(num_cpus=plan.threads, max_retries=_RETRIES)(_packed_trial)
        stored = ray.put(plan.task)
        running = {
            remote.remote(stored, arm, seed, plan.steps[arm.name], plan.threads): (arm, seed)
            for arm, seed in trials
        }
        while running:
            for done in ray.wait(list(running), timeout=_POLL_SECONDS)[0]:
                arm, seed = running.pop(done)
                try:
                    _unpack(ray.get(done), plan.out, trial_name(arm.name, seed))
                except ray.exceptions.WorkerCrashedError as error:
                    raise RuntimeError(
                        f"compare: the worker of {trial_name(arm.name, seed)} was lost "
                        f"{_RETRIES + 1} times; got {error}"
                    ) from error
            report_progress()
    finally:
        ray.shutdown()


def _connect(ray: Any, plan: RunPlan[Model], cluster: str) -> None:
    local = {
        "num_cpus": plan.jobs * plan.threads,
        "include_dashboard": False,
        "object_store_memory": _STORE_BYTES,
        "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
    }
    try:
        ray.init(log_to_driver=False, **(local if cluster == LOCAL else {"address": cluster}))
    except ConnectionError as error:
        raise RuntimeError(
            f"compare: the cluster must be there; got cluster {cluster!r}: {error}"
        ) from error


def import_ray() -> Any:
    """Import ray, or say how to get it.

    Returns:
        The package.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    with requires_extra("compare", "cluster"):
        import ray
    return ray


def _packed_trial(task: Task[Model], arm: Arm, seed: int, steps: int, threads: int) -> bytes:
    """Run a trial where Ray puts it, and return its folder as the bytes of a tar file."""
    torch.set_num_threads(threads)
    name, packed = trial_name(arm.name, seed), io.BytesIO()
    with TemporaryDirectory() as folder:
        run_trial(task, arm, seed, steps=steps, out=Path(folder))
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(Path(folder) / "trials" / name, arcname=name)
    return packed.getvalue()


def _unpack(packed: bytes, out: Path, name: str) -> None:
    """Put a trial in its place, whole or not at all."""
    with TemporaryDirectory(dir=_created(out / WORK)) as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(folder, filter="data")
        final = _created(out / "trials") / name
        shutil.rmtree(final, ignore_errors=True)
        (Path(folder) / name).rename(final)


def _created(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
