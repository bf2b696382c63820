"""Translation as a task: its data, its training and its scores."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import torch

from askew._check import in_words, require
from askew._config import to_dict
from askew.export import export_ctranslate2
from askew.metrics import CorpusScore, bleu, bleu_tokenizer, chrf, exact_match
from askew.models import (
    AsymmetricTranslationConfig,
    AsymmetricTranslationModel,
    CTranslate2Engine,
    Translator,
    load_translation_model,
    write_checksums,
)
from askew.tasks._teacher import Teacher
from askew.tasks._text_task import TextTask
from askew.text import (
    END,
    ParallelText,
    SplitText,
    Tokenizers,
    fingerprint,
    is_protecting,
    nearest_neighbour,
    protect_pairs,
    save_tokenizers,
    train_tokenizers,
)
from askew.tradeoffs import Metric, Range
from askew.training import TrainingConfig, TranslationExamples
from askew.transformer import EncoderDecoderConfig, parameter_count, training_flops

Pair = tuple[str, str]

METRICS = (
    Metric(name="chrf", label="chrF", equivalence=1.0, unit="points"),
    Metric(name="bleu", label="BLEU", equivalence=1.0, unit="points"),
    Metric(name="exact_match", label="exact match", equivalence=0.02),
)

SPEEDS = {"throughput": "decoding throughput", "latency_ms": "decoding latency, batch 1"}


@dataclass(frozen=True, kw_only=True)
class TranslationTask(TextTask[AsymmetricTranslationModel]):
    """Translate sentences; a task of `askew.tradeoffs.compare`.

    Attributes:
        source_name: Where the data came from, as the results name it.
        text: Training, validation and test pairs.
        tokenizers: Of source and target, trained on the training pairs.
        training: The numbers of a run; a comparison sets `steps`.
        teacher: A model whose translations of the training sources can replace the references.
        taught: Those translations, once they are made.
        left_out: How many pairs of the data were left out, by reason.
        serve: How CTranslate2 stores the weights of models whose speed is measured, such as "int8";
            None measures PyTorch. Scores are always those of PyTorch.

    Example:
        >>> from askew.text import ParallelText
        >>> pairs = ParallelText(["one", "two"], ["um", "dois"])
        >>> task = translation_task("numbers", SplitText(pairs, pairs, pairs), vocab_size=260)
        >>> task.describe()["train"]
        2
    """

    text: SplitText
    tokenizers: Tokenizers
    training: TrainingConfig
    teacher: Teacher | None = None
    taught: ParallelText | None = field(default=None, repr=False)
    left_out: Mapping[str, int] = field(default_factory=dict)
    serve: str | None = None
    name: str = "translation"
    metrics: Sequence[Metric] = METRICS
    speeds: Mapping[str, str] = field(default_factory=lambda: dict(SPEEDS))
    warmup_divisor: ClassVar[int] = 4

    def describe(self) -> Mapping[str, object]:
        """Return sizes, vocabulary, training numbers and a fingerprint of all text."""
        return {
            "name": self.source_name,
            "train": len(self.text.train.sources),
            "valid": len(self.text.valid.sources),
            "test": len(self.text.test.sources),
            "vocabulary": list(self.vocabularies()),
            "fingerprint": fingerprint(self.text),
            "training": self.training_numbers(),
            **({} if self.teacher is None else {"teacher": to_dict(self.teacher)}),
            **({"protect": True} if self.protects else {}),
            **({} if self.serve is None else {"serve": self.serve}),
        }

    @property
    def protects(self) -> bool:
        """Whether the model reads and writes marks instead of placeholders and markup."""
        return is_protecting(self.tokenizers.source)

    def vocabularies(self) -> tuple[int, int]:
        """Count the tokens of source and target."""
        source, target = (tokenizer.get_vocab_size() for tokenizer in self.tokenizers)
        return source, target

    def build(self, config: EncoderDecoderConfig, seed: int) -> AsymmetricTranslationModel:
        """Make a model with its initial weights."""
        torch.manual_seed(seed)
        return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(config))

    def training_inputs(
        self, model: AsymmetricTranslationModel, config: TrainingConfig, seed: int
    ) -> tuple[TranslationExamples, TranslationExamples, TrainingConfig]:
        """Return training and validation pairs as token numbers, and the numbers of the run."""
        train = self._examples(self._training_pairs(config.target), config, seed)
        return train, self.examples[1], config

    @cached_property
    def examples(self) -> tuple[TranslationExamples, TranslationExamples]:
        """Training and validation pairs as token numbers, without BPE dropout."""
        plain = TrainingConfig(steps=1, batch_tokens=self.training.batch_tokens)
        train, valid = (
            self._examples(pairs, plain, 0) for pairs in (self.text.train, self.text.valid)
        )
        return train, valid

    def _examples(
        self, pairs: ParallelText, config: TrainingConfig, seed: int
    ) -> TranslationExamples:
        return TranslationExamples(
            protect_pairs(pairs) if self.protects else pairs,
            self.tokenizers,
            max_tokens=config.batch_tokens,
            bpe_dropout=(config.encoder.bpe_dropout, config.decoder.bpe_dropout),
            seed=seed,
        )

    def _training_pairs(self, target: str) -> ParallelText:
        if target == "reference":
            return self.text.train
        if self.taught is None:
            raise ValueError(
                f"TranslationTask.train: the target {target!r} needs the translations of a "
                "teacher; got none. Give --teacher DIR"
            )
        if target == "teacher":
            return self.taught
        both = zip(self.text.train, self.taught, strict=True)
        return ParallelText(*(reference + taught for reference, taught in both))

    def search_space(self) -> Mapping[str, Range]:
        """Return what tuning draws by default: a rate and a dropout for each side."""
        rate, dropout = Range(low=5e-4, high=8e-3, log=True), Range(low=0.0, high=0.3)
        sides = ("encoder", "decoder")
        return {f"training.{side}.lr": rate for side in sides} | {
            f"{side}.dropout": dropout for side in sides
        }

    def validation_quality(self, model: AsymmetricTranslationModel, *, items: int) -> float:
        """Compute chrF on the first validation pairs."""
        pairs = ParallelText(*(side[:items] for side in self.text.valid))
        return chrf(self.translator(model).translate(pairs.sources), pairs.targets).value

    def deploy(
        self, model: AsymmetricTranslationModel
    ) -> AsymmetricTranslationModel | CTranslate2Engine:
        """Export the model for the engine that will serve it.

        Raises:
            ValueError: If CTranslate2 cannot compute the model.
            ModuleNotFoundError: If ctranslate2 is not installed.
        """
        if self.serve is None:
            return model
        with TemporaryDirectory() as folder:
            self.save(model, Path(folder))
            exported = export_ctranslate2(folder, quantization=self.serve)
            return CTranslate2Engine(exported, threads=torch.get_num_threads())

    @torch.inference_mode()
    def time_answers(
        self, model: AsymmetricTranslationModel | CTranslate2Engine, *, items: int
    ) -> None:
        """Translate the first test sentences, each into as many tokens as the mean target has."""
        lengths = self.examples[1].lengths
        tokens = round(sum(target for _, target in lengths) / len(lengths))
        for source in self.text.test.sources[:items]:
            numbers = self.tokenizers.source.encode(source).ids
            if isinstance(model, CTranslate2Engine):
                model.write([numbers], tokens)
                continue
            inputs = torch.tensor([[*numbers, END]])
            model.generate(inputs, min_new_tokens=tokens, max_new_tokens=tokens, num_beams=1)

    def train_score(self, model: AsymmetricTranslationModel) -> float:
        """Compute chrF on the first training pairs, as many as the test set has."""
        pairs = ParallelText(*(side[: len(self.text.test.sources)] for side in self.text.train))
        return chrf(self.translator(model).translate(pairs.sources), pairs.targets).value

    def test_scores(self, model: AsymmetricTranslationModel) -> dict[str, CorpusScore]:
        """Translate the test set greedily and score the translations."""
        return self.score(self.translator(model).translate(self.text.test.sources))

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
            "bleu": bleu(hypotheses, references, tokenizer=self.bleu_tokenizer),
            "exact_match": exact_match(hypotheses, references),
        }

    @cached_property
    def bleu_tokenizer(self) -> str:
        """SacreBLEU's tokenizer for the script of the test targets."""
        return bleu_tokenizer(self.text.test.targets)

    def signatures(self) -> dict[str, str]:
        """Return the signature of each score, as its scorer writes it."""
        pair = self.text.test.targets[:1]
        return {
            "chrf": chrf(pair, pair).signature,
            "bleu": bleu(pair, pair, tokenizer=self.bleu_tokenizer).signature,
            "exact_match": exact_match(pair, pair).signature,
        }

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score the target of the nearest training source."""
        scores = self.score(nearest_neighbour(self.text.test.sources, self.text.train))
        return {"nearest_neighbour": {name: score.value for name, score in scores.items()}}

    def predict(
        self, model: AsymmetricTranslationModel | CTranslate2Engine, *, items: int, batch_size: int
    ) -> None:
        """Translate the first test sentences greedily."""
        translator = self.translator(model, batch_size=batch_size)
        translator.translate(self.text.test.sources[:items])

    def translator(
        self, model: AsymmetricTranslationModel | CTranslate2Engine, *, batch_size: int = 64
    ) -> Translator:
        """Combine the model, or the engine of it, with its tokenizers."""
        return Translator(
            model,
            self.tokenizers.source,
            target_tokenizer=self.tokenizers.target,
            batch_size=batch_size,
        )

    def parameters(self, config: EncoderDecoderConfig) -> int:
        """Count the trainable numbers of a model."""
        return parameter_count(config).total

    def side_parameters(self, config: EncoderDecoderConfig) -> dict[str, int]:
        """Count the trainable numbers of the encoder and of the decoder, without their tables."""
        counted = parameter_count(config)
        return {"encoder": counted.encoder, "decoder": counted.decoder}

    def flops_per_step(self, config: EncoderDecoderConfig) -> float:
        """Count the operations of a full batch of sentences of mean length."""
        lengths = self.examples[0].lengths
        source, target = (sum(side) / len(lengths) for side in zip(*lengths, strict=True))
        rows = self.training.batch_tokens / max(source, target)
        return rows * training_flops(config, source_length=source, target_length=target)

    def save(self, model: AsymmetricTranslationModel, folder: Path) -> None:
        """Write the model and its tokenizers, and the checksums of both."""
        model.save_pretrained(folder)
        save_tokenizers(self.tokenizers, folder)
        write_checksums(folder)

    def load(self, folder: Path) -> AsymmetricTranslationModel:
        """Read a model that `save` wrote."""
        return load_translation_model(folder).eval()


def translation_task(
    source_name: str,
    text: SplitText,
    *,
    vocab_size: int,
    separate_vocabularies: bool = False,
    training: TrainingConfig | None = None,
    teacher: Teacher | None = None,
    protect: bool = False,
    drop_long: bool = False,
    places: Callable[[Collection[Pair]], Mapping[Pair, str]] | None = None,
) -> TranslationTask:
    """Train the vocabulary and make the task.

    Args:
        source_name: Where the data came from.
        text: Training, validation and test pairs.
        vocab_size: Tokens of the joint vocabulary, or of each of two, at most.
        separate_vocabularies: Whether source and target each have their own.
        training: The numbers of a run.
        teacher: A model whose translations of the training sources can replace the references.
        protect: Whether marks, which are copied, replace placeholders and markup.
        drop_long: Whether training and validation pairs longer than a batch are left out;
            otherwise they are refused.
        places: Function that finds file and line of pairs, for the error that names them.

    Returns:
        The task.

    Raises:
        ValueError: If a split is empty, the vocabulary is too small, or a sentence is longer
            than a batch.

    Example:
        >>> from askew.text import localisation_phrases
        >>> text = localisation_phrases(num_train=200, num_valid=20, num_test=20)
        >>> task = translation_task("phrases", text, vocab_size=400)
        >>> len(task.text.train.sources), task.vocabularies()[0] <= 400
        (200, True)
    """
    for name, pairs in text._asdict().items():
        require(
            len(pairs.sources) > 0,
            f"translation_task: the {name} split must not be empty; got 0 pairs",
        )
    tokenizers = train_tokenizers(
        protect_pairs(text.train) if protect else text.train,
        vocab_size=vocab_size,
        separate=separate_vocabularies,
        protect=protect,
    )
    task = TranslationTask(
        source_name=source_name,
        text=text,
        tokenizers=tokenizers,
        training=TrainingConfig(steps=1) if training is None else training,
        teacher=teacher,
    )
    long = {**_too_long(task, text.train), **_too_long(task, text.valid)}
    if long and not drop_long:
        found = places(long.keys()) if places is not None else {}
        named = [
            f"pair {found.get(pair) or repr(pair[0][:40])} with {size} tokens"
            for pair, size in long.items()
        ]
        raise ValueError(
            f"translation_task: both sides must fit max_tokens {task.training.batch_tokens}; got "
            f"{in_words(named)}. Leave such pairs out with --drop-long (drop_long), or raise "
            "training.batch_tokens"
        )
    if long:
        train, valid = (_without(pairs, long) for pairs in (text.train, text.valid))
        require(
            len(train.sources) > 0 and len(valid.sources) > 0,
            f"translation_task: some pairs must fit max_tokens {task.training.batch_tokens}; "
            f"got {len(train.sources)} for training, {len(valid.sources)} for validation",
        )
        kept = len(train.sources) + len(valid.sources)
        dropped = len(text.train.sources) + len(text.valid.sources) - kept
        task = replace(
            task, text=text._replace(train=train, valid=valid), left_out={"too long": dropped}
        )
    _ = task.examples  # made before any work, to refuse what cannot be tokenized
    return task


def _too_long(task: TranslationTask, pairs: ParallelText) -> dict[Pair, int]:
    """Return the pairs with a side longer than a batch, and its tokens."""
    limit = task.training.batch_tokens
    # A token is a byte or more, so that few texts are long enough to be counted.
    long = [pair for pair in zip(*pairs, strict=True) if max(map(_num_bytes, pair)) >= limit]
    texts = ParallelText([source for source, _ in long], [target for _, target in long])
    texts = protect_pairs(texts) if task.protects else texts
    sizes = zip(
        *(
            [len(encoding.ids) + 1 for encoding in tokenizer.encode_batch_fast(side)]
            for side, tokenizer in zip(texts, task.tokenizers, strict=True)
        ),
        strict=True,
    )
    return {pair: max(size) for pair, size in zip(long, sizes, strict=True) if max(size) > limit}


def _num_bytes(text: str) -> int:
    return len(text.encode())


def _without(pairs: ParallelText, unwanted: Collection[Pair]) -> ParallelText:
    kept = [pair for pair in zip(*pairs, strict=True) if pair not in unwanted]
    return ParallelText([source for source, _ in kept], [target for _, target in kept])
