"""Results measured elsewhere get the same verdicts and the same report."""

import csv

import pytest

from askew.tradeoffs import COLUMNS, Judged, Metric, Row, analyze, judge_results, write_report

LATENCY = Metric(name="latency", label="latency", better="lower", scale="ratio", equivalence=0.1)


def rows(arms=("thin", "wide", "twin")):
    for arm in arms:
        for seed in range(5):
            for item in range(4):
                yield Row(arm, seed, f"q{item}", "f1", len(arm) + seed * 0.1 + item)
            yield Row(arm, seed, "", "latency", len(arm) + seed)


@pytest.fixture
def table(tmp_path):
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows()])
    return tmp_path / "table.csv"


def test_verdicts_are_those_of_analyze(table):
    judged = judge_results(table, baseline="wide", metrics=[LATENCY], equivalence={"f1": 2.0})
    assert isinstance(judged, Judged)
    expected = analyze(table, baseline="wide", metrics=[LATENCY], equivalence={"f1": 2.0})
    assert judged.verdicts == expected
    assert [v.metric for v in expected] == ["latency", "latency", "f1", "f1"]


def test_results_have_what_the_report_shows(table, tmp_path, monkeypatch):
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    judged = judge_results(table, baseline="wide", metrics=[LATENCY], name="mine", command="again")
    results = judged.results
    assert [arm["name"] for arm in results["arms"]] == ["thin", "twin", "wide"]
    assert results["settings"]["correction"] == "bonferroni"
    assert results["settings"]["confidence"] == 0.975
    assert results["settings"]["command"] == "again"
    assert results["trials"][0]["metrics"] == {"latency": 4.0, "f1": 4 + 1.5}
    assert results["trials"][3]["metrics"] == {"latency": 7.0, "f1": pytest.approx(4 + 1.5 + 0.3)}
    write_report(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "thin" in page
    assert "mine" in page


def test_one_challenger_is_not_corrected():
    judged = judge_results(rows(("thin", "wide")), baseline="wide")
    assert judged.results["settings"]["correction"] == "none"
    assert judged.results["settings"]["confidence"] == 0.95


def test_refuses_a_baseline_that_is_not_there(table):
    with pytest.raises(ValueError, match="baseline must be an arm of the results; got baseline"):
        judge_results(table, baseline="nobody")
