"""The commands that train one model."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew._check import requires_extra
from askew._cli import (
    ConfigFile,
    Data,
    Json,
    Language,
    Minutes,
    Pair,
    Preset,
    Protect,
    Quiet,
    SeparateVocabularies,
    Settings,
    Source,
    Steps,
    Target,
    Teacher,
    TestSource,
    TestTarget,
    Threads,
    ValidSource,
    ValidTarget,
    VocabSize,
    refusing_bad_input,
    set_up_torch,
    stopping_cleanly,
    tell_overlap,
    tell_protected,
    tell_refused_answers,
)

if TYPE_CHECKING:
    from askew.models import QAConfig
    from askew.tasks import QATask, TranslationTask
    from askew.transformer import EncoderDecoderConfig

Questions = Annotated[
    Path | None,
    typer.Option(help="Your questions: SQuAD JSON, or JSON lines with question, context, answers."),
]
ContextEncoder = Annotated[
    Path | None,
    typer.Option(help="Folder of an encoder of transformers that begins as the one of contexts."),
]
QuestionEncoder = Annotated[
    Path | None, typer.Option(help="The same for questions; it may be the same folder.")
]
QuestionLayers = Annotated[
    int | None, typer.Option(min=1, help="Keep so many of the lowest layers of that encoder.")
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
TensorBoard = Annotated[Path | None, typer.Option(help="Folder of curves for TensorBoard.")]


def train_translation_command(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the model.")],
    pair: Pair = "en-pt",
    data: Data = None,
    source: Source = None,
    target: Target = None,
    valid_source: ValidSource = None,
    valid_target: ValidTarget = None,
    test_source: TestSource = None,
    test_target: TestTarget = None,
    shape: Annotated[
        str,
        typer.Option(help="deep-shallow, narrow-decoder, shared-bridge, symmetric or FILE.toml."),
    ] = "deep-shallow",
    preset: Preset = "small",
    vocab_size: VocabSize = 2000,
    separate_vocabularies: SeparateVocabularies = False,
    protect: Protect = None,
    teacher: Teacher = None,
    set_: Settings = None,
    config: ConfigFile = None,
    steps: Steps = None,
    minutes: Minutes = None,
    seed: Seed = 0,
    threads: Threads = 1,
    tensorboard: TensorBoard = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a translation model into a folder that `askew translate` reads.

    A training that was killed goes on, bit for bit, when the same command is typed again. Under
    torchrun or accelerate the batches of a step are shared out among the processes;
    training.accumulate says how many a step has.
    """
    with refusing_bad_input():
        from askew import tasks

        _check_tensorboard(tensorboard)
        where = tasks.Sources(
            pair, data, source, target, valid_source, valid_target, test_source, test_target
        )
        chosen = tasks.chosen_settings(config, set_)
        job = tasks.chosen_task(
            where,
            vocab_size,
            chosen,
            separate_vocabularies=separate_vocabularies,
            teacher=teacher,
            protect=tasks.is_catalogue(data) if protect is None else protect,
        )
        model = tasks.chosen_model(job, shape, preset, chosen)
        budget = tasks.chosen_budget(where, steps, minutes)
        training = {} if teacher is None else tasks.from_teacher(chosen)
        call = {
            "budget": budget,
            "seed": seed,
            "threads": threads,
            "out": out,
            "training": training,
        }
        identity = tasks.prepare_training(job, model, **call)
    if tasks.is_first_process():
        tell_overlap(job.text)
        tell_protected(job.protects)
    set_up_torch(threads)
    if teacher is not None:
        silent = quiet or not tasks.is_first_process()
        job = learn_from(teacher, job, Path(f"{out}-taught.jsonl"), quiet=silent)
    _train(job, model, identity, call, tensorboard=tensorboard, quiet=quiet, as_json=as_json)


def train_qa_command(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the model.")],
    data: Questions = None,
    valid: Annotated[Path | None, typer.Option(help="Validation; else split off.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test; else split off by article.")] = None,
    context_encoder: ContextEncoder = None,
    question_encoder: QuestionEncoder = None,
    question_layers: QuestionLayers = None,
    language: Language = "en",
    shape: Annotated[str, typer.Option(help="asymmetric, symmetric or FILE.toml.")] = "asymmetric",
    preset: Annotated[str, typer.Option(help="tiny, small or base.")] = "small",
    vocab_size: Annotated[int, typer.Option(help="Tokens of a vocabulary, at most.")] = 8000,
    set_: Settings = None,
    config: ConfigFile = None,
    steps: Steps = None,
    minutes: Minutes = None,
    seed: Seed = 0,
    threads: Threads = 1,
    tensorboard: TensorBoard = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model that answers questions by spans of contexts it has encoded once.

    Without --data it learns about 200 questions over this library's documentation: few, so
    that everything can be tried, not so that it answers well. Answers that are not where the
    data say are named and left out. A training that was killed goes on, bit for bit, when the
    same command is typed again.
    """
    with refusing_bad_input():
        from askew import tasks

        _check_tensorboard(tensorboard)
        chosen = tasks.chosen_settings(config, set_)
        job = tasks.chosen_qa_task(
            tasks.QuestionSources(data, valid, test),
            vocab_size,
            chosen,
            pretrained=tasks.Pretrained(question_encoder, context_encoder, question_layers),
            language=language,
        )
        model = tasks.chosen_qa_model(job, shape, preset, chosen)
        budget = tasks.chosen_budget(tasks.Sources(data=data), steps, minutes)
        call = {"budget": budget, "seed": seed, "threads": threads, "out": out, "training": {}}
        identity = tasks.prepare_training(job, model, **call)
    if tasks.is_first_process():
        for part in job.text:
            tell_refused_answers(part)
        if data is None:
            print("askew: note: the shipped questions are few; give --data", file=sys.stderr)
    set_up_torch(threads)
    _train(job, model, identity, call, tensorboard=tensorboard, quiet=quiet, as_json=as_json)


def learn_from(
    teacher: Path, job: "TranslationTask", store: Path, *, quiet: bool
) -> "TranslationTask":
    """Let the teacher translate the training sources, where its words are learnt."""
    from askew import tasks
    from askew._progress import LineProgress

    found = job.teacher
    assert found is not None
    sources = job.text.train.sources
    store.parent.mkdir(parents=True, exist_ok=True)
    with stopping_cleanly(store), LineProgress(len(sources), "teaching", quiet=quiet) as progress:
        taught = tasks.teach(teacher, found, sources, store=store, progress=progress.reach)
    return replace(job, taught=taught)


def _check_tensorboard(folder: Path | None) -> None:
    if folder is not None:
        with requires_extra("train", "track"):
            import tensorboard  # noqa: F401


def _train(
    job: "TranslationTask | QATask",
    model: "EncoderDecoderConfig | QAConfig",
    identity: dict,
    call: Mapping,
    *,
    tensorboard: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train into the folder of the call and print the scores, where this process is the first."""
    from askew import tasks
    from askew._progress import TrainingProgress

    first = tasks.is_first_process()
    with stopping_cleanly(call["out"]), TrainingProgress(quiet=quiet or not first) as progress:
        scores = tasks.train_into(
            job,
            model,
            identity,
            progress=progress,
            on_record=progress.record,
            tensorboard=tensorboard,
            **call,
        )
    if not first:
        return
    if as_json:
        print(json.dumps(scores, indent=2))
    else:
        print("test set: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
        print(f"model: {call['out']}")
