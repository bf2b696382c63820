"""The windows of all shards of an index: where each lies, and batches of them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from askew.models._context_shards import Shard, read_states
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


class WindowTable(NamedTuple):
    """For each window its shard, first token in the shard, length, context and vector."""

    shard: Tensor
    first: Tensor
    lengths: Tensor
    contexts: Tensor
    vectors: Tensor


def window_table(shards: Sequence[Shard], dropped: Collection[int]) -> WindowTable:
    """List the windows of all contexts but the dropped ones."""
    filled = [(number, shard) for number, shard in enumerate(shards) if len(shard.lengths)]
    none = torch.zeros(0, dtype=torch.long)
    if not filled:
        return WindowTable(none, none, none, none, torch.zeros(0, 0))
    table = WindowTable(
        torch.cat([torch.full_like(shard.lengths, number) for number, shard in filled]),
        torch.cat([shard.lengths.cumsum(0) - shard.lengths for _, shard in filled]),
        torch.cat([shard.lengths for _, shard in filled]),
        torch.cat([shard.contexts for _, shard in filled]),
        torch.cat([shard.vectors for _, shard in filled]),
    )
    if not dropped:
        return table
    live = _are_live(table.contexts, dropped)
    return WindowTable(*(column[live] for column in table))


def gather_windows(shards: Sequence[Shard], table: WindowTable, windows: Tensor) -> WindowStates:
    """Collect windows into one padded batch."""
    lengths = table.lengths[windows].unsqueeze(1)
    steps = torch.arange(int(lengths.max()))
    mask = steps < lengths
    tokens = table.first[windows].unsqueeze(1) + torch.minimum(steps, lengths - 1)
    owners = table.shard[windows]
    first = shards[int(owners[0])]
    if bool((owners == owners[0]).all()):
        states, places = first.states[tokens], first.places[tokens]
    else:
        states = first.states.new_empty(*tokens.shape, first.states.shape[1])
        places = first.places.new_empty(*tokens.shape, 2)
        for owner in owners.unique().tolist():
            shard, rows = shards[owner], owners == owner
            states[rows] = shard.states[tokens[rows]]
            places[rows] = shard.places[tokens[rows]]
    places = places.masked_fill(~mask.unsqueeze(-1), -1)
    return WindowStates(read_states(states), places, mask, table.contexts[windows])


def window_spans(shards: Sequence[Shard], dropped: Collection[int]) -> list[tuple[int, int, int]]:
    """Return the context of each window, its first character and the position after its last."""
    spans = []
    for shard in shards:
        owners = torch.repeat_interleave(torch.arange(len(shard.lengths)), shard.lengths)
        starts, ends = shard.places.long().unbind(1)
        far = torch.iinfo(torch.long).max
        first = torch.full_like(shard.lengths, far)
        first = first.scatter_reduce(0, owners, starts.masked_fill(starts < 0, far), "amin")
        last = torch.zeros_like(shard.lengths).scatter_reduce(0, owners, ends, "amax")
        live = _are_live(shard.contexts, dropped)
        columns = (column[live].tolist() for column in (shard.contexts, first, last))
        spans += list(zip(*columns, strict=True))
    return spans


def live_parts(
    parts: Iterable[tuple[list[Context], Shard]], dropped: Collection[int]
) -> Iterator[tuple[list[Context], Shard]]:
    """Yield contexts and shards without what was dropped, with their new rows."""
    gone = torch.tensor(sorted(dropped), dtype=torch.long)
    done = 0
    for contexts, shard in parts:
        numbers = range(done, done + len(contexts))
        done += len(contexts)
        if not dropped:
            yield contexts, shard
            continue
        windows = _are_live(shard.contexts, dropped)
        tokens = torch.repeat_interleave(windows, shard.lengths)
        rows = shard.contexts[windows]
        kept = [
            context for row, context in zip(numbers, contexts, strict=True) if row not in dropped
        ]
        yield (
            kept,
            Shard(
                shard.states[tokens],
                shard.places[tokens],
                shard.lengths[windows],
                rows - torch.searchsorted(gone, rows),
                shard.vectors[windows],
            ),
        )


def merged_parts(
    parts: Iterable[tuple[list[Context], Shard]], size: int
) -> Iterator[tuple[list[Context], Shard]]:
    """Join neighbouring parts while their states have at most `size` bytes."""
    held: list[tuple[list[Context], Shard]] = []
    for part in parts:
        if held and sum(shard.states.nbytes for _, shard in (*held, part)) > size:
            yield _joined(held)
            held = []
        held.append(part)
    if held:
        yield _joined(held)


def _joined(parts: list[tuple[list[Context], Shard]]) -> tuple[list[Context], Shard]:
    shards = zip(*(shard for _, shard in parts), strict=True)
    return [c for contexts, _ in parts for c in contexts], Shard(*map(torch.cat, shards))


def _are_live(rows: Tensor, dropped: Collection[int]) -> Tensor:
    return ~torch.isin(rows, torch.tensor(sorted(dropped), dtype=rows.dtype))
