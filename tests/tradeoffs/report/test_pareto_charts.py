import math
from statistics import fmean, geometric_mean

import pytest
from report_pages import CHRF, LATENCY, page_of

from askew.tradeoffs._report.cards import position
from askew.tradeoffs._report.language import LANGUAGES
from askew.tradeoffs._report.pareto_charts import tradeoff_charts

SAY = LANGUAGES["en"]


def draw(results):
    page = page_of(results)
    latency, chrf = page["metrics"]
    [chart] = tradeoff_charts(page, chrf, [latency], SAY)
    return chart


def big_marks(chart):
    return [t for t in chart.figure["data"] if t.get("marker", {}).get("size") == 17]


def judged(word, *, equivalent=False):
    return {"verdict": word, "equivalent": equivalent}


@pytest.mark.parametrize(
    ("cost", "quality", "expected"),
    [
        (judged("pays"), judged("pays"), "dominates"),
        (judged("pays"), judged("cannot tell", equivalent=True), "dominates"),
        (judged("pays", equivalent=True), judged("cannot tell", equivalent=True), "dominates"),
        (judged("pays"), judged("cannot tell"), "cannot tell"),
        (judged("pays"), judged("does not pay"), "trades"),
        (judged("does not pay"), judged("pays"), "trades"),
        (judged("does not pay"), judged("does not pay"), "dominated"),
        (judged("cannot tell", equivalent=True), judged("does not pay"), "dominated"),
        (judged("cannot tell"), judged("does not pay"), "cannot tell"),
        (judged("cannot tell", equivalent=True), judged("cannot tell"), "cannot tell"),
        (judged("pays"), judged(None), None),
        (judged("pays"), None, None),
    ],
)
def test_position_in_quality_and_cost(cost, quality, expected):
    assert position([cost, quality]) == expected
    assert position([quality, cost]) == expected


def test_the_cross_is_the_interval_laid_at_the_baseline(results):
    chart = draw(results)
    crosses = [t for t in chart.figure["data"] if t["mode"] == "lines"]
    across, upright = crosses
    middle = geometric_mean(LATENCY["twin"])
    assert across["x"] == pytest.approx([middle / 1.55, middle / 1.70])
    assert across["y"] == pytest.approx([fmean(CHRF["deep"])] * 2)
    assert upright["y"] == pytest.approx([fmean(CHRF["twin"]) - 0.9, fmean(CHRF["twin"]) + 0.1])
    crossed = [s for s in chart.figure["layout"]["shapes"] if s["x0"] == s["x1"]]
    assert [line["x0"] for line in crossed] == [middle]


def test_who_is_certainly_dominated_is_hollow(results):
    chart = draw(results)
    assert chart.note == "deep against twin: dominates"
    assert [t["marker"]["symbol"] for t in big_marks(chart)] == ["circle", "diamond-open"]
    results["verdicts"][0] |= {"verdict": "does not pay", "low": -0.4, "high": -0.2}
    chart = draw(results)
    assert chart.note == "deep against twin: dominated"
    assert [t["marker"]["symbol"] for t in big_marks(chart)] == ["circle-open", "diamond"]


def test_one_seed_has_no_cross_and_no_position(results):
    for entry in results["verdicts"]:
        entry |= {"verdict": None, "low": None, "high": None, "equivalent": None}
    chart = draw(results)
    assert chart.note == ""
    assert not [t for t in chart.figure["data"] if t["mode"] == "lines"]


def test_equal_costs_get_an_axis_that_can_be_drawn(results):
    for entry in results["trials"]:
        entry["metrics"]["latency_ms"] = 98171.92356687898
    low, high = draw(results).figure["layout"]["xaxis"]["range"]
    assert high - low > 1000


def test_everything_lies_inside_the_axes(results):
    figure = draw(results).figure
    for axis in "xy":
        low, high = figure["layout"][f"{axis}axis"]["range"]
        values = [value for trace in figure["data"] for value in trace[axis]]
        assert low < min(values)
        assert max(values) < high
        assert math.isfinite(low + high)
