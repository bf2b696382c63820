"""The learning rate of every part of an optimizer, in the records of a Trainer."""

from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from askew.optim import part_rates


class _RecordRates(TrainerCallback):
    """Stores the rates of a step before it is made, since the scheduler then changes them."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Optimizer | None = None,
        **_: object,
    ) -> None:
        if optimizer is not None and all("part" in group for group in optimizer.param_groups):
            self.rates = {f"lr/{part}": rate for part, rate in part_rates(optimizer).items()}


class LogsPartRates:
    """A base class to name before a Trainer: its records then hold `lr/<part>` for every part.

    The rates are those of the last step, like the Trainer's own `learning_rate`, which is that of
    the first group alone. An optimizer without parts changes nothing.

    Example:
        >>> from transformers import Trainer
        >>> class PartTrainer(LogsPartRates, Trainer): ...
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.part_rates = _RecordRates()
        # pyrefly: ignore[missing-attribute]  of the Trainer that is named after it
        self.add_callback(self.part_rates)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the rates to a record of training."""
        if "loss" in logs:
            logs = {**logs, **self.part_rates.rates}
        # pyrefly: ignore[missing-attribute]  of the Trainer that is named after it
        super().log(logs, start_time)
