"""The losses of classes take the shapes and ignored targets of `F.cross_entropy`."""

import pytest
import torch
from loss_laws import close

from askew.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    LDAMLoss,
    LogitAdjustedCrossEntropy,
    ael_loss,
    agce_loss,
    asymmetric_focal_loss,
    aul_loss,
    ldam_loss,
    logit_adjusted_cross_entropy,
)

COUNTS = torch.tensor([500, 100, 20, 1])
WEIGHT = torch.tensor([0.1, 0.5, 1.0, 2.0])


def adjusted(x, t, **settings):
    return logit_adjusted_cross_entropy(x, t, COUNTS, label_smoothing=0.1, **settings)


def ldam(x, t, **settings):
    return ldam_loss(x, t, COUNTS, scale=3.0, weight=WEIGHT, **settings)


def focal(x, t, **settings):
    return asymmetric_focal_loss(x, t, gamma=2.0, weight=WEIGHT, **settings)


LOSSES = [adjusted, ldam, focal, agce_loss, aul_loss, ael_loss]
SHAPES = [(5,), (2, 3, 5), (2, 3, 2, 5)]


def rows_of(x, *others):
    """Pixels as rows: [rows, classes], and [rows] of the others."""
    return x.movedim(1, -1).reshape(-1, 4), *(t.reshape(-1) for t in others)


def example(*shape):
    x = torch.randn(shape[0], 4, *shape[1:], dtype=torch.double, requires_grad=True)
    t = torch.randint(4, shape)
    t[0] = 2
    return x, t


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pixels_are_rows(loss, shape):
    x, t = example(*shape)
    where = torch.rand(shape) > 0.4
    for settings, hidden in (({}, {}), ({"where": where}, {"where": where.reshape(-1)})):
        for reduction in ("mean", "sum", "none"):
            value = loss(x, t, reduction=reduction, **settings)
            expected = loss(*rows_of(x, t), reduction=reduction, **hidden)
            close(value, expected.view(shape) if reduction == "none" else expected)
            slopes = [torch.autograd.grad(v.sum(), x)[0] for v in (value, expected)]
            close(*slopes)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("index", [-100, 255, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_ignored_target_is_a_hidden_pixel(loss, index, shape):
    x, t = example(*shape)
    t[t == 3] = index
    t[-1] = index
    x = x.detach().masked_fill((t == index).unsqueeze(1), float("nan")).requires_grad_()
    for reduction in ("mean", "sum", "none"):
        ignored = loss(x, t, ignore_index=index, reduction=reduction)
        hidden = loss(x, t.masked_fill(t == index, 0), where=t != index, reduction=reduction)
        close(ignored, hidden)
        (slope,) = torch.autograd.grad(ignored.sum(), x)
        assert slope.isfinite().all()
        close(slope, torch.autograd.grad(hidden.sum(), x)[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_but_ignored_targets_is_a_differentiable_zero(loss):
    x, t = example(2, 3)
    value = loss(x, torch.full_like(t, -100))
    assert value == 0
    assert not torch.autograd.grad(value, x)[0].any()


@pytest.mark.parametrize(
    "module",
    [
        LogitAdjustedCrossEntropy(COUNTS, ignore_index=255),
        LDAMLoss(COUNTS, ignore_index=255),
        AGCELoss(ignore_index=255),
        AULLoss(ignore_index=255),
        AELLoss(ignore_index=255),
    ],
    ids=lambda module: type(module).__name__,
)
def test_modules_ignore_a_target(module):
    x, t = example(2, 3, 5)
    where = torch.rand(2, 3, 5) > 0.4
    close(module(x, t.masked_fill(~where, 255)), module(x, t, where=where))


@pytest.mark.unhooked
def test_ldam_takes_class_indices_alone():
    x, _ = example(4)
    with pytest.raises(TypeError, match="ldam_loss: targets must be class indices; got dtype"):
        ldam_loss(x, x.softmax(1), COUNTS)
