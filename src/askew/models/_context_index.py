"""Contexts encoded once, kept in memory or in a folder."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from askew._check import require
from askew._folders import check_writable, one_writer
from askew.models._context_shards import (
    DTYPES,
    MANIFEST,
    Entry,
    Manifest,
    Shard,
    check_files,
    check_free,
    map_shard,
    read_manifest,
    read_texts,
    remove_unnamed,
    write_manifest,
    write_shard,
)
from askew.text import Context


class WindowStates(NamedTuple):
    """Some windows of an index, padded to the longest.

    Args:
        states: [windows, length, d_model]; repeats the last state where there is no token.
        places: [windows, length, 2], the first character of each token and the position after its
            last; -1 where there is none.
        mask: [windows, length], True = a token.
        contexts: [windows], the row of the context of each.
    """

    states: Tensor
    places: Tensor
    mask: Tensor
    contexts: Tensor


class _Table(NamedTuple):
    """For each window its shard, first token in the shard, length, context and vector."""

    shard: Tensor
    first: Tensor
    lengths: Tensor
    contexts: Tensor
    vectors: Tensor


class ContextIndex:
    """The states of all windows of contexts, which no question changes.

    `QuestionAnswerer.encode` makes one and `QuestionAnswerer.append` adds to it. In a folder,
    states lie in files of at most about 256 MB that are mapped into memory, so that reading
    some windows touches only these; texts are lines of JSON beside them. `index.json` names the
    files and is replaced last: whatever stops an append leaves the index as it was. One process
    at a time writes into a folder; others may read meanwhile.

    Args:
        fingerprint: Of the model that encodes, as `model_fingerprint` computes it.
        dtype: "float16", or "float32" for exactly the states that the model computed.

    Attributes:
        contexts: The texts, none of them twice; rows of contexts count along it.
        fingerprint: As given.
        dtype: As given.
        folder: Where it lies, if it was saved or loaded.

    Raises:
        ValueError: If the dtype is unknown.

    Example:
        >>> index = ContextIndex("0" * 64)
        >>> len(index.contexts), index.num_windows
        (0, 0)
    """

    def __init__(self, fingerprint: str, *, dtype: str = "float16") -> None:
        require(
            dtype in DTYPES,
            f"ContextIndex: dtype must be one of {', '.join(DTYPES)}; got dtype {dtype!r}",
        )
        self.fingerprint, self.dtype = fingerprint, dtype
        self.folder: Path | None = None
        self.contexts: list[Context] = []
        self._rows: dict[Context, int] = {}
        self._shards: list[tuple[Shard, int]] = []
        self._entries: tuple[Entry, ...] = ()

    @classmethod
    def load(
        cls, folder: str | Path, *, fingerprint: str | None = None, check_sums: bool = True
    ) -> "ContextIndex":
        """Open what `save` wrote.

        Args:
            folder: With an index.
            fingerprint: Of the model that is to answer; not compared by default.
            check_sums: Whether every file is read once to compare its SHA-256. The
                sizes are compared in any case.

        Returns:
            The index, its states mapped and not read.

        Raises:
            ValueError: If the index is of another model or version, or a file is missing,
                truncated or altered.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        require(
            fingerprint in (None, manifest.fingerprint),
            "ContextIndex.load: the index must be of the model that answers; "
            f"got {folder} of model {manifest.fingerprint[:12]}, not {(fingerprint or '')[:12]}. "
            "Encode the contexts again",
        )
        check_files(folder, manifest, sums=check_sums)
        index = cls(manifest.fingerprint, dtype=manifest.dtype)
        for entry in manifest.shards:
            shard = map_shard(folder, entry, DTYPES[manifest.dtype])
            index._add(read_texts(folder, entry), shard)
        index.folder, index._entries = folder, manifest.shards
        return index

    def save(self, folder: str | Path) -> None:
        """Write the index; its states are then mapped from the files written.

        Args:
            folder: Without an index; made if it does not exist.

        Raises:
            ValueError: If it holds an index already, or files of the names that are to be written.
            RuntimeError: If another process writes into it.
        """
        saved = ContextIndex(self.fingerprint, dtype=self.dtype)
        saved.open_new(folder)
        saved._write(iter(self._parts()))
        vars(self).update(vars(saved))
        vars(self).pop("_table", None)

    def open_new(self, folder: str | Path) -> None:
        """Make a folder the place of an index that is still empty; `append` writes there.

        Args:
            folder: Without an index; made if it does not exist.

        Raises:
            ValueError: If this index is not empty, or the folder holds an index or cannot be
                written.
        """
        folder = Path(folder)
        require(
            not self._shards, f"ContextIndex.open_new: the index must be empty; got {self.folder}"
        )
        require(
            not (folder / MANIFEST).exists(),
            f"ContextIndex.save: the folder must hold no index; got folder {folder}. "
            "Load it and append, or choose another",
        )
        check_writable(folder, option="another folder")
        self.folder = folder

    def append(self, parts: Iterable[tuple[Sequence[Context], Shard]]) -> None:
        """Add encoded contexts, as `QuestionAnswerer.append` makes them.

        Args:
            parts: Contexts that are not in the index, and a shard whose windows are of these
                or of earlier ones. In a folder each becomes a file.

        Raises:
            ValueError: If the folder was changed by another since it was loaded.
            RuntimeError: If another process writes into it.
        """
        if self.folder is not None:
            self._write(parts)
            return
        for contexts, shard in list(parts):  # all of them or, where encoding fails, none
            self._add(contexts, shard)

    @property
    def num_windows(self) -> int:
        """Number of windows."""
        return len(self._table.lengths)

    @property
    def num_bytes(self) -> int:
        """Size of all states in bytes."""
        return sum(shard.states.nbytes for shard, _ in self._shards)

    @property
    def vectors(self) -> Tensor:
        """Vectors of the windows, [windows, d_pool], float32."""
        return self._table.vectors

    @property
    def window_contexts(self) -> Tensor:
        """Row of the context of each window, [windows]."""
        return self._table.contexts

    @property
    def window_lengths(self) -> Tensor:
        """Tokens of each window, [windows]."""
        return self._table.lengths

    @property
    def window_spans(self) -> list[tuple[int, int, int]]:
        """The context of each window, its first character and the position after its last."""
        spans = [_spans(shard) for shard, _ in self._shards if len(shard.lengths)]
        rows = self._table.contexts.tolist()
        places = torch.cat(spans).tolist() if spans else []
        return [(row, start, end) for row, (start, end) in zip(rows, places, strict=True)]

    def row(self, context: Context) -> int | None:
        """Find the row of a context.

        Args:
            context: Its title and text.

        Returns:
            Its row, or None if it is not in the index.
        """
        return self._rows.get(context)

    def gather(self, windows: Int[Tensor, " windows"]) -> WindowStates:
        """Collect windows into one padded batch.

        Args:
            windows: Their rows, at least one.

        Returns:
            Their states and places in one tensor each, in the dtype of the index.
        """
        table = self._table
        lengths = table.lengths[windows].unsqueeze(1)
        steps = torch.arange(int(lengths.max()))
        mask = steps < lengths
        tokens = table.first[windows].unsqueeze(1) + torch.minimum(steps, lengths - 1)
        owners = table.shard[windows]
        first = self._shards[int(owners[0])][0]
        if bool((owners == owners[0]).all()):
            states, places = first.states[tokens], first.places[tokens]
        else:
            states = first.states.new_empty(*tokens.shape, first.states.shape[1])
            places = first.places.new_empty(*tokens.shape, 2)
            for owner in owners.unique().tolist():
                shard, rows = self._shards[owner][0], owners == owner
                states[rows] = shard.states[tokens[rows]]
                places[rows] = shard.places[tokens[rows]]
        places = places.masked_fill(~mask.unsqueeze(-1), -1)
        return WindowStates(states, places, mask, table.contexts[windows])

    @cached_property
    def _table(self) -> _Table:
        shards = [shard for shard, _ in self._shards if len(shard.lengths)]
        numbers = [i for i, (shard, _) in enumerate(self._shards) if len(shard.lengths)]
        none = torch.zeros(0, dtype=torch.long)
        if not shards:
            return _Table(none, none, none, none, torch.zeros(0, 0))
        lengths = [shard.lengths for shard in shards]
        return _Table(
            torch.repeat_interleave(torch.tensor(numbers), torch.tensor(list(map(len, lengths)))),
            torch.cat([length.cumsum(0) - length for length in lengths]),
            torch.cat(lengths),
            torch.cat([shard.contexts for shard in shards]),
            torch.cat([shard.vectors for shard in shards]),
        )

    def _add(self, contexts: Sequence[Context], shard: Shard) -> None:
        for context in contexts:
            self._rows[context] = len(self.contexts)
            self.contexts.append(context)
        self._shards.append((shard, len(contexts)))
        vars(self).pop("_table", None)

    def _parts(self) -> list[tuple[list[Context], Shard]]:
        """Return the contexts and shards as `append` received them."""
        parts, done = [], 0
        for shard, count in self._shards:
            parts.append((self.contexts[done : done + count], shard))
            done += count
        return parts

    def _write(self, parts: Iterable[tuple[Sequence[Context], Shard]]) -> None:
        """Write the files, then the manifest that names them, then add them in memory."""
        folder = self.folder
        if folder is None:
            raise RuntimeError("ContextIndex: there must be a folder to write to; got None")
        dtype, entries, added = DTYPES[self.dtype], list(self._entries), []
        with one_writer(folder, caller="ContextIndex") as was_killed:
            self._check_unchanged(folder)
            if was_killed:
                remove_unnamed(folder, entries)
            check_free(folder, entries)
            try:
                for contexts, shard in parts:
                    entries.append(write_shard(folder, len(entries), shard, contexts))
                    added.append((contexts, map_shard(folder, entries[-1], dtype)))
                write_manifest(folder, Manifest(self.fingerprint, self.dtype, tuple(entries)))
            except BaseException:
                remove_unnamed(folder, self._entries)
                raise
        self._entries = tuple(entries)
        for contexts, shard in added:
            self._add(contexts, shard)

    def _check_unchanged(self, folder: Path) -> None:
        on_disk = read_manifest(folder).shards if (folder / MANIFEST).exists() else ()
        require(
            on_disk == self._entries,
            "ContextIndex.append: the folder must be as it was loaded; "
            f"got {len(on_disk)} files in {folder}, not {len(self._entries)}. Load it again",
        )


def _spans(shard: Shard) -> Tensor:
    """Return first and last place of each window, [windows, 2]."""
    owners = torch.repeat_interleave(torch.arange(len(shard.lengths)), shard.lengths)
    starts, ends = shard.places.long().unbind(1)
    far = torch.iinfo(torch.long).max
    first = torch.full_like(shard.lengths, far)
    first = first.scatter_reduce(0, owners, starts.masked_fill(starts < 0, far), "amin")
    last = torch.zeros_like(shard.lengths).scatter_reduce(0, owners, ends, "amax")
    return torch.stack([first, last], 1)
