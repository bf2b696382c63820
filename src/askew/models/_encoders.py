"""Encoders of transformers in the place of our own."""

import json
from pathlib import Path

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from askew._check import require
from askew._reading import in_short

_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")


class PretrainedEncoder(nn.Module):
    """An encoder of transformers with the call of a `TokenEncoder`; its weights are random.

    Args:
        config: As `encoder_config` gives it.

    Example:
        >>> import torch
        >>> from transformers import BertConfig
        >>> small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
        >>> encoder = PretrainedEncoder(BertConfig(vocab_size=9, intermediate_size=8, **small))
        >>> encoder(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        self.encoder = AutoModel.from_config(config)
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # nobody reads it

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read tokens [batch, length]; `mask` is True at real ones."""
        attention = None if mask is None else mask.long()
        return self.encoder(input_ids=tokens, attention_mask=attention).last_hidden_state

    def read_weights(self, folder: str | Path) -> None:
        """Take the weights of a folder of transformers."""
        theirs = AutoModel.from_pretrained(
            folder, config=self.encoder.config, use_safetensors=True, local_files_only=True
        )
        weights = {name: w for name, w in theirs.state_dict().items() if "pooler." not in name}
        self.encoder.load_state_dict(weights)

    def freeze(self, layers: int) -> None:
        """Keep the embeddings and the lowest layers as they are.

        Raises:
            ValueError: If there are not so many.
        """
        stacks = [m for m in self.encoder.modules() if isinstance(m, nn.ModuleList)]
        stack = max(stacks, key=len)
        require(
            0 <= layers <= len(stack),
            f"freeze: layers must be in [0, {len(stack)}]; got layers {layers}",
        )
        if layers == 0:
            return
        later = {id(p) for layer in stack[layers:] for p in layer.parameters()}
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(id(parameter) in later)


def read_encoder_config(folder: str | Path, *, dropout: float = 0.0) -> dict:
    """Read the config of an encoder folder of transformers, as plain values.

    Args:
        folder: With config.json, model.safetensors and tokenizer.json.
        dropout: Takes the place of every dropout in it.

    Returns:
        The config.

    Raises:
        ValueError: If a file is missing or the kind of model is unknown. No code of the folder
            is run and nothing is unpickled.

    Example:
        >>> read_encoder_config("/nowhere")
        Traceback (most recent call last):
        ValueError: read_encoder_config: an encoder folder holds config.json, model.safeten...
    """
    folder = Path(folder)
    for name in _FILES:
        require(
            (folder / name).is_file(),
            f"read_encoder_config: an encoder folder holds {', '.join(_FILES)}; got folder "
            f"{folder} without {name}. Give the folder of a transformers model",
        )
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"read_encoder_config: config.json must be JSON; got {folder}: {error}"
        ) from None
    require(
        isinstance(values, dict),
        f"read_encoder_config: config.json must hold an object; got folder {folder}",
    )
    try:
        encoder_config(values)
    except ValueError as error:
        raise ValueError(
            f"read_encoder_config: config.json must be of an encoder; got folder {folder}: {error}"
        ) from None
    return values | {name: dropout for name in _DROPOUTS if name in values}


def encoder_config(values: dict) -> PreTrainedConfig:
    """Make the config object of what `read_encoder_config` gave.

    Raises:
        ValueError: If transformers does not know this kind of model, or refuses a setting.
    """
    require(
        isinstance(values, dict),
        f"encoder_config: an encoder must have an object of settings; got {values!r}",
    )
    try:
        return AutoConfig.for_model(**values)
    except Exception as error:  # transformers raises what the class of the model does
        raise ValueError(
            "encoder_config: the settings must be of a model that transformers knows; "
            f"got model_type {values.get('model_type')!a}: {in_short(error, 120)}"
        ) from error
