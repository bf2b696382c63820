"""The share of the source's placeholders that a translation keeps."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from askew._check import refuse_string, require


class Survival(NamedTuple):
    """The number of placeholders that the translations kept.

    Args:
        kept: Number of placeholders kept.
        total: Number of placeholders in the sources.
        left_out: Number of sentences without placeholders, which do not count.
        kinds: Kept and total of each kind, the most frequent first.

    Example:
        >>> from askew.text import find_placeholders
        >>> survival = placeholder_survival(["Hi %s"], ["Oi %s"], find_placeholders)
        >>> isinstance(survival, Survival), survival.kept, survival.total
        (True, 1, 1)
    """

    kept: int
    total: int
    left_out: int
    kinds: dict[str, tuple[int, int]]

    @property
    def share(self) -> float | None:
        """Kept over total; None if there are no placeholders."""
        return self.kept / self.total if self.total else None


def placeholder_survival(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    find: Callable[[str], Counter[str]],
    *,
    kind: Callable[[str], str] | None = None,
) -> Survival:
    """Count the placeholders and markup that survive translation.

    A placeholder that occurs twice in the source counts twice, and must occur twice in the
    translation. Placeholders that a translation adds do not count. For one number per sentence,
    call it with one sentence at a time.

    Args:
        sources: Source sentences.
        hypotheses: One translation per source.
        find: Function from a text to its placeholders and the number of occurrences of each, such
            as `askew.text.find_placeholders`.
        kind: Function from a placeholder to its kind, such as `askew.text.placeholder_kind`; None
            leaves kinds out.

    Returns:
        The numbers of placeholders kept and in all.

    Raises:
        ValueError: If the counts differ.
        TypeError: If one side is a string and not a list of them.

    Example:
        >>> survival = placeholder_survival(["a %s"], ["x %s"], lambda t: Counter(t.split()[1:]))
        >>> survival.kept, survival.total, survival.share
        (1, 1, 1.0)
    """
    refuse_string("placeholder_survival", "sources", sources)
    refuse_string("placeholder_survival", "hypotheses", hypotheses)
    require(
        len(sources) == len(hypotheses),
        "placeholder_survival: there must be one hypothesis per source; "
        f"got {len(hypotheses)} hypotheses, {len(sources)} sources",
    )
    kept: Counter[str] = Counter()
    total: Counter[str] = Counter()
    left_out = 0
    for source, hypothesis in zip(sources, hypotheses, strict=True):
        wanted = find(source)
        left_out += not wanted
        total.update(wanted)  # in place: += would go through all of `total` each time
        if wanted:
            kept.update(wanted & find(hypothesis))
    kinds = {} if kind is None else _by_kind(kept, total, kind)
    return Survival(kept.total(), total.total(), left_out, kinds)


def _by_kind(
    kept: Counter[str], total: Counter[str], kind: Callable[[str], str]
) -> dict[str, tuple[int, int]]:
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for by_kind, by_placeholder in zip(counts, (kept, total), strict=True):
        for placeholder, count in by_placeholder.items():
            by_kind[kind(placeholder)] += count
    return {name: (counts[0][name], count) for name, count in counts[1].most_common()}
