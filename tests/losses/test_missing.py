import math

import mpmath
import pytest
import torch
import torch.nn.functional as F
from exact_bce import LOGITS, is_close
from loss_laws import LossCase, close, each_law_of

from askew.losses import HillLoss, SPLCLoss, TwoWayLoss, hill_loss, splc_loss, two_way_loss

HALVES = (torch.float32, torch.bfloat16, torch.float16)


def example(*shape, share=0.4):
    generator = torch.Generator().manual_seed(sum(shape))
    x = 2 * torch.randn(*shape, generator=generator, dtype=torch.double)
    y = torch.rand(*shape, generator=generator) < share
    return x, y


def with_gradient(loss, x, *rest, **settings):
    x = x.clone().requires_grad_()
    value = loss(x, *rest, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


# Both sides alike: the classics.


def test_without_focus_and_margin_marked_labels_cost_binary_cross_entropy():
    x, _ = example(5, 4)
    y = torch.ones_like(x)
    ours = with_gradient(hill_loss, x, y, margin_pos=0.0, gamma_pos=0.0)
    same(ours, with_gradient(F.binary_cross_entropy_with_logits, x, y))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_uncorrected_and_without_margin_it_is_the_focal_loss(gamma, reduction):
    x, y = example(5, 4)

    def focal(x, y):
        cost = F.binary_cross_entropy_with_logits(x, y, reduction="none")
        cost = cost * (1 - torch.exp(-cost)) ** gamma
        return {"mean": cost.mean, "sum": cost.sum, "none": cost.clone}[reduction]()

    settings = {"margin_pos": 0.0, "gamma_pos": gamma, "gamma_neg": gamma, "correct": False}
    ours = with_gradient(splc_loss, x, y.double(), reduction=reduction, **settings)
    same(ours, with_gradient(focal, x, y.double()))
    if gamma == 0 and reduction != "none":
        plain = F.binary_cross_entropy_with_logits
        same(ours, with_gradient(plain, x, y.double(), reduction=reduction))


def test_with_one_mark_and_no_temperatures_a_row_is_cross_entropy():
    x, _ = example(5, 5)
    classes = torch.tensor([2, 0, 1, 4, 3])
    y = F.one_hot(classes, 5)

    def rows_and_columns(x):
        return F.cross_entropy(x, classes) + F.cross_entropy(x.T, classes.argsort())

    ours = with_gradient(two_way_loss, x, y, temperature_pos=1.0, temperature_neg=1.0)
    same(ours, with_gradient(rows_and_columns, x))


def test_swapping_sides_labels_and_signs_mirrors_the_two_way_loss():
    x, y = example(6, 6, share=0.5)
    sure = torch.eye(6, dtype=torch.bool)
    y = sure | (y & ~sure.roll(1, 0))  # both kinds in every row and column
    value, gradient = with_gradient(two_way_loss, x, y, temperature_pos=4.0, temperature_neg=0.5)
    mirrored = with_gradient(two_way_loss, -x, ~y, temperature_pos=0.5, temperature_neg=4.0)
    same((value, -gradient), mirrored)


# Plain loops.


def hill_by_hand(x, y, margin=1.0, gamma=2.0, height=1.5):
    p, shifted = 1 / (1 + mpmath.exp(-x)), 1 / (1 + mpmath.exp(margin - x))
    wrong = 1 / (1 + mpmath.exp(x - margin))
    loss = y * -(wrong**gamma) * mpmath.log(shifted) if y else 0
    return loss + (1 - y) * (height - p) * p**2


def splc_by_hand(x, y, tau=0.6, correct=True, margin=1.0, gamma_pos=2.0, gamma_neg=2.0):
    p, q = 1 / (1 + mpmath.exp(-x)), 1 / (1 + mpmath.exp(x))
    if y == 1:
        p, q = 1 / (1 + mpmath.exp(margin - x)), 1 / (1 + mpmath.exp(x - margin))
    if y == 1 or (correct and p > tau):
        return -(q**gamma_pos) * mpmath.log(p)
    return -(p**gamma_neg) * mpmath.log(q)


def failures(loss, oracle, targets, dtype):
    """Where value or gradient is not within tolerance of 60 digits; at infinity, of the limit."""
    bad = []
    for x in torch.tensor(LOGITS, dtype=dtype):
        for y in torch.tensor(targets, dtype=dtype):
            value, gradient = with_gradient(loss, x, y)
            with mpmath.workdps(60):
                at = mpmath.mpf(x.item())
                if mpmath.isinf(at):
                    at = mpmath.sign(at) * mpmath.mpf(10) ** 9
                right = oracle(at, mpmath.mpf(y.item()))
                slope = float(mpmath.diff(lambda t: oracle(t, mpmath.mpf(y.item())), at))  # noqa: B023
                right = math.inf if right > 1e6 else float(right)
            if not is_close(value.item(), right, dtype):
                bad.append(f"value at {x}, {y}: {value}, not {right}")
            if not is_close(gradient.item(), slope, dtype):
                bad.append(f"gradient at {x}, {y}: {gradient}, not {slope}")
    return bad


@pytest.mark.parametrize("dtype", HALVES)
def test_hill_is_right_at_every_logit(dtype):
    assert not failures(hill_loss, hill_by_hand, [0.0, 1.0, 0.3], dtype)
    root = lambda x, y: hill_loss(x, y, margin_pos=0.3, gamma_pos=0.5, lambda_neg=2.0)  # noqa: E731
    assert not failures(root, lambda x, y: hill_by_hand(x, y, 0.3, 0.5, 2.0), [0.0, 1.0], dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("correct", [True, False])
def test_splc_is_right_at_every_logit(dtype, correct):
    loss = lambda x, y: splc_loss(x, y, tau=0.7, correct=correct, gamma_neg=0.5)  # noqa: E731
    oracle = lambda x, y: splc_by_hand(x, y, 0.7, correct, gamma_neg=0.5)  # noqa: E731
    assert not failures(loss, oracle, [0.0, 1.0], dtype)


def two_way_by_hand(x, y, seen, warm, cold):
    """Costs of rows and of columns that have a mark, each by its definition."""
    lines = [list(zip(*line, strict=True)) for t in (0, 1) for line in lines_of(x, y, seen, t)]
    costs = []
    for line in lines:
        marked = [a for a, b, s in line if s and b]
        others = [a for a, b, s in line if s and not b]
        if not marked:
            costs.append(None)
            continue
        missed = warm * math.log(sum(math.exp(-a / warm) for a in marked))
        inner = sum(math.exp(a / cold) for a in others)
        costs.append(math.log1p(math.exp(missed) * inner**cold) if others else 0.0)
    return costs[: len(x)], costs[len(x) :]


def lines_of(x, y, seen, transposed):
    tables = [t.T.tolist() if transposed else t.tolist() for t in (x, y, seen)]
    return list(zip(*tables, strict=True))


def labelled():
    """A row without a mark, a row with nothing but marks, a column without a mark."""
    x, y = example(6, 5, share=0.5)
    y[2], y[4], y[:, 3] = False, True, False
    seen = torch.ones_like(y)
    seen[4, 3] = seen[0, 1] = seen[1, 4] = False
    return x, y, seen


@pytest.mark.parametrize(("warm", "cold"), [(4.0, 1.0), (0.7, 2.5)])
def test_two_way_is_a_plain_loop(warm, cold):
    x, y, seen = labelled()
    rows, columns = two_way_by_hand(x, y, seen, warm, cold)
    assert rows[2] is None
    assert rows[4] == 0.0
    assert columns[3] is None
    settings = {"temperature_pos": warm, "temperature_neg": cold, "where": seen}
    filled = torch.tensor([c or 0.0 for c in rows + columns], dtype=torch.double)
    close(two_way_loss(x, y, reduction="none", **settings), filled)
    close(two_way_loss(x, y, reduction="sum", **settings), filled.sum())
    mean = sum(
        sum(c or 0.0 for c in part) / sum(c is not None for c in part) for part in (rows, columns)
    )
    close(two_way_loss(x, y, **settings), torch.tensor(mean))


# Closed forms.


def test_the_slope_of_an_unmarked_label_is_a_symmetric_hill():
    x = torch.linspace(-12, 12, 49, dtype=torch.double)
    p = torch.sigmoid(x)
    _, gradient = with_gradient(hill_loss, x, torch.zeros_like(x), reduction="sum")
    close(gradient, 3 * p**2 * (1 - p) ** 2)
    close(gradient, gradient.flip(0))


def test_the_slope_of_a_marked_label():
    x = torch.linspace(-12, 12, 49, dtype=torch.double)
    p = torch.sigmoid(x - 0.7)
    for loss in (hill_loss, splc_loss):
        settings = {"margin_pos": 0.7, "gamma_pos": 3.0, "reduction": "sum"}
        _, gradient = with_gradient(loss, x, torch.ones_like(x), **settings)
        close(gradient, (1 - p) ** 3 * (3 * p * p.log() - (1 - p)))


def test_an_unmarked_label_is_corrected_above_tau_alone_and_without_margin():
    x = torch.tensor([-2.0, 0.8, 0.9, 4.0], dtype=torch.double)
    nothing = torch.zeros_like(x)
    settings = {"tau": torch.tensor(0.85).sigmoid().item(), "margin_pos": 5.0, "reduction": "sum"}
    _, corrected = with_gradient(splc_loss, x, nothing, **settings)
    assert corrected.sign().tolist() == [1, 1, -1, -1]
    _, plain = with_gradient(splc_loss, x, nothing, correct=False, **settings)
    _, marked = with_gradient(splc_loss, x, nothing + 1, **{**settings, "margin_pos": 0.0})
    close(corrected, torch.cat([plain[:2], marked[2:]]))


def test_the_slope_of_the_two_way_loss_is_two_softmaxes():
    x, y, _ = labelled()
    row, label = x[:1], y[:1]
    assert label.any()
    assert not label.all()
    x = row.clone().requires_grad_()
    rows = two_way_loss(x, label, reduction="none")[0]
    (gradient,) = torch.autograd.grad(rows, x)
    pull = torch.where(label, -row / 4, -torch.inf).softmax(1)
    push = torch.where(label, -torch.inf, row).softmax(1)
    close(gradient, (1 - torch.exp(-rows.detach())) * (push - pull))


def test_a_sample_without_a_mark_teaches_only_through_the_columns():
    x, y, seen = labelled()
    x.requires_grad_()
    costs = two_way_loss(x, y, where=seen, reduction="none")
    (by_row,) = torch.autograd.grad(costs[:6].sum(), x, retain_graph=True)
    (by_column,) = torch.autograd.grad(costs[6:].sum(), x)
    assert not by_row[2].any()
    assert (by_column[2, [0, 1, 2, 4]] > 0).all()
    assert not by_row[4].any()
    assert not by_column[:, 3].any()


def test_lines_of_one_kind_leave_both_derivatives_right():
    x, y, seen = labelled()
    x.requires_grad_()
    for reduction in ("mean", "none"):
        loss = lambda x: two_way_loss(x, y, where=seen, reduction=reduction)  # noqa: B023, E731
        assert torch.autograd.gradcheck(loss, x)
        assert torch.autograd.gradgradcheck(loss, x)
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
        two_way_loss(x, y, where=seen).backward()


def test_the_order_of_samples_and_classes_does_not_matter():
    x, y, _ = labelled()
    rows, columns = torch.randperm(6), torch.randperm(5)
    value, gradient = with_gradient(two_way_loss, x, y)
    shuffled = with_gradient(two_way_loss, x[rows][:, columns], y[rows][:, columns])
    same((value, gradient[rows][:, columns]), shuffled)


# Laws.


def cases():
    x, y = example(4, 3)
    seen = torch.rand(4, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    soft = torch.rand(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    square, labels = example(5, 5, share=0.5)
    labels.fill_diagonal_(True)  # a mark in every row and column that is seen
    corner = torch.zeros(5, 5, dtype=torch.bool)
    corner[:4, :4] = True
    return {
        "hill": LossCase(hill_loss, (x, y), where=seen, module=HillLoss()),
        "hill, other settings": LossCase(
            lambda *t, **s: hill_loss(*t, margin_pos=0.3, gamma_pos=0.5, lambda_neg=1.2, **s),
            (x, soft),
            wrt=(0, 1),
            where=seen,
            module=HillLoss(margin_pos=0.3, gamma_pos=0.5, lambda_neg=1.2),
        ),
        "splc": LossCase(splc_loss, (x, y.double()), where=seen, module=SPLCLoss()),
        "splc, other settings": LossCase(
            lambda *t, **s: splc_loss(
                *t, tau=0.8, margin_pos=-0.5, gamma_pos=0.0, gamma_neg=1.5, **s
            ),
            (x, y.long()),
            where=seen,
            module=SPLCLoss(tau=0.8, margin_pos=-0.5, gamma_pos=0.0, gamma_neg=1.5),
        ),
        "two-way": LossCase(
            two_way_loss,
            (square, labels.long()),
            where=corner,
            remove=lambda where, *inputs: tuple(t[:4, :4] for t in inputs),
            module=TwoWayLoss(),
        ),
        "two-way, other settings": LossCase(
            lambda *t, **s: two_way_loss(*t, temperature_pos=0.8, temperature_neg=3.0, **s),
            (square, labels),
            where=corner,
            remove=lambda where, *inputs: tuple(t[:4, :4] for t in inputs),
            module=TwoWayLoss(temperature_pos=0.8, temperature_neg=3.0),
        ),
    }


CASES = cases()


@each_law_of(CASES)
def test_laws(law, case):
    law(case)


def test_a_hidden_element_is_neither_marked_nor_unmarked():
    x, y, seen = labelled()
    for value in (float("nan"), float("inf"), 1e4):
        hidden = x.masked_fill(~seen, value)
        ours = with_gradient(two_way_loss, hidden, y, where=seen)
        same(ours, with_gradient(two_way_loss, x, y, where=seen))
        assert not ours[1][~seen].any()


@pytest.mark.parametrize("loss", [HillLoss(), SPLCLoss(), TwoWayLoss()])
@pytest.mark.parametrize("dtype", HALVES)
def test_large_logits_leave_everything_finite(loss, dtype):
    x = torch.tensor([[1e4, -1e4, 50.0], [-1e4, 1e4, -50.0], [1e4, 1e4, 0.0]], dtype=dtype)
    for y in (torch.eye(3, dtype=torch.bool), ~torch.eye(3, dtype=torch.bool)):
        value, gradient = with_gradient(loss, x, y)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_logits_of_any_size_are_exact():
    x = torch.tensor([[-300.0, -200.0], [-150.0, -400.0]], dtype=torch.double)
    close(two_way_loss(x, torch.eye(2)), torch.tensor((100 + 250 + 150 + 200) / 2.0))


@pytest.mark.parametrize("infinity", [math.inf, -math.inf])
@pytest.mark.parametrize("temperatures", [(4.0, 1.0), (4.0, 4.0), (0.2, 3.0)], ids=str)
def test_infinite_logits_give_no_nan(temperatures, infinity):
    settings = dict(zip(("temperature_pos", "temperature_neg"), temperatures, strict=True))
    for y in (torch.eye(3), 1 - torch.eye(3)):
        for second in (1.0, infinity, -infinity):
            x = torch.ones(3, 3)
            x[0, 0] = x[1, 2] = infinity
            x[0, 1] = second
            value, gradient = with_gradient(two_way_loss, x, y, **settings)
            assert not value.isnan()
            assert gradient.isfinite().all()


# Errors.


def test_soft_labels_are_refused_where_only_marks_make_sense():
    x = torch.zeros(2, 2)
    for name, loss in (("splc_loss", splc_loss), ("two_way_loss", two_way_loss)):
        with pytest.raises(ValueError, match=rf"{name}: targets must be 0 or 1; got a target 0\.3"):
            loss(x, torch.tensor([[0.0, 1.0], [0.3, 1.0]]))
    with pytest.raises(ValueError, match=r"hill_loss: targets must be in \[0, 1\]; got .* to 1\.5"):
        hill_loss(x, x + 1.5)


@pytest.mark.unhooked
@pytest.mark.parametrize("loss", [hill_loss, splc_loss])
def test_wrong_shapes_and_dtypes_are_refused(loss):
    x = torch.zeros(2, 3)
    name = loss.__name__
    with pytest.raises(
        ValueError,
        match=rf"{name}: targets must have .* of logits; got targets \(3, 2\), logits \(2, 3\)",
    ):
        loss(x, torch.zeros(3, 2))
    with pytest.raises(
        TypeError, match=rf"{name}: logits must be floating point; got dtype torch\.int64"
    ):
        loss(x.long(), x)
    with pytest.raises(TypeError, match=rf"{name}: where must be boolean"):
        loss(x, x, where=x)
    with pytest.raises(
        ValueError, match=rf"{name}: where must broadcast .* got where \(2,\), loss \(2, 3\)"
    ):
        loss(x, x, where=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=rf"{name}: reduction must be .*; got reduction 'average'"):
        loss(x, x, reduction="average")


@pytest.mark.unhooked
def test_wrong_shapes_and_dtypes_are_refused_two_ways():
    x = torch.zeros(2, 3)
    with pytest.raises(
        ValueError,
        match=r"two_way_loss: logits .* be \[batch, classes\]; got logits \(3,\), targets \(3,\)",
    ):
        two_way_loss(x[0], x[0])
    with pytest.raises(ValueError, match=r"got logits \(2, 3\), targets \(3, 2\)"):
        two_way_loss(x, x.T)
    with pytest.raises(TypeError, match=r"two_way_loss: logits must be floating point"):
        two_way_loss(x.long(), x)
    with pytest.raises(TypeError, match=r"two_way_loss: where must be boolean"):
        two_way_loss(x, x, where=x)
    with pytest.raises(ValueError, match=r"two_way_loss: reduction must be"):
        two_way_loss(x, x, reduction="average")


BAD = [
    (HillLoss, hill_loss, "margin_pos", math.inf, "margin_pos must be finite"),
    (HillLoss, hill_loss, "gamma_pos", -1.0, "gamma_pos must be finite and at least 0"),
    (HillLoss, hill_loss, "lambda_neg", 0.9, "lambda_neg must be finite and at least 1"),
    (SPLCLoss, splc_loss, "tau", 1.0, r"tau must be in \(0, 1\)"),
    (SPLCLoss, splc_loss, "gamma_pos", math.nan, "gamma_pos must be finite and at least 0"),
    (SPLCLoss, splc_loss, "gamma_neg", -0.1, "gamma_neg must be finite and at least 0"),
    (SPLCLoss, splc_loss, "margin_pos", math.nan, "margin_pos must be finite"),
    (TwoWayLoss, two_way_loss, "temperature_pos", 0.0, "temperature_pos must be finite and above"),
    (TwoWayLoss, two_way_loss, "temperature_neg", math.inf, "temperature_neg must be finite"),
]


@pytest.mark.parametrize(("module", "loss", "setting", "value", "message"), BAD)
def test_settings_out_of_range_are_refused(module, loss, setting, value, message):
    ending = rf": {message}.*; got {setting} {value}"
    with pytest.raises(ValueError, match=module.__name__ + ending):
        module(**{setting: value})
    with pytest.raises(ValueError, match=loss.__name__ + ending):
        loss(torch.zeros(1, 1), torch.zeros(1, 1), **{setting: value})


@pytest.mark.unhooked
@pytest.mark.parametrize("module", [HillLoss, SPLCLoss, TwoWayLoss])
def test_a_wrong_reduction_is_refused_at_once(module):
    with pytest.raises(ValueError, match=rf"{module.__name__}: reduction must be"):
        module(reduction="average")


# Edges.


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("loss", [hill_loss, splc_loss, two_way_loss])
def test_nothing_gives_a_differentiable_zero(loss, shape):
    value, gradient = with_gradient(loss, torch.zeros(shape), torch.zeros(shape))
    assert value == 0
    assert gradient.shape == shape


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_kind_of_label_alone_costs_nothing_two_ways(label):
    value, gradient = with_gradient(two_way_loss, example(3, 4)[0], torch.full((3, 4), label))
    assert value == 0
    assert not gradient.any()


def test_the_settings_are_shown():
    assert repr(HillLoss(margin_pos=0.5)) == (
        "HillLoss(margin_pos=0.5, gamma_pos=2.0, lambda_neg=1.5, reduction='mean')"
    )
    assert "tau=0.65, margin_pos=1.0, gamma_pos=2.0, gamma_neg=2.0" in repr(SPLCLoss(tau=0.65))
    assert "temperature_pos=4.0, temperature_neg=2.0" in repr(TwoWayLoss(temperature_neg=2.0))


def test_the_module_corrects_when_told():
    x, y = torch.tensor([3.0]), torch.tensor([0.0])
    assert SPLCLoss()(x, y) < 0.01 < SPLCLoss()(x, y, correct=False)
