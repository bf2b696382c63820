"""How many placeholders of the source stand in the translation."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from askew._check import require


class Survival(NamedTuple):
    """Of all placeholders in the sources, how many the translations kept.

    Args:
        kept: How many.
        total: Of how many.
        left_out: Sentences without any, which say nothing.
        kinds: Kept and total of each kind, the commonest first.

    Example:
        >>> from askew.text import find_placeholders
        >>> found = placeholder_survival(["Hi %s"], ["Oi %s"], find_placeholders)
        >>> isinstance(found, Survival), found.kept, found.total
        (True, 1, 1)
    """

    kept: int
    total: int
    left_out: int
    kinds: dict[str, tuple[int, int]]

    @property
    def share(self) -> float | None:
        """Kept over total; None where there are none."""
        return self.kept / self.total if self.total else None


def placeholder_survival(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    find: Callable[[str], Counter[str]],
    *,
    kind: Callable[[str], str] | None = None,
) -> Survival:
    """Count the placeholders and markup that survive translation.

    One that stands twice in the source counts twice, and must stand twice in the translation.
    What a translation adds doesn't count. For one number per sentence, ask for each by itself.

    Args:
        sources: Source sentences.
        hypotheses: One translation per source.
        find: Gives the placeholders of a text and how often each stands there, such as
            `askew.text.find_placeholders`.
        kind: Gives the kind of a placeholder, such as `askew.text.placeholder_kind`; None
            leaves kinds out.

    Returns:
        Kept and total, each occurrence counted once.

    Raises:
        ValueError: If the counts differ.

    Example:
        >>> found = placeholder_survival(["a %s b"], ["x %s"], lambda t: Counter(t.split()[1:2]))
        >>> found.kept, found.total, found.share
        (1, 1, 1.0)
    """
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
        total.update(wanted)  # in place: += would look through all of them each time
        if wanted:
            kept.update(wanted & find(hypothesis))
    kinds = {} if kind is None else _by_kind(kept, total, kind)
    return Survival(kept.total(), total.total(), left_out, kinds)


def _by_kind(
    kept: Counter[str], total: Counter[str], kind: Callable[[str], str]
) -> dict[str, tuple[int, int]]:
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for side, found in zip(counts, (kept, total), strict=True):
        for placeholder, count in found.items():
            side[kind(placeholder)] += count
    return {name: (counts[0][name], count) for name, count in counts[1].most_common()}
