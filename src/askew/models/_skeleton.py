"""The shape of a saved model without its weights."""

from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from askew._check import require


def model_skeleton(folder: Path) -> PreTrainedModel:
    """Build the model that a folder's config describes, on the meta device: no weight is read.

    Args:
        folder: A folder with a `config.json` as transformers writes it. Only classes that
            transformers or this library define are built; no code of the folder is run.

    Returns:
        The model with parameters that have shapes and no memory.

    Raises:
        ValueError: If there is no config, or its architecture is not known here.

    Example:
        >>> model_skeleton(Path("/nowhere"))
        Traceback (most recent call last):
        ValueError: model_skeleton: the folder must hold a config.json; got folder /nowhere
    """
    require(
        (folder / "config.json").is_file(),
        f"model_skeleton: the folder must hold a config.json; got folder {folder}",
    )
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    names = config.architectures or []
    known = [kind for kind in map(_model_class, names) if kind is not None]
    require(
        bool(known),
        "model_skeleton: config.json must name an architecture that transformers has; "
        f"got architectures {names}",
    )
    with torch.device("meta"):
        return known[0](config)


def _model_class(name: str) -> type[PreTrainedModel] | None:
    from askew import models

    found = getattr(models, name, None) or getattr(transformers, name, None)
    return found if isinstance(found, type) and issubclass(found, PreTrainedModel) else None
