"""The verdicts in sentences."""

import math
from collections.abc import Sequence

from askew._check import require
from askew.tradeoffs._report.language import LONG, Language, language_of, ratio_of
from askew.tradeoffs._statistics.verdicts import Metric, Verdict


def summary_sentence(
    verdicts: Sequence[Verdict], metrics: Sequence[Metric], *, language: str = "en"
) -> str:
    """Describe the verdicts of a comparison in plain words, one sentence per challenger.

    Quality comes first: metrics compared by difference, then those compared by ratio. A
    ratio is the challenger's value over the baseline's, whichever is better. Every claim
    carries its seeds, interval and verdict; without a verdict nothing is claimed.

    Args:
        verdicts: As `analyze` returns them.
        metrics: Labels, units and scales; other metrics are called by their names.
        language: "en" or "pt".

    Returns:
        The sentences, "" without verdicts.

    Raises:
        ValueError: If two metrics have the same name, or there is no such language.

    Example:
        >>> from askew.tradeoffs._statistics.verdicts import Row, analyze
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
    say = language_of("summary_sentence", language)
    known = {metric.name: metric for metric in metrics}
    require(
        len(known) == len(metrics),
        "summary_sentence: metrics must have different names; "
        f"got metrics {[metric.name for metric in metrics]}",
    )
    pairs = dict.fromkeys((verdict.challenger, verdict.baseline) for verdict in verdicts)
    sentences = []
    for challenger, baseline in pairs:
        of_pair = [v for v in verdicts if (v.challenger, v.baseline) == (challenger, baseline)]
        described = [(verdict, known.get(verdict.metric) or _plain(verdict)) for verdict in of_pair]
        described.sort(key=lambda pair: pair[1].scale == "ratio")
        phrases = [_phrase(say, *pair) for pair in described if pair[0].verdict is not None]
        phrases += _refusals(say, described)
        against = say["against"].format(challenger=challenger, baseline=baseline)
        sentences.append(f"{_seeds(say, of_pair)}, {against}: {'; '.join(phrases)}.")
    return " ".join(sentences)


def pairs_line(verdict: Verdict, metric: Metric) -> str:
    """Write what the pairs that are finished say, of which more will follow.

    Args:
        verdict: Over these pairs.
        metric: The metric that decides.

    Returns:
        The difference of the challenger, positive if it is better, or its ratio; the interval from
        two pairs on; and whether a verdict could be given.
    """
    say = language_of("pairs_line", "en")
    pairs = f"after {verdict.seeds} pair{'s' if verdict.seeds > 1 else ''}"
    arms = f"{metric.label} of {verdict.challenger} against {verdict.baseline}"
    if verdict.difference is None:
        return f"{pairs}, {arms}: {verdict.reason}"
    size, interval = amounts(say, verdict._replace(verdict=None), metric)
    if metric.scale == "ratio":
        size = f"{size} times"
    elif verdict.difference > 0:
        size = f"+{size}"
    within = "" if verdict.low is None else f" ({interval})"
    return f"{pairs}, {arms}: {size}{within}{'' if verdict.verdict else f'; {verdict.reason}'}"


_MANY = 16  # decimals; a number of more is written as a power of ten


def headline(
    verdicts: Sequence[Verdict], metrics: Sequence[Metric], *, language: str = "en"
) -> str:
    """Describe the verdicts on the first quality metric and on the speed of answering.

    The first quality metric stands first in `metrics`; without such verdicts the text is empty.
    """
    named = {"throughput", "latency_ms", *(metric.name for metric in metrics[:1])}
    return summary_sentence([v for v in verdicts if v.metric in named], metrics, language=language)


def _plain(verdict: Verdict) -> Metric:
    return Metric(name=verdict.metric, label=verdict.metric, equivalence=verdict.equivalence)


def _seeds(say: Language, verdicts: Sequence[Verdict]) -> str:
    fewest, most = min(v.seeds for v in verdicts), max(v.seeds for v in verdicts)
    number = str(most) if fewest == most else say["from_to"].format(low=fewest, high=most)
    return say["over_one_seed" if most == 1 else "over_seeds"].format(seeds=number)


def _phrase(say: Language, verdict: Verdict, metric: Metric) -> str:
    label = say.name(metric.label)
    size, interval = amounts(say, verdict, metric)
    region = _region(say, metric, verdict.equivalence)
    if metric.unit and metric.scale == "difference":
        size = f"{size} {say.name(metric.unit)}"
    if verdict.verdict == "cannot tell":
        if verdict.equivalent:
            return say["equal_in"].format(label=label, region=region, interval=interval)
        return say["none_certain"].format(label=label, size=size, interval=interval)
    claim = "better_by" if verdict.verdict == "pays" else "worse_by"
    return say["times" if metric.scale == "ratio" else claim].format(
        label=label,
        size=size,
        interval=interval,
        verdict=say[str(verdict.verdict)],
        small=say["yet_equivalent"].format(region=region) if verdict.equivalent else "",
    )


def amounts(say: Language, verdict: Verdict, metric: Metric) -> tuple[str, str]:
    """Write size and interval; a worse arm is worse by a positive size."""
    middle = verdict.difference or 0.0  # a verdict has a difference
    low = middle if verdict.low is None else verdict.low
    high = middle if verdict.high is None else verdict.high
    amounts = [low, middle, high]
    ratio = metric.scale == "ratio"
    if metric.better == "lower" if ratio else verdict.verdict == "does not pay":
        amounts = [-amount for amount in reversed(amounts)]
    if ratio:
        amounts = [ratio_of(amount) for amount in amounts]
    decimals = _decimals(amounts[2] - amounts[0], amounts[1])
    start, size, end = (_amount(say, amount, decimals) for amount in amounts)
    return size, say["from_to"].format(low=start, high=end)


def _amount(say: Language, amount: float, decimals: int) -> str:
    short = abs(amount) < LONG and decimals < _MANY
    return say.digits(f"{amount:z.{decimals}f}" if short else f"{amount:.3g}")


def _decimals(width: float, size: float) -> int:
    """Show two digits of the interval's width, or three of the size if the width is 0."""
    if width >= LONG:
        return 0
    if width > 0:
        return max(0, 1 - math.floor(math.log10(width)))
    return max(0, 2 - math.floor(math.log10(abs(size)))) if size else 0


def _region(say: Language, metric: Metric, equivalence: float) -> str:
    if metric.scale == "ratio":
        return say["a_factor"].format(factor=say.digits(f"{ratio_of(equivalence):.3g}"))
    unit = f" {say.name(metric.unit)}" if metric.unit else ""
    return f"±{say.digits(f'{equivalence:g}')}{unit}"


def _refusals(say: Language, described: Sequence[tuple[Verdict, Metric]]) -> list[str]:
    labels: dict[str, list[str]] = {}
    for verdict, metric in described:
        if verdict.verdict is None:
            labels.setdefault(say.reason(verdict.reason), []).append(say.name(metric.label))
    return [
        say["no_verdict_on"].format(labels=", ".join(names), reason=reason)
        for reason, names in labels.items()
    ]
