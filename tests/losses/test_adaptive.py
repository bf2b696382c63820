import copy

import pytest
import torch
from loss_laws import close

from askew.losses import AdaptiveAsymmetry, asymmetric_bce_loss

GENERATOR = torch.Generator().manual_seed(2)
X = torch.randn(64, 5, generator=GENERATOR)
Y = (torch.rand(64, 5, generator=GENERATOR) < 0.2).float()


def test_at_rate_zero_it_is_the_two_sided_loss():
    loss = AdaptiveAsymmetry(rate=0.0, gamma_neg=2.0, gamma_pos=1.0, margin=0.05)
    for _ in range(2):
        expected = asymmetric_bce_loss(X, Y, gamma_neg=2.0, gamma_pos=1.0, margin=0.05)
        close(loss(X, Y), expected)
    assert loss.gamma_neg == 2.0


def test_one_step_by_hand():
    loss = AdaptiveAsymmetry(target_gap=0.2, rate=0.5, gamma_neg=1.0)
    right = [
        sum(
            p if y else 1 - p
            for p, y in zip(X.sigmoid().flatten().tolist(), ys, strict=True)
            if y == side
        )
        / ys.count(side)
        for ys in [Y.flatten().tolist()]
        for side in (1, 0)
    ]
    loss(X, Y)
    assert loss.gamma_neg.item() == pytest.approx(1 + 0.5 * (0.2 - right[0] + right[1]), abs=1e-5)


def test_it_moves_only_in_training_and_only_within_bounds():
    loss = AdaptiveAsymmetry(rate=100.0, max_gamma=3.0).eval()
    loss(X - 3, Y)
    assert loss.gamma_neg == 0
    loss.train()(X - 3, Y)
    assert loss.gamma_neg == 3
    loss(X + 9, Y)
    assert loss.gamma_neg == 0


@pytest.mark.parametrize("side", [0.0, 1.0])
def test_a_batch_of_one_side_moves_nothing(side):
    loss = AdaptiveAsymmetry(rate=1.0, gamma_neg=1.0)
    loss(X, torch.full_like(X, side))
    assert loss.gamma_neg == 1


def test_hidden_elements_do_not_move_it():
    where = torch.rand(64, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    loss, other = AdaptiveAsymmetry(rate=1.0), AdaptiveAsymmetry(rate=1.0)
    nan = torch.full_like(X, float("nan"))
    close(
        loss(torch.where(where, X, nan), torch.where(where, Y, nan), where=where),
        other(X[where], Y[where]),
    )
    close(loss.gamma_neg, other.gamma_neg)
    assert loss.gamma_neg > 0


def test_the_backward_pass_sees_the_gamma_of_its_call():
    x = X.double().requires_grad_()
    loss = AdaptiveAsymmetry(rate=1.0, gamma_neg=1.5)
    value = loss(x, Y.double())
    (gradient,) = torch.autograd.grad(value, x)
    expected = torch.autograd.grad(asymmetric_bce_loss(x, Y.double(), gamma_neg=1.5), x)[0]
    close(gradient, expected)


def test_training_brings_the_gap_to_its_target():
    # One logit per element, all alike: rare positives lose against negatives until gamma turns it.
    torch.manual_seed(0)
    features = torch.randn(2000, 3)
    y = (features[:, 0] + 0.5 * torch.randn(2000) > 1.6).float()
    gaps = {}
    for rate in (0.0, 0.1):
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        loss = AdaptiveAsymmetry(rate=rate, target_gap=0.0)
        for _ in range(600):
            optimizer.zero_grad()
            loss(model(features).squeeze(1), y).backward()
            optimizer.step()
        p = model(features).squeeze(1).sigmoid()
        gaps[rate] = (p[y == 1].mean() - (1 - p[y == 0]).mean()).item()
    assert gaps[0.0] < -0.2
    assert abs(gaps[0.1]) < 0.05


def test_the_state_is_kept():
    loss = AdaptiveAsymmetry(rate=1.0)
    loss(X, Y)
    other = AdaptiveAsymmetry(rate=1.0)
    other.load_state_dict(loss.state_dict())
    assert set(loss.state_dict()) == {"gamma_neg"}
    assert other.gamma_neg == loss.gamma_neg == copy.deepcopy(loss).gamma_neg
    assert "target_gap=0.1" in repr(loss)


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_gap": 1.0}, r"target_gap must be in \(-1, 1\); got target_gap 1.0"),
        ({"rate": -1.0}, "rate must be at least 0; got rate -1.0"),
        ({"gamma_neg": 9.0}, r"gamma_neg must be in \[0, max_gamma\]; got gamma_neg 9.0"),
        ({"reduction": "all"}, "reduction must be"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"AdaptiveAsymmetry: {message}"):
        AdaptiveAsymmetry(**settings)
