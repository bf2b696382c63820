"""The values of a config.json: read as data, without what would lead out of the folder."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from askew._check import require
from askew._files import parse_json

_LEADS_OUT = {
    "auto_map": "code",
    "quantization_config": "another form of the weights, which may need code from elsewhere",
    "fusion_config": "changes to the layers",
    "use_pretrained_backbone": "weights from elsewhere",
    "backbone": "a model from elsewhere",
}
"""What a config names that is neither in it nor in transformers, by the name of its entry."""
_HOW_TO_COMPUTE = re.compile(r"_?(attn|attention|experts)_implementation(_internal|_autoset)?")
"""Chosen by transformers for the machine; in a file it could name kernels to be fetched."""
_MOST = (
    (re.compile(r"(?!max_)(.*_)?(layers?|blocks?|depths?|stages?|experts)"), 4096),
    (re.compile(r"num_labels"), 1_000_000),
)
"""How many a model may have of what it keeps one by one, far above any public model."""
_DEPTHS = {
    *("num_layers", "num_hidden_layers", "num_decoder_layers", "encoder_layers"),
    *("decoder_layers", "n_layers", "n_layer"),
}
"""What transformers calls the number of layers that a model has."""


_OURS = {
    "askew-translation": "a model that askew train translation wrote",
    "askew-qa": "a model that askew train qa wrote",
    "askew-labels": "a model that askew train labels wrote",
}
_LISTS = {
    "index.json": "an index of documents",
    "static.json": "a table of tokens that StaticEncoder.save wrote",
    "results.json": "a comparison",
}


def of_ours(folder: Path) -> str:
    """Say what a folder is if it is one of ours; an empty text for every other one."""
    kind = read_config_values(folder).get("model_type")
    if isinstance(kind, str) and kind in _OURS:
        return _OURS[kind]
    if (folder / "config.json").is_file():
        return ""
    return next((what for name, what in _LISTS.items() if (folder / name).is_file()), "")


def read_config_values(folder: Path) -> dict:
    """Read a config.json; an empty mapping where it cannot be read."""
    path = folder / "config.json"
    try:
        values = parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def read_checked_config(caller: str, folder: Path) -> dict:
    """Read a config.json whose values a model may be built from.

    Raises:
        ValueError: If there is none, it is no JSON object, names code or anything else outside
            the folder, or asks for more layers than any model has.
    """
    path = folder / "config.json"
    require(path.is_file(), f"{caller}: the folder must hold a config.json; got folder {folder}")
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{caller}: config.json must be JSON; got {path}: {error}") from None
    require(
        isinstance(values, dict), f"{caller}: config.json must hold an object; got folder {folder}"
    )
    return checked_values(caller, values, path)


def check_depth(caller: str, folder: Path, values: Mapping[str, object], tensors: int) -> None:
    """Refuse a config with more layers than there are tensors, before so many are built.

    Raises:
        ValueError: If it has more.
    """
    for name, depth in _depths(values):
        require(
            depth <= tensors,
            f"{caller}: the file must hold every layer; got {name} {depth} and {tensors} tensors "
            f"in {folder}. Restore config.json",
        )


def _depths(values: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _depths(value)
        elif isinstance(value, int) and name in _DEPTHS:
            yield name, value


def checked_values(caller: str, values: Mapping[str, object], place: object) -> dict:
    """Return the values of a config without the entries that say how to compute.

    Raises:
        ValueError: If one names something outside the config, or a count is too large.
    """
    kept: dict = {}
    for name, value in values.items():
        if isinstance(name, str) and _HOW_TO_COMPUTE.fullmatch(name):
            continue
        require(
            name not in _LEADS_OUT or not value,
            f"{caller}: config.json must hold settings alone; got {name} in {place}, which names "
            f"{_LEADS_OUT.get(name)}. Nothing outside a folder's settings and weights is used; "
            "remove the entry if transformers knows this model without it",
        )
        _check_count(caller, name, value, place)
        kept[name] = _checked(caller, value, place)
    return kept


def _checked(caller: str, value: object, place: object) -> object:
    if isinstance(value, dict):
        return checked_values(caller, value, place)
    if isinstance(value, list):
        return [_checked(caller, one, place) for one in value]
    return value


def _check_count(caller: str, name: object, value: object, place: object) -> None:
    for pattern, most in _MOST:
        if isinstance(name, str) and pattern.fullmatch(name):
            for number in value if isinstance(value, list) else [value]:
                require(
                    not isinstance(number, int) or number <= most,
                    f"{caller}: a model may have at most {most} {name}; got {name} "
                    f"{str(number)[:20]} in {place}. Restore config.json",
                )
