"""Models of transformers, loaded from a folder without their head."""

from pathlib import Path

from transformers import AutoModel, PreTrainedModel

from askew._check import require
from askew._files import in_short
from askew.inspection import query_key_maps
from askew.models._folder import check_depth, read_config_values


def load_pretrained(folder: Path) -> PreTrainedModel:
    """Load a model that transformers knows, without its head.

    Raises:
        ValueError: If the folder holds no such model, or weights of its attention are missing.
    """
    if (folder / "model.safetensors").is_file():  # else of several files, named by their index
        check_depth("load_checkpoint", folder, read_config_values(folder))
    try:
        model, report = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        paths = tuple(f"{attention.name}." for attention in query_key_maps(model))
    except Exception as error:  # transformers raises what the values of the config lead to
        raise ValueError(
            "load_checkpoint: the folder must hold a model with attention that transformers knows, "
            f"with its weights as safetensors; got folder {folder}: {in_short(error)}"
        ) from error
    missing = sorted(name for name in report["missing_keys"] if name.startswith(paths))
    require(
        not missing,
        f"load_checkpoint: the file must hold every weight of attention; got {folder} without "
        f"{missing[:3]}",
    )
    return model
