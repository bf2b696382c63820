"""A model folder on disk: loaded whole or refused."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError

from askew._check import require
from askew.models._configuration import AsymmetricTranslationConfig
from askew.models._translation import AsymmetricTranslationModel

_SUMS = "checksums.json"
_SUMMED = ("config.json", "model.safetensors", "tokenizer.json", "target_tokenizer.json")


def write_checksums(folder: str | Path) -> None:
    """Write the SHA-256 of every file of a model, so that an altered one is noticed.

    Args:
        folder: A folder with a model and its tokenizers.
    """
    folder = Path(folder)
    sums = {name: _sha256(folder / name) for name in _SUMMED if (folder / name).is_file()}
    (folder / _SUMS).write_text(json.dumps({"version": 1, "sha256": sums}, indent=2) + "\n")


def load_translation_model(folder: str | Path) -> AsymmetricTranslationModel:
    """Load a translation model, or say what is wrong with its folder.

    Where the folder holds the checksums that training writes, every file must have its own;
    every weight must be there, of its shape, and finite.

    Args:
        folder: A folder with config.json and model.safetensors.

    Returns:
        The model, on the CPU.

    Raises:
        ValueError: If a file is missing, damaged, altered, or of another kind of model.
    """
    folder = Path(folder)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        require(
            (folder / name).is_file(),
            f"load_translation_model: a model folder holds {name}; got folder {folder}. "
            "Give the folder that training wrote",
        )
    _check_sums(folder)
    config = _read_config(folder / "config.json")
    try:
        model, report = AsymmetricTranslationModel.from_pretrained(
            folder, config=config, output_loading_info=True
        )
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise _damaged(folder, " ".join(str(error).split())[:200]) from None
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            raise _damaged(
                folder, f"{problem.replace('_', ' ')} {sorted(map(str, report[problem]))[:3]}"
            )
    broken = [n for n, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if broken:
        raise _damaged(folder, f"numbers that are not finite in {broken[0]}")
    return model


def check_export(folder: Path, fingerprint: str) -> None:
    """Refuse an export that was made from other weights than the folder holds now."""
    weights = folder / "model.safetensors"
    require(
        not weights.is_file() or _sha256(weights) == fingerprint,
        "Translator.from_pretrained: the export must be of the weights in the folder; "
        f"got {folder}, trained again since. Run askew export {folder} --to ctranslate2",
    )


def _read_config(path: Path) -> AsymmetricTranslationConfig:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"load_translation_model: {path} must be JSON; got {error}") from None
    kind = values.get("model_type") if isinstance(values, dict) else None
    require(
        kind == AsymmetricTranslationConfig.model_type,
        "load_translation_model: config.json must be of an askew-translation model; "
        f"got model_type {kind!r} in {path}",
    )
    return AsymmetricTranslationConfig.from_dict(values)


def _check_sums(folder: Path) -> None:
    path = folder / _SUMS
    if not path.is_file():
        return
    try:
        expected = dict(json.loads(path.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"load_translation_model: {path} must hold checksums; got {error!r}. Restore it"
        ) from None
    for name, digest in expected.items():
        require(
            (folder / name).is_file() and _sha256(folder / name) == digest,
            "load_translation_model: a file must be as it was written; "
            f"got {folder / name} missing or altered. Restore it, or train again",
        )


def _damaged(folder: Path, fault: str) -> ValueError:
    return ValueError(
        "load_translation_model: model.safetensors must hold every weight of the model; "
        f"got {folder / 'model.safetensors'}: {fault}. Restore it, or train again"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
