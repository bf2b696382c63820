"""A model folder on disk, which is loaded whole or refused."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from askew._check import require
from askew._files import file_sha256, in_short, is_version, parse_json, write_json
from askew.inspection import query_key_maps
from askew.models._adapter_files import refuse_adapter
from askew.models._config_values import (
    check_depth,
    of_ours,
    read_checked_config,
    read_config_values,
)
from askew.models._configuration import AsymmetricTranslationConfig
from askew.models._label_configuration import AsymmetricLabelConfig
from askew.models._label_model import AsymmetricLabelModel
from askew.models._qa import AsymmetricQAModel
from askew.models._qa_configuration import AsymmetricQAConfig
from askew.models._transformers_models import fill_model, make_config, make_on_meta, read_weights
from askew.models._translation import AsymmetricTranslationModel

_SUMS = "checksums.json"
_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_QUESTIONS = "question_tokenizer.json"
_TARGET = "target_tokenizer.json"
_SUMMED = (*_FILES, _TARGET, _QUESTIONS, "generation_config.json")


_Model = TypeVar("_Model", bound=PreTrainedModel)


class _Expected(NamedTuple, Generic[_Model]):
    """What a folder must hold, and the function that messages name."""

    caller: str
    config: type[PreTrainedConfig]
    model: type[_Model]
    files: tuple[str, ...]
    optional: tuple[str, ...] = ()


_TRANSLATION = _Expected(
    "load_translation_model",
    AsymmetricTranslationConfig,
    AsymmetricTranslationModel,
    _FILES,
    (_TARGET,),
)
_QA = _Expected("load_qa_model", AsymmetricQAConfig, AsymmetricQAModel, (*_FILES, _QUESTIONS))
_LABELS = _Expected("load_label_model", AsymmetricLabelConfig, AsymmetricLabelModel, _FILES)


def write_checksums(folder: str | Path) -> None:
    """Write the SHA-256 of every file of a model, so that an altered one is noticed.

    Args:
        folder: A folder with a model and its tokenizers.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "config.json").write_text("{}")
        ...     write_checksums(folder)
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['checksums.json', 'config.json']
    """
    folder = Path(folder)
    sums = {name: file_sha256(folder / name) for name in _SUMMED if (folder / name).is_file()}
    write_json(folder / _SUMS, {"version": 1, "sha256": sums})


def load_translation_model(folder: str | Path) -> AsymmetricTranslationModel:
    """Load a translation model, or refuse its folder with the reason.

    If the folder holds the checksums that training writes, every file must match its own. Every
    weight must be present, finite and of its shape.

    Args:
        folder: A folder with config.json and model.safetensors.

    Returns:
        The model, on the CPU.

    Raises:
        ValueError: If a file is missing, damaged, altered, or of another kind of model.

    Example:
        >>> load_translation_model("/nowhere")
        Traceback (most recent call last):
        ValueError: load_translation_model: a model folder holds config.json; got folder /n...
    """
    return _load(Path(folder), _TRANSLATION)


def load_qa_model(folder: str | Path) -> AsymmetricQAModel:
    """Load a question-answering model, or refuse its folder with the reason.

    The folder is checked as `load_translation_model` does.

    Args:
        folder: A folder with config.json, model.safetensors, tokenizer.json of the contexts
            and question_tokenizer.json.

    Returns:
        The model, on the CPU.

    Raises:
        ValueError: If a file is missing, damaged, altered, or of another kind of model.

    Example:
        >>> load_qa_model("/nowhere")
        Traceback (most recent call last):
        ValueError: load_qa_model: a model folder holds config.json; got folder /nowhere. G...
    """
    return _load(Path(folder), _QA)


def load_label_model(folder: str | Path) -> AsymmetricLabelModel:
    """Load a model that labels texts, or refuse its folder with the reason.

    The folder is checked as `load_translation_model` does.

    Args:
        folder: A folder with config.json, model.safetensors and tokenizer.json.

    Returns:
        The model, on the CPU.

    Raises:
        ValueError: If a file is missing, damaged, altered, or of another kind of model.

    Example:
        >>> load_label_model("/nowhere")
        Traceback (most recent call last):
        ValueError: load_label_model: a model folder holds config.json; got folder /nowhere...
    """
    return _load(Path(folder), _LABELS)


def load_pretrained(folder: Path) -> PreTrainedModel:
    """Load a model that transformers knows, without its head.

    Raises:
        ValueError: If the folder holds no such model, weights of its attention are missing, or an
            adapter lies beside them.
    """
    refuse_adapter("load_checkpoint", folder)
    values = read_checked_config("load_checkpoint", folder)
    try:
        config = make_config(values)
    except Exception as error:  # transformers raises what the class of the config does
        raise _unknown(folder, error) from error
    tensors = read_weights("load_checkpoint", folder)
    check_depth("load_checkpoint", folder, values, len(tensors))
    try:
        model, report = fill_model(type(make_on_meta(config)), config, tensors)
        paths = tuple(f"{attention.name}." for attention in query_key_maps(model))
    except Exception as error:  # transformers raises what the values of the config lead to
        raise _unknown(folder, error) from error
    missing = sorted(name for name in report["missing_keys"] if name.startswith(paths))
    require(
        not missing,
        f"load_checkpoint: the file must hold every weight of attention; got {folder} without "
        f"{missing[:3]}",
    )
    return model


def model_fingerprint(folder: str | Path) -> str:
    """Identify the weights of a model, to recognise what was made with other weights.

    Args:
        folder: A model folder.

    Returns:
        The SHA-256 of model.safetensors, 64 hexadecimal digits.

    Raises:
        ValueError: If there is no such file.

    Example:
        >>> model_fingerprint("/nowhere")
        Traceback (most recent call last):
        ValueError: model_fingerprint: a model folder holds model.safetensors; got folder /...
    """
    weights = Path(folder) / "model.safetensors"
    require(
        weights.is_file(),
        f"model_fingerprint: a model folder holds model.safetensors; got folder {folder}",
    )
    return file_sha256(weights)


def joint_fingerprint(kind: str, sums: Iterable[str]) -> str:
    """Identify files of a model by their sums, to recognise what was made with others."""
    return hashlib.sha256("\n".join([kind, *sums]).encode()).hexdigest()


def _load(folder: Path, expected: _Expected[_Model]) -> _Model:
    for name in expected.files:
        if (folder / name).is_file():
            continue
        _check_type(
            read_config_values(folder).get("model_type") or expected.config.model_type,
            folder / "config.json",
            expected,
        )
        raise ValueError(
            f"{expected.caller}: a model folder holds {name}; got folder {folder}. "
            "Give the folder that training wrote"
        )
    refuse_adapter(expected.caller, folder)
    _check_sums(folder, expected)
    values = read_checked_config(expected.caller, folder)
    _check_type(values.get("model_type"), folder / "config.json", expected)
    tensors = read_weights(expected.caller, folder)
    check_depth(expected.caller, folder, values, len(tensors))
    config = _make_config(folder / "config.json", values, expected)
    try:
        model, report = fill_model(expected.model, config, tensors)
    except Exception as error:  # transformers raises what the values of the config lead to
        raise _damaged(folder, expected, in_short(error)) from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            names = sorted(map(str, report[problem]))[:3]
            raise _damaged(folder, expected, f"{problem.replace('_', ' ')} {names}")
    broken = [n for n, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if broken:
        raise _damaged(folder, expected, f"numbers that are not finite in {broken[0]}")
    return model


def _make_config(path: Path, values: dict, expected: _Expected) -> PreTrainedConfig:
    try:
        config = expected.config.from_dict(values)
        for name in ("pad_token_id", "decoder_start_token_id") if config.is_encoder_decoder else ():
            token, size = getattr(config, name), config.vocab_size
            require(
                token is None or 0 <= token < size, f"{name} must be in [0, {size}); got {token}"
            )
    except Exception as error:  # transformers raises what the values lead to
        raise ValueError(
            f"{expected.caller}: config.json must hold the numbers of a model; "
            f"got {path}: {in_short(error)}"
        ) from error
    return config


def _check_type(model_type: object, path: Path, expected: _Expected) -> None:
    wanted = expected.config.model_type
    require(
        model_type == wanted,
        f"{expected.caller}: config.json must be of an {wanted} model; "
        f"got model_type {model_type!a} in {path}"
        f"{f', which is of {ours}' if (ours := of_ours(path.parent)) else ''}",
    )


def _check_sums(folder: Path, expected: _Expected) -> None:
    path = folder / _SUMS
    if not path.is_file():
        return
    try:
        stored = parse_json(path.read_text(encoding="utf-8"))
        sums, version = dict(stored["sha256"]), stored["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{expected.caller}: {path} must hold checksums; got {error!r}. Restore it"
        ) from None
    require(
        is_version(version, 1),
        f"{expected.caller}: checksums must be of version 1; got version {version!r} in {path}. "
        "Read it with the release that wrote it",
    )
    read = (*expected.files, *(name for name in expected.optional if (folder / name).exists()))
    added = [name for name in read if name not in sums]
    require(
        not added,
        f"{expected.caller}: a file that is read must be one that training wrote; got {added} in "
        f"{folder}, not in {_SUMS}. Remove it, or train again",
    )
    for name, digest in sums.items():
        require(
            name == Path(name).name,
            f"{expected.caller}: checksums must be of files in the folder; got {name!r} in {path}",
        )
        require(
            (folder / name).is_file() and file_sha256(folder / name) == digest,
            f"{expected.caller}: a file must be as it was written; "
            f"got {folder / name} missing or altered. Restore it, or train again",
        )


def _unknown(folder: Path, error: Exception) -> ValueError:
    return ValueError(
        "load_checkpoint: the folder must hold a model with attention that transformers knows, "
        f"with its weights as safetensors; got folder {folder}: {in_short(error)}"
    )


def _damaged(folder: Path, expected: _Expected, fault: str) -> ValueError:
    return ValueError(
        f"{expected.caller}: model.safetensors must hold every weight of the model; "
        f"got {folder / 'model.safetensors'}: {fault}. Restore it, or train again"
    )
