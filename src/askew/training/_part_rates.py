"""Every record of a Trainer with the rate of every part of its optimizer."""

from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from askew.optim import part_rates


class _Watch(TrainerCallback):
    """The rates of the last step, read before it is made: the scheduler then moves them on."""

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
    """To put before a Trainer: its records then hold `lr/<part>` for every part.

    The rates are those of the last step, like the Trainer's own `learning_rate`, which is that of
    the first group alone. An optimizer without parts changes nothing.

    Example:
        >>> from transformers import Trainer
        >>> class PartTrainer(LogsPartRates, Trainer): ...
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.watch = _Watch()
        self.add_callback(self.watch)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the rates to a record of training."""
        if "loss" in logs:
            logs = {**logs, **self.watch.rates}
        super().log(logs, start_time)
