"""What the charts of a report share; the page fills in their colours."""

import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

from askew._files import visible
from askew.tradeoffs._report.language import Language

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


class Chart(NamedTuple):
    """A figure with the title of its vertical axis, a text for screen readers, and a note below."""

    y_title: str
    label: str
    figure: dict
    note: str = ""


def marks(arms: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Assign a colour of `LIGHT` and `DARK` and a plotly symbol to every arm.

    The pairs repeat only after twenty arms.

    Example:
        >>> marks(["deep", "twin"])
        {'deep': ('arm-0', 'circle'), 'twin': ('arm-1', 'diamond')}
    """
    return {arm: (f"arm-{i % _COLOURS}", SYMBOLS[i % len(SYMBOLS)]) for i, arm in enumerate(arms)}


def mark_of(results: dict, arm: str) -> tuple[str, str]:
    """Return the colour and the shape of one arm."""
    return marks([entry["name"] for entry in results["arms"]])[arm]


def axis_words(metric: Mapping[str, str], say: Language) -> str:
    """Return the title of an axis: a metric, its unit, and which direction is better."""
    unit = f", {metric['unit']}" if metric["unit"] else ""
    better = say[f"{metric['better']}_is_better"].replace(" ", "\N{NO-BREAK SPACE}")
    return f"{metric['label']}{unit} ({better})"


def new_figure(say: Language, x_title: str, *, height: int) -> go.Figure:
    """Make an empty chart with a title for its horizontal axis."""
    figure = go.Figure(layout={"template": "none"})
    figure.update_layout(
        height=height,
        separators=say.separators,
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
    title = {"text": plotly_words(x_title), "standoff": 10, "font": {"size": 13}}
    figure.update_xaxes(**axis, title=title, nticks=6, showline=True)
    figure.update_yaxes(**axis)
    return figure


def add_seeds(
    figure: go.Figure,
    results: dict,
    arm: str,
    xs: Sequence[float],
    ys: Sequence[float],
    *,
    small: bool = False,
) -> None:
    """Add a mark for every seed of an arm."""
    colour, symbol = mark_of(results, arm)
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
        hovertemplate=f"{plotly_words(arm)}: %{{x:.4~g}}<extra></extra>",
    )


def add_mean(
    figure: go.Figure,
    results: dict,
    say: Language,
    arm: str,
    x: float,
    y: float,
    *,
    hollow: bool = False,
) -> None:
    """Add the large mark of an arm's mean."""
    name = plotly_words(say["arm_mean"].format(arm=arm))
    colour, symbol = mark_of(results, arm)
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={
            "color": f"var(--{colour})",
            "symbol": f"{symbol}-open" if hollow else symbol,
            "size": 17,
            "line": {"color": f"var(--{colour if hollow else 'paper'})", "width": 2},
        },
        hovertemplate=f"{name}: %{{x:.4~g}}<extra></extra>",
    )


def plotly_words(text: str, *, max_lines: int = 3) -> str:
    """Break and escape a text for plotly, which reads its own dialect of HTML."""
    lines = textwrap.wrap(text, 36, max_lines=max_lines, placeholder=" …")
    return "<br>".join(escape(visible(line), quote=False) for line in lines)
