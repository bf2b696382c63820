"""Does the asymmetry pay? Matched twins, paired trials, verdicts with their uncertainty."""

from typing import TYPE_CHECKING

from askew._lazy import on_first_use

if TYPE_CHECKING:
    from askew._budget import Budget, Choice, Range, SearchBudget, Tuning
    from askew.tradeoffs._compare import Comparison, compare, prepare_comparison
    from askew.tradeoffs._experiment import Experiment
    from askew.tradeoffs._experiment_settings import ACCURACY, ModelConfig, Score, adamw
    from askew.tradeoffs._external_results import Judged, judge_results
    from askew.tradeoffs._find import Found, find, prepare_search
    from askew.tradeoffs._measured_twin import latency_ratio, measured_twin
    from askew.tradeoffs._report.item_differences import items_of
    from askew.tradeoffs._report.page import write_joint_report, write_report
    from askew.tradeoffs._report.results_view import Run, read_run
    from askew.tradeoffs._report.search_terminal import print_search
    from askew.tradeoffs._report.summary import summary_sentence
    from askew.tradeoffs._report.terminal import print_results
    from askew.tradeoffs._results import SPEED_METRICS
    from askew.tradeoffs._running.flops import count_flops, count_parameters
    from askew.tradeoffs._running.search_status import SearchStatus, search_status
    from askew.tradeoffs._running.train_loop import train_loop
    from askew.tradeoffs._running.trial import Trial, load_trial
    from askew.tradeoffs._running.trials import calibrate
    from askew.tradeoffs._running.tuning import Tuned, expected_best, tune, with_values
    from askew.tradeoffs._running.tuning_journal import Draw
    from askew.tradeoffs._running.watcher import Watcher
    from askew.tradeoffs._space import Space
    from askew.tradeoffs._statistics.sequential import interim_schedule, sequential_confidence
    from askew.tradeoffs._statistics.table import COLUMNS
    from askew.tradeoffs._statistics.verdicts import (
        Metric,
        Row,
        Verdict,
        analyze,
        shared_confidence,
    )
    from askew.tradeoffs._task import Arm, Cost, Evaluation, OnRecord, Progress, Records, Task
    from askew.tradeoffs._twin import Twin, symmetric_twin
    from askew.tradeoffs._two_models import Tradeoffs, analyze_asymmetric_tradeoffs

__all__ = [
    "ACCURACY",
    "COLUMNS",
    "SPEED_METRICS",
    "Arm",
    "Budget",
    "Choice",
    "Comparison",
    "Cost",
    "Draw",
    "Evaluation",
    "Experiment",
    "Found",
    "Judged",
    "Metric",
    "ModelConfig",
    "OnRecord",
    "Progress",
    "Range",
    "Records",
    "Row",
    "Run",
    "Score",
    "SearchBudget",
    "SearchStatus",
    "Space",
    "Task",
    "Tradeoffs",
    "Trial",
    "Tuned",
    "Tuning",
    "Twin",
    "Verdict",
    "Watcher",
    "adamw",
    "analyze",
    "analyze_asymmetric_tradeoffs",
    "calibrate",
    "compare",
    "count_flops",
    "count_parameters",
    "expected_best",
    "find",
    "interim_schedule",
    "items_of",
    "judge_results",
    "latency_ratio",
    "load_trial",
    "measured_twin",
    "prepare_comparison",
    "prepare_search",
    "print_results",
    "print_search",
    "read_run",
    "search_status",
    "sequential_confidence",
    "shared_confidence",
    "summary_sentence",
    "symmetric_twin",
    "train_loop",
    "tune",
    "with_values",
    "write_joint_report",
    "write_report",
]
_HOMES = {
    "askew._budget": "Budget Choice Range SearchBudget Tuning",
    "askew.tradeoffs._compare": "Comparison compare prepare_comparison",
    "askew.tradeoffs._experiment": "Experiment",
    "askew.tradeoffs._experiment_settings": "ACCURACY ModelConfig Score adamw",
    "askew.tradeoffs._external_results": "Judged judge_results",
    "askew.tradeoffs._find": "Found find prepare_search",
    "askew.tradeoffs._measured_twin": "latency_ratio measured_twin",
    "askew.tradeoffs._report.item_differences": "items_of",
    "askew.tradeoffs._report.page": "write_joint_report write_report",
    "askew.tradeoffs._report.results_view": "Run read_run",
    "askew.tradeoffs._report.search_terminal": "print_search",
    "askew.tradeoffs._report.summary": "summary_sentence",
    "askew.tradeoffs._report.terminal": "print_results",
    "askew.tradeoffs._results": "SPEED_METRICS",
    "askew.tradeoffs._running.flops": "count_flops count_parameters",
    "askew.tradeoffs._running.search_status": "SearchStatus search_status",
    "askew.tradeoffs._running.train_loop": "train_loop",
    "askew.tradeoffs._running.trial": "Trial load_trial",
    "askew.tradeoffs._running.trials": "calibrate",
    "askew.tradeoffs._running.tuning": "Tuned expected_best tune with_values",
    "askew.tradeoffs._running.tuning_journal": "Draw",
    "askew.tradeoffs._running.watcher": "Watcher",
    "askew.tradeoffs._space": "Space",
    "askew.tradeoffs._statistics.sequential": "interim_schedule sequential_confidence",
    "askew.tradeoffs._statistics.table": "COLUMNS",
    "askew.tradeoffs._statistics.verdicts": "Metric Row Verdict analyze shared_confidence",
    "askew.tradeoffs._task": "Arm Cost Evaluation OnRecord Progress Records Task",
    "askew.tradeoffs._twin": "Twin symmetric_twin",
    "askew.tradeoffs._two_models": "Tradeoffs analyze_asymmetric_tradeoffs",
}
__getattr__, __dir__ = on_first_use(__name__, __all__, _HOMES)
