import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from report_pages import Page, example_results
from typer.testing import CliRunner

from askew._files import write_json
from askew.cli import app
from askew.tradeoffs import Run, read_run, write_joint_report

CHECK = Path(__file__).parents[3] / "benchmarks" / "check_report.py"


def folder_of(results, place):
    place.mkdir()
    write_json(place / "results.json", results)
    return place


@pytest.fixture
def two(results, tmp_path):
    other = example_results()
    other["verdicts"] = [other["verdicts"][0] | {"verdict": None, "reason": "too few"}]
    return [folder_of(results, tmp_path / "first"), folder_of(other, tmp_path / "second")]


def report(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.mark.usefixtures("short_script")
def test_several_runs_share_a_page(two, tmp_path):
    done = report(*two, "--out", tmp_path / "page.html")
    assert done.exit_code == 0
    assert done.output == f"report: {tmp_path / 'page.html'}\n"
    page = Page(tmp_path / "page.html")
    assert "2 comparisons, on the first quality metric of each: cannot tell 1 ×" in page.text
    assert "first cannot tell chrF −0.4 points (−0.9 to +0.1)" in page.text
    assert "second no verdict latency" in page.text
    places = [a["id"] for a in page.named("section")]
    assert len(places) == len(set(places)) == 1 + 2 * 6 + 1
    targets = {a["href"][1:] for a in page.named("a")}
    assert targets == {"run1-verdict", "run2-verdict", "reading"}
    assert targets <= set(places)
    groups = [a["name"] for a in page.named("input")]
    assert groups == ["run1-axis"] * 3 + ["run2-axis"] * 3
    assert sum("checked" in a for a in page.named("input")) == 2


@pytest.mark.usefixtures("short_script")
def test_one_run_gets_its_own_page(two):
    assert report(two[0], "--language", "pt").exit_code == 0
    page = Page(two[0] / "report.html")
    assert "Visão geral" not in page.text
    assert "deep contra twin" in page.text
    assert "report:" not in report(two[0], "--quiet").output


@pytest.mark.usefixtures("short_script")
def test_headings_go_down_one_level_at_a_time(two, tmp_path):
    report(*two, "--out", tmp_path / "page.html")
    report(two[0])
    for path in (tmp_path / "page.html", two[0] / "report.html"):
        levels = [int(tag[1]) for tag, _ in Page(path).tags if tag in ("h1", "h2", "h3", "h4")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "must exist"),
        ({}, "must hold results.json"),
        ({"results.json": "{"}, "must be JSON"),
        ({"results.json": "[]"}, "must hold an object"),
        ({"results.json": '{"version": 2}'}, "must be of version 1; got version 2 in"),
        ({"results.json": '{"version": 1, "trials": 3}'}, "must be complete; got none of task"),
    ],
)
def test_bad_folders_are_refused(tmp_path, content, words):
    place = tmp_path / "run"
    if content is not None:
        place.mkdir()
        for name, text in content.items():
            (place / name).write_text(text)
    done = report(place, "--out", tmp_path / "page.html")
    assert done.exit_code == 2
    assert words in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "page.html").exists()


def test_bad_settings_are_refused(two, tmp_path):
    assert report().exit_code == 2
    assert report(two[0], "--language", "fr").exit_code == 2
    done = report(two[0], "--out", tmp_path / "nowhere" / "page.html")
    assert done.exit_code == 2
    assert "report: a file must be writable; got " in done.output
    with pytest.raises(ValueError, match="runs must be one or more"):
        write_joint_report([], tmp_path / "page.html")


@pytest.mark.usefixtures("short_script")
def test_measured_results_get_a_page_in_portuguese(tmp_path):
    rows = [f"{arm},{seed},,f1,{seed + len(arm)}" for arm in ("new", "old2") for seed in range(5)]
    (tmp_path / "table.csv").write_text("arm,seed,item,metric,value\n" + "\n".join(rows))
    call = ["compare", "--results", tmp_path / "table.csv", "--baseline", "old2", "--out"]
    call += [tmp_path / "out", "--report-language", "pt"]
    done = CliRunner().invoke(app, list(map(str, call)))
    assert done.exit_code == 0
    assert "não compensa" in done.output
    assert "✕ não compensa" in Page(tmp_path / "out" / "report.html").text
    assert report(tmp_path / "out").exit_code == 0
    assert "✕ does not pay" in Page(tmp_path / "out" / "report.html").text


def test_a_run_is_called_by_its_folder(two):
    run = read_run(two[1])
    assert isinstance(run, Run)
    assert run.name == "second"
    assert run.items == {}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
@pytest.mark.parametrize("language", ["en", "pt"])
def test_the_page_in_a_browser(two, tmp_path, language):
    path = tmp_path / "page.html"
    assert report(*two, "--out", path, "--language", language).exit_code == 0
    call = [sys.executable, str(CHECK), str(path)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = path.read_text("utf-8").replace(
        "</main>", '<p style="width: 500px">wide</p><script>undefinedName()</script></main>'
    )
    path.write_text(broken.replace("default-src 'none'", "default-src *"), "utf-8")
    done = subprocess.run(call, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "400 px, light: too wide" in done.stdout
    assert "console: " in done.stdout
