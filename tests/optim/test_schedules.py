"""Schedules equal those of PyTorch and of the papers, and begin and end where they say."""

import copy
import math
import pickle
import re
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from askew.optim import constant, cosine, freeze_until, inverse_sqrt, join, linear, step_decay, wsd
from askew.optim import warmup as warm_up


def rates_of(make, steps):
    """The rates that a scheduler of PyTorch makes of a rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def linear_in(steps, end):
    return lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=end, total_iters=steps)


TORCH = {
    "constant": (constant(), lambda o: lr_scheduler.LambdaLR(o, lambda _: 1.0), 20),
    "half": (
        constant(0.5),
        lambda o: lr_scheduler.ConstantLR(o, factor=0.5, total_iters=99),
        20,
    ),
    "cosine": (cosine(40), lambda o: lr_scheduler.CosineAnnealingLR(o, 40), 41),
    "cosine to .2": (
        cosine(40, end=0.2),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 40, eta_min=0.2),
        41,
    ),
    "step": (step_decay(7, factor=0.5), lambda o: lr_scheduler.StepLR(o, 7, gamma=0.5), 60),
    "step of a tenth": (step_decay(7), lambda o: lr_scheduler.StepLR(o, 7), 30),
    "linear": (linear(30), linear_in(30, 0.0), 50),
    "linear to .3": (linear(30, end=0.3), linear_in(30, 0.3), 50),
    "rise": (
        warm_up(10, start=0.1),
        lambda o: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=10),
        20,
    ),
    "joined": (
        join(constant(0.5), cosine(20), step_decay(3, factor=0.5), at=[5, 25]),
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.ConstantLR(o, factor=0.5, total_iters=99),
                lr_scheduler.LambdaLR(o, lambda t: (1 + math.cos(math.pi * t / 20)) / 2),
                lr_scheduler.StepLR(o, 3, gamma=0.5),
            ],
            milestones=[5, 25],
        ),
        40,
    ),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
@pytest.mark.parametrize("name", TORCH)
def test_schedules_equal_those_of_pytorch(name):
    schedule, make, steps = TORCH[name]
    ours = [schedule(step) for step in range(steps)]
    assert ours == pytest.approx(rates_of(make, steps), rel=1e-12, abs=1e-15)


def test_schedules_equal_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    for ours, make in (
        (warm_up(9, cosine(91)), transformers.get_cosine_schedule_with_warmup),
        (warm_up(9, linear(91)), transformers.get_linear_schedule_with_warmup),
    ):
        theirs = rates_of(lambda o, make=make: make(o, 9, 100), 101)
        assert [ours(step) for step in range(101)] == pytest.approx(theirs, rel=1e-12, abs=1e-15)
    settings = {"num_warmup_steps": 9, "num_training_steps": 109, "num_decay_steps": 40}
    make = partial(transformers.get_wsd_schedule, decay_type="linear", **settings)
    ours = warm_up(9, wsd(100))
    assert [ours(step) for step in range(109)] == pytest.approx(rates_of(make, 109), abs=1e-12)
    theirs = rates_of(lambda o: transformers.get_inverse_sqrt_schedule(o, 9), 120)
    ours = warm_up(9, inverse_sqrt(9))
    assert [ours(step) for step in range(120)] == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(("shape", "theirs"), [("linear", "linear"), ("sqrt", "1-sqrt")])
def test_a_stable_part_and_its_fall_equal_those_of_transformers(shape, theirs):
    transformers = pytest.importorskip("transformers")
    ours = warm_up(5, wsd(40, decay=0.3, end=0.1, shape=shape))
    expected = rates_of(
        lambda o: transformers.get_wsd_schedule(
            o, 5, 12, num_stable_steps=28, decay_type=theirs, min_lr_ratio=0.1
        ),
        50,
    )
    # Its warm-up too begins at the least rate.
    assert [ours(step) for step in range(5, 50)] == pytest.approx(expected[5:])


def test_inverse_root_after_a_rise_is_the_first_transformer():
    rate = warm_up(400, inverse_sqrt(400))
    for step in (1, 17, 400, 401, 1600, 99999):
        formula = min(step**-0.5, step * 400**-1.5) / 400**-0.5
        assert rate(step) == pytest.approx(formula, rel=1e-12)


def test_closed_forms():
    assert [cosine(4)(t) for t in range(6)] == pytest.approx(
        [1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4, 0, 0]
    )
    assert [linear(4, end=2.0)(t) for t in range(6)] == [1, 1.25, 1.5, 1.75, 2, 2]
    assert [step_decay(2, factor=3.0)(t) for t in range(5)] == [1, 1, 3, 3, 9]
    assert [freeze_until(3, linear(2))(t) for t in range(6)] == [0, 0, 0, 1, 0.5, 0]
    assert [freeze_until(2)(t) for t in range(4)] == [0, 0, 1, 1]
    assert [warm_up(2, constant(4.0), start=0.5)(t) for t in range(4)] == [2, 3, 4, 4]
    assert join(constant(3.0), at=[])(7) == 3.0


def test_a_stable_part_is_the_beginning_of_a_longer_one():
    short, long = wsd(100), wsd(1000)
    assert [short(t) for t in range(60)] == [long(t) for t in range(60)] == [1.0] * 60
    assert [wsd(50, decay=1.0)(t) for t in range(60)] == [linear(50)(t) for t in range(60)]
    assert [wsd(10, decay=0.3, end=0.4)(t) for t in (7, 8, 10)] == pytest.approx([1, 0.8, 0.4])


def test_the_end_is_exactly_the_one_asked_for_and_stays():
    for end in (0.0, 0.1, 1 / 3, 1.0):
        for schedule in (cosine(37, end=end), linear(37, end=end), wsd(37, end=end)):
            assert schedule(0) == 1.0
            assert {schedule(step) for step in (37, 38, 10**9)} == {end}


steps = st.integers(0, 500)
lengths = st.integers(1, 200)
shares = st.floats(0, 1)
plain = st.one_of(
    st.builds(constant, shares),
    st.builds(cosine, lengths, end=shares),
    st.builds(linear, lengths, end=shares),
    st.builds(step_decay, lengths, factor=shares),
    st.builds(inverse_sqrt, lengths),
    st.builds(wsd, lengths, decay=st.floats(0.01, 1), end=shares),
)
nested = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.builds(warm_up, lengths, inner, start=shares),
        st.builds(freeze_until, lengths, inner),
        st.builds(
            lambda a, b, c, one, two: join(a, b, c, at=[one, one + two]),
            inner, inner, inner, lengths, lengths,
        ),
    ),
    max_leaves=4,
)  # fmt: skip


@given(nested, st.lists(steps, min_size=1, max_size=20))
def test_any_schedule_is_pure_and_stays_between_zero_and_one(schedule, at):
    once = [schedule(step) for step in at]
    assert all(0.0 <= rate <= 1.0 for rate in once)
    assert all(isinstance(rate, float) for rate in once)
    assert [schedule(step) for step in reversed(at)] == once[::-1]
    for copied in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert [copied(step) for step in at] == once


@given(plain, lengths, steps)
def test_what_follows_counts_from_its_own_zero(then, start, step):
    assert warm_up(start, then)(start + step) == then(step)
    assert freeze_until(start, then)(start + step) == then(step)
    assert join(constant(), then, at=[start])(start + step) == then(step)


@given(plain, steps)
def test_plain_schedules_never_rise(schedule, step):
    assert schedule(step + 1) <= schedule(step)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: cosine(0), "cosine: steps must be >= 1; got steps 0"),
    (lambda: wsd(0), "wsd: steps must be >= 1; got steps 0"),
    (lambda: wsd(9, decay=0.0), "wsd: decay must be in (0, 1]; got decay 0.0"),
    (lambda: wsd(9, shape="root"), "wsd: shape must be 'linear' or 'sqrt'; got shape 'root'"),
    (lambda: wsd(9, end=-1.0), "wsd: end must be finite and >= 0; got end -1.0"),
    (lambda: linear(-3), "linear: steps must be >= 1; got steps -3"),
    (lambda: warm_up(-1), "warmup: steps must be >= 0; got steps -1"),
    (lambda: step_decay(0), "step_decay: every must be >= 1; got every 0"),
    (lambda: inverse_sqrt(0), "inverse_sqrt: timescale must be >= 1; got timescale 0"),
    (lambda: freeze_until(-1), "freeze_until: step must be >= 0; got step -1"),
    (lambda: constant(-0.1), "constant: multiplier must be finite and >= 0; got multiplier -0.1"),
    (lambda: cosine(3, end=-1), "cosine: end must be finite and >= 0; got end -1"),
    (lambda: linear(3, end=math.inf), "linear: end must be finite and >= 0; got end inf"),
    (lambda: warm_up(3, start=math.nan), "warmup: start must be finite and >= 0; got start nan"),
    (lambda: step_decay(3, factor=-2), "step_decay: factor must be finite and >= 0; got factor -2"),
    (lambda: join(constant(), at=[3]), "fewer than there are schedules; got 1 schedules, at [3]"),
    (lambda: join(at=[]), "fewer than there are schedules; got 0 schedules, at []"),
    (lambda: join(constant(), constant(), at=[0]), "join: at must be >= 1; got at 0"),
    (lambda: join(constant(), constant(), constant(), at=[5, 5]), "at must rise; got at [5, 5]"),
])  # fmt: skip
def test_bad_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: cosine(3.0), "cosine: steps must be an integer; got steps 3.0"),
    (lambda: step_decay(True), "step_decay: every must be an integer; got every True"),
    (lambda: warm_up(3, 0.5), "warmup: then must be a function from a step to a multiplier; got"),
    (lambda: freeze_until(3, 1), "freeze_until: then must be a function from a step"),
    (lambda: join(constant(), None, at=[3]), "join: schedules must be a function from a step"),
])  # fmt: skip
def test_wrong_kinds_are_refused(make, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        make()


def test_warming_up_or_freezing_for_no_step_is_the_schedule_that_follows():
    for made in (warm_up(0, cosine(8)), freeze_until(0, cosine(8)), warm_up(0, cosine(8), start=1)):
        assert [made(step) for step in range(10)] == [cosine(8)(step) for step in range(10)]
    assert warm_up(0)(0) == freeze_until(0)(0) == 1.0


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, torch.tensor])
def test_steps_may_be_integers_of_numpy_and_pytorch(kind):
    pairs = [
        (cosine(kind(8), end=np.float32(0.5)), cosine(8, end=0.5)),
        (linear(kind(8)), linear(8)),
        (step_decay(kind(3)), step_decay(3)),
        (inverse_sqrt(kind(8)), inverse_sqrt(8)),
        (freeze_until(kind(3)), freeze_until(3)),
        (join(warm_up(kind(2)), constant(), at=[kind(3)]), join(warm_up(2), constant(), at=[3])),
    ]
    for made, plain in pairs:
        assert repr(made) == repr(plain)
        assert [made(step) for step in range(12)] == [plain(step) for step in range(12)]
    assert join(constant(), linear(4), at=np.array([3]))(5) == 0.5
    with pytest.raises(TypeError, match="cosine: steps must be an integer; got steps"):
        cosine(kind(8) * 0.5)
