import math
import re

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of

from askew.losses import (
    AsymmetricTverskyLoss,
    AsymmetricUnifiedFocalLoss,
    asymmetric_tversky_loss,
    asymmetric_unified_focal_loss,
)

HALVES = (torch.float32, torch.bfloat16, torch.float16)
PRICES = {"weight_fn": 0.7, "weight_fp": 0.3}


def example(*shape, batch=3, classes=4):
    generator = torch.Generator().manual_seed(len(shape))
    x = 2 * torch.randn(batch, classes, *shape, generator=generator, dtype=torch.double)
    y = torch.randint(max(classes, 2), (batch, *shape), generator=generator)
    return x, y


def with_gradient(loss, x, *rest, **settings):
    x = x.clone().requires_grad_()
    value = loss(x, *rest, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def same(ours, theirs, **tolerance):
    for a, b in zip(ours, theirs, strict=True):
        close(a, b, **tolerance)


def dice(p, y, smooth=0.0):
    """Soft Dice loss of every image and class: twice what is shared over what there is."""
    shared, total = (p * y).flatten(2).sum(2), (p + y).flatten(2).sum(2)
    return 1 - (2 * shared + 2 * smooth) / (total + 2 * smooth)


def one_hot(y, classes):
    return F.one_hot(y, classes).movedim(-1, 1).double()


# Both sides alike: Dice, Jaccard, cross-entropy.


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 2)])
def test_with_equal_prices_it_is_the_dice_loss(shape):
    x, y = example(*shape)
    classic = lambda x: dice(x.softmax(1), one_hot(y, 4), 1.0).mean()  # noqa: E731
    same(with_gradient(asymmetric_tversky_loss, x, y), with_gradient(classic, x))


def test_with_both_prices_1_it_is_the_jaccard_loss():
    x, y = example(6)

    def jaccard(x):
        p, labels = x.softmax(1), one_hot(y, 4)
        shared = (p * labels).sum(2)
        return (1 - (shared + 0.5) / ((p + labels).sum(2) - shared + 0.5)).mean()

    ours = with_gradient(asymmetric_tversky_loss, x, y, weight_fn=1.0, weight_fp=1.0, smooth=0.5)
    same(ours, with_gradient(jaccard, x))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_without_focus_and_with_equal_prices_it_is_dice_and_half_the_cross_entropy(weight):
    x, y = example(3, 4)

    def classic(x):
        overlap = dice(x.softmax(1), one_hot(y, 4), 1e-6).mean()
        return weight * overlap + (1 - weight) * F.cross_entropy(x, y) / 2

    settings = {"weight": weight, "delta": 0.5, "gamma": 0.0}
    same(with_gradient(asymmetric_unified_focal_loss, x, y, **settings), with_gradient(classic, x))


# Mirrors.


def test_swapping_prediction_target_and_prices_changes_nothing():
    x, z = example(5, classes=1)[0], example(5, 1, classes=1)[0][..., 0]
    ours = asymmetric_tversky_loss(x, z.sigmoid(), **PRICES, gamma=0.75)
    theirs = asymmetric_tversky_loss(z, x.sigmoid(), weight_fn=0.3, weight_fp=0.7, gamma=0.75)
    close(ours, theirs)


def test_swapping_the_classes_and_their_prices_changes_nothing():
    x, y = example(6)
    fn = torch.tensor([0.7, 0.4, 1.1, 0.2], dtype=torch.double)
    fp = torch.tensor([0.3, 0.9, 0.5, 0.6], dtype=torch.double)
    order = torch.tensor([2, 0, 3, 1])
    value, gradient = with_gradient(asymmetric_tversky_loss, x, y, weight_fn=fn, weight_fp=fp)
    renamed = with_gradient(
        asymmetric_tversky_loss,
        x[:, order],
        order.argsort()[y],
        weight_fn=fn[order],
        weight_fp=fp[order],
    )
    same((value, gradient[:, order]), renamed)


def test_of_two_classes_the_misses_of_one_are_the_alarms_of_the_other():
    x, y = example(6, classes=2)
    p, labels = x.softmax(1), one_hot(y, 2)
    missed, alarms = ((1 - p) * labels).sum(2), (p * (1 - labels)).sum(2)
    close(missed, alarms.flip(1))
    hits = (p * labels).sum(2)
    costs = asymmetric_tversky_loss(x, y, **PRICES, reduction="none")
    error = 0.7 * missed + 0.3 * missed.flip(1)
    close(costs, error / (hits + error + 1))


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_the_background_of_the_unified_loss_is_any_class(shape):
    x, y = example(*shape)
    order = torch.tensor([2, 0, 3, 1])
    ours = asymmetric_unified_focal_loss(x, y, background=0)
    close(ours, asymmetric_unified_focal_loss(x[:, order], order.argsort()[y], background=1))
    assert abs(ours - asymmetric_unified_focal_loss(x, y, background=1)) > 1e-3


# Plain loops.


def tversky_by_hand(p, y, seen, fn, fp, smooth, gamma):
    """Cost of one region, from lists of probabilities, shares, and whether they count."""
    hits = missed = alarms = 0.0
    for a, b, counts in zip(p, y, seen, strict=True):
        if counts:
            hits, missed, alarms = hits + a * b, missed + (1 - a) * b, alarms + a * (1 - b)
    return (1 - (hits + smooth) / (hits + fn * missed + fp * alarms + smooth)) ** gamma


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("kind", ["index", "shares", "one", "one without axis"])
def test_tversky_is_a_plain_loop(per_image, kind):
    classes = 1 if kind.startswith("one") else 3
    x, y = example(2, 4, classes=classes)
    seen = torch.rand(3, 2, 4) < 0.7
    fn, fp = torch.tensor([0.9, 0.7, 0.2])[:classes], torch.tensor([0.1, 0.4, 0.8])[:classes]
    if classes == 1:
        p, shares = x.sigmoid(), y.unsqueeze(1).double()
        targets = shares if kind == "one" else y > 0
    else:
        p, shares = x.softmax(1), one_hot(y, 3)
        if kind == "shares":
            shares = torch.rand(3, 3, 2, 4, dtype=torch.double)
        targets = y if kind == "index" else shares
    wanted = []
    for group in [[0], [1], [2]] if per_image else [[0, 1, 2]]:
        counts = seen[group].flatten().tolist()
        lists = [[t[group, c].flatten().tolist() for t in (p, shares)] for c in range(classes)]
        prices = list(zip(fn.tolist(), fp.tolist(), strict=True))
        wanted.append(
            [
                tversky_by_hand(*both, counts, *price, smooth=0.5, gamma=0.75)
                for both, price in zip(lists, prices, strict=True)
            ]
        )
    wanted = torch.tensor(wanted, dtype=torch.double)
    settings = {"weight_fn": fn, "weight_fp": fp, "gamma": 0.75, "smooth": 0.5}
    settings |= {"per_image": per_image, "where": seen}
    costs = asymmetric_tversky_loss(x, targets, reduction="none", **settings)
    close(costs, wanted if per_image else wanted[0])
    close(asymmetric_tversky_loss(x, targets, **settings), wanted.mean())


def unified_by_hand(p, y, seen, weight, delta, gamma, background):
    """Cost of one image (or batch), from [pixels][classes]."""
    classes = len(p[0])
    overlap = 0.0
    for c in range(classes):
        column = [row[c] for row in p], [row[c] for row in y], seen
        exponent = 1 if c == background else 1 - gamma
        overlap += tversky_by_hand(*column, delta, 1 - delta, 1e-6, exponent) / classes
    entropy = 0.0
    for row, share, counts in zip(p, y, seen, strict=True):
        for c in range(classes):
            price = (1 - delta) * (1 - row[c]) ** gamma if c == background else delta
            entropy -= counts * share[c] * price * math.log(row[c])
    return weight * overlap + (1 - weight) * entropy / sum(seen)


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("classes", [1, 3])
def test_unified_focal_is_a_plain_loop(per_image, classes):
    x, y = example(2, 4, classes=classes)
    seen = torch.rand(3, 2, 4) < 0.7
    p = x.softmax(1) if classes > 1 else torch.cat([1 - x.sigmoid(), x.sigmoid()], 1)
    shares = one_hot(y, max(classes, 2))
    settings = {"weight": 0.3, "delta": 0.7, "gamma": 0.4, "background": 1}
    groups = [[0], [1], [2]] if per_image else [[0, 1, 2]]
    wanted = [
        unified_by_hand(
            p[group].movedim(1, -1).flatten(0, 2).tolist(),
            shares[group].movedim(1, -1).flatten(0, 2).tolist(),
            seen[group].flatten().tolist(),
            **settings,
        )
        for group in groups
    ]
    wanted = torch.tensor(wanted, dtype=torch.double)
    settings |= {"per_image": per_image, "where": seen}
    for targets in (y, shares) if classes > 1 else (y, y.unsqueeze(1).bool()):
        costs = asymmetric_unified_focal_loss(x, targets, reduction="none", **settings)
        close(costs, wanted if per_image else wanted[0])
        close(asymmetric_unified_focal_loss(x, targets, **settings), wanted.mean())


# Closed forms.


def test_a_dear_miss_buys_recall():
    """Of constant predictions of a half-full image, the best rises with the price of a miss."""
    y = torch.tensor([[1, 1, 0, 0, 0, 0]])
    x = torch.full((1, 1, 6), -1.0, dtype=torch.double)
    slopes = {}
    for fn in (0.1, 0.9):
        _, gradient = with_gradient(
            asymmetric_tversky_loss, x, y, weight_fn=fn, weight_fp=1 - fn, smooth=1e-6
        )
        slopes[fn] = gradient.sum()
    assert slopes[0.9] < slopes[0.1]


def test_one_pixel_by_hand():
    x = torch.tensor([[[0.3]]], dtype=torch.double)
    p = x.sigmoid().item()
    marked = asymmetric_tversky_loss(x, torch.tensor([[1]]), **PRICES).item()
    assert marked == pytest.approx(0.7 * (1 - p) / (p + 0.7 * (1 - p) + 1))
    unmarked = asymmetric_tversky_loss(x, torch.tensor([[0]]), **PRICES, gamma=2.0).item()
    assert unmarked == pytest.approx((0.3 * p / (0.3 * p + 1)) ** 2)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.9])
def test_focus_fades_the_background_and_lifts_the_region(gamma):
    easy = torch.tensor([[[4.0], [0.0]]], dtype=torch.double)
    q = 1 - easy.softmax(1)[0, 0].item()
    settings = {"delta": 0.6, "gamma": gamma}
    entropy = asymmetric_unified_focal_loss(easy, torch.tensor([[0]]), weight=0.0, **settings)
    assert entropy.item() == pytest.approx(-0.4 * q**gamma * math.log1p(-q))
    region = asymmetric_unified_focal_loss(
        easy.flip(1), torch.tensor([[1]]), weight=0.0, **settings
    )
    assert region.item() == pytest.approx(-0.6 * math.log1p(-q))


def test_counting_the_batch_as_one_is_one_wide_image():
    x, y = example(5)
    wide, flat = x.movedim(0, 1).flatten(1)[None], y.flatten()[None]
    for loss in (asymmetric_tversky_loss, asymmetric_unified_focal_loss):
        value, gradient = with_gradient(loss, x, y, per_image=False)
        close(value, loss(wide, flat))
        close(gradient, with_gradient(loss, wide, flat)[1].view(4, 3, 5).movedim(1, 0))


@pytest.mark.parametrize("loss", [asymmetric_tversky_loss, asymmetric_unified_focal_loss])
def test_the_order_of_images_and_pixels_does_not_matter(loss):
    x, y = example(6)
    images, pixels = torch.randperm(3), torch.randperm(6)
    value, gradient = with_gradient(loss, x, y)
    shuffled = with_gradient(loss, x[images][..., pixels], y[images][..., pixels])
    same((value, gradient[images][..., pixels]), shuffled)


# Laws.


def cases():
    x, y = example(5)
    one, labels = example(5, classes=1)
    shares = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    pixels = torch.tensor([True, False, True, True, False])
    images = torch.tensor([[True], [False], [True]])
    prices = torch.tensor([0.7, 0.4, 1.1, 0.2], dtype=torch.double)
    tversky = (asymmetric_tversky_loss, AsymmetricTverskyLoss)
    unified = (asymmetric_unified_focal_loss, AsymmetricUnifiedFocalLoss)
    made = {
        "tversky": (*tversky, {}, (x, y), pixels),
        "tversky, images hidden": (*tversky, PRICES, (x, y), images),
        "tversky, the batch as one": (
            *tversky,
            {"per_image": False, "gamma": 0.75},
            (x, y),
            pixels,
        ),
        "tversky, one class": (*tversky, {**PRICES, "gamma": 0.75}, (one, labels > 0), pixels),
        "tversky, prices by class": (*tversky, {"weight_fn": prices}, (x, shares), pixels),
        "unified": (*unified, {}, (x, y), pixels),
        "unified, images hidden": (*unified, {"gamma": 0.2}, (x, y), images),
        "unified, the batch as one": (*unified, {"per_image": False}, (x, shares), images),
        "unified, one class": (*unified, {"delta": 0.8}, (one, labels.bool()), pixels),
    }
    return {name: case(*parts) for name, parts in made.items()}


def case(loss, module, given, inputs, where):
    """`where` is a row of pixels or a column of images; both are then removed for real."""

    def keep(_, *tensors):
        if where.dim() == 1:
            return tuple(t[..., where] for t in tensors)
        return tuple(t[where[:, 0]] for t in tensors)

    return LossCase(
        lambda *t, **s: loss(*t, **given, **s),
        inputs,
        wrt=tuple(i for i, t in enumerate(inputs) if t.is_floating_point()),
        where=where.expand(3, 5).contiguous(),
        remove=keep,
        module=module(**given),
    )


CASES = cases()


@each_law_of(CASES)
def test_laws(law, case):
    law(case)


LOSSES = (asymmetric_tversky_loss, asymmetric_unified_focal_loss)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(5,), (1,), (3, 1)])
def test_where_broadcasts_over_images_and_space(loss, shape):
    x, y = example(5)
    where = torch.ones(shape, dtype=torch.bool)
    where[-1] = where.numel() == 1
    close(loss(x, y, where=where), loss(x, y, where=where.expand(3, 5)))


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(
    "loss",
    [
        AsymmetricTverskyLoss,
        lambda **s: AsymmetricTverskyLoss(gamma=0.5, smooth=1e-7, **s),
        AsymmetricUnifiedFocalLoss,
        lambda **s: AsymmetricUnifiedFocalLoss(gamma=0.9, **s),
    ],
    ids=["tversky", "focal tversky", "unified", "unified, strong focus"],
)
def test_large_and_infinite_logits_leave_everything_finite(loss, classes, dtype, per_image):
    loss = loss(per_image=per_image)
    y = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    for size in (0.0, 20.0, 90.0, 1e4, math.inf):
        right = torch.where(y.unsqueeze(1) == torch.arange(classes).view(1, -1, 1), size, -size)
        right = right if classes > 1 else -right
        for x in (right, -right):
            value, gradient = with_gradient(loss, x.to(dtype), y)
            assert gradient.isfinite().all()
            assert value.isfinite() or (
                size >= 1e4 and isinstance(loss, AsymmetricUnifiedFocalLoss)
            )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [1, 2])
def test_certain_mistakes_still_teach_the_cross_entropy(loss, classes):
    x = torch.full((1, classes, 4), -50.0)
    x[:, 1:] = 50.0
    y = torch.zeros(1, 4, dtype=torch.long) if classes == 2 else torch.ones(1, 4, dtype=torch.long)
    _, gradient = with_gradient(loss, x, y)
    if loss is asymmetric_unified_focal_loss:
        price = 0.6 if classes == 1 else 0.4
        close(gradient[0, 0], torch.full((4,), -0.5 * price / 4), rtol=1e-3, atol=1e-6)
    else:
        assert not gradient.round(decimals=6).any()


def test_a_perfect_prediction_costs_nothing():
    y = torch.tensor([[0, 1, 2, 1]])
    x = 200.0 * (y.unsqueeze(1) == torch.arange(3).view(1, 3, 1)) - 100
    for loss in LOSSES:
        value, gradient = with_gradient(loss, x, y)
        assert abs(value) < 1e-9
        assert not gradient.any()


def test_a_class_that_is_absent_and_not_marked_costs_nothing():
    x = torch.tensor([[[50.0, 50.0], [-50.0, -50.0]]])
    costs = asymmetric_tversky_loss(x, torch.zeros(1, 2, dtype=torch.long), reduction="none")
    assert (costs.abs() < 1e-6).all()


# Errors.


@pytest.mark.unhooked
@pytest.mark.parametrize("loss", LOSSES)
def test_bad_input_is_refused(loss):
    x, y = example(5)
    name = loss.__name__
    shapes = (
        rf"{name}: targets must be \[batch, \*space\] or have the shape of logits; got targets "
    )
    with pytest.raises(ValueError, match=shapes + r"\(3, 4\), logits \(3, 4, 5\)"):
        loss(x, y[:, :4])
    with pytest.raises(ValueError, match=shapes + r"\(3, 1, 5\), logits"):
        loss(x, y.unsqueeze(1))
    with pytest.raises(ValueError, match=shapes + r"\(2, 5\), logits \(3, 1, 5\)"):
        loss(x[:, :1], y[:2])
    with pytest.raises(ValueError, match=rf"{name}: logits must be .* got logits \(3,\)"):
        loss(x[:, 0, 0], y[:, 0])
    with pytest.raises(ValueError, match=r"got logits \(3, 0, 5\)"):
        loss(x[:, :0], y)
    with pytest.raises(TypeError, match=rf"{name}: logits must be floating point"):
        loss(x.long(), y)
    for bad in (y.double(), y > 0):
        with pytest.raises(TypeError, match=rf"{name}: targets without an axis of classes must be"):
            loss(x, bad)
    with pytest.raises(
        ValueError, match=rf"{name}: targets .* \[0, 4\); got targets from 0 to 255"
    ):
        loss(x, y * 85)
    with pytest.raises(ValueError, match=rf"{name}: targets must be in \[0, 1\]; got .* to 2"):
        loss(x, x.clamp(0, 2) * 0 + 2)
    with pytest.raises(TypeError, match=rf"{name}: where must be boolean"):
        loss(x, y, where=y)
    with pytest.raises(
        ValueError, match=rf"{name}: where must broadcast .*\(3, 4, 5\), loss \(3, 5\)"
    ):
        loss(x, y, where=x > 0)
    with pytest.raises(ValueError, match=rf"{name}: reduction must be"):
        loss(x, y, reduction="average")


@pytest.mark.unhooked
def test_prices_of_a_wrong_shape_are_refused():
    x, y = example(5)
    with pytest.raises(
        ValueError, match=r"weight_fp must be a number or one per class; got .* \(3,\)"
    ):
        asymmetric_tversky_loss(x, y, weight_fp=torch.ones(3))


TVERSKY = (AsymmetricTverskyLoss, asymmetric_tversky_loss)
UNIFIED = (AsymmetricUnifiedFocalLoss, asymmetric_unified_focal_loss)
BAD = [
    (TVERSKY, "weight_fn", -0.1, "weight_fn must be finite and at least 0"),
    (TVERSKY, "weight_fp", math.inf, "weight_fp must be finite and at least 0"),
    (TVERSKY, "weight_fp", torch.tensor([1.0, -1.0]), "weight_fp must be finite and at least 0"),
    (TVERSKY, "gamma", 0.0, "gamma must be finite and above 0"),
    (TVERSKY, "smooth", 0.0, "smooth must be finite and at least 1e-07"),
    (UNIFIED, "weight", 1.1, r"weight must be in \[0, 1\]"),
    (UNIFIED, "delta", -0.1, r"delta must be in \[0, 1\]"),
    (UNIFIED, "gamma", 1.0, r"gamma must be in \[0, 1\)"),
    (UNIFIED, "smooth", math.nan, "smooth must be finite and at least 1e-07"),
]


@pytest.mark.parametrize(("both", "setting", "value", "message"), BAD)
def test_settings_out_of_range_are_refused(both, setting, value, message):
    module, loss = both
    shown = re.escape(str(value))
    ending = rf": {message}; got {setting} {shown}"
    with pytest.raises(ValueError, match=module.__name__ + ending):
        module(**{setting: value})
    with pytest.raises(ValueError, match=loss.__name__ + ending):
        loss(*example(5, classes=2), **{setting: value})


@pytest.mark.parametrize("background", [-1, 4])
def test_a_background_that_is_no_class_is_refused(background):
    with pytest.raises(ValueError, match=rf"in \[0, 4\); got background {background}"):
        asymmetric_unified_focal_loss(*example(5), background=background)


@pytest.mark.unhooked
@pytest.mark.parametrize("module", [AsymmetricTverskyLoss, AsymmetricUnifiedFocalLoss])
def test_a_wrong_reduction_is_refused_at_once(module):
    with pytest.raises(ValueError, match=rf"{module.__name__}: reduction must be"):
        module(reduction="average")


# Edges.


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 3, 0), (0, 1, 5)])
@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_gives_a_differentiable_zero(loss, shape, per_image):
    y = torch.zeros(shape[0], shape[2], dtype=torch.long)
    value, gradient = with_gradient(loss, torch.zeros(shape), y, per_image=per_image)
    assert abs(value) < 1e-9
    assert gradient.shape == shape


@pytest.mark.parametrize("loss", LOSSES)
def test_without_space_an_image_is_one_pixel(loss):
    x, y = example()
    close(loss(x, y), loss(x.unsqueeze(-1), y.unsqueeze(-1)))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_hidden_pixel_may_have_any_label(loss):
    x, y = example(5)
    where = torch.rand(3, 5) < 0.6
    close(loss(x, y.masked_fill(~where, 255), where=where), loss(x, y, where=where))


def test_prices_given_as_tensors_are_saved_with_the_module():
    module = AsymmetricTverskyLoss(weight_fn=torch.ones(2))
    assert list(module.state_dict()) == ["weight_fn"]
    assert not AsymmetricTverskyLoss().state_dict()


def test_the_settings_are_shown():
    assert repr(AsymmetricTverskyLoss(**PRICES)) == (
        "AsymmetricTverskyLoss(weight_fn=0.7, weight_fp=0.3, gamma=1.0, smooth=1.0, "
        "per_image=True, reduction='mean')"
    )
    assert "weight=0.5, delta=0.6, gamma=0.5, background=1" in repr(
        AsymmetricUnifiedFocalLoss(background=1)
    )
