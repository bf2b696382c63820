"""Sizes under the names of other models: read from our fields, and refused where they are set."""

from collections.abc import Callable, Iterable
from typing import Any

from askew._check import require

_SIZES = {
    *("d_model", "hidden_size", "n_embd", "d_ff", "intermediate_size", "num_heads", "num_layers"),
    *("num_attention_heads", "n_head", "n_layer", "encoder_attention_heads", "encoder_ffn_dim"),
    *("decoder_attention_heads", "decoder_ffn_dim", "head_dim", "num_key_value_heads"),
}
"""What models of transformers call their sizes."""


def refuse_foreign_sizes(
    caller: str, names: Iterable[str], fields: str, *, more: Iterable[str] = ()
) -> None:
    """Refuse the names of sizes, and `more`, among the names of unknown fields.

    Raises:
        ValueError: If there is one; the message says in which fields sizes are set.
    """
    foreign = sorted((_SIZES | set(more)).intersection(names))
    require(
        not foreign,
        f"{caller}: sizes must be set in {fields}; got {', '.join(foreign)}",
    )


def derived_size(fields: str, read: Callable[[Any], int | None]) -> property:
    """Make a size readable under the name that other models have for it; setting it is an error."""

    def refuse(config: Any, value: object) -> None:
        raise ValueError(f"{type(config).__name__}: sizes must be set in {fields}; got {value!r}")

    return property(read, refuse)
