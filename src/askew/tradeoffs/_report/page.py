"""The results of comparisons as one page for the browser."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from askew._check import require, requires_extra
from askew._files import visible, write_text
from askew._folders import check_output
from askew.tradeoffs._report.cards import findings_by_challenger
from askew.tradeoffs._report.language import TIMES, Language, language_of
from askew.tradeoffs._report.results_view import Run, checked, localised, split_metrics
from askew.tradeoffs._report.tables import (
    config_table,
    cost_table,
    overview_table,
    quality_table,
    setting_tables,
    setting_words,
    trial_table,
    tuning_table,
)


def write_report(
    results: Mapping[str, object],
    path: str | Path,
    *,
    items: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    language: str = "en",
) -> None:
    """Write a comparison as one HTML file that needs nothing else, whole or not at all.

    Args:
        results: What results.json holds, version 1.
        path: The file, in a folder that exists.
        items: As `items_of` returns them; without them no items are shown.
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
    path = Path(path)
    _write("write_report", [Run("", results, items or {})], path, language)


def write_joint_report(runs: Sequence[Run], path: str | Path, *, language: str = "en") -> None:
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
    path = Path(path)
    require(len(runs) >= 1, "write_joint_report: runs must be one or more; got none")
    _write("write_joint_report", runs, path, language)


def _write(caller: str, runs: Sequence[Run], path: Path, language: str) -> None:
    say = language_of(caller, language)
    checked_results = [
        checked(caller, run.results, of=f" in {run.name}" * bool(run.name)) for run in runs
    ]
    require(path.parent.is_dir(), f"{caller}: the folder must exist; got path {path}")
    check_output(path, caller=caller, option="path")
    with requires_extra(caller, "report"):
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs

        from askew.tradeoffs._report import chart_style
    environment = Environment(
        loader=PackageLoader("askew.tradeoffs._report"),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else _shown(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [
        _section(run, localised(results, say), say, place=i if len(runs) > 1 else None)
        for i, (run, results) in enumerate(zip(runs, checked_results, strict=True))
    ]
    html = environment.get_template("page.html.j2").render(
        say=say,
        runs=sections,
        overview=_overview(sections, say) if len(sections) > 1 else None,
        makers=list(dict.fromkeys(_maker(results) for results in checked_results)),
        light=chart_style.LIGHT,
        dark=chart_style.DARK,
        plotly=Markup(get_plotlyjs()),
    )
    write_text(path, html)


def _shown(value: object) -> object:
    """Show what would turn a line around; jinja2 escapes the rest."""
    return visible(value) if isinstance(value, str) else value


def _section(run: Run, results: dict, say: Language, *, place: int | None) -> dict[str, object]:
    """Make what the template shows of one run; `place` is its number among several."""
    from askew.tradeoffs._report.chart_style import marks
    from askew.tradeoffs._report.item_section import item_sections
    from askew.tradeoffs._report.learning_curves import learning_charts
    from askew.tradeoffs._report.pareto_charts import tradeoff_charts
    from askew.tradeoffs._report.quality_charts import quality_charts
    from askew.tradeoffs._report.search_section import search_section

    quality, costs = split_metrics(results)
    names = [arm["name"] for arm in results["arms"]]
    details = [config_table(results, say), tuning_table(results, say), trial_table(results, say)]
    details += setting_tables(results, say)
    return {
        "name": run.name,
        "id": "" if place is None else f"run{place + 1}-",
        "level": 2 if place is None else 3,
        "results": results,
        "names": names,
        "marks": marks(names),
        "setting_words": setting_words(results, say),
        "findings_by_challenger": findings_by_challenger(results, say),
        "quality_table": quality_table(results, say),
        "quality": [
            (m["label"], quality_charts(results, m, say), item_sections(results, m, run.items, say))
            for m in quality
        ],
        "tradeoffs": tradeoff_charts(results, quality[0], costs, say) if quality else [],
        "search": search_section(results, say),
        "cost_table": cost_table(results, say),
        "learning": learning_charts(results, say),
        "details": [table for table in details if table.rows],
    }


def _overview(sections: Sequence[dict], say: Language) -> dict[str, object]:
    runs = [
        (section["name"], section["results"]["task"], findings)
        for section in sections
        for findings in section["findings_by_challenger"]
        if findings
    ]
    kinds = Counter(findings[0].kind or "no verdict" for *_, findings in runs)
    order = ("pays", "does not pay", "cannot tell", "no verdict")
    counts = ", ".join(f"{say[kind]} {kinds[kind]} {TIMES}" for kind in order if kinds[kind])
    return {
        "title": say["runs_title"].format(runs=len(sections)),
        "summary": say["runs_summary"].format(runs=len(sections), counts=counts),
        "table": overview_table(say, runs),
    }


def _maker(results: dict) -> str:
    return f"askew {results['versions'].get('askew', '')}".rstrip()
