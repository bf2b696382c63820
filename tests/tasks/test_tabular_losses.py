"""Losses of tasks on tables: each is the one of `askew.losses`, with its numbers."""

import pytest
import torch
import torch.nn.functional as F

from askew.losses import (
    AdaptiveAsymmetry,
    ael_loss,
    agce_loss,
    asymmetric_bce_loss,
    asymmetric_contrastive_loss,
    asymmetric_pair_loss,
    asymmetric_ranking_loss,
    asymmetric_tversky_loss,
    asymmetric_unified_focal_loss,
    aul_loss,
    hill_loss,
    ldam_loss,
    logit_adjusted_cross_entropy,
    splc_loss,
    two_way_loss,
)
from askew.tasks import LabelLossConfig, RetrievalLossConfig

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
Y = (torch.rand(12, 3, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def of(config, x=X, y=Y):
    return config.build(Y)(x, y)


def test_nothing_chosen_is_bce():
    result = of(LabelLossConfig())
    torch.testing.assert_close(result, F.binary_cross_entropy_with_logits(X, Y))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"gamma_pos": 2.0, "gamma_neg": 1.0}, lambda: _bce(gamma_pos=2.0, gamma_neg=1.0)),
        ({"gamma_neg": 4.0, "margin": 0.05}, lambda: _bce(gamma_neg=4.0, margin=0.05)),
        ({"weight_pos": 3.0}, lambda: _bce(weight_pos=3.0)),
        ({"name": "hill", "lambda_neg": 2.0}, lambda: hill_loss(X, Y, lambda_neg=2.0)),
        ({"name": "hill", "margin_pos": 0.5}, lambda: hill_loss(X, Y, margin_pos=0.5)),
        (
            {"name": "two_way", "temperature_pos": 2.0},
            lambda: two_way_loss(X, Y, temperature_pos=2),
        ),
        (
            {"name": "tversky", "weight_fn": 0.7, "weight_fp": 0.3},
            lambda: (
                sum(
                    asymmetric_tversky_loss(
                        X[:, k].view(1, 1, -1), Y[:, k].view(1, 1, -1), **_TVERSKY
                    )
                    for k in range(3)
                )
                / 3
            ),
        ),
        (
            {"name": "unified_focal", "delta": 0.7},
            lambda: (
                sum(
                    asymmetric_unified_focal_loss(
                        X[:, k].view(1, 1, -1), Y[:, k].view(1, 1, -1), delta=0.7
                    )
                    for k in range(3)
                )
                / 3
            ),
        ),
    ],
)
def test_each_is_the_one_of_the_library(numbers, expected):
    torch.testing.assert_close(of(LabelLossConfig(**numbers)), expected())


_TVERSKY = {"weight_fn": 0.7, "weight_fp": 0.3}
_TWO = F.pad(X[:, :1], (1, 0))
_ONE = Y[:, 0].long()
_COUNTS = torch.stack([(_ONE == 0).sum(), (_ONE == 1).sum()])


def _bce(**numbers):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return asymmetric_bce_loss(X, Y, **numbers)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"name": "logit_adjusted", "tau": 2.0}, (logit_adjusted_cross_entropy, {"tau": 2.0})),
        ({"name": "ldam", "scale": 1.0}, (ldam_loss, {"scale": 1.0})),
        ({"name": "agce", "a": 1.0, "q": 0.5}, (agce_loss, {"a": 1.0, "q": 0.5})),
        ({"name": "aul"}, (aul_loss, {})),
        ({"name": "ael", "a": 2.0}, (ael_loss, {"a": 2.0})),
    ],
)
def test_losses_of_classes_see_one_label_as_two_classes(numbers, expected):
    function, settings = expected
    counts = (_COUNTS,) if numbers["name"] in ("logit_adjusted", "ldam") else ()
    result = LabelLossConfig(**numbers).build(Y[:, :1])(X[:, :1], Y[:, :1])
    torch.testing.assert_close(result, function(_TWO, _ONE, *counts, **settings))
    with pytest.raises(ValueError, match=f"{numbers['name']} must have one label; got 3 labels"):
        LabelLossConfig(**numbers).build(Y)


def test_plain_settings_of_classes_are_bce():
    result = LabelLossConfig(name="logit_adjusted", tau=0.0).build(Y[:, :1])(X[:, :1], Y[:, :1])
    torch.testing.assert_close(result, F.binary_cross_entropy_with_logits(X[:, :1], Y[:, :1]))


def test_splc_trusts_the_model_after_the_first_epoch_of_training():
    loss = LabelLossConfig(name="splc", tau=0.55).build(Y, epoch_steps=2)
    doubting, trusting = (splc_loss(X, Y, tau=0.55, correct=c) for c in (False, True))
    assert doubting != trusting
    assert loss(X, Y) == doubting
    with torch.no_grad():
        assert loss(X, Y) == loss(X, Y) == doubting
    assert loss(X, Y) == doubting
    assert loss(X, Y) == trusting
    with torch.no_grad():
        assert loss(X, Y) == trusting


def test_the_adaptive_focus_moves_in_training_alone():
    loss = LabelLossConfig(name="adaptive", rate=0.5).build(Y)
    module = loss.module
    assert isinstance(module, AdaptiveAsymmetry)
    with torch.no_grad():
        loss(X, Y)
    assert module.gamma_neg == 0
    loss(X - 5, Y)
    assert module.gamma_neg > 0


E_ = F.normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(2)), dim=1)
C = torch.tensor([0, 0, 1, 1, 0, 2, 1, 0])


def test_pairs_and_the_two_halves_of_a_batch():
    result = RetrievalLossConfig(margin_pos=0.2, scale_neg=2.0).build()(3 * E_, C)
    expected = asymmetric_pair_loss(E_, C, margin_pos=0.2, scale_neg=2.0)
    torch.testing.assert_close(result, expected)
    one_way = RetrievalLossConfig(name="contrastive", weight_queries=1.0, weight_documents=0.0)
    positives = C[:4, None] == C[4:]
    expected = asymmetric_contrastive_loss(
        E_[:4], E_[4:], positives=positives, weight_queries=1.0, weight_documents=0.0
    )
    torch.testing.assert_close(one_way.build()(E_, C), expected)


def test_ranking_takes_the_hardest_of_each_row():
    """The loop looks at every pair; class 2 has one row, which has no positive."""
    config = RetrievalLossConfig(name="ranking", relative_margin=0.2, scale_neg=2.0)
    triplets = []
    for i in range(8):
        own = [j for j in range(8) if C[j] == C[i] and j != i]
        rest = [j for j in range(8) if C[j] != C[i]]
        if own:
            far = max(own, key=lambda j: (E_[i] - E_[j]).norm().item())
            near = min(rest, key=lambda j: (E_[i] - E_[j]).norm().item())
            triplets.append((i, far, near))
    a, p, n = (E_[list(places)] for places in zip(*triplets, strict=True))
    expected = asymmetric_ranking_loss(a, p, n, relative_margin=0.2, scale_neg=2.0)
    torch.testing.assert_close(config.build()(E_, C), expected)


@pytest.mark.parametrize("name", ["pair", "ranking", "contrastive"])
def test_a_batch_without_a_pair_teaches_nothing_and_does_not_break(name):
    x = E_[:3].clone().requires_grad_()
    loss = RetrievalLossConfig(name=name).build()(x, torch.arange(3))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LabelLossConfig(gamma_neg=-1.0), "gamma_neg"),
        (
            lambda: LabelLossConfig(name="hill", tau=0.5),
            "hill must have no tau; it takes .*lambda",
        ),
        (lambda: LabelLossConfig(name="two_way", gamma_neg=1.0), "two_way must have no gamma_neg"),
        (lambda: LabelLossConfig(lambda_neg=1.0), "asymmetric must have no lambda_neg"),
        (lambda: LabelLossConfig(name="splc", tau=2.0), "tau"),
        (lambda: RetrievalLossConfig(temperature=0.1), "pair must have no temperature"),
        (lambda: RetrievalLossConfig(name="contrastive", temperature=0.0), "temperature"),
        (
            lambda: RetrievalLossConfig(name="contrastive", margin_pos=0.1),
            "no margin_pos; it takes",
        ),
    ],
)
def test_numbers_of_another_loss_or_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
