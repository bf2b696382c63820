import math

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of, mean_and_sum_agree_with_none

from askew.losses import (
    AsymmetricPairLoss,
    _ranking_blocks,
    _ranking_dense,
    _ranking_distances,
    asymmetric_pair_loss,
)
from askew.losses._ranking import Hinges
from askew.losses._ranking_dense import Batch
from askew.losses._ranking_pairs import composed

DISTANCES = ("euclidean", "squared", "cosine")
MARGIN_NEG = {"euclidean": 2.6, "squared": 7.0, "cosine": 1.2}


def batch(rows: int, width: int = 5, classes: int = 4, dtype: torch.dtype = torch.double):
    x = torch.randn(rows, width, dtype=dtype)
    return x.requires_grad_(), torch.randint(classes, (rows,))


def same_value_and_gradient(ours, theirs, x, **tolerance):
    close(ours, theirs, **tolerance)
    mine, other = (torch.autograd.grad(value, x, retain_graph=True)[0] for value in (ours, theirs))
    close(mine, other, **tolerance)


def mean_of_nonzero(costs: torch.Tensor) -> torch.Tensor:
    costs = costs[costs > 0]
    return costs.mean() if len(costs) else costs.sum()


@pytest.mark.parametrize("margins", [(0.0, 1.0), (0.4, 1.3)])
def test_equal_scales_are_the_contrastive_loss_with_its_mean_of_nonzero(margins):
    x, labels = batch(40)
    unit = F.normalize(x)
    d = (unit[:, None] - unit + 1e-300).norm(dim=-1)
    same = labels[:, None] == labels
    other = ~torch.eye(40, dtype=torch.bool)
    theirs = mean_of_nonzero((d - margins[0])[same & other].relu()) + mean_of_nonzero(
        (margins[1] - d)[~same].relu()
    )
    ours = asymmetric_pair_loss(unit, labels, margin_pos=margins[0], margin_neg=margins[1])
    same_value_and_gradient(ours, theirs, x)


def test_is_the_contrastive_loss_of_pytorch_metric_learning():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    x, labels = batch(60)
    theirs = losses.ContrastiveLoss(
        0.2, 2.5, distance=distances.LpDistance(normalize_embeddings=False)
    )
    ours = asymmetric_pair_loss(x, labels, margin_pos=0.2, margin_neg=2.5)
    same_value_and_gradient(ours, theirs(x, labels), x)


def naive_distance(x: list[float], y: list[float], distance: str) -> float:
    if distance == "cosine":
        return 1 - sum(map(math.prod, zip(x, y, strict=True))) / math.hypot(*x) / math.hypot(*y)
    return math.dist(x, y) ** (2 if distance == "squared" else 1)


@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_a_plain_loop(distance):
    x, labels = batch(23)
    where = torch.rand(23) > 0.2
    margins = {"margin_pos": 0.3, "margin_neg": MARGIN_NEG[distance]}
    pos, neg, rows = [], [], x.tolist()
    by_row = [0.0] * 23
    for i, (a, label) in enumerate(zip(rows, labels.tolist(), strict=True)):
        for j, (b, other) in enumerate(zip(rows, labels.tolist(), strict=True)):
            if i == j or not where[i] or not where[j]:
                continue
            d = naive_distance(a, b, distance)
            if label == other:
                pos.append(max(d - 0.3, 0.0))
                by_row[i] += 1.7 * pos[-1]
            else:
                neg.append(max(margins["margin_neg"] - d, 0.0))
                by_row[i] += 0.6 * neg[-1]
    expected = {
        "sum": 1.7 * sum(pos) + 0.6 * sum(neg),
        "mean": 1.7 * sum(pos) / sum(c > 0 for c in pos) + 0.6 * sum(neg) / sum(c > 0 for c in neg),
        "none": by_row,
    }
    assert any(c == 0 for c in neg)
    for reduction, value in expected.items():
        actual = asymmetric_pair_loss(
            x,
            labels,
            **margins,
            scale_pos=1.7,
            scale_neg=0.6,
            distance=distance,
            where=where,
            reduction=reduction,
        )
        close(actual, torch.tensor(value, dtype=torch.double))


def test_by_hand():
    x = torch.tensor([[0.0], [0.5], [0.75], [9.0]], requires_grad=True)
    labels = torch.tensor([True, True, False, False])
    loss = asymmetric_pair_loss(x, labels, margin_pos=0.25, scale_pos=4.0, scale_neg=2.0)
    assert loss == 4 * (0.25 + 8.0) / 2 + 2 * (0.25 + 0.75) / 2
    loss.backward()
    assert x.grad.squeeze(1).tolist() == [-2 + 1, 2 + 1, -2 - 1 - 1, 2]


def difficult(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Three blocks of rows: pairs that are equal, near, tiny, huge and zero among random ones."""
    x = torch.randn(2 * _ranking_blocks.BLOCK_ROWS + 17, 6, dtype=dtype)
    x[3] = x[70]
    x[9] = x[71] + 1e-3 * x[72]
    x[11:13] = 0
    x[13:15] *= torch.finfo(dtype).tiny
    x[20:26] = x[26:32] * (1 + 1e-5)
    x[33:36] *= 1e15
    labels = torch.randint(30, (len(x),))
    labels[[3, 20, 21]] = labels[[70, 26, 27]]
    return x, labels


@pytest.mark.parametrize("mean", [True, False], ids=["mean", "sum"])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("dtype", [torch.double, torch.float32])
def test_blocks_are_the_dense_composition(distance, mean, dtype):
    x, labels = difficult(dtype)
    x.requires_grad_()
    where = torch.rand(len(x)) > 0.1
    settings = Hinges(0.1, MARGIN_NEG[distance], 1.7, 0.6)
    reduction = "mean" if mean else "sum"
    ours = asymmetric_pair_loss(
        x,
        labels,
        margin_pos=0.1,
        margin_neg=MARGIN_NEG[distance],
        scale_pos=1.7,
        scale_neg=0.6,
        distance=distance,
        where=where,
        reduction=reduction,
    )
    hidden = x.masked_fill(~where.unsqueeze(1), 0.0)
    theirs = composed(Batch(hidden, labels, where), settings, distance, reduction)
    close(ours, theirs)
    mine, other = (torch.autograd.grad(value, x)[0] for value in (ours, theirs))
    scale = other.norm(dim=1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
    tolerance = 1e-10 if dtype == torch.double else 3e-4
    close(mine / scale, other / scale, rtol=0, atol=tolerance)


def test_squares_out_of_range_do_not_lose_the_distance():
    x = torch.tensor([[1e25, 0.0], [1e25, 3e24], [4.0, 0.0]], requires_grad=True)
    loss = asymmetric_pair_loss(x, torch.tensor([0, 0, 1]), reduction="sum")
    loss.backward()
    close(loss, torch.tensor(2 * 3e24))
    assert x.grad.tolist() == [[0, -2], [0, 2], [0, 0]]


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_near_pairs_keep_their_digits_in_single_precision(offset):
    x = torch.randn(50, 8) + offset
    x = torch.cat((x, x + 1e-3 * torch.randn(50, 8))).requires_grad_()
    labels = torch.arange(50).repeat(2)
    ours = asymmetric_pair_loss(x, labels, scale_neg=0.0)
    exact = x.detach().double().requires_grad_()
    theirs = (exact[:50] - exact[50:]).norm(dim=1).mean()
    theirs.backward()
    ours.backward()
    close(ours, theirs, rtol=1e-6, atol=0.0)
    close(x.grad, exact.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_collapsed_batch_has_no_positive_cost_and_no_gradient(distance):
    x = torch.full((150, 4), 0.3, requires_grad=True)
    loss = asymmetric_pair_loss(x, torch.arange(150) % 3, distance=distance)
    loss.backward()
    assert loss == 1
    assert not x.grad.any()


def test_blocks_and_elements_are_not_seen(monkeypatch):
    x, labels = batch(45)
    one = asymmetric_pair_loss(x, labels, margin_neg=2.5)
    rows = asymmetric_pair_loss(x, labels, margin_neg=2.5, reduction="none")
    monkeypatch.setattr(_ranking_blocks, "BLOCK_ROWS", 7)
    monkeypatch.setattr(_ranking_dense, "CPU_BLOCK_ELEMENTS", 1000)
    same_value_and_gradient(asymmetric_pair_loss(x, labels, margin_neg=2.5), one, x)
    again = asymmetric_pair_loss(x, labels, margin_neg=2.5, reduction="none")
    same_value_and_gradient(again.square().sum(), rows.square().sum(), x)


def test_order_and_names_of_labels_do_not_matter():
    x, labels = batch(150)
    order = torch.randperm(150)
    one = asymmetric_pair_loss(x, labels, margin_neg=2.5)
    same_value_and_gradient(
        asymmetric_pair_loss(x[order], 5 - 3 * labels[order], margin_neg=2.5), one, x
    )


@pytest.mark.filterwarnings("ignore:asymmetric_pair_loss")
def test_the_negatives_of_turned_vectors_are_positives():
    x, labels = batch(20, classes=2)
    turned = torch.where(labels.bool().unsqueeze(1), -x, x)
    settings = {"distance": "cosine", "reduction": "sum"}
    apart = asymmetric_pair_loss(x, labels, margin_neg=1.1, scale_pos=0.0, **settings)
    together = asymmetric_pair_loss(turned, torch.zeros_like(labels), margin_pos=0.9, **settings)
    within = asymmetric_pair_loss(x, labels, margin_pos=0.9, scale_neg=0.0, **settings)
    same_value_and_gradient(apart, together - within, x)


def case(distance: str, labels: list[int]) -> LossCase:
    generator = torch.Generator().manual_seed(3)
    settings = {"margin_pos": 0.3, "margin_neg": MARGIN_NEG[distance], "distance": distance}
    settings |= {"scale_pos": 1.5, "scale_neg": 0.7}
    return LossCase(
        lambda x, labels, **more: asymmetric_pair_loss(x, labels, **settings, **more),
        (torch.randn(8, 4, dtype=torch.double, generator=generator), torch.tensor(labels)),
        where=torch.tensor([True, True, False, True, True, True, True, False]),
        module=AsymmetricPairLoss(**settings),
    )


CASES = {
    "positives": case("euclidean", [4] * 8),
    "negatives": case("squared", list(range(8))),
    **{distance: case(distance, [0, 1, 2, 0, 1, 2, 0, 0]) for distance in DISTANCES},
}


def has_two_denominators(law, name):
    """A mean of two sides, each over its own pairs, is not one share of their sum."""
    return law is mean_and_sum_agree_with_none and name in DISTANCES


@each_law_of(CASES, exempt=has_two_denominators)
def test_laws(law, case):
    law(case)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_mean_is_each_side_over_its_pairs_that_cost(distance):
    x, labels = batch(30)
    settings = {"margin_pos": 0.4, "margin_neg": MARGIN_NEG[distance], "distance": distance}
    mean = asymmetric_pair_loss(x, labels, **settings)
    total = asymmetric_pair_loss(x, labels, **settings, reduction="sum")
    rows = asymmetric_pair_loss(x, labels, **settings, reduction="none")
    same_value_and_gradient(rows.sum(), total, x)
    sums = composed_sides(x, labels, settings)
    assert mean < total
    same_value_and_gradient(mean, sum(cost.sum() / (cost > 0).sum() for cost in sums), x)


def composed_sides(x, labels, settings):
    d = _ranking_distances.distances(x[:, None], x[None], settings["distance"])
    same = labels[:, None] == labels
    other = ~torch.eye(len(x), dtype=torch.bool)
    pos = (d - settings["margin_pos"]).relu()[same & other]
    return pos, (settings["margin_neg"] - d).relu()[~same]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_second_and_third_derivatives(distance, reduction):
    x, labels = batch(6, width=3, classes=2)
    settings = {"margin_pos": 0.3, "margin_neg": MARGIN_NEG[distance], "distance": distance}

    def slope(x):
        loss = asymmetric_pair_loss(x, labels, **settings, reduction=reduction)
        return torch.autograd.grad(loss, x, create_graph=True)[0]

    assert torch.autograd.gradcheck(slope, x)
    assert torch.autograd.gradgradcheck(slope, x)


def test_hessian_by_function_transforms_is_that_of_the_composition():
    x, labels = batch(6, width=2, classes=2)
    x = x.detach()
    hinges = Hinges(0.0, 2.5)

    def ours(x):
        return asymmetric_pair_loss(x, labels, margin_neg=2.5)

    def theirs(x):
        return composed(Batch(x, labels, None), hinges, "euclidean")

    expected = torch.func.jacrev(torch.func.grad(theirs))(x)
    assert expected.any()
    exactly = {"rtol": 1e-12, "atol": 1e-13}
    close(torch.func.jacrev(torch.func.grad(ours))(x), expected, **exactly)
    close(torch.func.hessian(ours)(x), expected, **exactly)
    close(torch.func.jacfwd(torch.func.jacfwd(ours))(x), expected, **exactly)
    close(torch.autograd.functional.hessian(ours, x), expected, **exactly)


def test_equal_vectors_have_no_second_derivative():
    x = torch.ones(4, 2, dtype=torch.double, requires_grad=True)
    loss = asymmetric_pair_loss(x, torch.tensor([0, 0, 1, 1]))
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum() + slope.sum(), x)
    assert not slope.any()
    assert not second.any()


def test_vmap_takes_one_batch_after_the_other():
    x, labels = torch.randn(3, 12, 4), torch.randint(3, (3, 12))
    where = torch.rand(3, 12) > 0.2
    together = torch.vmap(lambda x, y, w: asymmetric_pair_loss(x, y, where=w))(x, labels, where)
    one_by_one = [
        asymmetric_pair_loss(*args[:2], where=args[2])
        for args in zip(x, labels, where, strict=True)
    ]
    close(together, torch.stack(one_by_one))
    shared = torch.func.grad(
        lambda x: torch.vmap(asymmetric_pair_loss, in_dims=(0, None))(x, labels[0]).sum()
    )(x)
    for gradient, expected in zip(shared, x, strict=True):
        leaf = expected.clone().requires_grad_()
        asymmetric_pair_loss(leaf, labels[0]).backward()
        close(gradient, leaf.grad)


def test_the_gradient_is_kept_for_a_second_backward():
    x, labels = batch(20)
    loss = asymmetric_pair_loss(x, labels)
    first = torch.autograd.grad(3 * loss, x, retain_graph=True)[0]
    second = torch.autograd.grad(loss, x, retain_graph=True)[0]
    close(first, 3 * second)
    first.zero_()
    close(torch.autograd.grad(loss, x)[0], second)


def test_no_gradient_is_computed_where_none_is_wanted(monkeypatch):
    x, labels = batch(20)
    expected = asymmetric_pair_loss(x, labels)

    def fail(*args):
        raise AssertionError("a gradient was computed")

    monkeypatch.setattr(_ranking_blocks._SortedPoints, "gradient", fail)
    monkeypatch.setattr(torch.Tensor, "addmm_", fail)
    close(asymmetric_pair_loss(x.detach(), labels), expected.detach())
    with torch.no_grad():
        close(asymmetric_pair_loss(x, labels), expected)
    with pytest.raises(AssertionError, match="a gradient was computed"):
        asymmetric_pair_loss(x, labels)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [0, 1])
def test_without_pairs_it_is_a_differentiable_zero(rows, reduction):
    x = torch.randn(rows, 3, requires_grad=True)
    loss = asymmetric_pair_loss(x, torch.zeros(rows, dtype=torch.long), reduction=reduction)
    loss.backward()
    assert loss == 0
    assert not x.grad.any()
    none = asymmetric_pair_loss(x, torch.zeros(rows, dtype=torch.long), reduction="none")
    assert none.shape == (rows,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("distance", DISTANCES)
def test_extreme_vectors_are_finite_in_value_and_gradient(distance, dtype):
    largest = torch.finfo(dtype).max
    sizes = [0.0, 1.0, torch.finfo(dtype).tiny, largest / 4, largest, -largest]
    x = torch.tensor([[a, -b] for a in sizes for b in sizes], dtype=dtype, requires_grad=True)
    for reduction in ("mean", "none"):
        loss = asymmetric_pair_loss(
            x, torch.arange(len(x)), distance=distance, reduction=reduction
        ).mean()
        assert loss.isfinite()
        assert torch.autograd.grad(loss, x)[0].isfinite().all()


def test_an_infinite_negative_costs_nothing():
    x, labels = batch(9)
    far = torch.cat((x, torch.full((1, 5), math.inf).double()))
    loss = asymmetric_pair_loss(far, torch.cat((labels, torch.tensor([99]))), margin_neg=3.0)
    same_value_and_gradient(loss, asymmetric_pair_loss(x, labels, margin_neg=3.0), x)


def test_small_gradients_of_half_precision_survive_a_loss_scale():
    x = torch.randn(300, 8, requires_grad=True)
    half = x.detach().half().requires_grad_()
    labels = torch.arange(300) // 150
    (asymmetric_pair_loss(half, labels) * 1024).backward()
    asymmetric_pair_loss(x, labels).backward()
    close(half.grad.float() / 1024, x.grad, rtol=0.02, atol=2e-5)


def test_nan_is_not_hidden():
    x, labels = batch(9)
    x = x.detach()
    x[4, 2] = math.nan
    assert asymmetric_pair_loss(x, labels).isnan()


@pytest.mark.unhooked
def test_compiles_with_settings_that_warn():
    torch._dynamo.reset()
    compiled = torch.compile(asymmetric_pair_loss, fullgraph=True, backend="aot_eager")
    assert compiled(*batch(5), margin_pos=0.5, margin_neg=0.3).isfinite()


@pytest.mark.unhooked
def test_warns_where_a_wrong_order_is_free():
    message = r"the loss can be 0 while the negative is nearer .*margin_pos 0\.5, margin_neg 0\.3"
    with pytest.warns(UserWarning, match=f"AsymmetricPairLoss: {message}") as caught:
        loss = AsymmetricPairLoss(margin_pos=0.5, margin_neg=0.3)
    assert [warning.filename for warning in caught] == [__file__]
    loss(*batch(4))  # warns no more: every warning is an error
    with pytest.warns(UserWarning, match=f"asymmetric_pair_loss: {message}") as caught:
        asymmetric_pair_loss(*batch(4), margin_pos=0.5, margin_neg=0.3)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin_pos": -0.1}, "margin_pos must be >= 0 and finite; got margin_pos -0.1"),
        ({"scale_pos": 0, "scale_neg": 0}, "something must cost; got scale_pos 0, scale_neg 0"),
        ({"distance": "l1"}, 'distance must be "euclidean", "squared" or "cosine"; got .*l1'),
        ({"reduction": "max"}, "reduction must be .*; got reduction 'max'"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=f"asymmetric_pair_loss: {message}"):
        asymmetric_pair_loss(*batch(3), **settings)
    with pytest.raises(ValueError, match=f"AsymmetricPairLoss: {message}"):
        AsymmetricPairLoss(**settings)


@pytest.mark.unhooked
def test_inputs_that_do_not_fit():
    name, (x, labels) = "asymmetric_pair_loss", batch(3)
    with pytest.raises(ValueError, match=rf"{name}: embeddings must be .*; got .* \(1, 3, 5\)"):
        asymmetric_pair_loss(x[None], labels)
    with pytest.raises(ValueError, match=rf"{name}: labels must .* \(2,\), embeddings \(3, 5\)"):
        asymmetric_pair_loss(x, labels[:2])
    with pytest.raises(TypeError, match=f"{name}: embeddings must be floating point; got .*int64"):
        asymmetric_pair_loss(x.long(), labels)
    with pytest.raises(TypeError, match=f"{name}: labels must be integers .*; got dtype .*float32"):
        asymmetric_pair_loss(x, labels.float())
    with pytest.raises(TypeError, match=f"{name}: where must be boolean"):
        asymmetric_pair_loss(x, labels, where=labels)


def test_the_module_says_its_settings_and_passes_them_on():
    assert repr(AsymmetricPairLoss(margin_pos=0.25)) == (
        "AsymmetricPairLoss(margin_pos=0.25, margin_neg=1.0, scale_pos=1.0, scale_neg=1.0, "
        "distance='euclidean', reduction='mean')"
    )
    inputs = batch(60)
    for setting in (
        {"margin_pos": 0.2},
        {"margin_neg": 3.0},
        {"scale_pos": 3.0},
        {"scale_neg": 3.0},
        {"distance": "squared"},
        {"reduction": "sum"},
    ):
        value = AsymmetricPairLoss(**setting)(*inputs)
        close(value, asymmetric_pair_loss(*inputs, **setting))
        assert value != AsymmetricPairLoss()(*inputs)
