"""What comparisons found, as one page for the browser."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from askew._check import require, requires_extra
from askew._files import write_text
from askew.tradeoffs._report.cards import races
from askew.tradeoffs._report.language import TIMES, Language, language_of
from askew.tradeoffs._report.results_view import Run, checked, localised, split_metrics
from askew.tradeoffs._report.tables import (
    config_grid,
    cost_grid,
    overview_grid,
    quality_grid,
    setting_grids,
    setting_words,
    trial_grid,
    tuning_grid,
)


def write_report(
    results: Mapping[str, object],
    path: Path,
    *,
    items: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    language: str = "en",
) -> None:
    """Write a comparison as one HTML file that needs nothing else, whole or not at all.

    Args:
        results: What results.json holds, version 1.
        path: The file, in a folder that exists.
        items: As `items_of` gives them; without them no items are shown.
        language: "en" or "pt".

    Raises:
        ValueError: If the results are of another version or incomplete, the folder does not
            exist, or there is no such language.
        ModuleNotFoundError: If plotly or jinja2 is not installed.

    Example:
        >>> write_report({"version": 1}, Path("report.html"))
        Traceback (most recent call last):
        ValueError: write_report: results must be complete; got none of task, summary, sett...
    """
    _write("write_report", [Run("", results, items or {})], path, language)


def write_joint_report(runs: Sequence[Run], path: Path, *, language: str = "en") -> None:
    """Write several comparisons as one HTML file: an overview, then a section for each.

    Args:
        runs: One or more; a single one gets the page of `write_report`.
        path: The file, in a folder that exists.
        language: "en" or "pt".

    Raises:
        ValueError: If there is no run, results are of another version or incomplete, the folder
            does not exist, or there is no such language.
        ModuleNotFoundError: If plotly or jinja2 is not installed.

    Example:
        >>> write_joint_report([], Path("report.html"))
        Traceback (most recent call last):
        ValueError: write_joint_report: runs must be one or more; got none
    """
    require(len(runs) >= 1, "write_joint_report: runs must be one or more; got none")
    _write("write_joint_report", runs, path, language)


def _write(caller: str, runs: Sequence[Run], path: Path, language: str) -> None:
    say = language_of(caller, language)
    pages = [checked(caller, run.results, of=f" in {run.name}" * bool(run.name)) for run in runs]
    require(path.parent.is_dir(), f"{caller}: the folder must exist; got path {path}")
    with requires_extra(caller, "report"):
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs

        from askew.tradeoffs._report import chart_style
    environment = Environment(
        loader=PackageLoader("askew.tradeoffs._report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [
        _shown(run, localised(page, say), say, place=i if len(runs) > 1 else None)
        for i, (run, page) in enumerate(zip(runs, pages, strict=True))
    ]
    page = environment.get_template("page.html.j2").render(
        say=say,
        runs=shown,
        overview=_overview(shown, say) if len(shown) > 1 else None,
        makers=list(dict.fromkeys(_maker(page) for page in pages)),
        light=chart_style.LIGHT,
        dark=chart_style.DARK,
        plotly=Markup(get_plotlyjs()),
    )
    write_text(path, page)


def _shown(run: Run, page: dict, say: Language, *, place: int | None) -> dict[str, object]:
    """Everything that the template says of one run; `place` tells it from others."""
    from askew.tradeoffs._report.chart_style import marks
    from askew.tradeoffs._report.item_section import item_sections
    from askew.tradeoffs._report.learning_curves import learning_charts
    from askew.tradeoffs._report.pareto_charts import tradeoff_charts
    from askew.tradeoffs._report.quality_charts import quality_charts

    quality, costs = split_metrics(page)
    names = [arm["name"] for arm in page["arms"]]
    details = [config_grid(page, say), tuning_grid(page, say), trial_grid(page, say)]
    details += setting_grids(page, say)
    return {
        "name": run.name,
        "id": "" if place is None else f"run{place + 1}-",
        "level": 2 if place is None else 3,
        "page": page,
        "names": names,
        "marks": marks(names),
        "setting_words": setting_words(page, say),
        "races": races(page, say),
        "quality_grid": quality_grid(page, say),
        "quality": [
            (m["label"], quality_charts(page, m, say), item_sections(page, m, run.items, say))
            for m in quality
        ],
        "tradeoffs": tradeoff_charts(page, quality[0], costs, say) if quality else [],
        "cost_grid": cost_grid(page, say),
        "learning": learning_charts(page, say),
        "details": [grid for grid in details if grid.rows],
    }


def _overview(shown: Sequence[dict], say: Language) -> dict[str, object]:
    found = [
        (run["name"], run["page"]["task"], findings) for run in shown for findings in run["races"]
    ]
    kinds = Counter(findings[0].kind or "no verdict" for *_, findings in found if findings)
    order = ("pays", "does not pay", "cannot tell", "no verdict")
    counts = ", ".join(f"{say[kind]} {kinds[kind]} {TIMES}" for kind in order if kinds[kind])
    return {
        "title": say["runs_title"].format(runs=len(shown)),
        "summary": say["runs_summary"].format(runs=len(shown), counts=counts),
        "grid": overview_grid(say, [entry for entry in found if entry[-1]]),
    }


def _maker(page: dict) -> str:
    return f"askew {page['versions'].get('askew', '')}".rstrip()
