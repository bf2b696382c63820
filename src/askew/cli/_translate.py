"""The command `askew translate`: translate lines, or fill in a catalogue."""

import sys
from collections.abc import Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew._files import to_json, visible
from askew._folders import check_output
from askew.cli._engines import Engine, open_translator
from askew.cli._exits import exit_on_failure, exit_on_user_error, tell
from askew.cli._options import MAX_SEED, Quiet, Threads
from askew.cli._streams import LineStats, count_special, existing_lines, opened, show, windows

if TYPE_CHECKING:
    from askew.models import DecodingConfig, Hypothesis, Translator

Beams = Annotated[
    int | None,
    typer.Option(help="Hypotheses kept; 1 is greedy. As many as --n-best by default."),
]
LengthPenalty = Annotated[
    float, typer.Option(help="Scores are divided by the length to this power.")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Lines decoded together at most.")]
Folder = Annotated[Path, typer.Argument(help="A folder that training wrote.")]


def translate_command(
    folder: Folder,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Lines to translate, also .gz, or a .po or .xlf file; by default stdin."
        ),
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="Output file; needed for .po and .xlf.")] = None,
    engine: Engine = "auto",
    beams: Beams = None,
    length_penalty: LengthPenalty = 1.0,
    n_best: Annotated[
        int,
        typer.Option(help="Translations per line: line number TAB score TAB text, each."),
    ] = 1,
    sample: Annotated[bool, typer.Option("--sample", help="Draw tokens at random.")] = False,
    temperature: Annotated[float, typer.Option(help="Temperature of sampling.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Sample from this many tokens; 0 means all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Sample from this share of probability.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of sampling.")] = 0,
    batch_size: BatchSize = 64,
    threads: Threads = 1,
    show_attention: Annotated[
        Path | None,
        typer.Option(help="Also write a page with the decoder's attention for the first lines."),
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Print line number and score before every translation.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line: line and hypotheses.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Translate lines from a file or from stdin; the output has one line per line of input.

    Only a newline byte ends a line; other line ends within a translation become spaces. Empty lines
    stay empty, and a byte order mark at the start is dropped. Bytes that are not UTF-8 become
    U+FFFD, and lines that are too long for the model are translated in pieces; a note on stderr
    counts them at the end.
    """
    with exit_on_user_error():
        from askew._decoding import DecodingConfig

        decoding = DecodingConfig(
            num_beams=(1 if sample else n_best) if beams is None else beams,
            num_hypotheses=n_best,
            length_penalty=length_penalty,
            sample=sample,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        catalogue = _is_filled_in(file, out)
        is_greedy = decoding.num_beams == decoding.num_hypotheses == 1
        _refuse_given(
            {
                "--n-best": catalogue and n_best > 1,
                "--scores": scores and (catalogue or as_json),
                "--json": catalogue and as_json,
                "--show-attention": catalogue and show_attention is not None,
                "--length-penalty": length_penalty != 1.0 and is_greedy and not (scores or as_json),
            }
        )
        if show_attention is not None and engine not in ("auto", "torch"):
            raise ValueError(f"translate: --show-attention needs --engine torch; got {engine}")
        if engine == "auto" and (sample or show_attention is not None):
            engine = "torch"
        reads = [folder] if file is None else [folder, file]
        if out is not None:
            check_output(out, caller="translate", reads=reads)
        if show_attention is not None:
            written = [] if out is None else [out]
            check_output(
                show_attention,
                caller="translate",
                reads=[*reads, *written],
                option="--show-attention",
            )
        translator = open_translator(
            folder, engine, batch_size=batch_size, threads=threads, quiet=quiet
        )
    if file is not None and out is not None and catalogue:
        _translate_catalogue(translator, decoding, file, out)
        return
    form = _json_line if as_json else partial(_plain_lines, scored=scores or n_best > 1)
    shown = not quiet and sys.stderr.isatty() and (out is not None or not sys.stdout.isatty())
    on_terminal = out is None and sys.stdout.isatty()
    packed = file is not None and file.suffix.lower() == ".gz"
    size = file.stat().st_size if file is not None and file.is_file() and not packed else None
    stats = LineStats(size, shown=shown)
    with exit_on_failure(), opened(file, "rb", sys.stdin) as source:
        read = windows(source, stats, name=file or "stdin")
        with exit_on_user_error():
            first = list(islice(read, 1))  # what cannot be read leaves the output as it is
        with opened(out, "wb", sys.stdout) as target:
            for number, lines in chain(first, read):
                count_special(translator, lines, stats)
                if show_attention is not None and number == 1:
                    _show_attention(translator, lines, show_attention)
                translations = enumerate(translator.hypotheses(lines, decoding), start=number)
                text = "".join(form(line, hypotheses) for line, hypotheses in translations)
                target.write((visible(text) if on_terminal else text).encode())
                target.flush()
                stats.progress()
    stats.end()


def _is_filled_in(file: Path | None, out: Path | None) -> bool:
    """Return whether the file is a catalogue; refuse files that are no lines, and no catalogue."""
    if file is None:
        return False
    from askew.tasks import is_catalogue, is_xliff

    existing_lines("translate", file)
    suffix = file.suffix.lower()
    if suffix == ".gz" and (is_catalogue(file.stem) or is_xliff(file.stem)):
        raise ValueError(f"translate: a catalogue must be unpacked; got {file}")
    if suffix == ".tmx":
        raise ValueError(f"translate: a file to fill in must be .po or .xlf; got {file}")
    catalogue = is_catalogue(file) or is_xliff(file)
    if catalogue and out is None:
        raise ValueError(f"translate: a {suffix} file needs --out; got {file} without")
    return catalogue


def _refuse_given(without_effect: Mapping[str, bool]) -> None:
    """Refuse the options that are given although they would have no effect."""
    for name, is_given in without_effect.items():
        if is_given:
            raise ValueError(f"translate: {name} must be left out here, where it has no effect")


def _translate_catalogue(
    translator: "Translator", decoding: "DecodingConfig", file: Path, out: Path
) -> None:
    from askew.tasks import is_xliff
    from askew.text import translate_po, translate_xliff

    fill = translate_xliff if is_xliff(file) else translate_po
    with exit_on_user_error():
        count = fill(file, lambda texts: translator.translate(texts, decoding=decoding), out)
    marked = "for review" if is_xliff(file) else "fuzzy"
    show(f"{count} messages filled in and marked {marked}: {out}")


def _plain_lines(number: int, hypotheses: "list[Hypothesis]", *, scored: bool) -> str:
    lines = [(" ".join(text.splitlines()), score) for text, score in hypotheses]
    if not scored:
        return lines[0][0] + "\n"
    return "".join(f"{number}\t{score:.6g}\t{' '.join(t.split(chr(9)))}\n" for t, score in lines)


def _json_line(number: int, hypotheses: "list[Hypothesis]") -> str:
    rows = [hypothesis._asdict() for hypothesis in hypotheses]
    return to_json({"line": number, "hypotheses": rows}, indent=None, ascii_only=True) + "\n"


def _show_attention(translator: "Translator", lines: list[str], path: Path) -> None:
    from askew.models import attention_map, write_attention_page

    chosen = [line for line in lines if len(translator.split_text(line)) == 1][:5]
    if chosen:
        write_attention_page([attention_map(translator, line) for line in chosen], path)
    else:
        tell("note: no line is short enough to show its attention")
