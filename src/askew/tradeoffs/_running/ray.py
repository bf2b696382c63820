"""Work as tasks of a Ray cluster, on this machine or on others."""

import io
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from askew._check import requires_extra
from askew._folders import WORK
from askew.tradeoffs._running.work import Work

LOCAL = "local"
_RETRIES = 2
_POLL_SECONDS = 0.5
_STORE_BYTES = 512 * 2**20


class RayCluster:
    """A cluster that does work. It is connected with when the first work comes, until the end.

    Args:
        address: "local" (of this machine, ending with the work), "auto" (the one that the
            environment names) or an address.
        caller: What messages name.
        jobs: Work at the same time on a local cluster.
        threads: Threads of PyTorch in each, which Ray counts as CPUs.
    """

    def __init__(self, address: str, *, caller: str, jobs: int, threads: int) -> None:
        self.address, self.caller, self.jobs, self.threads = address, caller, jobs, threads
        self._ray: Any = None

    def __enter__(self) -> "RayCluster":
        """Connect with nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the cluster; a local one ends."""
        if self._ray is not None:
            self._ray.shutdown()

    def run(self, work: Sequence[Work], *, out: Path, report_progress: Callable[[], None]) -> None:
        """Do all work, and store each result here when it is there.

        Work whose worker is lost is done again, twice at most, from the checkpoints that lie here:
        workers need share no folder with this machine. What they need is the same Python, packages
        and code. The task is sent once.

        Raises:
            ModuleNotFoundError: If ray is not installed.
            RuntimeError: If there is no such cluster, or a worker was lost three times.
        """
        ray = self._connected()
        remote = ray.remote(num_cpus=self.threads, max_retries=_RETRIES)(_packed_run)
        task = ray.put(work[0].arguments[0])
        running = {
            remote.remote(
                task, each._replace(arguments=each.arguments[1:]), _packed(out, each), self.threads
            ): each.name
            for each in work
        }
        while running:
            for done in ray.wait(list(running), timeout=_POLL_SECONDS)[0]:
                name = running.pop(done)
                try:
                    _unpack(ray.get(done), out, name)
                except ray.exceptions.WorkerCrashedError as error:
                    raise RuntimeError(
                        f"{self.caller}: the worker of {name} was lost {_RETRIES + 1} times; "
                        f"got {error}"
                    ) from error
            report_progress()

    def _connected(self) -> Any:
        if self._ray is None:
            ray = import_ray()
            paths = os.pathsep.join(filter(None, sys.path))
            local = {
                "num_cpus": self.jobs * self.threads,
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
                "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
            }
            where = local if self.address == LOCAL else {"address": self.address}
            try:
                ray.init(log_to_driver=False, **where)
            except ConnectionError as error:
                raise RuntimeError(
                    f"{self.caller}: the cluster must be there; got cluster {self.address!r}: "
                    f"{error}"
                ) from error
            self._ray = ray
        return self._ray


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


def _packed(out: Path, work: Work) -> bytes:
    """Return the checkpoints of earlier work as the bytes of a tar file, empty without any."""
    folder, packed = out / WORK / work.name, io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        if folder.is_dir():
            tar.add(folder, arcname=f"{WORK}/{work.name}")
    return packed.getvalue()


def _packed_run(task: object, work: Work, checkpoints: bytes, threads: int) -> bytes:
    """Do work where Ray puts it, and return all that it stored as the bytes of a tar file."""
    import torch

    torch.set_num_threads(threads)
    packed = io.BytesIO()
    with TemporaryDirectory() as folder:
        _extract(checkpoints, Path(folder))
        work.run(task, *work.arguments, out=Path(folder), **work.settings)
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(folder, arcname=".")
    return packed.getvalue()


def _extract(packed: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")


def _unpack(packed: bytes, out: Path, name: str) -> None:
    """Put what work stored in its place: the checkpoints first, as the result says it is done."""
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=work) as folder:
        _extract(packed, Path(folder))
        done = Path(folder) / WORK / name
        if done.is_dir():
            _move_into(work / name, done)
        for path in Path(folder).glob("*/*"):
            if path.parent.name != WORK:
                _move(path, out / path.relative_to(folder))
        if not done.is_dir():
            shutil.rmtree(work / name, ignore_errors=True)


def _move_into(folder: Path, other: Path) -> None:
    """Replace what a folder holds: a new checkpoint is there before the one before it goes."""
    names = {path.name for path in other.iterdir()}
    for name in names:
        _move(other / name, folder / name)
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _move(path: Path, final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    path.replace(final)
