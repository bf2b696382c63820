"""The engine that serves a folder is the fastest one there is, and of its weights."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from saved_model import CONFIG, saved

from askew._files import file_sha256
from askew._folders import FolderInUseError
from askew.export import Prepared, _engine, export_ctranslate2, prepare_engine
from askew.models import Translator
from askew.text import ParallelText, save_tokenizers, train_tokenizers

pytest.importorskip("ctranslate2")


def weights_of(export):
    return json.loads((export / "askew.json").read_text("utf-8"))["fingerprint"]


def test_a_model_is_exported_once_and_again_when_it_has_changed(tmp_path):
    saved(tmp_path)
    prepared = prepare_engine(tmp_path)
    assert prepared == Prepared("ctranslate2", tmp_path / "engine", "")
    written = (tmp_path / "engine" / "model.bin").stat().st_mtime_ns
    assert prepare_engine(tmp_path) == prepared
    assert (tmp_path / "engine" / "model.bin").stat().st_mtime_ns == written
    saved(tmp_path, replace(CONFIG, tie_embeddings="none"))
    assert prepare_engine(tmp_path) == prepared
    assert weights_of(tmp_path / "engine") == file_sha256(tmp_path / "model.safetensors")


def test_it_translates_as_the_model_does(tmp_path):
    saved(tmp_path)
    texts = ["a b c", "", "c b a a b"]
    engine, folder, _ = prepare_engine(tmp_path)
    theirs = Translator.from_pretrained(folder, engine=engine).translate(texts)
    assert theirs == Translator.from_pretrained(tmp_path).translate(texts)


def test_a_command_that_an_export_serves_is_not_kept_waiting_by_pytorch(tmp_path):
    """Importing PyTorch and transformers takes ten times as long as translating a line."""
    saved(tmp_path)
    (tmp_path / "lines.txt").write_text("a b c\n")
    prepare_engine(tmp_path)
    program = (
        "import sys\n"
        "from askew.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(*{'torch', 'transformers'} & sys.modules.keys())\n"
    )
    words = ["translate", tmp_path, tmp_path / "lines.txt", "--scores"]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True
    )
    translated, loaded = done.stdout.split("\n")[:2]
    assert (translated.split("\t")[0], loaded) == ("1", ""), done.stderr


def test_an_export_of_the_users_own_is_taken_unless_it_is_quantized(tmp_path):
    saved(tmp_path)
    export_ctranslate2(tmp_path, quantization="int8")
    assert prepare_engine(tmp_path).folder == tmp_path / "engine"
    assert (
        json.loads((tmp_path / "ctranslate2" / "askew.json").read_text())["quantization"] == "int8"
    )
    export_ctranslate2(tmp_path)
    assert prepare_engine(tmp_path).folder == tmp_path / "ctranslate2"
    assert prepare_engine(tmp_path / "ctranslate2").folder == tmp_path / "ctranslate2"


@pytest.mark.parametrize("damage", [b"", None])
def test_a_damaged_export_is_written_again(tmp_path, damage):
    saved(tmp_path)
    model = prepare_engine(tmp_path).folder / "model.bin"
    whole = model.read_bytes()
    model.unlink() if damage is None else model.write_bytes(damage)
    prepare_engine(tmp_path)
    assert model.read_bytes() == whole


def test_pytorch_serves_what_the_engine_cannot_and_says_why(tmp_path, monkeypatch):
    saved(tmp_path, replace(CONFIG, encoder=replace(CONFIG.encoder, qk_norm=True)))
    engine, folder, reason = prepare_engine(tmp_path)
    assert (engine, folder) == ("torch", tmp_path)
    assert reason.startswith("CTranslate2 computes plain attention")
    assert not (tmp_path / "engine").exists()
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    assert prepare_engine(tmp_path).reason == "ctranslate2 is not installed"


def test_a_folder_that_another_process_holds_is_served_by_pytorch(tmp_path, monkeypatch):
    saved(tmp_path)

    def held(folder, *, caller):
        raise FolderInUseError

    monkeypatch.setattr(_engine, "one_writer", held)
    assert prepare_engine(tmp_path).reason == "another process is at work in the folder"


def test_other_tokenizers_are_exported_again(tmp_path):
    saved(tmp_path)
    export = prepare_engine(tmp_path).folder
    written = (export / "model.bin").stat().st_mtime_ns
    words = ParallelText(["seven towns have seas"] * 4, ["sete cidades têm mares"] * 4)
    save_tokenizers(train_tokenizers(words, vocab_size=280), tmp_path)
    assert prepare_engine(tmp_path).engine == "ctranslate2"
    assert (export / "model.bin").stat().st_mtime_ns > written


def test_another_config_is_exported_again_and_an_export_of_before_is_of_its_weights(tmp_path):
    saved(tmp_path)
    export = prepare_engine(tmp_path).folder
    mark = json.loads((export / "askew.json").read_text("utf-8"))
    del mark["made_of"]
    (export / "askew.json").write_text(json.dumps(mark))
    written = (export / "model.bin").stat().st_mtime_ns
    assert prepare_engine(tmp_path).folder == export
    assert (export / "model.bin").stat().st_mtime_ns == written
    saved(tmp_path, replace(CONFIG, tie_embeddings="none"))
    prepare_engine(tmp_path)
    written = (export / "model.bin").stat().st_mtime_ns
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert prepare_engine(tmp_path).folder == export
    assert (export / "model.bin").stat().st_mtime_ns > written
