"""The items on which two arms differ most, as tables and a chart."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from askew.tradeoffs._report.chart_style import Chart
from askew.tradeoffs._report.item_differences import ItemDifferences, item_differences
from askew.tradeoffs._report.language import Language, decimals, number, signed
from askew.tradeoffs._report.quality_charts import item_chart
from askew.tradeoffs._report.results_view import pairs_of, seed_values
from askew.tradeoffs._report.tables import Table

_MAX_ITEMS = 25


class ItemSection(NamedTuple):
    """The items of one metric for one challenger, as a section of the page."""

    title: str
    counts: str
    charts: list[Chart]
    tables: list[Table]


def item_sections(
    results: dict, metric: dict, items: Mapping[str, Mapping[str, np.ndarray]], say: Language
) -> list[ItemSection]:
    """Show the items of a metric, if it has any, in a section per challenger."""
    means = items.get(metric["name"], {})
    return [
        _section(results, metric, pair, item_differences(*values, better=metric["better"]), say)
        for pair in pairs_of(results)
        if set(pair) <= set(means)
        for values in [[means[arm] for arm in pair]]
    ]


def _section(
    results: dict, metric: dict, pair: tuple[str, str], compared: ItemDifferences, say: Language
) -> ItemSection:
    challenger, baseline = pair
    against = say["against"].format(challenger=challenger, baseline=baseline)
    count, better, worse = (len(x) for x in (compared.differences, compared.best, compared.worst))
    numbers = {"count": count, "better": better, "worse": worse, "equal": count - better - worse}
    counts = say["items_counted"].format(
        challenger=challenger,
        seeds=len(seed_values(results, challenger, metric["name"])),
        **{name: number(say, value) for name, value in numbers.items()},
    )
    differ = better + worse > 0
    charts = [item_chart(results, metric, challenger, compared.differences, say)] if differ else []
    tables = [
        _item_table(say[name], pair, compared, shown[:_MAX_ITEMS], say)
        for name, shown in (("items_best", compared.best), ("items_worst", compared.worst))
        if len(shown)
    ]
    name = say["items_title"].format(label=metric["label"], pair=against)
    return ItemSection(name, counts, charts, tables)


def _item_table(
    title: str,
    pair: tuple[str, str],
    compared: ItemDifferences,
    shown: Sequence[int] | np.ndarray,
    say: Language,
) -> Table:
    rows = [
        [
            str(item),
            number(say, float(compared.challenger[item])),
            number(say, float(compared.baseline[item])),
            signed(say, value, decimals(value, None)),
        ]
        for item in shown
        for value in [float(compared.differences[item])]
    ]
    head = [say["item"], *pair, say["difference"]]
    return Table(title.format(arm=pair[0], count=len(shown)), head, rows)
