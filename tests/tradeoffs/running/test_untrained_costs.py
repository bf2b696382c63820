"""What is measured of models before they are trained."""

from contextlib import closing

import pytest
from stub_task import line_config
from wide_task import Wide

from askew.tradeoffs._running.cost_measurement import UntrainedCosts


@pytest.fixture(scope="module")
def measure():
    with closing(UntrainedCosts(Wide(), line_config(2))) as costs:
        yield lambda width: costs.of(line_config(width))


def test_memory_is_what_the_model_adds(measure):
    small, large = measure(48), measure(112)
    assert set(small) == {"memory_mb", "shelf"}
    # Large blocks go back to the system. An answer reads as many numbers as it has.
    assert 96 <= small["memory_mb"] <= 125
    assert large["memory_mb"] - small["memory_mb"] == pytest.approx(128, abs=8)
    assert (small["shelf"], large["shelf"]) == (96, 224)


def test_memory_does_not_depend_on_what_was_measured_before(measure):
    first = measure(16)["memory_mb"]
    assert first >= 32
    measure(200)
    assert measure(16)["memory_mb"] == pytest.approx(first, abs=4)


def test_what_a_task_refuses_is_raised(measure):
    with pytest.raises(ValueError, match="no model has this width"):
        measure(14)


def test_a_lost_process_is_one_line(measure):
    with pytest.raises(RuntimeError, match="the process that measures a model was lost, killed"):
        measure(18)
    assert measure(4)["shelf"] == 8
