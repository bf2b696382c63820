"""The tables of a report, as rows of words."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from askew.tradeoffs._report.cards import Finding
from askew.tradeoffs._report.language import DASH, Language, decimals, number, percent, unsigned
from askew.tradeoffs._report.results_view import pairs_of, seed_values, split_metrics, title


class Grid(NamedTuple):
    """A table in words; `marked` are the rows whose cells differ."""

    title: str
    head: list[str]
    rows: list[list[str]]
    marked: frozenset[int] = frozenset()


def verdict_grid(say: Language, findings: Sequence[Finding], gap: str) -> Grid:
    """Tell the verdicts on one challenger; `gap` stands before an interval."""
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
    return Grid(against, [name if name is change else say[name] for name in names], rows)


def overview_grid(say: Language, found: Sequence[tuple[str, str, Sequence[Finding]]]) -> Grid:
    """Tell the first verdict on every challenger of every run: (run, task, findings)."""
    rows = []
    for run, task, findings in found:
        first = findings[0]
        effect = f"{first.effect} ({first.interval})" if first.interval else first.effect
        against = say["against"].format(challenger=first.challenger, baseline=first.baseline)
        rows.append([run, first.verdict, first.metric, effect, first.sign, against, task])
    keys = ("run", "verdict", "metric", "change_interval", "seeds_for", "arms", "task")
    return Grid(say["overview"], [say[key] for key in keys], rows)


def quality_grid(page: dict, say: Language) -> Grid:
    """Tell mean and range of every arm on every quality metric."""
    metrics = split_metrics(page)[0]
    rows = [
        [arm["name"], *(_mean_and_range(page, say, arm["name"], m["name"]) for m in metrics)]
        for arm in page["arms"]
    ]
    for name, scores in page["baselines"].items():
        cells = [number(say, scores.get(metric["name"])) for metric in metrics]
        rows.append([say.name(name.replace("_", " ")), *cells])
    return Grid(say["quality_range"], ["", *map(title, metrics)], rows)


def _mean_and_range(page: dict, say: Language, arm: str, metric: str) -> str:
    values = list(seed_values(page, arm, metric).values())
    if len(values) < 2:
        return number(say, values[0] if values else None)
    places = decimals(fmean(values), max(values) - min(values))
    mean, low, high = (unsigned(say, f(values), places) for f in (fmean, min, max))
    return f"{mean} ({low}{DASH}{high})"


def cost_grid(page: dict, say: Language) -> Grid:
    """Tell the mean of every cost of every arm."""
    titles = {
        "parameters": say["parameters"],
        "flops_per_step": say["step_work"],
        "peak_memory_mb": say["peak_memory"],
    }
    titles |= {metric["name"]: title(metric) for metric in page["metrics"]}
    names = dict.fromkeys(name for arm in page["arms"] for name in arm["costs"])
    rows = [
        [
            titles.get(name, name.replace("_", " ")),
            *(number(say, arm["costs"].get(name)) for arm in page["arms"]),
        ]
        for name in names
    ]
    return Grid(say["costs_mean"], ["", *(arm["name"] for arm in page["arms"])], rows)


def config_grid(page: dict, say: Language) -> Grid:
    """Tell the settings of every arm, marked where they differ."""
    own = [{"training": arm["training"]} if arm.get("training") else {} for arm in page["arms"]]
    configs = [
        _flat(arm["config"] | more, say) for arm, more in zip(page["arms"], own, strict=True)
    ]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    rows = [[key, *(config.get(key, DASH) for config in configs)] for key in keys]
    marked = frozenset(i for i, row in enumerate(rows) if len(set(row[1:])) > 1)
    arms = [arm["name"] for arm in page["arms"]]
    return Grid(say["settings_of_arms"], ["", *arms], rows, marked)


def tuning_grid(page: dict, say: Language) -> Grid:
    """Tell what tuning tried before the comparison, and what it chose."""
    rows = [
        [
            arm,
            number(say, len(found["draws"])),
            number(say, found["given"]),
            number(say, _best(found["draws"])),
            "; ".join(f"{k} {_plain(v, say)}" for k, v in (found["best"] or {}).items())
            or say["as_given"],
        ]
        for arm, found in page.get("tuning", {}).items()
    ]
    keys = ("arm", "draws", "given_score", "best_score", "chosen")
    return Grid(say["tuning"], [say[key] for key in keys], rows)


def _best(draws: Sequence[dict]) -> float | None:
    return max((d["score"] for d in draws if d["score"] is not None), default=None)


def trial_grid(page: dict, say: Language) -> Grid:
    """Tell every figure of every trial."""
    metrics = [metric for group in split_metrics(page) for metric in group]
    rows = [
        [trial["arm"], str(trial["seed"])]
        + [number(say, trial["metrics"].get(metric["name"])) for metric in metrics]
        for trial in page["trials"]
    ]
    return Grid(say["every_trial"], [say["arm"], say["seed"], *map(title, metrics)], rows)


def setting_grids(page: dict, say: Language) -> list[Grid]:
    """Tell the settings of the comparison, the signatures of its scorers and the versions."""
    apart = ("command", "signatures")
    settings = {key: value for key, value in page["settings"].items() if key not in apart}
    signatures = page["settings"].get("signatures") or {}
    parts = (
        (say["settings_of_comparison"], [say["setting"], say["value"]], settings),
        (say["signatures"], [say["scorer"], say["signature"]], signatures),
        (say["versions"], [say["of"], say["version"]], page["versions"]),
    )
    return [
        Grid(name, head, [[key, value] for key, value in _flat(part, say).items()])
        for name, head, part in parts
        if part
    ]


def setting_words(page: dict, say: Language) -> str:
    """Tell data, budget, seeds and what the arms have in common, in one line."""
    settings = page["settings"]
    data, steps = settings.get("data"), settings.get("steps")
    data = data if isinstance(data, Mapping) else {}
    words = [str(data["name"])] if "name" in data else []
    words += [
        f"{number(say, size)} {say.name(part)}"
        for part, size in data.items()
        if isinstance(size, int)
    ]
    if isinstance(steps, Mapping):
        counts = say["or"].join(number(say, count) for count in dict.fromkeys(steps.values()))
        words.append(say["in_steps"].format(steps=counts))
    seeds = settings.get("seeds")
    if isinstance(seeds, Sequence):
        several = "in_one_seed" if len(seeds) == 1 else "in_seeds"
        words.append(say[several].format(seeds=len(seeds)))
    looked = settings.get("looks")
    if isinstance(looked, Sequence) and len(looked) > 1:
        words.append(say["judged_at"].format(looks=", ".join(map(str, looked))))
    challengers = len(pairs_of(page))
    if settings.get("correction") == "bonferroni" and challengers > 1:
        each = percent(say, settings.get("confidence", 1 - 0.05 / challengers))
        words.append(say["shared_error"].format(percent=each, challengers=challengers))
    if settings.get("match"):
        words.append(say["matched_by"].format(what=say.name(str(settings["match"]))))
    return " · ".join(words)


def _flat(values: Mapping[str, object], say: Language, above: str = "") -> dict[str, str]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, say, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = _plain(value, say)
    return flat


def _plain(value: object, say: Language) -> str:
    if value is None:
        return say["none"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
