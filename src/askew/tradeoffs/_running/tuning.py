"""Random search with the same draws for every arm, judged on validation data."""

import math
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from askew._budget import Choice, Range, Tuning
from askew._check import require, requires_extra
from askew._config import load_config
from askew._files import read_json, write_json
from askew._folders import WORK, one_writer
from askew._threads import use_threads
from askew.tradeoffs._running.plan import arm_values, tuning_values
from askew.tradeoffs._running.ray import RayCluster
from askew.tradeoffs._running.trial import check_training, errors_name, validation_score
from askew.tradeoffs._running.trials import on_cluster, run_side_by_side
from askew.tradeoffs._running.tuning_journal import JOURNAL, Draw, finished_draws, open_studies
from askew.tradeoffs._running.work import Work
from askew.tradeoffs._task import Arm, Model, Progress, Task

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

_FIRST_SEED = 1_000_000  # far from those of trials: no seed serves both tuning and verdicts
_SCORES = "tries"  # folder of the scores that the journal does not hold yet


class Tuned(NamedTuple):
    """The result of tuning one arm.

    Attributes:
        arm: With the best values; the arm as given if no draw was better.
        given: Score of the arm as given.
        draws: All tries, in the order of their numbers.
        curve: Expected best score after 1, 2, … of the draws (`expected_best`).

    Example:
        >>> tuned = Tuned(Arm(name="plain", config=None), 0.80, [Draw({"lr": 1e-2}, 0.84)], [0.84])
        >>> tuned.draws[0].score > tuned.given
        True
    """

    arm: Arm
    given: float
    draws: list[Draw]
    curve: list[float]


def expected_best(scores: Sequence[float]) -> list[float]:
    r"""Estimate the best score that 1, 2, … N independent draws reach, without bias.

    With the scores sorted, :math:`v_1 \le \dots \le v_N`, it is

    .. math:: \sum_i v_i \binom{i-1}{k-1} \big/ \binom{N}{k}

    for k draws: the mean of the best over all subsets of size k.

    Args:
        scores: Of independent draws, higher is better.

    Returns:
        One value per number of draws.

    Raises:
        ValueError: If there are no scores.

    Example:
        >>> expected_best([1.0, 3.0, 2.0])
        [2.0, 2.6666666666666665, 3.0]

    References:
        Show Your Work: Improved Reporting of Experimental Results, 2019, Dodge et al. (the curve).
        Showing Your Work Doesn't Always Work, 2020, Tang et al. (the unbiased estimator).
    """
    require(bool(scores), "expected_best: scores must be one or more; got none")
    ordered, count = sorted(scores), len(scores)
    return [
        math.fsum(v * math.comb(i, k - 1) for i, v in enumerate(ordered) if i >= k - 1)
        / math.comb(count, k)
        for k in range(1, count + 1)
    ]


def with_values(arm: Arm, values: Mapping[str, object]) -> Arm:
    """Return an arm with some numbers changed.

    Args:
        arm: The arm.
        values: By dotted name; those of "training." are of the training, others of the config.

    Returns:
        The arm with these numbers.

    Raises:
        ValueError: If the config has no such number or refuses it.

    Example:
        >>> from askew.transformer import StackConfig
        >>> stack = StackConfig(d_model=8, num_layers=1, num_heads=1, d_ff=8)
        >>> arm = with_values(Arm(name="a", config=stack), {"dropout": 0.2, "training.lr": 0.1})
        >>> arm.config.dropout, arm.training
        (0.2, {'lr': 0.1})
    """
    config: dict[str, Any] = {}
    training: dict[str, Any] = deepcopy(dict(arm.training))
    for name, value in values.items():
        where, (*path, last) = config, name.split(".")
        if path[:1] == ["training"]:
            where, path = training, path[1:]
        for key in path:
            where = where.setdefault(key, {})
        where[last] = value
    changed = load_config(type(arm.config), config, base=arm.config) if config else arm.config
    return replace(arm, config=changed, training=training)


def tune(
    task: Task[Model],
    arms: Sequence[Arm],
    tuning: Tuning,
    *,
    steps: Mapping[str, int],
    out: str | Path,
    jobs: int = 1,
    threads: int = 1,
    progress: Progress = lambda done, total: None,
    cluster: str | None = None,
) -> list[Tuned]:
    """Try the same settings on every arm, and keep the best of each on validation data.

    Draw number k is the same for all arms and trains with the same seed; so does the arm as
    given. The score is the task's `validate(model)`, or the last validation loss with its sign
    turned. Tries are kept in a journal of Optuna; called again, only missing ones are run.

    Args:
        task: The task.
        arms: All arms.
        tuning: What is drawn, and how often.
        steps: Training budget of each arm, as of a trial.
        out: Folder of the journal, `tuning.journal`.
        jobs: Tries at the same time.
        threads: Threads of PyTorch in each.
        progress: Called with tries done and tries in all.
        cluster: Where tries run, as for `compare`; None for processes of this machine.

    Returns:
        One result per arm, in their order.

    Raises:
        ValueError: If a config lacks a number, training gives no score, or the journal is damaged
            or of other settings.
        RuntimeError: If another process tunes in this folder, or that of a try was lost three
            times.
        ModuleNotFoundError: If optuna, or ray for a cluster, is not installed.

    Example:
        >>> from askew.tasks import APPLICATIONS
        >>> application = APPLICATIONS["imbalanced"]
        >>> task, arms, _, _ = application.setup(application.options())
        >>> tuning = Tuning(draws=3, space={"widht": Range(low=8, high=64)})
        >>> tune(task, arms, tuning, steps={"asl": 9, "bce": 9}, out=Path("runs"))
        Traceback (most recent call last):
        ValueError: load_config: unknown key 'widht'; did you mean 'width'?
    """
    out = Path(out)
    check_draws(task, arms, tuning)
    with use_threads("tune", threads), one_writer(out, caller="tune"):
        (out / WORK).mkdir(exist_ok=True)
        with on_cluster(cluster, caller="tune", jobs=jobs, threads=threads) as workers:
            return _tune(task, arms, tuning, steps, out, jobs, threads, progress, workers)


def _tune(
    task: Task[Model],
    arms: Sequence[Arm],
    tuning: Tuning,
    steps: Mapping[str, int],
    out: Path,
    jobs: int,
    threads: int,
    progress: Progress,
    cluster: RayCluster | None,
) -> list[Tuned]:
    draws = tuning.draws
    if not (out / JOURNAL).exists():
        shutil.rmtree(out / _SCORES, ignore_errors=True)
    identities = {
        arm.name: {
            "task": task.name,
            "data": dict(task.describe()),
            "arm": arm_values(arm),
            "space": tuning_values(tuning)["space"],
            "steps": steps[arm.name],
        }
        for arm in arms
    }
    studies = open_studies(identities, out)
    finished = {name: finished_draws(study).keys() for name, study in studies.items()}
    total = (draws + 1) * len(arms)
    running: dict[Path, tuple[optuna.Study, optuna.Trial]] = {}
    work: dict[Path, Work] = {}
    for number in range(draws + 1):
        for arm in arms:
            if number in finished[arm.name]:
                continue
            study = studies[arm.name]
            trial = _ask(study, tuning.space, number)
            name = f"{arm.name}-draw{number}"
            settings = {"steps": steps[arm.name], "name": name}
            tried = with_values(arm, trial.params)
            running[_score_path(out, name)] = study, trial
            work[_score_path(out, name)] = Work(name, run_try, (task, tried, number), settings)

    def report() -> None:
        for path in [path for path in running if path.is_file()]:
            study, trial = running.pop(path)
            score = read_json(path)["score"]
            study.tell(trial, -math.inf if score is None else score)  # JSON knows no infinity
        progress(total - len(running), total)

    report()  # a score that was stored before the run died is told, too
    run_side_by_side(
        lambda: [work[path] for path in running if not path.is_file()],
        caller="tune",
        out=out,
        jobs=jobs,
        threads=threads,
        report_progress=report,
        cluster=cluster,
    )
    report()
    shutil.rmtree(out / _SCORES, ignore_errors=True)
    return [_best(arm, finished_draws(studies[arm.name]), draws) for arm in arms]


def check_draws(task: Task[Model], arms: Sequence[Arm], tuning: Tuning) -> None:
    """Refuse a space whose ends or draws do not fit an arm, or any if optuna is not installed."""
    with requires_extra("tune", "sweep"):
        import optuna
    ends = [{name: kind.at(end) for name, kind in tuning.space.items()} for end in (0.0, 1.0)]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    draws = [_ask(study, tuning.space, number).params for number in range(1, tuning.draws + 1)]
    for arm in arms:
        for values in (*ends, *draws):
            task.check_training(with_values(arm, values).training)


def distribution_of(kind: Range | Choice) -> "BaseDistribution":
    """Return what Optuna draws a number from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(kind, Choice):
        return CategoricalDistribution(kind.values)
    if isinstance(kind.low, int) and isinstance(kind.step, int):
        last = int(kind.at(1.0))
        return IntDistribution(kind.low, last, step=kind.step, log=kind.log and kind.step == 1)
    log = kind.log and kind.step is None  # Optuna knows no steps of logarithms
    return FloatDistribution(kind.low, kind.high, log=log, step=kind.step)


def _ask(study: "optuna.Study", space: Mapping[str, Range | Choice], number: int) -> "optuna.Trial":
    """Draw the values of try `number`: the same for every arm and every call."""
    from optuna.samplers import RandomSampler

    study.sampler = RandomSampler(seed=number)
    drawn = space if number else {}
    trial = study.ask({name: distribution_of(kind) for name, kind in drawn.items()})
    trial.set_user_attr("number", number)
    return trial


def _best(arm: Arm, finished: Mapping[int, Draw], draws: int) -> Tuned:
    tried = [finished[number] for number in range(1, draws + 1)]
    best = max(tried, key=lambda draw: draw.score)
    given = finished[0].score
    chosen = with_values(arm, best.values) if best.score > given else arm
    return Tuned(chosen, given, tried, expected_best([draw.score for draw in tried]))


def run_try(task: Task[Model], arm: Arm, number: int, *, steps: int, name: str, out: Path) -> None:
    """Train an arm with the numbers of one draw, and store its score."""
    folder = out / WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with errors_name(f"{arm.name}, draw {number}"):
        score = _score(task, arm, number, steps, folder)
    path = _score_path(out, name)
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"version": 1, "score": score})
    shutil.rmtree(folder, ignore_errors=True)


def _score_path(out: Path, name: str) -> Path:
    return out / _SCORES / f"{name}.json"


def _score(task: Task[Model], arm: Arm, number: int, steps: int, folder: Path) -> float:
    seed = _FIRST_SEED + number
    model = task.build(arm.config, seed + arm.init_offset)
    try:
        records = task.train(
            model,
            training=arm.training,
            steps=steps,
            seed=seed,
            folder=folder,
            progress=lambda step, steps: None,
        )
        check_training(model, records)
        score = validation_score(task, model, records, of=arm.name, caller="tune")
    except FloatingPointError:
        return -math.inf
    return score if math.isfinite(score) else -math.inf
