"""A trial whose training is shared by several processes that torchrun starts."""

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import cloudpickle

from askew._folders import WORK
from askew.tradeoffs._running.trial import run_trial, trial_name
from askew.tradeoffs._task import Arm, Model, Task


def run_shared_trial(
    task: Task[Model],
    arm: Arm,
    seed: int,
    *,
    steps: int,
    out: Path,
    processes: int,
    threads: int,
) -> None:
    """Train, score and store one trial, as `run_trial` does, with several processes.

    The processes share the batches of a step out; the first one scores.

    Raises:
        RuntimeError: If a process fails; the message has the end of its standard error.
    """
    name = trial_name(arm.name, seed)
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with TemporaryDirectory() as folder:
        # Only this user can open the folder: whoever writes the file can run code.
        arguments = Path(folder) / "arguments"
        arguments.write_bytes(
            cloudpickle.dumps((task, arm, seed, steps, out.resolve(), os.getpid()))
        )
        done = subprocess.run(
            [sys.executable, "-m", *launcher, "-m", __name__, str(arguments)],
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(threads),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            capture_output=True,
            text=True,
        )
    if done.returncode:
        errors = " ".join(done.stderr.split())[-2000:]
        raise RuntimeError(f"compare: torchrun of {name} ended with {done.returncode}: {errors}")


def main() -> None:
    """Run a trial as one of several processes; `run_shared_trial` wrote the arguments."""
    import torch

    task, arm, seed, steps, out, owner = cloudpickle.loads(Path(sys.argv[1]).read_bytes())
    threading.Thread(target=_end_with, args=(owner,), daemon=True).start()
    if int(os.environ["RANK"]) == 0:
        run_trial(task, arm, seed, steps=steps, out=out)
    else:
        with suppress(FloatingPointError):  # the first process stores that it diverged
            task.train(
                task.build(arm.config, seed + arm.init_offset),
                training=arm.training,
                steps=steps,
                seed=seed,
                folder=out / WORK / trial_name(arm.name, seed),
                progress=lambda step, steps: None,
            )
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _end_with(owner: int) -> None:
    """End this process when the process that waits for the trial has ended."""
    while Path(f"/proc/{owner}").exists() or not Path("/proc").exists():
        time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    main()
