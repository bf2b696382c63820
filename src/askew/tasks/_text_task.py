"""What translation and question answering share: their training and how they are scored."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from transformers import PreTrainedModel

from askew._config import load_config, to_dict
from askew.metrics import CorpusScore
from askew.tasks._arm_names import refuse_steps
from askew.tradeoffs import Evaluation, OnRecord, Progress, Records, Task
from askew.training import train_model

Model = TypeVar("Model", bound=PreTrainedModel)


@dataclass(frozen=True, kw_only=True)
class TextTask(Task[Model]):
    """A task whose models the Trainer of transformers trains, with a score for every test item."""

    source_name: str
    training: Any
    distributed: bool = True
    warmup_divisor: ClassVar[int]
    """Warm-up lasts at most the number of steps divided by this."""

    @abstractmethod
    def training_inputs(self, model: Model, config: Any, seed: int) -> tuple[Any, Any, Any]:
        """Return training examples, validation examples and the objective."""

    @abstractmethod
    def test_scores(self, model: Model) -> Mapping[str, CorpusScore]:
        """Answer the test set and score the answers."""

    def train(
        self,
        model: Model,
        *,
        training: Mapping[str, object] | None = None,
        steps: int,
        seed: int,
        folder: Path,
        progress: Progress,
        on_record: OnRecord | None = None,
        tensorboard: Path | None = None,
    ) -> Records:
        """Train in place; after a crash, resume from the checkpoint in `folder`."""
        config = self._training_config(training or {})
        config = replace(
            config,
            steps=steps,
            warmup_steps=min(
                config.warmup_steps,
                max(1, (config.schedule_steps or steps) // self.warmup_divisor),
            ),
            evaluations=min(config.evaluations, max(1, steps // 20)),
        )
        records = train_model(
            model,
            *self.training_inputs(model, config, seed),
            out=folder,
            seed=seed,
            progress=progress,
            on_record=on_record,
            tensorboard=tensorboard,
        )
        self.finish(model, config)
        return records

    def training_numbers(self) -> dict[str, object]:
        """Return the numbers of training that two runs must share; the budget has the others."""
        numbers = to_dict(self.training)
        del numbers["steps"]
        if self.training.schedule_steps is None:  # what was stored before it counted lacks it
            del numbers["schedule_steps"]
        return numbers

    def finish(self, model: Model, config: Any) -> None:
        """Complete a trained model, such as by thresholds; by default it is complete."""

    def check_training(self, training: Mapping[str, object]) -> None:
        """Refuse numbers of training that are unknown or out of their range."""
        self._training_config(training)

    def _training_config(self, training: Mapping[str, object]) -> Any:
        refuse_steps(training)
        base = self.training
        return load_config(type(base), training, base=base, where="training")

    def rung_training(self, steps: int) -> Mapping[str, object]:
        """Return that rates change as in a full training, and that one evaluation is enough.

        Where the validation loss chooses the weights, it is computed as often as usual.
        """
        saving = {} if self.training.patience else {"evaluations": 1}
        return {**saving, "schedule_steps": steps}

    def evaluate(self, model: Model) -> Evaluation:
        """Score on the test set."""
        scores = self.test_scores(model)
        return Evaluation(
            {name: score.value for name, score in scores.items()},
            {name: score.items for name, score in scores.items() if score.items},
        )
