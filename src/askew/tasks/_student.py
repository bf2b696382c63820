"""Students that are cut from one trained translation model, as a task of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from askew._check import require
from askew._config import load_config
from askew.models import (
    AsymmetricTranslationConfig,
    AsymmetricTranslationModel,
    Translator,
    kept_layers,
    load_seq2seq,
    load_translation_model,
    model_fingerprint,
    shrink,
)
from askew.tasks._arm_names import STUDENT, check_student, full_name
from askew.tasks._arms import OTHER_WEIGHTS, shape_training
from askew.tasks._layers import SIDES, LayerTable
from askew.tasks._student_cuts import CutConfig, read_cut_config
from askew.tasks._translation import TranslationTask
from askew.text import SplitText, load_tokenizers
from askew.tradeoffs import Arm, Progress, Range, latency_ratio
from askew.training import DistillationConfig, DistillationObjective, KeptOutputs, Lessons
from askew.transformer import EncoderDecoderConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentConfig(EncoderDecoderConfig):
    """The config of a student, and which layers of the model it begins with.

    Attributes:
        encoder_kept: Numbers of the encoder layers.
        decoder_kept: Numbers of the decoder layers.
        copied: Whether the weights of these layers are copied; else they are drawn anew. All
            other settings are those of `EncoderDecoderConfig`.
    """

    encoder_kept: tuple[int, ...] = ()
    decoder_kept: tuple[int, ...] = ()
    copied: bool = True


@dataclass(frozen=True, kw_only=True)
class StudentTask(TranslationTask):
    """Teach students of one translation model; both arms learn alike from the same teacher.

    Attributes:
        model: Folder of the model, which is cut and teaches.
        training: The numbers of a run.
        kept: Folder of what the teacher says of the training data, once it is computed.
        layers: What each layer is worth and costs, if that was measured.
    """

    model: Path
    training: DistillationConfig  # pyrefly: ignore[bad-override]  of another kind
    kept: Path | None = None
    layers: LayerTable | None = None

    @cached_property
    def whole(self) -> EncoderDecoderConfig:
        """The config of the model."""
        return load_translation_model(self.model).config.to_plain()

    @property
    def layer_lines(self) -> list[str]:
        """The table of layers, if they were measured."""
        return [] if self.layers is None else self.layers.lines()

    def describe(self) -> Mapping[str, object]:
        """Return what a translation task describes, and the weights of the model."""
        described = super().describe()
        known = self.training.plain().keys()
        training: Any = described["training"]
        kept = {name: value for name, value in training.items() if name in known}
        return {**described, "training": kept, "from": model_fingerprint(self.model)}

    def build(self, config: EncoderDecoderConfig, seed: int) -> AsymmetricTranslationModel:
        """Cut a student; its weights are random only if they are not copied."""
        torch.manual_seed(seed)
        config = self._student(config)
        if not isinstance(config, StudentConfig) or not config.copied:
            return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(config))
        kept = {side: list(getattr(config, f"{side}_kept")) for side in SIDES}
        return shrink(load_translation_model(self.model), keep=kept)

    def _student(self, config: Any) -> EncoderDecoderConfig:
        if not isinstance(config, CutConfig):
            return config
        return cut_config(self.whole, config.kept, copied=True)

    def parameters(self, config: Any) -> int:
        """Count the trainable numbers of a student."""
        return super().parameters(self._student(config))

    def side_parameters(self, config: Any) -> dict[str, int]:
        """Count the trainable numbers of both sides of a student, without their tables."""
        return super().side_parameters(self._student(config))

    def flops_per_step(self, config: Any) -> float:
        """Count the operations of a full batch of sentences of mean length."""
        return super().flops_per_step(self._student(config))

    def training_inputs(self, model: AsymmetricTranslationModel, config: Any, seed: int) -> Any:
        """Return lessons of the teacher, validation pairs and the objective."""
        reader = load_seq2seq(self.model)
        train, valid = (
            (reader.read(pairs.sources), reader.labels(pairs.targets))
            for pairs in (self.text.train, self.text.valid)
        )
        kept = self._outputs(reader, *train, lambda *_: None)
        lessons = Lessons(reader, *train, kept)
        return lessons, Lessons(reader, *valid), DistillationObjective(config, reader)

    def with_outputs(self, folder: Path, progress: Progress) -> "StudentTask":
        """Let the teacher read the training data, once for all trials."""
        task = replace(self, kept=folder)
        reader, pairs = load_seq2seq(self.model), self.text.train
        task._outputs(reader, reader.read(pairs.sources), reader.labels(pairs.targets), progress)
        return task

    def _outputs(
        self, reader: Any, inputs: Any, labels: Any, progress: Progress
    ) -> KeptOutputs | None:
        if not self.training.divergence_weight:
            return None
        if self.kept is None:
            raise ValueError(
                "StudentTask.train: the teacher must have read the training data; got none. Call "
                "with_outputs first"
            )
        return KeptOutputs.of(
            reader,
            inputs,
            labels,
            teacher=reader.model,
            encoder=None,
            config=self.training,
            folder=self.kept,
            progress=progress,
        )

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score the teacher, and the target of the nearest training source."""
        translator = Translator.from_pretrained(self.model)
        scores = self.score(translator.translate(self.text.test.sources))
        return {
            **super().baselines(),
            "teacher": {name: score.value for name, score in scores.items()},
        }

    def search_space(self) -> Mapping[str, Range]:
        """Return what tuning draws by default: the learning rate."""
        return {"training.lr": Range(low=1e-4, high=3e-3, log=True)}


def student_task(
    source_name: str, text: SplitText, model: Path, settings: Mapping[str, Any]
) -> StudentTask:
    """Make the task.

    Args:
        source_name: Where the data came from.
        text: Training, validation and test pairs.
        model: Folder of the model, with its tokenizers.
        settings: Numbers of "training"; the encoder is not frozen, since it may be cut.

    Returns:
        The task.

    Raises:
        ValueError: If the folder holds no translation model of this library, or other settings are
            given.
    """
    others = [name for name in settings if name != "training"]
    require(
        not others,
        f"compare: with --from, --set changes the training alone; got {', '.join(others)}",
    )
    base = DistillationConfig(steps=1, freeze_encoder=False)
    given = settings.get("training", {})
    training = load_config(DistillationConfig, given, base=base, where="training")
    load_translation_model(model)
    return StudentTask(
        source_name=source_name,
        text=text,
        tokenizers=load_tokenizers(model),
        training=training,
        model=model,
    )


def student_arms(
    task: StudentTask, challenger: str, baseline: str, match: str
) -> tuple[list[Arm], dict[str, object]]:
    """Make two students; a symmetric one has as many layers on both sides.

    Args:
        task: The task.
        challenger: "student-deep-shallow" (all encoder layers, one decoder layer), "student-E-D"
            with numbers of layers, or the same with "fresh", whose weights are not copied; or a
            file that a search for students wrote.
        baseline: The same, or "student-symmetric": as deep on both sides as makes its cost nearest
            to that of the challenger.
        match: Which cost: "parameters", "flops" or "latency".

    Returns:
        The arms, the baseline last, and what the results record about them.

    Raises:
        ValueError: If a name is unknown, or asks for more layers than there are.
    """
    whole = task.whole
    names = [full_name(challenger), full_name(baseline)]
    first = student_config(whole, names[0])
    if names[1].endswith("symmetric"):
        copied = names[1].startswith("student")
        other = symmetric_student(task, first, match, copied=copied)
    else:
        other = student_config(whole, names[1])
    training = [shape_training(task, name, {}) for name in names]
    names = [Path(name).stem if name.endswith(".toml") else name for name in names]
    if names[0] == names[1]:
        names[0] += "-again"
    offset = OTHER_WEIGHTS if first == other else 0
    arms = [
        Arm(name=names[0], config=first, init_offset=offset, training=training[0]),
        Arm(name=names[1], config=other, training=training[1]),
    ]
    residual = cost_ratio(task, other, first, match) - 1
    return arms, {"match": match, "match_residual": residual}


def symmetric_student(
    task: StudentTask, first: StudentConfig, match: str, *, copied: bool
) -> StudentConfig:
    """Return the student, as deep on both sides, whose cost is nearest to that of another one."""
    whole = task.whole
    options = [
        _spread(whole, depth, depth, copied=copied)
        for depth in range(1, min(whole.encoder.num_layers, whole.decoder.num_layers) + 1)
    ]
    return min(options, key=lambda config: abs(cost_ratio(task, config, first, match) - 1))


def cost_ratio(task: StudentTask, config: Any, other: Any, match: str) -> float:
    """Return the cost of one student divided by that of another."""
    if match == "latency":
        return latency_ratio(task, config, other)
    count = {"parameters": task.parameters, "flops": task.flops_per_step}.get(match)
    if count is None:
        raise ValueError(
            f"compare: students are matched by parameters, flops or latency; got match {match}"
        )
    return count(config) / count(other)


def student_config(whole: EncoderDecoderConfig, name: str) -> StudentConfig:
    """Return the config of a student by its name.

    Args:
        whole: Of the model.
        name: As `student_arms` takes it, but for "symmetric".

    Returns:
        The config.

    Raises:
        ValueError: If the name is unknown, or asks for more layers than there are.
    """
    if name.endswith(".toml"):
        return cut_config(whole, read_cut_config(Path(name)).kept, copied=True)
    check_student(name, is_baseline=False)
    found = STUDENT.fullmatch(name)
    assert found is not None
    copied = found[1] == "student"
    if found[3] is None:
        return _spread(whole, whole.encoder.num_layers, 1, copied=copied)
    return _spread(whole, int(found[3]), int(found[4]), copied=copied)


def _spread(
    whole: EncoderDecoderConfig, encoder: int, decoder: int, *, copied: bool
) -> StudentConfig:
    kept = {}
    for side, count in zip(SIDES, (encoder, decoder), strict=True):
        stack = getattr(whole, side)
        require(
            1 <= count <= stack.num_layers,
            f"compare: a student has 1 to {stack.num_layers} {side} layers, those of the model; "
            f"got {count}",
        )
        kept[side] = kept_layers(stack.num_layers, count, "spread", side=side)
    return cut_config(whole, kept, copied=copied)


def cut_config(
    whole: EncoderDecoderConfig, kept: Mapping[str, Sequence[int]], *, copied: bool
) -> StudentConfig:
    """Return the config of a student by the layers that it keeps.

    Args:
        whole: Of the model.
        kept: Numbers of layers by side.
        copied: Whether weights are copied.

    Returns:
        The config.

    Raises:
        ValueError: If the model has no such layers.
    """
    sides: dict[str, Any] = {}
    for side in SIDES:
        stack, layers = getattr(whole, side), list(kept[side])
        sides[f"{side}_kept"] = tuple(kept_layers(stack.num_layers, len(layers), layers, side=side))
        sides[side] = replace(stack, num_layers=len(layers))
    others = {
        name: getattr(whole, name)
        for name in EncoderDecoderConfig.__dataclass_fields__
        if name not in SIDES
    }
    return StudentConfig(**others, **sides, copied=copied)
