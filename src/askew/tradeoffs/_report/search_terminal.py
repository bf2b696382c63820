"""Where a search stands, as tables for the terminal."""

from typing import TYPE_CHECKING, Any

from rich.console import Console

from askew.tradeoffs._report.language import DASH, Language, language_of, number
from askew.tradeoffs._report.search_summary import shape_of
from askew.tradeoffs._report.tables import Table
from askew.tradeoffs._report.terminal import print_table, print_text

if TYPE_CHECKING:
    from askew.tradeoffs._running.search_status import SearchStatus

_STALLED = 600  # seconds without a written file after which a search may have been stopped


def print_search(status: "SearchStatus", console: Console, *, language: str = "en") -> None:
    """Print where a search stands: its contract, candidates, budget and confirmation.

    Args:
        status: What `search_status` returns.
        console: Where it is printed; the tables fit 80 columns and plain files.
        language: "en" or "pt".

    Raises:
        ValueError: If there is no such language.

    Example:
        >>> print_search(None, Console(), language="xx")
        Traceback (most recent call last):
        ValueError: print_search: the language must be en or pt; got language 'xx'
    """
    say = language_of("print_search", language)
    state = say["search_of"].format(task=status.task, state=_state(status, say))
    print_text(console, state, style="bold")
    print_text(console, _contract(status.contract, say))
    for family in status.exhausted:
        count = status.rungs[0][family]["candidates"]
        print_text(console, say["all_tried"].format(candidates=count, family=say[family]))
    print_table(console, _rung_table(status, say))
    for family, best in status.best.items():
        print_text(console, _best(family, best, say))
    print_text(console, _spent(status.budget, say))
    print_text(console, _confirmation(status.confirmation, say))
    if status.sentence is not None:
        print_text(console, status.sentence, style="bold")


def _state(status: "SearchStatus", say: Language) -> str:
    if status.quiet_seconds is None:
        return say["search_finished"]
    if status.quiet_seconds < _STALLED:
        return say["search_going"].format(seconds=round(status.quiet_seconds))
    return say["search_stalled"].format(minutes=round(status.quiet_seconds / 60))


def _contract(contract: dict[str, Any], say: Language) -> str:
    limits = [
        say["bounded"].format(name=say.name(name), bound=say.digits(f"{bound:,g}"))
        for name, bound in contract["at_most"].items()
    ]
    if contract["match"] == "latency":
        limits.append(say["latency_matched"])
    elif contract["match"] != "nothing":
        limits.append(say["matched"].format(match=say.name(contract["match"])))
    return say["contract"].format(
        metric=say.name(contract["deciding_metric"]),
        limits=", ".join(limits) or say["no_limit"],
        candidates=contract["candidates"],
        steps=contract["steps"],
        finalists=contract["finalists"],
        seeds=contract["seeds"],
        hash=contract["hash"][:8],
    )


def _rung_table(status: "SearchStatus", say: Language) -> Table:
    heads = (
        "search_steps",
        "family",
        "all_candidates",
        "done_candidates",
        "diverged",
        "in_training",
    )
    head = [say[name] for name in (*heads, "promoted")]
    rows = []
    for rung in status.rungs:
        for family in status.best:
            row = rung[family]
            counts = (row[key] for key in ("candidates", "finished", "diverged", "running"))
            promoted = DASH if row["promoted"] is None else str(row["promoted"])
            rows.append([str(rung["steps"]), say[family], *map(str, counts), promoted])
    return Table(say["candidates_on_rungs"], head, rows)


def _best(family: str, best: dict[str, Any] | None, say: Language) -> str:
    if best is None:
        return say["no_best"].format(family=say[family])
    return say["best_deciding" if best["decides"] else "best_validation"].format(
        family=say[family],
        candidate=best["name"],
        shape=shape_of(best["values"]),
        score=number(say, best["score"]),
        steps=best["steps"],
        latency=number(say, best["latency_ms"]),
    )


def _spent(budget: dict[str, float | None], say: Language) -> str:
    words = {name: number(say, value) for name, value in budget.items()}
    key = "spent_steps" if budget["minutes"] is None else "spent_minutes"
    return say[key].format(
        spent=words["minutes_spent"],
        minutes=words["minutes"],
        left=words["minutes_left"],
        steps=words["steps_spent"],
        whole=words["steps"],
        steps_left=words["steps_left"],
    )


def _confirmation(confirmation: dict[str, Any] | None, say: Language) -> str:
    if confirmation is None:
        return say["confirmation_waits"]
    arms = ", ".join(confirmation["arms"])
    return say["confirmation_state"].format(**{**confirmation, "arms": arms})
