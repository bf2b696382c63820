"""Where a search stands, read from its folder alone: nothing is locked or written."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from askew._check import require
from askew._files import read_json
from askew._folders import WORK
from askew.tradeoffs._report.language import Language, language_of
from askew.tradeoffs._report.results_view import checked, searched_words
from askew.tradeoffs._running.candidates import FAMILIES
from askew.tradeoffs._running.promotion import Standing, promote, rank_correlation
from askew.tradeoffs._running.rungs import Rung, RungResult, read_result, result_path
from askew.tradeoffs._running.search import share_after
from askew.tradeoffs._running.search_plan import ETA, promoted_count, search_trainings
from askew.tradeoffs._running.trial import is_finished, load_trial, read_progress

_WAVES = 2


class SearchStatus(NamedTuple):
    """Where a search stands.

    Attributes:
        task: Name of the task.
        finished: Whether results.json is written.
        contract: What was settled before the first training: the metric that decides, limits,
            budget, numbers of candidates, steps and seeds, and their hash.
        rungs: For each length of training and each family the candidates that reach it, and how
            many of these are finished, diverged, in training and promoted; `promoted` is None
            until all are finished.
        best: For each family the best candidate of the furthest rung that it has reached; None if
            there is none.
        budget: CPU-minutes and training steps: spent, remaining, and of the whole.
        confirmation: Its arms, and how many trials are finished; None before it begins.
        quiet_seconds: Time since something was written; None of a finished search.
        sentence: The answer in words; None of an unfinished search.
        exhausted: Families all of whose members that meet the limits are candidates.

    Example:
        >>> SearchStatus._fields[0]
        'task'
    """

    task: str
    finished: bool
    contract: dict[str, Any]
    rungs: list[dict[str, Any]]
    best: dict[str, dict[str, Any] | None]
    budget: dict[str, float | None]
    confirmation: dict[str, Any] | None
    quiet_seconds: float | None
    sentence: str | None
    exhausted: list[str]


def search_status(folder: str | Path, *, language: str = "en") -> SearchStatus:
    """Read where a search stands, also while another process runs it or after it was killed.

    Args:
        folder: Of the search.
        language: Of the sentence, "en" or "pt".

    Returns:
        Its contract, its candidates and what it has spent.

    Raises:
        ValueError: If the folder holds no search, one of another version or damaged results, or
            there is no such language.

    Example:
        >>> search_status("nowhere")
        Traceback (most recent call last):
        ValueError: search_status: the folder must hold a search; got folder nowhere, without se...
    """
    say, folder = language_of("search_status", language), Path(folder)
    require(
        (folder / "search.json").is_file(),
        f"search_status: the folder must hold a search; got folder {folder}, without search.json. "
        "A search writes it when it knows its numbers",
    )
    stored = read_json(folder / "search.json")
    rungs = [Rung(**rung) for rung in stored["rungs"]]
    drawn = _drawn(folder)
    entries = drawn["candidates"]
    results = {one["name"]: _results(folder, one["name"], rungs) for one in entries}
    families = {
        family: _climbed(folder, stored, entries, results, rungs, family) for family in FAMILIES
    }
    finished = (folder / "results.json").is_file()
    return SearchStatus(
        task=stored["task"],
        finished=finished,
        contract=_contract(stored),
        rungs=[
            {"steps": rung.steps, **{family: families[family][rung.number] for family in FAMILIES}}
            for rung in rungs
        ],
        best={family: _best(entries, results, rungs, family) for family in FAMILIES},
        budget=_budget(folder, stored, results, rungs),
        confirmation=_confirmation(folder, stored),
        quiet_seconds=None if finished else _quiet_seconds(folder),
        sentence=_sentence(folder, say) if finished else None,
        exhausted=drawn.get("exhausted", []),
    )


def _sentence(folder: Path, say: Language) -> str:
    path = folder / "results.json"
    results = checked("search_status", read_json(path, version=None), of=f" in {path}")
    return searched_words(results, say)


def _drawn(folder: Path) -> dict[str, Any]:
    """Return what is drawn; the file of the last wave has the candidates of all."""
    for wave in reversed(range(_WAVES)):
        path = folder / f"candidates-{wave}.json"
        if path.is_file():
            return read_json(path)
    return {"candidates": []}


def _contract(stored: Mapping[str, Any]) -> dict[str, Any]:
    budget, schedule = stored["budget"], stored["schedule"]
    return {
        "deciding_metric": stored["deciding_metric"],
        "match": stored["match"],
        "at_most": stored["at_most"],
        "minutes": budget["minutes"],
        "finalists": budget["finalists"],
        **schedule,
        "hash": stored["hash"],
    }


def _results(folder: Path, name: str, rungs: Sequence[Rung]) -> list[RungResult]:
    done = [rung for rung in rungs if result_path(folder, name, rung).is_file()]
    return [read_result(folder, name, rung) for rung in done]


def _own(entries: Sequence[dict[str, Any]], family: str) -> list[dict[str, Any]]:
    return [one for one in entries if one["symmetric"] == (family == "symmetric")]


def _climbed(
    folder: Path,
    stored: Mapping[str, Any],
    entries: Sequence[dict[str, Any]],
    results: Mapping[str, Sequence[RungResult]],
    rungs: Sequence[Rung],
    family: str,
) -> list[dict[str, Any]]:
    """Count the candidates of a family on every rung; who is promoted follows from the scores."""
    finalists = stored["budget"]["finalists"]
    running = [one["name"] for one in entries]
    all_drawn = (folder / f"candidates-{_WAVES - 1}.json").is_file()
    own = {one["name"]: one for one in _own(entries, family)}
    share, rows = ETA, []
    for number, rung in enumerate(rungs):
        on_rung = [name for name in running if name in own]
        done = [name for name in on_rung if len(results[name]) > number]
        row: dict[str, Any] = {
            "candidates": len(on_rung),
            "finished": len(done),
            "diverged": sum(results[name][number].score is None for name in done),
            "running": sum(
                _is_in_training(folder, name, rung, rungs) for name in on_rung if name not in done
            ),
            "promoted": None,
        }
        rows.append(row)
        complete = all_drawn and all(len(results[name]) > number for name in running)
        if number + 1 == len(rungs) or not complete or not running:
            running = []
            continue
        if number:
            share = share_after(_correlation(results, running, number))
        chosen = {
            name
            for each in FAMILIES
            for name in _promoted(_own(entries, each), running, results, number, finalists, share)
        }
        row["promoted"] = sum(name in own for name in chosen)
        running = [name for name in running if name in chosen]
    return rows


def _correlation(
    results: Mapping[str, Sequence[RungResult]], running: Sequence[str], number: int
) -> float | None:
    before, after = (
        {name: score for name in running if (score := results[name][n].score) is not None}
        for n in (number - 1, number)
    )
    return rank_correlation(before, after)


def _promoted(
    family: Sequence[Mapping[str, Any]],
    running: Sequence[str],
    results: Mapping[str, Sequence[RungResult]],
    number: int,
    finalists: int,
    share: int,
) -> list[str]:
    standings = [
        Standing(one["name"], score, one["latency_ms"])
        for one in family
        if one["name"] in running and (score := results[one["name"]][number].score) is not None
    ]
    return promote(standings, promoted_count(len(standings), share, finalists))


def _is_in_training(folder: Path, name: str, rung: Rung, rungs: Sequence[Rung]) -> bool:
    """Return whether a training wrote its progress after the candidate's last result."""
    with suppress(OSError):
        begun = (folder / WORK / name / "progress").stat().st_mtime_ns
        if rung.number == 0:
            return True
        return begun > result_path(folder, name, rungs[rung.number - 1]).stat().st_mtime_ns
    return False


def _best(
    entries: Sequence[dict[str, Any]],
    results: Mapping[str, Sequence[RungResult]],
    rungs: Sequence[Rung],
    family: str,
) -> dict[str, Any] | None:
    """Return the best candidate of the furthest rung, on the last one by the deciding metric."""
    scored = [
        (len(results[one["name"]]), _score(results[one["name"]][-1]), one)
        for one in _own(entries, family)
        if results[one["name"]] and _score(results[one["name"]][-1]) is not None
    ]
    if not scored:
        return None
    reached, score, one = max(scored, key=lambda each: (each[0], each[1], -each[2]["latency_ms"]))
    last = results[one["name"]][-1]
    return {
        "name": one["name"],
        "values": one["values"],
        "steps": rungs[reached - 1].steps,
        "score": score,
        "decides": last.quality is not None,
        "latency_ms": one["latency_ms"],
    }


def _score(result: RungResult) -> float | None:
    return result.score if result.quality is None or result.score is None else result.quality


def _budget(
    folder: Path,
    stored: Mapping[str, Any],
    results: Mapping[str, Sequence[RungResult]],
    rungs: Sequence[Rung],
) -> dict[str, float | None]:
    """Add up the finished trainings; minutes are no limit where all other numbers are given."""
    budget, schedule = stored["budget"], stored["schedule"]
    trials = _trials(folder, schedule["seeds"])
    seconds = sum(each[-1].train_seconds for each in results.values() if each)
    seconds += sum(load_trial(folder / "confirmation", *trial).train_seconds for trial in trials)
    steps = sum(rungs[len(each) - 1].steps for each in results.values() if each)
    steps += len(trials) * schedule["steps"]
    trainings = search_trainings(schedule["candidates"], budget["finalists"], schedule["steps"])
    trainings += (budget["finalists"] + 1) * schedule["seeds"]
    whole = round(trainings * schedule["steps"])
    given = all(budget[name] for name in ("steps", "candidates", "seeds"))
    minutes = None if given else budget["minutes"]
    return {
        "minutes": minutes,
        "minutes_spent": seconds / 60,
        "minutes_left": None if minutes is None else max(0.0, minutes - seconds / 60),
        "steps": whole,
        "steps_spent": steps,
        "steps_left": 0 if (folder / "results.json").is_file() else max(0, whole - steps),
    }


def _arms(folder: Path) -> list[str]:
    path = folder / "confirmation" / "comparison.json"
    return list(read_json(path)["arms"]) if path.is_file() else []


def _trials(folder: Path, seeds: int) -> list[tuple[str, int]]:
    out = folder / "confirmation"
    pairs = [(arm, seed) for arm in _arms(folder) for seed in range(seeds)]
    return [(arm, seed) for arm, seed in pairs if is_finished(out, arm, seed)]


def _confirmation(folder: Path, stored: Mapping[str, Any]) -> dict[str, Any] | None:
    arms, seeds = _arms(folder), stored["schedule"]["seeds"]
    if not arms:
        return None
    out, done = folder / "confirmation", _trials(folder, seeds)
    begun = [
        (arm, seed)
        for arm in arms
        for seed in range(seeds)
        if (arm, seed) not in done and read_progress(out, arm, seed)
    ]
    return {
        "arms": arms,
        "seeds": seeds,
        "trials": len(arms) * seeds,
        "finished": len(done),
        "running": len(begun),
    }


def _quiet_seconds(folder: Path) -> float:
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):  # a running search removes what it no longer needs
            newest = max(newest, path.stat().st_mtime)
    return max(0.0, time.time() - newest)
