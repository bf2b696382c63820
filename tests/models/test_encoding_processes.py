"""Several processes that encode: the same index, no work lost, no process left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_answerer import answerer
from small_encoder import save_encoder

from askew.models import ContextIndex, PassageEncoder, _context_encoding
from askew.text import Context

WORDS = ["anna", "ben", "lives", "in", "rome", "oslo", "the", "red", "house", "tree"]
DOCUMENTS = [
    Context(f"{number}", " ".join(WORDS[(number * k + k) % 10] for k in range(40 + number)))
    for number in range(60)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(_context_encoding, "_GROUP_CHARACTERS", 1000)
    monkeypatch.setattr(_context_encoding, "_JOB_CHARACTERS", 1)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_index_of_two_processes_is_that_of_one(folder, tmp_path, small_groups, monkeypatch):
    encoder = PassageEncoder.from_pretrained(folder)
    done = []
    encoder.encode(DOCUMENTS, folder=tmp_path / "one")
    monkeypatch.setattr(encoder._contexts, "encode", None)  # so that this process cannot
    made = encoder.encode(
        DOCUMENTS, folder=tmp_path / "two", jobs=2, progress=lambda *one: done.append(one)
    )
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert len(files(tmp_path / "two")) > 9
    assert made.contexts == DOCUMENTS
    total = sum(len(one.text) for one in DOCUMENTS)
    assert done == sorted(done)
    assert done[-1] == (total, total)
    with pytest.raises(TypeError):
        encoder.encode(DOCUMENTS)


SCRIPT = """
import sys
from askew.models import PassageEncoder, _context_encoding
from test_encoding_processes import DOCUMENTS
if __name__ == "__main__":
    _context_encoding._GROUP_CHARACTERS, _context_encoding._JOB_CHARACTERS = 1000, 1
    encoder = PassageEncoder.from_pretrained(sys.argv[1])
    encoder.encode(DOCUMENTS, folder=sys.argv[2], jobs=2, progress=WAIT)
"""
WAIT = "lambda done, _: (print(done, flush=True), __import__('time').sleep(done > 5000 and 600))"


def children(pid):
    return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_finished_and_leaves_no_process(
    folder, tmp_path, small_groups
):
    encoder = PassageEncoder.from_pretrained(folder)
    encoder.encode(DOCUMENTS, folder=tmp_path / "whole")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("WAIT", WAIT))
    killed = tmp_path / "killed"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder), str(killed)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if int(line) > 5000:
            break
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    process.stdout.close()
    index = ContextIndex.load(killed)
    kept = len(index.contexts)
    assert DOCUMENTS[:kept] == index.contexts
    assert 5 < kept < len(DOCUMENTS)
    before = files(killed)
    assert encoder.append(index, DOCUMENTS) == kept
    after = files(killed)
    assert after == files(tmp_path / "whole")
    states = [name for name in before if name in after and name.endswith("safetensors")]
    assert [before[name] == after[name] for name in states].count(True) >= 2
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{one}/cmdline").exists() for one in workers):
        assert time.monotonic() < deadline, "a process was left"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_process_that_is_killed_is_said_and_what_is_finished_is_kept(
    folder, tmp_path, small_groups
):
    encoder = PassageEncoder.from_pretrained(folder)

    killed = []

    def kill(done, _):
        if done > 2000 and not killed:
            killed.extend(children(os.getpid()) - before)
            for pid in killed:
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    before = children(os.getpid())
    many = [Context(f"{one.title} {number}", one.text) for number in range(2) for one in DOCUMENTS]
    with pytest.raises(RuntimeError, match=r"PassageEncoder: every process .* got one of 2 that"):
        encoder.encode(many, folder=tmp_path, jobs=2, progress=kill)
    assert 5 < len(ContextIndex.load(tmp_path).contexts) < len(many)


def test_jobs_that_do_not_fit_are_refused_before_any_work(folder, tmp_path):
    encoder = PassageEncoder.from_pretrained(folder)
    with pytest.raises(ValueError, match="PassageEncoder: jobs must be at least 1; got jobs 0"):
        encoder.encode(DOCUMENTS, folder=tmp_path / "index", jobs=0)
    assert not (tmp_path / "index").exists()
    loose = PassageEncoder(encoder.encoder, encoder.tokenizer, fingerprint="0" * 64)
    with pytest.raises(ValueError, match="must load the encoder from its folder; got jobs 2"):
        loose.encode(DOCUMENTS, jobs=2)
    with pytest.raises(ValueError, match="must load the encoder from its folder; got jobs 2"):
        answerer().encode(DOCUMENTS, jobs=2)
    reader = answerer()
    reader.model.to("meta")
    with pytest.raises(ValueError, match=r"processes encode on the CPU; got jobs 2 and .* meta"):
        reader.encode(DOCUMENTS, jobs=2)


def test_states_in_int8_are_within_half_a_step_of_their_scale(folder):
    encoder = PassageEncoder.from_pretrained(folder)
    exact, small = (encoder.encode(DOCUMENTS, dtype=name) for name in ("float32", "int8"))
    half = encoder.encode(DOCUMENTS)
    windows = torch.arange(exact.num_windows)
    expected, found = exact.gather(windows).states, small.gather(windows).states
    step = expected.abs().amax(-1, keepdim=True) / 127
    assert found.shape == expected.shape
    assert ((found - expected).abs() <= step / 2 * (1 + 1e-4)).all()
    assert (found != expected).any()
    assert small.num_bytes * 12 * 4 == exact.num_bytes * (12 + 4)  # with the scale of each
    assert half.num_bytes * 2 == exact.num_bytes
    assert torch.equal(small.vectors, exact.vectors)
