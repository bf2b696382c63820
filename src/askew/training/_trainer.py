"""The Trainer of transformers with batches by token budget, and a clock."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.modeling_outputs import Seq2SeqLMOutput

from askew.text import TokenBatches
from askew.training._config import TrainingConfig
from askew.training._examples import IGNORED, TranslationExamples, collate_translation

_COMPLETE = "complete"

Progress = Callable[[int, int], None]


class TokenBatchTrainer(Seq2SeqTrainer):
    """Trains on token-budget batches and measures the validation loss per token."""

    def __init__(
        self,
        model: PreTrainedModel,
        args: Seq2SeqTrainingArguments,
        config: TrainingConfig,
        train: TranslationExamples,
        valid: TranslationExamples,
        *,
        progress: Progress | None,
    ) -> None:
        self.config = config
        self.clock = _Clock(progress)
        super().__init__(
            model,
            args,
            train_dataset=train,
            eval_dataset=valid,
            data_collator=collate_translation,
            compute_loss_func=_smoothed_loss(config.label_smoothing),
            callbacks=[self.clock, _CompletionMarker()],
        )
        self.remove_callback(PrinterCallback)  # the progress is told, not printed

    def get_train_dataloader(self) -> DataLoader:
        """Give all batches of the run as one pass, so that resuming skips whole batches."""
        batches = TokenBatches(
            self.train_dataset.lengths,
            max_tokens=self.config.batch_tokens,
            num_batches=self.config.steps,
            seed=self.args.data_seed,
        )
        loader = DataLoader(
            self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator
        )
        return self.accelerator.prepare(loader)

    @torch.no_grad()
    def evaluate(self, *_: object, **__: object) -> dict[str, float]:
        """Compute the mean cross-entropy per validation token, in nats, without smoothing."""
        batches = TokenBatches(
            self.eval_dataset.lengths,
            max_tokens=self.config.batch_tokens,
            num_batches=None,
            seed=0,
        )
        self.model.eval()
        total, count = 0.0, 0
        for rows in batches:
            batch = self._prepare_inputs(collate_translation([self.eval_dataset[i] for i in rows]))
            labels = batch.pop("labels")
            logits = self.model(**batch).logits
            total += _cross_entropy(logits, labels, 0.0).item()
            count += int((labels != IGNORED).sum())
        metrics = {"eval_loss": total / count}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the CPU-seconds of training so far to every record."""
        logs["train_seconds"] = self.clock.seconds
        super().log(logs, start_time)


class _Clock(TrainerCallback):
    """CPU-seconds spent in optimizer steps, counted on over a resume; tells the progress."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds = 0.0
        self.progress = progress

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        spent = [record.get("train_seconds", 0.0) for record in state.log_history]
        self.seconds = max(spent, default=0.0)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._started = time.process_time()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self.seconds += time.process_time() - self._started
        if self.progress is not None:
            self.progress(state.global_step, state.max_steps)


class _CompletionMarker(TrainerCallback):
    """Marks a checkpoint once all of it is written; one without the mark is never resumed."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            (folder / _COMPLETE).touch()


def last_checkpoint(folder: Path) -> Path | None:
    """Find the newest checkpoint that was written whole.

    Args:
        folder: Where a training run writes.

    Returns:
        Its folder, or None.
    """
    complete = [marker.parent for marker in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    return max(complete, key=lambda path: int(path.name.split("-")[1]), default=None)


def train_model(
    model: PreTrainedModel,
    train: TranslationExamples,
    valid: TranslationExamples,
    config: TrainingConfig,
    *,
    out: Path,
    seed: int,
    progress: Progress | None = None,
) -> list[Mapping[str, float]]:
    """Train a model in place; called again after a crash, go on from the last checkpoint.

    Args:
        model: The model.
        train: What it learns from.
        valid: What the validation loss is computed on.
        config: The numbers of the run.
        out: Folder of the checkpoints.
        seed: Of the data order and of dropout.
        progress: Called after each step with the steps done and the steps in all.

    Returns:
        One record per logged step: `step`, `train_seconds` and `loss` or `eval_loss`.
    """
    trainer = TokenBatchTrainer(
        model, _arguments(config, out, seed), config, train, valid, progress=progress
    )
    checkpoint = last_checkpoint(out)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return list(trainer.state.log_history)


def _arguments(config: TrainingConfig, out: Path, seed: int) -> Seq2SeqTrainingArguments:
    every = max(1, config.steps // config.evaluations)
    return Seq2SeqTrainingArguments(
        output_dir=str(out),
        max_steps=config.steps,
        optim="adamw_torch_fused",
        learning_rate=config.lr,
        lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip_norm,
        seed=seed,
        data_seed=seed,
        eval_strategy="steps",
        eval_steps=every,
        logging_steps=every,
        save_steps=every * max(1, config.evaluations // config.checkpoints),
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        label_names=["labels"],
    )


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(
        logits.flatten(0, 1).float(),
        labels.flatten(),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )


def _smoothed_loss(smoothing: float) -> Callable[..., Tensor]:
    def loss(
        outputs: Seq2SeqLMOutput, labels: Tensor, num_items_in_batch: Tensor | None = None
    ) -> Tensor:
        count = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return _cross_entropy(outputs.logits, labels, smoothing) / count

    return loss
