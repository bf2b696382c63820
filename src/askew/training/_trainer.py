"""The Trainer of transformers with batches by token budget and a rate for each part."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)

from askew._check import require, requires_extra
from askew._devices import trains_on_cpu
from askew.text import TokenBatches
from askew.training._average import WeightAverage
from askew.training._callbacks import (
    Averaging,
    Clock,
    CompletionMark,
    Divergence,
    EarlyStopping,
    OwnIntervals,
    Progress,
    evaluations_since_best,
    last_checkpoint,
    load_best,
    read_records,
)
from askew.training._config import RunConfig, TrainingConfig
from askew.training._examples import EpochBatches
from askew.training._objective import Examples, Objective, TranslationObjective
from askew.training._part_rates import LogsPartRates
from askew.training._sharded import check_sharding

Record = Mapping[str, float]
OnRecord = Callable[[Record], None]
"""Called with each record of a training."""


class TokenBatchTrainer(LogsPartRates, Seq2SeqTrainer):
    """Trains on batches of a token budget, each part at its rate; validates per token.

    Example:
        >>> issubclass(TokenBatchTrainer, Seq2SeqTrainer)
        True
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: Seq2SeqTrainingArguments,
        objective: Objective,
        train: Examples,
        valid: Examples,
        *,
        progress: Progress | None,
        on_record: OnRecord | None = None,
    ) -> None:
        config = objective.config
        self.training_objective, self.config = objective, config  # Trainer has its own `objective`
        self.train_examples, self.valid_examples = train, valid
        self.clock = Clock(progress)
        self.average = (
            WeightAverage(model, config.average_decay) if config.average_decay > 0 else None
        )
        self.on_record = on_record
        self.num_tokens = torch.zeros((), dtype=torch.long)
        self.started = time.monotonic()
        callbacks: list[TrainerCallback] = [self.clock, OwnIntervals(), Divergence()]
        if self.average is not None:
            callbacks.append(Averaging(self.average))
        if config.patience is not None:
            callbacks.append(EarlyStopping(model, config.patience, config.stop_margin))
        super().__init__(
            model,
            args,
            train_dataset=train,
            eval_dataset=valid,
            data_collator=objective.collate,
            compute_loss_func=objective.loss,
            callbacks=[*callbacks, CompletionMark()],
        )
        self.remove_callback(PrinterCallback)  # progress goes to a callback, not to stdout

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """Make the optimizer of the objective."""
        if self.optimizer is None:
            model = self.model if model is None else model
            # pyrefly: ignore[bad-argument-type]  the Trainer always has a model
            self.optimizer = self.training_objective.optimizer(model)
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: Optimizer | None = None
    ) -> LRScheduler:
        """Make the schedule of the objective."""
        if self.lr_scheduler is None:
            optimizer = self.optimizer if optimizer is None else optimizer
            # pyrefly: ignore[bad-argument-type]  the optimizer is made first
            self.lr_scheduler = self.training_objective.scheduler(optimizer)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_train_dataloader(self) -> DataLoader:
        """Return all batches of the run as one epoch, so that resuming skips whole batches."""
        batches = TokenBatches(
            self.train_examples.lengths_in,
            max_tokens=self.config.batch_tokens,
            num_batches=self.config.steps * self.config.accumulate,
            seed=self.args.data_seed,  # pyrefly: ignore[bad-argument-type]  train_model sets it
        )
        loader = DataLoader(
            self.train_examples,  # pyrefly: ignore[bad-argument-type]  rows are all it needs
            batch_sampler=EpochBatches(batches, len(self.train_examples)),
            collate_fn=self.data_collator,
        )
        return self.accelerator.prepare(loader)

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, Tensor | int | None]:
        """Return the batches of a step; count their tokens and the time to make them."""
        started = time.process_time()
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.clock.seconds += time.process_time() - started
        if count is not None:
            self.num_tokens = self.num_tokens + count
        return batches, count

    def _get_num_items_in_batch(
        self, batch_samples: list, device: torch.device
    ) -> Tensor | int | None:
        counted = [
            {"labels": self.training_objective.counted(batch["labels"])} for batch in batch_samples
        ]
        return super()._get_num_items_in_batch(counted, device)

    @torch.no_grad()
    def evaluate(self, *_: object, **__: object) -> dict[str, float]:
        """Compute the mean validation loss per item, in nats, without smoothing.

        The averaged weights are evaluated, if there are any. Each process evaluates its share of
        the batches.
        """
        self.model.eval()  # pyrefly: ignore[missing-attribute]  the Trainer always has a model
        batches = TokenBatches(
            self.valid_examples.lengths,
            max_tokens=self.config.batch_tokens,
            num_batches=None,
            seed=0,
        )
        share = list(batches)[self.args.process_index :: self.args.world_size]
        with nullcontext() if self.average is None else self.average.in_place():
            sums = [self._validation_loss(rows) for rows in share]
            total = torch.tensor(sums, dtype=torch.float64).sum(0) if sums else torch.zeros(2)
            loss, count = self.accelerator.reduce(total.to(self.args.device), "sum").tolist()
            metrics = {"eval_loss": loss / count}
            self.log(metrics)
            # Within the block: the weights that are kept as the best are those evaluated.
            self.control = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
        return metrics

    def _validation_loss(self, rows: list[int]) -> tuple[float, int]:
        examples = [self.valid_examples[row] for row in rows]
        batch = self._prepare_inputs(self.training_objective.collate(examples))
        labels = batch.pop("labels")
        outputs = self.model(**batch)  # pyrefly: ignore[not-callable]  always a model
        return self.training_objective.score(outputs, labels)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add CPU-seconds so far, and target tokens per second since the last record."""
        logs["train_seconds"] = self.clock.seconds
        if "loss" in logs:
            elapsed = time.monotonic() - self.started
            logs["tokens_per_second"] = self.num_tokens.item() / elapsed
            self.num_tokens, self.started = torch.zeros_like(self.num_tokens), time.monotonic()
        super().log(logs, start_time)
        if self.on_record is not None and self.is_world_process_zero():
            self.on_record(self.state.log_history[-1])


def train_model(
    model: PreTrainedModel,
    train: Examples,
    valid: Examples,
    objective: Objective | TrainingConfig,
    *,
    out: str | Path,
    seed: int,
    progress: Progress | None = None,
    on_record: OnRecord | None = None,
    tensorboard: str | Path | None = None,
) -> list[Record]:
    """Train a model in place, or resume from the last checkpoint.

    Under torchrun or accelerate the batches of a step are distributed over the processes.

    Args:
        model: The model. It ends with the last, averaged or best weights, as the config says.
        train: Training data.
        valid: Validation data.
        objective: What is learnt, and how; a `TrainingConfig` means translation.
        out: Folder of the checkpoints.
        seed: Of the data order and of dropout.
        progress: Called after each step with the steps done and the steps in total.
        on_record: Called with each record.
        tensorboard: Folder of curves for TensorBoard.

    Returns:
        One record per logged step: `step`, `train_seconds` and `loss` or `eval_loss`; with
        `loss` also the rates and `tokens_per_second`, target tokens by the wall clock.

    Raises:
        ValueError: If the batches of a step cannot be distributed evenly, or if FSDP is
            requested where it would silently not shard.
        FloatingPointError: If a loss or a weight is not finite; the last checkpoint is from before.

    Example:
        >>> import tempfile
        >>> from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
        >>> from askew.text import ParallelText, train_tokenizer
        >>> from askew.training import TranslationExamples
        >>> from askew.transformer import EncoderDecoderConfig, StackConfig
        >>> side = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
        >>> vocab = {"source_vocab": 280, "target_vocab": 280}
        >>> plain = EncoderDecoderConfig(encoder=side, decoder=side, **vocab)
        >>> model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))
        >>> tokenizer = train_tokenizer(["one cat", "um gato"], vocab_size=280)
        >>> pairs = ParallelText(["one cat"] * 8, ["um gato"] * 8)
        >>> examples = TranslationExamples(pairs, tokenizer, max_tokens=64)
        >>> config = TrainingConfig(steps=2, warmup_steps=1, evaluations=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     records = train_model(model, examples, examples, config, out=Path(folder), seed=0)
        ...     records[-1]["step"]
        2
    """
    out = Path(out)
    tensorboard = None if tensorboard is None else Path(tensorboard)
    if isinstance(objective, TrainingConfig):
        objective = TranslationObjective(objective)
    config = objective.config
    check_sharding()
    trainer = TokenBatchTrainer(
        model,
        _arguments(config, out, seed),
        objective,
        train,
        valid,
        progress=progress,
        on_record=on_record,
    )
    if tensorboard is not None:
        _add_tensorboard(trainer, tensorboard)
    checkpoint = last_checkpoint(out)
    records: list[Record] = [] if checkpoint is None else read_records(checkpoint)
    since = evaluations_since_best(records, margin=config.stop_margin)
    if config.patience is None or since < config.patience:
        if checkpoint is not None and trainer.average is not None:
            trainer.average.load(checkpoint)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        records = list(trainer.state.log_history)
    trainer.accelerator.wait_for_everyone()
    # Mixed precision wraps `forward`; the caller gets the plain model back.
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if config.patience is not None:
        load_best(model, out)
    elif trainer.average is not None:
        trainer.average.put()
    return records


def _arguments(config: RunConfig, out: Path, seed: int) -> Seq2SeqTrainingArguments:
    every = max(1, config.steps // config.evaluations)
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(out),
        max_steps=config.steps,
        max_grad_norm=config.clip_norm,
        seed=seed,
        data_seed=seed,
        bf16=config.precision == "bf16",
        use_cpu=trains_on_cpu(),
        eval_strategy="steps",
        eval_steps=every,
        logging_steps=every,
        logging_nan_inf_filter=False,  # else a loss that is not finite is logged as the one before
        save_steps=every * max(1, config.evaluations // config.checkpoints),
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        accelerator_config={"even_batches": False},
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        label_names=["labels"],
    )
    # Else the Trainer splits every batch among all GPUs that one process sees.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    share, rest = divmod(config.accumulate, arguments.world_size)
    require(
        rest == 0,
        "train_model: accumulate must be a multiple of the number of processes; "
        f"got accumulate {config.accumulate}, {arguments.world_size} processes. "
        f"Set training.accumulate={(share + 1) * arguments.world_size}",
    )
    arguments.gradient_accumulation_steps = share
    return arguments


def _add_tensorboard(trainer: TokenBatchTrainer, folder: Path) -> None:
    with requires_extra("train_model", "track"):
        from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    if trainer.is_world_process_zero():
        trainer.add_callback(TensorBoardCallback(SummaryWriter(str(folder))))
