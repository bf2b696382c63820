"""One training, into a folder that is complete or can be resumed, and never mixed up."""

import json
import shutil
import threading
from dataclasses import replace

import pytest
import torch

from askew._folders import one_writer
from askew.models import AsymmetricTranslationModel, Translator
from askew.tasks import _train, is_first_process, prepare_training, train_into, translation_task
from askew.text import ParallelText, SplitText
from askew.tradeoffs import Budget
from askew.training import TrainingConfig
from askew.transformer import EncoderDecoderConfig, StackConfig

PAIRS = ParallelText([f"number {i}" for i in range(30)], [f"número {i}" for i in range(30)])
TEST = ParallelText(PAIRS.sources[:4], PAIRS.targets[:4])
TASK = translation_task(
    "numbers",
    SplitText(PAIRS, TEST, TEST),
    vocab_size=265,
    training=TrainingConfig(steps=1, batch_tokens=48, lr=1e-2, checkpoints=4),
)
SIDE = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=12)
CONFIG = EncoderDecoderConfig(source_vocab=265, target_vocab=265, encoder=SIDE, decoder=SIDE)
CALL = {"budget": Budget(steps=60), "seed": 3, "threads": 1}


class CrashError(Exception):
    """What a killed process looks like from within."""


def train(out, *, progress=lambda step, steps: None, **changes):
    call = CALL | changes
    identity = prepare_training(TASK, CONFIG, out=out, **call)
    return train_into(TASK, CONFIG, identity, out=out, progress=progress, **call)


def never(step, steps):
    raise AssertionError("nothing is left to train")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "new" / "folder"
    return train(out), out


def test_folder_translates_and_its_scores_are_those_of_its_translations(trained):
    scores, out = trained
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "checksums.json",
        "config.json",
        "curve.json",
        "generation_config.json",
        "model.safetensors",
        "scores.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    ]
    translations = Translator.from_pretrained(out).translate(TEST.sources)
    assert scores == {name: score.value for name, score in TASK.score(translations).items()}
    stored = json.loads((out / "scores.json").read_text("utf-8"))
    assert stored == {
        "version": 1,
        "scores": scores,
        "baselines": TASK.baselines(),
        "signatures": TASK.signatures(),
    }


def test_folder_tells_with_which_settings_it_was_trained(trained):
    stored = json.loads((trained[1] / "training.json").read_text("utf-8"))
    assert stored["steps"] == 60
    assert stored["seed"] == 3
    assert stored["budget"] == {"steps": 60, "minutes": None}
    assert stored["model"]["encoder"]["d_ff"] == 12
    assert stored["data"] == json.loads(json.dumps(TASK.describe()))


def test_asked_again_gives_the_stored_scores_without_training(trained):
    scores, out = trained
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert train(out, progress=never) == scores
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_trains_as_the_task_does_with_the_seed_and_the_steps_given(trained, tmp_path):
    model, told = TASK.build(CONFIG, 3), []
    TASK.train(model, steps=60, seed=3, folder=tmp_path, progress=lambda *call: told.append(call))
    state = AsymmetricTranslationModel.from_pretrained(trained[1]).state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())
    assert told == [(step, 60) for step in range(1, 61)]


def test_goes_on_after_a_crash_to_the_same_model(trained, tmp_path):
    def crash(step, steps):
        if step == 50:
            raise CrashError

    with pytest.raises(CrashError):
        train(tmp_path, progress=crash)
    steps = []
    assert train(tmp_path, progress=lambda step, _: steps.append(step)) == trained[0]
    assert steps == list(range(41, 61))
    one, other = (folder / "model.safetensors" for folder in (trained[1], tmp_path))
    assert one.read_bytes() == other.read_bytes()
    assert not (tmp_path / "checkpoints").exists()


def test_minutes_are_turned_into_steps_once(monkeypatch, tmp_path):
    calls = []

    def calibrate(task, arms, **settings):
        calls.append((task, [arm.config for arm in arms], settings))
        return {arms[0].name: 4}

    monkeypatch.setattr(_train, "calibrate", calibrate)

    def crash(step, steps):
        assert steps == 4
        raise CrashError

    for _ in range(2):
        with pytest.raises(CrashError):
            train(tmp_path, budget=Budget(minutes=0.5), threads=2, progress=crash)
    assert calls == [
        (TASK, [CONFIG], {"minutes": 0.5, "jobs": 1, "threads": 2, "folder": tmp_path / "work"})
    ]
    assert json.loads((tmp_path / "training.json").read_text("utf-8"))["steps"] == 4


def test_preparing_leaves_no_trace(tmp_path):
    identity = prepare_training(TASK, CONFIG, out=tmp_path / "new", **CALL)
    assert not list(tmp_path.iterdir())
    assert identity == json.loads(json.dumps(identity))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 4}, "seed"),
        ({"threads": 2}, "threads"),
        ({"budget": Budget(steps=13)}, "budget"),
        ({"budget": Budget(steps=13), "seed": 4}, "budget and seed"),
    ],
)
def test_refuses_a_folder_of_other_settings(trained, changes, named):
    message = rf"train: the folder must be .* got out {trained[1]} with other {named}\. Choose"
    with pytest.raises(ValueError, match=message):
        train(trained[1], progress=never, **changes)


def test_refuses_a_folder_of_another_model_or_other_data(trained):
    wider = replace(CONFIG, decoder=replace(SIDE, d_ff=16))
    with pytest.raises(ValueError, match=rf"got out {trained[1]} with other model\. Choose"):
        prepare_training(TASK, wider, out=trained[1], **CALL)
    text = TASK.text._replace(test=ParallelText(["a"], ["b"]))
    with pytest.raises(
        ValueError, match=rf"{trained[1]} with other data \(test, fingerprint\)\. Ch"
    ):
        prepare_training(replace(TASK, text=text), CONFIG, out=trained[1], **CALL)


def test_refuses_a_folder_with_other_things_and_a_file_in_its_place(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(
        ValueError, match=rf"new, empty or of an unfinished run; got out {tmp_path}"
    ):
        prepare_training(TASK, CONFIG, out=tmp_path, **CALL)
    with pytest.raises(ValueError, match=rf"got .*{tmp_path}/thesis.txt"):
        prepare_training(TASK, CONFIG, out=tmp_path / "thesis.txt", **CALL)
    with pytest.raises(
        ValueError, match=rf"must be writable; got {tmp_path}/thesis.txt/out: Not a"
    ):
        prepare_training(TASK, CONFIG, out=tmp_path / "thesis.txt" / "out", **CALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_process_in_the_folder_is_refused_before_training(trained, tmp_path):
    held, ended = threading.Event(), threading.Event()

    def hold():
        with one_writer(tmp_path, caller="other"):
            held.set()
            ended.wait(60)

    other = threading.Thread(target=hold)  # whose lock is another one, as that of a process
    other.start()
    held.wait(60)
    try:
        with pytest.raises(RuntimeError, match=r"train: another process is at work in .* Wait"):
            train(tmp_path, progress=never)
    finally:
        ended.set()
        other.join()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_training_left_is_taken_up_or_cleared(trained, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(trained[1], out)
    files = sorted(path.name for path in out.iterdir())
    (out / "checkpoints" / "checkpoint-60").mkdir(parents=True)  # killed while they were cleared
    (out / ".scores.json.partial").write_text("{")
    assert train(out, progress=never) == trained[0]
    assert sorted(path.name for path in out.iterdir()) == files
    begun = tmp_path / "begun"
    (begun / "work" / "tmp1").mkdir(parents=True)
    (begun / ".lock").touch()
    (begun / ".training.json.partial").write_text("{")
    assert train(begun) == trained[0]
    assert sorted(path.name for path in begun.iterdir()) == files
    (out / "scores.json").write_text('{"version": 2}')
    with pytest.raises(ValueError, match="must be of version 1; got version 2"):
        prepare_training(TASK, CONFIG, out=out, **CALL)


def test_several_processes_need_steps_and_the_first_alone_speaks(tmp_path, monkeypatch):
    assert is_first_process()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not is_first_process()
    call = CALL | {"budget": Budget(minutes=1)}
    with pytest.raises(ValueError, match=r"need a number of steps; got minutes 1.*2 processes\. G"):
        prepare_training(TASK, CONFIG, out=tmp_path, **call)


def test_it_trains_with_the_threads_that_are_named_and_restores_what_was(tmp_path):
    seen = []
    torch.set_num_threads(3)
    try:
        told = {"progress": lambda *_: seen.append(torch.get_num_threads())}
        train(tmp_path, budget=Budget(steps=2), threads=2, **told)
        translator = Translator.from_pretrained(tmp_path, threads=2)
        translator.engine.decode = lambda *_: seen.append(torch.get_num_threads()) or []
        with pytest.raises(ValueError, match="zip"):  # nothing is decoded
            translator.translate(["number 1"])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert set(seen) == {2}
