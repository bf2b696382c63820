"""Encoder-decoder Transformers as plain modules, each side with its own configuration."""

from askew.transformer._config import EncoderDecoderConfig, PositionConfig, StackConfig
from askew.transformer._cost import (
    ParameterCount,
    cache_bytes,
    parameter_count,
    stack_flops,
    stack_parameters,
    training_flops,
)
from askew.transformer._encoder_decoder import AsymmetricEncoderDecoder
from askew.transformer._layers import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    LayerCache,
    LayerOutput,
    Trace,
)
from askew.transformer._reader import Reader, ReaderConfig, ReaderLayer, SpanScores
from askew.transformer._stacks import Decoder, Encoder
from askew.transformer._token_encoder import TokenEncoder

__all__ = [
    "AsymmetricEncoderDecoder",
    "Decoder",
    "DecoderLayer",
    "Encoder",
    "EncoderDecoderConfig",
    "EncoderLayer",
    "FeedForward",
    "LayerCache",
    "LayerOutput",
    "ParameterCount",
    "PositionConfig",
    "Reader",
    "ReaderConfig",
    "ReaderLayer",
    "SpanScores",
    "StackConfig",
    "TokenEncoder",
    "Trace",
    "cache_bytes",
    "parameter_count",
    "stack_flops",
    "stack_parameters",
    "training_flops",
]
