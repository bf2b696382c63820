"""What the verdicts say, in words."""

import math
from collections.abc import Sequence

from askew._check import require
from askew.tradeoffs._stats import Metric, Verdict


def summary_sentence(verdicts: Sequence[Verdict], metrics: Sequence[Metric]) -> str:
    """Say in plain English what a comparison found, one sentence per challenger.

    Quality comes first: metrics compared by difference, then those compared by ratio. A
    ratio is the challenger's value over the baseline's, whichever is better. Every claim
    carries its seeds, interval and verdict; without a verdict nothing is claimed.

    Args:
        verdicts: As `analyze` gives them.
        metrics: What is known of the metrics; others are called by their names.

    Returns:
        The sentences, "" without verdicts.

    Raises:
        ValueError: If two metrics have the same name.

    Example:
        >>> from askew.tradeoffs._stats import Row, analyze
        >>> rows = [
        ...     Row(arm, seed, "", "chrf", value + seed / 10)
        ...     for arm, values in {"thin": [60, 61, 60, 62, 61], "twin": [60] * 5}.items()
        ...     for seed, value in enumerate(values)
        ... ]
        >>> chrf = Metric(name="chrf", label="chrF", equivalence=1.0)
        >>> summary_sentence(analyze(rows, baseline="twin", metrics=[chrf]), [chrf])
        'Over 5 seeds, thin against twin: no certain difference in chrF
        (0.8, -0.2 to 1.8, cannot tell).'
    """
    known = {metric.name: metric for metric in metrics}
    require(
        len(known) == len(metrics),
        "summary_sentence: metrics must have different names; "
        f"got metrics {[metric.name for metric in metrics]}",
    )
    pairs = dict.fromkeys((verdict.challenger, verdict.baseline) for verdict in verdicts)
    sentences = []
    for challenger, baseline in pairs:
        own = [v for v in verdicts if (v.challenger, v.baseline) == (challenger, baseline)]
        described = [(verdict, known.get(verdict.metric) or _plain(verdict)) for verdict in own]
        described.sort(key=lambda pair: pair[1].scale == "ratio")
        phrases = [_phrase(*pair) for pair in described if pair[0].verdict is not None]
        phrases += _refusals(described)
        sentences.append(f"{_seeds(own)}, {challenger} against {baseline}: {'; '.join(phrases)}.")
    return " ".join(sentences)


def _plain(verdict: Verdict) -> Metric:
    return Metric(name=verdict.metric, label=verdict.metric, equivalence=verdict.equivalence)


def _seeds(verdicts: Sequence[Verdict]) -> str:
    fewest, most = min(v.seeds for v in verdicts), max(v.seeds for v in verdicts)
    number = str(most) if fewest == most else f"{fewest} to {most}"
    return f"Over {number} seed{'' if most == 1 else 's'}"


def _phrase(verdict: Verdict, metric: Metric) -> str:
    size, interval = _amounts(verdict, metric)
    region = _region(metric, verdict.equivalence)
    unit = f" {metric.unit}" if metric.unit and metric.scale == "difference" else ""
    if verdict.verdict == "cannot tell":
        if verdict.equivalent:
            return f"equal in {metric.label} within {region} ({interval}, equivalent)"
        return f"no certain difference in {metric.label} ({size}{unit}, {interval}, cannot tell)"
    small = f", yet equivalent within {region}" if verdict.equivalent else ""
    if metric.scale == "ratio":
        claim = f"{size} times the {metric.label}"
    else:
        direction = "better" if verdict.verdict == "pays" else "worse"
        claim = f"{direction} in {metric.label} by {size}{unit}"
    return f"{claim} ({interval}, {verdict.verdict}{small})"


def _amounts(verdict: Verdict, metric: Metric) -> tuple[str, str]:
    """Write size and interval as a reader expects them: a worse arm is worse by a positive size."""
    low = verdict.difference if verdict.low is None else verdict.low
    high = verdict.difference if verdict.high is None else verdict.high
    amounts = [low, verdict.difference, high]
    ratio = metric.scale == "ratio"
    if metric.better == "lower" if ratio else verdict.verdict == "does not pay":
        amounts = [-amount for amount in reversed(amounts)]
    if ratio:
        amounts = [math.exp(amount) for amount in amounts]
    decimals = _decimals(amounts[2] - amounts[0], amounts[1])
    start, size, end = (f"{amount:z.{decimals}f}" for amount in amounts)
    return size, f"{start} to {end}"


def _decimals(width: float, size: float) -> int:
    """Show two digits of the interval's width, or three of the size where it has none."""
    if width > 0:
        return max(0, 1 - math.floor(math.log10(width)))
    return max(0, 2 - math.floor(math.log10(abs(size)))) if size else 0


def _region(metric: Metric, equivalence: float) -> str:
    if metric.scale == "ratio":
        return f"a factor of {math.exp(equivalence):.3g}"
    return f"±{equivalence:g}" + (f" {metric.unit}" if metric.unit else "")


def _refusals(described: Sequence[tuple[Verdict, Metric]]) -> list[str]:
    labels: dict[str, list[str]] = {}
    for verdict, metric in described:
        if verdict.verdict is None:
            labels.setdefault(verdict.reason, []).append(metric.label)
    return [f"no verdict on {', '.join(names)} ({reason})" for reason, names in labels.items()]
