"""The charts of quality: every seed, the paired differences, and the items."""

import json
import math
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
import plotly.graph_objects as go

from askew.tradeoffs._report.chart_style import (
    Chart,
    add_mean,
    add_seeds,
    axis_words,
    mark_of,
    new_figure,
    plotly_words,
)
from askew.tradeoffs._report.item_differences import histogram
from askew.tradeoffs._report.language import Language, number, percent
from askew.tradeoffs._report.results_view import seed_values

_ROW, _BASE = 30, 64  # height of a seed's row, and of everything around the rows, in pixels


def quality_charts(results: dict, metric: dict, say: Language) -> list[Chart]:
    """Draw one metric: every seed of every arm, then the paired differences of each challenger.

    The rows of all charts are the same seeds.
    """
    values = {
        arm["name"]: seed_values(results, arm["name"], metric["name"]) for arm in results["arms"]
    }
    values = {arm: by_seed for arm, by_seed in values.items() if by_seed}
    if not values:
        return []
    verdicts = [v for v in results["verdicts"] if v["metric"] == metric["name"]]
    seeds = sorted(set().union(*values.values()))
    return [_value_chart(results, metric, values, seeds, say)] + [
        _difference_chart(results, metric, verdict, values, seeds, say)
        for verdict in verdicts
        if verdict["challenger"] in values and verdict["baseline"] in values
    ]


def item_chart(
    results: dict, metric: dict, challenger: str, differences: np.ndarray, say: Language
) -> Chart:
    """Draw a histogram around zero of the differences of the items, better above zero."""
    middles, counts = histogram(differences)
    unit = f", {metric['unit']}" if metric["unit"] else ""
    x_title = say["difference_in"].format(label=metric["label"]) + unit
    figure = new_figure(say, x_title, height=260)
    figure.add_bar(
        x=middles.tolist(),
        y=counts.tolist(),
        marker={"color": f"var(--{mark_of(results, challenger)[0]})"},
        hovertemplate="%{y} " + plotly_words(say["items"]) + ", %{x:.3~g}<extra></extra>",
    )
    figure.add_vline(x=0, line={"color": "var(--ink)", "width": 1})
    figure.update_layout(bargap=0.08)
    figure.update_yaxes(showgrid=True, rangemode="tozero")
    label = f"{x_title}: {say['items_histogram']}"
    return Chart(say["items_histogram"], label, json.loads(figure.to_json()))


def _value_chart(
    results: dict, metric: dict, values: dict, seeds: list[int], say: Language
) -> Chart:
    figure = new_figure(say, axis_words(metric, say), height=_height(seeds))
    rows = {seed: row for row, seed in enumerate(seeds)}
    pairs = [
        (seed, [by_seed[seed] for by_seed in values.values() if seed in by_seed]) for seed in seeds
    ]
    ends = [(rows[seed], min(v), max(v)) for seed, v in pairs]
    figure.add_scatter(
        x=[x for _, low, high in ends for x in (low, high, None)],
        y=[y for row, *_ in ends for y in (row, row, None)],
        mode="lines",
        line={"color": "var(--join)", "width": 1.5},
        hoverinfo="skip",
    )
    words = []
    for arm, by_seed in values.items():
        scores = list(by_seed.values())
        add_seeds(figure, results, arm, scores, [rows[seed] for seed in by_seed])
        add_mean(figure, results, say, arm, fmean(scores), len(seeds))
        mean, low, high = (number(say, float(f(scores))) for f in (fmean, min, max))
        words.append(say["arm_range"].format(arm=arm, mean=mean, low=low, high=high))
    _name_rows(figure, seeds, say)
    label = say["each_seed_label"].format(label=metric["label"], words="; ".join(words))
    return Chart(say["every_seed"], label, json.loads(figure.to_json()))


def _difference_chart(
    results: dict, metric: dict, verdict: dict, values: dict, seeds: list, say: Language
) -> Chart:
    challenger, baseline = verdict["challenger"], verdict["baseline"]
    ratio = metric["scale"] == "ratio"
    on_axis = math.exp if ratio else float
    unit = f", {metric['unit']}" if metric["unit"] and not ratio else ""
    label = say["factor_in" if ratio else "difference_in"].format(label=metric["label"])
    figure = new_figure(say, f"{label}{unit}", height=_height(seeds))
    _add_reference(figure, verdict["equivalence"], on_axis, len(seeds))
    ours, theirs = values[challenger], values[baseline]
    differences = {
        seed: _difference(ours[seed], theirs[seed], metric) for seed in ours if seed in theirs
    }
    rows = [seeds.index(seed) for seed in differences]
    shown = [on_axis(value) for value in differences.values()]
    add_seeds(figure, results, challenger, shown, rows)
    _add_interval(figure, results, verdict, on_axis, len(seeds), say)
    ends = [verdict[end] or 0.0 for end in ("low", "high", "equivalence")]
    reach = 1.12 * max(map(abs, [*differences.values(), *ends])) or 1.0
    if ratio:
        figure.update_xaxes(type="log", range=[-reach / math.log(10), reach / math.log(10)])
    else:
        figure.update_xaxes(range=[-reach, reach])
    _name_rows(figure, seeds, say)
    pair = say["against"].format(challenger=challenger, baseline=baseline)
    numbers = "; ".join(say.digits(f"{value:.3g}") for value in shown)
    return Chart(
        say["right_is_better"].format(pair=pair),
        say["paired_label"].format(what=label, pair=pair, values=numbers),
        json.loads(figure.to_json()),
    )


def _add_reference(
    figure: go.Figure, edge: float | None, on_axis: Callable[[float], float], rows: int
) -> None:
    """Add the line of no difference, and the band of differences that count as none."""
    if edge:
        figure.add_vrect(
            x0=on_axis(-edge),
            x1=on_axis(edge),
            fillcolor="var(--band)",
            line_width=0,
            layer="below",
        )
    figure.add_scatter(
        x=[on_axis(0.0)] * 2,
        y=[-1, rows + 1],
        mode="lines",
        line={"color": "var(--ink)", "width": 1},
        hoverinfo="skip",
    )


def _add_interval(
    figure: go.Figure,
    results: dict,
    verdict: dict,
    on_axis: Callable[[float], float],
    row: int,
    say: Language,
) -> None:
    """Add the mean difference of a verdict and its interval, as far as it has them."""
    challenger = verdict["challenger"]
    if verdict["low"] is not None:
        end = say["interval_end"].format(percent=percent(say, verdict["confidence"]))
        figure.add_scatter(
            x=[on_axis(verdict["low"]), on_axis(verdict["high"])],
            y=[row, row],
            mode="lines",
            line={"color": f"var(--{mark_of(results, challenger)[0]})", "width": 4},
            hovertemplate=f"{plotly_words(end)}: %{{x:.4~g}}<extra></extra>",
        )
    if verdict["difference"] is not None:
        add_mean(figure, results, say, challenger, on_axis(verdict["difference"]), row)


def _name_rows(figure: go.Figure, seeds: Sequence[int], say: Language) -> None:
    count = len(seeds)
    figure.add_hline(y=count - 0.5, line={"color": "var(--rule)", "width": 1}, layer="below")
    figure.update_yaxes(
        tickvals=list(range(count + 1)),
        ticktext=[*(say["seed_row"].format(seed=seed) for seed in seeds), say["mean"]],
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
