"""The command `askew shrink`: cut a trained encoder-decoder, and teach the student."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from askew._devices import use_device
from askew._files import read_json, to_json
from askew.cli._exits import (
    exit_on_interrupt,
    exit_on_user_error,
    print_notes,
    set_up_torch,
    tell_read,
)
from askew.cli._options import MAX_SEED, DeviceOptions, OutputOptions
from askew.cli._requests import parse_bound
from askew.cli._shrink_checks import DATA, check_shrinking
from askew.cli._streams import show
from askew.tasks import SettingOptions, Sources, option

if TYPE_CHECKING:
    from askew.models import Keep
    from askew.tasks import Shrinking, Shrunk
    from askew.text import SplitText

_STEPS = 1000
_NARROWED = ("width", "heads", "ff")
_STOP_MARGIN, _PATIENCE = 0.01, 3  # of the loss: 1 % of the perplexity


@dataclass(frozen=True, kw_only=True)
class ShrinkOptions(OutputOptions, DeviceOptions, SettingOptions):
    """What is cut, and how the student learns."""

    model: Path = option(
        ..., "Folder of an encoder-decoder: ours, or of transformers.", positional=True
    )
    out: Path = option(..., "Folder of the student.")
    encoder_layers: int | None = option(
        None, "Encoder layers to keep, all by default.", minimum=1, show_default=False
    )
    decoder_layers: int | None = option(
        None, "Decoder layers to keep, all by default.", minimum=1, show_default=False
    )
    keep: str = option(
        "spread",
        "Which layers: spread (first, last and evenly between), first, last, measured (leave out "
        "one at a time, the one whose absence costs least), numbers from 0, as 0,5, or a "
        "found.toml of askew find translation --from, for both sides.",
    )
    keep_encoder: str | None = option(
        None, "Which encoder layers, if not as --keep says.", show_default=False
    )
    at_most: str | None = option(
        None,
        "Instead of numbers of layers: latency_ms=N, the longest time of an answer at batch 1. "
        "The loss without each layer and its milliseconds are measured, and the best cut that "
        "meets the limit is kept.",
        show_default=False,
    )
    encoder_width: int | None = option(
        None,
        "Channels of the encoder's stream to keep (d_model); of our own models.",
        minimum=2,
        show_default=False,
    )
    decoder_width: int | None = option(
        None, "Channels of the decoder's stream to keep.", minimum=2, show_default=False
    )
    encoder_heads: int | None = option(
        None, "Heads of every attention of the encoder to keep.", minimum=1, show_default=False
    )
    decoder_heads: int | None = option(
        None, "Heads of every attention of the decoder to keep.", minimum=1, show_default=False
    )
    encoder_ff: int | None = option(
        None,
        "Feed-forward units of every encoder layer to keep (d_ff).",
        minimum=1,
        show_default=False,
    )
    decoder_ff: int | None = option(
        None, "Feed-forward units of every decoder layer to keep.", minimum=1, show_default=False
    )
    data: Path | None = option(
        None,
        "Pairs to teach the student on, as askew train translation reads them; for a speech "
        "model, FILE.tsv (path of a recording TAB its text). Without data the model is only cut.",
    )
    pair: str | None = option(
        None, "Instead of --data: phrases of an installed package in these two locales, e.g. en-pt."
    )
    columns: str | None = option(None, "Which columns of --data are source and target.")
    source: Path | None = option(None, "Source lines; needs --target.")
    target: Path | None = option(None, "Target lines.")
    valid_source: Path | None = option(
        None, "Validation sources; set aside from the pairs by default."
    )
    valid_target: Path | None = option(None, "Validation targets.")
    test_source: Path | None = option(None, "Test sources; set aside from the pairs by default.")
    test_target: Path | None = option(None, "Test targets.")
    steps: int = option(_STEPS, "Training steps; 0 only scores the cut model.", minimum=0)
    stop_margin: float | None = option(
        None,
        "Stop when the validation loss has not fallen by this much, in nats a token, in three of "
        "the ten evaluations, and keep the best weights; 0 trains all steps and keeps the last; "
        f"{_STOP_MARGIN} by default.",
        minimum=0,
        show_default=False,
    )
    targets: Literal["reference", "teacher", "both"] = option(
        "reference", "What the student learns to write; the model is its teacher."
    )
    drop_worse: float = option(
        0.1, "Share of the teacher's outputs to leave out: those with the lowest chrF."
    )
    beams: int = option(1, "Hypotheses that the teacher keeps while it writes.", minimum=1)
    freeze_encoder: bool | None = option(
        None,
        "Keep the weights of the encoder until the last tenth of the steps, or train them from "
        "the beginning. By default they are kept if the encoder is not cut.",
        name="--freeze-encoder/--train-encoder",
        show_default=False,
    )
    seed: int = option(0, "Seed of everything random.", minimum=0, maximum=MAX_SEED)
    threads: int = option(1, "Threads.", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shrinking(self)


def shrink_command(options: ShrinkOptions) -> None:
    """Cut a trained encoder-decoder down to a student, and teach it on your data."""
    with exit_on_user_error():
        set_up_torch(options.threads)
        use_device("shrink", options.device)
        from askew.tasks import prepare_shrinking

        text, read = _text(options)
        shrinking = _shrinking(options, has_data=text is not None)
        if not _cuts(options, shrinking):
            print_notes(["nothing is cut; --decoder-layers, --keep or --at-most cut layers"])
        prepare_shrinking(options.model, options.out, shrinking, text)
    tell_read(read, quiet=options.quiet)
    with exit_on_interrupt(options.out):
        shrunk = _run(options, shrinking, text)
    if options.as_json:
        show(to_json(shrunk.plain()))
    else:
        for line in _lines(shrunk, shrinking.widths, options.out):
            show(line)


def _cuts(options: ShrinkOptions, shrinking: "Shrinking") -> bool:
    """Return whether any option asks for a cut."""
    counts = (options.encoder_layers, options.decoder_layers, shrinking.latency_ms)
    return bool(shrinking.keep or shrinking.widths) or any(one is not None for one in counts)


def _text(options: ShrinkOptions) -> "tuple[SplitText | None, str]":
    """Read the pairs that are given, and describe what was read."""
    given = {name: getattr(options, name) for name in DATA if getattr(options, name) is not None}
    if not given:
        return None, ""
    from askew.tasks import describe_read, load_text

    left_out: Counter[str] = Counter()
    name, text = load_text(Sources(**given), left_out=left_out)
    uses = zip(("train", "validate", "test"), text, strict=True)
    sizes = {use: len(pairs.sources) for use, pairs in uses}
    return text, describe_read("pairs", name, left_out, sizes)


_WIDTHS = tuple(f"{side}_{name}" for side in ("encoder", "decoder") for name in _NARROWED)


def _shrinking(options: ShrinkOptions, *, has_data: bool) -> "Shrinking":
    from askew._config import load_config
    from askew.tasks import Shrinking
    from askew.training import DistillationConfig

    if options.model_settings():
        raise ValueError(
            "shrink: --set changes the training alone, as training.lr=0.001; got "
            f"{', '.join(options.model_settings())}"
        )
    keep = _keep(options)
    latency_ms = _limit(options)
    given = {name: getattr(options, name) for name in _WIDTHS}
    widths = {name: number for name, number in given.items() if number is not None}
    training = None
    if has_data and options.steps:
        frozen = options.freeze_encoder
        cut = "encoder" in keep or any(name.startswith("encoder") for name in widths)
        frozen = not cut and latency_ms is None if frozen is None else frozen
        margin = _stop_margin(options)
        base = DistillationConfig(
            steps=options.steps,
            freeze_encoder=frozen,
            stop_margin=margin,
            patience=_PATIENCE if margin else None,
        )
        training = load_config(
            DistillationConfig, options.training_settings(), base=base, where="training"
        )
    return Shrinking(
        encoder_layers=options.encoder_layers,
        decoder_layers=options.decoder_layers,
        keep=keep,
        training=training,
        targets=options.targets,
        drop_worse=options.drop_worse,
        beams=options.beams,
        seed=options.seed,
        latency_ms=latency_ms,
        widths=widths,
    )


def _keep(options: ShrinkOptions) -> "dict[str, Keep]":
    """Return which layers are kept on the sides that are cut."""
    if options.keep.endswith(".toml"):
        from askew.tasks import read_cut

        return dict(read_cut(options.keep))
    keep: dict[str, Any] = {}
    if options.encoder_layers is not None or options.keep_encoder is not None:
        keep["encoder"] = _rule(options.keep_encoder or options.keep)
    if options.decoder_layers is not None or not isinstance(_rule(options.keep), str):
        keep["decoder"] = _rule(options.keep)
    return keep


def _limit(options: ShrinkOptions) -> float | None:
    """Return the limit of --at-most."""
    if options.at_most is None:
        return None
    name, limit = parse_bound(options.at_most, "shrink")
    if name != "latency_ms":
        raise ValueError(f"shrink: --at-most must be latency_ms=NUMBER; got {options.at_most!r}")
    if options.keep != "spread":
        raise ValueError(
            f"shrink: a limit of latency chooses the layers; got keep {options.keep}, too. Leave "
            "it out"
        )
    return limit


def _stop_margin(options: ShrinkOptions) -> float:
    """Return the margin that is given, that of the run to be resumed, or the usual one."""
    if options.stop_margin is not None:
        return options.stop_margin
    stored = options.out / "shrink.json"
    if stored.is_file():
        return (read_json(stored).get("training") or {}).get("stop_margin", 0.0)
    return _STOP_MARGIN


def _rule(text: str) -> "Keep":
    """Return a rule by its name, or numbers of layers."""
    if not text[:1].isdigit():
        return text  # pyrefly: ignore[bad-return]  shrink refuses what it does not know
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"shrink: numbers of layers must be as 0,5; got --keep {text}") from None


def _run(options: ShrinkOptions, shrinking: "Shrinking", text: "SplitText | None") -> "Shrunk":
    from askew.cli._progress import TrainingProgress
    from askew.tasks import shrink_folder

    with TrainingProgress(quiet=options.quiet) as progress:
        return shrink_folder(
            options.model,
            options.out,
            shrinking,
            text,
            stage=progress.stage,
            progress=progress,
            on_record=progress.record,
        )


def _lines(shrunk: "Shrunk", widths: Mapping[str, int], out: Path) -> Sequence[str]:
    """Say what was kept and what it cost."""
    lines = []
    for removal in shrunk.removals:
        left = " ".join(map(str, removal.left))
        lines.append(f"{removal.side} {left}, without {removal.layer}: loss {removal.loss:.4f}")
    lines += [] if shrunk.layers is None else shrunk.layers.lines()
    lines += [f"{side}: layers {' '.join(map(str, kept))}" for side, kept in shrunk.kept.items()]
    if shrunk.latency_ms is not None:
        lines.append(f"an answer of the cut: {shrunk.latency_ms:.3f} ms")
    lines += [f"{name.replace('_', ': ')} {number}" for name, number in widths.items()]
    before, after = shrunk.parameters
    lines.append(f"parameters: {before:,} → {after:,} ({after / before:.0%})")
    for name, scores in shrunk.scores.items():
        said = ", ".join(f"{key} {value:.4g}" for key, value in scores.items())
        lines.append(f"test set, {_NAMES[name]}: {said}")
    if shrunk.latency_ratio is not None:
        lines.append(f"an answer is {shrunk.latency_ratio:.2f} × as fast")
    if shrunk.left_out:
        lines.append(f"{shrunk.left_out} outputs of the teacher were not learnt")
    return [*lines, f"model: {out}"]


_NAMES = {"teacher": "the model", "untaught": "cut, not taught", "student": "the student"}
