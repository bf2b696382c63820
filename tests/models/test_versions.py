"""A file of a version that this release does not know is refused by name."""

import json

import pytest
from full_disk import no_room_beyond
from saved_model import saved

from askew.export import export_ctranslate2
from askew.models import CTranslate2Engine, load_translation_model, write_checksums


def of_another_version(path):
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values["version"] == 1
    path.write_text(json.dumps(values | {"version": 2}), encoding="utf-8")


def test_checksums(tmp_path):
    saved(tmp_path)
    write_checksums(tmp_path)
    load_translation_model(tmp_path)
    of_another_version(tmp_path / "checksums.json")
    with pytest.raises(ValueError, match=r"load_translation_model: checksums .* got version 2"):
        load_translation_model(tmp_path)


def test_checksums_are_replaced_whole_or_not_at_all(tmp_path):
    saved(tmp_path)
    write_checksums(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with no_room_beyond(64), pytest.raises(OSError, match="File too large"):
        write_checksums(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
    load_translation_model(tmp_path)


def test_an_export(tmp_path):
    pytest.importorskip("ctranslate2")
    saved(tmp_path)
    folder = export_ctranslate2(tmp_path)
    CTranslate2Engine(folder)
    of_another_version(folder / "askew.json")
    with pytest.raises(ValueError, match=r"CTranslate2Engine: .* got version 2 .*Export again"):
        CTranslate2Engine(folder)
