"""How many placeholders of the source stand in the translation."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from askew._check import require


class Survival(NamedTuple):
    """Of all placeholders in the sources, how many the translations kept."""

    kept: int
    total: int

    @property
    def share(self) -> float | None:
        """Kept over total; None where there are none."""
        return self.kept / self.total if self.total else None


def placeholder_survival(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    find: Callable[[str], Counter[str]],
) -> Survival:
    """Count the placeholders and markup that survive translation.

    Args:
        sources: Source sentences.
        hypotheses: One translation per source.
        find: Gives the placeholders of a text and how often each stands there, such as
            `askew.text.find_placeholders`.

    Returns:
        Kept and total, each occurrence counted once.

    Raises:
        ValueError: If the counts differ.

    Example:
        >>> placeholder_survival(["a %s b"], ["x %s"], lambda t: Counter(t.count("%s") * ["%s"]))
        Survival(kept=1, total=1)
    """
    require(
        len(sources) == len(hypotheses),
        "placeholder_survival: there must be one hypothesis per source; "
        f"got {len(hypotheses)} hypotheses, {len(sources)} sources",
    )
    kept = total = 0
    for source, hypothesis in zip(sources, hypotheses, strict=True):
        wanted = find(source)
        total += wanted.total()
        kept += (wanted & find(hypothesis)).total() if wanted else 0
    return Survival(kept, total)
