"""The schemas of results.json and trial.json."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12 on

_MAX_ERRORS = 3


class _Settings(TypedDict):
    steps: NotRequired[Mapping[str, int] | None]
    seeds: NotRequired[Sequence[int]]
    looks: NotRequired[Sequence[int]]
    confidence: NotRequired[FiniteFloat]
    correction: NotRequired[str]
    command: NotRequired[str]
    signatures: NotRequired[Mapping[str, str] | None]


class _Metric(TypedDict):
    name: str
    label: str
    better: Literal["higher", "lower"]
    scale: Literal["difference", "ratio"]
    equivalence: FiniteFloat
    unit: str


class _Arm(TypedDict):
    name: str
    config: Mapping[str, Any]
    training: NotRequired[Mapping[str, Any]]
    costs: Mapping[str, FiniteFloat | None]


class _Point(TypedDict):
    step: FiniteFloat
    train_seconds: NotRequired[FiniteFloat | None]
    train_loss: NotRequired[FiniteFloat | None]
    valid_loss: NotRequired[FiniteFloat | None]


class _Trial(TypedDict):
    arm: str
    seed: int
    metrics: Mapping[str, FiniteFloat | None]
    diverged: NotRequired[str]
    curve: Sequence[_Point]


class _Verdict(TypedDict):
    metric: str
    challenger: str
    baseline: str
    verdict: Literal["pays", "does not pay", "cannot tell"] | None
    difference: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None
    equivalence: FiniteFloat
    equivalent: bool | None
    minimum_detectable: FiniteFloat | None
    seeds: int
    seed_differences: NotRequired[Sequence[FiniteFloat] | None]
    wins: NotRequired[int | None]
    confidence: NotRequired[FiniteFloat]
    reason: str


class _Draw(TypedDict):
    score: FiniteFloat | None


class _Tuning(TypedDict):
    given: FiniteFloat | None
    best: Mapping[str, Any] | None
    draws: Sequence[_Draw]


class _Candidate(TypedDict):
    name: str
    symmetric: bool
    origin: str
    values: Mapping[str, Any]
    parameters: FiniteFloat
    side_parameters: NotRequired[Mapping[str, FiniteFloat]]
    latency_ms: FiniteFloat
    costs: NotRequired[Mapping[str, FiniteFloat]]
    scores: Sequence[FiniteFloat | None]
    quality: FiniteFloat | None
    train_seconds: FiniteFloat


class _Importances(TypedDict):
    candidates: int
    reason: Literal["", "too_few", "equal_scores", "equal_numbers", "no_difference"]
    shares: Mapping[str, FiniteFloat]
    noise: FiniteFloat | None


class _Search(TypedDict):
    sentence: str
    rungs: Sequence[int]
    candidates: Sequence[_Candidate]
    rank_correlations: Sequence[FiniteFloat | None]
    promoted_one_in: Sequence[int]
    importances: NotRequired[Mapping[Literal["asymmetric", "symmetric"], _Importances]]
    fronts: Mapping[str, Sequence[str]]
    finalists: Sequence[str]
    control: str
    train_seconds: FiniteFloat


class _Results(TypedDict):
    task: str
    summary: str
    settings: _Settings
    versions: Mapping[str, str]
    metrics: Sequence[_Metric]
    arms: Sequence[_Arm]
    baselines: Mapping[str, Mapping[str, FiniteFloat | None]]
    trials: Sequence[_Trial]
    verdicts: Sequence[_Verdict]
    tuning: NotRequired[Mapping[str, _Tuning]]
    search: NotRequired[_Search]


class _StoredPoint(TypedDict):
    step: int


class _StoredTrial(TypedDict):
    metrics: Mapping[str, float]
    diverged: NotRequired[str]
    train_seconds: Annotated[FiniteFloat, Field(gt=0)]
    curve: Sequence[_StoredPoint]


_RESULTS = TypeAdapter(_Results)
_TRIAL = TypeAdapter(_StoredTrial)


def results_fault(results: Mapping[str, Any]) -> str:
    """Describe what keeps results from being shown; "" if nothing does."""
    needed = (key for key in _Results.__annotations__ if key in _Results.__required_keys__)
    missing = [key for key in needed if key not in results]
    if missing:
        return f"none of {', '.join(missing)}"
    return _fault(_RESULTS, results) or _mismatch(results)


def trial_fault(stored: Mapping[str, Any]) -> str:
    """Describe what keeps a stored trial from being read; "" if nothing does."""
    return _fault(_TRIAL, stored)


def _fault(kind: TypeAdapter, values: Mapping[str, Any]) -> str:
    try:
        kind.validate_python(dict(values), strict=True)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)[:_MAX_ERRORS]
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors)
    return ""


def _mismatch(results: Mapping[str, Any]) -> str:
    """Describe which name is unknown, or which verdict contradicts itself."""
    arms = {arm["name"] for arm in results["arms"]}
    metrics = {metric["name"] for metric in results["metrics"]}
    unknown = {trial["arm"] for trial in results["trials"]} - arms | _unknown_candidates(results)
    for verdict in results["verdicts"]:
        unknown |= {verdict["challenger"], verdict["baseline"]} - arms
        unknown |= {verdict["metric"]} - metrics
    if unknown:
        return f"no arm or metric of the name {min(unknown)!r}"
    for metric in results["metrics"]:
        if metric["equivalence"] < 0:
            return f"equivalence {metric['equivalence']} of {metric['name']}"
    for verdict in results["verdicts"]:
        names = ("difference", "low", "high", "equivalence", "minimum_detectable")
        numbers = {name: verdict[name] for name in names if verdict[name] is not None}
        about = f"of {verdict['challenger']} on {verdict['metric']}"
        ends = [numbers[name] for name in ("low", "high") if name in numbers]
        if len(ends) == 1 or ends != sorted(ends):
            return f"an interval from {verdict['low']} to {verdict['high']} {about}"
        if verdict["verdict"] is not None and "difference" not in numbers:
            return f"verdict {verdict['verdict']!r} without a difference {about}"
    return ""


def _unknown_candidates(results: Mapping[str, Any]) -> set[str]:
    """Return the finalists and the control that are no candidates of the search."""
    if "search" not in results:
        return set()
    search = results["search"]
    names = {candidate["name"] for candidate in search["candidates"]}
    return {*search["finalists"], search["control"]} - names
