"""What a loss keeps survives the meta device, as a model of many processes is built."""

import pytest
import torch

from askew.losses import (
    AdaptiveAsymmetry,
    AsymmetricBCELoss,
    AsymmetricContrastiveLoss,
    AsymmetricFocalLoss,
    AsymmetricHuberLoss,
    AsymmetricTverskyLoss,
    ExpectileLoss,
    LDAMLoss,
    LogitAdjustedCrossEntropy,
    PinballLoss,
)

LOSSES = {
    "adaptive": lambda: AdaptiveAsymmetry(gamma_neg=2.0),
    "bce": lambda: AsymmetricBCELoss(weight_pos=[1.0, 2.0], gamma_neg=[0.5, 3.0]),
    "contrastive": lambda: AsymmetricContrastiveLoss(
        temperature=torch.nn.Parameter(torch.tensor(0.2, device="cpu"))
    ),
    "focal": lambda: AsymmetricFocalLoss(alpha=[0.2, 0.3, 0.5], gamma=[0.0, 1.0, 2.0]),
    "huber": lambda: AsymmetricHuberLoss(quantile=[0.1, 0.5]),
    "tversky": lambda: AsymmetricTverskyLoss(weight_fn=[0.3, 0.7], weight_fp=[0.6, 0.4]),
    "expectile": lambda: ExpectileLoss(expectile=[0.1, 0.5]),
    "ldam": lambda: LDAMLoss(class_counts=[10.0, 5.0, 2.0], weight=[1.0, 2.0, 3.0]),
    "adjusted": lambda: LogitAdjustedCrossEntropy(class_counts=[10.0, 5.0, 2.0]),
    "pinball": lambda: PinballLoss(quantile=[0.1, 0.5]),
}


def spoiled(make, device):
    """Build on the device `meta` or not, then leave all memory undefined, with other numbers."""
    with torch.device(device):
        loss = make()
    loss.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in loss.state_dict().values():
            tensor.fill_(99)
    return loss


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", LOSSES)
def test_what_was_given_is_written_again(name, device):
    expected = LOSSES[name]().state_dict()
    loss = spoiled(LOSSES[name], device)
    assert expected
    loss.reset_parameters()
    torch.testing.assert_close(loss.state_dict(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"contrastive"}))
def test_half_precision_leaves_them_as_they_were(name):
    for change in (
        lambda loss: loss.half(),
        lambda loss: loss.bfloat16(),
        lambda loss: loss.to("cpu", torch.float16).float(),
        lambda loss: torch.nn.Sequential(loss).half()[0],
    ):
        changed = change(LOSSES[name]()).state_dict()
        torch.testing.assert_close(changed, LOSSES[name]().state_dict(), rtol=0, atol=0)
    assert all(t.is_meta for t in LOSSES[name]().half().to("meta").state_dict().values())


def test_what_is_learned_follows_the_precision_of_the_module():
    assert LOSSES["contrastive"]().half().temperature.dtype == torch.float16


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_what_was_saved_is_loaded_over_it(name, assign):
    saved = {key: value + 1 for key, value in LOSSES[name]().state_dict().items()}
    loss = spoiled(LOSSES[name], "meta")
    loss.load_state_dict(saved, assign=assign)
    torch.testing.assert_close(loss.state_dict(), saved, rtol=0, atol=0)
