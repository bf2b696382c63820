"""Question answering as an application: its options, its task and its arms."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askew._check import require
from askew.tasks._application import (
    MatchedOptions,
    Scored,
    Scorer,
    Scoring,
    ScoringOptions,
    SettingOptions,
    Size,
    Training,
    option,
)
from askew.tasks._arm_names import QA_SHAPES, check_name
from askew.tasks._read_data import describe_read
from askew.tasks._sources import QuestionSources

if TYPE_CHECKING:
    from askew.models import QAConfig
    from askew.tasks._qa import Pretrained, QATask
    from askew.text import QuestionSet
    from askew.tradeoffs import Arm, Budget, Progress, Space

# A pretrained encoder gets a lower rate, and its lowest layers are frozen if it has more.
_PRETRAINED_RATE, _FROZEN_LAYERS = 2e-4, 2


@dataclass(frozen=True, kw_only=True)
class QAOptions(SettingOptions):
    """Options for the questions and the encoders."""

    data: Path | None = option(
        None, "Your questions: SQuAD JSON, or JSON lines with question, context, answers."
    )
    preset: Size = option("small", "Size of the models.")
    vocab_size: int = option(8000, "Tokens of the vocabulary, at most.")
    context_encoder: Path | None = option(
        None,
        "Pretrained encoder of contexts to start from: a folder of transformers, or minilm.",
    )
    question_encoder: Path | None = option(
        None, "The same for questions; it may be the same folder."
    )
    language: str = option("en", "Language whose articles are ignored in answers.")
    teacher: Path | None = option(
        None,
        "An extractive question-answering model of transformers whose starts and ends of answers "
        "are learnt, too: its folder.",
    )

    def sources(self) -> QuestionSources:
        """Return where the questions are."""
        return QuestionSources(self.data)

    def pretrained(self) -> "Pretrained":
        """Return the folders of pretrained encoders."""
        from askew.models import encoder_folder
        from askew.tasks._qa import Pretrained

        question, context = (
            None if folder is None else encoder_folder(folder)
            for folder in (self.question_encoder, self.context_encoder)
        )
        return Pretrained(question, context)


@dataclass(frozen=True, kw_only=True)
class QAComparison(MatchedOptions, QAOptions):
    """Options of `askew compare qa`."""

    challenger: str = option(
        "asymmetric",
        "The asymmetric model: asymmetric, twin (the baseline against itself) or FILE.toml.",
    )
    vocab_size: int = option(2000, "Tokens of the vocabulary, at most.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (self.challenger, self.baseline):
            check_name("compare: an arm", name, (*QA_SHAPES, "twin"))


@dataclass(frozen=True, kw_only=True)
class QATraining(QAOptions):
    """Options of `askew train qa`."""

    valid: Path | None = option(None, "Validation questions; by default set aside from --data.")
    test: Path | None = option(
        None, "Test questions; by default set aside from --data, by article."
    )
    question_layers: int | None = option(
        None, "Keep only this many of the lowest layers of --question-encoder.", minimum=1
    )
    shape: str = option("asymmetric", "asymmetric, symmetric or FILE.toml.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("train: a shape", self.shape, QA_SHAPES)
        require(
            self.question_layers is None or self.question_encoder is not None,
            "train: question_layers goes with question_encoder; "
            f"got question_layers {self.question_layers} alone",
        )

    def sources(self) -> QuestionSources:
        """Return where the questions are."""
        return QuestionSources(self.data, self.valid, self.test)

    def pretrained(self) -> "Pretrained":
        """Return the folders of pretrained encoders."""
        return super().pretrained()._replace(question_layers=self.question_layers)


@dataclass(frozen=True, kw_only=True)
class QAScoring(ScoringOptions):
    """Options of `askew evaluate` for question-answering models."""

    language: str = option("en", "Language whose articles are ignored in answers.")


def make_task(options: QAOptions) -> "QATask":
    """Read the questions, train or load the tokenizers, and make the task."""
    from askew._config import load_config
    from askew._files import folder_sha256
    from askew.models import SpanTeacher
    from askew.tasks._qa import encoder_depth, qa_task
    from askew.tasks._qa_data import load_questions
    from askew.training import QATrainingConfig

    pretrained = options.pretrained()
    sides: dict[str, object] = {}
    for side, folder, layers in (
        ("question", pretrained.question, pretrained.question_layers),
        ("context", pretrained.context, None),
    ):
        if folder is not None:
            frozen = _FROZEN_LAYERS if encoder_depth(folder, layers) > _FROZEN_LAYERS else 0
            sides[side] = {"lr": _PRETRAINED_RATE, "frozen_layers": frozen}
    base = load_config(QATrainingConfig, {"steps": 1, **sides})
    training = load_config(
        QATrainingConfig, options.training_settings(), base=base, where="training"
    )
    teacher = options.teacher
    if teacher is None:
        named = [key for key in options.training_settings() if key.startswith("teacher_")]
        require(not named, f"qa: {', '.join(named)} needs a teacher; got none. Give --teacher DIR")
    else:
        SpanTeacher.from_pretrained(teacher)  # refused before any work
    name, text = load_questions(options.sources())
    task = qa_task(
        name,
        text,
        vocab_size=options.vocab_size,
        training=training,
        pretrained=pretrained,
        language=options.language,
    )
    return task if teacher is None else replace(task, teacher=folder_sha256(teacher))


def teach(task: "QATask", options: QAOptions) -> "Callable[[Path, Progress], QATask] | None":
    """Return a function that lets the teacher read the training questions; None without one."""
    folder, fingerprint = options.teacher, task.teacher
    if folder is None or fingerprint is None:
        return None
    from askew.models import SpanTeacher
    from askew.training import teach_spans

    open_teacher = partial(SpanTeacher.from_pretrained, folder)

    def read(store: Path, progress: "Progress") -> "QATask":
        taught = teach_spans(
            open_teacher,
            task.text.train,
            fingerprint=fingerprint,
            k=task.training.teacher_top_k,
            temperature=task.training.teacher_temperature,
            folder=store.with_suffix(""),
            progress=progress,
        )
        return replace(task, taught=taught)

    return read


def make_arms(task: "QATask", options: QAComparison) -> "tuple[list[Arm], dict[str, object]]":
    """Make the challenger and its baseline, such as a twin with equal encoders."""
    from askew.models import qa_parameter_count
    from askew.tasks._arms import matched_arms, shape_training

    arms, matched = matched_arms(
        task,
        options,
        options.challenger,
        lambda shape, settings: _config(task, options, shape, settings),
        usual="asymmetric",
        settings=options.model_settings(),
        sides=("question", "context"),
        parameters=qa_parameter_count,
        training_of=lambda shape: shape_training(task, shape, options.training_settings()),
    )
    first, other = arms
    sides = {"question": first.config.question, "context": first.config.context}
    require(
        not all(task.pretrained[:2])
        or replace(other.config, **sides) != first.config
        or other.training != first.training,
        "compare: arms must differ in more than encoders, which are both pretrained here; got "
        "--context-encoder and --question-encoder. Leave one out, or give --challenger FILE.toml",
    )
    return arms, matched | {"preset": options.preset}


def make_model(task: "QATask", options: QATraining) -> "tuple[QAConfig, Mapping[str, object]]":
    """Make the config of the one model that is trained."""
    from askew.tasks._arms import shape_training

    config = _config(task, options, options.shape, options.model_settings())
    return config, shape_training(task, options.shape, options.training_settings())


def _config(task: "QATask", options: QAOptions, shape: str, settings: Mapping) -> "QAConfig":
    from askew.models import read_encoder_config
    from askew.tasks._arms import refuse_sizes, shaped_config
    from askew.tasks._qa_presets import qa_preset

    for side in ("question", "context"):
        refuse_sizes("qa", side, settings, getattr(task.pretrained, side), f"--{side}-encoder")
    values: dict[str, Any] = {}
    if task.pretrained.context is not None:
        width = read_encoder_config(task.pretrained.context)["hidden_size"]
        values = {"d_pool": width, "reader": {"d_model": 192, "d_ff": 192, "d_key": 64}}
    vocab = task.vocabularies()
    config = shaped_config(
        lambda name: qa_preset(name, options.preset, vocab_size=vocab),
        shape,
        settings,
        shapes=QA_SHAPES,
        usual="asymmetric",
        training=task.training,
        values=values,
    )
    if any(task.pretrained[:2]):
        task.check(config)
    return config


def budget(options: QAOptions) -> "Budget":
    """Return the usual budget of a trial."""
    from askew.tasks._arms import usual_budget

    return usual_budget(is_user_data=options.data is not None)


def space(task: "QATask", options: QAComparison) -> "Space":
    """Return what a search for models of questions draws: shape and rate of each encoder."""
    from askew.tasks._arms import sides_space
    from askew.tasks._qa_presets import QA_SIZES

    require(
        not any(task.pretrained[:2]),
        "find: the encoders must be trained from scratch; got a pretrained one. Leave out "
        "--context-encoder and --question-encoder",
    )
    sides = ("question", "context")
    rates = {side: task.search_space()[f"training.{side}.lr"] for side in sides}
    return sides_space(sides, QA_SIZES[options.preset], rates)


def left_out(task: "QATask") -> Mapping[str, int]:
    """Count the questions that were left out."""
    return {"refused": sum(questions.num_refused for questions in task.text)}


def notes(task: "QATask", options: QAOptions) -> Iterator[str]:
    """Describe what the user should know about the questions."""
    from askew.tasks._qa_data import describe_refused

    yield from filter(None, map(describe_refused, task.text))
    if options.data is None:
        yield "the shipped questions are few; give --data"


def score(folder: Path, options: QAScoring) -> Scorer:
    """Read the questions and the model, and return a function that scores it."""
    from askew.models import QuestionAnswerer
    from askew.tasks._qa_data import describe_refused, load_test_questions
    from askew.tasks._trained_on import trained_on
    from askew.text import split_by_article

    questions = load_test_questions(options.data, part=options.part)
    answerer = QuestionAnswerer.from_pretrained(folder)
    refused = describe_refused(questions)
    place = options.data or "this library's documentation"
    count = len(questions.questions)
    notes = trained_on(
        folder,
        "questions",
        count,
        options.part,
        lambda: [split.fingerprint for split in split_by_article(questions, seed=0)],
    )
    left, sizes = {"refused": questions.num_refused}, {"score": count}
    return Scorer(
        describe_read("questions", place, left, sizes),
        [*notes, *filter(None, [refused])],
        lambda progress: _scored(answerer, questions, options.language, progress),
    )


def _scored(answerer: Any, questions: "QuestionSet", language: str, progress: "Progress") -> Scored:
    from askew.tasks._qa_evaluate import evaluate_answerer

    answers, results = evaluate_answerer(answerer, questions, language=language, progress=progress)
    lines = []
    for name, value in results["scores"].items():
        ends = value["interval"]
        interval = "" if ends is None else f" ({ends[0]:.4g} to {ends[1]:.4g})"
        lines.append(f"{name} {value['value']:.4g}{interval}")
    for row in results["by_length"]:
        low, high = row["characters"]
        lines.append(f"f1 of contexts of {low} to {high} characters: {row['f1']:.4g}")
    fitted = results["retrieval"]
    if fitted is not None:
        first = {"weight": fitted["weight"]} | fitted
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in first.items())
        lines.append(f"retrieval, fitted on validation questions: {numbers}")
    if "no_answer_accuracy" in results:
        lines.append(f"no-answer accuracy {results['no_answer_accuracy']:.4g}")
    model, sentence = (results["scores"][name]["value"] for name in ("f1", "f1_best_sentence"))
    if model < sentence:
        lines.append(
            "the sentence most like the question answers better than this model: f1 "
            f"{sentence:.4g} against {model:.4g}; askew search finds it without a model"
        )
    return Scored(answers, results, lines)


TRAINING = Training(
    options=QATraining,
    make_model=make_model,
    use='askew answer {folder} --context documents/ "the question"',
    pipeline="question-answering",
    help="""Train a model that answers questions by spans of contexts it has encoded once.

    Without --data it learns about 200 questions over this library's documentation: enough to
    try everything, too few to answer well. Answers that do not stand where the data say are named
    and left out. A training that was killed resumes, bit for bit, when the same command is typed
    again.
    """,
)
SCORING = Scoring(
    options=QAScoring,
    score=score,
    help="Answers to questions are scored by F1, exact match and how well contexts are found, next "
    "to baselines, with intervals over articles.",
)
