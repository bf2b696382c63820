"""From names, files and numbers to a task on a table and its arms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from askew._check import require
from askew._config import load_config, read_toml
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
_OTHER_WEIGHTS = 10_000
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
    **_MODELS,
}
_RETRIEVAL: dict[str, dict[str, Any]] = {
    "pair": {},
    "unequal-margins": {"training": {"loss": {"margin_pos": 0.2, "margin_neg": 1.2}}},
    "unequal-scales": {"training": {"loss": {"scale_pos": 1.0, "scale_neg": 2.0}}},
    "contrastive": {"training": {"loss": {"name": "contrastive"}}},
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
        challenger: A preset ("bce", "focal", "focusing", "asl", "hill", "splc", "two-way" of
            labels; "pair", "unequal-margins", "unequal-scales", "contrastive" of retrieval;
            "rates", "single-rate", "half-half", "mean-dropout") or a TOML file of numbers of the
            model and its `training`; "" for "asl" or "unequal-scales".
        baseline: Likewise; "" or "twin" for "bce" or "pair".
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
        else (_LABELS, ("asl", "bce"))
    )
    names = [challenger or usual[0], usual[1] if baseline in ("", "twin") else baseline]
    model = {key: value for key, value in chosen.items() if key not in ("training", "loss")}
    arms = []
    for place, name in enumerate(names):
        values: dict[str, Any] = {}
        if name in presets:
            merge(values, _copied(presets[name]))
        else:
            require(
                Path(name).suffix == ".toml",
                f"table_arms: an arm must be {', '.join(presets)} or FILE.toml; got {name!r}",
            )
            merge(values, read_toml(name))
        merge(values, _copied(model))
        if place == 0 and "loss" in chosen:
            merge(values, {"training": {"loss": chosen["loss"]}})
        training = values.pop("training", {})
        load_config(type(task.training), training, base=task.training, where="training")
        config = load_config(MLPConfig, values)
        arms.append(Arm(name=Path(name).stem, config=config, training=training))
    first, other = arms
    if first.name == other.name:
        first = Arm(name=f"{first.name}-again", config=first.config, training=first.training)
    if (first.config, first.training) == (other.config, other.training):
        first = Arm(
            name=first.name,
            config=first.config,
            training=first.training,
            init_offset=_OTHER_WEIGHTS,
        )
    return [first, other], {"match": "nothing", "match_residual": 0.0}


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in values.items()}
