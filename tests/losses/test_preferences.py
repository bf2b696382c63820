import math

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of

from askew.losses import KTOLoss, PreferenceLoss, kto_loss, preference_loss

KINDS = [
    {"kind": "dpo"},
    {"kind": "dpo", "beta": 0.7, "label_smoothing": 0.1},
    {"kind": "robust", "beta": 0.7, "label_smoothing": 0.1},
    {"kind": "ipo", "beta": 0.3},
    {"kind": "apo_zero", "beta": 0.4},
    {"kind": "apo_down", "beta": 0.4},
]
FAR = [0.0, 5, 20, 50, 100, 1e4, -5, -20, -50, -100, -1e4]


def example(*shape: int):
    generator = torch.Generator().manual_seed(sum(shape))
    return 3 * torch.randn(2, *shape, generator=generator, dtype=torch.double)


def slopes(loss, *inputs, **settings):
    inputs = [t.clone().requires_grad_() for t in inputs]
    value = loss(*inputs, **settings)
    return value.detach(), *torch.autograd.grad(value.sum(), inputs)


# Symmetric limits.


def test_without_smoothing_it_is_dpo():
    chosen, rejected = example(7)
    plain = -F.logsigmoid(0.3 * (chosen - rejected))
    for kind in ("dpo", "robust"):
        value = preference_loss(chosen, rejected, kind=kind, beta=0.3, reduction="none")
        close(value, plain)


def test_half_the_labels_swapped_prefer_neither():
    chosen, rejected = example(7)
    call = {"label_smoothing": 0.5, "reduction": "none"}
    close(preference_loss(chosen, rejected, **call), preference_loss(rejected, chosen, **call))


def test_conservative_labels_mix_a_pair_with_its_mirror():
    chosen, rejected = example(7)
    both = [preference_loss(*pair) for pair in ((chosen, rejected), (rejected, chosen))]
    mixed = preference_loss(chosen, rejected, label_smoothing=0.2)
    close(mixed, 0.8 * both[0] + 0.2 * both[1])


def test_robust_is_unbiased_if_the_share_of_swapped_labels_is_right():
    """The mean over noisy labels is the loss of clean ones."""
    chosen, rejected = example(7)
    call = {"kind": "robust", "label_smoothing": 0.3, "reduction": "none"}
    right = preference_loss(chosen, rejected, **call)
    swapped = preference_loss(rejected, chosen, **call)
    close(0.7 * right + 0.3 * swapped, preference_loss(chosen, rejected, reduction="none"))


def test_both_anchors_of_apo_zero_are_one_with_other_signs():
    chosen, rejected = example(7)
    one, *sides = slopes(preference_loss, chosen, rejected, kind="apo_zero")
    other, *mirrored = slopes(preference_loss, -rejected, -chosen, kind="apo_zero")
    close(one, other)
    for a, b in zip(sides, reversed(mirrored), strict=True):
        close(a, -b)


def test_without_a_lead_every_kind_costs_what_is_known():
    zero = torch.zeros(1)
    values = [preference_loss(zero, zero, **kind).item() for kind in KINDS]
    ipo = 1 / (2 * 0.3) ** 2
    close(torch.tensor(values), torch.tensor([*[math.log(2)] * 3, ipo, 1.0, 1.0]))


@pytest.mark.parametrize("kind", KINDS[:4], ids=str)
def test_pairs_without_anchor_see_the_difference_alone(kind):
    chosen, rejected = example(7)
    close(
        preference_loss(chosen + 5, rejected + 5, **kind), preference_loss(chosen, rejected, **kind)
    )


def test_where_the_two_anchors_push():
    """Both less likely from a policy that is better than the chosen answer, else apart."""
    zero = torch.zeros(1, dtype=torch.double)
    _, chosen, rejected = slopes(preference_loss, zero, zero, kind="apo_zero")
    assert chosen < 0 < rejected
    ahead = torch.full((1,), 40.0, dtype=torch.double)
    _, chosen, rejected = slopes(preference_loss, zero, -ahead, kind="apo_down")
    assert chosen > 0  # made less likely, which no other kind does
    assert rejected > 0


# The oracle: plain numbers.


def naive_pair(c, r, kind="dpo", beta=0.1, label_smoothing=0.0):
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    u, e = beta * (c - r), label_smoothing
    return {
        "dpo": lambda: -(1 - e) * math.log(sigmoid(u)) - e * math.log(1 - sigmoid(u)),
        "robust": lambda: (
            (-(1 - e) * math.log(sigmoid(u)) + e * math.log(1 - sigmoid(u))) / (1 - 2 * e)
        ),
        "ipo": lambda: (c - r - 1 / (2 * beta)) ** 2,
        "apo_zero": lambda: 1 - sigmoid(beta * c) + sigmoid(beta * r),
        "apo_down": lambda: sigmoid(beta * c) + 1 - sigmoid(u),
    }[kind]()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_is_the_naive_sum(kind):
    chosen, rejected = example(3, 4)
    pairs = list(zip(chosen.flatten().tolist(), rejected.flatten().tolist(), strict=True))
    expected = torch.tensor([naive_pair(*pair, **kind) for pair in pairs], dtype=torch.double)
    close(preference_loss(chosen, rejected, reduction="none", **kind), expected.view(3, 4))
    close(preference_loss(chosen, rejected, **kind), expected.mean())
    close(preference_loss(chosen, rejected, reduction="sum", **kind), expected.sum())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_lengths_make_sums_means_of_tokens(kind):
    chosen, rejected = example(6)
    lengths = torch.tensor([1, 2, 3, 4, 5, 9]), torch.tensor([3, 1, 2, 8, 5, 1])
    names = ("chosen_lengths", "rejected_lengths")
    call = {**kind, "reduction": "none"}
    value = preference_loss(chosen, rejected, **call, **dict(zip(names, lengths, strict=True)))
    close(value, preference_loss(chosen / lengths[0], rejected / lengths[1], **call))
    where = torch.tensor([True, False] * 3)
    hidden = {name: n.masked_fill(~where, 0) for name, n in zip(names, lengths, strict=True)}
    close(preference_loss(chosen, rejected, where=where, **call, **hidden), value * where)
    _, *gradients = slopes(preference_loss, chosen, rejected, where=where, **call, **hidden)
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert not gradient[~where].any()
    module = PreferenceLoss(**kind)(chosen, rejected, **hidden, where=where)
    close(module, value[where].mean())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_far_log_ratios_are_exact(kind, dtype):
    x = torch.tensor(FAR, dtype=dtype)
    chosen, rejected = (t.flatten() for t in torch.meshgrid(x, x, indexing="ij"))
    actual = slopes(preference_loss, chosen, rejected, reduction="none", **kind)
    exact = slopes(preference_loss, chosen.double(), rejected.double(), reduction="none", **kind)
    for a, b in zip(actual, exact, strict=True):
        assert a.isfinite().all()
        close(a, b, rtol=torch.finfo(dtype).eps * 2, atol=1e-6)


# Single answers.

SIDES = [{}, {"beta": 0.6, "weight_desirable": 1.3, "weight_undesirable": 0.4}]


def naive_answer(x, good, z, beta=0.1, weight_desirable=1.0, weight_undesirable=1.0):
    value = 1 / (1 + math.exp(-beta * (x - z if good else z - x)))
    return (weight_desirable if good else weight_undesirable) * (1 - value)


@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("point", [0.0, 0.8, -3.0])
def test_answers_cost_the_naive_sum(sides, point):
    x, others = example(7)
    good = others > 0
    expected = torch.tensor(
        [
            naive_answer(*answer, max(point, 0), **sides)
            for answer in zip(x.tolist(), good.tolist(), strict=True)
        ],
        dtype=torch.double,
    )
    close(kto_loss(x, good, point, reduction="none", **sides), expected)
    close(kto_loss(x, good, torch.tensor(point).double(), **sides), expected.mean())
    close(KTOLoss(**sides)(x, good, point), expected.mean())
    unrelated = torch.tensor([point - 1, point + 1]).double()
    close(kto_loss(x, good, unrelated, reduction="sum", **sides), expected.sum())


def test_equal_weights_swap_the_kinds_with_the_sign():
    x, others = example(7)
    good = others > 0
    close(kto_loss(x, good, 0.0, reduction="none"), kto_loss(-x, ~good, 0.0, reduction="none"))
    one = kto_loss(x, good, 0.0, weight_desirable=2.0, weight_undesirable=0.3)
    close(one, kto_loss(-x, ~good, 0.0, weight_desirable=0.3, weight_undesirable=2.0))


def test_at_the_reference_it_is_apo_zero_without_pairs():
    chosen, rejected = example(7)
    good = torch.tensor([True] * 7 + [False] * 7)
    value = kto_loss(torch.cat([chosen, rejected]), good, 0.0, reduction="sum")
    close(value, preference_loss(chosen, rejected, kind="apo_zero", reduction="sum"))


def test_the_reference_point_gets_no_gradient():
    x, others = example(7)
    unrelated = (others.abs() + 1).requires_grad_()
    kto_loss(x.clone().requires_grad_(), others > 0, unrelated).backward()
    assert unrelated.grad is None


def test_a_weight_scales_its_side_alone():
    x, others = example(7)
    good = others > 0
    _, plain = slopes(lambda x, **more: kto_loss(x, good, 0.5, **more), x, reduction="sum")
    _, dear = slopes(
        lambda x, **more: kto_loss(x, good, 0.5, **more), x, weight_desirable=3.0, reduction="sum"
    )
    close(dear, plain * torch.where(good, 3.0, 1.0))
    assert ((plain < 0) == good).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("point", [0.0, 100.0])
def test_far_answers_are_exact(dtype, point):
    x = torch.tensor(FAR, dtype=dtype)
    for good in (True, False):
        kinds = torch.full(x.shape, good)
        actual = slopes(lambda x: kto_loss(x, kinds, point, reduction="none"), x)  # noqa: B023
        exact = slopes(lambda x: kto_loss(x, kinds, point, reduction="none"), x.double())  # noqa: B023
        for a, b in zip(actual, exact, strict=True):
            assert a.isfinite().all()
            close(a, b, rtol=torch.finfo(dtype).eps * 2, atol=1e-6)


# All losses' laws.

WHERE = torch.arange(6).view(3, 2) % 4 != 1
CHOSEN, REJECTED = example(3, 2)
GOOD = torch.tensor([[True, False], [False, False], [True, True]])


def pairs(**kind) -> LossCase:
    def loss(chosen, rejected, **more):
        return preference_loss(chosen, rejected, **kind, **more)

    inputs = CHOSEN / 3, REJECTED / 3
    return LossCase(loss, inputs, wrt=(0, 1), where=WHERE, module=PreferenceLoss(**kind))


def answers(**sides) -> LossCase:
    def loss(x, good, **more):
        return kto_loss(x, good, **sides, **more)

    return LossCase(loss, (CHOSEN, GOOD), where=WHERE, module=KTOLoss(**sides))


CASES = {str(kind): pairs(**kind) for kind in KINDS} | {f"kto {s}": answers(**s) for s in SIDES}


@each_law_of(CASES)
def test_law(law, case):
    law(case)


# Bad input.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "ppo"}, "kind must be one of dpo, robust, ipo, apo_zero, apo_down; got kind 'p"),
        ({"beta": 0.0}, r"beta must be finite and above 0; got beta 0\.0"),
        ({"label_smoothing": 0.6}, r"label_smoothing must be in \[0, \.5\]; got label_smoothing"),
        ({"kind": "robust", "label_smoothing": 0.5}, r"label_smoothing must be in \[0, \.5\); got"),
        ({"kind": "ipo", "label_smoothing": 0.1}, "label_smoothing belongs to dpo and robust; got"),
        ({"reduction": "all"}, "reduction must be"),
    ],
)
@pytest.mark.unhooked
def test_settings_of_pairs_out_of_range_are_refused(settings, words):
    chosen, rejected = example(3)
    with pytest.raises(ValueError, match=f"preference_loss: {words}"):
        preference_loss(chosen, rejected, **settings)
    with pytest.raises(ValueError, match=f"PreferenceLoss: {words}"):
        PreferenceLoss(**settings)


@pytest.mark.unhooked
def test_pairs_that_do_not_fit_are_refused():
    chosen, rejected = example(3)
    with pytest.raises(ValueError, match=r"got rejected \(2,\), chosen \(3,\)"):
        preference_loss(chosen, rejected[:2])
    with pytest.raises(TypeError, match=r"rejected must be floating point; got dtype torch\.int64"):
        preference_loss(chosen, rejected.long())
    with pytest.raises(ValueError, match="for both sides or none; got chosen_lengths alone"):
        preference_loss(chosen, rejected, chosen_lengths=chosen)
    with pytest.raises(ValueError, match=r"got rejected_lengths \(2,\), chosen \(3,\)"):
        preference_loss(chosen, rejected, chosen_lengths=chosen, rejected_lengths=chosen[:2])
    with pytest.raises(ValueError, match=r"where must broadcast to the pairs; got where \(2,\)"):
        preference_loss(chosen, rejected, where=torch.ones(2, dtype=torch.bool))


@pytest.mark.unhooked
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_answers_without_tokens_are_refused_unless_hidden(side):
    chosen, rejected = example(3)
    lengths = {f"{name}_lengths": torch.tensor([2, 3, 4]) for name in ("chosen", "rejected")}
    lengths[f"{side}_lengths"] = torch.tensor([2, 0, 4])
    words = f"{side}_lengths must be > 0 where a pair counts; got {side}_lengths 0. Leave pairs"
    with pytest.raises(ValueError, match=f"preference_loss: {words}"):
        preference_loss(chosen, rejected, **lengths)
    where = torch.tensor([True, False, True])
    assert preference_loss(chosen, rejected, **lengths, where=where).isfinite()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beta": math.inf}, "beta must be finite and above 0; got beta inf"),
        ({"weight_desirable": -1.0}, r"weight_desirable must be >= 0 and finite; got .* -1\.0"),
        (
            {"weight_undesirable": math.nan},
            "weight_undesirable must be >= 0 and finite; got .* nan",
        ),
        ({"reduction": "all"}, "reduction must be"),
    ],
)
@pytest.mark.unhooked
def test_settings_of_answers_out_of_range_are_refused(settings, words):
    x, others = example(3)
    with pytest.raises(ValueError, match=f"kto_loss: {words}"):
        kto_loss(x, others > 0, **settings)
    with pytest.raises(ValueError, match=f"KTOLoss: {words}"):
        KTOLoss(**settings)


@pytest.mark.unhooked
def test_answers_that_do_not_fit_are_refused():
    x, others = example(3)
    with pytest.raises(TypeError, match=r"desirable must be boolean; got dtype torch\.float64"):
        kto_loss(x, others)
    with pytest.raises(ValueError, match=r"got desirable \(2,\), log_ratio \(3,\)"):
        kto_loss(x, others[:2] > 0)
    with pytest.raises(ValueError, match=r"reference_point must not be empty; got shape \(0,\)"):
        kto_loss(x, others > 0, x[:0])
    with pytest.raises(TypeError, match="reference_point must be one number; got reference_point"):
        kto_loss(x, others > 0, "0")
