"""A saved model without its weights."""

from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from askew._check import require
from askew.models._kinds import model_kind


def build_on_meta(folder: Path) -> PreTrainedModel:
    """Build the model that a folder's config describes, on the meta device: no weight is read.

    Args:
        folder: A folder with a `config.json` as transformers writes it. Only classes that
            transformers or this library define are built; no code of the folder is run.

    Returns:
        The model with parameters that have shapes and no memory.

    Raises:
        ValueError: If there is no config, or its architecture is not known here.

    Example:
        >>> build_on_meta(Path("/nowhere"))
        Traceback (most recent call last):
        ValueError: build_on_meta: the folder must hold a config.json; got folder /nowhere
    """
    require(
        (folder / "config.json").is_file(),
        f"build_on_meta: the folder must hold a config.json; got folder {folder}",
    )
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model_class = model_kind(folder).model_class or _architecture(config.architectures or [])
    with torch.device("meta"):
        return model_class(config)


def _architecture(names: list[str]) -> type[PreTrainedModel]:
    """Return the first class of transformers among those that a config names."""
    for name in names:
        model_class = getattr(transformers, name, None)
        if isinstance(model_class, type) and issubclass(model_class, PreTrainedModel):
            return model_class
    raise ValueError(
        "build_on_meta: config.json must name an architecture that transformers has; "
        f"got architectures {names}"
    )
