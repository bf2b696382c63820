"""Tables as applications: their options, tasks and arms."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askew._check import require
from askew._config import errors_name_file, load_config, to_dict
from askew.tasks._application import SettingOptions, merge, option
from askew.tasks._arm_names import check_name, read_arm
from askew.tasks._loss_space import LABEL_TIES, equal_labels, label_ranges, loss_space

if TYPE_CHECKING:
    from askew.tasks._labels import LabelTask
    from askew.tasks._retrieval import RetrievalTask
    from askew.tasks._tabular import TableTask
    from askew.tasks._tabular_data import SplitTable
    from askew.tradeoffs import Arm, Budget, Space

_AN_ARM = "compare: an arm"
_SIDES = ("_first", "_head")
_MODELS: dict[str, dict[str, Any]] = {
    "rates": {"training": {"lr_first": 3e-4, "lr_head": 3e-3}},
    "single-rate": {},
    "half-half": {"dropout": 0.1, "dropout_second": 0.5},
    "mean-dropout": {"dropout": 0.3},
}
_LABELS: dict[str, dict[str, Any]] = {
    "bce": {},
    "focal": {"training": {"loss": {"gamma_pos": 2.0, "gamma_neg": 2.0}}},
    "focusing": {"training": {"loss": {"gamma_pos": 2.0, "gamma_neg": 1.0}}},
    "asl": {"training": {"loss": {"gamma_neg": 4.0, "margin": 0.05}}},
    "hill": {"training": {"loss": {"name": "hill"}}},
    "splc": {"training": {"loss": {"name": "splc"}}},
    "two-way": {"training": {"loss": {"name": "two_way"}}},
    "adaptive": {"training": {"loss": {"name": "adaptive"}}},
    "tversky": {"training": {"loss": {"name": "tversky"}}},
    "unified-focal": {"training": {"loss": {"name": "unified_focal"}}},
    **_MODELS,
}
_ONE_LABEL: dict[str, dict[str, Any]] = {
    **_LABELS,
    "logit-adjusted": {"training": {"loss": {"name": "logit_adjusted"}}},
    "ldam": {"training": {"loss": {"name": "ldam", "scale": 1.0}}},
    "agce": {"training": {"loss": {"name": "agce"}}},
    "aul": {"training": {"loss": {"name": "aul"}}},
    "ael": {"training": {"loss": {"name": "ael"}}},
}
_RETRIEVAL: dict[str, dict[str, Any]] = {
    "pair": {},
    "unequal-margins": {"training": {"loss": {"margin_pos": 0.2, "margin_neg": 1.2}}},
    "unequal-scales": {"training": {"loss": {"scale_pos": 1.0, "scale_neg": 2.0}}},
    "ranking": {"training": {"loss": {"name": "ranking", "relative_margin": 0.2}}},
    "contrastive": {"training": {"loss": {"name": "contrastive"}}},
    "one-way": {
        "training": {
            "loss": {"name": "contrastive", "weight_queries": 1.0, "weight_documents": 0.0}
        }
    },
    **_MODELS,
}


@dataclass(frozen=True, kw_only=True)
class TableOptions(SettingOptions):
    """Options of every comparison on a table."""

    baseline: str = option(
        "twin",
        "What the challenger is compared with: twin (equal sides everywhere), another name "
        "that --challenger takes, or FILE.toml.",
    )


@dataclass(frozen=True, kw_only=True)
class LabelComparison(TableOptions):
    """Options of `askew compare multilabel` and `askew compare imbalanced`."""

    data: Path | None = option(None, "Your table: FILE.csv or FILE.arff; needs --labels.")
    labels: str | None = option(
        None,
        "Label columns of --data: names with commas between them, or how many of the last columns.",
    )
    challenger: str = option(
        "asl",
        "The loss, rates or dropout that compete: asl, focal, focusing, hill, splc, two-way, "
        "rates, half-half or FILE.toml; see the guide.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            (self.data is None) == (self.labels is None),
            "compare: data and labels go together, such as --data rows.csv --labels churn, or "
            f"--labels 1 for the last column; got data {self.data}, labels {self.labels}",
        )
        _check_arms(self, _ONE_LABEL)


@dataclass(frozen=True, kw_only=True)
class RetrievalComparison(TableOptions):
    """Options of `askew compare retrieval`."""

    challenger: str = option(
        "unequal-scales",
        "The loss, rates or dropout that compete: unequal-scales, unequal-margins, ranking, "
        "contrastive, one-way, rates, half-half or FILE.toml; see the guide.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_arms(self, _RETRIEVAL)


def _check_arms(options: Any, presets: Collection[str]) -> None:
    """Refuse names of arms that no data could make right."""
    check_name(_AN_ARM, options.challenger, presets)
    if options.baseline != "twin":
        check_name(_AN_ARM, options.baseline, presets)


def make_multilabel_task(options: LabelComparison) -> "LabelTask":
    """Make the task of several labels, on river's Yeast or the user's table."""
    from askew.tasks._tabular_data import load_yeast

    return _label_task("multilabel", options, "Yeast", load_yeast)


def make_imbalanced_task(options: LabelComparison) -> "LabelTask":
    """Make the task of one rare label, on digits (eight or not) or the user's table."""
    from askew.tasks._tabular_data import load_eights

    return _label_task("imbalanced", options, "digits, eight against the rest", load_eights)


def _label_task(
    name: str, options: LabelComparison, packaged: str, load: "Callable[[], SplitTable]"
) -> "LabelTask":
    from askew.tasks._labels import LabelTask, LabelTrainingConfig
    from askew.tasks._tabular_data import split_table
    from askew.tasks._tabular_files import read_named_table

    training = load_config(LabelTrainingConfig, _shared(options), where="training")
    if options.data is None or options.labels is None:
        source, table, notes = packaged, load(), []
    else:
        source, named = options.data.name, read_named_table(options.data, options.labels)
        table, notes = split_table(named.x, named.y), named.notes
        for column in (table.train.x == 0).all(0).nonzero().flatten().tolist():
            notes.append(f"column {named.names[column]!r} is constant in the training rows: unused")
    task = LabelTask(
        source_name=source, table=table, training=training, name=name, notes=tuple(notes)
    )
    require(
        (task.d_out > 1) == (name == "multilabel"),
        f"compare: {name} must have {'several labels' if name == 'multilabel' else 'one label'};"
        f" got {task.d_out}",
    )
    return task


def make_retrieval_task(options: RetrievalComparison) -> "RetrievalTask":
    """Make the task of retrieving digits of classes that training never saw."""
    from askew.tasks._retrieval import RetrievalTask, RetrievalTrainingConfig
    from askew.tasks._tabular_data import load_unseen_digits

    training = load_config(RetrievalTrainingConfig, _shared(options), where="training")
    return RetrievalTask(source_name="digits 5 to 9", table=load_unseen_digits(), training=training)


def _shared(options: TableOptions) -> dict[str, Any]:
    """Return the numbers of training that both arms have; a loss is of the challenger alone."""
    return {key: value for key, value in options.training_settings().items() if key != "loss"}


def make_label_arms(
    task: "TableTask", options: LabelComparison
) -> "tuple[list[Arm], dict[str, object]]":
    """Make the challenger and its baseline, by default plain BCE."""
    return _make_arms(task, options, _LABELS if task.d_out > 1 else _ONE_LABEL, plain="bce")


def make_retrieval_arms(
    task: "TableTask", options: RetrievalComparison
) -> "tuple[list[Arm], dict[str, object]]":
    """Make the challenger and its baseline, by default the pair loss with equal sides."""
    return _make_arms(task, options, _RETRIEVAL, plain="pair")


def _make_arms(
    task: "TableTask", options: Any, presets: Mapping[str, Mapping[str, Any]], *, plain: str
) -> "tuple[list[Arm], dict[str, object]]":
    """Make both arms; no cost is matched, since they share the model."""
    from askew.tasks._arms import OTHER_WEIGHTS

    settings, given = options.model_settings(), options.training_settings()
    losses = [{"loss": one.pop("loss")} for one in (settings, given) if "loss" in one]
    first = _arm(task, presets, options.challenger, settings, [given, *losses])
    is_twin = options.baseline == "twin"
    other = _arm(task, presets, plain if is_twin else options.baseline, settings, [given])
    if is_twin and (twin := _twin(task, first, plain)) != replace(other, name=twin.name):
        other = twin
    if first.name == other.name:
        first = replace(first, name=f"{first.name}-again")
    if (first.config, first.training) == (other.config, other.training):
        first = replace(first, init_offset=OTHER_WEIGHTS)
    return [first, other], {"match": "nothing", "match_residual": 0.0}


def _arm(
    task: "TableTask",
    presets: Mapping[str, Mapping[str, Any]],
    name: str,
    settings: Mapping[str, Any],
    trainings: Sequence[Mapping[str, Any]],
) -> "Arm":
    """Make the arm of a preset or a file with settings, and check that it can be trained.

    Of the numbers of training that both arms have, only those that it would override are changed.
    """
    from askew.tasks._tabular import MLPConfig
    from askew.tradeoffs import Arm

    check_name(_AN_ARM, name, presets)
    values = deepcopy(dict(presets[name])) if name in presets else read_arm(name)
    merge(values, deepcopy(dict(settings)))
    training: Any = values.pop("training", {})
    for change in trainings:
        own = {key: value for key, value in change.items() if key in training or key == "loss"}
        merge(training, deepcopy(own))
    with errors_name_file(None if name in presets else name):
        task.check_training(training)
        config = load_config(MLPConfig, values, beside={"training": task.training})
    return Arm(name=name if name in presets else Path(name).stem, config=config, training=training)


def _twin(task: "TableTask", arm: "Arm", plain: str) -> "Arm":
    """Make the arm with the plain loss, one rate and schedule for all layers, and mean dropout."""
    training = {key: value for key, value in arm.training.items() if not key.endswith(_SIDES)}
    for name, value in to_dict(task.training).items():
        if name.endswith(_SIDES) and value is not None:
            training[name] = None
    loss: Any = training.pop("loss", {})
    if plain == "pair" and "name" in loss:
        training["loss"] = {"name": loss["name"]}
    config = arm.config
    return replace(
        arm,
        name="twin",
        config=replace(
            config,
            dropout=_mean(config.dropout, config.dropout_second),
            dropout_second=None,
            input_dropout=_mean(config.input_dropout, config.input_dropout_second),
            input_dropout_second=None,
        ),
        training=training,
    )


def _mean(first: float, second: float | None) -> float:
    return first if second is None else (first + second) / 2


def notes(task: "LabelTask", options: LabelComparison) -> Iterator[str]:
    """Describe what the user should know about the columns."""
    yield from task.notes


def budget(options: TableOptions) -> "Budget":
    """Return the usual steps of a trial."""
    from askew.tradeoffs import Budget

    return Budget(steps=600)


def label_space(task: "LabelTask", options: LabelComparison) -> "Space":
    """Return what a search for labels draws: the loss, the rates and the dropout.

    The loss is the two-sided one. A challenger with another loss brings that and the losses for
    missing labels into the search; symmetric candidates have the two-sided loss with equal sides.
    """
    arms, _ = make_label_arms(task, options)
    space = loss_space(arms, label_ranges(), LABEL_TIES, _layer_space())
    return replace(space, fixed=equal_labels(space))


def retrieval_space(task: "RetrievalTask", options: RetrievalComparison) -> "Space":
    """Return what a search for retrieval draws: the loss, the rates and the dropout.

    The loss is that of pairs. A challenger with another loss brings all losses into the search.
    """
    from askew.tradeoffs import Range

    scale = Range(low=0.25, high=4.0, log=True)
    weight = Range(low=0.0, high=2.0)
    pair = {
        "margin_pos": Range(low=0.0, high=0.8),
        "margin_neg": Range(low=0.8, high=1.6),
        "scale_pos": scale,
        "scale_neg": scale,
    }
    ranges = {
        "pair": pair,
        "ranking": pair | {"relative_margin": Range(low=0.0, high=1.0)},
        "contrastive": {
            "temperature": Range(low=0.02, high=1.0, log=True),
            "weight_queries": weight,
            "weight_documents": weight,
        },
    }
    arms, _ = make_retrieval_arms(task, options)
    ties = {"scale_neg": "scale_pos", "weight_documents": "weight_queries"}
    return loss_space(arms, ranges, ties, _layer_space())


def _layer_space() -> "Space":
    """Return the rates of three layers, and the dropout of two halves."""
    from askew.tradeoffs import Range, Space

    rate, dropout = Range(low=1e-4, high=1e-2, log=True), Range(low=0.0, high=0.6)
    rates = {f"training.{name}": rate for name in ("lr", "lr_first", "lr_head")}
    ties = {"training.lr_first": "training.lr", "training.lr_head": "training.lr"}
    return Space(
        numbers=rates | {"dropout": dropout, "dropout_second": dropout},
        ties=ties | {"dropout_second": "dropout"},
    )
