"""What mattered in a search: the importance of each number, and the ratios of both sides."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from askew.tradeoffs._report.chart_style import Chart, new_figure, plotly_words
from askew.tradeoffs._report.language import Language, number, percent
from askew.tradeoffs._running.importance import FEWEST

_FEWEST_IN_BIN, _MOST_BINS = 8, 5
_RATIOS = {"depth_ratio": "num_layers", "width_ratio": "d_model"}
_TICKS = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 32, 64)
_BAR, _AROUND = 26, 76  # pixels of a bar, and of the axis and the margins


class Insights(NamedTuple):
    """What the template shows of what mattered.

    Attributes:
        importances: A chart for each family that has enough candidates.
        ratios: Scores against the ratio of both sides in depth, width and parameters.
        notes: Why a chart is missing.
    """

    importances: list[Chart]
    ratios: list[Chart]
    notes: list[str]


class Bin(NamedTuple):
    """Neighbouring ratios, with the median and the quartiles of their scores."""

    low: float
    high: float
    lower: float
    median: float
    upper: float
    count: int


def insights(
    entry: Mapping[str, Any],
    by_family: Mapping[str, tuple[str, str]],
    hovers: Sequence[str],
    say: Language,
) -> Insights:
    """Describe what mattered in a search.

    Args:
        entry: What results.json holds under "search".
        by_family: Colour and shape of each family.
        hovers: What is said of each candidate.
        say: The language.

    Returns:
        The charts, and why one is missing.
    """
    charts, notes = [], []
    names = ("too_few", "equal_scores", "equal_numbers", "no_difference")
    reasons = {name: say[name] for name in names}
    for family, found in entry.get("importances", {}).items():
        if found["reason"]:
            why = reasons[found["reason"]].format(candidates=found["candidates"], needed=FEWEST)
            notes.append(say["no_importance"].format(family=say[family], why=why))
        else:
            charts.append(_importance_chart(family, found, by_family[family][0], entry, say))
    ratios = []
    for title, values in _ratios_of(entry["candidates"]).items():
        compared = sum(
            value is not None and not one["symmetric"] and one["scores"][0] is not None
            for one, value in zip(entry["candidates"], values, strict=True)
        )
        words = _ratio_title(title, entry, say)
        if compared < FEWEST:
            missing = say["no_ratio"]
            notes.append(missing.format(ratio=words, candidates=compared, needed=FEWEST))
        else:
            ratios.append(_ratio_chart(words, values, entry, by_family, hovers, say))
    return Insights(charts, ratios, notes)


def _importance_chart(
    family: str, found: Mapping[str, Any], colour: str, entry: Mapping[str, Any], say: Language
) -> Chart:
    shares = sorted(found["shares"].items(), key=lambda share: share[1])
    noise = found["noise"]
    figure = new_figure(say, say["importance_axis"], height=_AROUND + _BAR * len(shares))
    figure.add_bar(
        x=[share for _, share in shares],
        y=[plotly_words(name) for name, _ in shares],
        orientation="h",
        marker={"color": [f"var(--{colour if s > noise else 'join'})" for _, s in shares]},
        hovertext=[
            say["importance_hover"].format(name=name, share=percent(say, round(share, 2)))
            + ("" if share > noise else "<br>" + say["within_noise"])
            for name, share in shares
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )
    line = {"color": "var(--ink)", "width": 1.5, "dash": "dot"}
    figure.add_vline(x=noise, line=line)
    most = 1.15 * max(noise, shares[-1][1])
    figure.update_xaxes(tickformat=".0%", range=[0, most], showgrid=True)
    figure.update_layout(bargap=0.35)
    beyond = sum(share > noise for _, share in shares)
    words = "; ".join(f"{name} {percent(say, round(s, 2))}" for name, s in reversed(shares))
    note = say["importance_note" if beyond else "importance_noise"].format(
        candidates=found["candidates"], steps=entry["rungs"][0]
    )
    label = say["importance_label"].format(family=say[family], words=words)
    title = say["importance_title"].format(family=say[family])
    return Chart(title, label, json.loads(figure.to_json()), note)


def _ratios_of(candidates: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return the ratios of both sides by their names; those that do not differ are left out."""
    by_name = {
        title: [_ratio(_sides(one["values"], ending)) for one in candidates]
        for title, ending in _RATIOS.items()
    }
    by_name["parameter_ratio"] = [_ratio(one.get("side_parameters", {})) for one in candidates]
    return {
        title: ratios
        for title, ratios in by_name.items()
        if len({ratio for ratio in ratios if ratio is not None}) > 1
    }


def _sides(values: Mapping[str, Any], ending: str) -> dict[str, Any]:
    ends = f".{ending}"
    return {name.removesuffix(ends): v for name, v in values.items() if name.endswith(ends)}


def _ratio(sides: Mapping[str, float]) -> float | None:
    if len(sides) != 2 or not all(value > 0 for value in sides.values()):
        return None
    one, other = sides.values()
    return one / other


def _ratio_title(title: str, entry: Mapping[str, Any], say: Language) -> str:
    """Name a ratio and its sides."""
    for one in entry["candidates"]:
        found = [_sides(one["values"], ending) for ending in _RATIOS.values()]
        for sides in (*found, one.get("side_parameters", {})):
            if len(sides) == 2:
                first, second = map(say.name, sides)
                return say[title].format(one=first, other=second)
    return say[title]


def _ratio_chart(
    title: str,
    values: Sequence[float | None],
    entry: Mapping[str, Any],
    by_family: Mapping[str, tuple[str, str]],
    hovers: Sequence[str],
    say: Language,
) -> Chart:
    """Draw the score after the shortest rung against a ratio, with medians of its bins."""
    points = [
        (family, ratio, one["scores"][0], hover)
        for one, ratio, hover in zip(entry["candidates"], values, hovers, strict=True)
        for family in by_family
        if (family == "symmetric") == one["symmetric"]
        and ratio is not None
        and one["scores"][0] is not None
    ]
    figure = new_figure(say, title, height=340)
    own = [point for point in points if point[0] == "asymmetric"]
    bins = binned([ratio for _, ratio, *_ in own], [score for _, _, score, _ in own])
    for one in bins:
        _add_quartiles(figure, one)
    for family in reversed(list(by_family)):  # the symmetric ones, which share a ratio, below
        colour, symbol = by_family[family]
        of_family = [point for point in points if point[0] == family]
        figure.add_scatter(
            x=[ratio for _, ratio, *_ in of_family],
            y=[score for _, _, score, _ in of_family],
            mode="markers",
            marker={
                "color": f"var(--{colour})",
                "symbol": symbol,
                "size": 8,
                "line": {"color": "var(--paper)", "width": 1},
            },
            text=[
                "<br>".join(
                    [
                        hover,
                        f"{title}: {ratio_words(ratio, say)}",
                        say["score_hover"].format(score=number(say, score)),
                    ]
                )
                for _, ratio, score, hover in of_family
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    for one in bins:
        _add_median(figure, one, say)
    _scale(figure, [ratio for _, ratio, *_ in points])
    words = "; ".join(_bin_words(one, say) for one in bins)
    label = say["ratio_label"].format(ratio=title, candidates=len(points), words=words)
    note = say["ratio_note"].format(steps=entry["rungs"][0])
    return Chart(say["search_score"], label, json.loads(figure.to_json()), note)


def binned(xs: Sequence[float], ys: Sequence[float]) -> list[Bin]:
    """Split points into bins of eight or more by their x, and describe the y of each.

    Points with the same x stay together, so that a bin may have many more.

    Example:
        >>> [(one.low, one.high, one.median) for one in binned([1, 2] * 8, [1, 5] * 8)]
        [(1, 1, 1.0), (2, 2, 5.0)]
    """
    number_of_bins = max(1, min(_MOST_BINS, len(xs) // _FEWEST_IN_BIN))
    size = len(xs) / number_of_bins
    groups: list[list[tuple[float, float]]] = [[]]
    for x in sorted(set(xs)):
        if len(groups[-1]) >= max(_FEWEST_IN_BIN, size - 1):
            groups.append([])
        groups[-1] += [(x, y) for other, y in zip(xs, ys, strict=True) if other == x]
    if len(groups) > 1 and len(groups[-1]) < _FEWEST_IN_BIN:
        last = groups.pop()
        groups[-1] += last
    return [_bin(group) for group in groups]


def _bin(points: Sequence[tuple[float, float]]) -> Bin:
    xs, ys = zip(*points, strict=True)
    lower, median, upper = (float(q) for q in np.quantile(ys, (0.25, 0.5, 0.75)))
    return Bin(min(xs), max(xs), lower, median, upper, len(points))


def _ends(one: Bin) -> list[float]:
    """Return the ends of a bin as drawn: one with a single ratio gets some width."""
    return [one.low / 1.06, one.high * 1.06]


def _add_quartiles(figure: go.Figure, one: Bin) -> None:
    low, high = _ends(one)
    figure.add_scatter(
        x=[low, high, high, low, low],
        y=[one.lower, one.lower, one.upper, one.upper, one.lower],
        mode="lines",
        fill="toself",
        fillcolor="var(--band)",
        line={"color": "var(--rule)", "width": 1},
        hoverinfo="skip",
    )


def _add_median(figure: go.Figure, one: Bin, say: Language) -> None:
    low, high = _ends(one)
    words = _bin_words(one, say).replace("; ", "<br>")
    figure.add_scatter(
        x=[low, (low * high) ** 0.5, high],
        y=[one.median] * 3,
        mode="lines",
        line={"color": "var(--ink)", "width": 3},
        text=[plotly_words(words)] * 3,
        hovertemplate="%{text}<extra></extra>",
    )


def _bin_words(one: Bin, say: Language) -> str:
    span = ratio_words(one.low, say)
    if one.high != one.low:
        span = say["from_to"].format(low=span, high=ratio_words(one.high, say))
    return say["bin_words"].format(
        span=span,
        median=number(say, one.median),
        low=number(say, one.lower),
        high=number(say, one.upper),
        candidates=one.count,
    )


def ratio_words(ratio: float, say: Language) -> str:
    """Write a ratio with 1 on its smaller side.

    Example:
        >>> from askew.tradeoffs._report.language import LANGUAGES
        >>> [ratio_words(ratio, LANGUAGES["en"]) for ratio in (0.25, 1.0, 2.5)]
        ['1 : 4', '1 : 1', '2.5 : 1']
    """
    if ratio < 1:
        return f"1 : {say.digits(f'{1 / ratio:.3g}')}"
    return f"{say.digits(f'{ratio:.3g}')} : 1"


def _scale(figure: go.Figure, ratios: Sequence[float]) -> None:
    low, high = min(ratios) / 1.15, max(ratios) * 1.15
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    step = 2 if len(ticks) > 7 else 1
    middle = ticks.index(1) if 1 in ticks else 0
    ticks = [tick for place, tick in enumerate(ticks) if (place - middle) % step == 0]
    words = [f"{tick:g}:1" if tick >= 1 else f"1:{1 / tick:g}" for tick in ticks]
    figure.update_xaxes(
        type="log",
        range=[np.log10(low), np.log10(high)],
        tickvals=ticks,
        ticktext=words,
        showgrid=True,
    )
    figure.update_yaxes(showgrid=True)
