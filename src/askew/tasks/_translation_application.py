"""Translation as an application: its task and its arms."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askew._budget import SearchBudget
from askew._check import require
from askew.tasks._application import Scored, Scorer, Scoring, Training
from askew.tasks._arm_names import SHAPES
from askew.tasks._read_data import describe_read
from askew.tasks._translation_options import (
    TranslationComparison,
    TranslationOptions,
    TranslationScoring,
    TranslationTraining,
)

if TYPE_CHECKING:
    from askew.models import Translator
    from askew.tasks._translation import TranslationTask
    from askew.tradeoffs import Arm, Budget, Progress, Space
    from askew.transformer import EncoderDecoderConfig


def make_task(options: TranslationOptions) -> "TranslationTask":
    """Read the data, train the vocabulary and make the task."""
    from askew._config import load_config
    from askew.tasks._data import load_text, places_of
    from askew.tasks._teacher import find_teacher
    from askew.tasks._translation import translation_task
    from askew.training import TrainingConfig

    left_out: Counter[str] = Counter()
    if isinstance(options, TranslationComparison) and options.from_ is not None:
        from askew.tasks._student import student_task

        name, text = load_text(options.sources(), left_out=left_out)
        task = student_task(name, text, options.from_, options.settings())
        return replace(task, serve=_served(options), left_out=dict(left_out))
    base = TrainingConfig(steps=1)
    training = load_config(TrainingConfig, options.training_settings(), base=base, where="training")
    teacher = None if options.teacher is None else find_teacher(options.teacher)
    require(
        training.target == "reference" or teacher is not None,
        f"translation: the target {training.target!r} needs a teacher; got none. "
        "Give --teacher DIR",
    )
    name, text = load_text(options.sources(), left_out=left_out)
    task = translation_task(
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
    return replace(task, serve=_served(options), left_out={**left_out, **task.left_out})


def _served(options: TranslationOptions) -> str | None:
    """Return how the engine whose speed is measured stores weights; None if it is PyTorch."""
    from askew.export import QUANTIZATIONS

    if not isinstance(options, TranslationComparison) or options.serve is None:
        return None
    engine, colon, kind = options.serve.partition(":")
    require(
        engine == "ctranslate2" and (kind in QUANTIZATIONS or not colon),
        "compare: --serve must be ctranslate2, or ctranslate2: and one of "
        f"{', '.join(QUANTIZATIONS)}; got {options.serve}",
    )
    return kind or "float32"


def make_arms(
    task: "TranslationTask", options: TranslationComparison
) -> "tuple[list[Arm], dict[str, object]]":
    """Make the challenger and its baseline; both learn from a teacher, if there is one."""
    arms, matched = _make_arms(task, options)
    if task.serve is not None:
        for arm in arms:  # refuses what the engine cannot compute, before any training
            task.deploy(task.build(arm.config, 0))
        matched = {**matched, "serve": f"ctranslate2, {task.serve}"}
    return arms, matched


def _make_arms(
    task: "TranslationTask", options: TranslationComparison
) -> "tuple[list[Arm], dict[str, object]]":
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


def make_starts(
    task: "TranslationTask", options: TranslationComparison, at_most: Mapping[str, float]
) -> "tuple[TranslationTask, list[Arm], dict[str, object]]":
    """Make the arms with which a search begins: those of a comparison, or cuts of one model."""
    if options.from_ is None:
        return task, *make_arms(task, options)
    from askew.tasks._student import StudentTask
    from askew.tasks._student_search import student_starts

    assert isinstance(task, StudentTask)
    require(
        task.serve is None or "latency_ms" not in at_most,
        "find: with --from, --at-most latency_ms is of layers timed in PyTorch; got --serve, too. "
        "Leave one out",
    )
    return student_starts(task, options.challenger, options.baseline, options.match, at_most)


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
    from askew.tasks._presets import translation_preset

    vocab = task.vocabularies()
    return shaped_config(
        lambda name: translation_preset(name, options.preset, vocab_size=vocab),
        shape,
        settings,
        shapes=SHAPES,
        usual="deep-shallow",
        training=task.training,
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
    """Return what a search for translation models draws: shape and rate of each side, or layers."""
    if options.from_ is not None:
        from askew.tasks._student import StudentTask
        from askew.tasks._student_search import student_space

        assert isinstance(task, StudentTask)
        return student_space(task)
    from askew.tasks._arms import sides_space
    from askew.tasks._presets import SIZES

    sides = ("encoder", "decoder")
    rates = {side: task.search_space()[f"training.{side}.lr"] for side in sides}
    return sides_space(sides, SIZES[options.preset][0], rates)


def search_budget(options: TranslationComparison) -> SearchBudget:
    """Return the usual budget of a search: of our own data the same on every machine."""
    is_own = options.data is None and options.source is None and options.preset == "small"
    return SearchBudget(steps=450, candidates=48, seeds=5) if is_own else SearchBudget()


def left_out(task: "TranslationTask") -> Mapping[str, int]:
    """Count the pairs that were left out, by reason."""
    return task.left_out


def notes(task: "TranslationTask", options: TranslationOptions) -> Iterator[str]:
    """Describe what the user should know about the data."""
    from askew.metrics import tokenizer_note
    from askew.text import count_overlap

    yield from getattr(task, "layer_lines", ())
    note = tokenizer_note(task.text.test.targets)
    if note:
        yield note
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


def score(folder: Path, options: TranslationScoring) -> Scorer:
    """Read the pairs and the model, and return a function that scores it."""
    from askew.export import prepare_engine
    from askew.metrics import tokenizer_note
    from askew.models import DecodingConfig, Translator
    from askew.tasks._evaluate import chosen_scores, load_test
    from askew.tasks._trained_on import trained_on
    from askew.text import fingerprint, split_pairs

    left_out: Counter[str] = Counter()
    pairs = load_test(
        options.data,
        options.test_source,
        options.test_target,
        part=options.part,
        columns=options.columns,
        drop_empty=options.drop_empty,
        left_out=left_out,
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
    count = len(pairs.sources)
    notes = trained_on(
        folder, "pairs", count, options.part, lambda: fingerprint(split_pairs(pairs, seed=0))
    )
    engine, reason = options.engine, ""
    if engine == "auto":
        engine, folder, reason = prepare_engine(folder)
    translator = Translator.from_pretrained(
        folder, batch_size=options.batch_size, engine=engine, threads=options.threads
    )
    note = tokenizer_note(pairs.targets) if options.bleu_tokenizer is None else ""
    served = f"{engine}, since {reason}" if reason else engine
    place = options.data or f"{options.test_source} → {options.test_target}"
    return Scorer(
        describe_read("pairs", place, left_out, {"score": count}),
        [*notes, *filter(None, [note])],
        lambda progress: _scored(translator, pairs, decoding, scores, served, progress),
    )


def _scored(
    translator: "Translator",
    pairs: Any,
    decoding: Any,
    scores: Any,
    engine: str,
    progress: "Progress",
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
    lines.append(f"sentences per second: {results['sentences_per_second']:.3g} ({engine})")
    return Scored(translations, {**results, "engine": engine}, lines)


TRAINING = Training(
    options=TranslationTraining,
    make_model=make_model,
    use="askew translate {folder} < lines.txt",
    pipeline="translation",
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
