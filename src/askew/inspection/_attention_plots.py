"""Pictures of masks and of biases that depend on the distance."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from askew._check import require
from askew.attention import ALiBi, RelativeBias
from askew.inspection._axes import BLUE, GREY, PALE, axes_for, line_style, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_REACH = 32
_MOST_CELLS, _MOST_POINTS, _MOST_NAMES = 40, 40, 8


class BiasData(NamedTuple):
    """The bias of every head at some offsets.

    Args:
        offsets: Position of the key minus that of the query, ascending; negative is the past.
        values: What each head adds to the score of a key at each offset.

    Example:
        >>> bias_data(RelativeBias(2, window=(3, 1))).offsets.tolist()
        [-3, -2, -1, 0, 1]
    """

    offsets: Int[Tensor, " n"]
    values: Float[Tensor, "heads n"]


def bias_data(bias: RelativeBias | ALiBi, *, reach: tuple[int, int] | None = None) -> BiasData:
    """Compute a bias at every offset from `before` keys before the query to `after` after it.

    Args:
        bias: The module; a layer keeps it as its `position`.
        reach: (before, after), both >= 0; by default the window of the bias, or else 32 keys on
            each side that it is for.

    Returns:
        The offsets, and the values without their gradient.

    Raises:
        TypeError: If it is no such module.
        ValueError: If a number is negative.

    Example:
        >>> data = bias_data(ALiBi(1, slopes_before=(0.5,), slopes_after=(1.0,)), reach=(2, 1))
        >>> data.offsets.tolist(), data.values[0, [0, 1, 3]].tolist()
        ([-2, -1, 0, 1], [-1.0, -0.5, -1.0])
    """
    if not isinstance(bias, RelativeBias | ALiBi):
        raise TypeError(
            "bias_data: bias must be a RelativeBias or an ALiBi; got bias of type "
            f"{type(bias).__name__}. A layer keeps its own as layer.position"
        )
    before, after = _reach(bias) if reach is None else reach
    require(
        min(before, after) >= 0,
        f"bias_data: reach must be (before, after), both >= 0; got reach {reach}",
    )
    table = bias.table if isinstance(bias, RelativeBias) else bias.slopes_before
    offsets = torch.arange(-before, after + 1, device=table.device)
    return BiasData(offsets, bias(offsets).detach())


def plot_bias(
    bias: RelativeBias | ALiBi,
    ax: "Axes | None" = None,
    *,
    reach: tuple[int, int] | None = None,
) -> "Axes":
    """Draw a bias against the offset of the key, with a curve for every head.

    `bias_data` gives the numbers. A line marks the query's own position. Of more than eight heads
    the legend names the first and the last.

    Args:
        bias: The module; a layer keeps it as its `position`.
        ax: The axes to draw into; those of a new figure by default.
        reach: (before, after), both >= 0; by default the window of the bias, or else 32 keys on
            each side that it is for.

    Returns:
        The axes.

    Raises:
        TypeError: If it is no such module.
        ValueError: If a number is negative.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> len(plot_bias(ALiBi(4, slopes_after=(1.0, 0.5, 0.25, 0.125))).get_legend().texts)
        4
    """
    data = bias_data(bias, reach=reach)
    ax = axes_for("plot_bias", ax)
    offsets, heads = data.offsets.tolist(), data.values.tolist()
    marker = "." if len(offsets) <= _MOST_POINTS else ""
    ax.axvline(0, color=GREY, linewidth=0.8)
    for head, values in enumerate(heads):
        colour, dashes = line_style(head)
        named = len(heads) <= _MOST_NAMES or head in (0, len(heads) - 1)
        label = f"head {head}" if named else None
        ax.plot(offsets, values, color=colour, linestyle=dashes, marker=marker, label=label)
    ax.set(xlabel="offset: position of the key − of the query", ylabel="bias added to the score")
    ax.locator_params(axis="x", integer=True)
    ax.legend(frameon=False)
    quiet(ax)
    return ax


def plot_mask(mask: Bool[Tensor, "queries keys"], ax: "Axes | None" = None) -> "Axes":
    """Draw a mask: queries in rows from top to bottom, keys in columns; filled = may attend.

    Args:
        mask: [queries, keys], True = may attend, as from `causal_mask`, `band_mask` and
            `prefix_mask` of `askew.attention`, joined by `&` and `|`.
        ax: The axes to draw into; those of a new figure by default.

    Returns:
        The axes.

    Raises:
        TypeError: If the mask is not boolean.
        ValueError: If it does not have two axes, or is empty.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> from askew.attention import band_mask
        >>> ax = plot_mask(band_mask(12, 12, before=4, after=1, num_sinks=1))
        >>> ax.get_ylabel(), ax.images[0].get_array().shape
        ('query', (12, 12))
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = f"dtype {mask.dtype}" if isinstance(mask, Tensor) else f"a {type(mask).__name__}"
        raise TypeError(
            f"plot_mask: mask must be a boolean tensor, True = may attend; got mask of {kind}"
        )
    require(
        mask.dim() == 2 and mask.numel() > 0,
        "plot_mask: mask must be [queries, keys], none of them 0; got mask of shape "
        f"{tuple(mask.shape)}. Choose a row of the batch and a head, as in mask[0, 0]",
    )
    ax = axes_for("plot_mask", ax)
    from matplotlib.colors import LinearSegmentedColormap

    # A range of colours and not two: where pixels are fewer than cells, the mean of several shows.
    colours = LinearSegmentedColormap.from_list("mask", [PALE, BLUE])
    ax.imshow(mask.cpu().float().numpy(), cmap=colours, vmin=0, vmax=1)
    ax.set(xlabel="key", ylabel="query", title="filled: may attend")
    ax.locator_params(integer=True)
    for axis, cells in ((ax.xaxis, mask.shape[1]), (ax.yaxis, mask.shape[0])):
        if max(mask.shape) <= _MOST_CELLS:  # lines between cells
            axis.set_ticks([cell - 0.5 for cell in range(cells + 1)], minor=True)
    ax.tick_params(which="minor", length=0)
    ax.grid(which="minor", color="white")
    ax.spines[:].set_visible(False)
    return ax


def _reach(bias: RelativeBias | ALiBi) -> tuple[int, int]:
    if isinstance(bias, ALiBi):
        return _REACH, _REACH
    return bias.window or (_REACH, 0 if bias.causal else _REACH)
