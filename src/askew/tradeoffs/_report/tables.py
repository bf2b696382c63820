"""The tables of a report, as rows of text."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from askew.tradeoffs._report.cards import Finding
from askew.tradeoffs._report.language import DASH, Language, decimals, number, percent, unsigned
from askew.tradeoffs._report.results_view import pairs_of, seed_values, split_metrics, title


class Table(NamedTuple):
    """A table of text; `marked` are the rows whose cells differ."""

    title: str
    head: list[str]
    rows: list[list[str]]
    marked: frozenset[int] = frozenset()


def verdict_table(say: Language, findings: Sequence[Finding], gap: str) -> Table:
    """List the verdicts on one challenger; `gap` stands before an interval."""
    rows = []
    yes_no = {True: say["yes"], False: say["no"], None: DASH}
    between = say["from_to"].format(low="", high="")  # a comma stays on one line of 80 columns
    for f in findings:
        interval = f.interval.replace(between, ", ")
        effect = f"{f.effect}{gap}({interval})" if interval else f.effect
        equivalent = yes_no[f.equivalent]
        rows.append([f.metric, effect, f.verdict, equivalent, f.sign, f.detectable])
    against = say["against"].format(
        challenger=findings[0].challenger, baseline=findings[0].baseline
    )
    change = say["change"].format(percent=findings[0].percent)
    names = ("metric", change, "verdict", "equivalent", "seeds_for", "detects")
    return Table(against, [name if name is change else say[name] for name in names], rows)


def overview_table(say: Language, runs: Sequence[tuple[str, str, Sequence[Finding]]]) -> Table:
    """List the first verdict on every challenger of every run: (run, task, findings)."""
    rows = []
    for run, task, findings in runs:
        first = findings[0]
        effect = f"{first.effect} ({first.interval})" if first.interval else first.effect
        against = say["against"].format(challenger=first.challenger, baseline=first.baseline)
        rows.append([run, first.verdict, first.metric, effect, first.sign, against, task])
    keys = ("run", "verdict", "metric", "change_interval", "seeds_for", "arms", "task")
    return Table(say["overview"], [say[key] for key in keys], rows)


def quality_table(results: dict, say: Language) -> Table:
    """List mean and range of every arm on every quality metric."""
    metrics = split_metrics(results)[0]
    rows = [
        [arm["name"], *(_mean_and_range(results, say, arm["name"], m["name"]) for m in metrics)]
        for arm in results["arms"]
    ]
    for name, scores in results["baselines"].items():
        cells = [number(say, scores.get(metric["name"])) for metric in metrics]
        rows.append([say.name(name.replace("_", " ")), *cells])
    return Table(say["quality_range"], ["", *map(title, metrics)], rows)


def _mean_and_range(results: dict, say: Language, arm: str, metric: str) -> str:
    values = list(seed_values(results, arm, metric).values())
    if len(values) < 2:
        return number(say, values[0] if values else None)
    places = decimals(fmean(values), max(values) - min(values))
    mean, low, high = (unsigned(say, f(values), places) for f in (fmean, min, max))
    return f"{mean} ({low}{DASH}{high})"


def cost_table(results: dict, say: Language) -> Table:
    """List the mean of every cost of every arm."""
    titles = {
        "parameters": say["parameters"],
        "flops_per_step": say["step_work"],
        "peak_memory_mb": say["peak_memory"],
    }
    titles |= {metric["name"]: title(metric) for metric in results["metrics"]}
    names = dict.fromkeys(name for arm in results["arms"] for name in arm["costs"])
    rows = [
        [
            titles.get(name, name.replace("_", " ")),
            *(number(say, arm["costs"].get(name)) for arm in results["arms"]),
        ]
        for name in names
    ]
    return Table(say["costs_mean"], ["", *(arm["name"] for arm in results["arms"])], rows)


def config_table(results: dict, say: Language) -> Table:
    """List the settings of every arm; rows that differ are marked."""
    more = [{"training": arm["training"]} if arm.get("training") else {} for arm in results["arms"]]
    configs = [
        _flat(arm["config"] | training, say)
        for arm, training in zip(results["arms"], more, strict=True)
    ]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    rows = [[key, *(config.get(key, DASH) for config in configs)] for key in keys]
    marked = frozenset(i for i, row in enumerate(rows) if len(set(row[1:])) > 1)
    arms = [arm["name"] for arm in results["arms"]]
    return Table(say["settings_of_arms"], ["", *arms], rows, marked)


def tuning_table(results: dict, say: Language) -> Table:
    """List what tuning tried before the comparison, and what it chose."""
    rows = [
        [
            arm,
            number(say, len(tuned["draws"])),
            number(say, tuned["given"]),
            number(say, _best(tuned["draws"])),
            "; ".join(f"{k} {_plain(v, say)}" for k, v in (tuned["best"] or {}).items())
            or say["as_given"],
        ]
        for arm, tuned in results.get("tuning", {}).items()
    ]
    keys = ("arm", "draws", "given_score", "best_score", "chosen")
    return Table(say["tuning"], [say[key] for key in keys], rows)


def _best(draws: Sequence[dict]) -> float | None:
    return max((d["score"] for d in draws if d["score"] is not None), default=None)


def trial_table(results: dict, say: Language) -> Table:
    """List every figure of every trial."""
    metrics = [metric for group in split_metrics(results) for metric in group]
    rows = [
        [trial["arm"], _seed(trial, say)]
        + [number(say, trial["metrics"].get(metric["name"])) for metric in metrics]
        for trial in results["trials"]
    ]
    return Table(say["every_trial"], [say["arm"], say["seed"], *map(title, metrics)], rows)


def _seed(trial: dict, say: Language) -> str:
    """Name the seed of a trial, and that it diverged if it did."""
    return f"{trial['seed']}" + (f" ({say['diverged']})" if "diverged" in trial else "")


def setting_tables(results: dict, say: Language) -> list[Table]:
    """List the settings of the comparison, the signatures of its scorers and the versions."""
    shown_elsewhere = ("command", "signatures")
    settings = {
        key: value for key, value in results["settings"].items() if key not in shown_elsewhere
    }
    signatures = results["settings"].get("signatures") or {}
    tables = (
        (say["settings_of_comparison"], [say["setting"], say["value"]], settings),
        (say["signatures"], [say["scorer"], say["signature"]], signatures),
        (say["versions"], [say["of"], say["version"]], results["versions"]),
    )
    return [
        Table(name, head, [[key, value] for key, value in _flat(values, say).items()])
        for name, head, values in tables
        if values
    ]


def setting_words(results: dict, say: Language) -> str:
    """Summarise data, budget, seeds and how the arms were matched, in one line."""
    settings = results["settings"]
    data, steps = settings.get("data"), settings.get("steps")
    data = data if isinstance(data, Mapping) else {}
    words = [str(data["name"])] if "name" in data else []
    words += [
        f"{number(say, size)} {say.name(split)}"
        for split, size in data.items()
        if isinstance(size, int)
    ]
    if isinstance(steps, Mapping):
        counts = say["or"].join(number(say, count) for count in dict.fromkeys(steps.values()))
        words.append(say["in_steps"].format(steps=counts))
    seeds = settings.get("seeds")
    if isinstance(seeds, Sequence):
        several = "in_one_seed" if len(seeds) == 1 else "in_seeds"
        words.append(say[several].format(seeds=len(seeds)))
    looks = settings.get("looks")
    if isinstance(looks, Sequence) and len(looks) > 1:
        words.append(say["judged_at"].format(looks=", ".join(map(str, looks))))
    challengers = len(pairs_of(results))
    if settings.get("correction") == "bonferroni" and challengers > 1:
        each = percent(say, settings.get("confidence", 1 - 0.05 / challengers))
        words.append(say["shared_error"].format(percent=each, challengers=challengers))
    if settings.get("match"):
        words.append(say["matched_by"].format(what=say.name(str(settings["match"]))))
    return " · ".join(words)


def _flat(values: Mapping[str, object], say: Language, prefix: str = "") -> dict[str, str]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, say, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = _plain(value, say)
    return flat


def _plain(value: object, say: Language) -> str:
    if value is None:
        return say["none"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
