"""Translation as an application: its options, its task and its arms."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from askew._budget import SearchBudget
from askew._check import require
from askew.tasks._application import (
    MatchedOptions,
    Scored,
    Scoring,
    ScoringOptions,
    SettingOptions,
    Size,
    Training,
    option,
)
from askew.tasks._sources import Sources, check_sources, is_catalogue, is_xliff

if TYPE_CHECKING:
    from askew.models import Translator
    from askew.tasks._translation import TranslationTask
    from askew.tradeoffs import Arm, Budget, Progress, Space
    from askew.transformer import EncoderDecoderConfig


@dataclass(frozen=True, kw_only=True)
class TranslationOptions(SettingOptions):
    """Options for the data and the size of translation models."""

    pair: str = option("en-pt", "Two locales of the phrases that are made without --data.")
    data: Path | None = option(
        None,
        "Your pairs: FILE.tsv (source TAB target), .csv, .jsonl, .json, .tmx or .xlf, also .gz; a "
        "gettext .po file or a folder of such; or "
        "datasets:NAME#SPLIT?config=…&source=en&target=de.",
    )
    columns: str | None = option(
        None,
        "Which columns of --data are source and target: names, as en,de, or numbers, as 2,4.",
    )
    language: str | None = option(
        None, "The language to take of a --data folder that holds several, e.g. pt_BR."
    )
    source: Path | None = option(None, "Your source lines; needs --target.")
    target: Path | None = option(None, "Your target lines, one for each source line.")
    valid_source: Path | None = option(None, "Validation sources; else split off.")
    valid_target: Path | None = option(None, "Validation targets.")
    test_source: Path | None = option(None, "Test sources; else split off.")
    test_target: Path | None = option(None, "Test targets.")
    drop_empty: bool = option(
        False, "Leave out pairs with an empty side.", name="--drop-empty", show_default=False
    )
    drop_long: bool = option(
        False,
        "Leave out training and validation pairs longer than training.batch_tokens.",
        name="--drop-long",
        show_default=False,
    )
    preset: Size = option("small", "Size of the models.")
    vocab_size: int = option(2000, "Tokens of the joint vocabulary, or of each of two, at most.")
    separate_vocabularies: bool = option(False, "A vocabulary for each side.")
    teacher: Path | None = option(
        None,
        "A trained model, whose translations of the training sources are learnt instead of the "
        "references (with training.target=both, both are). It is faster if exported for "
        "CTranslate2.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sources(self.sources())

    def sources(self) -> Sources:
        """Return where the text is."""
        return Sources(**{name: getattr(self, name) for name in Sources._fields})

    @property
    def protects(self) -> bool:
        """Whether placeholders and markup are replaced by marks, which the model copies."""
        return False


@dataclass(frozen=True, kw_only=True)
class TranslationComparison(MatchedOptions, TranslationOptions):
    """Options of `askew compare translation`."""

    challenger: str = option(
        "deep-shallow",
        "The asymmetric model: deep-shallow, narrow-decoder, shared-bridge, twin (the baseline "
        "against itself) or FILE.toml; with --from, student-deep-shallow or student-3-1 (layers of "
        "encoder and decoder), or the same with fresh weights, fresh-3-1.",
    )
    from_: Path | None = option(
        None,
        "A trained model: both arms are cut from it and learn from it, the baseline as deep on "
        "both sides (student-symmetric).",
        name="--from",
    )
    taught: Literal["both", "challenger"] = option(
        "both", "Which arms learn from --teacher.", show_default=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.from_ is None or self.teacher is None,
            "compare: --from is a teacher; got --teacher, too. Leave it out",
        )


@dataclass(frozen=True, kw_only=True)
class TranslationTraining(TranslationOptions):
    """Options of `askew train translation`."""

    shape: str = option(
        "deep-shallow", "deep-shallow, narrow-decoder, shared-bridge, symmetric or FILE.toml."
    )
    protect: bool | None = option(
        None,
        "Replace placeholders, roles, literals, tags and addresses by marks, so that they are "
        "copied word for word. On by default for .po and .xlf files.",
        name="--protect/--no-protect",
        show_default=False,
    )

    @property
    def protects(self) -> bool:
        """Whether placeholders and markup are replaced by marks, which the model copies."""
        if self.protect is not None:
            return self.protect
        return is_catalogue(self.data) or is_xliff(self.data)


@dataclass(frozen=True, kw_only=True)
class TranslationScoring(ScoringOptions):
    """Options of `askew evaluate` for translation models."""

    test_source: Path | None = option(None, "Test sources, one a line, instead of --data.")
    test_target: Path | None = option(None, "Their references.")
    columns: str | None = option(None, "Which columns of --data are source and target.")
    drop_empty: bool = option(
        False, "Leave out pairs with an empty side.", name="--drop-empty", show_default=False
    )
    bleu_tokenizer: str | None = option(
        None,
        "sacreBLEU's tokenizer, such as 13a, intl, zh, ja-mecab, ko-mecab, char; by default the "
        "one for the script of the references.",
    )
    also: str = option("", "More scores, with commas: chrf++, spbleu.", show_default=False)
    beams: int = option(1, "Hypotheses kept; 1 is greedy.", minimum=1)
    length_penalty: float = option(1.0, "Scores are divided by the length to this power.")
    engine: str = option("torch", "torch, or ctranslate2 for a model that askew export wrote.")
    batch_size: int = option(64, "Lines decoded together at most.", minimum=1)


def make_task(options: TranslationOptions) -> "TranslationTask":
    """Read the data, train the vocabulary and make the task."""
    from askew._config import load_config
    from askew.tasks._data import load_text, places_of
    from askew.tasks._teacher import find_teacher
    from askew.tasks._translation import translation_task
    from askew.training import TrainingConfig

    if isinstance(options, TranslationComparison) and options.from_ is not None:
        from askew.tasks._student import student_task

        name, text = load_text(options.sources())
        return student_task(name, text, options.from_, options.settings())
    base = TrainingConfig(steps=1)
    training = load_config(TrainingConfig, options.training_settings(), base=base, where="training")
    teacher = None if options.teacher is None else find_teacher(options.teacher)
    require(
        training.target == "reference" or teacher is not None,
        f"translation: the target {training.target!r} needs a teacher; got none. "
        "Give --teacher DIR",
    )
    name, text = load_text(options.sources())
    return translation_task(
        name,
        text,
        vocab_size=options.vocab_size,
        separate_vocabularies=options.separate_vocabularies,
        training=training,
        teacher=teacher,
        protect=options.protects,
        drop_long=options.drop_long,
        places=lambda pairs: places_of(options.sources(), pairs),
    )


def make_arms(
    task: "TranslationTask", options: TranslationComparison
) -> "tuple[list[Arm], dict[str, object]]":
    """Make the challenger and its baseline; both learn from a teacher, if there is one."""
    if options.from_ is not None:
        from askew.tasks._student import StudentTask, student_arms

        assert isinstance(task, StudentTask)
        return student_arms(task, options.challenger, options.baseline, options.match)
    from askew.tasks._arms import matched_arms, shape_training
    from askew.transformer import parameter_count

    arms, matched = matched_arms(
        task,
        options,
        options.challenger,
        lambda shape, settings: _config(task, options, shape, settings),
        usual="deep-shallow",
        settings=options.model_settings(),
        sides=("encoder", "decoder"),
        parameters=parameter_count,
        training_of=lambda shape: shape_training(task, shape, options.training_settings()),
        taught=teacher_training(options),
        teaches_both=options.taught == "both",
    )
    return arms, matched | {"preset": options.preset}


def make_model(
    task: "TranslationTask", options: TranslationTraining
) -> "tuple[EncoderDecoderConfig, Mapping[str, object]]":
    """Make the config of the one model that is trained."""
    from askew.tasks._arms import shape_training

    config = _config(task, options, options.shape, options.model_settings())
    return config, {
        **shape_training(task, options.shape, options.training_settings()),
        **teacher_training(options),
    }


def _config(
    task: "TranslationTask", options: TranslationOptions, shape: str, settings: Mapping
) -> "EncoderDecoderConfig":
    from askew.tasks._arms import shaped_config
    from askew.tasks._presets import SHAPES, translation_preset

    vocab = task.vocabularies()
    return shaped_config(
        lambda name: translation_preset(name, options.preset, vocab_size=vocab),
        shape,
        settings,
        shapes=SHAPES,
        usual="deep-shallow",
    )


def teacher_training(options: TranslationOptions) -> dict[str, object]:
    """Return numbers of training that choose the teacher's translations as the default target."""
    if options.teacher is None or "target" in options.training_settings():
        return {}
    return {"target": "teacher"}


def budget(options: TranslationOptions) -> "Budget":
    """Return the usual budget of a trial."""
    from askew.tasks._arms import usual_budget

    return usual_budget(is_user_data=options.data is not None or options.source is not None)


def space(task: "TranslationTask", options: TranslationComparison) -> "Space":
    """Return what a search for translation models draws: shape and rate of each side."""
    from askew.tasks._arms import sides_space
    from askew.tasks._presets import SIZES

    sides = ("encoder", "decoder")
    rates = {side: task.search_space()[f"training.{side}.lr"] for side in sides}
    return sides_space(sides, SIZES[options.preset][0], rates)


def search_budget(options: TranslationComparison) -> SearchBudget:
    """Return the usual budget of a search: of our own data the same on every machine."""
    is_own = options.data is None and options.source is None and options.preset == "small"
    return SearchBudget(steps=450, candidates=48, seeds=5) if is_own else SearchBudget()


def notes(task: "TranslationTask", options: TranslationOptions) -> Iterator[str]:
    """Describe what the user should know about the data."""
    from askew.metrics import tokenizer_note
    from askew.tasks._data import count_empty
    from askew.text import count_overlap

    note = tokenizer_note(task.text.test.targets)
    if note:
        yield note

    empty = count_empty(options.sources()) if options.drop_empty else 0
    if empty:
        yield f"{empty} pairs with an empty side are left out"
    if options.drop_long:
        yield f"{task.dropped} pairs longer than a batch are left out"
    repeated = count_overlap(task.text.train, task.text.test)
    if repeated:
        yield (
            f"{repeated} of {len(task.text.test.sources)} test pairs also stand in the training "
            "data"
        )
    if task.protects:
        yield "placeholders and markup are protected; --no-protect leaves them to the model"


def teach(
    task: "TranslationTask", options: TranslationOptions
) -> "Callable[[Path, Progress], TranslationTask] | None":
    """Return a function that lets the teacher translate the training sources; None without one."""
    if isinstance(options, TranslationComparison) and options.from_ is not None:
        students: Any = task
        return lambda store, progress: students.with_outputs(store.with_suffix(""), progress)
    folder, teacher = options.teacher, task.teacher
    if folder is None or teacher is None:
        return None

    def translate(store: Path, progress: "Progress") -> "TranslationTask":
        from askew.tasks._teacher import teach

        store.parent.mkdir(parents=True, exist_ok=True)
        sources = task.text.train.sources
        return replace(task, taught=teach(folder, teacher, sources, store=store, progress=progress))

    return translate


def score(
    folder: Path, options: TranslationScoring
) -> "tuple[list[str], Callable[[Progress], Scored]]":
    """Read the pairs and the model, and return a function that scores it."""
    from askew.metrics import tokenizer_note
    from askew.models import DecodingConfig, Translator
    from askew.tasks._evaluate import chosen_scores, load_test

    pairs = load_test(
        options.data,
        options.test_source,
        options.test_target,
        part=options.part,
        columns=options.columns,
        drop_empty=options.drop_empty,
    )
    scores = chosen_scores(options.bleu_tokenizer, options.also)
    for compute in scores.values():
        compute(pairs.targets[:1], pairs.targets[:1])  # refuses what is missing before any work
    decoding = DecodingConfig(num_beams=options.beams, length_penalty=options.length_penalty)
    require(
        options.beams > 1 or options.length_penalty == 1.0,
        "evaluate: length_penalty needs beams above 1; "
        f"got length_penalty {options.length_penalty}, beams {options.beams}",
    )
    translator = Translator.from_pretrained(
        folder, batch_size=options.batch_size, engine=options.engine, threads=options.threads
    )
    note = tokenizer_note(pairs.targets) if options.bleu_tokenizer is None else ""
    return [note] if note else [], lambda progress: _scored(
        translator, pairs, decoding, scores, progress
    )


def _scored(
    translator: "Translator", pairs: Any, decoding: Any, scores: Any, progress: "Progress"
) -> Scored:
    from askew.tasks._evaluate import evaluate_translator

    translations, results = evaluate_translator(
        translator, pairs, decoding, progress=progress, scores=scores
    )
    lines = []
    for name, value in results["scores"].items():
        ends = value["interval"]
        interval = "" if ends is None else f" ({ends[0]:.4g} to {ends[1]:.4g})"
        lines.append(f"{name} {value['value']:.4g}{interval}  {value['signature']}")
    kept = results["placeholders"]
    if kept["total"]:
        lines.append(f"placeholders and markup kept: {kept['kept']} of {kept['total']}")
        lines += [f"  {kind} {count} of {total}" for kind, (count, total) in kept["kinds"].items()]
    lines.append(f"sentences per second: {results['sentences_per_second']:.3g}")
    return Scored(translations, results, lines)


TRAINING = Training(
    options=TranslationTraining,
    make_model=make_model,
    help="""Train a translation model into a folder that `askew translate` reads.

    A training that was killed resumes, bit for bit, when the same command is typed again. Under
    torchrun or accelerate the batches of a step are distributed over the processes;
    training.accumulate is their number.
    """,
)
SCORING = Scoring(
    options=TranslationScoring,
    score=score,
    help="Translations are scored by BLEU, chrF, exact match and the placeholders kept, from "
    "--data or --test-source and --test-target; each score has its 95 % interval over sentences "
    "and sacreBLEU's signature.",
)
