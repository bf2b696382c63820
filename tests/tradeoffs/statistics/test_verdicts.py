import random
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from askew.tradeoffs import Metric, Row, Verdict, analyze, shared_confidence

SEEDS = range(5)
F1 = Metric(name="f1", label="F1", equivalence=1.0)


def _rows(thin: list[float], twin: list[float], metric: str = "f1") -> list[Row]:
    return [
        Row(arm, seed, "", metric, value)
        for arm, values in (("thin", thin), ("twin", twin))
        for seed, value in enumerate(values)
    ]


def _item_rows(shift: float = 0.0, seeds: int = 5, items: int = 8) -> list[Row]:
    noise = random.Random(3)
    return [
        Row(arm, seed, f"q{item}", "f1", noise.gauss(shift * (arm == "thin"), 1.0))
        for arm in ("thin", "twin")
        for seed in range(seeds)
        for item in range(items)
    ]


def _one(rows: list[Row], *, metric: Metric = F1, **settings) -> Verdict:
    (verdict,) = analyze(rows, baseline="twin", metrics=[metric], **settings)
    return verdict


def test_equal_arms_differ_by_nothing():
    for rows in (_rows([1.0, 2.0, 4.0, 0.1, 3.0], [1.0, 2.0, 4.0, 0.1, 3.0]), _item_rows()):
        same = [row for row in rows if row.arm == "thin"]
        verdict = _one(same + [row._replace(arm="twin") for row in same])
        assert verdict[3:7] == ("cannot tell", 0.0, 0.0, 0.0)
        assert verdict.equivalent is True
        assert verdict.minimum_detectable == 0.0


def test_seed_values_give_students_interval():
    thin, twin = [60.0, 62.5, 61.0, 63.0, 60.5], [59.0, 60.0, 61.5, 60.0, 60.0]
    expected = stats.ttest_rel(thin, twin).confidence_interval(0.95)
    verdict = _one(_rows(thin, twin))
    assert (verdict.low, verdict.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert verdict.difference == pytest.approx(np.mean(thin) - np.mean(twin))
    assert verdict.seed_differences == pytest.approx((1.0, 2.5, -0.5, 3.0, 0.5))


def test_lower_is_better_turns_the_sign():
    loss = Metric(name="f1", label="loss", better="lower", equivalence=0.0)
    rows = _rows([1.0, 2.0, 3.0, 4.0, 6.0], [2.0, 3.5, 4.0, 5.0, 6.5])
    higher, lower = _one(rows), _one(rows, metric=loss)
    assert (higher.verdict, lower.verdict) == ("does not pay", "pays")
    assert (lower.difference, lower.low, lower.high) == (
        -higher.difference,
        -higher.high,
        -higher.low,
    )


@pytest.mark.parametrize(("better", "sign"), [("higher", 1), ("lower", -1)])
def test_ratio_is_a_difference_of_logarithms(better: str, sign: int):
    thin, twin = [2.0, 4.0, 8.0, 2.0, 3.0], [1.0, 2.0, 2.0, 1.0, 2.0]
    speed = Metric(name="f1", label="speed", better=better, scale="ratio", equivalence=0.05)
    logs = np.log(np.array(thin) / np.array(twin))
    expected = stats.ttest_1samp(sign * logs, 0.0).confidence_interval(0.95)
    verdict = _one(_rows(thin, twin), metric=speed)
    assert (verdict.low, verdict.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("scale", ["difference", "ratio"])
def test_swapping_the_arms_mirrors_the_interval(scale: str):
    metric = Metric(name="f1", label="F1", scale=scale, equivalence=0.5)
    rows = _rows([1.7, 2.3, 3.9, 4.1, 6.0], [2.0, 3.5, 4.4, 3.0, 6.5])
    if scale == "difference":
        rows += _item_rows(0.4)
    there = _one(rows, metric=metric)
    (back,) = analyze(rows, baseline="thin", metrics=[metric])
    assert (back.difference, back.low, back.high) == (-there.difference, -there.high, -there.low)
    assert back.minimum_detectable == there.minimum_detectable


def test_the_order_of_rows_changes_no_bit(tmp_path: Path):
    rows = _item_rows(0.3) + _rows([1.0, 0.2, 0.4, 0.7, 0.1], [0.3, 0.1, 0.1, 0.2, 0.0])
    expected = _one(rows)
    random.Random(1).shuffle(rows)
    path = tmp_path / "trials.csv"
    lines = ["arm,seed,item,metric,value", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert _one(rows) == expected
    assert analyze(path, baseline="twin", metrics=[F1]) == [expected]


def test_items_widen_the_interval_by_their_own_variance():
    rows = _item_rows(0.3)
    grid = np.array([row.value for row in rows]).reshape(2, 5, 8)
    d = grid[0] - grid[1]
    square_seed = 8 * d.mean(axis=1).var(ddof=1)
    square_item = 5 * d.mean(axis=0).var(ddof=1)
    rest = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    square_rest = (rest**2).sum() / 28
    total = max(square_seed, square_item, square_rest, square_seed + square_item - square_rest)
    df = total**2 / (square_seed**2 / 4 + square_item**2 / 7 + square_rest**2 / 28)
    margin = stats.t.ppf(0.975, max(df, 4)) * np.sqrt(total / 40)
    verdict = _one(rows)
    assert verdict.difference == pytest.approx(d.mean())
    assert verdict.high - verdict.low == pytest.approx(2 * margin)
    assert verdict.seed_differences == pytest.approx(tuple(d.mean(axis=1)))


def test_value_of_the_whole_is_the_estimate_and_items_give_the_spread():
    items = _item_rows(0.3)
    means = {
        arm: [np.mean([r.value for r in items if r.arm == arm and r.seed == s]) for s in SEEDS]
        for arm in ("thin", "twin")
    }
    plain = _one(items)
    shifted = _one(items + _rows([m + 5 for m in means["thin"]], means["twin"]))
    assert shifted.difference == pytest.approx(plain.difference + 5)
    assert shifted.high - shifted.low == pytest.approx(plain.high - plain.low)


def test_false_verdicts_are_rare():
    # 400 tables without an effect: 5 % ± 3.3 % (three standard errors) get a verdict by chance
    noise = np.random.default_rng(2).normal(size=(400, 2, 5))
    rows = [
        Row(arm, seed, "", f"m{table}", value)
        for table, pair in enumerate(noise)
        for arm, values in zip(("thin", "twin"), pair, strict=True)
        for seed, value in enumerate(values)
    ]
    verdicts = [verdict.verdict for verdict in analyze(rows, baseline="twin")]
    assert 0.02 <= 1 - verdicts.count("cannot tell") / 400 <= 0.083


@pytest.mark.parametrize(
    ("offset", "verdict"), [(2, "pays"), (0, "cannot tell"), (-2, "does not pay")]
)
def test_three_verdicts(offset: float, verdict: str):
    differences = [offset + d for d in (-0.5, 0.2, 0.1, -0.1, 0.4)]
    assert _one(_rows(differences, [0.0] * 5)).verdict == verdict


@pytest.mark.parametrize(
    ("equivalence", "equivalent"), [(0.6, True), (0.43, False), (0.0, None), (3, True)]
)
def test_equivalence_needs_the_whole_interval(equivalence: float, equivalent: bool | None):
    # mean 0.02, sd 0.342, t(4) = 2.776: interval -0.404 to 0.444, or its mirror image
    rows = _rows([-0.5, 0.2, 0.1, -0.1, 0.4], [0.0] * 5)
    for baseline in ("twin", "thin"):
        (verdict,) = analyze(rows, baseline=baseline, equivalence={"f1": equivalence})
        assert verdict.equivalent is equivalent


@pytest.mark.parametrize("seeds", [2, 4])
def test_few_seeds_get_an_interval_and_no_verdict(seeds: int):
    verdict = _one(_rows([5.0, 5.1, 5.2, 5.3][:seeds], [0.0] * seeds))
    assert verdict.verdict is None
    assert verdict.equivalent is None
    assert verdict.low < verdict.difference < verdict.high
    assert verdict.minimum_detectable > 0
    assert verdict.reason == f"5 seeds are needed for a verdict; got {seeds}"
    assert _one(_rows([5.0, 5.1], [0.0] * 2), min_seeds=2).verdict == "pays"


@pytest.mark.parametrize("rows", [_rows([5.0], [0.0]), _item_rows(seeds=1)])
def test_one_seed_has_no_interval(rows: list[Row]):
    verdict = _one(rows)
    assert verdict.low is verdict.high is verdict.minimum_detectable is verdict.verdict is None
    assert verdict.reason == "5 seeds are needed for a verdict, 2 for an interval; got 1"


def test_metrics_come_in_their_order_then_the_others_by_name():
    rows = [r._replace(metric=m) for m in ("b", "z", "a") for r in _rows([1.0], [0.0])]
    rows += [row._replace(arm="deep") for row in rows if row.arm == "thin"]
    verdicts = analyze(
        rows,
        baseline="twin",
        metrics=[Metric(name="z", label="Z", equivalence=2.0)],
        equivalence={"a": 0.5},
    )
    equivalents = [(v.metric, v.challenger, v.equivalence) for v in verdicts]
    assert equivalents == [
        (metric, arm, size)
        for metric, size in (("z", 2.0), ("a", 0.5), ("b", 0.0))
        for arm in ("deep", "thin")
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            _rows([1.0, 2.0, 3.0], [1.0, 2.0]),
            r"every seed must be in both arms; got seeds \[2\] in one of arms 'thin' and 'twin'",
        ),
        (
            [r for r in _item_rows() if (r.arm, r.item) != ("thin", "q3")],
            r"both arms must have the same items; got 1 in one of arms .* first \['q3'\]",
        ),
        (
            [*_item_rows(), *_rows([1.0] * 5, [])],
            "a value of the whole must be in both arms; got it in one of arms 'thin' and 'twin'",
        ),
        (_item_rows(items=1), r"item rows need two items or more; got items \['q0'\]"),
        (
            _rows([1.0], []),
            r"baseline must be an arm of the results; got baseline 'twin', arms \['thin'\]",
        ),
        (_rows([], [1.0]), r"must have an arm besides the baseline; got arms \['twin'\]"),
    ],
)
def test_unpaired_results(rows: list[Row], message: str):
    with pytest.raises(ValueError, match=f"^analyze: .*{message}"):
        analyze(rows, baseline="twin")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (_rows([1.0], [0.0]), "scale 'ratio' needs values > 0; got value 0.0, arms 'thin'"),
        (_item_rows(), "scale 'ratio' takes one value per seed; got 8 items, arms 'thin'"),
    ],
)
def test_ratio_refuses(rows: list[Row], message: str):
    with pytest.raises(ValueError, match=f"^analyze: {message}"):
        _one(rows, metric=Metric(name="f1", label="speed", scale="ratio", equivalence=0.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_seeds": 1}, "min_seeds must be >= 2; got min_seeds 1"),
        ({"confidence": 95.0}, r"confidence must be in \(0, 0.999999999\]; got confidence 95.0"),
        (
            {"confidence": 1 - 1e-16},
            r"confidence must be in \(0, 0.999999999\]; got confidence 0.9999999999999999",
        ),
        (
            {"confidence": float("nan")},
            r"confidence must be in \(0, 0.999999999\]; got confidence nan",
        ),
        ({"metrics": [F1, F1]}, r"metrics must have different names; got metrics \['f1', 'f1'\]"),
        ({"equivalence": {"chrf": 1.0}}, r"got \['chrf'\], the results have \['f1'\]"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, message: str):
    with pytest.raises(ValueError, match=f"^analyze: .*{message}"):
        analyze(_rows([1.0], [0.0]), baseline="twin", **settings)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"better": "up"}, "better must be 'higher' or 'lower'; got better 'up'"),
        ({"scale": "log"}, "scale must be 'difference' or 'ratio'; got scale 'log'"),
        ({"equivalence": -0.1}, "equivalence must be finite and >= 0; got equivalence -0.1"),
        ({"equivalence": float("nan")}, "equivalence must be finite and >= 0; got equivalence nan"),
    ],
)
def test_metric_refuses(setting: dict, message: str):
    with pytest.raises(ValueError, match=f"^Metric: {message}"):
        Metric(**({"name": "f1", "label": "F1", "equivalence": 0.0} | setting))


def test_wins_are_counted_in_the_direction_that_is_better():
    rows = _rows([60.0, 62.5, 61.0, 63.0, 60.0], [59.0, 60.0, 61.5, 60.0, 60.0])
    assert _one(rows).wins == 3, "a tie is no win"
    lower = Metric(name="f1", label="F1", better="lower", equivalence=1.0)
    assert _one(rows, metric=lower).wins == 1


def _three_arms() -> list[Row]:
    noise = random.Random(5)
    return [
        Row(arm, seed, "", "f1", noise.gauss(0.0, 1.0))
        for arm in ("a", "b", "c", "twin")
        for seed in SEEDS
    ]


def test_several_challengers_share_the_error():
    shared, alone = (
        analyze(_three_arms(), baseline="twin", correction=correction)
        for correction in ("bonferroni", "none")
    )
    for one, other in zip(shared, alone, strict=True):
        assert one.confidence == pytest.approx(1 - 0.05 / 3)
        assert other.confidence == 0.95
        wider = stats.t.ppf(1 - 0.05 / 6, 4) / stats.t.ppf(0.975, 4)
        assert one.high - one.low == pytest.approx(wider * (other.high - other.low))
        assert one.minimum_detectable > other.minimum_detectable


def test_one_challenger_is_not_corrected():
    assert shared_confidence(0.9, 1) == 0.9
    assert _one(_item_rows()).confidence == 0.95


@pytest.mark.slow
def test_any_of_several_challengers_errs_as_rarely_as_one():
    drawn, wrong = np.random.default_rng(1), {"bonferroni": 0, "none": 0}
    for _ in range(400):
        values = drawn.normal(size=(5, 8))
        rows = [
            Row(f"arm {a}" if a else "twin", seed, "", "f1", float(values[a, seed]))
            for a in range(5)
            for seed in range(8)
        ]
        for correction in wrong:
            verdicts = analyze(rows, baseline="twin", correction=correction)
            wrong[correction] += any(v.verdict != "cannot tell" for v in verdicts)
    assert wrong["bonferroni"] / 400 < 0.075 < wrong["none"] / 400


@pytest.mark.unhooked
def test_correction_must_be_known():
    with pytest.raises(ValueError, match="correction must be 'bonferroni' or 'none'; got correcti"):
        analyze(_three_arms(), baseline="twin", correction="holm")


@pytest.mark.parametrize("power", [900, -300, -1074])
@pytest.mark.parametrize("items", [False, True])
def test_values_of_any_size_give_the_same_verdict(power: int, items: bool):
    """A perplexity that diverged, or a tiny likelihood: squares would leave the range of floats."""
    rows = _item_rows(0.3) if items else _rows([2, 3.5, 4.5, 5, 7], [1, 2, 3, 4, 5.5])
    if power == -1074:  # the smallest float: only multiples of it
        rows = [row._replace(value=round(row.value * 1000)) for row in rows]
    plain, scale = _one(rows), 2.0**power
    scaled = _one([row._replace(value=row.value * scale) for row in rows])
    assert scaled.verdict == plain.verdict
    got = [v / scale for v in (scaled.difference, scaled.low, scaled.high)]
    assert got == pytest.approx([plain.difference, plain.low, plain.high], rel=1e-3)
    assert scaled.minimum_detectable / scale == pytest.approx(plain.minimum_detectable, rel=1e-3)


def test_one_diverged_seed_leaves_it_open():
    verdict = _one(_rows([1e200, 1.0, 2.0, 1.5, 1.7], [1.1, 1.2, 1.3, 1.4, 1.5]))
    assert verdict.verdict == "cannot tell"
    assert verdict.high == pytest.approx(1e200 * (1 + stats.t.ppf(0.975, 4)) / 5)


def test_a_low_confidence_detects_any_difference():
    """Its interval excludes zero in 80 % of comparisons even without a difference."""
    verdict = _one(_rows([2, 3.5, 4.5, 5, 7], [1, 2, 3, 4, 5.5]), confidence=0.1)
    differences = np.array([1, 1.5, 1.5, 1, 1.5])
    expected = stats.ttest_1samp(differences, 0.0).confidence_interval(0.1)
    assert (verdict.low, verdict.high) == pytest.approx(tuple(expected))
    assert verdict.minimum_detectable == 0.0


def test_numbers_of_numpy_give_plain_values():
    metric = Metric(name="f1", label="F1", equivalence=np.float32(0.5))
    verdict = _one(_rows([2, 3.5, 4.5, 5, 7], [1, 2, 3, 4, 5.5]), metric=metric)
    assert type(metric.equivalence) is float
    assert verdict.equivalent is False
