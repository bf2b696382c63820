"""Pictures of the parts of an optimizer and of their learning rates over time."""

from typing import TYPE_CHECKING

from askew._check import require
from askew.inspection._axes import BLUE, axes_for, line_style, quiet
from askew.optim import PartRow, PartsTable, RatesTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The rates shown reach this far below the highest rate of the slowest part.
_RANGE = 100


def plot_schedule(rates: RatesTable, ax: "Axes | None" = None) -> "Axes":
    """Draw the learning rate of every part over the steps.

    Rates of parts often differ by powers of ten, so their axis is logarithmic. It ends at a
    hundredth of the lowest peak of any part, and a rate of 0, as of a frozen part, is a gap.
    ``ax.set_yscale("linear")`` shows both.

    Args:
        rates: What `askew.optim.preview` returns.
        ax: The axes to draw into; those of a new figure by default.

    Returns:
        The axes.

    Raises:
        TypeError: If it is no such table.
        ValueError: If it has no part.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> from torch import nn
        >>> from askew.optim import (
        ...     AsymmetricOptimizer, AsymmetricScheduler, cosine, freeze_until, preview, warmup
        ... )
        >>> model = nn.ModuleDict({"encoder": nn.Linear(8, 8), "head": nn.Linear(8, 2)})
        >>> optimizer = AsymmetricOptimizer(model, {"encoder": 1e-4, "head": 1e-2})
        >>> late = freeze_until(200, warmup(100, cosine(700)))
        >>> scheduler = AsymmetricScheduler(optimizer, {"encoder": late, "head": cosine(1000)})
        >>> ax = plot_schedule(preview(scheduler, 1000))
        >>> [line.get_label() for line in ax.lines], ax.get_yscale()
        (['encoder', 'head'], 'log')
    """
    if not isinstance(rates, RatesTable):
        raise TypeError(
            "plot_schedule: rates must be a RatesTable; got rates of type "
            f"{type(rates).__name__}. preview(scheduler, steps) makes one"
        )
    require(len(rates.rates) > 0, f"plot_schedule: there must be a part; got rates {rates!r}")
    ax = axes_for("plot_schedule", ax)
    for number, (part, values) in enumerate(rates.rates.items()):
        colour, dashes = line_style(number)
        ax.plot(rates.steps, values, color=colour, linestyle=dashes, label=part)
    peaks = [max(values) for values in rates.rates.values() if max(values) > 0]
    if peaks:
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(bottom=min(peaks) / _RANGE)
    ax.set(xlabel="step", ylabel="learning rate")
    ax.legend(frameon=False)
    quiet(ax)
    return ax


def plot_parts(parts: PartsTable, ax: "Axes | None" = None) -> "Axes":
    """Draw the number of parameters of every part as a bar, with its current rate and decay.

    Args:
        parts: What `askew.optim.describe` and `parts_table` return.
        ax: The axes to draw into; those of a new figure by default.

    Returns:
        The axes.

    Raises:
        TypeError: If it is no such table.
        ValueError: If it has no part.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> from torch import nn
        >>> from askew.optim import AsymmetricOptimizer, describe
        >>> model = nn.ModuleDict({"encoder": nn.Linear(80, 40), "head": nn.Linear(40, 9)})
        >>> optimizer = AsymmetricOptimizer(model, {"encoder": 1e-4, "head": 1e-2})
        >>> ax = plot_parts(describe(optimizer))
        >>> print(ax.get_yticklabels()[0].get_text())
        encoder
        AdamW, rate 0.0001, decay 0.01
    """
    if not isinstance(parts, PartsTable):
        raise TypeError(
            f"plot_parts: parts must be a PartsTable; got parts of type {type(parts).__name__}. "
            "describe(optimizer) makes one"
        )
    require(len(parts.rows) > 0, f"plot_parts: there must be a part; got parts {parts!r}")
    ax = axes_for("plot_parts", ax)
    at = range(len(parts.rows))
    bars = ax.barh(at, [row.parameters for row in parts.rows], height=0.6, color=BLUE)
    ax.bar_label(bars, fmt="{:,.0f}", padding=3)
    ax.set_yticks(at, [f"{row.part}\n{_settings(row)}" for row in parts.rows])
    ax.invert_yaxis()
    ax.locator_params(axis="x", nbins=5, integer=True)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.margins(x=0.15)  # room for the number beside the longest bar
    ax.set(xlabel="parameters")
    ax.tick_params(axis="y", length=0)
    quiet(ax, grid=False)
    return ax


def _settings(row: PartRow) -> str:
    texts = [row.algorithm] if row.algorithm else []
    texts.append(f"rate {row.lr:.3g}")
    if row.weight_decay is not None:
        texts.append(f"decay {row.weight_decay:g}")
    return ", ".join(texts)
