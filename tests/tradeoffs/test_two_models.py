import pytest
import torch
from scipy import stats
from torch import nn

from askew.tradeoffs import ACCURACY, Metric, Score, Tradeoffs, analyze_asymmetric_tradeoffs

X = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def line(weight, bias=True):
    model = nn.Linear(3, 2, bias=bias)
    model.weight.data = torch.tensor([[0.0, 0.0, 0.0], weight])
    if bias:
        model.bias.data.zero_()
    return model


def deep(weight):
    return nn.Sequential(line(weight), nn.Linear(2, 2).requires_grad_())


GOOD, BAD = [1.0, 0.0, 0.0], [0.3, 1.0, 0.0]


def test_scores_sizes_and_the_interval_over_items():
    tradeoffs = analyze_asymmetric_tradeoffs(line(BAD), line(GOOD, bias=False), (X, Y))
    assert isinstance(tradeoffs, Tradeoffs)
    right = ((X @ torch.tensor(BAD)) > 0).long() == Y
    assert tradeoffs.symmetric_acc == pytest.approx(right.double().mean().item())
    assert tradeoffs.asymmetric_acc == 1.0
    assert (tradeoffs.symmetric_params, tradeoffs.asymmetric_params) == (8, 6)
    gaps = 1 - right.double().numpy()
    expected = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert (tradeoffs.low, tradeoffs.high) == pytest.approx((expected.low, expected.high))
    assert tradeoffs.symmetric_time > 0
    assert tradeoffs.asymmetric_time > 0


@pytest.mark.parametrize(
    ("one", "other", "position"),
    [
        (line(BAD), line(GOOD, bias=False), "dominates"),
        (line(GOOD, bias=False), line(BAD), "dominated"),
        (line(BAD, bias=False), line(GOOD), "trades"),
        (line(GOOD), line(BAD, bias=False), "trades"),
        (line(BAD), line(BAD), "cannot tell"),
    ],
)
def test_position(one, other, position):
    tradeoffs = analyze_asymmetric_tradeoffs(one, other, (X, Y))
    assert tradeoffs.position == position
    added = tradeoffs.asymmetric_params - tradeoffs.symmetric_params
    if added > 0:
        assert tradeoffs.efficiency_gain == pytest.approx(tradeoffs.difference / added)
    else:
        assert tradeoffs.efficiency_gain is None


def test_the_models_are_left_alone():
    models = nn.Sequential(line(BAD), nn.BatchNorm1d(2)), line(GOOD)
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in models]
    for model in models:
        model.eval()
    analyze_asymmetric_tradeoffs(*models, (X, Y), rounds=1)
    for model, state in zip(models, before, strict=True):
        assert not model.training
        assert all(p.grad is None for p in model.parameters())
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_lower_is_better_and_a_score_of_the_whole():
    error = Score(
        metric=Metric(name="e", label="e", better="lower", equivalence=0),
        function=lambda outputs, targets: (outputs.argmax(-1) != targets).double().mean(),
    )
    tradeoffs = analyze_asymmetric_tradeoffs(line(BAD), line(GOOD), (X, Y), score=error)
    assert tradeoffs.difference > 0
    assert tradeoffs.asymmetric_acc == 0.0
    assert tradeoffs.low is None
    assert tradeoffs.position == "cannot tell"


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_scores_of_any_size_have_an_interval(size):
    def sized(outputs, targets):
        return (outputs.argmax(-1) == targets).double() * size

    score = Score(metric=Metric(name="s", label="s", equivalence=0), function=sized)
    plain, scaled = (
        analyze_asymmetric_tradeoffs(line(BAD), line(GOOD), (X, Y), score=s, rounds=1)
        for s in (ACCURACY, score)
    )
    assert (scaled.low / size, scaled.high / size) == pytest.approx((plain.low, plain.high))


@pytest.mark.parametrize(
    ("models", "settings", "message"),
    [
        (
            (lambda: line(BAD), line(GOOD)),
            {},
            r"symmetric_model must be a module; got .* Experiment",
        ),
        ((line(BAD), line(GOOD)), {"rounds": 0}, "rounds must be >= 1; got rounds 0"),
        (
            (line(BAD), line(GOOD)),
            {"confidence": 95},
            r"confidence must be in \(0, 0.999999999\]; got",
        ),
    ],
)
@pytest.mark.unhooked
def test_refuses(models, settings, message):
    with pytest.raises(ValueError, match=f"analyze_asymmetric_tradeoffs: {message}"):
        analyze_asymmetric_tradeoffs(*models, (X, Y), score=ACCURACY, **settings)
