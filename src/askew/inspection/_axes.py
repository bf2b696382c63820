"""The axes that pictures are drawn into, and their style."""

from typing import TYPE_CHECKING

from askew._check import requires_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The palette of Okabe and Ito (2008), which colour-blind people can tell apart.
BLUE, VERMILION = "#0072B2", "#D55E00"
COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
PALE, GREY = "#F0F0F0", "#767676"
_LINES = ("-", "--", ":", "-.")


def axes_for(caller: str, ax: "Axes | None") -> "Axes":
    """Return the axes that are given, or those of a new figure."""
    with requires_extra(caller, "plots"):
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    if ax is None:
        return pyplot.subplots(layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(
            f"{caller}: ax must be axes of matplotlib; got ax of type {type(ax).__name__}. "
            "Of several choose one, as in axes[0]"
        )
    return ax


def quiet(ax: "Axes", *, grid: bool = True) -> None:
    """Leave out the frame's upper and right side, and draw a pale grid."""
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(color=PALE)
        ax.set_axisbelow(True)


def line_style(number: int) -> tuple[str, str]:
    """Return the colour and the dashes of a curve, by its number from 0."""
    return COLOURS[number % len(COLOURS)], _LINES[number // len(COLOURS) % len(_LINES)]
