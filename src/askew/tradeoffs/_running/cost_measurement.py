"""Speed and memory of trained models: measured after all training, one process, arms in turn."""

import ctypes
import gc
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Generic

import torch

from askew._files import read_json, write_json
from askew._folders import WORK
from askew.tradeoffs._running.plan import RunPlan
from askew.tradeoffs._running.trial import load_trial
from askew.tradeoffs._running.trials import trial_processes
from askew.tradeoffs._task import Arm, Model, Progress, Task

LATENCY_ITEMS, THROUGHPUT_ITEMS, THROUGHPUT_BATCH, ROUNDS = 20, 256, 64, 7
_SLOW_BATCH = 1.0  # seconds of a batch from which on one batch is timed, not several
_FEWEST_ROUNDS, _LONGEST = 3, 10.0  # rounds after so many seconds are left out
_MEMORY_STEPS = 20
_MEMORY_ITEMS = 4
_COSTS = "costs.json"


def measure_costs(plan: RunPlan[Model], progress: Progress) -> dict:
    """Time every trained model and measure the peak memory of training each arm, once.

    For each seed the arms take turns, round by round, in alternating order; a model's figure
    is its median over the rounds, of which there are fewer where they are slow. A training that
    diverged has no model to time. What costs.json holds is read, not measured again.

    Returns:
        `speed`: per arm and seed `latency_ms` (one item at a time) and `throughput` (items per
        second in batches of 64); `own`: per arm and seed the costs that the task adds, if any;
        `peak_memory_mb`: per arm.
    """
    task, arms, seeds = plan.task, plan.arms, plan.seeds
    path, costs = plan.out / _COSTS, read_costs(plan.out)
    total = len(seeds) + len(arms)
    adds_costs = type(task).costs is not Task.costs  # else no model needs to be loaded for them
    for done, seed in enumerate(seeds):
        progress(done, total)
        timed = str(seed) in costs["speed"]
        if timed and (not adds_costs or str(seed) in costs.get("own", {})):
            continue
        trials = [load_trial(plan.out, arm.name, seed) for arm in arms]
        models = {trial.arm: task.load(trial.model) for trial in trials if not trial.diverged}
        if not timed:
            deployed = {name: task.deploy(model) for name, model in models.items()}
            costs["speed"][str(seed)] = _time_in_turn(task, deployed)
        if adds_costs:
            costs.setdefault("own", {})[str(seed)] = _task_costs(task, models)
        write_json(path, costs)
    for done, arm in enumerate(arms):
        progress(len(seeds) + done, total)
        if arm.name not in costs["peak_memory_mb"]:
            costs["peak_memory_mb"][arm.name] = _peak_memory(
                task, arm, plan.threads, plan.out / WORK
            )
            write_json(path, costs)
    progress(total, total)
    return costs


def read_costs(out: Path) -> dict:
    """Read the measurements of an earlier run; none if there was no such run."""
    path = out / _COSTS
    return read_json(path) if path.is_file() else {"version": 1, "speed": {}, "peak_memory_mb": {}}


def _time_in_turn(task: Task[Any], models: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    latency: dict[str, list[float]] = {name: [] for name in models}
    throughput: dict[str, list[float]] = {name: [] for name in models}
    batches = [0.0]
    for model in models.values():
        task.predict(model, items=4, batch_size=1)
        batches.append(_seconds(task, model, THROUGHPUT_BATCH, THROUGHPUT_BATCH))
    items = THROUGHPUT_ITEMS if max(batches) < _SLOW_BATCH else THROUGHPUT_BATCH
    begun = time.perf_counter()
    for turn in range(ROUNDS):
        if turn >= _FEWEST_ROUNDS and time.perf_counter() - begun > _LONGEST:
            break
        order = list(models)[:: 1 if turn % 2 == 0 else -1]
        for name in order:
            seconds = _seconds(task, models[name], LATENCY_ITEMS, 1)
            latency[name].append(1000 * seconds / LATENCY_ITEMS)
        for name in order:
            seconds = _seconds(task, models[name], items, THROUGHPUT_BATCH)
            throughput[name].append(items / seconds)
    return {
        name: {"latency_ms": median(latency[name]), "throughput": median(throughput[name])}
        for name in models
    }


def _task_costs(task: Task[Model], models: Mapping[str, Model]) -> dict[str, dict[str, dict]]:
    return {
        name: {key: asdict(cost) for key, cost in task.costs(model).items()}
        for name, model in models.items()
    }


def _seconds(task: Task[Any], model: Any, items: int, batch_size: int) -> float:
    started = time.perf_counter()
    task.predict(model, items=items, batch_size=batch_size)
    return time.perf_counter() - started


def _peak_memory(task: Task[Model], arm: Arm, threads: int, folder: Path) -> float:
    """Measure in a fresh process, which has no freed memory of an earlier model to reuse."""
    folder.mkdir(exist_ok=True)
    with trial_processes(1, threads) as executor:
        return executor.submit(_memory_of_training, task, arm, folder).result()


def _memory_of_training(task: Task[Model], arm: Arm, parent: Path) -> float:
    before = _peak_mb()
    # Of a training that diverges, the steps before count.
    with tempfile.TemporaryDirectory(dir=parent) as folder, suppress(FloatingPointError):
        task.train(
            task.build(arm.config, 0),
            training=arm.training,
            steps=_MEMORY_STEPS,
            seed=0,
            folder=Path(folder),
            progress=lambda step, steps: None,
        )
    return _peak_mb() - before


class UntrainedCosts(Generic[Model]):
    """Measures the memory of answering, and what the task adds, of models that are not trained.

    Memory is that by which a process grows, at its peak, that builds the model and answers. Each
    model has a process of its own, forked from one that has loaded everything but a model: what a
    process shares with every other one does not count.

    Args:
        task: Builds and answers.
        config: Of any model of the task; another one may be measured.
    """

    def __init__(self, task: Task[Model], config: Any) -> None:
        self._task, self._config = task, config
        self._open = ExitStack()
        self._submit: Callable[..., Any] | None = None

    def of(self, config: Any) -> dict[str, float]:
        """Measure one model: `memory_mb`, and the untrained costs of the task."""
        if self._submit is None:
            # One thread: a process whose parent has a pool of them could wait for ever.
            self._submit = self._open.enter_context(trial_processes(1, 1)).submit
            self._submit(_load_everything, self._task, self._config).result()
        return self._submit(_in_own_process, self._task, config).result()

    def close(self) -> None:
        """End the process that the others are forked from."""
        self._open.close()


def _load_everything(task: Task[Model], config: Any) -> None:
    """Answer once, so that all modules and libraries are there, and free what that took."""
    _measure_untrained(task, config)
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def _in_own_process(task: Task[Model], config: Any) -> dict[str, float]:
    context = multiprocessing.get_context("fork")
    received, sent = context.Pipe(duplex=False)
    process = context.Process(target=_send_costs, args=(sent, task, config))
    process.start()
    sent.close()
    try:
        outcome = received.recv()
    except EOFError:
        raise RuntimeError(
            "find: the process that measures a model was lost, killed from outside or out of memory"
        ) from None
    finally:
        process.join()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _send_costs(sent: Any, task: Task[Model], config: Any) -> None:
    try:
        sent.send(_measure_untrained(task, config))
    except Exception as error:  # whatever it is, it is raised in the process that asked
        sent.send(error)


def _measure_untrained(task: Task[Model], config: Any) -> dict[str, float]:
    before = _peak_mb()
    model = task.build(config, 0).eval()
    with torch.no_grad():
        task.time_answers(task.deploy(model), items=_MEMORY_ITEMS)
    memory = _peak_mb() - before
    names = task.untrained_costs()
    own = task.costs(model) if names else {}
    return {"memory_mb": memory, **{name: own[name].value for name in names}}


def _peak_mb() -> float:
    """Read the peak resident memory of this process; `ru_maxrss` would start at the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS
