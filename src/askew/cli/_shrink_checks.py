"""Options of `askew shrink` that contradict each other, or that would have no effect."""

from dataclasses import MISSING, fields
from typing import Any

from askew._check import require

DATA = (
    *("pair", "data", "columns", "source", "target"),
    *("valid_source", "valid_target", "test_source", "test_target"),
)
"""Options that say where the pairs are."""
_RULES = ("spread", "first", "last", "measured")
_TAUGHT = ("stop_margin", "targets", "drop_worse", "beams", "freeze_encoder")
_TWICE = ("stop_margin", "freeze_encoder")


def check_shrinking(options: Any) -> None:
    """Refuse options of which one makes another one useless.

    Raises:
        ValueError: If there are such options. The message names them.
    """
    given = {
        one.name: getattr(options, one.name)
        for one in fields(options)
        if one.default is MISSING or getattr(options, one.name) != one.default
    }
    training = options.training_settings()
    _check_taught(given, training)
    for name in _TWICE:
        require(
            name not in given or name not in training,
            f"shrink: {_spelt(name)} is training.{name}; got both. Leave one out",
        )
    _check_layers(options, given)


def _check_taught(given: dict[str, Any], training: dict[str, Any]) -> None:
    """Refuse what only a student has that is taught."""
    has_data = any(name in given for name in DATA)
    if not has_data or given.get("steps") == 0:
        names = [_spelt(name) for name in _TAUGHT if name in given]
        names += [f"--set training.{name}" for name in training]
        if not has_data and given.get("steps"):
            names.append("--steps")
        got, repair = ("--steps 0", "more --steps") if has_data else ("no data", "--data")
        require(
            not names,
            f"shrink: {' and '.join(names)} must go with a student that is taught; got {got}. "
            f"Leave it out, or give {repair}",
        )
    for name in ("drop_worse", "beams"):
        require(
            name not in given or "targets" in given,
            f"shrink: {_spelt(name)} is for what the teacher writes; got --targets reference. "
            "Give --targets teacher or both",
        )


def _check_layers(options: Any, given: dict[str, Any]) -> None:
    """Refuse a rule that is applied to no side, and two answers for one side."""
    keep = options.keep
    if keep.endswith(".toml"):
        others = [n for n in ("encoder_layers", "decoder_layers", "keep_encoder") if n in given]
        require(
            not others,
            f"shrink: --keep {keep} has the layers of both sides; got "
            f"{' and '.join(map(_spelt, others))}, too. Leave it out",
        )
        return
    counts = {side: f"{side}_layers" in given for side in ("encoder", "decoder")}
    is_used = counts["decoder"] or (counts["encoder"] and options.keep_encoder is None)
    for name, rule, used in (
        ("keep", keep, is_used or "at_most" in given),
        ("keep_encoder", options.keep_encoder, counts["encoder"] or "at_most" in given),
    ):
        require(
            name not in given or rule not in _RULES or used,
            f"shrink: {_spelt(name)} {rule} must go with a number of layers; got none. Give "
            f"--encoder-layers{' or --decoder-layers' if name == 'keep' else ''}",
        )


def _spelt(name: str) -> str:
    return f"--{name.replace('_', '-')}"
