"""Which layers of one model a student keeps, as numbers that a search can draw."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from askew._check import require
from askew._config import errors_name_file, load_config
from askew.models import kept_layers
from askew.tasks._arm_names import read_arm
from askew.tasks._layers import SIDES

RULES = ("spread", "first", "last", "measured")


@dataclass(frozen=True, kw_only=True, slots=True)
class SideCut:
    """The layers of one side that a student keeps.

    Attributes:
        num_layers: How many.
        keep: Which: "spread", "first", "last", "measured", or numbers, as "0,2". Where rules
            keep the same layers it is set to the first of these, so that equal cuts are equal.
        order: All layers of the side, the one that "measured" leaves out last first, as "2,0,1".

    Raises:
        ValueError: If the side has fewer layers, or there is no such rule.
    """

    num_layers: int
    keep: str = "spread"
    order: str

    def __post_init__(self) -> None:
        depth = len(_numbers(self.order))
        require(
            sorted(_numbers(self.order)) == list(range(depth)),
            f"SideCut: order must have all layers once; got order {self.order!r}",
        )
        require(
            1 <= self.num_layers <= depth,
            f"SideCut: num_layers must be in [1, {depth}], the layers of the model; got "
            f"num_layers {self.num_layers}",
        )
        kept = self._kept(self.keep)
        names = [rule for rule in RULES if self._kept(rule) == kept]
        object.__setattr__(self, "keep", names[0] if names else ",".join(map(str, kept)))

    @property
    def kept(self) -> list[int]:
        """Numbers of the layers."""
        return self._kept(self.keep)

    def _kept(self, rule: str) -> list[int]:
        order = _numbers(self.order)
        if rule == "measured":
            return sorted(order[: self.num_layers])
        if rule in RULES:
            return kept_layers(len(order), self.num_layers, rule)
        return kept_layers(len(order), self.num_layers, _numbers(rule))


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(
            f"SideCut: layers must be {', '.join(RULES)} or numbers as 0,2; got {text!r}"
        ) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class CutConfig:
    """The layers of both sides that a student keeps.

    Attributes:
        encoder: Of the encoder.
        decoder: Of the decoder.
    """

    encoder: SideCut
    decoder: SideCut

    @property
    def kept(self) -> dict[str, list[int]]:
        """Numbers of the layers by side."""
        return {side: getattr(self, side).kept for side in SIDES}


def read_cut_config(path: Path) -> CutConfig:
    """Read the cut that a search wrote, without its numbers of training."""
    values = {name: value for name, value in read_arm(path).items() if name != "training"}
    with errors_name_file(path):
        return load_config(CutConfig, values)


def read_cut(path: str | Path) -> Mapping[str, list[int]]:
    """Read which layers a search for students found, for `shrink`.

    Args:
        path: A found.toml of `askew find translation --from`.

    Returns:
        Numbers of layers for "encoder" and "decoder".

    Raises:
        ValueError: If there is no such file, or it is of another search.

    Example:
        >>> read_cut("nowhere.toml")
        Traceback (most recent call last):
        ValueError: read_toml: the file must exist; got path 'nowhere.toml'
    """
    return read_cut_config(Path(path)).kept
