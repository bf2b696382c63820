"""The commands of translation, as typed: any bytes in, one line out, clear refusals."""

import gzip
import io
import json
import os
import random
import re
import resource
import subprocess
import sys

import pytest
from saved_model import saved
from typer.testing import CliRunner

from askew.cli import app
from askew.cli._streams import LineStats, windows
from askew.export import prepare_engine
from askew.models import Hypothesis


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def piped(*arguments, data=b""):
    """In a process of its own, with bytes on its standard input."""
    command = [sys.executable, "-m", "askew", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    saved(path)
    prepare_engine(path)  # once, and not in a process that a test starts
    return path


def hostile_lines(count, seed=0, huge=0):
    """Random bytes, control characters, both directions of writing, marks, and long lines."""
    rng = random.Random(seed)
    alphabets = [
        [chr(c) for c in range(32) if c != 10],
        list("שלום عليكم\u202e\u200f abc"),
        list("e\u0301\u0300😀👩\u200d👩\ufe0f\u2028\u2029\x85\x0b\x0c\x1c"),
        list("three trees see bees, 12 %s {name} ``x``"),
    ]
    lines = [b"", b" \t ", b"\xff\xfe\x00", b"\r", b"</s><s><pad>"]
    while len(lines) < count - huge:
        length = rng.randrange(40)
        if rng.random() < 0.2:
            lines.append(bytes(rng.choices([b for b in range(256) if b != 10], k=length)))
        else:
            lines.append("".join(rng.choices(rng.choice(alphabets), k=length)).encode())
    lines += [b"x" * 100_000, b"\xf0\x9f\x98\x80" * 25_000, b"word " * 20_000][:huge]
    rng.shuffle(lines)
    return lines


def test_one_line_out_for_every_line_in_whatever_is_in_it(folder):
    lines = hostile_lines(100)
    result = piped("translate", folder, data=b"\n".join(lines) + b"\n")
    assert result.returncode == 0, result.stderr
    answers = result.stdout.decode().split("\n")
    assert len(answers) == len(lines) + 1
    assert answers[-1] == ""
    for line, answer in zip(lines, answers, strict=False):
        assert len(answer.splitlines()) <= 1
        if not line.decode("utf-8", "replace").strip():
            assert answer == ""
    printed = result.stderr.decode()
    assert "of 100 lines" in printed
    assert "empty" in printed
    assert "not UTF-8" in printed


def test_lines_of_pairs_are_told_to_be_translated_whole(folder, tmp_path):
    (tmp_path / "pairs.tsv").write_text("three trees\ttrês árvores\nthree\n\tbees\n")
    translated = CliRunner().invoke(app, ["translate", str(folder), str(tmp_path / "pairs.tsv")])
    assert translated.exit_code == 0
    assert translated.stdout.count("\n") == 3
    assert "of 3 lines: 1 with a tab, translated whole" in translated.stderr


@pytest.mark.slow
def test_ten_thousand_hostile_and_huge_lines_within_bounded_memory(folder):
    lines = hostile_lines(10_000, seed=1, huge=3)
    result = piped("translate", folder, data=b"\n".join(lines))
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(b"\n") == 10_000
    assert "translated in pieces" in result.stderr.decode()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"peak {peak:.2f} GiB")
    assert peak < 2.5


def test_a_byte_order_mark_is_no_text_and_utf16_is_named(folder, tmp_path):
    plain = run("translate", folder, stdin=b"see bees\nthree\n").stdout
    assert run("translate", folder, stdin=b"\xef\xbb\xbfsee bees\r\nthree\r\n").stdout == plain
    lines, out = tmp_path / "lines.txt", tmp_path / "out.txt"
    lines.write_text("see bees\nthree\n", encoding="utf-16")
    out.write_text("before")
    for words, name in (([lines], lines), ([], "stdin")):
        stdin = lines.read_bytes() if name == "stdin" else None
        result = run("translate", folder, *words, "--out", out, stdin=stdin)
        assert result.exit_code == 2
        assert result.stderr.startswith(
            f"askew translate: text must be UTF-8; got UTF-16 in {name}"
        )
        assert result.stderr.count("\n") == 1
    assert out.read_text() == "before"


def test_a_pipe_is_translated_as_a_file(folder):
    plain = run("translate", folder, stdin=b"see bees\nthree\n").stdout
    reader, writer = os.pipe()
    os.write(writer, b"see bees\nthree\n")
    os.close(writer)
    result = run("translate", folder, f"/dev/fd/{reader}")
    os.close(reader)
    assert (result.exit_code, result.stdout) == (0, plain)


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_quietly(folder):
    command = f"{sys.executable} -m askew translate {folder} | head -1"
    data = b"three\n" * 1100
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], input=data, capture_output=True, timeout=300
    )
    assert result.returncode == 0
    assert result.stdout.count(b"\n") == 1
    assert result.stderr == b""


def test_n_best_lines_are_numbered_and_scored(folder):
    result = run("translate", folder, "--n-best", 3, stdin=b"three\nsee bees\n")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == ["1", "1", "1", "2", "2", "2"]
    scores = [float(row[1]) for row in rows]
    assert scores[:3] == sorted(scores[:3], reverse=True)
    assert all(len(row) == 3 for row in rows)


def test_samples_are_repeated_by_their_seed(folder):
    call = ("translate", folder, "--sample", "--top-k", 5, "--temperature", 1.5, "--seed")
    one, again, other = (
        run(*call, seed, stdin=b"three trees see\n" * 3).stdout for seed in (1, 1, 2)
    )
    assert one == again != other


@pytest.mark.parametrize("name", ["a.po", "A.PO", "a.pot"])
def test_a_catalogue_is_filled_in(folder, tmp_path, name):
    source, out = tmp_path / name, tmp_path / "b.po"
    source.write_text('msgid ""\nmsgstr ""\n\nmsgid "three trees"\nmsgstr ""\n')
    assert "needs --out" in run("translate", folder, source).stderr
    result = run("translate", folder, source, "--out", out)
    assert result.exit_code == 0, result.output
    assert "1 messages filled in" in result.stdout
    assert "#, fuzzy" in out.read_text()


def test_shows_where_it_looked(folder, tmp_path):
    page = tmp_path / "page.html"
    result = run("translate", folder, "--show-attention", page, stdin=b"three trees\n\nsee\n")
    assert result.stdout.count("\n") == 3
    assert "three" in page.read_text(encoding="utf-8")


def test_what_is_too_long_to_be_shown_is_translated_all_the_same(folder, tmp_path):
    page, data = tmp_path / "page.html", b"see bees. " * 90 + b"\nthree trees\n"
    result = run("translate", folder, "--show-attention", page, stdin=data)
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 2
    assert page.read_text(encoding="utf-8").count('"columns":') == 1
    assert "of 2 lines: 1 too long, translated in pieces" in result.stderr
    result = run("translate", folder, "--show-attention", page, stdin=b"\n")
    assert result.exit_code == 0
    assert result.stdout == "\n"
    assert "no line is short enough" in result.stderr


def test_scores_and_json_say_what_plain_lines_say(folder):
    data = b"three\n\nsee bees\n"
    plain = run("translate", folder, stdin=data).stdout.split("\n")[:-1]
    scored = run("translate", folder, "--scores", stdin=data).stdout.split("\n")[:-1]
    assert [line.split("\t")[::2] for line in scored] == [
        [str(number), " ".join(text.split("\t"))] for number, text in enumerate(plain, start=1)
    ]
    result = run("translate", folder, "--json", "--beams", 2, "--n-best", 2, stdin=data).stdout
    rows = [json.loads(line) for line in result.splitlines()]
    best = run("translate", folder, "--beams", 2, stdin=data).stdout.split("\n")[:-1]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert [" ".join(row["hypotheses"][0]["text"].splitlines()) for row in rows] == best
    assert all(len(row["hypotheses"]) == 2 for row in rows)


def test_a_translation_with_line_ends_and_tabs_is_one_line_and_one_field(folder, monkeypatch):
    result = [[Hypothesis("a\tb\u2028c\r\nd", -1.0)]]
    monkeypatch.setattr("askew.models.Translator.hypotheses", lambda *_: result)
    assert run("translate", folder, stdin=b"x\n").stdout == "a\tb c d\n"
    assert run("translate", folder, "--scores", stdin=b"x\n").stdout == "1\t-1\ta b c d\n"


def test_an_output_that_cannot_be_written_is_refused_and_the_input_is_not_overwritten(
    folder, tmp_path
):
    lines, pairs = tmp_path / "lines.txt", tmp_path / "pairs.tsv"
    lines.write_text("three\n")
    pairs.write_text("three\ttrês\n", encoding="utf-8")
    gone = tmp_path / "gone" / "out.txt"
    result = run("translate", folder, lines, "--out", lines)
    assert result.exit_code == 2
    assert "another file than the input" in result.stderr
    assert lines.read_text() == "three\n"
    for call in (
        ("translate", folder, lines, "--out", gone),
        ("translate", folder, lines, "--out", tmp_path),
        ("translate", folder, lines, "--show-attention", gone),
        ("evaluate", folder, "--data", pairs, "--out", gone),
    ):
        result = run(*call)
        assert result.exit_code == 2, call
        assert "must be writable; got" in result.stderr, call
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("no memory"), 1, "no memory"),
        (OSError(28, "No space left"), 1, "No space left"),
    ],
)
def test_what_fails_on_the_way_is_one_line(folder, monkeypatch, error, code, printed):
    def failing(*_):
        raise error

    monkeypatch.setattr("askew.models.Translator.hypotheses", failing)
    result = run("translate", folder, stdin=b"three\n")
    assert result.exit_code == code
    assert printed in result.stderr
    assert result.stderr.count("\n") == 1


def test_progress_says_the_speed_and_the_time_left(capsys):
    stats = LineStats(size=300, shown=True)
    stats.started -= 10.0
    assert [first for first, _ in windows(io.BytesIO(b"a\n" * 50), stats)] == [1]
    stats.progress()
    printed = capsys.readouterr().err
    assert "50 lines, 5 lines/s, 20 s left" in printed
    hidden = LineStats(size=None, shown=False)
    starts = [(first, len(lines)) for first, lines in windows(io.BytesIO(b"a\n" * 2000), hidden)]
    assert starts == [(1, 1024), (1025, 976)]
    hidden.progress()
    assert hidden.lines == 2000
    assert capsys.readouterr().err == ""


def test_evaluates_on_pairs_of_ones_own(folder, tmp_path):
    pairs, out = tmp_path / "pairs.tsv", tmp_path / "out.txt"
    pairs.write_text("three %s\ttrês %s\nsee\tveem\n", encoding="utf-8")
    result = run("evaluate", folder, "--data", pairs, "--json", "--out", out)
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)
    assert set(results["scores"]) == {"bleu", "chrf", "exact_match"}
    assert results["placeholders"]["total"] == 1
    assert out.read_text(encoding="utf-8").count("\n") == 2
    stats = run("evaluate", folder, "--data", pairs).stdout
    assert "placeholders and markup kept: " in stats
    assert "tok:13a" in stats
    refused = run("evaluate", folder)
    assert refused.exit_code == 2
    assert "Give --data, or --test-source" in refused.stderr


def test_exports_and_translates_with_the_export_as_without(folder):
    pytest.importorskip("ctranslate2")
    assert "Run askew export" in run("translate", folder, "--engine", "ctranslate2").stderr
    assert run("export", folder, "--to", "ctranslate2").exit_code == 0
    data = b"three trees\n\nsee bees see\n"
    ours = run("translate", folder, stdin=data).stdout
    assert run("translate", folder, "--engine", "ctranslate2", stdin=data).stdout == ours
    other = run("export", folder, "--quantization", "int8")
    assert other.exit_code == 2
    assert "must be new, empty or an export for ctranslate2, int8; got" in other.stderr
    assert "with one for ctranslate2, float32. Choose another with --out, or remove" in other.stderr
    assert run("export", folder, "--to", "onnx", "--out", folder / "ctranslate2").exit_code == 2
    assert run("export", folder).exit_code == 0
    assert run("translate", folder, "--engine", "ctranslate2", stdin=data).stdout == ours


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "--to", "jax"], "--to must be ctranslate2 or onnx; got jax"),
        (["export", "--quantization", "int3"], "quantization must be one of"),
        (["export", "--to", "onnx", "--quantization", "int8"], "onnx is float32"),
        (["translate", "--engine", "jax"], "engine must be torch or ctranslate2; got 'jax'"),
        (["translate", "--n-best", "0"], "num_beams must be positive|num_hypotheses must be"),
        (["translate", "--sample", "--beams", "3"], "sampling needs one beam"),
        (["translate", "--top-p", "0"], "top_p must be in"),
        (["translate", "--top-p", "0.9"], "top_p needs sample; got top_p 0.9"),
        (["translate", "--seed", "3"], "seed needs sample; got seed 3"),
        (["translate", "--length-penalty", "nan"], "length_penalty must be in .*; got .* nan"),
        (["translate", "--beams", "2", "--length-penalty", "400"], "length_penalty must be in"),
        (["translate", "--length-penalty", "2"], "--length-penalty must be left out here"),
        (["translate", "--json", "--scores"], "--scores must be left out here"),
        (["translate", "--beams", "0"], "num_beams must be positive; got num_beams 0"),
        (
            ["translate", "--beams", "2", "--n-best", "5"],
            "num_hypotheses must be at most num_beams",
        ),
        (["translate", "a.po", "--out", "b.po", "--json"], "--json must be left out here"),
        (["translate", "a.po", "--out", "b.po", "--n-best", "2"], "--n-best must be left out here"),
        (["evaluate", "--data", "a.tsv", "--beams", "0"], "num_beams must be positive|'--beams'"),
        (["evaluate", "--data", "a.tsv", "--length-penalty", "2"], "length_penalty needs beams"),
        (["translate", "gone.txt"], "the file must exist; got gone.txt"),
    ],
)
def test_refuses_in_one_line(folder, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.po").write_text('msgid "three"\nmsgstr ""\n')
    (tmp_path / "a.tsv").write_text("three\ttrês\n", encoding="utf-8")
    command, *rest = arguments
    result = run(command, folder, *rest)
    assert result.exit_code == 2, result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert result.stderr.count("\n") == 1


def test_scores_are_chosen_and_their_signatures_shown(folder, tmp_path):
    (tmp_path / "a").write_text("three trees\nsee\n")
    (tmp_path / "b").write_text("那只猫坐在垫子上\n三\n", encoding="utf-8")
    call = ("evaluate", folder, "--test-source", tmp_path / "a", "--test-target", tmp_path / "b")
    scores = json.loads(run(*call, "--json", "--also", "chrf++").stdout)["scores"]
    assert list(scores) == ["bleu", "chrf", "exact_match", "chrf++"]
    assert "tok:zh" in scores["bleu"]["signature"]
    assert "nw:2" in scores["chrf++"]["signature"]
    result = run(*call, "--bleu-tokenizer", "char")
    assert "tok:char" in result.stdout
    for flags, message in (
        (["--bleu-tokenizer", "de"], "tokenizer must be one of 13a"),
        (["--also", "spbleu"], "the tokenizer flores200 needs"),
        (["--also", "comet"], "also must name chrf++ or spbleu; got also 'comet'"),
    ):
        result = run(*call, *flags)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert message in result.stderr


def test_packed_lines_are_read_and_written(folder, tmp_path):
    plain, packed, out = tmp_path / "a.txt", tmp_path / "A.GZ", tmp_path / "out.gz"
    plain.write_text("three trees\n\nsee bees\n")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    expected = run("translate", folder, plain).stdout
    assert run("translate", folder, packed).stdout == expected
    assert run("translate", folder, packed, "--out", out).exit_code == 0
    assert gzip.decompress(out.read_bytes()).decode() == expected
    for raw in (plain.read_bytes(), packed.read_bytes()[:-9]):
        packed.write_bytes(raw)
        result = run("translate", folder, packed)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert f"a .gz file must be whole gzip; got {packed} damaged" in result.stderr
    catalogue = tmp_path / "pt.po.gz"
    catalogue.write_bytes(gzip.compress(b'msgid "a"\nmsgstr ""\n'))
    result = run("translate", folder, catalogue, "--out", tmp_path / "b.po")
    assert (result.exit_code, "a catalogue must be unpacked" in result.stderr) == (2, True)


def test_xliff_is_filled_in(folder, tmp_path):
    source, out = tmp_path / "a.XLF", tmp_path / "b.xlf"
    source.write_text("<xliff><trans-unit><source>three trees</source></trans-unit></xliff>")
    assert "a .xlf file needs --out" in run("translate", folder, source).stderr
    result = run("translate", folder, source, "--out", out)
    assert result.exit_code == 0, result.output
    assert "1 messages filled in and marked for review" in result.stdout
    assert 'state="needs-review-translation"' in out.read_text(encoding="utf-8")
    memory = tmp_path / "a.tmx"
    memory.write_text("<tmx/>")
    result = run("translate", folder, memory, "--out", out)
    assert (result.exit_code, "must be .po or .xlf" in result.stderr) == (2, True)
