"""Our layers in the form for which transformers has gradient checkpointing.

`model.gradient_checkpointing_enable()` looks for layers of this base class.
"""

from transformers.modeling_layers import GradientCheckpointingLayer

from askew.transformer import DecoderLayer, EncoderLayer


class CheckpointedEncoderLayer(GradientCheckpointingLayer, EncoderLayer):
    """An `EncoderLayer` that keeps no activations in training, if told to."""


class CheckpointedDecoderLayer(GradientCheckpointingLayer, DecoderLayer):
    """A `DecoderLayer` that keeps no activations in training, if told to."""
