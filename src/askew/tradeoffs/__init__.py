"""Does the asymmetry pay? Matched twins, paired trials, verdicts with their uncertainty."""

from askew.tradeoffs._as_given import Tradeoffs, analyze_asymmetric_tradeoffs
from askew.tradeoffs._budget import Budget, Watcher
from askew.tradeoffs._compare import Comparison, compare, prepare_comparison
from askew.tradeoffs._cost import (
    ParameterCount,
    count_parameters,
    parameter_count,
    training_flops,
)
from askew.tradeoffs._experiment import Experiment
from askew.tradeoffs._experiment_loop import train_loop
from askew.tradeoffs._experiment_parts import ACCURACY, ModelConfig, Score, adamw
from askew.tradeoffs._external import Judged, judge_results
from askew.tradeoffs._files import check_resumable, check_writable, read_json, write_json
from askew.tradeoffs._flops import count_flops
from askew.tradeoffs._items import items_of
from askew.tradeoffs._measured_twin import measured_twin
from askew.tradeoffs._page import Run, read_run
from askew.tradeoffs._print import print_results
from askew.tradeoffs._qa_cost import (
    qa_parameter_count,
    qa_question_flops,
    qa_training_flops,
)
from askew.tradeoffs._report import write_joint_report, write_report
from askew.tradeoffs._results import SPEED_METRICS
from askew.tradeoffs._run import calibrate
from askew.tradeoffs._sequential import looks_of, sequential_confidence
from askew.tradeoffs._stats import Metric, Row, Verdict, analyze, shared_confidence
from askew.tradeoffs._table import COLUMNS
from askew.tradeoffs._task import Arm, Cost, Evaluation, Progress, Records, Task
from askew.tradeoffs._trial import Trial, load_trial
from askew.tradeoffs._tune import Draw, Range, Tuned, Tuning, expected_best, tune, with_values
from askew.tradeoffs._twin import Twin, symmetric_twin
from askew.tradeoffs._words import summary_sentence

__all__ = [
    "ACCURACY",
    "COLUMNS",
    "SPEED_METRICS",
    "Arm",
    "Budget",
    "Comparison",
    "Cost",
    "Draw",
    "Evaluation",
    "Experiment",
    "Judged",
    "Metric",
    "ModelConfig",
    "ParameterCount",
    "Progress",
    "Range",
    "Records",
    "Row",
    "Run",
    "Score",
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
    "check_resumable",
    "check_writable",
    "compare",
    "count_flops",
    "count_parameters",
    "expected_best",
    "items_of",
    "judge_results",
    "load_trial",
    "looks_of",
    "measured_twin",
    "parameter_count",
    "prepare_comparison",
    "print_results",
    "qa_parameter_count",
    "qa_question_flops",
    "qa_training_flops",
    "read_json",
    "read_run",
    "sequential_confidence",
    "shared_confidence",
    "summary_sentence",
    "symmetric_twin",
    "train_loop",
    "training_flops",
    "tune",
    "with_values",
    "write_joint_report",
    "write_json",
    "write_report",
]
