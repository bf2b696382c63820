"""What a comparison found, as one page for the browser and as tables for the terminal."""

import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from askew._check import require
from askew.tradeoffs._files import write_text

_PARTS = ("task", "summary", "settings", "versions", "metrics", "arms", "baselines", "trials")
_TIME_UNITS = ("s", "ms", "CPU s", "CPU-s")
_SIZE_UNITS = ("B", "bytes", "kB", "MB", "GB")
_COST_WORDS = {
    "parameters": "parameters",
    "flops_per_step": "training work, FLOP per step",
    "peak_memory_mb": "peak memory of training, MB",
}
_TIMES, _MINUS, _DASH = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}", "\N{EN DASH}"
_ASCII = str.maketrans({_TIMES: "x", _MINUS: "-", _DASH: "-", "±": "+/-", "…": "..."})


class _Grid(NamedTuple):
    """A table in words; `marked` are the rows whose cells differ."""

    title: str
    head: list[str]
    rows: list[list[str]]
    marked: frozenset[int] = frozenset()


class _Finding(NamedTuple):
    """A verdict in words, with the places of its interval in per cent of a card's width."""

    metric: str
    challenger: str
    baseline: str
    effect: str
    interval: str
    verdict: str
    equivalent: str
    equivalence: str
    detectable: str
    reason: str
    picture: dict[str, float] | None


def write_report(results: Mapping[str, object], path: Path) -> None:
    """Write a comparison as one HTML file that needs nothing else, whole or not at all.

    Args:
        results: What results.json holds, version 1.
        path: The file, in a folder that exists.

    Raises:
        ValueError: If the results are of another version or incomplete, or the folder does
            not exist.
        ImportError: If plotly or jinja2 is not installed.
    """
    page = _checked("write_report", results)
    require(path.parent.is_dir(), f"write_report: the folder must exist; got path {path}")
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs

        from askew.tradeoffs import _charts
    except ImportError as error:
        raise ImportError(
            f"write_report: plotly and jinja2 must be installed; got {error}. Install askew[report]"
        ) from None
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = files("askew.tradeoffs").joinpath("report.html.j2").read_text(encoding="utf-8")
    quality, costs = _split_metrics(page)
    write_text(
        path,
        environment.from_string(template).render(
            page=page,
            setting_words=_setting_words(page["settings"]),
            names=[arm["name"] for arm in page["arms"]],
            races=_races(page),
            quality_grid=_quality_grid(page),
            quality=[(m["label"], _charts.quality_charts(page, m)) for m in quality],
            tradeoffs=_charts.tradeoff_charts(page, quality[0], costs) if quality else [],
            cost_grid=_cost_grid(page),
            learning=_charts.learning_charts(page),
            details=[_config_grid(page), _trial_grid(page)],
            about=_setting_grids(page),
            marks=_charts.marks([arm["name"] for arm in page["arms"]]),
            light=_charts.LIGHT,
            dark=_charts.DARK,
            plotly=Markup(get_plotlyjs()),
        ),
    )


def print_results(results: Mapping[str, object], console: Console) -> None:
    """Print a comparison: its sentence, the verdicts, the quality and the costs.

    Args:
        results: What results.json holds, version 1.
        console: Where to; the tables fit 80 columns and plain files.

    Raises:
        ValueError: If the results are of another version or incomplete.
    """
    page = _checked("print_results", results)
    _print(console, page["summary"], style="bold")
    for findings in _races(page):
        _print_grid(console, _verdict_grid(findings, " " if console.width >= 110 else "\n"))
        for reason in dict.fromkeys(finding.reason for finding in findings if finding.reason):
            about = ", ".join(f.metric for f in findings if f.reason == reason)
            _print(console, f"{about}: {reason}", style="dim")
    if page["verdicts"]:
        words = "detects: a true change of this size is found four times in five"
        _print(console, words, style="dim")
    for grid in (_quality_grid(page), _cost_grid(page)):
        _print_grid(console, grid)


def _checked(caller: str, results: Mapping[str, object]) -> dict:
    version = results.get("version")
    require(version == 1, f"{caller}: results must be of version 1; got version {version!r}")
    missing = [part for part in (*_PARTS, "verdicts") if part not in results]
    require(not missing, f"{caller}: results must be complete; got none of {', '.join(missing)}")
    return dict(results)


def _print(console: Console, text: str, *, style: str = "") -> None:
    console.print(Text(_encodable(console, text)), style=style)


def _print_grid(console: Console, grid: _Grid) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in grid.head:
        table.add_column(Text(_encodable(console, name)), overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(_encodable(console, cell)) for cell in row))
    console.print()
    _print(console, grid.title, style="bold")
    console.print(table)


def _encodable(console: Console, text: str) -> str:
    if console.encoding.startswith("utf"):
        return text
    return text.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)


def _split_metrics(page: dict) -> tuple[list[dict], list[dict]]:
    """Tell quality from cost: a cost is what the arms list among theirs."""
    costs = {name for arm in page["arms"] for name in arm["costs"]}
    quality = [metric for metric in page["metrics"] if metric["name"] not in costs]
    return quality, [metric for metric in page["metrics"] if metric["name"] in costs]


def _races(page: dict) -> list[list[_Finding]]:
    """Group the verdicts by challenger, quality first."""
    order = [metric for group in _split_metrics(page) for metric in group]
    pairs = list(dict.fromkeys((v["challenger"], v["baseline"]) for v in page["verdicts"]))
    verdicts = {(v["challenger"], v["baseline"], v["metric"]): v for v in page["verdicts"]}
    return [
        [
            _finding(verdicts[*pair, metric["name"]], metric)
            for metric in order
            if (*pair, metric["name"]) in verdicts
        ]
        for pair in pairs
    ]


def _finding(verdict: dict, metric: dict) -> _Finding:
    spread = None if verdict["low"] is None else verdict["high"] - verdict["low"]
    return _Finding(
        metric=metric["label"],
        challenger=verdict["challenger"],
        baseline=verdict["baseline"],
        effect=_effect(verdict["difference"], metric, spread),
        interval=_interval(verdict, metric, spread),
        verdict=verdict["verdict"] or "no verdict",
        equivalent={True: "yes", False: "no", None: _DASH}[verdict["equivalent"]],
        equivalence=_size(verdict["equivalence"], metric, None),
        detectable=_size(verdict["minimum_detectable"], metric, spread),
        reason=verdict["reason"],
        picture=_picture(verdict),
    )


def _effect(value: float | None, metric: dict, spread: float | None) -> str:
    if value is None:
        return _DASH
    if metric["scale"] == "difference":
        return f"{_signed(value, _decimals(value, spread))} {metric['unit']}".rstrip()
    better, worse, equal = _comparatives(metric)
    factor = _factor(abs(value), spread)
    if factor == _factor(0.0, spread):
        return f"{factor}{_TIMES} as {equal}"
    return f"{factor}{_TIMES} {better if value > 0 else worse}"


def _comparatives(metric: dict) -> tuple[str, str, str]:
    if metric["unit"] in _TIME_UNITS or metric["unit"].endswith("/s"):
        return "faster", "slower", "fast"
    if metric["unit"] in _SIZE_UNITS:
        return "smaller", "larger", "large"
    higher = metric["better"] == "higher"
    return ("higher", "lower", "high") if higher else ("lower", "higher", "low")


def _interval(verdict: dict, metric: dict, spread: float | None) -> str:
    low, high, value = verdict["low"], verdict["high"], verdict["difference"]
    if low is None or value is None:
        return ""
    if metric["scale"] == "difference":
        decimals = _decimals(value, spread)
        return f"{_signed(low, decimals)} to {_signed(high, decimals)}"
    ends = sorted((low, high) if value >= 0 else (-low, -high))
    return _DASH.join(_factor(end, spread) for end in ends)


def _size(value: float | None, metric: dict, spread: float | None) -> str:
    """Word a change without a sign, such as an equivalence."""
    if value is None:
        return _DASH
    if metric["scale"] == "ratio":
        return f"{_factor(value, spread)}{_TIMES}"
    return f"{value:.{_decimals(value, spread)}f} {metric['unit']}".rstrip()


def _factor(log_ratio: float, spread: float | None) -> str:
    factor = math.exp(log_ratio)
    if spread and spread < 0.02:
        return f"{factor:.3f}"
    return f"{factor:.{2 if factor < 10 else 1 if factor < 100 else 0}f}"


def _signed(value: float, decimals: int) -> str:
    text = f"{value:+.{decimals}f}"
    return text.replace("-", _MINUS) if float(text) else text[1:]


def _decimals(value: float, spread: float | None) -> int:
    """Choose the decimals whose last place is at most a third of half the interval."""
    scale = spread / 2 if spread else abs(value)
    return min(4, max(1, -math.floor(math.log10(scale / 3)))) if scale else 2


def _picture(verdict: dict) -> dict[str, float] | None:
    if verdict["low"] is None or verdict["difference"] is None:
        return None
    edge = verdict["equivalence"] or 0.0
    reach = 1.15 * max(abs(verdict["low"]), abs(verdict["high"]), edge) or 1.0
    places = {"low": verdict["low"], "high": verdict["high"], "at": verdict["difference"]}
    places |= {"band_low": -edge, "band_high": edge}
    return {name: round(50 * (1 + value / reach), 2) for name, value in places.items()}


def _verdict_grid(findings: Sequence[_Finding], gap: str) -> _Grid:
    rows = []
    for f in findings:
        interval = f.interval.replace(" to ", ", ")  # so that it stays on one line of 80 columns
        effect = f"{f.effect}{gap}({interval})" if interval else f.effect
        rows.append([f.metric, effect, f.verdict, f.equivalent, f.detectable])
    title = f"{findings[0].challenger} against {findings[0].baseline}"
    return _Grid(title, ["metric", "change (95 %)", "verdict", "equivalent", "detects"], rows)


def _quality_grid(page: dict) -> _Grid:
    metrics = _split_metrics(page)[0]
    rows = [
        [arm["name"], *(_mean_and_range(page, arm["name"], metric["name"]) for metric in metrics)]
        for arm in page["arms"]
    ]
    for name, scores in page["baselines"].items():
        rows.append([name.replace("_", " "), *(_number(scores.get(m["name"])) for m in metrics)])
    return _Grid("Quality: mean over seeds (lowest to highest)", ["", *map(_title, metrics)], rows)


def _mean_and_range(page: dict, arm: str, metric: str) -> str:
    own = [trial["metrics"].get(metric) for trial in page["trials"] if trial["arm"] == arm]
    values = [value for value in own if value is not None]
    if len(values) < 2:
        return _number(values[0] if values else None)
    decimals = _decimals(fmean(values), max(values) - min(values))
    mean, low, high = (f"{f(values):.{decimals}f}" for f in (fmean, min, max))
    return f"{mean} ({low}{_DASH}{high})"


def _cost_grid(page: dict) -> _Grid:
    titles = _COST_WORDS | {metric["name"]: _title(metric) for metric in page["metrics"]}
    names = dict.fromkeys(name for arm in page["arms"] for name in arm["costs"])
    rows = [
        [
            titles.get(name, name.replace("_", " ")),
            *(_number(arm["costs"].get(name)) for arm in page["arms"]),
        ]
        for name in names
    ]
    return _Grid("Costs: mean over seeds", ["", *(arm["name"] for arm in page["arms"])], rows)


def _config_grid(page: dict) -> _Grid:
    configs = [_flat(arm["config"] | {"training": arm.get("training", {})}) for arm in page["arms"]]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    rows = [[key, *(config.get(key, _DASH) for config in configs)] for key in keys]
    marked = frozenset(i for i, row in enumerate(rows) if len(set(row[1:])) > 1)
    return _Grid("Settings of the arms", ["", *(arm["name"] for arm in page["arms"])], rows, marked)


def _trial_grid(page: dict) -> _Grid:
    metrics = [metric for group in _split_metrics(page) for metric in group]
    rows = [
        [trial["arm"], str(trial["seed"])]
        + [_number(trial["metrics"].get(metric["name"])) for metric in metrics]
        for trial in page["trials"]
    ]
    return _Grid("Every trial", ["arm", "seed", *map(_title, metrics)], rows)


def _setting_grids(page: dict) -> list[_Grid]:
    apart = ("command", "signatures")
    settings = {key: value for key, value in page["settings"].items() if key not in apart}
    signatures = page["settings"].get("signatures") or {}
    parts = (
        ("Settings of the comparison", ["setting", "value"], settings),
        ("Signatures of the scorers", ["scorer", "signature"], signatures),
        ("Versions", ["of", "version"], page["versions"]),
    )
    return [
        _Grid(title, head, [[key, value] for key, value in _flat(part).items()])
        for title, head, part in parts
        if part
    ]


def _setting_words(settings: Mapping[str, object]) -> str:
    data, steps = settings.get("data"), settings.get("steps")
    data = data if isinstance(data, Mapping) else {}
    words = [str(data["name"])] if "name" in data else []
    words += [f"{size:,} {part}" for part, size in data.items() if isinstance(size, int)]
    if isinstance(steps, Mapping):
        words.append(
            " or ".join(f"{count:,}" for count in dict.fromkeys(steps.values())) + " steps"
        )
    seeds = settings.get("seeds")
    if isinstance(seeds, Sequence):
        words.append(f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}")
    looked = settings.get("looks")
    if isinstance(looked, Sequence) and len(looked) > 1:
        words.append(f"judged at {', '.join(map(str, looked))} seeds, 95 % for all looks together")
    if settings.get("match"):
        words.append(f"matched by {settings['match']}")
    return " · ".join(words)


def _flat(values: Mapping[str, object], above: str = "") -> dict[str, str]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = _plain(value)
    return flat


def _plain(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _title(metric: Mapping[str, str]) -> str:
    return f"{metric['label']}, {metric['unit']}" if metric["unit"] else metric["label"]


def _number(value: float | None) -> str:
    if value is None:
        return _DASH
    if isinstance(value, int):
        return f"{value:,}"
    for size, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:#.3g} {sign}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")
