"""Texts to labels as a task: its data, its training and its scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from askew._check import require
from askew._files import file_sha256, write_text
from askew.metrics import CorpusScore
from askew.models import (
    AsymmetricLabelConfig,
    AsymmetricLabelModel,
    LabelModelConfig,
    PretrainedEncoder,
    TextLabeller,
    load_label_model,
    read_encoder_config,
    write_checksums,
)
from askew.tasks._tabular import metrics_in_points
from askew.tasks._text_label_data import SplitLabelled
from askew.tasks._text_label_scores import label_scores, target_matrix, tune_thresholds
from askew.tasks._text_labels_training import LabelExamples, LabelObjective, TextLabelTrainingConfig
from askew.tasks._text_task import TextTask
from askew.text import LabelledTexts, load_any_tokenizer, save_tokenizer_settings, train_tokenizer
from askew.tradeoffs import Metric, Range, count_flops, count_parameters

SPEEDS = {"throughput": "texts labelled", "latency_ms": "time per text"}
_REMOVAL_SEED = 7
SEVERAL = metrics_in_points({"map": "mAP", "micro_f1": "micro-F1", "macro_f1": "macro-F1"})
EXCLUSIVE = metrics_in_points({"accuracy": "accuracy", "macro_f1": "macro-F1"})


@dataclass(frozen=True, kw_only=True)
class TextLabelTask(TextTask[AsymmetricLabelModel]):
    """Find the labels of texts; a task of `askew.tradeoffs.compare`.

    Where exactly one label holds of every text, the metrics are accuracy and macro-F1; else mAP,
    micro-F1 and macro-F1. All are in per cent. Thresholds are tuned on the validation texts after
    training, and stored in the config of the model.

    Attributes:
        source_name: Where the data came from, as the results name it.
        text: Training, validation and test texts.
        tokenizer: The tokenizer.
        training: The numbers of a run; a comparison sets `steps`.
        pretrained: Folder of an encoder of transformers to begin with, or None.

    Example:
        >>> from askew.tasks import LabelSources, load_labelled
        >>> task = text_label_task(*load_labelled(LabelSources()), vocab_size=400)
        >>> isinstance(task, TextLabelTask), [metric.name for metric in task.metrics]
        (True, ['map', 'micro_f1', 'macro_f1'])
    """

    text: SplitLabelled
    tokenizer: Tokenizer
    training: TextLabelTrainingConfig
    pretrained: Path | None = None
    name: str = "labels"
    speeds: Mapping[str, str] = field(default_factory=lambda: dict(SPEEDS))
    warmup_divisor: ClassVar[int] = 10

    @property
    def metrics(self) -> Sequence[Metric]:
        """The metrics, the most important first."""
        return EXCLUSIVE if self.text.is_exclusive else SEVERAL

    @cached_property
    def labels(self) -> list[str]:
        """The names of the labels, in the order of the logits."""
        return self.text.names

    def describe(self) -> Mapping[str, object]:
        """Return sizes, labels, training numbers and a fingerprint of all texts."""
        folder = self.pretrained
        return {
            "name": self.source_name,
            **{name: len(split.texts) for name, split in self.text._asdict().items()},
            "labels": self.labels,
            "exclusive": self.text.is_exclusive,
            "vocabulary": self.tokenizer.get_vocab_size(),
            "fingerprint": [split.fingerprint for split in self.text],
            "pretrained": None if folder is None else str(folder),
            **({} if folder is None else {"pretrained_sha256": self._pretrained_sha256}),
            "training": self.training_numbers(),
        }

    @cached_property
    def _pretrained_sha256(self) -> list[str]:
        assert self.pretrained is not None
        return [file_sha256(self.pretrained / n) for n in ("config.json", "model.safetensors")]

    def signatures(self) -> Mapping[str, str]:
        """Return the rules of thresholds and of averages."""
        rules = {"average": "of the labels that hold of a test text, by scikit-learn"}
        if self.text.is_exclusive:
            return rules
        return rules | {"threshold": "best F1 on the validation texts"}

    def build(self, config: LabelModelConfig, seed: int) -> AsymmetricLabelModel:
        """Make a model with initial weights; a pretrained encoder brings its own."""
        torch.manual_seed(seed)
        model = AsymmetricLabelModel(self._wrapped(config))
        if isinstance(model.encoder, PretrainedEncoder) and self.pretrained is not None:
            model.encoder.read_weights(self.pretrained)
        return model

    def _wrapped(self, config: LabelModelConfig) -> AsymmetricLabelConfig:
        pretrained = None
        if self.pretrained is not None:
            pretrained = read_encoder_config(self.pretrained, dropout=config.encoder.dropout)
        return AsymmetricLabelConfig.from_plain(
            config,
            labels=self.labels,
            exclusive=self.text.is_exclusive,
            pretrained=pretrained,
        )

    def check(self, config: LabelModelConfig) -> None:
        """Refuse an encoder that has too few positions, tokens or layers, or no room for a text.

        Raises:
            ValueError: If it has.
        """
        model = AsymmetricLabelModel(self._wrapped(config))
        special = TextLabeller(model, self.tokenizer).tokenizer.num_special
        require(
            config.max_tokens > special,
            f"labels: max_tokens must be above the {special} special tokens of a text; "
            f"got max_tokens {config.max_tokens}",
        )
        if isinstance(model.encoder, PretrainedEncoder):
            model.encoder.check_reads(config.max_tokens, self.tokenizer.get_vocab_size())
            frozen, depth = self.training.encoder.frozen_layers, model.encoder.depth
            require(
                frozen <= depth,
                f"labels: training.encoder.frozen_layers must be at most the {depth} layers of "
                f"the encoder; got frozen_layers {frozen}",
            )

    def check_training(self, training: Mapping[str, object]) -> None:
        """Refuse numbers of training that are unknown, out of range or unfit for the labels."""
        self._loss(self._training_config(training))

    def _loss(self, config: TextLabelTrainingConfig) -> Any:
        exclusive, learnt = self.text.is_exclusive, self._labels_learnt(config)
        require(
            not (exclusive and config.remove_positives),
            "labels: remove_positives goes with texts that have several labels; "
            f"got remove_positives {config.remove_positives}",
        )
        tokens = sum(self._train_lengths(LabelModelConfig(vocab=1).max_tokens))
        epoch = max(1, tokens // (config.batch_tokens * config.accumulate))
        return config.loss.build(learnt, epoch_steps=epoch, exclusive=exclusive)

    @cached_property
    def _whole_lengths(self) -> list[int]:
        return [len(tokens.ids) for tokens in self.tokenizer.encode_batch(self.text.train.texts)]

    def _train_lengths(self, longest: int) -> list[int]:
        return [min(length, longest) for length in self._whole_lengths]

    def _targets(self, texts: LabelledTexts) -> Tensor:
        return torch.from_numpy(target_matrix(texts, self.labels)).float()

    def _labels_learnt(self, config: TextLabelTrainingConfig) -> Tensor:
        targets = self._targets(self.text.train)
        if config.remove_positives == 0:
            return targets
        drawn = torch.rand(targets.shape, generator=torch.Generator().manual_seed(_REMOVAL_SEED))
        return targets.masked_fill(drawn < config.remove_positives, 0.0)

    def training_inputs(
        self, model: AsymmetricLabelModel, config: TextLabelTrainingConfig, seed: int
    ) -> tuple[LabelExamples, LabelExamples, LabelObjective]:
        """Return training and validation texts as token numbers, and the objective."""
        labeller = self.labeller(model)
        train, valid = (
            LabelExamples(labeller.encode(part.texts)[0], targets)
            for part, targets in (
                (self.text.train, self._labels_learnt(config)),
                (self.text.valid, self._targets(self.text.valid)),
            )
        )
        exclusive = self.text.is_exclusive
        return train, valid, LabelObjective(config, self._loss(config), exclusive=exclusive)

    def finish(self, model: AsymmetricLabelModel, config: TextLabelTrainingConfig) -> None:
        """Tune the thresholds on the validation texts."""
        if self.text.is_exclusive:
            return
        logits = self.labeller(model).logits(self.text.valid.texts)
        truth = target_matrix(self.text.valid, self.labels)
        each = config.thresholds == "label"
        model.config.thresholds = tune_thresholds(logits, truth, each=each)

    def labeller(self, model: AsymmetricLabelModel) -> TextLabeller:
        """Combine the model with its tokenizer."""
        return TextLabeller(model, self.tokenizer)

    def test_scores(self, model: AsymmetricLabelModel) -> dict[str, CorpusScore]:
        """Score the labels of the test texts."""
        labeller, test = self.labeller(model), self.text.test
        logits = labeller.logits(test.texts)
        return self._scores(logits, labeller.holding(logits))

    def _scores(self, logits: np.ndarray, holding: np.ndarray) -> dict[str, CorpusScore]:
        truth = target_matrix(self.text.test, self.labels)
        values = label_scores(logits, holding, truth, exclusive=self.text.is_exclusive)
        rule = self.signatures()["average"]
        return {name: CorpusScore(value, (), rule) for name, value in values.items()}

    def search_space(self) -> Mapping[str, Range]:
        """Return what tuning draws by default: a rate for each part, and the dropout."""
        scratch = Range(low=2e-4, high=5e-3, log=True)
        encoder = scratch if self.pretrained is None else Range(low=2e-5, high=2e-3, log=True)
        return {
            "training.encoder.lr": encoder,
            "training.head.lr": scratch,
            "encoder.dropout": Range(low=0.0, high=0.4),
        }

    def predict(self, model: AsymmetricLabelModel, *, items: int, batch_size: int) -> None:
        """Label the first test texts, over again if there are too few."""
        texts = self.text.test.texts
        asked = [texts[number % len(texts)] for number in range(items)]
        self.labeller(model).label(asked, batch_size=batch_size)

    def parameters(self, config: LabelModelConfig) -> int:
        """Count the trainable numbers of a model, a pretrained encoder included."""
        with torch.device("meta"):
            return count_parameters(AsymmetricLabelModel(self._wrapped(config)))

    def flops_per_step(self, config: LabelModelConfig) -> float:
        """Count the floating-point operations of a step on a full batch of mean length."""
        model = AsymmetricLabelModel(self._wrapped(config))
        lengths = self._train_lengths(config.max_tokens)
        length = max(1, round(sum(lengths) / len(lengths)))
        x = torch.ones(1, length, dtype=torch.long)
        texts = self.training.batch_tokens * self.training.accumulate / length
        return texts * count_flops(lambda: model(x, return_dict=True).logits.sum().backward())

    def save(self, model: AsymmetricLabelModel, folder: Path) -> None:
        """Write a folder that `load`, `TextLabeller` and `askew predict` read."""
        model.save_pretrained(folder)
        # The library's own `save` raises a bare Exception where the disk is full.
        write_text(folder / "tokenizer.json", self.tokenizer.to_str(pretty=True))
        save_tokenizer_settings(self.tokenizer, folder)
        write_checksums(folder)

    def load(self, folder: Path) -> AsymmetricLabelModel:
        """Read a model that `save` wrote."""
        return load_label_model(folder).eval()


def text_label_task(
    source_name: str,
    text: SplitLabelled,
    *,
    vocab_size: int = 8000,
    training: TextLabelTrainingConfig | None = None,
    pretrained: str | Path | None = None,
) -> TextLabelTask:
    """Make a task; the tokenizer comes with the pretrained encoder, or is trained.

    Args:
        source_name: Where the data came from.
        text: Training, validation and test texts.
        vocab_size: Tokens of the vocabulary, at most.
        training: The numbers of a run.
        pretrained: Folder of an encoder of transformers to begin with.

    Returns:
        The task.

    Raises:
        ValueError: If the encoder cannot be read, or the loss does not fit the labels.

    Example:
        >>> from askew.tasks import LabelSources, load_labelled
        >>> task = text_label_task(*load_labelled(LabelSources()), vocab_size=400)
        >>> len(task.labels)
        11
    """
    folder = None if pretrained is None else Path(pretrained)
    if folder is None:
        tokenizer = train_tokenizer(text.train.texts, vocab_size=vocab_size)
    else:
        read_encoder_config(folder)
        tokenizer = load_any_tokenizer(folder / "tokenizer.json")
        tokenizer.no_truncation()
        tokenizer.no_padding()
    task = TextLabelTask(
        source_name=source_name,
        text=text,
        tokenizer=tokenizer,
        training=training or TextLabelTrainingConfig(steps=1),
        pretrained=folder,
    )
    task.check_training({})
    return task
