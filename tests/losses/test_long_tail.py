import math

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of

from askew.losses import (
    LDAMLoss,
    LogitAdjustedCrossEntropy,
    ldam_loss,
    logit_adjusted_cross_entropy,
)

COUNTS = torch.tensor([500, 100, 20, 1])
GENERATOR = torch.Generator().manual_seed(5)
X = torch.randn(7, 4, generator=GENERATOR, dtype=torch.double)
T = torch.randint(0, 4, (7,), generator=GENERATOR)
WHERE = torch.tensor([True, False, True, True, False, True, True])


def test_without_a_handicap_both_are_cross_entropy():
    close(logit_adjusted_cross_entropy(X, T, COUNTS, tau=0.0), F.cross_entropy(X, T))
    equal = torch.full((4,), 9)
    smoothed = F.cross_entropy(X, T, label_smoothing=0.1, reduction="none")
    ours = logit_adjusted_cross_entropy(X, T, equal, label_smoothing=0.1, reduction="none")
    close(ours, smoothed)
    close(ldam_loss(X, T, COUNTS, max_margin=0.0, scale=1.0), F.cross_entropy(X, T))


def test_logit_adjustment_is_the_naive_loop():
    shares = [c / 621 for c in COUNTS.tolist()]
    total = 0.0
    for row, t in zip(X.tolist(), T.tolist(), strict=True):
        moved = [v + 1.5 * math.log(s) for v, s in zip(row, shares, strict=True)]
        total += math.log(sum(math.exp(v) for v in moved)) - moved[t]
    ours = logit_adjusted_cross_entropy(X, T, COUNTS, tau=1.5, reduction="sum")
    assert ours.item() == pytest.approx(total, rel=1e-6)


def test_ldam_is_the_naive_loop():
    margins = [0.3 * (1 / n) ** 0.25 for n in COUNTS.tolist()]
    weight = torch.tensor([0.1, 0.5, 1.0, 2.0], dtype=torch.double)
    total = 0.0
    for row, t in zip(X.tolist(), T.tolist(), strict=True):
        moved = [10 * (v - (margins[t] if c == t else 0)) for c, v in enumerate(row)]
        total += weight[t].item() * (math.log(sum(math.exp(v) for v in moved)) - moved[t])
    ours = ldam_loss(X, T, COUNTS, max_margin=0.3, scale=10.0, weight=weight)
    assert ours.item() == pytest.approx(total / weight[T].sum().item(), rel=1e-6)


def test_the_minimiser_under_logit_adjustment_is_the_balanced_posterior():
    # One feature value, seen 90 times with class 0 and 10 times with class 1, where classes have
    # 900 and 100 rows: balanced, both are equally likely, so the logits must come out equal.
    x = torch.zeros(2, dtype=torch.double, requires_grad=True)
    t = torch.tensor([0] * 90 + [1] * 10)
    optimizer = torch.optim.LBFGS([x], max_iter=100, tolerance_grad=1e-12)

    def closure():
        optimizer.zero_grad()
        loss = logit_adjusted_cross_entropy(x.expand(100, 2), t, torch.tensor([900, 100]))
        loss.backward()
        return loss

    optimizer.step(closure)
    assert abs((x[0] - x[1]).item()) < 1e-5


def test_only_the_ratios_of_counts_matter():
    for loss in (logit_adjusted_cross_entropy, ldam_loss):
        close(loss(X, T, COUNTS), loss(X, T, COUNTS / 7), rtol=1e-6, atol=1e-6)


CASES = {
    "adjusted": LossCase(
        lambda x, t, **k: logit_adjusted_cross_entropy(x, t, COUNTS, tau=1.2, **k),
        (X, T),
        where=WHERE,
        module=LogitAdjustedCrossEntropy(COUNTS, tau=1.2),
    ),
    "ldam": LossCase(
        lambda x, t, **k: ldam_loss(x, t, COUNTS, scale=3.0, **k),
        (X, T),
        where=WHERE,
        module=LDAMLoss(COUNTS, scale=3.0),
    ),
}


@each_law_of(CASES)
def test_laws(law, case):
    law(case)


@pytest.mark.unhooked
@pytest.mark.parametrize("loss", [logit_adjusted_cross_entropy, ldam_loss])
def test_bad_counts_are_refused(loss):
    with pytest.raises(ValueError, match="class_counts must be positive; got class_counts 0"):
        loss(X, T, torch.tensor([5, 1, 0, 2]))
    with pytest.raises(ValueError, match=r"one number per class; got class_counts \(3,\)"):
        loss(X, T, COUNTS[:3])


@pytest.mark.unhooked
def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="ldam_loss: scale must be positive; got scale 0"):
        ldam_loss(X, T, COUNTS, scale=0)
    with pytest.raises(ValueError, match="max_margin must be at least 0; got max_margin -1"):
        ldam_loss(X, T, COUNTS, max_margin=-1)
    with pytest.raises(ValueError, match="LDAMLoss: reduction must be"):
        LDAMLoss(COUNTS, reduction="all")
