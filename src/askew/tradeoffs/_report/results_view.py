"""The results that a report shows: checked, complete, and in the language of the report."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from askew._check import require
from askew._files import is_version, read_json
from askew.tradeoffs._report.item_differences import items_of
from askew.tradeoffs._report.language import Language
from askew.tradeoffs._report.search_summary import search_sentence
from askew.tradeoffs._report.summary import headline, summary_sentence
from askew.tradeoffs._results_schema import results_fault
from askew.tradeoffs._statistics.verdicts import Metric, Verdict

_TIME_UNITS = ("s", "ms", "CPU s", "CPU-s")
_SIZE_UNITS = ("B", "bytes", "kB", "MB", "GB")


class Run(NamedTuple):
    """A comparison of a report.

    Attributes:
        name: What the report calls it.
        results: What results.json holds.
        items: As `items_of` returns them; empty if the folder has no trials.

    Example:
        >>> Run(name="nightly", results={"version": 1}, items={}).name
        'nightly'
    """

    name: str
    results: Mapping[str, object]
    items: Mapping[str, Mapping[str, np.ndarray]]


def read_run(folder: str | Path) -> Run:
    """Read the results and items of a finished comparison.

    Args:
        folder: With results.json, and with the trials if their items are to be shown.

    Returns:
        What a report shows, under the name of the folder.

    Raises:
        ValueError: If there is no results.json, it is of another version or incomplete, or
            some trials are missing.

    Example:
        >>> read_run("nowhere")
        Traceback (most recent call last):
        ValueError: read_run: the folder must exist; got folder nowhere
    """
    folder = Path(folder)
    require(folder.is_dir(), f"read_run: the folder must exist; got folder {folder}")
    path = folder / "results.json"
    require(
        path.is_file(),
        f"read_run: the folder must hold results.json; got folder {folder} without. An unfinished "
        "comparison has none: run its command again to continue it",
    )
    results = checked("read_run", read_json(path, version=None), of=f" in {path}")
    trials = folder / "confirmation" if "search" in results else folder
    return Run(folder.resolve().name, results, items_of(trials, results))


def checked(caller: str, results: Mapping[str, Any], *, of: str = "") -> dict:
    """Refuse results that cannot be shown, and fill in what older ones lack."""
    version = results.get("version")
    known = 2 if "search" in results else 1
    require(
        is_version(version, known),
        f"{caller}: results must be of version {known}; got version {version!r}{of}",
    )
    fault = results_fault(results)
    require(not fault, f"{caller}: results must be complete; got {fault}{of}")
    return {**results, "verdicts": [_completed(verdict) for verdict in results["verdicts"]]}


def _completed(verdict: dict) -> dict:
    differences = verdict.get("seed_differences") or []
    wins = verdict.get("wins", sum(d > 0 for d in differences) if differences else None)
    losses = sum(d < 0 for d in differences) if differences else None
    if losses is None and wins is not None:
        losses = verdict["seeds"] - wins
    return {"confidence": 0.95} | verdict | {"wins": wins, "losses": losses}


def localised(results: dict, say: Language) -> dict:
    """Translate the sentence, the labels and the reasons of checked results."""
    metrics = [
        metric
        | {"label": say.name(metric["label"]), "unit": say.name(metric["unit"])}
        | {"comparatives": _comparatives(metric)}
        for metric in results["metrics"]
    ]
    verdicts = [v | {"reason": say.reason(v["reason"])} for v in results["verdicts"]]
    summary = results["summary"] if say.code == "en" else _summary(results, say)
    if "search" in results:
        summary = f"{searched_words(results, say)} {summary}"
    return results | {"metrics": metrics, "verdicts": verdicts, "summary": summary}


def _summary(results: dict, say: Language) -> str:
    """Write the summary anew on its metrics: all of them, or those of the headline."""
    verdicts, metrics = _verdicts(results), _metrics(results)
    whole = summary_sentence(verdicts, metrics) == results["summary"]
    return (summary_sentence if whole else headline)(verdicts, metrics, language=say.code)


def searched_words(results: dict, say: Language) -> str:
    """Write the sentence of a search on the metrics of its confirmation."""
    return search_sentence(
        results["search"], _verdicts(results), _metrics(results), language=say.code
    )


def _verdicts(results: dict) -> list[Verdict]:
    return [
        Verdict(**{name: verdict.get(name, 0) for name in Verdict._fields})
        for verdict in results["verdicts"]
    ]


def _metrics(results: dict) -> list[Metric]:
    names = [field.name for field in fields(Metric)]
    return [Metric(**{name: metric[name] for name in names}) for metric in results["metrics"]]


def _comparatives(metric: dict) -> tuple[str, str, str]:
    """Choose the keys of the words for a better, a worse and an equal ratio."""
    if metric["unit"] in _TIME_UNITS or metric["unit"].endswith("/s"):
        return "faster", "slower", "as_fast"
    if metric["unit"] in _SIZE_UNITS:
        return "smaller", "larger", "as_large"
    higher = metric["better"] == "higher"
    return ("higher", "lower", "as_high") if higher else ("lower", "higher", "as_low")


def split_metrics(results: dict) -> tuple[list[dict], list[dict]]:
    """Split the metrics into quality and costs; a cost is one that an arm lists among its costs."""
    costs = {name for arm in results["arms"] for name in arm["costs"]}
    quality = [metric for metric in results["metrics"] if metric["name"] not in costs]
    return quality, [metric for metric in results["metrics"] if metric["name"] in costs]


def pairs_of(results: dict) -> list[tuple[str, str]]:
    """List every challenger with its baseline."""
    return list(dict.fromkeys((v["challenger"], v["baseline"]) for v in results["verdicts"]))


def verdict_on(results: dict, challenger: str, baseline: str, metric: str) -> dict | None:
    """Return the verdict on one challenger and metric, if there is one."""
    wanted = (challenger, baseline, metric)
    for verdict in results["verdicts"]:
        if (verdict["challenger"], verdict["baseline"], verdict["metric"]) == wanted:
            return verdict
    return None


def seed_values(results: dict, arm: str, metric: str) -> dict[int, float]:
    """Collect one metric of one arm by seed; seeds without a value are left out."""
    values = {t["seed"]: t["metrics"].get(metric) for t in results["trials"] if t["arm"] == arm}
    return {seed: value for seed, value in values.items() if value is not None}


def title(metric: Mapping[str, str]) -> str:
    """Name a metric with its unit."""
    return f"{metric['label']}, {metric['unit']}" if metric["unit"] else metric["label"]
