import math

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of
from torch import nn

from askew.losses import (
    AsymmetricRankingLoss,
    RankingViolations,
    asymmetric_ranking_loss,
    ranking_violations,
)

DISTANCES = ("euclidean", "squared", "cosine")
ODD = {"margin_pos": 0.4, "margin_neg": 2.3, "scale_pos": 1.7, "scale_neg": 0.6}


def triplets(*shape: int, dtype: torch.dtype = torch.double) -> list[torch.Tensor]:
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for _ in range(3)]


def gradients(value, inputs):
    return torch.autograd.grad(value, inputs)


def same_value_and_gradient(ours, theirs, inputs):
    close(ours, theirs)
    for a, b in zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        close(a, b)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_relative_margin_alone_is_the_triplet_loss(reduction):
    inputs = triplets(6, 5)
    ours = asymmetric_ranking_loss(
        *inputs, scale_pos=0.0, scale_neg=0.0, relative_margin=0.3, reduction=reduction
    )
    theirs = nn.TripletMarginLoss(margin=0.3, eps=0, reduction=reduction)(*inputs)
    same_value_and_gradient(ours.sum(), theirs.sum(), inputs)


def test_relative_margin_of_cosines_is_the_triplet_loss_with_that_distance():
    inputs = triplets(6, 5)
    loss = nn.TripletMarginWithDistanceLoss(
        distance_function=lambda x, y: 1 - F.cosine_similarity(x, y), margin=0.2
    )
    ours = asymmetric_ranking_loss(
        *inputs, scale_pos=0.0, scale_neg=0.0, relative_margin=0.2, distance="cosine"
    )
    same_value_and_gradient(ours, loss(*inputs), inputs)


def test_margins_zero_and_m_are_the_contrastive_loss():
    inputs = anchor, positive, negative = triplets(7, 3)
    ours = asymmetric_ranking_loss(*inputs, margin_neg=1.9)
    theirs = (anchor - positive).norm(dim=1) + F.relu(1.9 - (anchor - negative).norm(dim=1))
    same_value_and_gradient(ours, theirs.mean(), inputs)


def naive_distance(x: list[float], y: list[float], distance: str) -> float:
    if distance == "cosine":
        return 1 - sum(map(math.prod, zip(x, y, strict=True))) / math.hypot(*x) / math.hypot(*y)
    return math.dist(x, y) ** (2 if distance == "squared" else 1)


@pytest.mark.parametrize("relative", [None, 0.25, -0.25])
@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_a_plain_loop(distance, relative):
    inputs = triplets(2, 9, 3)
    margins = {"margin_pos": 0.4, "margin_neg": 1.1, "scale_pos": 1.7, "scale_neg": 0.6}
    actual = asymmetric_ranking_loss(
        *inputs, **margins, relative_margin=relative, distance=distance, reduction="none"
    )
    assert actual.shape == (2, 9)
    rows = zip(*(t.detach().flatten(0, 1).tolist() for t in inputs), strict=True)
    for got, (a, p, n) in zip(actual.flatten().tolist(), rows, strict=True):
        far, near = naive_distance(a, p, distance), naive_distance(a, n, distance)
        expected = 1.7 * max(far - 0.4, 0) + 0.6 * max(1.1 - near, 0)
        if relative is not None:
            expected += max(far - near + relative, 0)
        assert got == pytest.approx(expected, abs=1e-12)


def test_by_hand():
    anchor, positive, negative = (torch.tensor(v) for v in ([0.0, 0.0], [3.0, 4.0], [0.0, 2.0]))
    settings = {"margin_pos": 1.0, "margin_neg": 3.0, "scale_pos": 2.0, "scale_neg": 10.0}
    loss = asymmetric_ranking_loss(anchor, positive, negative, **settings)
    assert loss == 2 * (5 - 1) + 10 * (3 - 2)
    assert asymmetric_ranking_loss(
        anchor, positive, negative, **settings, relative_margin=0.5
    ) == 18 + (5 - 2 + 0.5)


@pytest.mark.parametrize("distance", DISTANCES)
def test_defaults_are_zero_and_one(distance):
    inputs = triplets(8, 3)
    close(
        asymmetric_ranking_loss(*inputs, distance=distance),
        asymmetric_ranking_loss(
            *inputs, margin_pos=0.0, margin_neg=1.0, scale_pos=1.0, scale_neg=1.0, distance=distance
        ),
    )


def test_swapping_the_sides_mirrors_the_cosine_distance():
    inputs = anchor, positive, negative = triplets(20, 3)
    ours = asymmetric_ranking_loss(
        *inputs,
        margin_pos=0.3,
        margin_neg=1.1,
        scale_pos=1.7,
        scale_neg=0.6,
        relative_margin=0.2,
        distance="cosine",
    )
    mirrored = asymmetric_ranking_loss(
        -anchor,
        negative,
        positive,
        margin_pos=2.0 - 1.1,
        margin_neg=2.0 - 0.3,
        scale_pos=0.6,
        scale_neg=1.7,
        relative_margin=0.2,
        distance="cosine",
    )
    same_value_and_gradient(ours, mirrored, inputs)


CASES = {
    distance: LossCase(
        lambda a, p, n, d=distance, **settings: asymmetric_ranking_loss(
            a, p, n, **ODD, relative_margin=0.5, distance=d, **settings
        ),
        tuple(torch.randn(3, 7, 4, dtype=torch.double, generator=torch.Generator().manual_seed(5))),
        wrt=(0, 1, 2),
        where=torch.tensor([True, False, True, True, False, True, True]),
        module=AsymmetricRankingLoss(**ODD, relative_margin=0.5, distance=distance),
    )
    for distance in DISTANCES
}


@each_law_of(CASES)
def test_laws(law, case):
    law(case)


@pytest.mark.parametrize("distance", ["euclidean", "squared"])
def test_equal_vectors_are_at_zero_without_gradient(distance):
    x = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    value = asymmetric_ranking_loss(x, y, y, scale_neg=0.5, distance=distance, reduction="sum")
    assert value == 4 * 0.5
    gradient = torch.autograd.grad(value, (x, y), create_graph=True)
    assert not any(g.any() for g in gradient)
    second = torch.autograd.grad(sum(g.sum() for g in gradient), (x, y), allow_unused=True)
    assert all(g is None or g.isfinite().all() for g in second)


def test_equal_directions_are_at_zero_and_zeros_at_one():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    positive = torch.tensor([[6.0, 8.0], [0.0, 0.0], [1.0, 2.0]])
    loss = asymmetric_ranking_loss(
        x, positive, -positive, distance="cosine", scale_neg=0.25, reduction="none"
    )
    assert loss.tolist() == [0, 1, 1]
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert not gradient.any()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_distance_is_right_where_the_difference_leaves_the_range(sign):
    x = torch.tensor([sign * 1.6e38, 0.0], requires_grad=True)
    y = torch.tensor([-sign * 1.6e38, 0.6e38])
    loss = asymmetric_ranking_loss(x, y, -y)
    close(loss.double(), torch.tensor(math.hypot(3.2e38, 0.6e38), dtype=torch.double))
    loss.backward()
    close(x.grad.norm(), torch.tensor(1.0))
    further = asymmetric_ranking_loss(2 * x, -2 * x, -2 * x, relative_margin=0.1, scale_pos=0.0)
    close(further, torch.tensor(0.1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("distance", DISTANCES)
def test_extreme_vectors_are_finite_in_value_and_gradient(distance, dtype):
    largest = torch.finfo(dtype).max
    sizes = [0.0, 1.0, torch.finfo(dtype).tiny, largest / 4, largest, -largest]
    x = torch.tensor([[a, -b] for a in sizes for b in sizes], dtype=dtype)
    a = x.repeat_interleave(len(x), 0).requires_grad_()
    p = x.repeat(len(x), 1).requires_grad_()
    loss = asymmetric_ranking_loss(
        a, p, p, margin_neg=1e4, scale_pos=0.0, relative_margin=0.1, distance=distance
    )
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, (a, p)))


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_squares_out_of_range_do_not_lose_the_distance(size):
    x = torch.tensor([3 * size, 0.0], requires_grad=True)
    zero = torch.zeros(2)
    value = (
        asymmetric_ranking_loss(
            x,
            torch.tensor([0.0, 4 * size]),
            zero,
            scale_neg=0.0,
            relative_margin=0.0,
            margin_pos=0.0,
        )
        - (5 - 3) * size
    )
    close(value, torch.tensor(5.0 * size), rtol=1e-6, atol=0.0)
    value.backward()
    close(x.grad, torch.tensor([2 * 0.6 - 1, -2 * 0.8]))


def test_an_infinite_negative_costs_nothing():
    x = torch.zeros(2, requires_grad=True)
    loss = asymmetric_ranking_loss(x, torch.ones(2), torch.tensor([math.inf, 0.0]))
    close(loss, torch.tensor(2.0).sqrt())
    loss.backward()
    assert x.grad.isfinite().all()
    assert asymmetric_ranking_loss(x, torch.tensor([math.inf, 0.0]), torch.ones(2)) == math.inf


def test_violations_by_hand():
    anchor = torch.zeros(5, 1)
    positive = torch.tensor([[0.1], [0.6], [0.7], [0.2], [math.nan]])
    negative = torch.tensor([[2.0], [0.4], [3.0], [0.3], [math.nan]])
    where = torch.tensor([True, True, True, True, False])
    shares = ranking_violations(
        anchor, positive, negative, margin_pos=0.5, margin_neg=1.0, where=where
    )
    assert isinstance(shares, RankingViolations)
    assert shares.positive == 2 / 4
    assert shares.negative == 2 / 4
    assert shares.order == 1 / 4
    assert ranking_violations(anchor[:1], positive[:1], negative[:1]).positive == 1
    assert not any(ranking_violations(anchor[:0], positive[:0], negative[:0]))


def test_violations_have_no_gradient_and_single_precision():
    shares = ranking_violations(*triplets(4, 3, dtype=torch.bfloat16), distance="squared")
    assert all(s.dtype == torch.float32 and not s.requires_grad for s in shares)


def test_violations_swap_with_the_sides():
    anchor, positive, negative = triplets(30, 3)
    ours = ranking_violations(
        anchor, positive, negative, margin_pos=0.7, margin_neg=1.2, distance="cosine"
    )
    mirrored = ranking_violations(
        -anchor, negative, positive, margin_pos=0.8, margin_neg=1.3, distance="cosine"
    )
    assert (ours.positive, ours.negative) == (mirrored.negative, mirrored.positive)
    assert ours.order == mirrored.order


OPEN = {
    "seed": {"margin_pos": 0.5, "margin_neg": 0.3},
    "no positive side": {"scale_pos": 0.0},
    "no negative side": {"margin_pos": 0.1, "scale_neg": 0.0},
    "tolerant order": {"margin_pos": 0.5, "margin_neg": 0.3, "relative_margin": -0.1},
    "cosine": {"margin_pos": 3.0, "margin_neg": 1.9, "distance": "cosine"},
}
CLOSED = {
    "default": {},
    "equal margins": {"margin_pos": 0.5, "margin_neg": 0.5},
    "positives to zero": {"margin_pos": 0.0, "scale_neg": 0.0},
    "order": {"margin_pos": 0.5, "margin_neg": 0.3, "relative_margin": 0.0},
    "cosine": {"margin_pos": 3.0, "margin_neg": 2.0, "distance": "cosine"},
}


def can_be_free_in_the_wrong_order(settings) -> bool:
    """Tries all pairs of distances on a grid; on the line for lengths, on the circle for angles."""
    if settings.get("distance") == "cosine":
        angle = torch.linspace(0, math.pi, 401, dtype=torch.double)
        points = torch.stack((angle.cos(), angle.sin()), 1)
    else:
        points = torch.linspace(0, 4, 161, dtype=torch.double).unsqueeze(1)
    n = len(points)
    positive, negative = points.repeat_interleave(n, 0), points.repeat(n, 1)
    anchor = points[:1].expand_as(positive)
    loss = asymmetric_ranking_loss(anchor, positive, negative, **settings, reduction="none")
    d_pos, d_neg = ((anchor - t).norm(dim=1) for t in (positive, negative))
    return bool(((loss == 0) & (d_neg < d_pos - 1e-9)).any())


@pytest.mark.unhooked
@pytest.mark.filterwarnings("ignore:asymmetric_ranking_loss")
@pytest.mark.parametrize("settings", OPEN.values(), ids=OPEN.keys())
def test_warns_where_a_wrong_order_is_free(settings):
    assert can_be_free_in_the_wrong_order(settings)
    with pytest.warns(
        UserWarning, match="AsymmetricRankingLoss: the loss can be 0 while"
    ) as caught:
        AsymmetricRankingLoss(**settings)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="asymmetric_ranking_loss: the loss can be 0") as caught:
        asymmetric_ranking_loss(*triplets(2, 3), **settings)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("settings", CLOSED.values(), ids=CLOSED.keys())
def test_is_silent_where_a_wrong_order_costs(settings):
    assert not can_be_free_in_the_wrong_order(settings)
    AsymmetricRankingLoss(**settings)


@pytest.mark.unhooked
def test_the_warning_has_the_numbers_and_comes_once():
    numbers = r"margin_pos 0\.5, margin_neg 0\.3, scale_pos 2"
    with pytest.warns(UserWarning, match=numbers) as caught:
        loss = AsymmetricRankingLoss(margin_pos=0.5, margin_neg=0.3, scale_pos=2.0)
    assert len(caught) == 1
    anchor = torch.zeros(1, 2)  # the call warns no more: every warning is an error
    positive, negative = torch.tensor([[0.49, 0.0]]), torch.tensor([[0.31, 0.0]])
    assert loss(anchor, positive, negative) == 0


@pytest.mark.unhooked
def test_compiles_with_settings_that_warn():
    torch._dynamo.reset()
    compiled = torch.compile(asymmetric_ranking_loss, fullgraph=True, backend="aot_eager")
    assert compiled(*triplets(2, 3), margin_pos=0.5, margin_neg=0.3).isfinite()


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin_pos": -0.1}, "margin_pos must be >= 0 and finite; got margin_pos -0.1"),
        ({"margin_neg": math.inf}, "margin_neg must be >= 0 and finite; got margin_neg inf"),
        ({"scale_pos": -1.0}, "scale_pos must be >= 0 and finite; got scale_pos -1.0"),
        ({"scale_neg": math.nan}, "scale_neg must be >= 0 and finite; got scale_neg nan"),
        ({"relative_margin": math.inf}, "relative_margin must be None or finite; got .* inf"),
        ({"scale_pos": 0, "scale_neg": 0}, "something must cost; got scale_pos 0, scale_neg 0"),
        ({"distance": "l1"}, 'distance must be "euclidean", "squared" or "cosine"; got .*l1'),
        ({"reduction": "max"}, "reduction must be .*; got reduction 'max'"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=f"asymmetric_ranking_loss: {message}"):
        asymmetric_ranking_loss(*triplets(2, 3), **settings)
    with pytest.raises(ValueError, match=f"AsymmetricRankingLoss: {message}"):
        AsymmetricRankingLoss(**settings)


@pytest.mark.unhooked
@pytest.mark.parametrize("function", [asymmetric_ranking_loss, ranking_violations])
def test_inputs_that_do_not_fit(function):
    name, (a, p, n) = function.__name__, triplets(2, 3)
    with pytest.raises(ValueError, match=rf"{name}: .* same shape .*positive \(1, 3\)"):
        function(a, p[:1], n)
    with pytest.raises(ValueError, match=rf"{name}: .* same shape .*negative \(2, 0\)"):
        function(a[:, :0], p[:, :0], n[:, :0])
    with pytest.raises(TypeError, match=f"{name}: negative must be floating point; got .*int64"):
        function(a, p, n.long())
    with pytest.raises(TypeError, match=f"{name}: where must be boolean"):
        function(a, p, n, where=torch.ones(2))
    with pytest.raises(ValueError, match=rf"{name}: where must broadcast .* \(3,\), loss \(2,\)"):
        function(a, p, n, where=torch.ones(3, dtype=torch.bool))


def test_the_module_says_its_settings():
    assert repr(AsymmetricRankingLoss(margin_pos=0.25, relative_margin=0.5)) == (
        "AsymmetricRankingLoss(margin_pos=0.25, margin_neg=1.0, scale_pos=1.0, scale_neg=1.0, "
        "relative_margin=0.5, distance='euclidean', reduction='mean')"
    )


def test_a_setting_of_the_module_reaches_the_function():
    inputs = triplets(5, 3)
    for setting in (
        {"margin_pos": 0.2},
        {"margin_neg": 2.0},
        {"scale_pos": 3.0},
        {"scale_neg": 3.0},
        {"relative_margin": 0.7},
        {"distance": "squared"},
        {"reduction": "sum"},
    ):
        value = AsymmetricRankingLoss(**setting)(*inputs)
        close(value, asymmetric_ranking_loss(*inputs, **setting))
        assert value != AsymmetricRankingLoss()(*inputs)
