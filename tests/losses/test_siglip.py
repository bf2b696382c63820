import math

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of

from askew.losses import SigLIPLoss, asymmetric_contrastive_loss, siglip_loss

SETTINGS = [{}, {"temperature": 0.7, "bias": -0.4, "weight_pos": 1.7, "weight_neg": 0.3}]


def example(queries=4, documents=6, width=3):
    generator = torch.Generator().manual_seed(queries + documents)
    q, d = (
        torch.randn(n, width, generator=generator, dtype=torch.double) for n in (queries, documents)
    )
    belongs = torch.rand(queries, documents, generator=generator) < 0.3
    belongs[0] = False  # a query without an answer
    belongs[1, :2] = True
    return q, d, belongs


def test_equal_weights_are_the_sigmoid_loss():
    """The published form: one logarithm of a sigmoid for each pair, divided by the batch."""
    q, d, _ = example(5, 5)
    scores = F.normalize(q) @ F.normalize(d).T / 0.1 - 10
    signs = 2 * torch.eye(5) - 1
    close(siglip_loss(q, d), -F.logsigmoid(signs * scores).sum() / 5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_is_the_naive_sum(settings):
    q, d, belongs = example()
    t, bias = settings.get("temperature", 0.1), settings.get("bias", -10.0)
    costs = []
    for i, query in enumerate(q.tolist()):
        cost = 0.0
        for j, document in enumerate(d.tolist()):
            product = sum(a * b for a, b in zip(query, document, strict=True))
            score = product / (math.hypot(*query) * math.hypot(*document)) / t + bias
            positive = belongs[i, j].item()
            weight = settings.get("weight_pos" if positive else "weight_neg", 1.0)
            cost += weight * math.log1p(math.exp(-score if positive else score))
        costs.append(cost)
    costs = torch.tensor(costs, dtype=torch.double)
    close(siglip_loss(q, d, positives=belongs, reduction="none", **settings), costs)
    close(siglip_loss(q, d, positives=belongs, **settings), costs.mean())
    close(siglip_loss(q, d, positives=belongs, reduction="sum", **settings), costs.sum())


def test_swapped_towers_change_nothing_but_the_divisor():
    q, d, belongs = example()
    for settings in SETTINGS:
        one = siglip_loss(q, d, positives=belongs, reduction="sum", **settings)
        close(one, siglip_loss(d, q, positives=belongs.T, reduction="sum", **settings))


def test_the_weights_are_of_the_two_kinds_of_pairs():
    q, d, belongs = example()
    kinds = [
        siglip_loss(q, d, positives=belongs, weight_pos=p, weight_neg=n, bias=0.0)
        for p, n in ((1.0, 0.0), (0.0, 1.0), (2.5, 0.3))
    ]
    close(kinds[2], 2.5 * kinds[0] + 0.3 * kinds[1])


def test_excluded_pairs_and_hidden_queries_leave_the_sum():
    q, d, belongs = example()
    exclude = torch.zeros_like(belongs)
    exclude[:, 5] = True
    exclude[1, 0] = True  # positive, so it stays
    close(
        siglip_loss(q, d, positives=belongs, exclude=exclude & ~belongs),
        siglip_loss(q, d, positives=belongs, exclude=exclude),
    )
    belongs[:, 5] = False
    broken = d.clone()
    broken[5] = math.nan  # compared with no query
    close(
        siglip_loss(q, broken, positives=belongs, exclude=exclude),
        siglip_loss(q, d[:5], positives=belongs[:, :5]),
    )


def test_the_loss_does_not_need_a_batch():
    """A pair costs the same whatever else is in the batch, unlike a softmax over it."""
    q, d, _ = example(5, 5)
    for loss, is_sum in ((siglip_loss, True), (asymmetric_contrastive_loss, False)):
        whole = loss(q, d, reduction="sum")
        pairs = [
            loss(q[i : i + 1], d[j : j + 1], positives=torch.tensor([[i == j]]), reduction="sum")
            for i in range(5)
            for j in range(5)
        ]
        assert torch.isclose(sum(pairs), whole).item() == is_sum


def test_temperature_and_bias_are_learned():
    q, d, _ = example(5, 5)
    loss = SigLIPLoss(
        temperature=torch.nn.Parameter(torch.tensor(0.1)),
        bias=torch.nn.Parameter(torch.tensor(-1.0)),
    )
    optimizer = torch.optim.SGD(loss.parameters(), 1e-4)
    before = loss(q, d)
    before.backward()
    optimizer.step()
    assert loss(q, d) < before
    assert "temperature='learned', bias='learned'" in repr(loss)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_far_scores_are_finite(dtype):
    q = torch.tensor([[1.0, 0.0], [-1e4, 0.0], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    for temperature in (1e-4, 1e-2, 1.0):
        value = siglip_loss(q, q.detach().flip(0), temperature=temperature)
        (slope,) = torch.autograd.grad(value, q)
        assert value.isfinite()
        assert slope.isfinite().all()


Q, D, BELONGS = example()
D = D.bfloat16().double()  # the same numbers in every precision
WHERE = torch.tensor([True, False, True, True])


def case(**settings) -> LossCase:
    def loss(q, belongs, **more):
        return siglip_loss(q, D.to(q), positives=belongs, **settings, **more)

    return LossCase(loss, (Q, BELONGS), where=WHERE)


def of_pairs(**settings) -> LossCase:
    def loss(q, d, **more):
        return siglip_loss(q, d, **settings, **more)

    return LossCase(loss, (Q, D), wrt=(0, 1), module=SigLIPLoss(**settings))


CASES = {f"masks {settings}": case(**settings) for settings in SETTINGS}
CASES |= {f"pairs {settings}": of_pairs(**settings) for settings in SETTINGS}


@each_law_of(CASES)
def test_law(law, case):
    law(case)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0.0}, r"temperature must be above 0 and finite; got temperature 0\.0"),
        ({"bias": math.inf}, "bias must be finite; got bias inf"),
        ({"weight_neg": -0.5}, r"weight_neg must be >= 0 and finite; got weight_neg -0\.5"),
        ({"weight_pos": math.nan}, "weight_pos must be >= 0 and finite; got weight_pos nan"),
        ({"reduction": "all"}, "reduction must be"),
    ],
)
@pytest.mark.unhooked
def test_settings_out_of_range_are_refused(settings, words):
    q, d, _ = example()
    with pytest.raises(ValueError, match=f"siglip_loss: {words}"):
        siglip_loss(q, d, **settings)
    with pytest.raises(ValueError, match=f"SigLIPLoss: {words}"):
        SigLIPLoss(**settings)


@pytest.mark.unhooked
def test_towers_that_do_not_fit_are_refused():
    q, d, belongs = example()
    with pytest.raises(ValueError, match="siglip_loss: queries and documents must be"):
        siglip_loss(q, d[:, :2])
    with pytest.raises(TypeError, match="siglip_loss: exclude must be boolean; got dtype"):
        siglip_loss(q, d, exclude=belongs.long())
    with pytest.raises(ValueError, match="got 6 queries, 4 documents"):
        siglip_loss(d, q)
