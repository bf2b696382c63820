"""The charts of the comparison page, as plotly figures whose colours the page fills in."""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean
from typing import NamedTuple

import plotly.graph_objects as go

LIGHT = {
    "paper": "#fbfaf8",
    "card": "#ffffff",
    "ink": "#1d2125",
    "muted": "#5b636b",
    "rule": "#d9d6d0",
    "join": "#858c93",
    "band": "#ece7dd",
    "good": "#17693f",
    "bad": "#a3262b",
    "unsure": "#5b636b",
    "arm-0": "#0a66a8",
    "arm-1": "#bf4a00",
    "arm-2": "#00765a",
    "arm-3": "#94406f",
    "arm-4": "#6b6100",
}
DARK = {
    "paper": "#14171a",
    "card": "#1c2024",
    "ink": "#e9e7e3",
    "muted": "#a6adb4",
    "rule": "#363c42",
    "join": "#767e86",
    "band": "#2b3137",
    "good": "#63cf97",
    "bad": "#ff8f88",
    "unsure": "#a6adb4",
    "arm-0": "#5fb6f2",
    "arm-1": "#f59e4c",
    "arm-2": "#3fc9a0",
    "arm-3": "#e79bc6",
    "arm-4": "#d6c64a",
}
SYMBOLS = ("circle", "diamond", "square", "triangle-up")
_COLOURS = sum(name.startswith("arm-") for name in LIGHT)
_DASHES = ("solid", "dash", "dot", "dashdot")
_ROW, _BASE = 30, 64  # height of a seed's row, and of everything around the rows, in pixels


class Chart(NamedTuple):
    """A figure with the words around it: above its upright axis, and for who cannot see it."""

    upright: str
    label: str
    figure: dict


def marks(arms: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give every arm a colour and a shape of its own.

    Args:
        arms: Names in the order of the results.

    Returns:
        Per arm the name of its colour in `LIGHT` and `DARK`, and its plotly symbol; the
        pairs repeat only after twenty arms.

    Example:
        >>> marks(["deep", "twin"])
        {'deep': ('arm-0', 'circle'), 'twin': ('arm-1', 'diamond')}
    """
    return {arm: (f"arm-{i % _COLOURS}", SYMBOLS[i % len(SYMBOLS)]) for i, arm in enumerate(arms)}


def axis_words(metric: Mapping[str, str]) -> str:
    """Name a metric as an axis does: what it is, its unit, and which way is better.

    Args:
        metric: One of the results' metrics.

    Returns:
        Words, not escaped.

    Example:
        >>> axis_words({"label": "latency", "unit": "ms", "better": "lower"})
        'latency, ms (lower is better)'
    """
    unit = f", {metric['unit']}" if metric["unit"] else ""
    return f"{metric['label']}{unit} ({metric['better']} is better)"


def seed_values(page: dict, arm: str, metric: str) -> dict[int, float]:
    """Collect one metric of one arm.

    Args:
        page: The results.
        arm: Name of the arm.
        metric: Name of the metric.

    Returns:
        Value per seed, where one was measured.
    """
    own = (trial for trial in page["trials"] if trial["arm"] == arm)
    values = {trial["seed"]: trial["metrics"].get(metric) for trial in own}
    return {seed: value for seed, value in values.items() if value is not None}


def quality_charts(page: dict, metric: dict) -> list[Chart]:
    """Draw one metric: every seed of every arm, then the paired differences of each challenger.

    Args:
        page: The results.
        metric: One of its metrics.

    Returns:
        Charts whose rows are the same seeds; none where nothing was measured.
    """
    values = {arm["name"]: seed_values(page, arm["name"], metric["name"]) for arm in page["arms"]}
    values = {arm: found for arm, found in values.items() if found}
    if not values:
        return []
    verdicts = [v for v in page["verdicts"] if v["metric"] == metric["name"]]
    seeds = sorted(set().union(*values.values()))
    return [_value_chart(page, metric, values, seeds)] + [
        _difference_chart(page, metric, verdict, values, seeds)
        for verdict in verdicts
        if verdict["challenger"] in values and verdict["baseline"] in values
    ]


def tradeoff_charts(page: dict, quality: dict, costs: Sequence[dict]) -> list[Chart]:
    """Draw quality against every cost: small marks are seeds, the large one is their mean.

    Args:
        page: The results.
        quality: The metric that goes upwards.
        costs: The metrics that go to the right.

    Returns:
        One chart per cost that was measured together with the quality.
    """
    charts = [_tradeoff_chart(page, quality, cost) for cost in costs]
    return [chart for chart in charts if chart.figure["data"]]


def learning_charts(page: dict) -> list[Chart]:
    """Draw the loss of every trial against steps and against seconds of training.

    Args:
        page: The results.

    Returns:
        Two charts of the validation loss, of the training loss where no other was recorded,
        or none.
    """
    for loss, words in (("valid_loss", "validation loss"), ("train_loss", "training loss")):
        if any(point.get(loss) is not None for t in page["trials"] for point in t["curve"]):
            return [
                _learning_chart(page, loss, words, "step", "optimizer steps"),
                _learning_chart(page, loss, words, "train_seconds", "CPU seconds of training"),
            ]
    return []


def _value_chart(page: dict, metric: dict, values: dict, seeds: list[int]) -> Chart:
    figure = _figure(axis_words(metric), height=_height(seeds))
    rows = {seed: row for row, seed in enumerate(seeds)}
    pairs = [(seed, [found[seed] for found in values.values() if seed in found]) for seed in seeds]
    ends = [(rows[seed], min(v), max(v)) for seed, v in pairs]
    figure.add_scatter(
        x=[x for _, low, high in ends for x in (low, high, None)],
        y=[y for row, *_ in ends for y in (row, row, None)],
        mode="lines",
        line={"color": "var(--join)", "width": 1.5},
        hoverinfo="skip",
    )
    for arm, found in values.items():
        _add_seeds(figure, page, arm, list(found.values()), [rows[seed] for seed in found])
        _add_mean(figure, page, arm, fmean(found.values()), len(seeds))
    _name_rows(figure, seeds)
    words = "; ".join(
        f"{arm}: mean {fmean(v.values()):.4g}, from {min(v.values()):.4g} to {max(v.values()):.4g}"
        for arm, v in values.items()
    )
    label = f"{metric['label']} of each seed. {words}."
    return Chart("every seed", label, json.loads(figure.to_json()))


def _difference_chart(page: dict, metric: dict, verdict: dict, values: dict, seeds: list) -> Chart:
    challenger, baseline = verdict["challenger"], verdict["baseline"]
    ratio = metric["scale"] == "ratio"
    shown = math.exp if ratio else float
    unit = f", {metric['unit']}" if metric["unit"] and not ratio else ""
    what = "factor" if ratio else "difference"
    figure = _figure(f"{what} in {metric['label']}{unit}", height=_height(seeds))
    edge = verdict["equivalence"]
    if edge:
        figure.add_vrect(
            x0=shown(-edge), x1=shown(edge), fillcolor="var(--band)", line_width=0, layer="below"
        )
    figure.add_scatter(
        x=[shown(0.0)] * 2,
        y=[-1, len(seeds) + 1],
        mode="lines",
        line={"color": "var(--ink)", "width": 1},
        hoverinfo="skip",
    )
    own, other = values[challenger], values[baseline]
    differences = {
        seed: _difference(own[seed], other[seed], metric) for seed in own if seed in other
    }
    rows = [seeds.index(seed) for seed in differences]
    found = [shown(value) for value in differences.values()]
    _add_seeds(figure, page, challenger, found, rows)
    if verdict["low"] is not None:
        figure.add_scatter(
            x=[shown(verdict["low"]), shown(verdict["high"])],
            y=[len(seeds), len(seeds)],
            mode="lines",
            line={"color": f"var(--{_mark(page, challenger)[0]})", "width": 4},
            hovertemplate="end of the 95 % interval: %{x:.4~g}<extra></extra>",
        )
    if verdict["difference"] is not None:
        _add_mean(figure, page, challenger, shown(verdict["difference"]), len(seeds))
    ends = [verdict[end] or 0.0 for end in ("low", "high", "equivalence")]
    reach = 1.12 * max(map(abs, [*differences.values(), *ends])) or 1.0
    if ratio:
        figure.update_xaxes(type="log", range=[-reach / math.log(10), reach / math.log(10)])
    else:
        figure.update_xaxes(range=[-reach, reach])
    _name_rows(figure, seeds)
    return Chart(
        f"{challenger} against {baseline}; right of the line is better",
        f"{metric['label']}: paired {what} of {challenger} against {baseline}, per seed: "
        + ", ".join(f"{value:.3g}" for value in found),
        json.loads(figure.to_json()),
    )


def _tradeoff_chart(page: dict, quality: dict, cost: dict) -> Chart:
    figure = _figure(axis_words(cost), height=320)
    figure.update_yaxes(showgrid=True, automargin=True)
    words = []
    for arm in (arm["name"] for arm in page["arms"]):
        up, right = seed_values(page, arm, quality["name"]), seed_values(page, arm, cost["name"])
        seeds = [seed for seed in up if seed in right]
        if seeds:
            xs, ys = [right[seed] for seed in seeds], [up[seed] for seed in seeds]
            _add_mean(figure, page, arm, fmean(xs), fmean(ys))
            _add_seeds(figure, page, arm, xs, ys, small=True)
            words.append(f"{arm}: {fmean(ys):.4g} at {fmean(xs):.4g}")
    return Chart(
        axis_words(quality),
        f"{quality['label']} against {cost['label']}, means. {'; '.join(words)}.",
        json.loads(figure.to_json()),
    )


def _learning_chart(page: dict, loss: str, words: str, right: str, right_words: str) -> Chart:
    figure = _figure(right_words, height=320)
    figure.update_yaxes(showgrid=True, automargin=True)
    shown, right_end = [], 0.0
    for trial in page["trials"]:
        points = [p for p in trial["curve"] if p.get(loss) is not None and right in p]
        shown += [point[loss] for point in points]
        right_end = max([right_end, *(point[right] for point in points)])
        arms = [arm["name"] for arm in page["arms"]]
        figure.add_scatter(
            x=[point[right] for point in points],
            y=[point[loss] for point in points],
            mode="lines",
            opacity=0.85,
            line={
                "color": f"var(--{_mark(page, trial['arm'])[0]})",
                "width": 1.6,
                "dash": _DASHES[arms.index(trial["arm"]) % len(_DASHES)],
            },
            hovertemplate=f"{_words(trial['arm'])}, seed {trial['seed']}<br>"
            "%{y:.4~g} at %{x:,.4~r}<extra></extra>",
        )
    if shown and min(shown) > 0 and max(shown) > 8 * min(shown):
        powers = range(math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown))) + 1)
        figure.update_yaxes(type="log", tickvals=[n * 10**p for p in powers for n in (1, 2, 5)])
    figure.update_xaxes(range=[0.0, 1.04 * right_end or 1.0])
    label = f"{words} of {len(page['trials'])} trials against {right_words}."
    return Chart(words, label, json.loads(figure.to_json()))


def _figure(right: str, *, height: int) -> go.Figure:
    figure = go.Figure(layout={"template": "none"})
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 16, "t": 10, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": "var(--muted)"},
        hoverlabel={
            "bgcolor": "var(--card)",
            "bordercolor": "var(--join)",
            "font": {"color": "var(--ink)"},
        },
        hovermode="closest",
        dragmode=False,
        showlegend=False,
    )
    axis = {
        "gridcolor": "var(--rule)",
        "linecolor": "var(--rule)",
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
        "ticks": "",
    }
    title = {"text": _words(right), "standoff": 10, "font": {"size": 13}}
    figure.update_xaxes(**axis, title=title, nticks=6, showline=True)
    figure.update_yaxes(**axis)
    return figure


def _add_seeds(
    figure: go.Figure,
    page: dict,
    arm: str,
    xs: Sequence[float],
    ys: Sequence[float],
    *,
    small: bool = False,
) -> None:
    colour, symbol = _mark(page, arm)
    figure.add_scatter(
        x=xs,
        y=ys,
        mode="markers",
        marker={
            "color": f"var(--{colour})",
            "symbol": symbol,
            "size": 8 if small else 10,
            "line": {"color": "var(--paper)", "width": 1},
        },
        hovertemplate=f"{_words(arm)}: %{{x:.4~g}}<extra></extra>",
    )


def _add_mean(figure: go.Figure, page: dict, arm: str, x: float, y: float) -> None:
    colour, symbol = _mark(page, arm)
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={
            "color": f"var(--{colour})",
            "symbol": symbol,
            "size": 17,
            "line": {"color": "var(--paper)", "width": 2},
        },
        hovertemplate=f"{_words(arm)}, mean: %{{x:.4~g}}<extra></extra>",
    )


def _name_rows(figure: go.Figure, seeds: Sequence[int]) -> None:
    count = len(seeds)
    figure.add_hline(y=count - 0.5, line={"color": "var(--rule)", "width": 1}, layer="below")
    figure.update_yaxes(
        tickvals=list(range(count + 1)),
        ticktext=[f"seed {seed}" for seed in seeds] + ["mean"],
        range=[count + 0.6, -0.6],
        showgrid=False,
    )


def _height(seeds: Sequence[int]) -> int:
    return _BASE + _ROW * (len(seeds) + 1)


def _difference(challenger: float, baseline: float, metric: dict) -> float:
    change = (
        math.log(challenger / baseline) if metric["scale"] == "ratio" else challenger - baseline
    )
    return change if metric["better"] == "higher" else -change


def _mark(page: dict, arm: str) -> tuple[str, str]:
    return marks([entry["name"] for entry in page["arms"]])[arm]


def _words(text: str) -> str:
    """Break and escape words for plotly, which reads its own dialect of HTML."""
    whole = text.replace(" is better", "\N{NO-BREAK SPACE}is\N{NO-BREAK SPACE}better")
    lines = textwrap.wrap(whole, 44, max_lines=3, placeholder=" …")
    return "<br>".join(escape(line, quote=False) for line in lines)
