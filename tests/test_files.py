import json
import math
import os
import subprocess
import sys
import threading

import pytest
from full_disk import no_room_beyond

from askew._files import parse_json, read_json, replacing, to_json, write_json, write_text
from askew._folders import (
    FolderInUseError,
    check_output,
    check_resumable,
    check_writable,
    clear_work,
    one_writer,
)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"version": 1, "word": "é"})
    with pytest.raises(TypeError):
        write_json(path, {"version": object()})
    assert read_json(path) == {"version": 1, "word": "é"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_without_room_on_the_disk_the_old_file_stays(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"version": 1})
    with no_room_beyond(64), pytest.raises(OSError, match="File too large"):
        write_json(path, {"version": 1, "word": "é" * 64})
    with pytest.raises(KeyError), replacing(path) as partial:
        raise KeyError(partial.write_text("half"))
    assert read_json(path) == {"version": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["[" * 100_000, '"\\ud800"', "{"])
def test_json_that_could_not_be_written_again_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)


def test_every_json_is_one(tmp_path):
    values = {"a": [math.nan, (1.5, -math.inf)], "b": {"c": math.inf}, "d": "é", "e": None, "f": 3}
    plain = {"a": [None, [1.5, None]], "b": {"c": None}, "d": "é", "e": None, "f": 3}
    write_json(tmp_path / "a.json", values)
    texts = [(tmp_path / "a.json").read_text(encoding="utf-8"), to_json(values, indent=None)]
    for text in texts:
        assert json.loads(text, parse_constant=pytest.fail) == plain
    assert (texts[1].count("\n"), to_json("é", ascii_only=True)) == (0, '"\\u00e9"')


def test_what_is_no_json_object_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"version"')
    with pytest.raises(ValueError, match=r"read_json: the file must be JSON; got .*a\.json"):
        read_json(path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match=r"the file must hold an object; got .*a\.json"):
        read_json(path)


def test_a_folder_is_new_empty_or_of_the_same_run(tmp_path):
    identity = {"version": 1, "seed": 3}
    check_resumable(tmp_path / "new" / "deep", "run.json", identity, caller="train")
    check_resumable(tmp_path, "run.json", identity, caller="train")
    assert list(tmp_path.iterdir()) == []

    write_json(tmp_path / "run.json", identity | {"steps": 7})
    check_resumable(tmp_path, "run.json", identity, caller="train")
    with pytest.raises(ValueError, match=r"train: .*with other seed\. Choose another with --out"):
        check_resumable(tmp_path, "run.json", identity | {"seed": 4}, caller="train")
    write_json(tmp_path / "run.json", identity | {"version": 2})
    with pytest.raises(
        ValueError, match=r"must be of version 1; got version 2 in .*run\.json\. Re"
    ):
        check_resumable(tmp_path, "run.json", identity, caller="train")
    with pytest.raises(ValueError, match="train: the folder must be new, empty or of an unfinish"):
        check_resumable(tmp_path, "other.json", identity, caller="train")


@pytest.mark.parametrize(
    ("stored", "given", "goes_on"),
    [
        ({"name": "a", "fingerprint": "1"}, {"name": "b", "fingerprint": "1"}, True),
        ({"name": "a", "fingerprint": "1"}, {"name": "a", "fingerprint": "2"}, False),
        ({"name": "a"}, {"name": "b"}, False),
        ({"name": "a", "fingerprint": [None, "1"]}, {"name": "b", "fingerprint": [None]}, False),
        ({"pretrained": ["x"]}, {"pretrained": ["x"], "pretrained_sha256": ["1"]}, True),
        ({"pretrained": ["x"]}, {"pretrained": ["y"], "pretrained_sha256": ["1"]}, False),
        (
            {"pretrained": ["x"], "pretrained_sha256": ["1"]},
            {"pretrained": ["y"], "pretrained_sha256": ["1"]},
            True,
        ),
    ],
)
def test_data_are_the_same_by_their_content(tmp_path, stored, given, goes_on):
    write_json(tmp_path / "run.json", {"version": 1, "data": stored})
    call = (tmp_path, "run.json", {"version": 1, "data": given})
    if goes_on:
        check_resumable(*call, caller="train")
        return
    with pytest.raises(ValueError, match="with other data"):
        check_resumable(*call, caller="train")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below", tmp_path.__class__("/proc/askew")):
        with pytest.raises(ValueError, match=r"must be (writable|new, empty)"):
            check_resumable(out, "run.json", {}, caller="train")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_can_be_written_is_not_made(tmp_path):
    check_writable(tmp_path / "new" / "deeper")
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"must be writable; got .*deeper: .* with --out"):
        check_writable(tmp_path / "file" / "deeper")


@pytest.mark.parametrize("version", [2, None, "1"])
def test_another_version_is_refused_unless_the_caller_looks_at_it(tmp_path, version):
    path = tmp_path / "a.json"
    write_json(path, {"version": version, "word": "é"})
    with pytest.raises(ValueError, match=rf"of version 1; got version {version!r} in .*a\.json"):
        read_json(path)
    assert read_json(path, version=None)["word"] == "é"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"read_json: the file must exist; got .*none\.json"):
        read_json(tmp_path / "none.json")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_device_is_written_into_and_a_link_stays_one(tmp_path):
    pipe, link, real = tmp_path / "pipe", tmp_path / "link", tmp_path / "real"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "a page")
    reader.join()
    assert read == ["a page"]
    real.write_text("old")
    link.symlink_to("real")
    write_text(link, "new")
    assert (link.is_symlink(), real.read_text()) == (True, "new")
    assert names(tmp_path) == ["link", "pipe", "real"]


def test_one_process_writes_into_a_folder(tmp_path):
    folder = tmp_path / "new"
    hold = (
        "import sys; from pathlib import Path; from askew._folders import one_writer\n"
        f"with one_writer(Path({str(folder)!r}), caller='other'): print('held'); input()"
    )
    call = [sys.executable, "-c", hold]
    other = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with (
        pytest.raises(FolderInUseError, match=r"mine: another process is at work in .*new\. Wait"),
        one_writer(folder, caller="mine"),
    ):
        pass
    other.kill()
    other.communicate()
    assert names(folder) == [".lock"]
    check_resumable(folder, "run.json", {}, caller="train")
    with one_writer(folder, caller="mine") as was_killed:
        assert was_killed
        with one_writer(folder, caller="mine") as again:
            assert again
        assert names(folder) == [".lock"]
    assert names(folder) == []
    with one_writer(folder, caller="mine") as was_killed:
        assert not was_killed


def test_what_a_killed_run_left_is_taken_up(tmp_path):
    identity = {"version": 1, "seed": 3}
    (tmp_path / ".lock").touch()
    (tmp_path / ".run.json.partial").write_text("half")
    (tmp_path / "work" / "tmp1").mkdir(parents=True)
    check_resumable(tmp_path, "run.json", identity, caller="train")
    with one_writer(tmp_path, caller="train"):
        clear_work(tmp_path, keep=["a"])
    assert (names(tmp_path), names(tmp_path / "work")) == (["work"], [])
    with pytest.raises(ValueError, match="train: the folder must be new, empty or of an unfinish"):
        check_resumable(tmp_path, "run.json", identity, caller="train")  # it is the user's


def test_an_output_is_a_file_that_can_be_written_and_no_input(tmp_path):
    data, folder, link = tmp_path / "data.tsv", tmp_path / "model", tmp_path / "link.tsv"
    data.write_text("mine")
    link.symlink_to(data)
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "report.html").write_text("<html>")
    os.link(folder / "config.json", tmp_path / "hard.json")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def check(path, **settings):
        check_output(path, caller="evaluate", reads=[data, folder], **settings)

    for path in (data, link, folder / ".." / "data.tsv", folder / "config.json"):
        with pytest.raises(ValueError, match=r"evaluate: the output must be another file than"):
            check(path)
    with pytest.raises(ValueError, match="the output must be another file than"):
        check(tmp_path / "hard.json")
    with pytest.raises(ValueError, match="the output must be another file than"):
        check_output(tmp_path / "new", caller="inspect", reads=[folder / ".." / "new"])
    with pytest.raises(ValueError, match=r"writable; got .*model, a folder\. Choose .* --page"):
        check(folder, option="--page")
    for path in (data / "below", tmp_path / "none" / "a", folder.__class__("/proc/askew")):
        with pytest.raises(ValueError, match=r"a file must be writable; got .* Choose another wi"):
            check(path)
    check(folder / "report.html")
    check(folder.__class__("/dev/full"))
    check(tmp_path / "new.html")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before | {
        folder: folder.stat().st_mtime_ns
    }
