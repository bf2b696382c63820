"""The section of a report on a search: its candidates, its rungs and their table."""

import json
from typing import Any, NamedTuple

import plotly.graph_objects as go

from askew.tradeoffs._report.chart_style import Chart, axis_words, marks, new_figure, plotly_words
from askew.tradeoffs._report.language import DASH, Language, number
from askew.tradeoffs._report.results_view import title
from askew.tradeoffs._report.search_insights import Insights, insights
from askew.tradeoffs._report.search_summary import shape_of
from askew.tradeoffs._report.tables import Table

FAMILIES = ("asymmetric", "symmetric")
_ROWS = 40
_HOVER_LINES = 12


class SearchSection(NamedTuple):
    """What the template shows of a search.

    Attributes:
        lead: How many candidates were trained how far.
        names: Both families, as the legend has them.
        marks: Their colours and shapes.
        charts: Quality against latency, and the scores of all rungs.
        table: The candidates that were trained fully, the best first.
        notes: On families that have no more candidates, and on the rank correlations of the rungs.
        insights: What mattered.
    """

    lead: str
    names: list[str]
    marks: dict[str, tuple[str, str]]
    charts: list[Chart]
    table: Table
    notes: list[str]
    insights: Insights


def search_section(results: dict, say: Language) -> SearchSection | None:
    """Make the section of a search; None for a comparison without one."""
    if "search" not in results:
        return None
    entry = results["search"]
    names = [say[family] for family in FAMILIES]
    by_family = dict(zip(FAMILIES, marks(names).values(), strict=True))
    metric = results["metrics"][0]
    counts = [
        sum(len(c["scores"]) > rung for c in entry["candidates"])
        for rung in range(len(entry["rungs"]))
    ]
    trained = [
        say["trained_to"].format(candidates=count, steps=steps)
        for count, steps in zip(counts, entry["rungs"], strict=True)
    ]
    return SearchSection(
        lead=say["search_lead"].format(trained="; ".join(trained)),
        names=names,
        marks=marks(names),
        charts=[_front_chart(entry, metric, by_family, say), _rung_chart(entry, by_family, say)],
        table=_table(results, say),
        notes=[
            *(_all_tried(family, entry, say) for family in entry.get("exhausted", ())),
            *(_correlation(place, entry, say) for place in range(len(entry["rungs"]) - 1)),
        ],
        insights=insights(entry, by_family, [_hover(c) for c in entry["candidates"]], say),
    )


def _all_tried(family: str, entry: dict, say: Language) -> str:
    own = [one for one in entry["candidates"] if one["symmetric"] == (family == "symmetric")]
    return say["all_tried"].format(candidates=len(own), family=say[family])


def _fully(entry: dict) -> list[dict]:
    """Return the candidates of the last rung, the best first."""
    last = [c for c in entry["candidates"] if len(c["scores"]) == len(entry["rungs"])]
    return sorted(last, key=lambda c: -_final(c) if _final(c) is not None else 0.0)


def _final(candidate: dict) -> Any:
    quality = candidate["quality"]
    return candidate["scores"][-1] if quality is None else quality


def _family(candidate: dict) -> str:
    return FAMILIES[candidate["symmetric"]]


def _hover(candidate: dict) -> str:
    values = ", ".join(
        f"{name}\N{NO-BREAK SPACE}{f'{value:.4g}' if isinstance(value, float) else value}"
        for name, value in candidate["values"].items()
        if value is not None
    )
    return f"{plotly_words(candidate['name'])}<br>{plotly_words(values, max_lines=_HOVER_LINES)}"


def _front_chart(entry: dict, metric: dict, by_family: dict, say: Language) -> Chart:
    """Draw quality on validation data against latency, and the Pareto front of each family."""
    figure = new_figure(say, say["latency_untrained"], height=360)
    figure.update_yaxes(showgrid=True)
    fully = [c for c in _fully(entry) if _final(c) is not None]
    for family in FAMILIES:
        colour, symbol = by_family[family]
        own = [c for c in fully if _family(c) == family]
        front = sorted(
            (c for c in own if c["name"] in entry["fronts"][family]), key=lambda c: c["latency_ms"]
        )
        _add_line(figure, [c["latency_ms"] for c in front], [_final(c) for c in front], colour)
        chosen = {*entry["finalists"], entry["control"]}
        figure.add_scatter(
            x=[c["latency_ms"] for c in own],
            y=[_final(c) for c in own],
            mode="markers",
            marker={
                "color": f"var(--{colour})",
                "symbol": symbol,
                "size": [16 if c["name"] in chosen else 9 for c in own],
                "line": {"color": "var(--paper)", "width": 1},
            },
            text=[_hover(c) for c in own],
            hovertemplate="%{text}<br>%{x:.3~g} ms: %{y:.4~g}<extra></extra>",
        )
    label = say["fronts_label"].format(metric=metric["label"], candidates=len(fully))
    return Chart(
        ", ".join([axis_words(metric, say), say["validation_data"]]),
        label,
        json.loads(figure.to_json()),
        say["fronts_note"],
    )


def _add_line(figure: go.Figure, xs: list, ys: list, colour: str, *, width: float = 2) -> None:
    figure.add_scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"color": f"var(--{colour})", "width": width},
        hoverinfo="skip",
    )


def _rung_chart(entry: dict, by_family: dict, say: Language) -> Chart:
    """Draw the score of every candidate on the rungs that it reached."""
    figure = new_figure(say, say["axis_steps"], height=360)
    figure.update_yaxes(showgrid=True)
    figure.update_xaxes(
        type="log", tickvals=entry["rungs"], ticktext=[str(n) for n in entry["rungs"]]
    )
    for candidate in entry["candidates"]:
        points = [
            (steps, score)
            for steps, score in zip(entry["rungs"], candidate["scores"], strict=False)
            if score is not None
        ]
        if not points:
            continue
        colour, _ = by_family[_family(candidate)]
        xs, ys = zip(*points, strict=True)
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="lines+markers",
            line={"color": f"var(--{colour})", "width": 1},
            marker={"size": 5},
            hovertemplate=f"{_hover(candidate)}<br>%{{x}}: %{{y:.4~g}}<extra></extra>",
        )
    label = say["rungs_label"].format(candidates=len(entry["candidates"]))
    return Chart(say["search_score"], label, json.loads(figure.to_json()), say["rungs_note"])


def _table(results: dict, say: Language) -> Table:
    entry, metric, rows = results["search"], results["metrics"][0], []
    costs = _cost_heads(entry, results, say)
    origins = {origin: say[origin] for origin in ("given", "random", "proposed")}
    for candidate in _fully(entry)[:_ROWS]:
        role = "finalist" if candidate["name"] in entry["finalists"] else ""
        role = "control" if candidate["name"] == entry["control"] else role
        rows.append(
            [
                candidate["name"],
                shape_of(candidate["values"]),
                number(say, _final(candidate)),
                number(say, candidate["latency_ms"]),
                number(say, candidate["parameters"]),
                *(number(say, candidate["costs"][name]) for name in costs),
                origins[candidate["origin"]],
                say[role] if role else DASH,
            ]
        )
    heads = ("candidate", "shape", metric["label"], "latency_ms", "parameters", "origin", "role")
    head = [name if name == metric["label"] else say[name] for name in heads]
    head[5:5] = costs.values()
    return Table(say["candidates_table"], head, rows)


def _cost_heads(entry: dict, results: dict, say: Language) -> dict[str, str]:
    """Name the bounded costs that were measured of every candidate."""
    labels = {"memory_mb": say["memory_mb"]}
    labels |= {metric["name"]: title(metric) for metric in results["metrics"]}
    measured = (candidate.get("costs", {}).keys() for candidate in entry["candidates"])
    return {name: labels.get(name, name) for name in next(measured, ())}


def _correlation(place: int, entry: dict, say: Language) -> str:
    correlation = entry["rank_correlations"][place]
    words = "rank_correlation" if correlation is not None else "rank_unknown"
    return say[words].format(
        first=entry["rungs"][place],
        second=entry["rungs"][place + 1],
        correlation=number(say, correlation),
        share=entry["promoted_one_in"][place],
    )
