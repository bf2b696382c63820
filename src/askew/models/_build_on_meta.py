"""A saved model without its weights."""

from pathlib import Path

from transformers import PreTrainedModel

from askew._files import in_short
from askew.models._config_values import read_checked_config
from askew.models._kinds import model_kind
from askew.models._transformers_models import known_class, make_config, make_on_meta


def build_on_meta(folder: str | Path) -> PreTrainedModel:
    """Build the model that a folder's config describes, on the meta device: no weight is read.

    Args:
        folder: A folder with a `config.json` as transformers writes it. Only classes that
            transformers or this library define are built; no code of the folder is run.

    Returns:
        The model with parameters that have shapes and no memory.

    Raises:
        ValueError: If there is no config, or its architecture is not known here.

    Example:
        >>> build_on_meta("/nowhere")
        Traceback (most recent call last):
        ValueError: build_on_meta: the folder must hold a config.json; got folder /nowhere
    """
    folder = Path(folder)
    values = read_checked_config("build_on_meta", folder)
    model_class = model_kind(folder).model_class or known_class(values.get("architectures"))
    try:
        return make_on_meta(make_config(values), model_class)
    except Exception as error:  # transformers raises what the values of the config lead to
        raise ValueError(
            "build_on_meta: config.json must describe a model that transformers knows; "
            f"got {folder}: {in_short(error)}"
        ) from error
