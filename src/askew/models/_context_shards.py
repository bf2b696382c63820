"""Files of states: written whole, mapped instead of read, refused when altered."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from askew._check import require
from askew._files import file_sha256, is_version, parse_json, replacing, write_json
from askew.text import Context

VERSION = 1
SHARD_BYTES = 2**28
"""Of the states in a file, about."""
MANIFEST = "index.json"
_SHARD = re.compile(r"shard-[0-9]{5,}\.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")
DTYPES = {"float16": torch.float16, "float32": torch.float32, "int8": torch.int8}
_SCALE_BYTES = 4


class Shard(NamedTuple):
    """Windows of contexts, with the tokens of all windows concatenated.

    Args:
        states: [tokens, d_model]; int8 ones are followed by the four bytes of their scale.
        places: [tokens, 2], the first character of each token and the position after its last;
            -1 for the tokens that the encoder puts around a window.
        lengths: [windows], tokens of each.
        contexts: [windows], the row of its context in the whole index.
        vectors: [windows, d_pool], float32.
    """

    states: Tensor
    places: Tensor
    lengths: Tensor
    contexts: Tensor
    vectors: Tensor


class Entry(NamedTuple):
    """A file of a shard, and the texts of the contexts that came with it.

    Args:
        name: Of the file of states; the texts have the same with another ending.
        bytes: Size of the file of states.
        sha256: Of the file of states.
        text_bytes: Size of the file of texts.
        text_sha256: Of the file of texts.
        contexts: Number of texts.
    """

    name: str
    bytes: int
    sha256: str
    text_bytes: int
    text_sha256: str
    contexts: int


class Manifest(NamedTuple):
    """What an index on disk is made of.

    Args:
        fingerprint: Of the model.
        dtype: Of the states.
        shards: Its files, in their order.
        dropped: Rows of contexts whose windows count no longer, in ascending order.
        titles: New titles of contexts, by their rows as text.
    """

    fingerprint: str
    dtype: str
    shards: tuple[Entry, ...]
    dropped: tuple[int, ...] = ()
    titles: Mapping[str, str] = MappingProxyType({})


def store_states(states: Tensor, dtype: str) -> Tensor:
    r"""Convert states [tokens, d_model] into what a shard holds.

    In int8 a state x is :math:`\mathrm{round}(x / s)` with a scale :math:`s = \max_j |x_j| / 127`
    of its own, in float32.
    """
    if dtype != "int8":
        return states.to(DTYPES[dtype])
    scale = states.float().abs().amax(1, keepdim=True) / 127
    whole = (states / scale.clamp(min=1e-30)).round().to(torch.int8)
    return torch.cat([whole, scale.view(torch.int8)], 1)


def read_states(stored: Tensor) -> Tensor:
    """Convert what a shard holds back into states, [..., d_model]; those of int8 in float32."""
    if stored.dtype != torch.int8:
        return stored
    scale = stored[..., -_SCALE_BYTES:].contiguous().view(torch.float32)
    return stored[..., :-_SCALE_BYTES].float().mul_(scale)


def write_shard(folder: Path, number: int, shard: Shard, contexts: Sequence[Context]) -> Entry:
    """Write a shard and its texts; both are on disk before the manifest names them."""
    name = f"shard-{number:05d}.safetensors"
    path, texts = folder / name, folder / f"shard-{number:05d}.jsonl"
    with replacing(path) as partial:
        save_file({key: value.contiguous() for key, value in shard._asdict().items()}, partial)
    with replacing(texts) as partial, partial.open("wb") as file:
        for context in contexts:
            line = json.dumps(context._asdict(), ensure_ascii=False)
            file.write(line.encode("utf-8", "surrogatepass") + b"\n")
    sums = (path.stat().st_size, file_sha256(path), texts.stat().st_size, file_sha256(texts))
    return Entry(name, *sums, len(contexts))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; until it is replaced, the index is the previous one."""
    values = {"version": VERSION, **manifest._asdict()}
    values["shards"] = [entry._asdict() for entry in manifest.shards]
    for name in ("dropped", "titles"):  # an earlier release reads an index without them
        if not values[name]:
            del values[name]
    write_json(folder / MANIFEST, values)


def read_manifest(folder: Path) -> Manifest:
    """Read what `write_manifest` wrote.

    Raises:
        ValueError: If there is none, or it is of another version or unfit.
    """
    path = folder / MANIFEST
    require(
        path.is_file(),
        f"ContextIndex.load: an index folder holds {MANIFEST}; got folder {folder}. "
        "Give the folder that ContextIndex.save wrote",
    )
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        version = values.pop("version")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unfit(path, error) from None
    require(
        is_version(version, VERSION),
        f"ContextIndex.load: the index must be of version {VERSION}; "
        f"got version {version!r} in {path}. Encode the contexts again",
    )
    try:
        entries = values.pop("shards")
        shards = tuple(Entry(**entry) for entry in entries)
        manifest = Manifest(shards=shards, **values)
    except (KeyError, TypeError, AttributeError) as error:
        raise _unfit(path, error) from None
    if not isinstance(entries, list):
        raise _unfit(path, TypeError("shards that are no list"))
    if not all(isinstance(entry.name, str) and _SHARD.fullmatch(entry.name) for entry in shards):
        raise _unfit(path, ValueError("a shard in another folder or of another name"))
    if not _are_changes(manifest):
        raise _unfit(path, ValueError("dropped or titles that are not of its contexts"))
    if not isinstance(manifest.fingerprint, str) or not _SHA256.fullmatch(manifest.fingerprint):
        raise _unfit(path, ValueError("a fingerprint that is none"))
    require(
        isinstance(manifest.dtype, str) and manifest.dtype in DTYPES,
        f"ContextIndex.load: dtype must be one of {', '.join(DTYPES)}; "
        f"got dtype {manifest.dtype!r} in {path}",
    )
    return manifest


def _are_changes(manifest: Manifest) -> bool:
    """Return whether what was dropped and retitled are rows of contexts."""
    dropped, titles = manifest.dropped, manifest.titles
    if not isinstance(dropped, list | tuple) or not isinstance(titles, Mapping):
        return False
    counts = [entry.contexts for entry in manifest.shards]
    if not all(type(count) is int for count in counts):
        return not dropped and not titles  # which `read_texts` refuses
    known = {str(row) for row in range(sum(counts))} if dropped or titles else set()
    return (
        all(type(row) is int and str(row) in known for row in dropped)
        and list(dropped) == sorted(set(dropped))
        and titles.keys() <= known
        and all(isinstance(title, str) for title in titles.values())
    )


def next_number(entries: Iterable[Entry]) -> int:
    """Return the number of the next file of an index."""
    return 1 + max((int(entry.name[6:-12]) for entry in entries), default=-1)


def check_files(folder: Path, manifest: Manifest, *, sums: bool) -> None:
    """Refuse an index of which a file is missing, of another size or, on request, altered."""
    for entry in manifest.shards:
        files = (
            (folder / entry.name, entry.bytes, entry.sha256),
            (text_file(folder, entry), entry.text_bytes, entry.text_sha256),
        )
        for path, size, digest in files:
            actual = path.stat().st_size if path.is_file() else None
            require(
                actual == size,
                f"ContextIndex.load: {path} must have {size} bytes; "
                f"got {'no file' if actual is None else actual}. "
                "Restore it, or encode the contexts again",
            )
            require(
                not sums or file_sha256(path) == digest,
                f"ContextIndex.load: a file must be as it was written; got {path} altered. "
                "Restore it, or encode the contexts again",
            )


def map_shard(folder: Path, entry: Entry, dtype: torch.dtype) -> Shard:
    """Map a file into memory, so that only the windows in use are read."""
    path = folder / entry.name
    try:
        with safe_open(path, "pt") as file:
            shard = Shard(*(file.get_tensor(name) for name in Shard._fields))
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"ContextIndex.load: {path} must hold a shard; got {error}. "
            "Restore it, or encode the contexts again"
        ) from None
    tokens, windows = len(shard.states), len(shard.lengths)
    fits = (
        shard.states.dtype == dtype
        and shard.places.shape == (tokens, 2)
        and len(shard.contexts) == len(shard.vectors) == windows
        and int(shard.lengths.sum()) == tokens
    )
    require(
        fits,
        f"ContextIndex.load: tensors must fit together and be {dtype}; "
        f"got states {shard.states.dtype} {tuple(shard.states.shape)} of {windows} windows "
        f"in {path}. Encode the contexts again",
    )
    return shard


def read_texts(folder: Path, entry: Entry) -> list[Context]:
    """Read the texts that came with a shard."""
    path = text_file(folder, entry)
    try:
        with path.open("rb") as file:
            lines = [json.loads(line.decode("utf-8", "surrogatepass")) for line in file]
        texts = [Context(line["title"], line["text"]) for line in lines]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _unfit(path, error) from None
    require(
        len(texts) == entry.contexts,
        f"ContextIndex.load: {path} must hold {entry.contexts} contexts; got {len(texts)}",
    )
    return texts


def remove_unnamed(folder: Path, entries: Iterable[Entry]) -> None:
    """Remove the files of shards that no manifest names, which a stopped writer left."""
    for path in _unnamed(folder, entries):
        path.unlink()


def check_free(folder: Path, entries: Iterable[Entry]) -> None:
    """Refuse a folder with files of the names of shards that are not of its index."""
    others = sorted(path.name for path in _unnamed(folder, entries))
    require(
        not others,
        f"ContextIndex: the folder must hold no other shards; got {others[:3]} in {folder}. "
        "Choose another, or remove them",
    )


def _unnamed(folder: Path, entries: Iterable[Entry]) -> list[Path]:
    named = {entry.name for entry in entries}
    texts = folder.glob("shard-*.jsonl")
    every = [*folder.glob("shard-*.safetensors"), *texts]
    shards = ((path, path.with_suffix(".safetensors").name) for path in every)
    return [path for path, name in shards if _SHARD.fullmatch(name) and name not in named]


def text_file(folder: Path, entry: Entry) -> Path:
    """Name the file of texts of a shard."""
    return (folder / entry.name).with_suffix(".jsonl")


def _unfit(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"ContextIndex.load: {path} must be what ContextIndex wrote; got {error!r}. "
        "Restore it, or encode the contexts again"
    )
