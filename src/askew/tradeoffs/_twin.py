"""The symmetric model that costs as much as an asymmetric one."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast

from askew._check import require
from askew.transformer import StackConfig, parameter_count

FF_STEP = 8


Config = TypeVar("Config")


class Twin(NamedTuple, Generic[Config]):
    """A symmetric configuration, its relative mismatch in cost, and what was matched.

    Args:
        config: Equal on both sides.
        residual: Its cost divided by that of the asymmetric model, minus 1.
        match: "parameters", "flops", "latency" or "time".

    Example:
        >>> from askew.transformer import EncoderDecoderConfig
        >>> size = {"d_model": 32, "num_heads": 2, "d_ff": 64}
        >>> deep, flat = (StackConfig(num_layers=layers, **size) for layers in (6, 1))
        >>> vocab = {"source_vocab": 99, "target_vocab": 99}
        >>> twin = symmetric_twin(EncoderDecoderConfig(encoder=deep, decoder=flat, **vocab))
        >>> twin.config.encoder == twin.config.decoder, abs(twin.residual) < 0.1
        (True, True)
    """

    config: Config
    residual: float
    match: str


def symmetric_twin(
    config: Config,
    *,
    sides: tuple[str, str] = ("encoder", "decoder"),
    count: Callable[[Any], Any] = parameter_count,
    match: Literal["parameters", "flops"] = "parameters",
    tolerance: float = 0.01,
) -> Twin[Config]:
    """Find the symmetric model that costs as much: one stack, used on both sides.

    The depth is the mean of both depths; heads, dropout and the rest are those of the wider
    side. Among the widths for which a feed-forward width closes the gap, the one whose
    feed-forward ratio is nearest to the original's is taken. A symmetric model is its own twin.

    Args:
        config: The asymmetric model, a dataclass.
        sides: Names of its two `StackConfig`s that are to be equal.
        count: Computes what is matched, as a number or as an object with the number in `total`; it
            must be linear in d_ff, as parameters and operations are.
        match: What `count` counts.
        tolerance: Largest relative mismatch, > 0.

    Returns:
        The configuration and the remaining mismatch.

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
    require(
        match in ("parameters", "flops"),
        f"symmetric_twin: match must be 'parameters' or 'flops'; got {match!r}",
    )
    require(tolerance > 0, f"symmetric_twin: tolerance must be positive; got {tolerance}")
    one, other = sides_of(config, sides, "symmetric_twin")
    if one == other:
        return Twin(config, 0.0, match)

    def total(twin: Config) -> float:
        counted = count(twin)
        return getattr(counted, "total", counted)

    wanted = total(config)
    wide, depth = middle(one, other)
    ratio = wide.d_ff / wide.d_model
    best: tuple[float, Config, float] | None = None
    for side in candidates(wide, depth):
        side = _close_gap(side, wanted, lambda stack: total(with_both(config, sides, stack)))
        twin = with_both(config, sides, side)
        residual = total(twin) / wanted - 1
        distance = abs(math.log(side.d_ff / side.d_model / ratio))
        if abs(residual) <= tolerance and (best is None or distance < best[0]):
            best = (distance, twin, residual)
    if best is None:
        raise ValueError(
            f"symmetric_twin: no symmetric model comes within {tolerance:.1%} of the {match}; "
            f"got {wanted} to match. Raise the tolerance or change a width"
        )
    return Twin(best[1], best[2], match)


def sides_of(
    config: object, sides: tuple[str, str], caller: str
) -> tuple[StackConfig, StackConfig]:
    """Return the two stacks of a configuration, or refuse one that has none."""
    one, other = stacks = [getattr(config, side, None) for side in sides]
    if not (isinstance(one, StackConfig) and isinstance(other, StackConfig)):
        raise ValueError(
            f"{caller}: sides must be two fields that hold a StackConfig; "
            f"got sides {sides}, {type(config).__name__} with {stacks}"
        )
    return one, other


def with_both(config: Config, sides: tuple[str, str], stack: StackConfig) -> Config:
    """Put the same stack on both sides."""
    return replace(cast(Any, config), **dict.fromkeys(sides, stack))


def middle(one: StackConfig, other: StackConfig) -> tuple[StackConfig, int]:
    """Return the wider stack, and the mean depth of both."""
    wide = max(one, other, key=lambda side: side.d_model)
    return wide, round((one.num_layers + other.num_layers) / 2)


def candidates(wide: StackConfig, depth: int) -> list[StackConfig]:
    """List stacks of a depth with the heads of the wide one and every even head width."""
    heads = wide.num_heads
    widths = range(2 * heads, 2 * wide.d_model + 1, 2 * heads)
    return [
        replace(wide, num_layers=depth, d_model=width, d_key=_scaled(wide, width))
        for width in widths
    ]


def _scaled(wide: StackConfig, width: int) -> int | None:
    """Scale the key width of the wide stack to another width, as a multiple of its heads."""
    if wide.d_key is None:
        return None
    per_head = wide.d_key * width / wide.d_model / wide.num_heads
    return max(1, round(per_head)) * wide.num_heads


def _close_gap(
    side: StackConfig, wanted: float, count: Callable[[StackConfig], float]
) -> StackConfig:
    """Choose the feed-forward width that comes nearest to the wanted count."""
    one, two = (count(replace(side, d_ff=d * FF_STEP)) for d in (1, 2))
    require(
        two > one,
        f"symmetric_twin: count must grow with d_ff; got {one} for d_ff {FF_STEP} and {two} "
        f"for d_ff {2 * FF_STEP}",
    )
    steps = max(1, 1 + round((wanted - one) / (two - one)))
    return replace(side, d_ff=steps * FF_STEP)
