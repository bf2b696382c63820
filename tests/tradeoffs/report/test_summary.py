import math

import pytest

from askew.tradeoffs._report.summary import summary_sentence
from askew.tradeoffs._statistics.verdicts import Metric, Verdict

CHRF = Metric(name="chrf", label="chrF", equivalence=1.0, unit="points")
SPEED = Metric(name="speed", label="decoding throughput", scale="ratio", equivalence=0.05)
TIME = Metric(name="time", label="training time", better="lower", scale="ratio", equivalence=0.05)


def _verdict(
    metric: Metric,
    difference: float,
    low: float | None,
    high: float | None,
    verdict: str | None,
    equivalent: bool | None = False,
    seeds: int = 5,
) -> Verdict:
    return Verdict(
        metric=metric.name,
        challenger="thin",
        baseline="twin",
        verdict=verdict,
        difference=difference,
        low=low,
        high=high,
        equivalence=metric.equivalence,
        equivalent=equivalent,
        minimum_detectable=None,
        seeds=seeds,
        seed_differences=(difference,) * seeds,
        wins=0,
        confidence=0.95,
        reason="" if verdict else f"5 seeds are needed for a verdict; got {seeds}",
    )


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (
            _verdict(CHRF, 1.234, 0.51, 1.96, "pays"),
            "better in chrF by 1.2 points (0.5 to 2.0, pays)",
        ),
        (
            _verdict(CHRF, -12.34, -20.6, -4.1, "does not pay"),
            "worse in chrF by 12 points (4 to 21, does not pay)",
        ),
        (
            _verdict(CHRF, -0.4, -2.31, 1.51, "cannot tell"),
            "no certain difference in chrF (-0.4 points, -2.3 to 1.5, cannot tell)",
        ),
        (
            _verdict(CHRF, 0.05, -0.31, 0.41, "cannot tell", True),
            "equal in chrF within ±1 points (-0.31 to 0.41, equivalent)",
        ),
        (
            _verdict(CHRF, 0.3, 0.11, 0.49, "pays", True),
            "better in chrF by 0.30 points (0.11 to 0.49, pays, yet equivalent within ±1 points)",
        ),
        (
            _verdict(CHRF, -0.001, -0.31, 0.31, "cannot tell"),
            "no certain difference in chrF (0.00 points, -0.31 to 0.31, cannot tell)",
        ),
        (
            _verdict(CHRF, 2.5, 2.5, 2.5, "pays"),
            "better in chrF by 2.50 points (2.50 to 2.50, pays)",
        ),
        (
            _verdict(CHRF, 0.0, 0.0, 0.0, "cannot tell", True),
            "equal in chrF within ±1 points (0 to 0, equivalent)",
        ),
        (
            _verdict(SPEED, math.log(1.62), math.log(1.55), math.log(1.7), "pays"),
            "1.62 times the decoding throughput (1.55 to 1.70, pays)",
        ),
        (
            _verdict(TIME, math.log(1.6), math.log(1.25), math.log(2), "pays"),
            "0.62 times the training time (0.50 to 0.80, pays)",
        ),
        (
            _verdict(TIME, -math.log(2), -math.log(2.5), -math.log(1.6), "does not pay"),
            "2.00 times the training time (1.60 to 2.50, does not pay)",
        ),
        (
            _verdict(TIME, 0.0, -0.02, 0.02, "cannot tell", True),
            "equal in training time within a factor of 1.05 (0.980 to 1.020, equivalent)",
        ),
    ],
)
def test_phrase_of_a_verdict(verdict: Verdict, expected: str):
    said = summary_sentence([verdict], [CHRF, SPEED, TIME])
    assert said == f"Over 5 seeds, thin against twin: {expected}."


def test_metrics_of_different_numbers_of_seeds():
    few, many = (_verdict(CHRF, 1.0, 0.5, 1.5, "pays", seeds=seeds) for seeds in (6, 8))
    assert summary_sentence([many, few], [CHRF]).startswith("Over 6 to 8 seeds, thin against twin")


def test_quality_comes_first():
    fast = _verdict(SPEED, math.log(1.62), math.log(1.55), math.log(1.7), "pays")
    good = _verdict(CHRF, 0.05, -0.31, 0.41, "cannot tell", True)
    said = summary_sentence([fast, good], [SPEED, CHRF])
    assert said.index("chrF") < said.index("decoding throughput")
    assert said.count(";") == 1


def test_without_a_verdict_nothing_is_claimed():
    verdicts = [
        _verdict(CHRF, 9.0, 8.0, 10.0, None, None, seeds=3),
        _verdict(SPEED, 0.5, None, None, None, None, seeds=3),
    ]
    assert summary_sentence(verdicts, [CHRF, SPEED]) == (
        "Over 3 seeds, thin against twin: no verdict on chrF, decoding throughput "
        "(5 seeds are needed for a verdict; got 3)."
    )


def test_one_sentence_per_challenger_and_unknown_metrics_by_name():
    first = _verdict(CHRF, 1.0, 0.5, 1.5, "pays")
    second = first._replace(challenger="deep", metric="bleu", seeds=1, verdict=None, reason="why")
    assert summary_sentence([first, second], [CHRF]) == (
        "Over 5 seeds, thin against twin: better in chrF by 1.0 points (0.5 to 1.5, pays). "
        "Over 1 seed, deep against twin: no verdict on bleu (why)."
    )
    assert summary_sentence([], [CHRF]) == ""


def test_metrics_of_one_name():
    with pytest.raises(ValueError, match=r"different names; got metrics \['chrf', 'chrf'\]"):
        summary_sentence([], [CHRF, CHRF])
