"""The symmetric model that costs as much as an asymmetric one."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar, cast

from askew._check import require
from askew.tradeoffs._cost import parameter_count
from askew.transformer import StackConfig

_FF_STEP = 8


Config = TypeVar("Config")


class Twin(NamedTuple, Generic[Config]):
    """A symmetric configuration, its cost over the other's minus 1, and what was matched."""

    config: Config
    residual: float
    match: str


def symmetric_twin(
    config: Config,
    *,
    sides: tuple[str, str] = ("encoder", "decoder"),
    count: Callable[[Any], Any] = parameter_count,
    match: str = "parameters",
    tolerance: float = 0.01,
) -> Twin[Config]:
    """Find the symmetric model with as many parameters: one stack, used on both sides.

    The depth is the mean of both depths; heads, dropout and the rest are those of the wider
    side. Of the widths whose feed-forward width can close the gap, the one whose
    feed-forward ratio is nearest to the original's is taken. A symmetric model is its own twin.

    Args:
        config: The asymmetric model, a dataclass.
        sides: Names of its two `StackConfig`s that are to be equal.
        count: Gives something whose `total` is its number of parameters.
        match: What both have in common; "parameters" is all there is.
        tolerance: Largest relative mismatch, > 0.

    Returns:
        The configuration and the mismatch left.

    Raises:
        ValueError: If `match` is unknown, `sides` or `count` do not fit the config, or no
            symmetric model comes near enough.

    Example:
        >>> from askew.transformer import EncoderDecoderConfig
        >>> deep = StackConfig(d_model=64, num_layers=6, num_heads=4, d_ff=256)
        >>> thin = StackConfig(d_model=32, num_layers=1, num_heads=2, d_ff=128)
        >>> twin = symmetric_twin(
        ...     EncoderDecoderConfig(source_vocab=500, target_vocab=500, encoder=deep, decoder=thin)
        ... )
        >>> twin.config.encoder == twin.config.decoder, abs(twin.residual) < 0.01
        (True, True)
    """
    require(match == "parameters", f"symmetric_twin: match must be 'parameters'; got {match!r}")
    require(tolerance > 0, f"symmetric_twin: tolerance must be positive; got {tolerance}")
    one, other = stacks = [getattr(config, side, None) for side in sides]
    if not (isinstance(one, StackConfig) and isinstance(other, StackConfig)):
        raise ValueError(
            "symmetric_twin: sides must be two fields that hold a StackConfig; "
            f"got sides {sides}, {type(config).__name__} with {stacks}"
        )
    if one == other:
        return Twin(config, 0.0, match)

    def both(stack: StackConfig) -> Config:
        return replace(cast(Any, config), **dict.fromkeys(sides, stack))

    wanted = count(config).total
    wide = max(one, other, key=lambda side: side.d_model)
    depth = round((one.num_layers + other.num_layers) / 2)
    ratio = wide.d_ff / wide.d_model
    best: tuple[float, Config, float] | None = None
    for side in _candidates(wide, depth):
        side = _close_gap(side, wanted, lambda stack: count(both(stack)).total)
        twin = both(side)
        residual = count(twin).total / wanted - 1
        strangeness = abs(math.log(side.d_ff / side.d_model / ratio))
        if abs(residual) <= tolerance and (best is None or strangeness < best[0]):
            best = (strangeness, twin, residual)
    if best is None:
        raise ValueError(
            f"symmetric_twin: no symmetric model comes within {tolerance:.1%} of the parameters; "
            f"got {wanted} to match. Raise the tolerance or change a width"
        )
    return Twin(best[1], best[2], match)


def _candidates(wide: StackConfig, depth: int) -> list[StackConfig]:
    """Stacks of a depth, as many heads as the wide side, and every even head width."""
    heads = wide.num_heads
    widths = range(2 * heads, 2 * wide.d_model + 1, 2 * heads)
    return [
        replace(wide, num_layers=depth, d_model=width, d_key=_scaled(wide, width))
        for width in widths
    ]


def _scaled(wide: StackConfig, width: int) -> int | None:
    """The key width in the proportion of the wide side, a multiple of its heads."""
    if wide.d_key is None:
        return None
    per_head = wide.d_key * width / wide.d_model / wide.num_heads
    return max(1, round(per_head)) * wide.num_heads


def _close_gap(side: StackConfig, wanted: int, count: Callable[[StackConfig], int]) -> StackConfig:
    """Give the feed-forward width that comes nearest to the wanted parameters."""
    one, two = (count(replace(side, d_ff=d * _FF_STEP)) for d in (1, 2))
    require(
        two > one,
        f"symmetric_twin: count must grow with d_ff; got {one} for d_ff {_FF_STEP} and {two} "
        f"for d_ff {2 * _FF_STEP}",
    )
    steps = max(1, 1 + round((wanted - one) / (two - one)))
    return replace(side, d_ff=steps * _FF_STEP)
