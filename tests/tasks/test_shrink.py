"""A model is cut, taught and written as an ordinary folder, also after it was killed."""

import json
import wave

import numpy as np
import pytest
import torch
import transformers
from families import small_model
from saved_model import saved
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

from askew._files import write_json
from askew.models import Seq2Seq, Translator, load_seq2seq, load_translation_model
from askew.models._wav import read_wav
from askew.tasks import Shrinking, Shrunk, prepare_shrinking, shrink_folder
from askew.tasks._layers import Layer, LayerTable
from askew.tasks._limited import FixedAnswers, Limited
from askew.tasks._teacher_outputs import teacher_labels, worth_learning
from askew.text import ParallelText, SplitText
from askew.training import DistillationConfig
from askew.transformer import parameter_count

pytestmark = pytest.mark.usefixtures("few_rounds")

WORDS = ["three", "trees", "see", "bees"]
PAIRS = ParallelText(
    [f"{a} {b}" for a in WORDS for b in WORDS], [f"{b} {a}" for a in WORDS for b in WORDS]
)
TEXT = SplitText(PAIRS, PAIRS, ParallelText(PAIRS.sources[:5], PAIRS.targets[:5]))
CUT = {"encoder": [0, 2], "decoder": [1]}
TRAINING = DistillationConfig(steps=6, warmup_steps=1, evaluations=2, checkpoints=2)


@pytest.fixture
def model(tmp_path):
    saved(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_is_only_cut_without_data(model, tmp_path):
    shrunk = shrink_folder(model, tmp_path / "out", Shrinking(decoder_layers=1))
    assert isinstance(shrunk, Shrunk)
    assert shrunk.kept == {"encoder": [0, 1, 2], "decoder": [0]}
    assert shrunk.parameters[1] < shrunk.parameters[0]
    assert shrunk.scores == {}
    student = load_translation_model(tmp_path / "out")
    assert student.config.decoder_layers == 1
    assert len(Translator.from_pretrained(tmp_path / "out").translate(["three bees"])) == 1


def test_a_student_has_a_card_of_its_own_and_never_its_teachers(model, tmp_path):
    (model / "README.md").write_text("I have four layers and score 99.")
    shrink_folder(model, tmp_path / "out", Shrinking(decoder_layers=1))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "A student, cut from the model “model” by Askew." in card
    assert "99" not in card


def test_links_out_of_the_folder_are_followed_for_a_tokenizer_alone(model, tmp_path):
    other = tmp_path / "other"
    other.write_text("secret")
    for name in ("notes.txt", "vocab.txt"):
        (model / name).symlink_to(other)
    (model / "LICENSE").write_text("free")
    (model / "COPYING").symlink_to("LICENSE")
    (model / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    (model / "tokenizer.json").symlink_to(tmp_path / "tokenizer.json")
    shrink_folder(model, tmp_path / "out", Shrinking(decoder_layers=1))
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert not {"notes.txt", "vocab.txt"} & written.keys()
    assert b"secret" not in written.values()
    assert written["LICENSE"] == written["COPYING"] == b"free"
    assert len(Translator.from_pretrained(tmp_path / "out").translate(["three bees"])) == 1


def test_a_model_in_a_cache_of_links_is_copied_whole(model, tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0f"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (model / "LICENSE").write_text("free")
    for number, path in enumerate(sorted(model.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    shrink_folder(snapshot, tmp_path / "out", Shrinking(decoder_layers=1))
    assert (tmp_path / "out" / "LICENSE").read_text() == "free"
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    assert len(Translator.from_pretrained(tmp_path / "out").translate(["three bees"])) == 1


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param("reference", marks=pytest.mark.slow),
        pytest.param("teacher", marks=pytest.mark.slow),
        "both",
    ],
)
def test_a_student_is_taught_scored_and_read_again(model, tmp_path, targets):
    shrinking = Shrinking(
        decoder_layers=1, training=TRAINING, targets=targets, drop_worse=0.0, beams=2
    )
    stages = []
    if targets != "reference":  # what random weights write is not worth much
        monkey = pytest.MonkeyPatch()
        monkey.setattr("askew.tasks._teacher_outputs._is_plausible", lambda *_: True)
    shrunk = shrink_folder(model, tmp_path / "out", shrinking, TEXT, stage=stages.append)
    assert list(shrunk.scores) == ["teacher", "untaught", "student"]
    assert shrunk.latency_ratio > 0
    assert ("writing with the teacher" in stages) == (targets != "reference")
    before = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "work" not in before
    again = shrink_folder(model, tmp_path / "out", shrinking, TEXT, stage=pytest.fail)
    assert again == shrunk
    with pytest.raises(ValueError, match=r"shrink: .* with other decoder_layers"):
        shrink_folder(model, tmp_path / "out", shrinking._replace(decoder_layers=2), TEXT)
    if targets != "reference":
        monkey.undo()


def test_writing_and_timing_warn_of_no_second_limit(model, monkeypatch):
    reader = load_seq2seq(model)
    assert reader.model.generation_config.max_length is not None
    monkeypatch.setattr(transformers.generation.utils.logger, "warning", pytest.fail)
    rows = reader.read(["three bees"])
    assert reader.generate(rows)[0]
    assert FixedAnswers(reader, rows, tokens=3)(reader.model) == 1


def test_a_killed_run_ends_as_another(model, tmp_path):
    shrinking = Shrinking(decoder_layers=1, training=TRAINING)
    whole = shrink_folder(model, tmp_path / "whole", shrinking, TEXT)

    class Killed(BaseException):
        pass

    def kill(name):
        if name == "scoring the student":
            raise Killed

    with pytest.raises(Killed):
        shrink_folder(model, tmp_path / "out", shrinking, TEXT, stage=kill)
    again = shrink_folder(model, tmp_path / "out", shrinking, TEXT)
    assert again._replace(latency_ratio=0, train_seconds=0) == whole._replace(
        latency_ratio=0, train_seconds=0
    )
    one, other = (load_translation_model(tmp_path / name).state_dict() for name in ("out", "whole"))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.slow
def test_a_killed_run_under_a_limit_keeps_the_layers_that_were_chosen(model, tmp_path, monkeypatch):
    shrinking = Shrinking(training=TRAINING, latency_ms=1e6)
    chosen = Limited(LayerTable(1.0, 9.0, [Layer("decoder", 0, 2.0, 3.0)]), CUT, 6.0)
    monkeypatch.setattr("askew.tasks._shrink.limit_layers", lambda *_: chosen)
    whole = shrink_folder(model, tmp_path / "whole", shrinking, TEXT)
    assert (whole.kept, whole.layers, whole.latency_ms) == (CUT, chosen.table, 6.0)

    class Killed(BaseException):
        pass

    def kill(name):
        if name == "scoring the student":
            raise Killed

    with pytest.raises(Killed):
        shrink_folder(model, tmp_path / "out", shrinking, TEXT, stage=kill)
    monkeypatch.setattr("askew.tasks._shrink.limit_layers", pytest.fail)
    again = shrink_folder(model, tmp_path / "out", shrinking, TEXT)
    assert (again.kept, again.layers) == (whole.kept, whole.layers)
    assert shrink_folder(model, tmp_path / "out", shrinking, TEXT) == again
    one, other = (load_translation_model(tmp_path / name).state_dict() for name in ("out", "whole"))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_layers_are_measured_on_validation_data(model, tmp_path):
    shrunk = shrink_folder(
        model, tmp_path / "out", Shrinking(decoder_layers=1, keep="measured"), TEXT
    )
    assert [removal.layer for removal in shrunk.removals] == [0, 1]
    best = min(shrunk.removals, key=lambda removal: removal.loss)
    assert shrunk.kept["decoder"] == [1 - best.layer]


def test_widths_are_cut_by_what_training_data_show(model, tmp_path):
    widths = {"decoder_width": 10, "decoder_heads": 2, "encoder_ff": 30}
    stages = []
    shrunk = shrink_folder(
        model,
        tmp_path / "out",
        Shrinking(widths=widths, training=TRAINING),
        TEXT,
        stage=stages.append,
    )
    assert "measuring activations" in stages
    assert list(shrunk.scores) == ["teacher", "untaught", "student"]
    plain = load_translation_model(tmp_path / "out").config.to_plain()
    assert (plain.decoder.d_model, plain.decoder.num_heads, plain.encoder.d_ff) == (10, 2, 30)
    assert shrunk.parameters[1] == parameter_count(plain).total
    assert len(Translator.from_pretrained(tmp_path / "out").translate(["three bees"])) == 1
    with pytest.raises(ValueError, match=r"shrink: .* with other widths"):
        shrink_folder(model, tmp_path / "out", Shrinking(training=TRAINING), TEXT)
    folder = tmp_path / "earlier"  # as folders are that know no widths
    identity = prepare_shrinking(model, folder, Shrinking(), None)
    assert identity.pop("widths") is None
    folder.mkdir()
    write_json(folder / "shrink.json", identity)
    assert prepare_shrinking(model, folder, Shrinking(), None) == {**identity, "widths": None}


def test_what_the_teacher_writes_is_kept_and_torn_lines_are_written_again(model, tmp_path):
    reader = load_seq2seq(model)
    rows = reader.read(PAIRS.sources)
    store = tmp_path / "written.jsonl"
    settings = {"store": store, "beams": 1, "progress": lambda *_: None}
    whole = teacher_labels(reader, rows, **settings)
    lines = store.read_text().splitlines()
    store.write_text("\n".join(lines[:3]) + "\n[1, 2")
    calls = []
    settings["progress"] = lambda done, total: calls.append((done, total))
    again = teacher_labels(reader, rows, **settings)
    assert again == whole
    assert calls == [(len(rows), len(rows))]
    assert [json.loads(line) for line in store.read_text().splitlines()] == whole


def test_bad_outputs_of_a_teacher_are_left_out():
    good = "one two three four five"
    written = [good, "", "one", f"{good} {good} six", "a b c d x a b c d", "zzz zzz zzz zzz yyy"]
    references = [good, good, good, good, "a b c d x a b c e", good]
    assert worth_learning(written, references, 0.0) == [True, False, False, False, False, True]
    assert worth_learning(written, references, 0.34) == [True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("settings", "text", "words"),
    [
        ({"targets": "all"}, TEXT, "targets must be reference, teacher or both; got targets 'all'"),
        ({"drop_worse": 1.0}, TEXT, "drop_worse must be in"),
        ({"training": TRAINING}, None, "teaching needs data; got none. Give --data"),
        ({"decoder_layers": 1, "keep": "measured"}, None, 'keep "measured" needs data'),
        ({"widths": {"decoder_ff": 5}}, None, "cutting widths needs data.* got none. Give --data"),
        ({"widths": {"decoder_ff": 99}}, TEXT, r"decoder_ff must be in \[1, 28\]"),
    ],
)
def test_settings_that_do_not_fit_are_refused(model, tmp_path, settings, text, words):
    with pytest.raises(ValueError, match=f"shrink: {words}"):
        prepare_shrinking(model, tmp_path / "out", Shrinking(**settings), text)
    assert not (tmp_path / "out").exists()


# Models of transformers.


def word_tokenizer(folder, words):
    vocab = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def test_widths_of_transformers_are_refused_before_any_work(tmp_path):
    folder = tmp_path / "model"
    small_model("Bart").save_pretrained(folder)
    word_tokenizer(folder, WORDS)
    with pytest.raises(ValueError, match=r"^shrink: widths .* got BartFor.*from_transformers$"):
        prepare_shrinking(folder, tmp_path / "out", Shrinking(widths={"decoder_ff": 4}), TEXT)


@pytest.mark.parametrize(
    "name", ["T5", *(pytest.param(name, marks=pytest.mark.slow) for name in ("Marian", "Bart"))]
)
def test_a_student_of_transformers_is_read_by_transformers_alone(name, tmp_path):
    folder = tmp_path / "model"
    small_model(name).save_pretrained(folder)
    word_tokenizer(folder, WORDS)
    shrunk = shrink_folder(
        folder, tmp_path / "out", Shrinking(decoder_layers=1, training=TRAINING), TEXT
    )
    assert set(shrunk.scores) == {"teacher", "untaught", "student"}
    student = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    inputs = tokenizer(["three bees"], return_tensors="pt")
    assert student.generate(input_ids=inputs["input_ids"], max_new_tokens=3).shape[0] == 1


def record(path, seconds=0.1, rate=16_000, channels=1, width=2):
    samples = np.sin(np.arange(int(seconds * rate) * channels) / 20)
    stored = {1: (127 * samples + 128).astype(np.uint8), 2: (32767 * samples).astype("<i2")}[width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(stored.tobytes())


def test_a_student_that_hears(tmp_path):
    folder = tmp_path / "model"
    small_model("Whisper").save_pretrained(folder)
    word_tokenizer(folder, WORDS)
    WhisperFeatureExtractor(feature_size=8, chunk_length=1, hop_length=800).save_pretrained(folder)
    for number, settings in enumerate(
        ({}, {"rate": 8_000}, {"channels": 2}, {"width": 1}, {"seconds": 0.05})
    ):
        record(tmp_path / f"{number}.wav", **settings)
    paths = [str(tmp_path / f"{number % 5}.wav") for number in range(10)]
    pairs = ParallelText(paths, ["three bees", "see trees"] * 5)
    shrunk = shrink_folder(
        folder,
        tmp_path / "out",
        Shrinking(decoder_layers=2, training=TRAINING),
        SplitText(pairs, pairs, pairs),
    )
    assert all(list(scores) == ["word_error_rate"] for scores in shrunk.scores.values())
    student = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "out")
    assert student.config.decoder_layers == 2
    assert (tmp_path / "out" / "preprocessor_config.json").is_file()


def test_a_model_reads_and_writes_what_its_tokenizer_knows(tmp_path):
    folder = tmp_path / "model"
    small_model("T5").save_pretrained(folder)
    word_tokenizer(folder, WORDS)
    reader = load_seq2seq(folder)
    assert isinstance(reader, Seq2Seq)
    rows = reader.read(["three bees", "see"])
    assert [row["input_ids"].tolist() for row in rows] == [[4, 7], [6]]
    batch = reader.inputs(rows)
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert reader.write([[4, 7, 2], [6]]) == ["three bees", "see"]
    answers = reader.answer(rows)
    assert answers == [reader.answer([row])[0] for row in rows]


def test_a_recording_that_cannot_be_read_is_named(tmp_path):
    for name, content in (("none.wav", None), ("a.flac", b"fLaC"), ("torn.wav", b"RIFF\0\0\0\0WA")):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=f"read_wav: a recording must be .*; got .*{name}"):
            read_wav(path, 16_000)


def test_recordings_of_any_rate_and_width_are_alike(tmp_path):
    expected = np.sin(np.arange(1600) / 20)
    for settings, tolerance in (({}, 1e-4), ({"width": 1}, 0.02)):
        record(tmp_path / "a.wav", **settings)
        assert np.abs(read_wav(tmp_path / "a.wav", 16_000) - expected).max() < tolerance
    record(tmp_path / "a.wav", rate=8_000)
    sound = read_wav(tmp_path / "a.wav", 16_000)
    assert sound.shape == (1600,)
    assert np.abs(sound[100:1500:2] - np.sin(np.arange(800) / 20)[50:750]).max() < 0.01
