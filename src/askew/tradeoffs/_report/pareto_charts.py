"""Charts of quality against cost, with intervals and a mark for dominated arms."""

import json
from collections.abc import Sequence
from statistics import fmean, geometric_mean

import plotly.graph_objects as go

from askew.tradeoffs._report.cards import position
from askew.tradeoffs._report.chart_style import (
    Chart,
    add_mean,
    add_seeds,
    axis_words,
    mark_of,
    new_figure,
)
from askew.tradeoffs._report.language import Language, number, ratio_of
from askew.tradeoffs._report.results_view import pairs_of, seed_values, verdict_on


def tradeoff_charts(
    results: dict, quality: dict, costs: Sequence[dict], say: Language
) -> list[Chart]:
    """Draw quality against every cost on the same seeds: small marks are seeds, large ones means.

    The cross of a challenger is the interval of its paired difference, added to the mean of its
    baseline; it reaches the dotted line of the baseline if that difference is not certain. Means
    are geometric for metrics that are compared by ratio, as in their verdicts.
    """
    charts = [_tradeoff_chart(results, quality, cost, say) for cost in costs]
    return [chart for chart in charts if chart.figure["data"]]


def _tradeoff_chart(results: dict, quality: dict, cost: dict, say: Language) -> Chart:
    figure = new_figure(say, axis_words(cost, say), height=330)
    figure.update_yaxes(showgrid=True)
    points = _points(results, quality, cost)
    middles = {arm: (_middle(cost, xs), _middle(quality, ys)) for arm, (xs, ys) in points.items()}
    dominated, notes = set(), []
    for pair in pairs_of(results):
        if not set(pair) <= set(points):
            continue
        verdicts = [verdict_on(results, *pair, metric["name"]) for metric in (cost, quality)]
        _add_cross(figure, results, pair, middles, verdicts, (cost, quality))
        standing = position(verdicts)
        if standing:
            words = say["against"].format(challenger=pair[0], baseline=pair[1])
            notes.append(say["position"].format(pair=words, position=say[standing]))
        if standing in ("dominates", "dominated"):
            dominated.add(pair[1] if standing == "dominates" else pair[0])
    words = []
    for arm, (xs, ys) in points.items():
        add_seeds(figure, results, arm, xs, ys, small=True)
        add_mean(figure, results, say, arm, *middles[arm], hollow=arm in dominated)
        at = {"up": number(say, middles[arm][1]), "right": number(say, middles[arm][0])}
        words.append(say["pareto_at"].format(arm=arm, **at))
    _fit_axes(figure)
    label = say["pareto_label"].format(
        up=quality["label"], right=cost["label"], words="; ".join([*words, *notes])
    )
    note = "; ".join(notes)
    return Chart(axis_words(quality, say), label, json.loads(figure.to_json()), note)


def _points(results: dict, quality: dict, cost: dict) -> dict[str, tuple[list, list]]:
    """Collect the costs and the qualities of every arm, of the seeds that have both."""
    points = {}
    for arm in (arm["name"] for arm in results["arms"]):
        ys, xs = (seed_values(results, arm, metric["name"]) for metric in (quality, cost))
        seeds = [seed for seed in ys if seed in xs]
        if seeds:
            points[arm] = [xs[seed] for seed in seeds], [ys[seed] for seed in seeds]
    return points


def _fit_axes(figure: go.Figure) -> None:
    traces = figure.to_dict()["data"]
    figure.update_xaxes(range=_range([x for trace in traces for x in trace["x"]]))
    figure.update_yaxes(range=_range([y for trace in traces for y in trace["y"]]))


def _middle(metric: dict, values: Sequence[float]) -> float:
    ratio = metric["scale"] == "ratio" and min(values) > 0
    return geometric_mean(values) if ratio else fmean(values)


def _range(values: Sequence[float]) -> list[float] | None:
    """Choose the range of an axis; values that differ in their last bits only lie in its middle."""
    if not values:
        return None
    low, high = min(values), max(values)
    wide = high - low > 1e-6 * max(abs(low), abs(high))
    margin = 0.08 * (high - low) if wide else 0.1 * abs(high) or 1.0
    return [low - margin, high + margin]


def _add_cross(
    figure: go.Figure,
    results: dict,
    pair: tuple[str, str],
    middles: dict[str, tuple[float, float]],
    verdicts: Sequence[dict | None],
    metrics: Sequence[dict],
) -> None:
    challenger, baseline = pair
    line = {"color": "var(--join)", "width": 1, "dash": "dot"}
    figure.add_vline(x=middles[baseline][0], line=line, layer="below")
    figure.add_hline(y=middles[baseline][1], line=line, layer="below")
    for place, (verdict, metric) in enumerate(zip(verdicts, metrics, strict=True)):
        if verdict is None or verdict["low"] is None:
            continue
        other = middles[challenger][1 - place]
        ends = [_moved(middles[baseline][place], verdict[end], metric) for end in ("low", "high")]
        across = [other, other]
        figure.add_scatter(
            x=across if place else ends,
            y=ends if place else across,
            mode="lines",
            line={"color": f"var(--{mark_of(results, challenger)[0]})", "width": 3},
            hoverinfo="skip",
        )


def _moved(start: float, change: float, metric: dict) -> float:
    """Return the value that is better than `start` by `change`, on the scale of the metric."""
    change = change if metric["better"] == "higher" else -change
    return start * ratio_of(change) if metric["scale"] == "ratio" else start + change
