"""The results that a report shows: checked, complete, in the reader's language."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from askew._check import require
from askew._files import is_version, read_json
from askew.tradeoffs._report.item_differences import items_of
from askew.tradeoffs._report.language import Language
from askew.tradeoffs._report.summary import headline, summary_sentence
from askew.tradeoffs._results_schema import results_fault
from askew.tradeoffs._statistics.verdicts import Metric, Verdict

_TIME_UNITS = ("s", "ms", "CPU s", "CPU-s")
_SIZE_UNITS = ("B", "bytes", "kB", "MB", "GB")


class Run(NamedTuple):
    """A comparison of a report.

    Attributes:
        name: How it is called beside others.
        results: What results.json holds.
        items: As `items_of` gives them; none if they are not at hand.

    Example:
        >>> Run(name="nightly", results={"version": 1}, items={}).name
        'nightly'
    """

    name: str
    results: Mapping[str, object]
    items: Mapping[str, Mapping[str, np.ndarray]]


def read_run(folder: str | Path) -> Run:
    """Read what a finished comparison left in its folder.

    Args:
        folder: With results.json, and with the trials if their items are to be shown.

    Returns:
        What a report shows, by the name of the folder.

    Raises:
        ValueError: If there is no results.json, it is of another version or incomplete, or
            some trials are missing.

    Example:
        >>> read_run("nowhere")
        Traceback (most recent call last):
        ValueError: read_run: the folder must exist; got folder nowhere
    """
    place = Path(folder)
    require(place.is_dir(), f"read_run: the folder must exist; got folder {folder}")
    path = place / "results.json"
    require(
        path.is_file(),
        f"read_run: the folder must hold results.json; got folder {folder} without. An unfinished "
        "comparison has none: type its command again to go on",
    )
    results = checked("read_run", read_json(path, version=None), of=f" in {path}")
    return Run(place.resolve().name, results, items_of(place, results))


def checked(caller: str, results: Mapping[str, Any], *, of: str = "") -> dict:
    """Refuse results that cannot be shown, and fill in what older ones lack."""
    version = results.get("version")
    require(
        is_version(version, 1),
        f"{caller}: results must be of version 1; got version {version!r}{of}",
    )
    fault = results_fault(results)
    require(not fault, f"{caller}: results must be complete; got {fault}{of}")
    page = dict(results)
    page["verdicts"] = [_whole(verdict) for verdict in page["verdicts"]]
    return page


def _whole(verdict: dict) -> dict:
    differences = verdict.get("seed_differences") or []
    wins = verdict.get("wins", sum(d > 0 for d in differences) if differences else None)
    losses = sum(d < 0 for d in differences) if differences else None
    if losses is None and wins is not None:
        losses = verdict["seeds"] - wins
    return {"confidence": 0.95} | verdict | {"wins": wins, "losses": losses}


def localised(page: dict, say: Language) -> dict:
    """Write the sentence, the labels and the reasons in a language."""
    metrics = [
        metric
        | {"label": say.name(metric["label"]), "unit": say.name(metric["unit"])}
        | {"comparatives": _comparatives(metric)}
        for metric in page["metrics"]
    ]
    verdicts = [v | {"reason": say.reason(v["reason"])} for v in page["verdicts"]]
    summary = page["summary"] if say.code == "en" else _summary(page, say)
    return page | {"metrics": metrics, "verdicts": verdicts, "summary": summary}


def _summary(page: dict, say: Language) -> str:
    """Say again what the sentence tells: all metrics, or those of the headline."""
    verdicts = [
        Verdict(**{name: verdict.get(name, 0) for name in Verdict._fields})
        for verdict in page["verdicts"]
    ]
    names = [field.name for field in fields(Metric)]
    metrics = [Metric(**{name: metric[name] for name in names}) for metric in page["metrics"]]
    whole = summary_sentence(verdicts, metrics) == page["summary"]
    return (summary_sentence if whole else headline)(verdicts, metrics, language=say.code)


def _comparatives(metric: dict) -> tuple[str, str, str]:
    """Choose the words of a better, a worse and an equal ratio."""
    if metric["unit"] in _TIME_UNITS or metric["unit"].endswith("/s"):
        return "faster", "slower", "as_fast"
    if metric["unit"] in _SIZE_UNITS:
        return "smaller", "larger", "as_large"
    higher = metric["better"] == "higher"
    return ("higher", "lower", "as_high") if higher else ("lower", "higher", "as_low")


def split_metrics(page: dict) -> tuple[list[dict], list[dict]]:
    """Tell quality from cost: a cost is what the arms list among theirs."""
    costs = {name for arm in page["arms"] for name in arm["costs"]}
    quality = [metric for metric in page["metrics"] if metric["name"] not in costs]
    return quality, [metric for metric in page["metrics"] if metric["name"] in costs]


def pairs_of(page: dict) -> list[tuple[str, str]]:
    """List every challenger with its baseline."""
    return list(dict.fromkeys((v["challenger"], v["baseline"]) for v in page["verdicts"]))


def verdict_on(page: dict, challenger: str, baseline: str, metric: str) -> dict | None:
    """Find a verdict."""
    wanted = (challenger, baseline, metric)
    found = (v for v in page["verdicts"] if (v["challenger"], v["baseline"], v["metric"]) == wanted)
    return next(found, None)


def seed_values(page: dict, arm: str, metric: str) -> dict[int, float]:
    """Collect one metric of one arm: its value per seed, where one was measured."""
    own = (trial for trial in page["trials"] if trial["arm"] == arm)
    values = {trial["seed"]: trial["metrics"].get(metric) for trial in own}
    return {seed: value for seed, value in values.items() if value is not None}


def title(metric: Mapping[str, str]) -> str:
    """Name a metric with its unit."""
    return f"{metric['label']}, {metric['unit']}" if metric["unit"] else metric["label"]
