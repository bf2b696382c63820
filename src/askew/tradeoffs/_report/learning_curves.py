"""Learning curves against steps, time and work."""

import json
import math
from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

import plotly.graph_objects as go

from askew.tradeoffs._report.chart_style import Chart, mark_of, new_figure, plotly_words
from askew.tradeoffs._report.language import Language

_DASHES = ("solid", "dash", "dot", "dashdot")


class _Line(NamedTuple):
    arm: str
    seed: int
    xs: list[float]
    ys: list[float]


def learning_charts(results: dict, say: Language) -> list[tuple[str, Chart]]:
    """Draw the loss of every trial against steps, CPU time and training work, as recorded.

    It is the validation loss, or the training loss if no validation loss was recorded.
    """
    work = {arm["name"]: arm["costs"].get("flops_per_step") for arm in results["arms"]}
    axes: dict[str, Callable[[str, dict], float | None]] = {
        "steps": lambda _, point: point.get("step"),
        "seconds": lambda _, point: point.get("train_seconds"),
        "work": lambda arm, point: None if work[arm] is None else work[arm] * point["step"],
    }
    for loss in ("valid_loss", "train_loss"):
        if any(point.get(loss) is not None for t in results["trials"] for point in t["curve"]):
            lines_of = {axis: _lines(results, loss, x_of) for axis, x_of in axes.items()}
            return [
                (say[f"against_{axis}"], _chart(results, say, loss, say[f"axis_{axis}"], lines))
                for axis, lines in lines_of.items()
                if lines
            ]
    return []


def _lines(results: dict, loss: str, x_of: Callable[[str, dict], float | None]) -> list[_Line]:
    lines = []
    for trial in results["trials"]:
        points = [(x_of(trial["arm"], p), p.get(loss)) for p in trial["curve"]]
        points = [(x, y) for x, y in points if x is not None and y is not None]
        if points:
            xs, ys = zip(*points, strict=True)
            lines.append(_Line(trial["arm"], trial["seed"], list(xs), list(ys)))
    return lines


def _chart(results: dict, say: Language, loss: str, x_title: str, lines: list[_Line]) -> Chart:
    figure = new_figure(say, x_title, height=360)
    figure.update_yaxes(showgrid=True)
    figure.update_xaxes(exponentformat="SI", minexponent=4)
    several = len({line.seed for line in lines}) > 1
    for line in lines:
        name = say["curve_point"].format(arm=line.arm, seed=line.seed)
        _add_line(figure, results, line, name, thick=not several)
    if several:
        for arm in dict.fromkeys(line.arm for line in lines):
            curves = [line for line in lines if line.arm == arm]
            if len({len(line.xs) for line in curves}) == 1:
                xs = [fmean(column) for column in zip(*(line.xs for line in curves), strict=True)]
                ys = [fmean(column) for column in zip(*(line.ys for line in curves), strict=True)]
                mean = _Line(arm, -1, xs, ys)
                _add_line(figure, results, mean, say["arm_mean"].format(arm=arm), thick=True)
    shown = [y for line in lines for y in line.ys]
    if min(shown) > 0 and max(shown) > 8 * min(shown):
        powers = range(math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown))) + 1)
        figure.update_yaxes(type="log", tickvals=[n * 10**p for p in powers for n in (1, 2, 5)])
    figure.update_xaxes(range=[0.0, 1.04 * max(x for line in lines for x in line.xs) or 1.0])
    label = say["curves_label"].format(loss=say[loss], trials=len(lines), right=x_title)
    return Chart(say[loss], label, json.loads(figure.to_json()))


def _add_line(figure: go.Figure, results: dict, line: _Line, name: str, *, thick: bool) -> None:
    arms = [arm["name"] for arm in results["arms"]]
    figure.add_scatter(
        x=line.xs,
        y=line.ys,
        mode="lines",
        opacity=1.0 if thick else 0.4,
        line={
            "color": f"var(--{mark_of(results, line.arm)[0]})",
            "width": 2.6 if thick else 1.2,
            "dash": _DASHES[arms.index(line.arm) % len(_DASHES)],
        },
        hovertemplate=f"{plotly_words(name)}<br>%{{y:.4~g}}; %{{x:.4~s}}<extra></extra>",
    )
