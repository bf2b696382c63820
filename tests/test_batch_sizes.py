"""Compiled losses and penalties need two graphs for all batch sizes: one fixed, one for others."""

import pytest
import torch
from loss_laws import close
from torch._dynamo.testing import CompileCounterWithBackend

from askew import losses, regularizers

COUNTS = torch.tensor([5.0, 3.0, 1.0, 2.0])
SIZES = (5, 7, 2)


def elements(n):
    return torch.randn(n, 4), (torch.rand(n, 4) < 0.4).float()


def rows(n):
    return torch.randn(n, 4), torch.randint(0, 4, (n,))


def pixels(n):
    return torch.randn(n, 4, 3, n + 1), torch.randint(0, 4, (n, 3, n + 1))


def vectors(count):
    return lambda n: tuple(torch.randn(count, n, 3))


def numbers(n):
    return tuple(torch.randn(2, n))


OF_PAIRS = {
    "contrastive": (losses.AsymmetricContrastiveLoss(), vectors(2)),
    "contrastive with more documents": (
        losses.AsymmetricContrastiveLoss(similarity="dot"),
        lambda n: (torch.randn(n, 3), torch.randn(2 * n + 1, 3)),
    ),
    "ranking": (losses.AsymmetricRankingLoss(), vectors(3)),
    "ranking by cosine": (
        losses.AsymmetricRankingLoss(distance="cosine", relative_margin=0.1),
        vectors(3),
    ),
    "pairs": (losses.AsymmetricPairLoss(), rows),
    "pairs by cosine": (losses.AsymmetricPairLoss(distance="cosine"), rows),
}
OTHERS = {
    "binary": (losses.asymmetric_bce_loss, elements),
    "hill": (losses.hill_loss, elements),
    "splc": (losses.splc_loss, elements),
    "two-way": (losses.two_way_loss, elements),
    "focal": (losses.asymmetric_focal_loss, rows),
    "adjusted": (lambda x, t: losses.logit_adjusted_cross_entropy(x, t, COUNTS), rows),
    "ldam": (lambda x, t: losses.ldam_loss(x, t, COUNTS), rows),
    "AGCE": (losses.agce_loss, rows),
    "AUL": (losses.aul_loss, rows),
    "AEL": (losses.ael_loss, rows),
    "tversky": (losses.asymmetric_tversky_loss, pixels),
    "unified": (losses.asymmetric_unified_focal_loss, pixels),
    "pinball": (losses.pinball_loss, numbers),
    "expectile": (losses.expectile_loss, numbers),
    "huber": (losses.asymmetric_huber_loss, numbers),
    "linex": (losses.linex_loss, numbers),
    "directional": (regularizers.directional_loss, lambda n: (torch.randn(n, n + 2, 3),)),
    "variation": (
        regularizers.asymmetric_total_variation,
        lambda n: (torch.randn(n, n + 2),),
    ),
    "ordered dropout": (regularizers.OrderedDropout(1.0), lambda n: (torch.randn(n, 4),)),
    "dropout": (
        regularizers.AsymmetricDropout((0.0, 1.0)),
        lambda n: (torch.randn(n, 4),),
    ),
}

DAILY = ("contrastive", "pairs", "binary", "focal", "tversky", "pinball", "directional")


def graphs_of(loss, make, backend, *, dynamic):
    torch.compiler.reset()
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(loss, fullgraph=True, backend=counter, dynamic=dynamic)
    for n in SIZES:
        inputs = make(n)
        inputs[0].requires_grad_()
        value, expected = compiled(*inputs), loss(*inputs)
        close(value, expected)
        slopes = [torch.autograd.grad(v.sum(), inputs[0])[0] for v in (value, expected)]
        close(*slopes, rtol=1e-4, atol=1e-5)
    return counter.frame_count


@pytest.mark.slow
@pytest.mark.unhooked
@pytest.mark.parametrize(("loss", "make"), OF_PAIRS.values(), ids=OF_PAIRS)
def test_losses_of_pairs_compile_for_every_batch_size(loss, make):
    assert graphs_of(loss, make, "aot_eager", dynamic=None) <= 2


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("loss", "make"),
    [
        pytest.param(*case, id=name, marks=[] if name in DAILY else [pytest.mark.slow])
        for name, case in (OF_PAIRS | OTHERS).items()
    ],
)
def test_numbers_may_be_symbolic_in_a_graph_for_all_sizes(loss, make):
    assert graphs_of(loss, make, "eager", dynamic=True) <= 2
