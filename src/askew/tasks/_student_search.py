"""A search for the layers that students of one model keep."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from askew._check import require
from askew._files import read_json, write_json
from askew.models import Removal, load_seq2seq, load_translation_model, model_fingerprint
from askew.tasks._arms import RUNS
from askew.tasks._layers import (
    SIDES,
    LayerTable,
    cut_within,
    layer_table,
    measured_removals,
    order_of,
)
from askew.tasks._limited import latency_of
from askew.tasks._student import StudentTask, full_name, student_config, symmetric_student
from askew.tasks._student_cuts import RULES, CutConfig, SideCut
from askew.tasks._teacher_outputs import label_loss
from askew.text import ParallelText, fingerprint
from askew.tradeoffs import Arm, Choice, Range, Space

_PAIRS = 256  # validation pairs on which layers are left out
_ANSWERS = 4
_FAMILIES: Mapping[str, Callable[[int, int], bool]] = {
    "asymmetric": lambda encoder, decoder: encoder != decoder,
    "symmetric": lambda encoder, decoder: encoder == decoder,
}


class Measured(NamedTuple):
    """What is measured of the layers of a model before a search.

    Attributes:
        orders: By side the layers, the one that is left out last first.
        table: What each layer is worth and costs; None without a limit of latency.
        cuts: By family the layers that the knapsack keeps by side.
    """

    orders: Mapping[str, list[int]]
    table: LayerTable | None
    cuts: Mapping[str, Mapping[str, list[int]]]


def student_space(task: StudentTask) -> Space:
    """Return what a search for students draws: how many layers of each side, and which.

    Symmetric students have as many layers on both sides.
    """
    numbers: dict[str, Range | Choice] = {}
    for side in SIDES:
        depth = getattr(task.whole, side).num_layers
        one = depth == 1
        numbers[f"{side}.num_layers"] = (
            Choice(values=(1,)) if one else Range(low=1, high=depth, step=1)
        )
        numbers[f"{side}.keep"] = Choice(values=RULES[:1] if one else RULES)
    return Space(numbers=numbers, ties={"decoder.num_layers": "encoder.num_layers"})


def student_starts(
    task: StudentTask, challenger: str, baseline: str, match: str, at_most: Mapping[str, float]
) -> tuple[StudentTask, list[Arm], dict[str, object]]:
    """Make the students with which a search begins, and the limits that follow from them.

    Layers are measured once and kept in a file under askew-runs: timing again could give others.

    Args:
        task: The task.
        challenger: As in `student_arms`, without "fresh".
        baseline: The same.
        match: "parameters" or "flops": no candidate has more than the larger of these two students;
            "latency": none is slower than the challenger; or "nothing".
        at_most: Given limits; with them nothing is matched. With "latency_ms" the students that a
            knapsack over all layers chooses are among the first.

    Returns:
        The task with what was measured, the arms, and `match` and `at_most` of the search.

    Raises:
        ValueError: If a name is unknown, or no cut meets the limit.
    """
    depths = [getattr(task.whole, side).num_layers for side in SIDES]
    require(
        max(depths) > 1,
        "find: a model to be cut must have two layers on one side; got one on both",
    )
    names = [full_name(challenger), full_name(baseline)]
    fresh = [name for name in names if name.startswith("fresh")]
    require(not fresh, f"find: with --from, weights of candidates are copied; got {fresh}")
    first = student_config(task.whole, names[0])
    count = "flops" if match == "flops" else "parameters"
    other = (
        symmetric_student(task, first, count, copied=True)
        if names[1].endswith("symmetric")
        else student_config(task.whole, names[1])
    )
    measured = _measured(task, at_most.get("latency_ms"))
    kept = {
        name: {side: list(getattr(config, f"{side}_kept")) for side in SIDES}
        for name, config in zip(names, (first, other), strict=True)
    }
    kept |= {f"knapsack-{family}": cut for family, cut in measured.cuts.items()}
    arms = [
        Arm(name=_arm_name(name), config=_cut(layers, measured.orders))
        for name, layers in kept.items()
    ]
    settings: dict[str, object] = {"match": match, "at_most": dict(at_most)}
    if match in ("parameters", "flops") and not at_most:
        costs = task.parameters if match == "parameters" else task.flops_per_step
        settings = {"match": "nothing", "at_most": {match: max(costs(a.config) for a in arms)}}
    return replace(task, layers=measured.table), arms, settings


def _arm_name(name: str) -> str:
    return Path(name).stem if name.endswith(".toml") else name


def _cut(kept: Mapping[str, list[int]], orders: Mapping[str, list[int]]) -> CutConfig:
    sides: dict[str, Any] = {
        side: SideCut(
            num_layers=len(kept[side]),
            keep=",".join(map(str, kept[side])),
            order=",".join(map(str, orders[side])),
        )
        for side in SIDES
    }
    return CutConfig(**sides)


def _measured(task: StudentTask, latency_ms: float | None) -> Measured:
    """Measure the layers of the model, or read what was measured before."""
    threads = () if latency_ms is None else (latency_ms, torch.get_num_threads())
    identity = [model_fingerprint(task.model), fingerprint(task.text), *threads]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
    path = RUNS / f"layers-{digest}.json"
    if not path.is_file():
        measured = _measure(task, latency_ms)
        table = None if measured.table is None else measured.table.plain()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"version": 1, **measured._asdict(), "table": table})
    stored = read_json(path)
    table = None if stored["table"] is None else LayerTable.of(stored["table"])
    return Measured(stored["orders"], table, stored["cuts"])


def _measure(task: StudentTask, latency_ms: float | None) -> Measured:
    reader = load_seq2seq(task.model)
    pairs = ParallelText(*(side[:_PAIRS] for side in task.text.valid))
    checks = reader.read(pairs.sources), reader.labels(pairs.targets)
    model = load_translation_model(task.model).eval()

    def loss(cut: PreTrainedModel) -> float:
        return label_loss(reader, cut, *checks)

    removals = measured_removals(model, loss, to_one=True)
    depths = {side: getattr(task.whole, side).num_layers for side in SIDES}
    orders = {side: order_of(removals, side, depths[side]) for side in SIDES}
    if latency_ms is None:
        return Measured(orders, None, {})
    return _with_cuts(task, model, removals, loss(model), orders, latency_ms)


def _with_cuts(
    task: StudentTask,
    model: Any,
    removals: list[Removal],
    loss: float,
    orders: Mapping[str, list[int]],
    latency_ms: float,
) -> Measured:
    """Time each layer, and choose the best cut of each family that meets the limit."""

    def answer(cut: Any) -> int:
        task.time_answers(cut, items=_ANSWERS)
        return _ANSWERS

    table = layer_table(model, removals, loss, answer)
    cuts: dict[str, Mapping[str, list[int]]] = {}
    fault: ValueError | None = None
    for family, fits in _FAMILIES.items():
        try:
            cuts[family], _ = cut_within(
                table,
                latency_ms,
                lambda kept: latency_of(model, kept, answer),
                fits=fits,
                caller="find",
            )
        except ValueError as error:
            fault = error
    if not cuts and fault is not None:
        raise fault
    return Measured(orders, table, cuts)
