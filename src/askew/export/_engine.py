"""The fastest engine that can serve a folder, prepared once."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from askew._ctranslate2_engine import is_made_of, model_files
from askew._files import file_sha256, read_json
from askew._folders import FolderInUseError, one_writer
from askew.export._files import MARK
from askew.text import load_tokenizers

_OWN = "engine"  # sub-folder; "ctranslate2" is the user's, who may have quantized it


class Prepared(NamedTuple):
    """An engine and the folder that it reads.

    Attributes:
        engine: "ctranslate2" or "torch".
        folder: What `Translator.from_pretrained` takes.
        reason: Why it is "torch"; "" for "ctranslate2".

    Example:
        >>> Prepared("torch", Path("model"), "ctranslate2 is not installed").engine
        'torch'
    """

    engine: str
    folder: Path
    reason: str


def prepare_engine(folder: str | Path) -> Prepared:
    """Choose the fastest engine that answers as the model does, and export the model for it.

    CTranslate2 in single precision is several times faster than PyTorch, and its greedy
    translations are equal. The model is exported once, into the sub-folder "engine", and again
    when its weights, its config or its tokenizers have changed. An export of the user's own, in
    single precision and of these files, is taken as it is.

    Args:
        folder: A model folder, or an exported one.

    Returns:
        What serves: "torch" where ctranslate2 is not installed, where it cannot compute the model,
        where the folder cannot be written, or where it is no model, which loading then refuses.

    Example:
        >>> prepare_engine("/nowhere").engine
        'torch'
    """
    folder = Path(folder)
    try:
        import ctranslate2  # noqa: F401
    except ModuleNotFoundError:
        return Prepared("torch", folder, "ctranslate2 is not installed")
    if (folder / MARK).is_file():
        return Prepared("ctranslate2", folder, "")
    weights = folder / "model.safetensors"
    if not (weights.is_file() and (folder / "config.json").is_file()):
        return Prepared("torch", folder, f"{folder} is no model")
    files = model_files(folder)
    for export, is_whole in ((folder / "ctranslate2", _is_marked), (folder / _OWN, _is_sound)):
        if is_whole(export, files) and _has_tokenizers_of(export, folder):
            return Prepared("ctranslate2", export, "")
    from askew.export._ctranslate2 import export_ctranslate2

    try:
        # Two commands at once: the second one does not wait for the first.
        with one_writer(folder, caller="prepare_engine"):
            exported = export_ctranslate2(folder, folder / _OWN)
    except FolderInUseError:
        return Prepared("torch", folder, "another process is at work in the folder")
    except OSError as error:
        return Prepared("torch", folder, f"the folder cannot be written: {error.strerror}")
    except ValueError as error:
        return Prepared("torch", folder, str(error).removeprefix("export_ctranslate2: "))
    return Prepared("ctranslate2", exported, "")


def _is_marked(export: Path, files: Mapping[str, str]) -> bool:
    """Return whether an export is of these files of a model, in single precision."""
    if not (export / MARK).is_file():
        return False
    mark = read_json(export / MARK)
    return mark.get("quantization") == "float32" and is_made_of(mark, files)


def _has_tokenizers_of(export: Path, folder: Path) -> bool:
    """Return whether an export reads and writes the words of the folder."""
    try:
        ours, theirs = (
            [tokenizer.to_str() for tokenizer in load_tokenizers(one)] for one in (export, folder)
        )
    except ValueError:  # a damaged file, which loading then refuses
        return False
    return ours == theirs


def _is_sound(export: Path, files: Mapping[str, str]) -> bool:
    """Return the same of an export of our own, whose files must be those that were written."""
    if not _is_marked(export, files):
        return False
    written = read_json(export / MARK)["files"]
    return all(
        (export / name).is_file() and file_sha256(export / name) == sha256
        for name, sha256 in written.items()
    )
