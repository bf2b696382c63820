"""States and attention weights that a caller of a model asks for, as transformers returns them."""

from torch import Tensor
from transformers import PreTrainedConfig

from askew.transformer import Trace

Tensors = tuple[Tensor, ...] | None


def new_trace(
    config: PreTrainedConfig,
    attentions: bool | None,
    states: bool | None,
    *,
    ours: bool = True,
) -> Trace | None:
    """Make the lists for what is asked for, here or in the config.

    With the implementation "eager" layers of ours always compute weights: that is what it means.
    """
    states = config.output_hidden_states if states is None else states
    eager = ours and config._attn_implementation == "eager"
    weights = eager or _wants_weights(config, attentions)
    if not (weights or states):
        return None
    return Trace([] if states else None, *(([], []) if weights else ()))


def asked_for(
    trace: Trace | None, config: PreTrainedConfig, attentions: bool | None
) -> tuple[Tensors, Tensors, Tensors]:
    """Return states, weights and weights of cross-attention, or None for what nobody wants."""
    states, *weights = Trace() if trace is None else trace
    if not _wants_weights(config, attentions):
        weights = (None, None)
    states, weights, cross_weights = (
        None if kept is None else tuple(kept) for kept in (states, *weights)
    )
    return states, weights, cross_weights


def _wants_weights(config: PreTrainedConfig, asked: bool | None) -> bool:
    return bool(config.output_attentions if asked is None else asked)
