import math

import pytest
import torch
from loss_laws import LossCase, close, each_law_of
from rules import first_every_day

from askew.losses import (
    AsymmetricPolicyLoss,
    ClippedPolicyLoss,
    _policy_inputs,
    _ratio_rows,
    asymmetric_policy_loss,
    clipped_policy_loss,
)

CLIPS = [
    {},
    {"clip_low": 0.2, "clip_high": 0.28},
    {"clip_low": 0.3, "clip_high": 0.1, "dual_clip": 1.5},
    {"clip_low": 1.0, "clip_high": math.inf},
    {"clip_low": 0.0, "clip_high": 0.0},
]
WEIGHTS = [
    {},
    {"weights_pos": (1.0, 1.0), "weights_neg": (1.0, 1.0)},
    {"weights_pos": (0.5, 2.0), "weights_neg": (0.0, 0.7)},
    {"weights_pos": (0.0, math.inf), "weights_neg": (0.0, 0.0)},
]


def named(value):
    return getattr(value, "__name__", str(value))


def example(*shape: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    x, advantage = torch.randn(2, *shape, generator=generator, dtype=torch.double)
    return 0.6 * x, advantage, torch.rand(shape, generator=generator) < 0.7


def with_gradient(loss, log_ratio, *more, **settings):
    log_ratio = log_ratio.clone().requires_grad_()
    value = loss(log_ratio, *more, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), log_ratio)
    return value.detach(), gradient


@pytest.fixture(params=["composed", "one pass"])
def route(request, monkeypatch):
    """Both ways to the same numbers: autograd, or one pass over blocks of a few rows."""
    one_pass = request.param != "composed"
    monkeypatch.setattr(_ratio_rows, "ONE_PASS_MIN_TOKENS", 0 if one_pass else 1 << 60)
    monkeypatch.setattr(_ratio_rows, "BLOCK_TOKENS", 9)
    return request.param


@pytest.mark.parametrize("per", ["token", "sequence", "group"])
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0, 0)], ids=str)
def test_nothing_at_all_costs_nothing(shape, per):
    for reduction in ("mean", "sum", "none"):
        x = torch.zeros(shape, requires_grad=True)
        value = clipped_policy_loss(x, torch.zeros(shape[:-1]), per=per, reduction=reduction)
        assert value.sum() == 0
        value.sum().backward()
        assert x.grad.shape == shape


# Symmetric limits.


def test_equal_clips_are_ppo(route):
    x, advantage, where = example(5, 7)
    ratio = x.exp()
    ppo = -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    close(clipped_policy_loss(x, advantage), ppo.mean())
    close(clipped_policy_loss(x, advantage, where=where), ppo[where].mean())
    close(clipped_policy_loss(x, advantage, reduction="none"), ppo)


def test_equal_clips_treat_both_signs_alike(route):
    """Moving the ratio up on a good action is moving it down on a bad one, about 1."""
    x, advantage, _ = example(5, 7)
    ratio = x.exp().clamp(0.1, 1.9)
    one = clipped_policy_loss(ratio.log(), advantage, reduction="none") + advantage
    other = clipped_policy_loss((2 - ratio).log(), -advantage, reduction="none") - advantage
    close(one, other)


def test_without_bounds_it_is_the_importance_weighted_policy_gradient(route):
    x, advantage, _ = example(5, 7)
    value, gradient = with_gradient(
        clipped_policy_loss, x, advantage, clip_low=1.0, clip_high=math.inf, reduction="sum"
    )
    close(value, -(x.exp() * advantage).sum())
    close(gradient, -x.exp() * advantage)


def test_at_ratio_one_every_clip_gives_the_policy_gradient(route):
    _, advantage, _ = example(5, 7)
    zeros = torch.zeros_like(advantage)
    for settings in CLIPS[:3]:
        _, gradient = with_gradient(
            clipped_policy_loss, zeros, advantage, reduction="sum", **settings
        )
        close(gradient, -advantage)


# The oracle: loops over plain numbers.


def naive_token(x, advantage, clip_low=0.2, clip_high=0.2, dual_clip=None):
    ratio = math.exp(x)
    clipped = min(max(ratio, 1 - clip_low), 1 + clip_high)
    gain = min(ratio * advantage, clipped * advantage)
    if dual_clip is not None and advantage < 0:
        gain = max(gain, dual_clip * advantage)
    return -gain


def naive_means(costs, where, per):
    """Costs [groups, sequences, tokens] to those of units, loop by loop."""
    units = []
    for group, seen in zip(costs, where, strict=True):
        inside = []
        for sequence, is_seen in zip(group, seen, strict=True):
            tokens = [c for c, s in zip(sequence, is_seen, strict=True) if s]
            if per == "token":
                units += tokens
            elif per == "sequence" and tokens:
                units.append(sum(tokens) / len(tokens))
            inside += tokens
        if per == "group" and inside:
            units.append(sum(inside) / len(inside))
    return units


@pytest.mark.parametrize("per", ["token", "sequence", "group"])
@pytest.mark.parametrize("settings", CLIPS, ids=named)
def test_it_is_the_naive_sum(route, settings, per):
    x, advantage, where = example(3, 4, 5)
    where[1], where[2, 0] = False, False  # a group and a sequence without any token
    costs = [
        [
            [naive_token(*token, **settings) for token in zip(*row, strict=True)]
            for row in zip(*group, strict=True)
        ]
        for group in zip(x.tolist(), advantage.tolist(), strict=True)
    ]
    for given in (None, where):
        seen = torch.ones_like(where) if given is None else given
        units = torch.tensor(naive_means(costs, seen.tolist(), per), dtype=torch.double)
        call = {**settings, "per": per, "where": given}
        close(clipped_policy_loss(x, advantage, **call), units.mean())
        close(clipped_policy_loss(x, advantage, reduction="sum", **call), units.sum())
        one_by_one = clipped_policy_loss(x, advantage, reduction="none", **call)
        assert one_by_one.shape == {"token": (3, 4, 5), "sequence": (3, 4), "group": (3,)}[per]
        close(one_by_one.sum(), units.sum())


def test_long_sequences_count_by_their_length_only_per_token():
    x = torch.zeros(2, 4)
    advantage, where = torch.tensor([1.0, -1.0]), torch.tensor([[True] * 4, [True] + [False] * 3])
    values = {
        per: clipped_policy_loss(x, advantage, per=per, where=where).item()
        for per in ("token", "sequence")
    }
    assert values == {"token": pytest.approx(-3 / 5), "sequence": 0.0}


def test_a_sequence_has_one_advantage_or_one_per_token(route):
    x, advantage, where = example(5, 7)
    advantage = advantage[:, 0]
    for settings in ({}, {"where": where}, {"per": "sequence", "where": where}):
        for reduction in ("mean", "none"):
            call = {**settings, "reduction": reduction}
            short = with_gradient(clipped_policy_loss, x, advantage, **call)
            full = advantage.unsqueeze(1).expand(5, 7)
            for a, b in zip(
                short, with_gradient(clipped_policy_loss, x, full, **call), strict=True
            ):
                close(a, b)


CALLS = [
    *((clipped_policy_loss, {**clip, "per": per}) for clip in CLIPS for per in _policy_inputs.AXES),
    *((asymmetric_policy_loss, weights) for weights in WEIGHTS),
]


@pytest.mark.parametrize(("loss", "settings"), CALLS, ids=named)
@pytest.mark.parametrize("size", [1.0, 60.0])
def test_one_pass_has_the_gradient_of_autograd(monkeypatch, loss, settings, size):
    x, advantage, where = example(3, 4, 5)
    where[1] = False
    monkeypatch.setattr(_ratio_rows, "BLOCK_TOKENS", 9)
    results = []
    for least in (0, 1 << 60):
        monkeypatch.setattr(_ratio_rows, "ONE_PASS_MIN_TOKENS", least)
        for more in ({}, {"where": where}, {"where": where, "reduction": "sum"}):
            results += with_gradient(loss, size * x, advantage, **settings, **more)
    for a, b in zip(results[:6], results[6:], strict=True):
        close(a, b)


@pytest.mark.parametrize("loss", [clipped_policy_loss, asymmetric_policy_loss])
def test_steps_without_sequences_are_a_list(route, loss):
    x, advantage, where = example(11)
    for more in ({}, {"where": where}):
        flat = with_gradient(loss, x, advantage, **more)
        more = {name: mask.unsqueeze(0) for name, mask in more.items()}
        row = with_gradient(loss, x.unsqueeze(0), advantage.unsqueeze(0), **more)
        close(flat[0], row[0])
        close(flat[1], row[1][0])
    assert loss(x, advantage[0]) == loss(x, advantage[:1].expand(11))


# Which actions still teach.


def test_the_gradient_by_region(route):
    ratios = torch.tensor([0.5, 0.75, 0.9, 1.1, 1.25, 1.4, 3.5], dtype=torch.double)
    call = {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 3.0, "reduction": "sum"}
    ones = torch.ones_like(ratios)
    _, good = with_gradient(clipped_policy_loss, ratios.log(), ones, **call)
    _, bad = with_gradient(clipped_policy_loss, ratios.log(), -ones, **call)
    close(good, -ratios * torch.tensor([1, 1, 1, 1, 1, 0, 0]))
    close(bad, ratios * torch.tensor([0, 0, 1, 1, 1, 1, 0]))


def test_at_a_bound_an_action_still_teaches():
    """One convention for all versions of torch, whose clamp has changed its own."""
    x = torch.tensor([math.log1p(0.25), math.log1p(-0.5)], dtype=torch.double)
    ratio = torch.tensor([1.0, -1.0], dtype=torch.double)
    for settings in ({}, {"reduction": "sum"}):
        _, gradient = with_gradient(
            clipped_policy_loss, x, ratio, clip_low=0.5, clip_high=0.25, **settings
        )
        assert (gradient != 0).all()


def test_advantages_get_no_gradient(route):
    x, advantage, _ = example(5, 7)
    advantage.requires_grad_()
    for loss in (clipped_policy_loss, asymmetric_policy_loss):
        loss(x.clone().requires_grad_(), advantage).backward()
    assert advantage.grad is None


def probability_after(advantage: float, **clips: float) -> float:
    """Of the first of two tokens, at first ½, after many steps on one sample of it."""
    logits = torch.zeros(2, dtype=torch.double, requires_grad=True)
    old = logits.detach().log_softmax(-1)
    for _ in range(400):
        log_ratio = (logits.log_softmax(-1) - old)[:1]
        loss = clipped_policy_loss(log_ratio, torch.tensor([advantage]).double(), **clips)
        (gradient,) = torch.autograd.grad(loss, logits)
        with torch.no_grad():
            logits -= 0.005 * gradient
    return logits.softmax(-1)[0].item()


def test_a_policy_of_two_tokens_moves_farther_up_than_down_by_dapo():
    up, down = (probability_after(a, clip_low=0.2, clip_high=0.28) for a in (1.0, -1.0))
    assert up == pytest.approx(0.5 * 1.28, abs=0.003)
    assert down == pytest.approx(0.5 * 0.8, abs=0.003)
    assert up - 0.5 > 1.3 * (0.5 - down)
    up, down = (probability_after(a) for a in (1.0, -1.0))
    assert up - 0.5 == pytest.approx(0.5 - down, abs=0.003)


# Far away.


STEPS = [
    *((clipped_policy_loss, clip) for clip in CLIPS),
    *((asymmetric_policy_loss, weights) for weights in WEIGHTS),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("loss", "settings"), STEPS, ids=named)
def test_value_and_gradient_are_finite_for_every_log_ratio(route, dtype, loss, settings):
    x = torch.tensor([0.0, 5, 20, 50, 100, 1e4, -5, -20, -50, -100, -1e4], dtype=dtype)
    for sign in (1.0, -1.0):
        value, gradient = with_gradient(loss, x, torch.full_like(x, sign), **settings)
        assert gradient.isfinite().all()
        if dtype != torch.float16:  # whose largest number is less than such a ratio
            assert value.isfinite()


@pytest.mark.parametrize("advantage", [1.0, -1.0, 0.0])
@pytest.mark.parametrize(("loss", "settings"), STEPS, ids=named)
def test_at_an_infinite_log_ratio_the_limit_is_taken(route, loss, settings, advantage):
    for far in (1e12, -1e12):
        x = torch.tensor([far, 0.3]).double()
        given = torch.full_like(x, advantage)
        limit, slope = with_gradient(loss, x, given, **settings, reduction="sum")
        value, gradient = with_gradient(loss, x * torch.tensor([math.inf, 1.0]), given, **settings)
        close(2 * gradient, slope)
        if limit.abs() > 1e9:
            assert value == math.copysign(math.inf, limit)
        else:
            close(2 * value, limit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("loss", "settings"), STEPS, ids=named)
def test_the_ratio_is_that_of_double_precision(route, dtype, loss, settings):
    x = torch.linspace(-8, 8, 33).to(dtype)
    for sign in (1.0, -1.0):
        given = torch.full_like(x, sign)
        value, gradient = with_gradient(loss, x, given, **settings)
        exact, slope = with_gradient(loss, x.double(), given.double(), **settings)
        rounding = max(torch.finfo(dtype).eps, 2e-6)  # an exponential multiplies that of x
        close(value, exact, rtol=rounding, atol=1e-6)
        close(gradient, slope, rtol=rounding, atol=1e-6)


# Samples of another policy.


def test_equal_weights_of_one_are_reinforce(route):
    x, advantage, where = example(5, 7)
    one = (1.0, 1.0)
    for more in ({}, {"where": where}):
        value, gradient = with_gradient(
            asymmetric_policy_loss, x, advantage, weights_pos=one, weights_neg=one, **more
        )
        seen = more.get("where", torch.ones_like(where))
        close(value, -(advantage * (1 + x))[seen].mean())
        close(gradient, -advantage * seen / seen.sum())


def test_unbounded_weights_are_importance_sampling(route):
    x, advantage, _ = example(5, 7)
    free = (0.0, math.inf)
    value = asymmetric_policy_loss(x, advantage, weights_pos=free, weights_neg=free)
    close(value, -(x.exp() * advantage).mean())


def test_on_its_own_samples_every_taper_is_reinforce(route):
    _, advantage, _ = example(5, 7)
    zeros = torch.zeros_like(advantage)
    for weights in ({}, WEIGHTS[1], {"weights_pos": (0.2, 1.0), "weights_neg": (0.0, 3.0)}):
        _, gradient = with_gradient(
            asymmetric_policy_loss, zeros, advantage, reduction="sum", **weights
        )
        close(gradient, -advantage)


@pytest.mark.parametrize("weights", WEIGHTS, ids=named)
def test_the_gradient_is_the_truncated_weight(route, weights):
    x, advantage, _ = example(5, 7)
    x = 3 * x
    _, gradient = with_gradient(asymmetric_policy_loss, x, advantage, reduction="sum", **weights)
    for ratio, a, g in zip(x.exp().flatten(), advantage.flatten(), gradient.flatten(), strict=True):
        side = "weights_pos" if a >= 0 else "weights_neg"
        low, high = weights.get(side, (1.0, 1.0) if a >= 0 else (0.0, 1.0))
        close(g, -a * min(max(ratio, low), high))


class Task:
    """Contexts with one right action of six, and four samples each of a policy that guesses."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        truth = torch.randn(10, 6, generator=generator)
        self.contexts = torch.randn(200, 10, generator=generator)
        self.right = (self.contexts @ truth).argmax(-1, keepdim=True)
        self.actions = torch.randint(6, (100, 4), generator=generator)
        self.advantage = 2.0 * (self.actions == self.right[:100]) - 1

    def train(self, steps: int, pos, neg, first=None) -> tuple[float, float]:
        """Return how often the policy is right in contexts it has not seen, and its loss."""
        weights = (torch.zeros(10, 6) if first is None else first.clone()).requires_grad_()
        loss = torch.zeros(())
        for _ in range(steps):
            log_p = (self.contexts[:100] @ weights).log_softmax(-1).gather(1, self.actions)
            log_ratio = log_p - math.log(1 / 6)
            loss = asymmetric_policy_loss(
                log_ratio, self.advantage, weights_pos=pos, weights_neg=neg
            )
            (gradient,) = torch.autograd.grad(loss, weights)
            weights = (weights - gradient).detach().requires_grad_()
        p = (self.contexts[100:] @ weights).softmax(-1).gather(1, self.right[100:])
        return p.mean().item(), loss.item()


@pytest.mark.parametrize("seed", first_every_day(0, 1, 2))
def test_bad_samples_help_if_tapered_and_run_away_if_not(seed):
    """The claims of the paper of TOPR: bounded, and better than without the bad samples."""
    task, one = Task(seed), (1.0, 1.0)
    topr, bounded = task.train(300, one, (0.0, 1.0))
    good_alone, _ = task.train(300, one, (0.0, 0.0))
    reinforce, early = task.train(300, one, one)
    _, late = task.train(600, one, one)
    assert topr > good_alone + 0.04
    assert topr > reinforce + 0.1
    assert bounded > -1  # −A (1 + 0) for good samples that are certain, 0 for bad ones
    assert late < 1.9 * early < -100


def test_an_unlikely_good_sample_is_learned_only_if_it_is_not_tapered():
    """Truncated importance sampling on both sides waits for what it has made unlikely."""
    logits = torch.tensor([-6.0, 0.0], dtype=torch.double)
    old = torch.tensor([0.5, 0.5], dtype=torch.double).log()
    learned = {}
    for pos in ((1.0, 1.0), (0.0, 1.0)):
        z = logits.clone().requires_grad_()
        for _ in range(20):
            x = (z.log_softmax(-1) - old)[:1]
            loss = asymmetric_policy_loss(x, torch.ones_like(x), weights_pos=pos)
            z = (z - torch.autograd.grad(loss, z)[0]).detach().requires_grad_()
        learned[pos] = z.softmax(-1)[0].item()
    assert learned[1.0, 1.0] > 0.9
    assert learned[0.0, 1.0] < 0.01


# All losses' laws.

X, ADVANTAGE, _ = example(4, 6)
COLUMNS = torch.tensor([True, False, True, True, False, True]).expand(4, 6)


def without_columns(where, x, advantage):
    return x[:, where[0]], advantage[:, where[0]]


def clipped(**settings) -> LossCase:
    def loss(x, advantage, **more):
        return clipped_policy_loss(x, advantage, **settings, **more)

    module = ClippedPolicyLoss(**settings)
    return LossCase(loss, (X, ADVANTAGE), where=COLUMNS, remove=without_columns, module=module)


def tapered(**settings) -> LossCase:
    def loss(x, advantage, **more):
        return asymmetric_policy_loss(x, advantage, **settings, **more)

    module = AsymmetricPolicyLoss(**settings)
    return LossCase(loss, (X, ADVANTAGE), where=COLUMNS, module=module)


CASES = {f"clipped {clip}": clipped(**clip) for clip in CLIPS[:4]}
CASES |= {f"clipped per {per}": clipped(per=per) for per in ("sequence", "group")}
CASES |= {f"tapered {weights}": tapered(**weights) for weights in WEIGHTS[:3]}


@each_law_of(CASES)
def test_law(law, case, route):
    law(case)


# Bad input.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"clip_low": 1.2}, r"clip_low must be in \[0, 1\]; got clip_low 1.2"),
        ({"clip_low": math.nan}, r"clip_low must be in \[0, 1\]; got clip_low nan"),
        ({"clip_high": -0.1}, "clip_high must be >= 0; got clip_high -0.1"),
        ({"dual_clip": 1.0}, "dual_clip must be above 1 and finite; got dual_clip 1.0"),
        ({"per": "batch"}, 'per must be "token", "sequence" or "group"; got per \'batch\''),
        ({"reduction": "all"}, "reduction must be"),
    ],
)
@pytest.mark.unhooked
def test_clips_out_of_range_are_refused(settings, words):
    x, advantage, _ = example(2, 3)
    with pytest.raises(ValueError, match=f"clipped_policy_loss: {words}"):
        clipped_policy_loss(x, advantage, **settings)
    with pytest.raises(ValueError, match=f"ClippedPolicyLoss: {words}"):
        ClippedPolicyLoss(**settings)


@pytest.mark.parametrize(
    ("pair", "error", "words"),
    [
        ((0.5, 0.2), ValueError, r"a finite; got {} \(0.5, 0.2\)"),
        ((-1.0, 1.0), ValueError, r"a finite; got {} \(-1.0, 1"),
        ((math.inf, math.inf), ValueError, "a finite; got {} "),
        (1.0, TypeError, "two numbers; got {} 1.0"),
        (("a", 1.0), TypeError, "one number; got {} 'a'"),
    ],
)
@pytest.mark.unhooked
def test_weights_out_of_range_are_refused(pair, error, words):
    x, advantage, _ = example(2, 3)
    for label in ("weights_pos", "weights_neg"):
        text = words.replace("{}", label)
        with pytest.raises(error, match=f"asymmetric_policy_loss: {label} .*{text}"):
            asymmetric_policy_loss(x, advantage, **{label: pair})
        with pytest.raises(error, match=text):
            AsymmetricPolicyLoss(**{label: pair})


@pytest.mark.parametrize("loss", [clipped_policy_loss, asymmetric_policy_loss])
@pytest.mark.unhooked
def test_inputs_that_do_not_fit_are_refused(loss):
    x, advantage, _ = example(2, 3)
    with pytest.raises(ValueError, match=r"got advantage \(3,\), log_ratio \(2, 3\)"):
        loss(x, advantage[0])
    with pytest.raises(TypeError, match=r"log_ratio must be .*; got dtype torch\.int64"):
        loss(x.long(), advantage)
    with pytest.raises(TypeError, match=r"advantage must be floating point; got dtype torch\.bool"):
        loss(x, advantage > 0)
    with pytest.raises(ValueError, match="where must broadcast to the shape of the loss"):
        loss(x, advantage, where=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"for groups, log_ratio must be .*; got log_ratio \(3,\)"):
        clipped_policy_loss(x[0], advantage[0], per="group")
