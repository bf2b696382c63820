"""A student that learns from its teacher: what it reads, its loss, and the training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from askew._check import require
from askew.losses import TopK, distillation_loss
from askew.models import Seq2Seq
from askew.optim import AsymmetricScheduler
from askew.text import pad_batch
from askew.training._callbacks import Progress
from askew.training._config import PartConfig
from askew.training._distillation_config import DistillationConfig
from askew.training._examples import IGNORED
from askew.training._kept_outputs import KeptOutputs
from askew.training._optimizer import parts_optimizer, parts_scheduler
from askew.training._trainer import OnRecord, Record, train_model

Row = dict[str, Tensor]
Data = tuple[Sequence[Row], Sequence[list[int]]]
"""Inputs and labels."""
_COUNTED_ON = ("step", "train_seconds")


class Lesson(NamedTuple):
    """One example as a student learns it.

    Attributes:
        inputs: What the encoder reads; unused where its states are kept.
        states: States of the encoder [positions, width], or None.
        labels: What is to be written.
        top: The teacher's largest probabilities for each of them, or None.
    """

    inputs: Row
    states: Tensor | None
    labels: list[int]
    top: TopK | None


class Lessons:
    """Examples of a distillation, with what is kept of the teacher and of the encoder.

    Args:
        reader: What made the inputs.
        inputs: What the encoder reads, of every example.
        labels: What is to be written, of every example.
        kept: Outputs of the teacher and states of the encoder.

    Raises:
        ValueError: If there are no examples, or not one label sequence for every input.

    Example:
        >>> Lessons(None, [], [])
        Traceback (most recent call last):
        ValueError: Lessons: there must be an input for each label sequence; got 0 inputs, 0 la...
    """

    def __init__(
        self,
        reader: Seq2Seq,
        inputs: Sequence[Row],
        labels: Sequence[list[int]],
        kept: KeptOutputs | None = None,
    ) -> None:
        require(
            len(inputs) == len(labels) > 0,
            f"Lessons: there must be an input for each label sequence; got {len(inputs)} inputs, "
            f"{len(labels)} label sequences",
        )
        self.inputs, self.labels, self.kept = inputs, labels, kept
        self.lengths = [
            (reader.length(row), len(target)) for row, target in zip(inputs, labels, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.inputs)

    def lengths_in(self, epoch: int) -> Sequence[tuple[int, int]]:
        """Return the lengths in an epoch, the same in all."""
        return self.lengths

    def __getitem__(self, index: int) -> Lesson:
        row = index % len(self)
        states, top = (None, None) if self.kept is None else self.kept[row]
        return Lesson(self.inputs[row], states, self.labels[row], top)


class DistillationObjective:
    """Cross-entropy on the labels, and the divergence from the teacher's distributions.

    Args:
        config: The settings of the run.
        reader: Makes batches.

    Example:
        >>> from askew.training import DistillationConfig
        >>> DistillationObjective(DistillationConfig(steps=10), reader=None).config.temperature
        2.0
    """

    def __init__(self, config: DistillationConfig, reader: Seq2Seq) -> None:
        self.config = config
        self.reader = reader

    def collate(self, rows: Sequence[Lesson]) -> dict[str, Any]:
        """Make a batch; states of the encoder replace its inputs where they are kept."""
        labels, _ = pad_batch([row.labels for row in rows], value=IGNORED)
        taught = {"labels": labels}
        if rows[0].top is not None:
            tops = [row.top for row in rows if row.top is not None]
            taught |= {
                name: nn.utils.rnn.pad_sequence([getattr(top, name) for top in tops], True)
                for name in TopK._fields
            }
        batch = {"decoder_input_ids": self.reader.decoder_inputs(labels), "labels": taught}
        inputs = self.reader.inputs([row.inputs for row in rows])
        if rows[0].states is None:
            return {**inputs, **batch}
        states = [row.states for row in rows if row.states is not None]
        padded = nn.utils.rnn.pad_sequence(states, True).float()
        mask = {name: inputs[name] for name in ("attention_mask",) if name in inputs}
        return {"encoder_outputs": BaseModelOutput(padded), **mask, **batch}

    def counted(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Count tokens."""
        return labels["labels"]

    def loss(
        self,
        outputs: Any,
        labels: Mapping[str, Tensor],
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Compute the mean over all tokens of the step."""
        config, targets = self.config, labels["labels"]
        where = targets != IGNORED
        total = outputs.logits.new_zeros((), dtype=torch.float32)
        if config.cross_entropy_weight:
            total = total + config.cross_entropy_weight * _cross_entropy(outputs.logits, targets)
        if config.divergence_weight:
            top = TopK(*(labels[name] for name in TopK._fields))
            total = total + config.divergence_weight * distillation_loss(
                outputs.logits,
                top,
                divergence=config.divergence,
                skew=config.skew,
                temperature=config.temperature,
                where=where,
                reduction="sum",
            )
        return total / (where.sum() if num_items_in_batch is None else num_items_in_batch)

    def score(self, outputs: Any, labels: Mapping[str, Tensor]) -> tuple[float, int]:
        """Sum the cross-entropy over tokens."""
        targets = labels["labels"]
        return _cross_entropy(outputs.logits, targets).item(), int((targets != IGNORED).sum())

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Make the optimizer of the parts "encoder", if it learns, and "decoder"."""
        return parts_optimizer(model, self.config, self._parts(model))

    def scheduler(self, optimizer: Optimizer) -> AsymmetricScheduler:
        """Make the schedule of both parts."""
        parts = {"encoder": PartConfig(), "decoder": PartConfig()}
        return parts_scheduler(optimizer, self.config, parts)

    def _parts(self, model: nn.Module) -> dict[str, tuple[list[nn.Module] | None, PartConfig]]:
        encoder = encoder_modules(model)
        learns = any(weight.requires_grad for part in encoder for weight in part.parameters())
        rate = self.config.unfrozen_rate if self.config.freeze_encoder else 1.0
        own = {"encoder": (encoder, PartConfig(lr=rate * self.config.lr))} if learns else {}
        return {**own, "decoder": (None, PartConfig())}


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def encoder_modules(model: Any) -> list[nn.Module]:
    """Return all modules that the states of the encoder depend on.

    A table of tokens that both sides read is among them.
    """
    encoder = model.get_encoder()
    if any(True for _ in encoder.parameters()):
        return [encoder]
    core = model.model  # of our own models
    table = core.target_embedding if core.source_embedding is None else core.source_embedding
    names = ("source_projection", "source_positions", "source_embedding_norm")
    parts = (core.encoder, table, *(getattr(core, name, None) for name in names))
    return [part for part in parts if part is not None]


def freeze_encoder(model: PreTrainedModel, *, frozen: bool = True) -> None:
    """Let the encoder, and a table that it shares with the decoder, learn or not.

    Args:
        model: The model.
        frozen: Whether it keeps its weights.
    """
    for part in encoder_modules(model):
        part.requires_grad_(not frozen)


def distil(
    student: PreTrainedModel,
    teacher: PreTrainedModel | None,
    reader: Seq2Seq,
    train: Data,
    valid: Data,
    config: DistillationConfig,
    *,
    out: str | Path,
    seed: int,
    progress: Progress | None = None,
    on_record: OnRecord | None = None,
    on_kept: Callable[[int, int], None] | None = None,
) -> list[Record]:
    """Train a student in place on its teacher's distributions and on labels.

    What the teacher says of every token, and the states of a frozen encoder, are computed once and
    kept in the folder. A run that was stopped continues from there when it is called again.

    Args:
        student: The model that learns, such as `shrink` returns.
        teacher: The model whose distributions it learns, of the same tokens; None if
            `divergence_weight` is 0.
        reader: What makes inputs and labels.
        train: Inputs and labels of the training data.
        valid: The same of the validation data.
        config: Its settings.
        out: Folder of what is kept.
        seed: Of the data order and of dropout.
        progress: Called after each step with the steps done and the steps in total.
        on_record: Called with each record.
        on_kept: Called with the examples that the teacher has read and all.

    Returns:
        Records as of `train_model`; steps of the last part, in which a frozen encoder learns, too,
        are counted on.

    Raises:
        ValueError: If there is no teacher but a divergence to learn, it knows other tokens, or the
            folder holds outputs of another one.
        FloatingPointError: If a loss or a weight is not finite.

    Example:
        >>> from askew.training import DistillationConfig
        >>> distil(None, None, None, ([], []), ([], []), DistillationConfig(steps=9), out="x",
        ...     seed=0)
        Traceback (most recent call last):
        ValueError: distil: a divergence needs a teacher; got None. Set divergence_weight to 0
    """
    out = Path(out)
    if config.divergence_weight and teacher is None:
        raise ValueError(
            "distil: a divergence needs a teacher; got None. Set divergence_weight to 0"
        )
    models = [model for model in (student, teacher) if model is not None]
    known = [model.config.get_text_config(decoder=True).vocab_size for model in models]
    require(
        len(set(known)) == 1,
        f"distil: teacher and student must know the same tokens; got {known[0]} of the student, "
        f"{known[-1]} of the teacher",
    )
    first = config.steps - config.unfrozen_steps
    frozen = config.freeze_encoder and first > 0
    freeze_encoder(student, frozen=frozen)
    taught = teacher if config.divergence_weight else None
    done = on_kept or (lambda *_: None)

    def kept(name: str, data: Data, model: PreTrainedModel | None, states: bool) -> Lessons:
        outputs = KeptOutputs.of(
            reader,
            *data,
            teacher=model,
            encoder=student if states and reader.keeps_states else None,
            config=config,
            folder=out / name,
            progress=done,
        )
        return Lessons(reader, *data, kept=outputs)

    lessons = kept("taught", train, taught, frozen)
    checks = kept("validation", valid, None, frozen)
    records: list[Record] = []
    if first:
        records = train_model(
            student,
            lessons,
            checks,
            DistillationObjective(replace(config, steps=first), reader),
            out=out / "first",
            seed=seed,
            progress=_counted(progress, 0, config.steps),
            on_record=on_record,
        )
    if not config.unfrozen_steps:
        return records
    freeze_encoder(student, frozen=False)
    last = replace(
        config,
        steps=config.unfrozen_steps,
        warmup_steps=min(config.warmup_steps, config.unfrozen_steps // 4),
        evaluations=max(1, round(config.evaluations * config.unfrozen_share)),
    )
    more = train_model(
        student,
        Lessons(reader, *train, kept=lessons.kept and lessons.kept.without_states()),
        Lessons(reader, *valid),
        DistillationObjective(last, reader),
        out=out / "last",
        seed=seed + 1,
        progress=_counted(progress, first, config.steps),
        on_record=on_record,
    )
    ended = {key: max((one[key] for one in records), default=0) for key in _COUNTED_ON}
    shifted = [{key: value + ended.get(key, 0) for key, value in one.items()} for one in more]
    return [*records, *shifted]


def _counted(progress: Progress | None, before: int, steps: int) -> Progress | None:
    if progress is None:
        return None
    return lambda step, _: progress(before + step, steps)
