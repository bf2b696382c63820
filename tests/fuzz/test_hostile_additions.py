"""Files that were added to a folder, or changed, though no weight was."""

import json

import pytest
from saved_model import PAIRS, TOKENIZERS, saved
from small_answerer import TOKENIZER, answerer

from askew._files import file_sha256
from askew.export import export_ctranslate2
from askew.models import (
    CTranslate2Engine,
    DecodingConfig,
    Translator,
    load_qa_model,
    load_translation_model,
    write_checksums,
)
from askew.text import save_tokenizers, train_tokenizers

TEXTS = ["three trees", "bees see", "trees"]


@pytest.fixture
def folder(tmp_path):
    saved(tmp_path / "model")
    write_checksums(tmp_path / "model")
    return tmp_path / "model"


def translations(folder, **settings):
    return Translator.from_pretrained(folder, **settings).hypotheses(TEXTS, DecodingConfig())


def add_target_tokenizer(folder):
    other = train_tokenizers(PAIRS, vocab_size=275, separate=True).target
    (folder / "target_tokenizer.json").write_text(other.to_str())


def set_generation(folder):
    values = {
        **{"num_beams": 4, "repetition_penalty": 9.0, "no_repeat_ngram_size": 1},
        **{"min_new_tokens": 9, "bad_words_ids": [[5]], "forced_eos_token_id": 7},
    }
    (folder / "generation_config.json").write_text(json.dumps(values))


def test_an_added_tokenizer_is_refused(folder):
    add_target_tokenizer(folder)
    with pytest.raises(ValueError, match=r"read must be one that .* got \['target_tokenizer.json'"):
        load_translation_model(folder)


def test_a_tokenizer_of_its_own_is_listed(tmp_path):
    both = train_tokenizers(PAIRS, vocab_size=275, separate=True)
    saved(tmp_path, tokenizers=both)
    write_checksums(tmp_path)
    assert (
        "target_tokenizer.json" in json.loads((tmp_path / "checksums.json").read_text())["sha256"]
    )
    load_translation_model(tmp_path)


def test_the_settings_of_generate_are_listed_and_change_no_translation(folder):
    expected = translations(folder)
    set_generation(folder)
    with pytest.raises(ValueError, match=r"as it was written; got .*generation_config.json"):
        load_translation_model(folder)
    for listed in (False, True):  # as the version before wrote the list, and without any
        sums = json.loads((folder / "checksums.json").read_text())
        sums["sha256"].pop("generation_config.json", None)
        (folder / "checksums.json").write_text(json.dumps(sums))
        if listed:
            (folder / "checksums.json").unlink()
        assert translations(folder) == expected


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "a/b"])
def test_sums_are_of_files_in_the_folder(name, folder):
    (folder.parent / "outside.json").write_text("{}")
    sums = json.loads((folder / "checksums.json").read_text())
    sums["sha256"][name] = file_sha256(folder.parent / "outside.json")
    (folder / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(ValueError, match="checksums must be of files in the folder; got "):
        load_translation_model(folder)


def test_a_file_that_is_read_is_listed(folder):
    sums = json.loads((folder / "checksums.json").read_text())
    del sums["sha256"]["config.json"]
    (folder / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(ValueError, match=r"got \['config.json'\] in .*, not in checksums.json"):
        load_translation_model(folder)


def test_what_a_model_of_questions_does_not_read_may_lie_there(tmp_path):
    answerer().model.save_pretrained(tmp_path)
    for name in ("tokenizer", "question_tokenizer"):
        TOKENIZER.save(str(tmp_path / f"{name}.json"))
    write_checksums(tmp_path)
    add_target_tokenizer(tmp_path)
    load_qa_model(tmp_path)


def changed(path):
    path.write_bytes(path.read_bytes().replace(b'"', b'"', 1) + b"\n")


FILES = ["config.json", "shared_vocabulary.json", "tokenizer.json", "askew.json"]


def test_every_file_of_an_export_is_listed(folder):
    out = export_ctranslate2(folder)
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    assert json.loads(kept["askew.json"])["files"].keys() == kept.keys() - {"askew.json"}
    for name in kept.keys() - {"askew.json"}:
        changed(out / name)
        with pytest.raises(ValueError, match=rf"must be as it was written; got .*{name} altered"):
            CTranslate2Engine(out)
        (out / name).write_bytes(kept[name])
    for name in ("target_tokenizer.json", "source_vocabulary.json", "vmap.txt"):
        (out / name).write_bytes(kept["tokenizer.json"])
        with pytest.raises(ValueError, match=rf"must be as it was written; got .*{name} altered"):
            CTranslate2Engine(out)
        (out / name).unlink()
    values = json.loads(kept["askew.json"])
    values["files"]["../config.json"] = "0" * 64
    (out / "askew.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"must be as it was written; got .*config.json altered"):
        CTranslate2Engine(out)
    del values["files"]  # as the version before wrote it
    (out / "askew.json").write_text(json.dumps(values))
    assert len(translations(folder, engine="ctranslate2")) == len(TEXTS)
    assert TOKENIZERS.source is TOKENIZERS.target
    save_tokenizers(TOKENIZERS, out)
