"""Question answering as a task: its data, its training and its scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer

from askew._check import require
from askew._config import load_config, to_dict
from askew.metrics import answer_exact_match, answer_f1, mean_reciprocal_rank
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
from askew.tasks._qa_contexts import read_own_contexts, references
from askew.tasks._qa_presets import METRICS, SPEEDS, search_space
from askew.text import QuestionSet, SpanTokenizer, SplitQuestions, TfidfIndex, train_tokenizer
from askew.tradeoffs import (
    Cost,
    Evaluation,
    Metric,
    OnRecord,
    Progress,
    Range,
    Records,
    Task,
    count_parameters,
)
from askew.training import QAObjective, QATrainingConfig, QuestionExamples, train_model


class Pretrained(NamedTuple):
    """Folders of encoders of transformers that take the place of our own.

    Args:
        question: Of questions, or None.
        context: Of contexts, or None.
        question_layers: How many of its lowest layers are kept for questions; None keeps all.

    Example:
        >>> Pretrained(context=Path("minilm"), question_layers=2).question is None
        True
    """

    question: Path | None = None
    context: Path | None = None
    question_layers: int | None = None


NO_PRETRAINED = Pretrained()


@dataclass(frozen=True, kw_only=True)
class QATask(Task[AsymmetricQAModel]):
    """Answer questions by spans of contexts; a task of `askew.tradeoffs.compare`.

    Attributes:
        source_name: Where the data came from, as told in the results.
        text: Training, validation and test questions.
        context_tokenizer: Cuts contexts.
        question_tokenizer: Cuts questions.
        training: The numbers of a run; a comparison sets `steps`.
        pretrained: Encoders to begin with.
        language: Whose articles do not count in answers.

    Example:
        >>> from askew.tasks import QuestionSources, load_questions
        >>> task = qa_task(*load_questions(QuestionSources()), vocab_size=400)
        >>> isinstance(task, QATask), [metric.name for metric in task.metrics]
        (True, ['f1', 'exact_match', 'mrr'])
    """

    source_name: str
    text: SplitQuestions
    context_tokenizer: Tokenizer
    question_tokenizer: Tokenizer
    training: QATrainingConfig
    pretrained: Pretrained = NO_PRETRAINED
    language: str = "en"
    name: str = "qa"
    metrics: Sequence[Metric] = METRICS
    speeds: Mapping[str, str] = field(default_factory=lambda: dict(SPEEDS))
    distributed: bool = True
    _timed: dict = field(default_factory=dict, repr=False, compare=False)

    def describe(self) -> Mapping[str, object]:
        """Tell sizes, vocabularies, training numbers and a fingerprint of all text."""
        training = to_dict(self.training)
        del training["steps"]  # the budget tells
        return {
            "name": self.source_name,
            "train": len(self.text.train.questions),
            "valid": len(self.text.valid.questions),
            "test": len(self.text.test.questions),
            "vocabulary": list(self.vocabularies()),
            "fingerprint": [part.fingerprint for part in self.text],
            "language": self.language,
            "pretrained": [None if p is None else str(p) for p in self.pretrained],
            "training": training,
        }

    def vocabularies(self) -> tuple[int, int]:
        """Count the tokens of questions and of contexts."""
        return self.question_tokenizer.get_vocab_size(), self.context_tokenizer.get_vocab_size()

    def signatures(self) -> Mapping[str, str]:
        """Name the rules behind each score."""
        rule = f"SQuAD 2 normalisation, articles of {self.language!r}"
        return {"f1": rule, "exact_match": rule, "mrr": "over all contexts of the test part"}

    def build(self, config: QAConfig, seed: int) -> AsymmetricQAModel:
        """Make a model with its initial weights, or those of the pretrained encoders."""
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
        """Refuse pretrained encoders that cannot read what they would have to, before any work.

        Raises:
            ValueError: If one has too few positions, tokens or layers.
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

    def train(
        self,
        model: AsymmetricQAModel,
        *,
        training: Mapping[str, object] | None = None,
        steps: int,
        seed: int,
        folder: Path,
        progress: Progress,
        on_record: OnRecord | None = None,
        tensorboard: Path | None = None,
    ) -> Records:
        """Train in place, going on from `folder` after a crash."""
        config = load_config(QATrainingConfig, training or {}, base=self.training, where="training")
        config = replace(
            config,
            steps=steps,
            warmup_steps=min(config.warmup_steps, max(1, steps // 10)),
            evaluations=min(config.evaluations, max(1, steps // 20)),
        )
        plain = model.config.to_plain()
        return train_model(
            model,
            self._examples(self.text.train, plain, config.unanswerable, seed),
            self._examples(self.text.valid, plain, 0.0, 0),
            QAObjective(config),
            out=folder,
            seed=seed,
            progress=progress,
            on_record=on_record,
            tensorboard=tensorboard,
        )

    def _examples(
        self, part: QuestionSet, plain: QAConfig, unanswerable: float, seed: int
    ) -> QuestionExamples:
        return QuestionExamples(
            part,
            SpanTokenizer(self.context_tokenizer),
            SpanTokenizer(self.question_tokenizer),
            max_context_tokens=plain.max_context_tokens,
            overlap=plain.overlap,
            max_question_tokens=plain.max_question_tokens,
            max_answer_tokens=plain.max_answer_tokens,
            unanswerable=unanswerable,
            seed=seed,
        )

    def answerer(self, model: AsymmetricQAModel) -> QuestionAnswerer:
        """Put the model behind text."""
        return QuestionAnswerer(model, self.context_tokenizer, self.question_tokenizer)

    def search_space(self) -> Mapping[str, Range]:
        """What tuning draws by default: a rate and a dropout for each part."""
        return search_space(pretrained=any(self.pretrained[:2]))

    def evaluate(self, model: AsymmetricQAModel) -> Evaluation:
        """Score on the test set: each question read in its own context, and its rank among all."""
        answerer = self.answerer(model)
        index = answerer.encode(self.text.test.contexts, dtype="float32")
        found, ranks = read_own_contexts(answerer, index, self.text.test)
        right = references(self.text.test)
        scores = {
            "f1": answer_f1(found, right, language=self.language),
            "exact_match": answer_exact_match(found, right, language=self.language),
            "mrr": mean_reciprocal_rank(ranks),
        }
        return Evaluation(
            {name: score.value for name, score in scores.items()},
            {name: score.items for name, score in scores.items()},
        )

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Score the sentence that is most like the question, by TF-IDF."""
        test = self.text.test
        tfidf = TfidfIndex([context.text for context in test.contexts])
        found, ranks = [], []
        for question in test.questions:
            start, end = tfidf.best_sentence(question.text, question.context)
            found.append(test.contexts[question.context].text[start:end])
            rows = [row for row, _ in tfidf.search(question.text, len(test.contexts))]
            ranks.append(rows.index(question.context) + 1 if question.context in rows else None)
        right = references(test)
        return {
            "tf_idf": {
                "f1": answer_f1(found, right, language=self.language).value,
                "exact_match": answer_exact_match(found, right, language=self.language).value,
                "mrr": mean_reciprocal_rank(ranks).value,
            }
        }

    def predict(self, model: AsymmetricQAModel, *, items: int, batch_size: int) -> None:
        """Answer the first test questions from all contexts, which are encoded beforehand."""
        answerer, index = self._ready(model)
        questions = self.text.test.questions
        for number in range(items):
            answerer.answer(questions[number % len(questions)].text, index, shortlist=20)

    def costs(self, model: AsymmetricQAModel) -> Mapping[str, Cost]:
        """Give the size of what is stored of a context."""
        index = self._ready(model)[1]
        size = index.num_bytes / len(index.contexts)
        label = "index of a context"
        return {"index_bytes": Cost(value=size, label=label, unit="bytes", judged=True)}

    def _ready(self, model: AsymmetricQAModel) -> tuple[QuestionAnswerer, ContextIndex]:
        if id(model) not in self._timed:
            answerer = self.answerer(model)
            self._timed[id(model)] = (answerer, answerer.encode(self.text.test.contexts))
        return self._timed[id(model)]

    def parameters(self, config: QAConfig) -> int:
        """Count the trainable numbers of a model, pretrained encoders included."""
        with torch.device("meta"):
            return count_parameters(AsymmetricQAModel(self._wrapped(config)))

    def flops_per_step(self, config: QAConfig) -> float:
        """Floating-point operations of a step on a batch that is full."""
        asked, read, per_window = self._mean_lengths
        windows = self.training.batch_tokens * self.training.accumulate / read
        return windows * qa_training_flops(
            config, question_length=asked, context_length=read, questions_per_context=per_window
        )

    @cached_property
    def _mean_lengths(self) -> tuple[float, float, float]:
        """Tokens of a question and of a context, and questions of a context."""
        train = self.text.train
        asked = self.question_tokenizer.encode_batch([q.text for q in train.questions])
        read = self.context_tokenizer.encode_batch([c.text for c in train.contexts])
        return (
            sum(len(e.ids) for e in asked) / len(asked),
            sum(len(e.ids) for e in read) / len(read),
            len(asked) / len(read),
        )

    def save(self, model: AsymmetricQAModel, folder: Path) -> None:
        """Write a model that `load`, `QuestionAnswerer` and `askew answer` read."""
        model.save_pretrained(folder)
        self.context_tokenizer.save(str(folder / "tokenizer.json"))
        self.question_tokenizer.save(str(folder / "question_tokenizer.json"))
        write_checksums(folder)

    def load(self, folder: Path) -> AsymmetricQAModel:
        """Read a model that `save` wrote."""
        return load_qa_model(folder).eval()


def encoder_depth(folder: Path, layers: int | None) -> int:
    """Count the layers of an encoder of transformers that have weights of their own."""
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
    """Make a task: its tokenizers come with the pretrained encoders, or are trained.

    Args:
        source_name: Where the data came from.
        text: Training, validation and test questions.
        vocab_size: Tokens of the vocabulary of questions and contexts, at most.
        training: The numbers of a run.
        pretrained: Encoders to begin with.
        language: Whose articles do not count in answers.

    Returns:
        The task.

    Raises:
        ValueError: If a part is empty or an encoder cannot be read.

    Example:
        >>> from askew.tasks import QuestionSources, load_questions
        >>> task = qa_task(*load_questions(QuestionSources()), vocab_size=400)
        >>> task.vocabularies()
        (400, 400)
    """
    for name, part in zip(text._fields, text, strict=True):
        require(
            len(part.questions) > 0,
            f"qa_task: the {name} part must not be empty; got 0 questions",
        )
    own = None
    if pretrained.question is None or pretrained.context is None:
        train = text.train
        texts = [context.text for context in train.contexts] + [q.text for q in train.questions]
        own = train_tokenizer(texts, vocab_size=vocab_size)

    def tokenizer(folder: Path | None) -> Tokenizer:
        if folder is None:
            assert own is not None
            return own
        read_encoder_config(folder)
        return Tokenizer.from_file(str(folder / "tokenizer.json"))

    return QATask(
        source_name=source_name,
        text=text,
        context_tokenizer=tokenizer(pretrained.context),
        question_tokenizer=tokenizer(pretrained.question),
        training=QATrainingConfig(steps=1) if training is None else training,
        pretrained=pretrained,
        language=language,
    )
