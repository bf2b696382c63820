"""Reading the long table of results, one value per arm, seed, item and metric."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from askew._check import require
from askew._encoding import refuse_utf16
from askew._files import check_name

_MEANING = {
    "arm": "the model or method",
    "seed": "the number of the training, the same for the trainings that are a pair",
    "item": "the test item, such as the number of a sentence, empty for a value of the whole test",
    "metric": "what was measured, such as f1",
    "value": "the number that came out",
}
COLUMNS = tuple(_MEANING)
"""Header of a table of results."""
_LARGEST = 1e300
"""Size of a value, so that sums of differences stay finite."""
_CHUNK = 256  # rows: so few are freed before they trigger a garbage collection (twice as fast)


class Row(NamedTuple):
    """One measured value; `item` is "" for a value of the whole (arm, seed).

    Args:
        arm: Which model or method.
        seed: Which training.
        item: Which test item.
        metric: What was measured.
        value: What came out, between -1e300 and 1e300.

    Example:
        >>> Row(arm="new", seed=0, item="", metric="f1", value=81.5).value
        81.5
    """

    arm: str
    seed: int
    item: str
    metric: str
    value: float


class Sample(NamedTuple):
    """The scores of one arm on one metric.

    `values` is one value per seed: that of the whole, or else the mean of the items (then
    `averaged` is True). `grid` is one value per seed and item. `seeds` and `items` are sorted.
    """

    seeds: list[int]
    items: list[str]
    values: np.ndarray
    grid: np.ndarray | None
    averaged: bool


class ResultTable(NamedTuple):
    """Checked results: samples by metric and arm, every arm with every metric."""

    arms: list[str]
    metrics: list[str]
    samples: dict[tuple[str, str], Sample]


class _Columns(NamedTuple):
    labels: list[list]
    codes: np.ndarray
    values: np.ndarray

    def name(self, row: int) -> str:
        metric, arm, seed, item = (
            labels[code] for labels, code in zip(self.labels, self.codes[:, row], strict=True)
        )
        return f"arm {arm!r}, seed {seed}, item {item!r}, metric {metric!r}"


def read_table(results: str | Path | Iterable[Row]) -> ResultTable:
    """Read a CSV file with the header `arm,seed,item,metric,value`, or such rows, in any order.

    Raises:
        ValueError: If the table is empty or malformed, a value is not finite or above 1e300 in
            size, a row occurs twice, or a metric lacks an arm, a seed or an item.
    """
    if not isinstance(results, str | Path):
        return _checked_table(results)
    path = Path(results)
    require(path.is_file(), f"analyze: the table must be a file; got {path}")
    try:
        return _checked_table(_csv_rows(path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"analyze: the table must be CSV in UTF-8; got {path}: {error}") from None
    except ValueError as error:
        raise ValueError(str(error) if f"{path}" in str(error) else f"{error} in {path}") from None


def _checked_table(rows: Iterable[Sequence]) -> ResultTable:
    columns = _sort(_read_columns(rows))
    metrics, arms = columns.labels[0], columns.labels[1]
    for arm in arms:
        check_name("analyze", "arm", arm)
    for metric in metrics:
        require(
            str(metric).isprintable() and bool(str(metric).strip()),
            f"analyze: metric must be a name of visible characters; got metric {metric!a}",
        )
    samples = {}
    for m, metric in enumerate(metrics):
        start, stop = np.searchsorted(columns.codes[0], (m, m + 1))
        arm_codes = columns.codes[1, start:stop]
        for a, arm in enumerate(arms):
            first, last = start + np.searchsorted(arm_codes, (a, a + 1))
            require(
                first < last,
                f"analyze: every metric needs values of every arm; got no metric {metric!r} "
                f"of arm {arm!r}",
            )
            samples[metric, arm] = _sample(columns, slice(first, last), metric, arm)
    return ResultTable(arms, metrics, samples)


def _csv_rows(path: Path) -> Iterator[Sequence[str]]:
    with path.open("rb") as start:
        refuse_utf16(start.read(4), "analyze", path)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        require(
            tuple(header) == COLUMNS,
            f"analyze: the header must be {','.join(COLUMNS)}; got {','.join(header)!r} in {path}. "
            f"One value a row: {'; '.join(map(' is '.join, _MEANING.items()))}",
        )
        for row in reader:
            if len(row) != len(COLUMNS):
                raise ValueError(
                    f"analyze: a row must have {len(COLUMNS)} fields; got {len(row)} "
                    f"in {path}, line {reader.line_num}"
                )
            yield row


def _read_columns(rows: Iterable[Sequence]) -> _Columns:
    """Turn rows into arrays chunk by chunk, so that a large file is never in memory as text."""
    known: list[dict] = [{}, {}, {}, {}]
    codes: list[np.ndarray] = []
    values: list[np.ndarray] = []
    rows = iter(rows)
    while chunk := list(islice(rows, _CHUNK)):
        arm, seed, item, metric, value = zip(*chunk, strict=True)
        keys = zip(known, (metric, arm, seed, item), strict=True)
        codes.append(np.array([_encode(codebook, column) for codebook, column in keys]))
        values.append(_floats(value, chunk))
    require(bool(values), "analyze: results must have rows; got none")
    labels = [list(codebook) for codebook in known]
    return _Columns(labels, np.concatenate(codes, axis=1), np.concatenate(values))


def _encode(codebook: dict, column: Sequence) -> list[int]:
    return [codebook.setdefault(label, len(codebook)) for label in column]


def _floats(column: Sequence, chunk: Sequence[Sequence]) -> np.ndarray:
    try:
        return np.array(list(map(float, column)))
    except (TypeError, ValueError, OverflowError):
        bad = next(row for row in chunk if not _is_number(row[-1]))
        raise ValueError(
            f"analyze: value must be a number; got value {bad[4]!r} of arm {bad[0]!r}, "
            f"seed {bad[1]}, item {bad[2]!r}, metric {bad[3]!r}"
        ) from None


def _is_number(value: float | str) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _sort(columns: _Columns) -> _Columns:
    """Sort by metric, arm, seed and item; refuse values out of range and repeated rows."""
    metrics, arms, seeds, items = columns.labels
    labels, codes = [], np.empty_like(columns.codes)
    for row, names in enumerate((metrics, arms, [_seed(label) for label in seeds], items)):
        ordered = sorted(set(names))
        rank = {name: place for place, name in enumerate(ordered)}
        codes[row] = np.array([rank[name] for name in names])[columns.codes[row]]
        labels.append(ordered)
    order = np.lexsort(codes[::-1])
    columns = _Columns(labels, codes[:, order], columns.values[order])
    infinite = np.flatnonzero(~np.isfinite(columns.values))
    if infinite.size:
        row = int(infinite[0])
        raise ValueError(
            f"analyze: value must be finite; got value {columns.values[row]} of {columns.name(row)}"
        )
    large = np.flatnonzero(np.abs(columns.values) > _LARGEST)
    if large.size:
        row = int(large[0])
        raise ValueError(
            f"analyze: value must be between {-_LARGEST} and {_LARGEST}; "
            f"got value {columns.values[row]} of {columns.name(row)}"
        )
    twice = np.flatnonzero((columns.codes[:, 1:] == columns.codes[:, :-1]).all(axis=0))
    if twice.size:
        raise ValueError(f"analyze: a row must occur once; got {columns.name(int(twice[0]))} twice")
    return columns


def _seed(label: object) -> int:
    try:
        return int(str(label))
    except ValueError:
        raise ValueError(f"analyze: seed must be an integer; got seed {label!r}") from None


def _sample(columns: _Columns, rows: slice, metric: str, arm: str) -> Sample:
    _, _, seed_labels, item_labels = columns.labels
    seeds, items = columns.codes[2, rows], columns.codes[3, rows]
    values = columns.values[rows]
    is_item = items != (0 if item_labels[0] == "" else -1)
    all_seeds, all_items = np.unique(seeds), np.unique(items[is_item])
    sample_seeds = [seed_labels[code] for code in all_seeds]
    sample_items = [item_labels[code] for code in all_items]
    where = f"arm {arm!r}, metric {metric!r}"
    grid = None
    if sample_items:
        s = np.searchsorted(all_seeds, seeds[is_item])
        i = np.searchsorted(all_items, items[is_item])
        _check_crossed(s, i, sample_seeds, sample_items, where)
        grid = values[is_item].reshape(len(sample_seeds), len(sample_items))
        if is_item.all():
            return Sample(sample_seeds, sample_items, grid.mean(axis=1), grid, True)
    without = sorted(set(sample_seeds) - {seed_labels[code] for code in seeds[~is_item]})
    require(
        not without,
        "analyze: a metric with a value of the whole needs one for every seed; "
        f"got none for seeds {without}, {where}",
    )
    return Sample(sample_seeds, sample_items, values[~is_item], grid, False)


def _check_crossed(
    s: np.ndarray, i: np.ndarray, seeds: Sequence[int], items: Sequence[str], where: str
) -> None:
    present = np.zeros((len(seeds), len(items)), dtype=bool)
    present[s, i] = True
    if not present.all():
        seed, item = np.argwhere(~present)[0]
        raise ValueError(
            "analyze: every seed must have the same items; "
            f"got no item {items[item]!r} for seed {seeds[seed]}, {where}"
        )
