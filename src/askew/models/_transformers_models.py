"""The one place where models of transformers are made.

transformers is handed values and tensors that were read and checked here, never a folder: what
else lies in a folder (code, adapters, pickled weights, settings of `generate`) has no part in it.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from askew._check import require
from askew._files import in_short, parse_json
from askew.models._config_values import check_depth, checked_values

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_MOST_MODULES = 20_000
"""Of one model: ten times those of the largest, and made in a quarter of a minute."""
_FREE_NUMBERS = 2**28
"""What a model may hold beyond its file, such as tables of positions: a gigabyte."""

_Model = TypeVar("_Model", bound=PreTrainedModel)


def make_config(values: Mapping[str, Any]) -> PreTrainedConfig:
    """Make the config of a model that transformers knows, or this library.

    Raises:
        ValueError: If the values name anything outside them, or a count is too large.
        Exception: Whatever the class of the config raises.
    """
    return AutoConfig.for_model(**checked_values("make_config", values, "the config"))


def make_model(config: PreTrainedConfig) -> Any:
    """Make a model without its head; its weights are random."""
    with _counting_modules():
        return AutoModel.from_config(config, trust_remote_code=False)


def make_on_meta(
    config: PreTrainedConfig, model_class: type[PreTrainedModel] | None = None
) -> PreTrainedModel:
    """Make a model without memory: of a class, or without its head."""
    with torch.device("meta"), _counting_modules():
        model = make_model(config) if model_class is None else model_class(config)
    model.tie_weights()  # which transformers 5.0 leaves out on this device
    return model


def known_class(names: object) -> type[PreTrainedModel]:
    """Return the first class of transformers among those that a config names."""
    for name in names if isinstance(names, list) else []:
        model_class = getattr(transformers, name, None) if isinstance(name, str) else None
        if isinstance(model_class, type) and issubclass(model_class, PreTrainedModel):
            return model_class
    raise ValueError(
        "build_on_meta: config.json must name an architecture that transformers has; "
        f"got architectures {names!r}"
    )


def read_weights(caller: str, folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a model folder, which are safetensors in one file or in several.

    Raises:
        ValueError: If there are none, a file is damaged, or the index names a file outside the
            folder or of another kind.
    """
    tensors: dict[str, Tensor] = {}
    for name in _weight_files(caller, folder):
        require(
            (folder / name).is_file(),
            f"{caller}: the folder must hold its weights as safetensors; got folder {folder} "
            f"without {name}. Save the model again with save_pretrained",
        )
        try:
            tensors |= load_file(folder / name)
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(
                f"{caller}: {name} must hold every weight of the model; got {folder / name}, not "
                f"readable as safetensors: {in_short(error)}. Restore it, or train again"
            ) from None
    return tensors


def _weight_files(caller: str, folder: Path) -> list[str]:
    """Name the files of the weights, all of them in the folder itself."""
    path = folder / _INDEX
    if (folder / _WEIGHTS).is_file() or not path.is_file():
        return [_WEIGHTS]
    try:
        names = sorted(set(parse_json(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{caller}: an index of weights must name the file of each; got {path}: {error!r}"
        ) from None
    for name in names:
        require(
            isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors"),
            f"{caller}: weights must be files of safetensors in the folder itself; got {name!r} in "
            f"{path}",
        )
    return names


def fill_model(
    model_class: type[_Model], config: PreTrainedConfig, tensors: dict[str, Tensor]
) -> tuple[_Model, dict[str, Any]]:
    """Make a model with the given weights; also say which were missing, or fitted nowhere.

    Raises:
        ValueError: If the config asks for far more numbers than there are weights.
        Exception: Whatever the values of the config lead to.
    """
    stored = sum(tensor.numel() for tensor in tensors.values())
    _check_size(make_on_meta(config, model_class), stored)
    with _quietly():
        # pyrefly: ignore[bad-return]  output_loading_info makes the result a pair
        return model_class.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers from drawing a bar, and from printing the report that is returned."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def read_tokenizer(folder: Path) -> Any:
    """Read the tokenizer of a model of transformers.

    Raises:
        ValueError: If its settings name code, or there is none.
        Exception: Whatever its files lead to.
    """
    for name in ("tokenizer_config.json", "config.json"):
        if (folder / name).is_file():
            values = parse_json((folder / name).read_text(encoding="utf-8"))
            checked_values("read_attention", values, folder / name)
    tokenizer: Any = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, split_special_tokens=True
    )
    files = sorted(tokenizer.vocab_files_names.values())
    # Without a file, transformers may make a tokenizer that knows no words.
    if files and not any((folder / name).is_file() for name in files):
        raise ValueError(f"a file of the vocabulary is missing: {' or '.join(files)}")
    return tokenizer


def read_feature_extractor(folder: Path) -> Any:
    """Read what turns recordings into the inputs of a model of transformers.

    Raises:
        ValueError: If there is none, or its settings name code.
        Exception: Whatever its settings lead to.
    """
    path = folder / "preprocessor_config.json"
    require(path.is_file(), f"the folder must hold {path.name}; got {folder}")
    checked_values("load_seq2seq", parse_json(path.read_text(encoding="utf-8")), path)
    return AutoFeatureExtractor.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )


def check_fits(
    caller: str, values: Mapping[str, Any], config: PreTrainedConfig, folder: Path
) -> None:
    """Check that the weights of a folder are of about the size that its config describes.

    Raises:
        ValueError: If the config asks for far more, or no model can be made of it.
    """
    sizes: list[int] = []
    for name in _weight_files(caller, folder):
        try:
            with safe_open(folder / name, "pt") as file:
                names = file.keys()
                shapes = [file.get_slice(tensor).get_shape() for tensor in names]
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{caller}: weights must be safetensors; got {folder / name}: {in_short(error)}"
            ) from None
        sizes += map(math.prod, shapes)
    check_depth(caller, folder, values, len(sizes))
    try:
        model = make_on_meta(config)
    except Exception as error:  # transformers raises what the values of the config lead to
        raise ValueError(
            f"{caller}: config.json must be of an encoder; got folder {folder}: {in_short(error)}"
        ) from error
    _check_size(model, sum(sizes))


def _check_size(model: nn.Module, stored: int) -> None:
    numbers = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    require(
        numbers <= 4 * stored + _FREE_NUMBERS,
        "check_fits: the weights must be those that config.json describes; got a config of "
        f"{numbers:,} numbers and weights of {stored:,}. Restore config.json",
    )


@contextmanager
def _counting_modules() -> Iterator[None]:
    """Stop a model that would take hours to make."""
    made = 0

    def count(*_: object) -> None:
        nonlocal made
        made += 1
        require(
            made <= _MOST_MODULES,
            f"make_model: a model may have at most {_MOST_MODULES} modules; got more. Restore "
            "config.json",
        )

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
