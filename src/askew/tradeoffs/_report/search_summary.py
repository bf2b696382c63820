"""The outcome of a search in a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

from askew.tradeoffs._report.language import TIMES, language_of
from askew.tradeoffs._report.summary import amounts
from askew.tradeoffs._statistics.verdicts import Metric, Verdict


def search_sentence(
    entry: Mapping[str, Any],
    verdicts: Sequence[Verdict],
    metrics: Sequence[Metric],
    *,
    language: str = "en",
) -> str:
    """Describe what a search found, and what its confirmation says of it.

    Args:
        entry: What results.json holds under "search".
        verdicts: Of the confirmation.
        metrics: Of the confirmation, the one that decides first.
        language: "en" or "pt".

    Returns:
        One sentence.
    """
    say = language_of("search_sentence", language)
    metric = metrics[0]
    judged = [verdict for verdict in verdicts if verdict.metric == metric.name]
    tried = say["search_tried"].format(
        candidates=len(entry["candidates"]),
        minutes=say.digits(f"{entry['train_seconds'] / 60:.3g}"),
    )
    if any(verdict.verdict is None for verdict in judged):
        none = say["search_no_verdict"].format(reason=say.reason(judged[0].reason))
        return f"{tried}, {none}."
    paying = [verdict for verdict in judged if verdict.verdict == "pays"]
    label, unit = say.name(metric.label), f" {say.name(metric.unit)}" if metric.unit else ""
    if not paying:
        power = min(verdict.minimum_detectable or 0.0 for verdict in judged)
        none = say["search_none"].format(
            gain=f"{say.digits(f'{power:.2g}')}{unit}", label=label, seeds=judged[0].seeds
        )
        return f"{tried}, {none}."
    best = max(paying, key=lambda verdict: verdict.difference or 0.0)
    size, interval = amounts(say, best, metric)
    shape = shape_of(candidate_of(entry, best.challenger)["values"])
    control = shape_of(candidate_of(entry, entry["control"])["values"])
    found = say["search_found"].format(
        name=best.challenger,
        shape=shape,
        size=f"{size}{unit}",
        label=label,
        interval=interval,
        control=control,
        seeds=best.seeds,
    )
    return f"{tried}, {found}."


def candidate_of(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a candidate of a search by its name."""
    return next(one for one in entry["candidates"] if one["name"] == name)


def shape_of(values: Mapping[str, object]) -> str:
    """Write the numbers of a candidate: depth and width of each side, if it has sides.

    Example:
        >>> sides = {"encoder.num_layers": 1, "encoder.d_model": 64}
        >>> shape_of({**sides, "decoder.num_layers": 2, "decoder.d_model": 160})
        '1 \u00d7 64 | 2 \u00d7 160'
        >>> shape_of({"training.loss.margin": 0.05})
        'margin 0.05'
    """
    values = {name: value for name, value in values.items() if value is not None}
    sides = [name.removesuffix(".d_model") for name in values if name.endswith(".d_model")]
    if sides and all(f"{side}.num_layers" in values for side in sides):
        return " | ".join(
            f"{values[f'{side}.num_layers']} {TIMES} {values[f'{side}.d_model']}" for side in sides
        )
    short = {name.rpartition(".")[2]: value for name, value in values.items()}
    named = short if len(short) == len(values) else values
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in named.items()
    )
