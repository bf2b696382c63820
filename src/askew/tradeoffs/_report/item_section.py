"""The items on which two arms differ most, as tables and a chart."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from askew.tradeoffs._report.chart_style import Chart
from askew.tradeoffs._report.item_differences import ItemDifferences, item_differences
from askew.tradeoffs._report.language import Language, decimals, number, signed
from askew.tradeoffs._report.quality_charts import item_chart
from askew.tradeoffs._report.results_view import pairs_of, seed_values
from askew.tradeoffs._report.tables import Grid

_SHOWN = 25


class ItemSection(NamedTuple):
    """What is shown of one metric's items for one challenger."""

    title: str
    counted: str
    charts: list[Chart]
    tables: list[Grid]


def item_sections(
    page: dict, metric: dict, items: Mapping[str, Mapping[str, np.ndarray]], say: Language
) -> list[ItemSection]:
    """Show the items of a metric, a section per challenger.

    Args:
        page: The results.
        metric: One of its metrics.
        items: As `items_of` gives them.
        say: The language.

    Returns:
        None where the metric has no items.
    """
    means = items.get(metric["name"], {})
    return [
        _section(page, metric, pair, item_differences(*values, better=metric["better"]), say)
        for pair in pairs_of(page)
        if set(pair) <= set(means)
        for values in [[means[arm] for arm in pair]]
    ]


def _section(
    page: dict, metric: dict, pair: tuple[str, str], found: ItemDifferences, say: Language
) -> ItemSection:
    challenger, baseline = pair
    against = say["against"].format(challenger=challenger, baseline=baseline)
    count, better, worse = (len(x) for x in (found.differences, found.best, found.worst))
    numbers = {"count": count, "better": better, "worse": worse, "equal": count - better - worse}
    counted = say["items_counted"].format(
        challenger=challenger,
        seeds=len(seed_values(page, challenger, metric["name"])),
        **{name: number(say, value) for name, value in numbers.items()},
    )
    differ = better + worse > 0
    charts = [item_chart(page, metric, challenger, found.differences, say)] if differ else []
    tables = [
        _grid(say[name], pair, found, chosen[:_SHOWN], say)
        for name, chosen in (("items_best", found.best), ("items_worst", found.worst))
        if len(chosen)
    ]
    name = say["items_title"].format(label=metric["label"], pair=against)
    return ItemSection(name, counted, charts, tables)


def _grid(
    title: str,
    pair: tuple[str, str],
    found: ItemDifferences,
    chosen: Sequence[int] | np.ndarray,
    say: Language,
) -> Grid:
    rows = [
        [
            str(item),
            number(say, float(found.challenger[item])),
            number(say, float(found.baseline[item])),
            signed(say, value, decimals(value, None)),
        ]
        for item in chosen
        for value in [float(found.differences[item])]
    ]
    head = [say["item"], *pair, say["difference"]]
    return Grid(title.format(arm=pair[0], count=len(chosen)), head, rows)
