"""Does a deep encoder with a shallow decoder pay? Multi30k, matched parameters, paired seeds.

Settings are fixed here, before the first run. Three challengers are compared with one symmetric
model with as many parameters: deep-shallow, deep-shallow that learns a teacher's translations, and
narrow-decoder. Every trial has the same CPU time.

    python benchmarks/evidence_deep_shallow.py --teacher MODEL_FOLDER --out FOLDER

The teacher is any folder that `askew train translation` wrote on the same training pairs; it
translates with beam 5, by CTranslate2 if it was exported. A run that was stopped resumes when the
same command is typed again.
"""

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from paired import Lines
from rich.console import Console

from askew.tasks import (
    Sources,
    TranslationTask,
    find_teacher,
    load_text,
    teach,
    translation_preset,
    translation_task,
)
from askew.tradeoffs import Arm, Budget, compare, print_results, write_report
from askew.training import TrainingConfig
from askew.transformer import EncoderDecoderConfig, parameter_count

DATA = Path("../shared/data/multi30k")
VOCABULARY = 4000
TRAINING = TrainingConfig(steps=1, batch_tokens=1024)
BASELINE = "symmetric"
CHALLENGERS = {
    "deep-shallow": ("deep-shallow", {}),
    "deep-shallow-taught": ("deep-shallow", {"target": "teacher"}),
    "narrow-decoder": ("narrow-decoder", {}),
}


def main() -> None:
    options = arguments()
    task = multi30k(options.data, options.teacher)
    arms = matched_arms(task)
    for arm in arms:
        print(arm.name, parameter_count(arm.config).total, dict(arm.training))
    settings = {"match": "parameters", "preset": "small", "signatures": task.signatures()}
    options.out.mkdir(parents=True, exist_ok=True)
    taught = teach(
        options.teacher,
        task.teacher,
        task.text.train.sources,
        store=options.out.parent / f"{options.out.name}-taught.jsonl",
        progress=lambda done, total: print(f"teacher: {done}/{total}", end="\r", flush=True),
    )
    comparison = compare(
        replace(task, taught=taught),
        arms,
        list(range(options.seeds)),
        budget=Budget(minutes=options.minutes),
        out=options.out,
        jobs=options.jobs,
        settings=settings,
        command=shlex.join(["python", *sys.argv]),
        watcher=Lines(),
    )
    write_report(comparison.results, options.out / "report.html")
    print_results(comparison.results, Console())


def multi30k(folder: Path, teacher: Path) -> TranslationTask:
    files = (
        folder / f"{split}.{side}.gz"
        for split in ("train", "val", "test_2016_flickr")
        for side in ("en", "de")
    )
    names = (f"{split}{side}" for split in ("", "valid_", "test_") for side in ("source", "target"))
    _, text = load_text(Sources(**dict(zip(names, files, strict=True))))
    return translation_task(
        "Multi30k English → German",
        text,
        vocab_size=VOCABULARY,
        training=TRAINING,
        teacher=find_teacher(teacher),
    )


def matched_arms(task: TranslationTask) -> list[Arm]:
    """Challengers whose feed-forward widths bring them to the baseline's parameters."""
    baseline = translation_preset(BASELINE, "small", vocab_size=task.vocabularies())
    wanted = parameter_count(baseline).total
    challengers = [
        Arm(
            name=name,
            config=matched(
                translation_preset(shape, "small", vocab_size=task.vocabularies()), wanted
            ),
            training=training,
        )
        for name, (shape, training) in CHALLENGERS.items()
    ]
    return [*challengers, Arm(name=BASELINE, config=baseline)]


def matched(config: EncoderDecoderConfig, wanted: int) -> EncoderDecoderConfig:
    """Scale both feed-forward widths, in steps of 8, until the parameters are nearest."""
    sizes = (widened(config, percent / 100) for percent in range(50, 400))
    return min(sizes, key=lambda made: abs(parameter_count(made).total - wanted))


def widened(config: EncoderDecoderConfig, factor: float) -> EncoderDecoderConfig:
    encoder, decoder = (
        replace(side, d_ff=8 * round(factor * side.d_ff / 8))
        for side in (config.encoder, config.decoder)
    )
    return replace(config, encoder=encoder, decoder=decoder)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, required=True, help="folder of a trained model")
    parser.add_argument("--out", type=Path, required=True, help="folder of the comparison")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=5.0, help="CPU-minutes of each trial")
    parser.add_argument("--jobs", type=int, default=2, help="trials at the same time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
