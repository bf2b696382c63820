"""Question answering as a task: its data, its training and its scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from tokenizers import Tokenizer

from askew._check import require
from askew._files import folder_sha256, write_text
from askew.metrics import CorpusScore
from askew.models import (
    AsymmetricQAConfig,
    AsymmetricQAModel,
    ContextIndex,
    PretrainedEncoder,
    QAConfig,
    QuestionAnswerer,
    load_qa_model,
    qa_training_flops,
    read_encoder_config,
    write_checksums,
)
from askew.tasks._qa_contexts import question_scores, read_own_contexts, tfidf_answers
from askew.tasks._qa_presets import METRICS, SPEEDS, search_space
from askew.tasks._qa_retrieval import fit_retrieval_weight
from askew.tasks._text_task import TextTask
from askew.text import (
    QuestionSet,
    SpanTokenizer,
    SplitQuestions,
    load_any_tokenizer,
    save_tokenizer_settings,
    train_tokenizer,
)
from askew.tradeoffs import Cost, Metric, Range, count_parameters
from askew.training import QAObjective, QATrainingConfig, QuestionExamples, TaughtSpans


class Pretrained(NamedTuple):
    """Folders of pretrained encoders of transformers, used instead of encoders from scratch.

    Args:
        question: Encoder of questions, or None.
        context: Encoder of contexts, or None.
        question_layers: How many of its lowest layers the encoder of questions keeps; None: all.

    Example:
        >>> Pretrained(context=Path("minilm"), question_layers=2).question is None
        True
    """

    question: Path | None = None
    context: Path | None = None
    question_layers: int | None = None


NO_PRETRAINED = Pretrained()


@dataclass(frozen=True, kw_only=True)
class QATask(TextTask[AsymmetricQAModel]):
    """Answer questions by spans of contexts; a task of `askew.tradeoffs.compare`.

    Attributes:
        source_name: Where the data came from, as the results name it.
        text: Training, validation and test questions.
        context_tokenizer: Tokenizer of contexts.
        question_tokenizer: Tokenizer of questions.
        training: The numbers of a run; a comparison sets `steps`.
        pretrained: Pretrained encoders to begin with.
        language: Language of the answers; its articles are ignored when answers are compared.
        teacher: The fingerprint of a teacher, if there is one.
        taught: What it says of the training questions.

    Example:
        >>> from askew.tasks import QuestionSources, load_questions
        >>> task = qa_task(*load_questions(QuestionSources()), vocab_size=400)
        >>> isinstance(task, QATask), [metric.name for metric in task.metrics]
        (True, ['f1', 'exact_match', 'mrr'])
    """

    text: SplitQuestions
    context_tokenizer: Tokenizer
    question_tokenizer: Tokenizer
    training: QATrainingConfig
    pretrained: Pretrained = NO_PRETRAINED
    language: str = "en"
    teacher: str | None = None
    taught: TaughtSpans | None = field(default=None, repr=False, compare=False)
    name: str = "qa"
    metrics: Sequence[Metric] = METRICS
    speeds: Mapping[str, str] = field(default_factory=lambda: dict(SPEEDS))
    warmup_divisor: ClassVar[int] = 10
    _encoded: dict = field(default_factory=dict, repr=False, compare=False)

    def describe(self) -> Mapping[str, object]:
        """Return sizes, vocabularies, training numbers and a fingerprint of all text."""
        return {
            "name": self.source_name,
            "train": len(self.text.train.questions),
            "valid": len(self.text.valid.questions),
            "test": len(self.text.test.questions),
            "vocabulary": list(self.vocabularies()),
            "fingerprint": [split.fingerprint for split in self.text],
            "language": self.language,
            "pretrained": [None if p is None else str(p) for p in self.pretrained],
            **({"pretrained_sha256": self._pretrained_sha256} if any(self.pretrained) else {}),
            **({"teacher": self.teacher} if self.teacher else {}),
            "training": self.training_numbers(),
        }

    @property
    def taught_lines(self) -> list[str]:
        """What the user should know about the work of the teacher."""
        return [] if self.taught is None else [self.taught.describe()]

    @cached_property
    def _pretrained_sha256(self) -> list[str]:
        question, context, layers = self.pretrained
        return [folder_sha256(question), folder_sha256(context), f"{layers} layers"]

    def vocabularies(self) -> tuple[int, int]:
        """Count the tokens of questions and of contexts."""
        return self.question_tokenizer.get_vocab_size(), self.context_tokenizer.get_vocab_size()

    def signatures(self) -> Mapping[str, str]:
        """Return the rule of each score."""
        rule = f"SQuAD 2 normalisation, articles of {self.language!r}"
        return {"f1": rule, "exact_match": rule, "mrr": "over all contexts of the test part"}

    def build(self, config: QAConfig, seed: int) -> AsymmetricQAModel:
        """Make a model with initial weights; pretrained encoders bring their own."""
        torch.manual_seed(seed)
        model = AsymmetricQAModel(self._wrapped(config))
        for encoder, folder in (
            (model.question_encoder, self.pretrained.question),
            (model.context_encoder, self.pretrained.context),
        ):
            if isinstance(encoder, PretrainedEncoder) and folder is not None:
                encoder.read_weights(folder)
        return model

    def _wrapped(self, config: QAConfig) -> AsymmetricQAConfig:
        question, context, layers = self.pretrained
        return AsymmetricQAConfig.from_plain(
            config,
            question_pretrained=_encoder_values(question, layers, config.question.dropout),
            context_pretrained=_encoder_values(context, None, config.context.dropout),
        )

    def check(self, config: QAConfig) -> None:
        """Refuse a pretrained encoder that has too few positions, tokens or layers.

        Raises:
            ValueError: If one has.
        """
        model = AsymmetricQAModel(self._wrapped(config))
        for side, vocab, length in zip(
            ("question", "context"),
            self.vocabularies(),
            (config.max_question_tokens, config.max_context_tokens),
            strict=True,
        ):
            encoder = getattr(model, f"{side}_encoder")
            if not isinstance(encoder, PretrainedEncoder):
                continue
            encoder.check_reads(length, vocab)
            frozen = getattr(self.training, side).frozen_layers
            require(
                frozen <= encoder.depth,
                f"qa: training.{side}.frozen_layers must be at most the {encoder.depth} layers "
                f"of the encoder; got frozen_layers {frozen}",
            )

    def training_inputs(
        self, model: AsymmetricQAModel, config: QATrainingConfig, seed: int
    ) -> tuple[QuestionExamples, QuestionExamples, QAObjective]:
        """Return training and validation questions as token numbers, and the objective."""
        plain = model.config.to_plain()
        train = self._examples(self.text.train, plain, config.unanswerable, seed, self.taught)
        return train, self._examples(self.text.valid, plain, 0.0, 0), QAObjective(config)

    def _training_config(self, training: Mapping[str, object]) -> QATrainingConfig:
        config, own = super()._training_config(training), self.training
        for key in ("teacher_temperature", "teacher_top_k"):
            require(
                getattr(config, key) == getattr(own, key),
                f"qa: the teacher reads once, with one {key}; got {getattr(config, key)} and "
                f"{getattr(own, key)}. Set training.{key}",
            )
        return config

    def _examples(
        self,
        questions: QuestionSet,
        plain: QAConfig,
        unanswerable: float,
        seed: int,
        taught: TaughtSpans | None = None,
    ) -> QuestionExamples:
        return QuestionExamples(
            questions,
            SpanTokenizer(self.context_tokenizer),
            SpanTokenizer(self.question_tokenizer),
            max_context_tokens=plain.max_context_tokens,
            overlap=plain.overlap,
            max_question_tokens=plain.max_question_tokens,
            max_answer_tokens=plain.max_answer_tokens,
            unanswerable=unanswerable,
            seed=seed,
            taught=taught,
        )

    def answerer(self, model: AsymmetricQAModel) -> QuestionAnswerer:
        """Combine the model with its tokenizers."""
        return QuestionAnswerer(model, self.context_tokenizer, self.question_tokenizer)

    def search_space(self) -> Mapping[str, Range]:
        """Return what tuning draws by default: a rate and a dropout for each part."""
        return search_space(pretrained=any(self.pretrained[:2]))

    def test_scores(self, model: AsymmetricQAModel) -> dict[str, CorpusScore]:
        """Score each test question read in its own context, and the rank of that among all."""
        answerer, test = self.answerer(model), self.text.test
        index = answerer.encode(test.contexts, dtype="float32")
        answers, ranks = read_own_contexts(answerer, index, test)
        return question_scores(answers, ranks, test, language=self.language)

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score the sentence that is most like the question, by TF-IDF."""
        test = self.text.test
        scores = question_scores(*tfidf_answers(test), test, language=self.language)
        return {"tf_idf": {name: score.value for name, score in scores.items()}}

    def predict(self, model: AsymmetricQAModel, *, items: int, batch_size: int) -> None:
        """Answer the first test questions from all contexts, which are encoded beforehand."""
        answerer, index = self._ready(model)
        questions = self.text.test.questions
        for number in range(items):
            answerer.answer(questions[number % len(questions)].text, index, shortlist=20)

    def costs(self, model: AsymmetricQAModel) -> Mapping[str, Cost]:
        """Measure the bytes that the index stores for a context, on average."""
        index = self._ready(model)[1]
        size = index.num_bytes / len(index.contexts)
        label = "index of a context"
        return {"index_bytes": Cost(value=size, label=label, unit="bytes", judged=True)}

    def untrained_costs(self) -> Sequence[str]:
        """Name the size of the index, which does not depend on the weights."""
        return ("index_bytes",)

    def _ready(self, model: AsymmetricQAModel) -> tuple[QuestionAnswerer, ContextIndex]:
        if id(model) not in self._encoded:
            answerer = self.answerer(model)
            self._encoded[id(model)] = (answerer, answerer.encode(self.text.test.contexts))
        return self._encoded[id(model)]

    def parameters(self, config: QAConfig) -> int:
        """Count the trainable numbers of a model, pretrained encoders included."""
        with torch.device("meta"):
            return count_parameters(AsymmetricQAModel(self._wrapped(config)))

    def side_parameters(self, config: QAConfig) -> dict[str, int]:
        """Count the trainable numbers of the encoders of questions and of contexts."""
        with torch.device("meta"):
            model = AsymmetricQAModel(self._wrapped(config))
        return {
            "question": count_parameters(model.question_encoder),
            "context": count_parameters(model.context_encoder),
        }

    def flops_per_step(self, config: QAConfig) -> float:
        """Count the floating-point operations of a step on a full batch."""
        question, context, per_context = self._mean_lengths
        windows = self.training.batch_tokens * self.training.accumulate / context
        return windows * qa_training_flops(
            config,
            question_length=question,
            context_length=context,
            questions_per_context=per_context,
        )

    @cached_property
    def _mean_lengths(self) -> tuple[float, float, float]:
        """Mean tokens of a question and of a context, and questions per context."""
        train = self.text.train
        return (
            _mean_length([q.text for q in train.questions], self.question_tokenizer),
            _mean_length([c.text for c in train.contexts], self.context_tokenizer),
            len(train.questions) / len(train.contexts),
        )

    def complete(self, model: AsymmetricQAModel) -> None:
        """Fit how much the retrieval counts, on the validation questions."""
        model.config.retrieval = fit_retrieval_weight(
            self.answerer(model), self.text.valid, language=self.language
        )

    def save(self, model: AsymmetricQAModel, folder: Path) -> None:
        """Write a folder that `load`, `QuestionAnswerer` and `askew answer` read."""
        model.save_pretrained(folder)
        # The library's own `save` raises a bare Exception where the disk is full.
        write_text(folder / "tokenizer.json", self.context_tokenizer.to_str(pretty=True))
        write_text(folder / "question_tokenizer.json", self.question_tokenizer.to_str(pretty=True))
        save_tokenizer_settings(self.context_tokenizer, folder)
        write_checksums(folder)

    def load(self, folder: Path) -> AsymmetricQAModel:
        """Read a model that `save` wrote."""
        return load_qa_model(folder).eval()


def _mean_length(texts: list[str], tokenizer: Tokenizer) -> float:
    """Mean number of tokens, with the special ones around a text."""
    spans = SpanTokenizer(tokenizer)
    return spans.num_special + sum(len(t.ids) for t in spans.encode_all(texts)) / len(texts)


def encoder_depth(folder: Path, layers: int | None) -> int:
    """Count the layers of a pretrained encoder; layers that share their weights are one."""
    with torch.device("meta"):
        return PretrainedEncoder(read_encoder_config(folder, layers=layers)).depth


def _encoder_values(folder: Path | None, layers: int | None, dropout: float) -> dict | None:
    if folder is None:
        return None
    return read_encoder_config(folder, dropout=dropout, layers=layers)


def qa_task(
    source_name: str,
    text: SplitQuestions,
    *,
    vocab_size: int = 8000,
    training: QATrainingConfig | None = None,
    pretrained: Pretrained = NO_PRETRAINED,
    language: str = "en",
) -> QATask:
    """Make a task; tokenizers come with the pretrained encoders, or are trained.

    Args:
        source_name: Where the data came from.
        text: Training, validation and test questions.
        vocab_size: Tokens of the vocabulary of questions and contexts, at most.
        training: The numbers of a run.
        pretrained: Pretrained encoders to begin with.
        language: Language of the answers; its articles are ignored when answers are compared.

    Returns:
        The task.

    Raises:
        ValueError: If a split is empty or an encoder cannot be read.

    Example:
        >>> from askew.tasks import QuestionSources, load_questions
        >>> task = qa_task(*load_questions(QuestionSources()), vocab_size=400)
        >>> task.vocabularies()
        (400, 400)
    """
    for name, split in text._asdict().items():
        require(
            len(split.questions) > 0,
            f"qa_task: the {name} split must not be empty; got 0 questions",
        )
    trained = None
    if pretrained.question is None or pretrained.context is None:
        train = text.train
        texts = [context.text for context in train.contexts] + [q.text for q in train.questions]
        trained = train_tokenizer(texts, vocab_size=vocab_size)

    def tokenizer(folder: Path | None) -> Tokenizer:
        if folder is None:
            assert trained is not None
            return trained
        read_encoder_config(folder)
        return load_any_tokenizer(folder / "tokenizer.json")

    return QATask(
        source_name=source_name,
        text=text,
        context_tokenizer=tokenizer(pretrained.context),
        question_tokenizer=tokenizer(pretrained.question),
        training=QATrainingConfig(steps=1) if training is None else training,
        pretrained=pretrained,
        language=language,
    )
