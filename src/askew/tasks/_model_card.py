"""The model card: what a saved model is, how it was made, what it scores, and how to use it."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from askew._files import write_text
from askew.tasks._application import Training
from askew.tasks._shrinking import Shrunk

_NAME = "README.md"
_SPLITS = {"train": "training", "valid": "validation", "test": "test"}
_STUDENT_METRICS = {
    "chrf": "chrF",
    "bleu": "BLEU",
    "exact_match": "exact match",
    "word_error_rate": "word error rate",
}
_STUDENT_ROWS = ("student", "untaught", "teacher")
_LICENCE = (
    "None is stated. It is for you to choose: the licences of the data, and of a model that this "
    "one started from, bind you.\nWrite it into the first lines of this file, such as "
    "`license: apache-2.0`."
)


class Card(NamedTuple):
    """The text of a card, section by section.

    Attributes:
        name: Of the model; that of its folder may change.
        about: What the model is, in one sentence.
        scored_on: The test data.
        labels: The names of the metrics for readers.
        scores: For each row of the table, such as "this model", the scores by metric.
        facts: What else is known of data and training.
        use: Commands, one a line.
        pipeline: The Hub's name of what the model does.
    """

    name: str
    about: str
    scored_on: str
    labels: Mapping[str, str]
    scores: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, object]
    use: Sequence[str]
    pipeline: str

    def write(self, folder: Path) -> None:
        """Write the card into the folder of the model, unless a card is there."""
        if not (folder / _NAME).exists():
            write_text(folder / _NAME, self.text())

    def text(self) -> str:
        """Return Markdown that begins with the Hub's metadata."""
        first = next(iter(self.scores.values()), {})
        results = [
            EvalResult(
                task_type=self.pipeline,
                dataset_type="unknown",
                dataset_name=self.scored_on,
                metric_type=metric,
                metric_name=label,
                metric_value=first[metric],
            )
            for metric, label in self.labels.items()
            if self.pipeline and metric in first
        ]
        data = ModelCardData(
            library_name="askew",
            tags=["askew"],
            pipeline_tag=self.pipeline or None,
            model_name=self.name,
            eval_results=results or None,
        )
        blocks = [f"---\n{data.to_yaml()}\n---", f"# {self.name}", self.about]
        if first:
            blocks += [f"## Scores\n\nOn {self.scored_on}:", self._table()]
        blocks.append("## How it was made")
        blocks.append("\n".join(f"- {name}: {value}" for name, value in self.facts.items()))
        if self.use:
            blocks.append("## Use\n\n```sh\n" + "\n".join(self.use) + "\n```")
        blocks.append(f"## Licence\n\n{_LICENCE}")
        return "\n\n".join(blocks) + "\n"

    def _table(self) -> str:
        shown = [m for m in self.labels if any(m in row for row in self.scores.values())]
        lines = ["| | " + " | ".join(self.labels[metric] for metric in shown) + " |"]
        lines.append("|---" * (len(shown) + 1) + "|")
        for name, row in self.scores.items():
            values = [f"{row[m]:.4g}" if m in row else "" for m in shown]
            lines.append(f"| {name} | " + " | ".join(values) + " |")
        return "\n".join(lines)


def card_of_training(
    identity: Mapping[str, Any],
    *,
    labels: Mapping[str, str],
    scores: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    parameters: int,
    steps: int,
    training: Training | None,
) -> Card:
    """Make the card of a model that `train_into` trained.

    Args:
        identity: The result of `prepare_training`.
        labels: The names of the task's metrics for readers.
        scores: Of the model, on the test set.
        baselines: Scores of methods without training.
        parameters: How many the model has.
        steps: How many it was trained for.
        training: How its application is used; None for a task of the user's own.
    """
    data = identity["data"]
    counts = [f"{data[key]:,} for {name}" for key, name in _SPLITS.items() if key in data]
    given = data.get("pretrained")
    several = given if isinstance(given, list | tuple) else [given]
    started = [Path(str(one)).name for one in several if one is not None]
    name = data.get("name", identity["task"])
    facts = {
        "data": f"{name}" + (f"; {', '.join(counts)}" if counts else ""),
        **({"started from": ", ".join(started)} if started else {}),
        "parameters": f"{parameters:,}",
        "training": f"{steps:,} steps, seed {identity['seed']}",
        "made with": f"{_made_with()}; `training.json` has every setting",
    }
    return Card(
        name=f"{identity['task']}: {name}",
        about=f"A model for the task “{identity['task']}”, trained by Askew.",
        scored_on=f"the test set of {name}",
        labels=labels,
        scores={"this model": scores}
        | {key.replace("_", " "): row for key, row in baselines.items()},
        facts=facts,
        use=[training.use.format(folder="FOLDER")] if training and training.use else [],
        pipeline=training.pipeline if training else "",
    )


def card_of_student(shrunk: Shrunk, teacher: str) -> Card:
    """Make the card of a model that was cut from another.

    Args:
        shrunk: What became of it.
        teacher: The name of the other.
    """
    kept = ", ".join(f"{side} {numbers}" for side, numbers in shrunk.kept.items())
    facts = {
        "layers kept, counted from 0": kept,
        "parameters": f"{shrunk.parameters[1]:,} of {shrunk.parameters[0]:,}",
        "made with": f"{_made_with()}; `shrink.json` has every setting, `scores.json` the times",
    }
    return Card(
        name=f"{teacher}, cut",
        about=f"A student, cut from the model “{teacher}” by Askew.",
        scored_on="the test set",
        labels=_STUDENT_METRICS,
        scores={name: shrunk.scores[name] for name in _STUDENT_ROWS if name in shrunk.scores},
        facts=facts,
        use=[],
        pipeline="",
    )


def _made_with() -> str:
    return f"askew {version('askew')}"
