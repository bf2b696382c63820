"""Translation as a task: its data, its training and its scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from tokenizers import Tokenizer

from askew._check import require
from askew._config import to_dict
from askew.metrics import CorpusScore, bleu, chrf, exact_match
from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel, Translator
from askew.text import SplitText, fingerprint, nearest_neighbour, train_tokenizer
from askew.tradeoffs import Evaluation, Metric, Progress, Records, training_flops
from askew.training import TrainingConfig, TranslationExamples, train_model
from askew.transformer import EncoderDecoderConfig

METRICS = (
    Metric(name="chrf", label="chrF", equivalence=1.0, unit="points"),
    Metric(name="bleu", label="BLEU", equivalence=1.0, unit="points"),
    Metric(name="exact_match", label="exact match", equivalence=0.02),
)


@dataclass(frozen=True, kw_only=True)
class TranslationTask:
    """Translate, from data at hand; a task of `askew.tradeoffs.compare`.

    Attributes:
        source_name: Where the data came from, as told in the results.
        text: Training, validation and test pairs.
        tokenizer: Of both sides, trained on the training pairs.
        training: The numbers of a run; a comparison sets `steps`.

    Example:
        >>> from askew.text import ParallelText
        >>> pairs = ParallelText(["one", "two"], ["um", "dois"])
        >>> task = translation_task("numbers", SplitText(pairs, pairs, pairs), vocab_size=260)
        >>> task.describe()["train"]
        2
    """

    source_name: str
    text: SplitText
    tokenizer: Tokenizer
    training: TrainingConfig
    name: str = "translation"
    metrics: Sequence[Metric] = METRICS

    def describe(self) -> Mapping[str, object]:
        """Tell sizes, vocabulary, training numbers and a fingerprint of all text."""
        training = to_dict(self.training)
        del training["steps"]  # the budget tells
        return {
            "name": self.source_name,
            "train": len(self.text.train.sources),
            "valid": len(self.text.valid.sources),
            "test": len(self.text.test.sources),
            "vocabulary": self.tokenizer.get_vocab_size(),
            "fingerprint": fingerprint(self.text),
            "training": training,
        }

    def build(self, config: EncoderDecoderConfig, seed: int) -> AsymmetricTranslationModel:
        """Make a model with its initial weights."""
        torch.manual_seed(seed)
        return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(config))

    def train(
        self,
        model: AsymmetricTranslationModel,
        *,
        steps: int,
        seed: int,
        folder: Path,
        progress: Progress,
    ) -> Records:
        """Train in place, going on from `folder` after a crash."""
        config = replace(
            self.training,
            steps=steps,
            warmup_steps=min(self.training.warmup_steps, max(1, steps // 4)),
            evaluations=min(self.training.evaluations, max(1, steps // 20)),
        )
        train, valid = self.examples
        return train_model(model, train, valid, config, out=folder, seed=seed, progress=progress)

    @cached_property
    def examples(self) -> tuple[TranslationExamples, TranslationExamples]:
        """Training and validation pairs as token numbers."""
        budget = self.training.batch_tokens
        return (
            TranslationExamples(self.text.train, self.tokenizer, max_tokens=budget),
            TranslationExamples(self.text.valid, self.tokenizer, max_tokens=budget),
        )

    def evaluate(self, model: AsymmetricTranslationModel) -> Evaluation:
        """Decode the test set greedily and score it."""
        scores = self.score(Translator(model, self.tokenizer).translate(self.text.test.sources))
        return Evaluation(
            {name: score.value for name, score in scores.items()},
            {name: score.items for name, score in scores.items()},
        )

    def score(self, hypotheses: Sequence[str]) -> dict[str, CorpusScore]:
        """Score translations of the test set.

        Args:
            hypotheses: One per test pair.

        Returns:
            chrF, BLEU and exact match.
        """
        references = self.text.test.targets
        return {
            "chrf": chrf(hypotheses, references),
            "bleu": bleu(hypotheses, references),
            "exact_match": exact_match(hypotheses, references),
        }

    def signatures(self) -> dict[str, str]:
        """Tell how each score is computed, in the scorer's own words."""
        pair = self.text.test.targets[:1]
        return {m.__name__: m(pair, pair).signature for m in (chrf, bleu, exact_match)}

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score the target of the nearest training source."""
        answers = nearest_neighbour(self.text.test.sources, self.text.train)
        return {
            "nearest_neighbour": {name: s.value for name, s in self.score(answers).items()},
        }

    def predict(self, model: AsymmetricTranslationModel, *, items: int, batch_size: int) -> None:
        """Translate the first test sentences greedily."""
        translator = Translator(model, self.tokenizer, batch_size=batch_size)
        translator.translate(self.text.test.sources[:items])

    def flops_per_step(self, config: EncoderDecoderConfig) -> float:
        """Count the operations of a batch of sentences of mean length."""
        lengths = self.examples[0].lengths
        source, target = (sum(side) / len(lengths) for side in zip(*lengths, strict=True))
        rows = self.training.batch_tokens / max(source, target)
        return rows * training_flops(config, source_length=source, target_length=target)

    def save(self, model: AsymmetricTranslationModel, folder: Path) -> None:
        """Write config.json, model.safetensors and tokenizer.json."""
        model.save_pretrained(folder)
        self.tokenizer.save(str(folder / "tokenizer.json"))

    def load(self, folder: Path) -> AsymmetricTranslationModel:
        """Read a model that `save` wrote."""
        return AsymmetricTranslationModel.from_pretrained(folder).eval()


def translation_task(
    source_name: str,
    text: SplitText,
    *,
    vocab_size: int,
    training: TrainingConfig | None = None,
) -> TranslationTask:
    """Train the vocabulary and make the task.

    Args:
        source_name: Where the data came from.
        text: Training, validation and test pairs.
        vocab_size: Tokens of the joint vocabulary at most.
        training: The numbers of a run.

    Returns:
        The task.

    Raises:
        ValueError: If a part is empty, the vocabulary is too small, or a sentence is longer
            than a batch.
    """
    for name, part in zip(text._fields, text, strict=True):
        require(
            len(part.sources) > 0,
            f"translation_task: the {name} part must not be empty; got 0 pairs",
        )
    tokenizer = train_tokenizer([*text.train.sources, *text.train.targets], vocab_size=vocab_size)
    task = TranslationTask(
        source_name=source_name,
        text=text,
        tokenizer=tokenizer,
        training=TrainingConfig(steps=1) if training is None else training,
    )
    _ = task.examples  # refuses what is too long before any work
    return task
