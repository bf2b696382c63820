"""The command `askew translate`: translate lines, or fill in a catalogue."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from askew._files import existing_file, visible
from askew._folders import check_output
from askew.cli._exits import exit_on_failure, exit_on_user_error, set_up_torch, tell
from askew.cli._options import MAX_SEED, Quiet, Threads
from askew.cli._streams import LineStats, count_special, opened, show, windows

if TYPE_CHECKING:
    from askew.models import DecodingConfig, Hypothesis, Translator

Engine = Annotated[
    str, typer.Option(help="torch, or ctranslate2 for a model that askew export wrote.")
]
Beams = Annotated[int, typer.Option(help="Hypotheses kept; 1 is greedy.")]
LengthPenalty = Annotated[
    float, typer.Option(help="Scores are divided by the length to this power.")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Lines decoded together at most.")]
Folder = Annotated[Path, typer.Argument(help="A folder that training wrote.")]


def translate_command(
    folder: Folder,
    file: Annotated[
        Path | None, typer.Argument(help="Lines to translate, or a .po file; by default stdin.")
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="Output file; required for a .po file.")] = None,
    engine: Engine = "torch",
    beams: Beams = 1,
    length_penalty: LengthPenalty = 1.0,
    n_best: Annotated[
        int, typer.Option(help="Translations per line: line number TAB score TAB text, each.")
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
    stay empty, bytes that are not UTF-8 become U+FFFD, and lines that are too long for the model
    are translated in pieces; a note on stderr counts them at the end.
    """
    with exit_on_user_error():
        from askew.models import DecodingConfig

        decoding = DecodingConfig(
            num_beams=max(beams, 1 if sample else n_best),
            num_hypotheses=n_best,
            length_penalty=length_penalty,
            sample=sample,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        if file is not None:
            existing_file("translate", file, pipe=True)
        if file is not None and file.suffix == ".po" and out is None:
            raise ValueError(f"translate: a .po file needs --out; got {file} without")
        if show_attention is not None and engine != "torch":
            raise ValueError(f"translate: --show-attention needs --engine torch; got {engine}")
        translator = _translator(folder, engine, batch_size, threads)
        catalogue = file is not None and file.suffix == ".po"
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
    if file is not None and out is not None and catalogue:
        _translate_catalogue(translator, decoding, file, out)
        return
    form = _json_line if as_json else partial(_plain_lines, scored=scores or n_best > 1)
    shown = not quiet and sys.stderr.isatty() and (out is not None or not sys.stdout.isatty())
    on_terminal = out is None and sys.stdout.isatty()
    stats = LineStats(file.stat().st_size if file is not None else None, shown=shown)
    with (
        exit_on_failure(),
        opened(file, "rb", sys.stdin) as source,
        opened(out, "wb", sys.stdout) as target,
    ):
        for number, lines in windows(source, stats):
            count_special(translator, lines, stats)
            if show_attention is not None and number == 1:
                _show_attention(translator, lines, show_attention)
            translations = translator.hypotheses(lines, decoding)
            for line, hypotheses in enumerate(translations, start=number):
                text = form(line, hypotheses)
                target.write((visible(text) if on_terminal else text).encode())
            target.flush()
            stats.progress()
    stats.end()


def _translator(folder: Path, engine: str, batch_size: int, threads: int) -> "Translator":
    from askew.models import Translator

    set_up_torch(threads)
    return Translator.from_pretrained(folder, batch_size=batch_size, engine=engine, threads=threads)


def _translate_catalogue(
    translator: "Translator", decoding: "DecodingConfig", file: Path, out: Path
) -> None:
    from askew.text import translate_po

    with exit_on_user_error():
        count = translate_po(
            file, lambda texts: translator.translate(texts, decoding=decoding), out
        )
    show(f"{count} messages filled in and marked fuzzy: {out}")


def _plain_lines(number: int, hypotheses: "list[Hypothesis]", *, scored: bool) -> str:
    lines = [(" ".join(text.splitlines()), score) for text, score in hypotheses]
    if not scored:
        return lines[0][0] + "\n"
    return "".join(f"{number}\t{score:.6g}\t{' '.join(t.split(chr(9)))}\n" for t, score in lines)


def _json_line(number: int, hypotheses: "list[Hypothesis]") -> str:
    rows = [hypothesis._asdict() for hypothesis in hypotheses]
    return json.dumps({"line": number, "hypotheses": rows}) + "\n"


def _show_attention(translator: "Translator", lines: list[str], path: Path) -> None:
    from askew.models import attention_map, write_attention_page

    chosen = [line for line in lines if len(translator.split_text(line)) == 1][:5]
    if chosen:
        write_attention_page([attention_map(translator, line) for line in chosen], path)
    else:
        tell("note: no line is short enough to show its attention")
