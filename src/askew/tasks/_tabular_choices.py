"""From names, files and numbers to a task on a table and its arms."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from askew._check import require
from askew._config import errors_name_file, load_config, read_toml
from askew.tasks._choices import merge
from askew.tasks._labels import LabelTask, LabelTrainingConfig
from askew.tasks._retrieval import RetrievalTask, RetrievalTrainingConfig
from askew.tasks._tabular import MLPConfig, TableTask
from askew.tasks._tabular_data import (
    load_eights,
    load_unseen_digits,
    load_yeast,
    read_table_file,
    split_table,
)
from askew.tradeoffs import Arm

TABLE_TASKS = ("multilabel", "imbalanced", "retrieval")
"""Names of the tasks on tables."""
_OTHER_WEIGHTS = 10_000
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


def table_task(
    name: str, data: Path | None, labels: str | None, chosen: Mapping[str, object]
) -> TableTask:
    """Read the data and make a task on a table.

    Args:
        name: One of `TABLE_TASKS`.
        data: FILE.csv or FILE.arff; by default river's Yeast for "multilabel", the digits of
            scikit-learn, eight against the rest, for "imbalanced", and those of unseen classes for
            "retrieval", which takes no file.
        labels: Which columns of the file are labels, as `read_table_file` takes it.
        chosen: Its `training` changes the numbers of training of both arms.

    Returns:
        The task.

    Raises:
        ValueError: If data or numbers cannot be used.

    Example:
        >>> table_task("imbalanced", None, None, {}).describe()["train"]
        1078
    """
    require(
        (data is None) == (labels is None),
        f"table_task: data and labels go together; got data {data}, labels {labels}",
    )
    values: Any = chosen.get("training", {})
    if name == "retrieval":
        require(data is None, f"table_task: retrieval has data of its own; got data {data}")
        retrieval = load_config(RetrievalTrainingConfig, values, where="training")
        return RetrievalTask(
            source_name="digits 5 to 9", table=load_unseen_digits(), training=retrieval
        )
    require(name in TABLE_TASKS, f"table_task: name must be {', '.join(TABLE_TASKS)}; got {name!r}")
    training = load_config(LabelTrainingConfig, values, where="training")
    if data is not None and labels is not None:
        source, table = data.name, split_table(*read_table_file(data, labels))
    elif name == "multilabel":
        source, table = "Yeast", load_yeast()
    else:
        source, table = "digits, eight against the rest", load_eights()
    task = LabelTask(source_name=source, table=table, training=training, name=name)
    require(
        (task.d_out > 1) == (name == "multilabel"),
        f"table_task: {name} must have {'several labels' if name == 'multilabel' else 'one label'};"
        f" got {task.d_out}",
    )
    return task


def table_arms(
    task: TableTask, challenger: str, baseline: str, chosen: Mapping[str, object]
) -> tuple[list[Arm], dict[str, object]]:
    """Make the challenger and what it is compared with.

    Args:
        task: The task.
        challenger: A preset ("bce", "focal", "focusing", "asl", "adaptive", "hill", "splc",
            "two-way", "tversky", "unified-focal" of labels; "logit-adjusted", "ldam", "agce",
            "aul", "ael" of one label; "pair", "unequal-margins", "unequal-scales", "ranking",
            "contrastive", "one-way" of retrieval; "rates", "single-rate", "half-half",
            "mean-dropout") or a TOML file of numbers of the model and its `training`; "" for "asl"
            or "unequal-scales".
        baseline: Likewise; "" or "twin" for the challenger with both sides of everything alike:
            plain BCE or the same loss of retrieval as it is by default, one rate, mean dropout. It
            is called "bce" or "pair" where it is just that.
        chosen: Numbers of the model, of both arms; `loss` changes the challenger's loss.

    Returns:
        Challenger and baseline, and that nothing was matched: what they share is the model.

    Raises:
        ValueError: If a name, a key or a value is unknown.

    Example:
        >>> task = table_task("imbalanced", None, None, {})
        >>> [arm.name for arm in table_arms(task, "asl", "bce", {})[0]]
        ['asl', 'bce']
    """
    presets, usual = (
        (_RETRIEVAL, ("unequal-scales", "pair"))
        if isinstance(task, RetrievalTask)
        else (_LABELS if task.d_out > 1 else _ONE_LABEL, ("asl", "bce"))
    )
    model = {key: value for key, value in chosen.items() if key not in ("training", "loss")}
    changed = {"training": {"loss": chosen["loss"]}} if "loss" in chosen else {}
    first = _arm(task, presets, challenger or usual[0], [model, changed])
    twin = baseline in ("", "twin")
    other = _arm(task, presets, usual[1] if twin else baseline, [model])
    if twin and (alike := _twin(task, first)) != replace(other, name=alike.name):
        other = alike
    if first.name == other.name:
        first = replace(first, name=f"{first.name}-again")
    if (first.config, first.training) == (other.config, other.training):
        first = replace(first, init_offset=_OTHER_WEIGHTS)
    return [first, other], {"match": "nothing", "match_residual": 0.0}


def _arm(
    task: TableTask,
    presets: Mapping[str, Mapping[str, Any]],
    name: str,
    changes: Sequence[Mapping[str, Any]],
) -> Arm:
    """Take a preset or a file with changes, and refuse what cannot be trained."""
    require(
        name in presets or Path(name).suffix == ".toml",
        f"table_arms: an arm must be {', '.join(presets)} or FILE.toml; got {name!r}",
    )
    values = deepcopy(dict(presets[name])) if name in presets else read_toml(name)
    for change in changes:
        merge(values, deepcopy(dict(change)))
    training: Any = values.pop("training", {})
    with errors_name_file(None if name in presets else name):
        task.loss_of(
            load_config(type(task.training), training, base=task.training, where="training")
        )
        config = load_config(MLPConfig, values)
    return Arm(name=name if name in presets else Path(name).stem, config=config, training=training)


def _twin(task: TableTask, arm: Arm) -> Arm:
    """Take the plain loss, one rate and schedule for all layers, and the mean dropout."""
    training = {key: value for key, value in arm.training.items() if not key.endswith(_SIDES)}
    loss: Any = training.pop("loss", {})
    if isinstance(task, RetrievalTask) and "name" in loss:
        training["loss"] = {"name": loss["name"]}
    config = arm.config
    return Arm(
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
