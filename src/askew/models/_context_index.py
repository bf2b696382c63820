"""Contexts encoded once, kept in memory or in a folder."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from jaxtyping import Int
from torch import Tensor

from askew._check import require
from askew._folders import check_writable, one_writer
from askew.models._context_shards import (
    DTYPES,
    MANIFEST,
    SHARD_BYTES,
    Entry,
    Manifest,
    Shard,
    check_files,
    check_free,
    map_shard,
    next_number,
    read_manifest,
    read_texts,
    remove_unnamed,
    write_manifest,
    write_shard,
)
from askew.models._context_windows import (
    WindowStates,
    WindowTable,
    gather_windows,
    live_parts,
    merged_parts,
    window_spans,
    window_table,
)
from askew.text import BM25, Context


class ContextIndex:
    """The states of all windows of contexts, which no question changes.

    `QuestionAnswerer.encode` makes one and `QuestionAnswerer.append` adds to it. In a folder,
    states lie in files of at most about 256 MB that are mapped into memory, so that reading
    some windows touches only these; texts are lines of JSON beside them. `index.json` names the
    files and is replaced last: whatever stops an append leaves the index as it was. One process
    at a time writes into a folder; others may read meanwhile.

    Args:
        fingerprint: Of the model that encodes, 64 hexadecimal digits.
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
        self._dropped: set[int] = set()
        self._titles: dict[str, str] = {}

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        fingerprint: str | Collection[str] | None = None,
        check_sums: bool = True,
    ) -> "ContextIndex":
        """Open what `save` wrote.

        Args:
            folder: With an index.
            fingerprint: Of the model that is to answer, or several of which one must be its own,
                such as `QuestionAnswerer.fingerprints`; not compared by default.
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
        known = [fingerprint] if isinstance(fingerprint, str) else list(fingerprint or ())
        require(
            fingerprint is None or manifest.fingerprint in known,
            "ContextIndex.load: the index must be of the model that answers; "
            f"got {folder} of model {manifest.fingerprint[:12]}, not {''.join(known[:1])[:12]}. "
            "Encode the contexts again",
        )
        check_files(folder, manifest, sums=check_sums)
        index = cls(manifest.fingerprint, dtype=manifest.dtype)
        for entry in manifest.shards:
            shard = map_shard(folder, entry, DTYPES[manifest.dtype])
            index._add(read_texts(folder, entry), shard)
        index.folder, index._entries = folder, manifest.shards
        index._change(manifest.dropped, manifest.titles)
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
        saved._write(live_parts(self._parts(), self._dropped), (), {})
        vars(self).update(vars(saved))
        self._forget()

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
        self.update(parts)

    def update(
        self,
        parts: Iterable[tuple[Sequence[Context], Shard]] = (),
        *,
        dropped: Collection[int] = (),
        titles: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        """Add encoded contexts, drop others and retitle some, in one step.

        Rows of contexts stay as they are: `contexts` keeps the dropped ones, but no window of them
        is found. In a folder the manifest is replaced last, so that whatever stops the update
        leaves the index as it was.

        Args:
            parts: As `append` takes them.
            dropped: Rows of contexts that are to be found no longer.
            titles: New titles of contexts, by row.

        Raises:
            ValueError: If there is no such row, or the folder was changed by another since it was
                loaded.
            RuntimeError: If another process writes into it.
        """
        for row in (*dropped, *titles):
            require(
                0 <= row < len(self.contexts) and row not in self._dropped,
                "ContextIndex.update: a row must be of a context in the index; "
                f"got row {row} of {len(self.contexts)}",
            )
        named = {str(row): title for row, title in titles.items()}
        if self.folder is not None:
            self._write(parts, self._dropped.union(dropped), self._titles | named)
        else:
            for contexts, shard in list(parts):  # all of them or, where encoding fails, none
                self._add(contexts, shard)
        self._change(dropped, named)

    @property
    def dropped(self) -> frozenset[int]:
        """Rows of the contexts that were dropped."""
        return frozenset(self._dropped)

    def compact(self) -> None:
        """Write the index anew without the contexts that were dropped; rows change.

        In a folder the manifest is replaced before the old files are removed.

        Raises:
            ValueError: If the folder was changed by another since it was loaded.
            RuntimeError: If another process writes into it.
        """
        compacted = ContextIndex(self.fingerprint, dtype=self.dtype)
        parts = merged_parts(live_parts(self._parts(), self._dropped), SHARD_BYTES)
        if self.folder is None:
            for contexts, shard in parts:
                compacted._add(contexts, shard)
        else:
            compacted.folder, compacted._entries = self.folder, self._entries
            with one_writer(self.folder, caller="ContextIndex"):
                compacted._write(parts, set(), {}, keep=())
                remove_unnamed(self.folder, compacted._entries)
        vars(self).clear()
        vars(self).update(vars(compacted))

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
        return window_spans([shard for shard, _ in self._shards], self._dropped)

    @cached_property
    def words(self) -> BM25:
        """The words of each window, counted when first asked for."""
        spans = self.window_spans
        return BM25([self.contexts[row].text[start:end] for row, start, end in spans])

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
        return gather_windows([shard for shard, _ in self._shards], self._table, windows)

    @cached_property
    def _table(self) -> WindowTable:
        return window_table([shard for shard, _ in self._shards], self._dropped)

    def _add(self, contexts: Sequence[Context], shard: Shard) -> None:
        for context in contexts:
            self._rows[context] = len(self.contexts)
            self.contexts.append(context)
        self._shards.append((shard, len(contexts)))
        self._forget()

    def _forget(self) -> None:
        """Let what is computed of the windows be computed anew."""
        for name in ("_table", "words"):
            vars(self).pop(name, None)

    def _change(self, dropped: Collection[int], titles: Mapping[str, str]) -> None:
        """Drop and retitle contexts in memory."""
        for name, title in titles.items():
            row = int(name)
            self.contexts[row] = self.contexts[row]._replace(title=title)
        self._titles |= titles
        self._dropped.update(dropped)
        if titles or dropped:
            # Anew, because a later row may have the title that an earlier one had before.
            live = (row for row in range(len(self.contexts)) if row not in self._dropped)
            self._rows = {self.contexts[row]: row for row in live}
        self._forget()

    def _parts(self) -> list[tuple[list[Context], Shard]]:
        """Return the contexts and shards as `append` received them."""
        parts, done = [], 0
        for shard, count in self._shards:
            parts.append((self.contexts[done : done + count], shard))
            done += count
        return parts

    def _write(
        self,
        parts: Iterable[tuple[Sequence[Context], Shard]],
        dropped: Collection[int],
        titles: Mapping[str, str],
        keep: tuple[Entry, ...] | None = None,
    ) -> None:
        """Write the files, then the manifest that names them, then add them in memory.

        `keep` are the files that the manifest goes on to name, by default all.
        """
        folder = self.folder
        if folder is None:
            raise RuntimeError("ContextIndex: there must be a folder to write to; got None")
        dtype, added = DTYPES[self.dtype], []
        number, entries = next_number(self._entries), list(self._entries if keep is None else keep)
        with one_writer(folder, caller="ContextIndex") as was_killed:
            self._check_unchanged(folder)
            if was_killed:
                remove_unnamed(folder, self._entries)
            check_free(folder, self._entries)
            try:
                for step, (contexts, shard) in enumerate(parts):
                    entries.append(write_shard(folder, number + step, shard, contexts))
                    added.append((contexts, map_shard(folder, entries[-1], dtype)))
                manifest = Manifest(
                    self.fingerprint,
                    self.dtype,
                    tuple(entries),
                    tuple(sorted(dropped)),
                    dict(titles),
                )
                write_manifest(folder, manifest)
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
