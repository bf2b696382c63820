import numpy as np
import pytest
from report_pages import render
from safetensors.numpy import save_file

from askew._files import write_json
from askew.tradeoffs import items_of
from askew.tradeoffs._report.item_differences import histogram, item_differences

pytestmark = pytest.mark.usefixtures("short_script")


def keep_trials(folder, results, *, items=60):
    """Store trials whose item i is i + seed, plus 2 i for the challenger of even items."""
    for entry in results["trials"]:
        place = folder / "trials" / f"{entry['arm']}-seed{entry['seed']}"
        place.mkdir(parents=True)
        numbers = np.arange(float(items))
        more = np.where(numbers % 2 == 0, 2 * numbers, -numbers) * (entry["arm"] == "deep")
        save_file({"chrf": numbers + entry["seed"] + more}, place / "items.safetensors")
        write_json(place / "trial.json", {"version": 1, **entry})


def test_items_are_means_over_seeds(results, tmp_path):
    keep_trials(tmp_path, results)
    items = items_of(tmp_path, results)
    assert list(items) == ["chrf"]
    assert set(items["chrf"]) == {"deep", "twin"}
    assert items["chrf"]["twin"][:3].tolist() == [2.0, 3.0, 4.0]
    assert items["chrf"]["deep"][:3].tolist() == [2.0, 2.0, 8.0]


def test_without_trials_there_are_no_items(results, tmp_path):
    assert items_of(tmp_path, results) == {}
    text = render(results, tmp_path).text
    assert "Values of single items are not at hand" in text


def test_some_trials_are_refused(results, tmp_path):
    keep_trials(tmp_path, results)
    (tmp_path / "trials" / "twin-seed3" / "trial.json").unlink()
    with pytest.raises(ValueError, match=r"without 1 of 10, first \[\('twin', 3\)\]"):
        items_of(tmp_path, results)


def test_other_numbers_of_items_are_refused(results, tmp_path):
    keep_trials(tmp_path, results)
    save_file({"chrf": np.zeros(7)}, tmp_path / "trials" / "deep-seed1" / "items.safetensors")
    with pytest.raises(ValueError, match=r"as many items; got \[7, 60\] of chrf"):
        items_of(tmp_path, results)


def test_the_page_shows_where_the_arms_differ_most(results, tmp_path):
    keep_trials(tmp_path, results)
    page = render(results, tmp_path, items=items_of(tmp_path, results))
    assert (
        "Of 60 items, 29 are better for deep, 30 worse, 1 equal (means over 5 seeds)" in page.text
    )
    assert "Better for deep: the first 25 item deep twin difference 58 176.0 60.00 +116.0" in (
        page.text
    )
    assert "Worse for deep: the first 25 item deep twin difference 59 2.000 61.00" in page.text
    assert "not at hand" not in page.text
    bars = next(f["data"][0] for f in page.figures if f["data"][0]["type"] == "bar")
    assert sum(bars["y"]) == 59


def test_lower_is_better_turns_the_sign():
    ours, theirs = np.array([1.0, 5.0, 3.0]), np.array([2.0, 1.0, 3.0])
    compared = item_differences(ours, theirs, better="lower")
    assert compared.differences.tolist() == [1.0, -4.0, 0.0]
    assert compared.best.tolist() == [0]
    assert compared.worst.tolist() == [1]


def test_order_of_items_is_by_size_and_then_by_number():
    compared = item_differences(np.array([1.0, 2.0, 1.0, -1.0, -3.0]), np.zeros(5), better="higher")
    assert compared.best.tolist() == [1, 0, 2]
    assert compared.worst.tolist() == [4, 3]


def test_equal_items_need_no_chart(results, tmp_path):
    items = {"chrf": {"deep": np.ones(4), "twin": np.ones(4)}}
    page = render(results, tmp_path, items=items)
    assert "Of 4 items, 0 are better for deep, 0 worse, 4 equal" in page.text
    assert not [f for f in page.figures if f["data"][0]["type"] == "bar"]


def test_the_histogram_counts_around_zero():
    middles, counts = histogram(np.array([-2.0, -0.01, 0.0, 0.01, 1.0, 2.0]))
    assert counts.sum() == 5
    assert counts[20] == 2
    assert middles[20] == pytest.approx(0)
    assert middles[0] == pytest.approx(-2.0)
    assert counts[0] == counts[-1] == 1
