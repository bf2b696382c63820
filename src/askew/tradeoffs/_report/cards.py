"""Every verdict as text, and where two arms stand in quality and cost together."""

from typing import Literal, NamedTuple

from askew.tradeoffs._report.language import DASH, Language, decimals, factor, percent, signed, size
from askew.tradeoffs._report.results_view import pairs_of, split_metrics, verdict_on

Position = Literal["dominates", "dominated", "trades", "cannot tell"]


class Finding(NamedTuple):
    """A verdict as text, with the ends of its interval in per cent of a card's width.

    `kind` is the verdict as the results have it, `sign` the numbers of seeds for and against.
    """

    metric: str
    challenger: str
    baseline: str
    effect: str
    interval: str
    percent: str
    kind: str | None
    verdict: str
    equivalent: bool | None
    equivalence: str
    detectable: str
    sign: str
    reason: str
    picture: dict[str, float] | None


def findings_by_challenger(results: dict, say: Language) -> list[list[Finding]]:
    """Group the verdicts by challenger, quality first."""
    order = [metric for group in split_metrics(results) for metric in group]
    groups = []
    for pair in pairs_of(results):
        verdicts = [(verdict_on(results, *pair, metric["name"]), metric) for metric in order]
        groups.append([_finding(say, verdict, metric) for verdict, metric in verdicts if verdict])
    return groups


def _finding(say: Language, verdict: dict, metric: dict) -> Finding:
    spread = None if verdict["low"] is None else verdict["high"] - verdict["low"]
    return Finding(
        metric=metric["label"],
        challenger=verdict["challenger"],
        baseline=verdict["baseline"],
        effect=_effect(say, verdict["difference"], metric, spread),
        interval=_interval(say, verdict, metric, spread),
        percent=percent(say, verdict["confidence"]),
        kind=verdict["verdict"],
        verdict=say[verdict["verdict"] or "no verdict"],
        equivalent=verdict["equivalent"],
        equivalence=size(say, verdict["equivalence"], metric, None),
        detectable=size(say, verdict["minimum_detectable"], metric, spread),
        sign=_sign(verdict),
        reason=verdict["reason"],
        picture=_picture(verdict),
    )


def _sign(verdict: dict) -> str:
    if verdict["wins"] is None:
        return DASH
    space = "\N{NARROW NO-BREAK SPACE}"
    return f"{verdict['wins']}{space}:{space}{verdict['losses']}"


def _effect(say: Language, value: float | None, metric: dict, spread: float | None) -> str:
    if value is None:
        return DASH
    if metric["scale"] == "difference":
        return f"{signed(say, value, decimals(value, spread))} {metric['unit']}".rstrip()
    better, worse, equal = metric["comparatives"]
    ratio = factor(say, abs(value), spread)
    if ratio == factor(say, 0.0, spread):
        return say[equal].format(factor=ratio)
    return say[better if value > 0 else worse].format(factor=ratio)


def _interval(say: Language, verdict: dict, metric: dict, spread: float | None) -> str:
    low, high, value = verdict["low"], verdict["high"], verdict["difference"]
    if low is None or value is None:
        return ""
    if metric["scale"] == "difference":
        places = decimals(value, spread)
        return say["from_to"].format(low=signed(say, low, places), high=signed(say, high, places))
    ends = sorted((low, high) if value >= 0 else (-low, -high))
    return DASH.join(factor(say, end, spread) for end in ends)


def _picture(verdict: dict) -> dict[str, float] | None:
    if verdict["low"] is None or verdict["difference"] is None:
        return None
    edge = verdict["equivalence"] or 0.0
    reach = 1.15 * max(abs(verdict["low"]), abs(verdict["high"]), edge) or 1.0
    places = {"low": verdict["low"], "high": verdict["high"], "at": verdict["difference"]}
    places |= {"band_low": -edge, "band_high": edge}
    return {name: round(50 * (1 + value / reach), 2) for name, value in places.items()}


def position(verdicts: list[dict | None]) -> Position | None:
    """Compare a challenger with its baseline in quality and cost, by its verdicts on both.

    Returns:
        "dominates" if it pays on one and pays or is equivalent on the other; "dominated" if it
        does not pay on one and does not pay or is equivalent on the other; "trades" if it pays on
        one and does not pay on the other; else "cannot tell". None without a verdict on both.
    """
    if any(verdict is None or verdict["verdict"] is None for verdict in verdicts):
        return None
    better, worse = (
        [v["verdict"] == word for v in verdicts if v] for word in ("pays", "does not pay")
    )
    equal = [bool(v["equivalent"]) for v in verdicts if v]
    if any(better) and all(b or e for b, e in zip(better, equal, strict=True)):
        return "dominates" if not any(worse) else "trades"
    if any(worse) and all(w or e for w, e in zip(worse, equal, strict=True)):
        return "dominated" if not any(better) else "trades"
    return "trades" if any(better) and any(worse) else "cannot tell"
