"""What mattered in a search, as the report shows it."""

import copy
import statistics

import numpy as np
import pytest
from report_pages import render, search_results

from askew.tradeoffs import Choice, Range, Space
from askew.tradeoffs._report.language import LANGUAGES
from askew.tradeoffs._report.search_insights import binned, ratio_words
from askew.tradeoffs._running.importance import importances

pytestmark = pytest.mark.usefixtures("short_script")
NUMBERS = {name: Range(low=0.0, high=1.0) for name in ("matters", "idle", "other", "fourth")}
SPACE = Space(numbers=NUMBERS, ties={"other": "idle"})


@pytest.fixture(scope="module")
def searched():
    return search_results(60)


def drawn(count, score, *, seed=0):
    generator = np.random.default_rng(seed)
    values = [dict(zip(NUMBERS, generator.random(4).tolist(), strict=True)) for _ in range(count)]
    return [(each, score(each, generator)) for each in values]


def matters(values, generator):
    return -abs(values["matters"] - 0.3) + generator.normal(0, 0.05)


@pytest.mark.parametrize("count", [24, 60])
def test_the_number_that_matters_stands_out(count):
    found = importances(SPACE, drawn(count, matters), symmetric=False)
    assert (found["candidates"], found["reason"]) == (count, "")
    assert max(found["shares"], key=found["shares"].get) == "matters"
    assert found["shares"]["matters"] > found["noise"]
    assert all(found["shares"][name] < found["noise"] for name in ("idle", "other", "fourth"))
    assert sum(found["shares"].values()) == pytest.approx(1)


@pytest.mark.slow
def test_where_nothing_matters_the_noise_says_so():
    def luck(values, generator):
        return generator.normal()

    seeds = range(10)
    found = [importances(SPACE, drawn(20, luck, seed=s), symmetric=False) for s in seeds]
    assert sum(max(each["shares"].values()) > each["noise"] for each in found) <= 2


def test_a_few_very_bad_candidates_decide_nothing():
    def cliff(values, generator):
        return matters(values, generator) - 1000.0 * (values["idle"] > 0.93)

    found = importances(SPACE, drawn(60, cliff), symmetric=False)
    assert max(found["shares"], key=found["shares"].get) == "matters"


def test_numbers_that_follow_from_others_have_no_importance():
    space = Space(numbers=NUMBERS, ties=SPACE.ties, solved=("fourth",))
    frozen = space.frozen({"idle": 0.5})
    candidates = drawn(30, matters)
    assert set(importances(space, candidates, symmetric=False)["shares"]) == {
        "matters",
        "idle",
        "other",
    }
    assert set(importances(space, candidates, symmetric=True)["shares"]) == {"matters", "idle"}
    halves = [({**values, "idle": 0.5}, score) for values, score in candidates]
    assert set(importances(frozen, halves, symmetric=True)["shares"]) == {"matters"}


def test_why_there_is_no_importance():
    def reason(candidates, space=SPACE):
        found = importances(space, candidates, symmetric=False)
        assert not found["shares"]
        assert found["noise"] is None
        return found["reason"], found["candidates"]

    many = drawn(30, matters)
    assert reason(many[:15]) == ("too_few", 15)
    assert reason([(values, None) for values, _ in many]) == ("too_few", 0)
    assert reason([({**values, "idle": 7.0}, score) for values, score in many]) == ("too_few", 0)
    assert reason([(values, 1.0) for values, _ in many]) == ("equal_scores", 30)
    assert reason([(many[0][0], score) for _, score in many]) == ("equal_numbers", 30)
    space = Space(numbers={"word": Choice(values=("a", "b"))}, fixed={"word": "a"})
    halves = [({"word": "ab"[n // 2 % 2]}, float(n % 2)) for n in range(20)]
    assert reason(halves, space) == ("no_difference", 20)


def test_bins_hold_eight_or_more_and_never_part_equal_ratios():
    xs = [0.25] * 3 + [0.5] * 9 + [1.0] * 30 + [2.0] * 2
    ys = list(map(float, range(44)))
    bins = binned(xs, ys)
    assert [(one.low, one.high, one.count) for one in bins] == [(0.25, 0.5, 12), (1.0, 2.0, 32)]
    assert [one.median for one in bins] == [statistics.median(ys[:12]), statistics.median(ys[12:])]
    assert bins[0].lower == 2.75
    assert len(binned(list(range(100)), list(range(100)))) == 5
    assert [one.count for one in binned([1, 2, 3], [1, 2, 3])] == [3]


def test_ratios_have_a_one_on_their_smaller_side():
    assert [ratio_words(r, LANGUAGES["pt"]) for r in (0.4, 1, 3)] == ["1 : 2,5", "1 : 1", "3 : 1"]


@pytest.mark.parametrize(
    ("language", "title", "axes"),
    [
        (
            "en",
            "What mattered",
            ["depth, encoder : decoder", "width, encoder : decoder", "parameters, enc"],
        ),
        (
            "pt",
            "O que importou",
            ["profundidade, codificador : descodificador", "largura, cod", "parâmetros, c"],
        ),
    ],
)
def test_the_report_shows_what_mattered(searched, language, title, axes, tmp_path):
    page = render(searched, tmp_path, language=language)
    assert title in page.text
    figures = page.figures[2:7]
    bars = [figure for figure in figures if figure["data"][0]["type"] == "bar"]
    assert [bar["data"][0]["y"][-1] for bar in bars] == ["decoder.num_layers", "encoder.num_layers"]
    shares = searched["search"]["importances"]["asymmetric"]["shares"]
    assert bars[0]["data"][0]["x"] == sorted(shares.values())
    colours = bars[0]["data"][0]["marker"]["color"]
    assert colours == ["var(--join)"] * 7 + ["var(--arm-0)"]
    assert "<br>" in bars[0]["data"][0]["hovertext"][0]
    assert "<br>" not in bars[0]["data"][0]["hovertext"][-1]
    titles = [f["layout"]["xaxis"]["title"]["text"].replace("<br>", " ") for f in figures[2:]]
    assert all(one.startswith(axis) for one, axis in zip(titles, axes, strict=True))


def test_every_candidate_is_a_point_of_its_ratio(searched, tmp_path):
    page = render(searched, tmp_path)
    by_name = {one["name"]: one for one in searched["search"]["candidates"]}
    depth = page.figures[4]
    points = [
        (x, y, words)
        for trace in depth["data"]
        if trace["mode"] == "markers"
        for x, y, words in zip(trace["x"], trace["y"], trace["text"], strict=True)
    ]
    assert len(points) == 60
    for x, y, words in points:
        one = by_name[words.partition("<br>")[0]]
        values = one["values"]
        assert x == values["encoder.num_layers"] / values["decoder.num_layers"]
        assert y == one["scores"][0]
        for name in values:  # all of them
            assert name in words


def test_too_few_candidates_are_said_to_be_too_few(searched, tmp_path):
    results = copy.deepcopy(searched)
    few = search_results(20)["search"]
    results["search"] = few
    results["search"]["finalists"] = [few["candidates"][0]["name"]]
    results["search"]["control"] = few["candidates"][1]["name"]
    page = render(results, tmp_path)
    assert "No importance of the numbers is shown for asymmetric candidates: 10 can" in page.text
    for name in ("depth", "width", "parameters"):
        missing = f"No curve of {name}, encoder : decoder is shown: 10 asymmetric candidates can"
        assert missing in page.text


def test_a_search_of_before_and_one_without_sides_are_shown(searched, tmp_path):
    results = copy.deepcopy(searched)
    del results["search"]["importances"]
    for one in results["search"]["candidates"]:
        del one["side_parameters"]
        one["values"] = {"gamma_pos": 1.0}
    page = render(results, tmp_path)
    assert "The search" in page.text
    assert "What mattered" not in page.text


def test_measured_costs_are_a_column(searched, tmp_path):
    results = copy.deepcopy(searched)
    for one in results["search"]["candidates"]:
        one["costs"] = {"memory_mb": 123.4}
    assert "memory of answering, MB" not in render(searched, tmp_path).text
    page = render(results, tmp_path)
    assert "memory of answering, MB" in page.text
    assert "123.4" in page.text
