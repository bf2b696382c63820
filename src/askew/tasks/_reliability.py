"""How often what a model predicts with a probability is right, in bins and as a page."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from askew._files import write_text

_BINS = 15
_SIDE = 400
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root {{ color-scheme: light dark; --ink: #1d2125; --paper: #fbfaf8;
  --bar: #0a66a8; --rule: #858c93; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e9e7e3; --paper: #14171a; --bar: #5fb6f2; --rule: #767e86; }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--paper); }}
svg {{ width: 100%; max-width: 32rem; height: auto; }} text {{ fill: var(--ink); font-size: 13px; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .1rem .8rem; text-align: right; }}
</style></head><body><h1>{title}</h1><p>{lead}</p>
<svg viewBox="-50 -15 470 470" role="img" aria-label="{title}: the table has the numbers">
<path d="M0 0V{side}H{side}" fill="none" stroke="var(--rule)"/>
<path d="M0 {side}L{side} 0" stroke="var(--rule)" stroke-dasharray="5"/>
{bars}
<text x="-8" y="5" text-anchor="end">1</text><text x="-8" y="{side}" text-anchor="end">0</text>
<text x="{side}" y="420" text-anchor="end">1</text>
<text x="{half}" y="440" text-anchor="middle">predicted probability</text>
<text transform="translate(-28 {half}) rotate(-90)" text-anchor="middle">share that is right</text>
</svg>
<table><tr><th>from</th><th>to</th><th>predictions</th><th>mean probability</th><th>right</th></tr>
{rows}
</table></body></html>
"""


class ReliabilityBin(NamedTuple):
    """Predictions whose probabilities are alike.

    Args:
        low: Lowest probability of the bin.
        high: Highest one.
        count: Number of predictions.
        probability: Their mean probability.
        right: Share of them that is right.

    Example:
        >>> ReliabilityBin(low=0.8, high=0.9, count=20, probability=0.85, right=0.7).count
        20
    """

    low: float
    high: float
    count: int
    probability: float
    right: float


def reliability_bins(probabilities: np.ndarray, right: np.ndarray) -> list[ReliabilityBin]:
    """Sort predictions into 15 bins of equal width, of which the empty ones are left out.

    Args:
        probabilities: Of any shape.
        right: 0 or 1, of the same shape: whether what was predicted with this probability holds.

    Returns:
        The bins, the lowest first.

    Example:
        >>> [one.right for one in reliability_bins(np.array([0.1, 0.1, 0.9]), np.array([0, 1, 1]))]
        [0.5, 1.0]
    """
    p, y = probabilities.ravel(), right.ravel()
    places = np.minimum((p * _BINS).astype(int), _BINS - 1)
    found = []
    for place in np.unique(places):
        inside = places == place
        means = float(p[inside].mean()), float(y[inside].mean())
        ends = int(place) / _BINS, (int(place) + 1) / _BINS
        found.append(ReliabilityBin(*ends, int(inside.sum()), *means))
    return found


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    r"""Compute the expected calibration error, 0 to 1.

    .. math:: \sum_b \frac{n_b}{n}\,|\bar y_b - \bar p_b|

    Args:
        bins: What `reliability_bins` returned, at least one.

    Returns:
        The error.

    Example:
        >>> round(calibration_error(reliability_bins(np.array([0.9, 0.9]), np.array([0, 1]))), 3)
        0.4

    References:
        Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015, AAAI 29.
    """
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.right - one.probability) for one in bins) / total


def write_reliability_page(bins: Sequence[ReliabilityBin], path: str | Path, *, name: str) -> None:
    """Draw the bins on one page of HTML that needs no network.

    Args:
        bins: What `reliability_bins` returned, at least one.
        path: The file.
        name: Of the model, for the heading.

    Example:
        >>> import tempfile
        >>> bins = reliability_bins(np.array([0.1, 0.9]), np.array([0, 1]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_reliability_page(bins, Path(folder) / "page.html", name="model")
        ...     (Path(folder) / "page.html").read_text().count("<rect")
        2
    """
    bars = "\n".join(
        f'<rect x="{one.low * _SIDE + 2:.1f}" y="{(1 - one.right) * _SIDE:.1f}" '
        f'width="{(one.high - one.low) * _SIDE - 4:.1f}" height="{one.right * _SIDE:.1f}" '
        f'fill="var(--bar)"><title>{one.count} predictions</title></rect>'
        for one in bins
    )
    rows = "\n".join(
        f"<tr><td>{one.low:.3f}</td><td>{one.high:.3f}</td><td>{one.count}</td>"
        f"<td>{one.probability:.3f}</td><td>{one.right:.3f}</td></tr>"
        for one in bins
    )
    lead = (
        f"{sum(one.count for one in bins)} predictions; expected calibration error "
        f"{calibration_error(bins):.4f}. On the dashed line a probability is as often right as it "
        "says."
    )
    title = escape(f"Reliability of {name}")
    page = _PAGE.format(title=title, lead=lead, bars=bars, rows=rows, side=_SIDE, half=_SIDE // 2)
    write_text(Path(path), page)
