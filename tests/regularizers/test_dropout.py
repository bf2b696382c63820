import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from loss_laws import close
from scipy import stats
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from askew.regularizers import AsymmetricDropout, _dropout, asymmetric_dropout
from askew.regularizers._dropout_mask import LEVELS, ApplyMask, draw_mask

SMALL, LARGE = (50, 7, 6), (500, 7, 6)
RATES = (0.0, 0.1, 0.3, 0.5, 0.97, 1.0)

each_size = pytest.mark.parametrize("shape", [SMALL, LARGE], ids=["plain", "packed"])


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kept(**settings):
    """Which of many ones are kept, by feature [draws, features]."""
    return asymmetric_dropout(torch.ones(20_000, 6), **settings) != 0


def assert_rates(seen, rates):
    """Each count lies where a binomial of its rate does, but for one time in a million."""
    draws = len(seen)
    for count, p in zip(seen.sum(0).tolist(), rates, strict=True):
        low, high = stats.binom.interval(1 - 1e-6, draws, 1 - p)
        assert low <= count <= high, (count / draws, 1 - p)


@pytest.fixture(params=["packed", "plain"])
def route(request, monkeypatch):
    """Both ways of drawing, whatever the size."""
    monkeypatch.setattr(
        _dropout, "PACKED_MIN_ELEMENTS", 0 if request.param == "packed" else 1 << 40
    )
    return request.param


# Both sides alike: ordinary dropout.


def test_equal_rates_are_ordinary_dropout(route):
    x = torch.randn(20_000, 6, requires_grad=True)
    for drop in (lambda x: asymmetric_dropout(x, p=(0.3, 0.3)), lambda x: F.dropout(x, 0.3)):
        y = drop(x)
        assert_rates(y != 0, [0.3] * 6)
        close(y, torch.where(y != 0, x / 0.7, 0.0), rtol=2e-5, atol=0.0)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        close(gradient, torch.where(y != 0, 1 / 0.7, 0.0).float(), rtol=2e-5, atol=0.0)


def test_one_rate_is_two_equal_rates(route):
    x = torch.randn(40, 6)
    one = asymmetric_dropout(x, p=0.3, generator=source())
    assert torch.equal(one, asymmetric_dropout(x, p=(0.3, 0.3), generator=source()))


@pytest.mark.parametrize("features", [5, 6])
def test_two_rates_are_dropout_of_two_halves(route, features):
    x = torch.ones(20_000, features)
    half = features // 2
    rates = [0.1] * half + [0.3] * (features - half)
    halves = torch.cat([F.dropout(x[:, :half], 0.1), F.dropout(x[:, half:], 0.3)], -1)
    for y in (halves, asymmetric_dropout(x)):
        assert_rates(y != 0, rates)
        scales = torch.tensor([1 / (1 - p) for p in rates])
        close(y, torch.where(y != 0, scales, 0.0), rtol=2e-5, atol=0.0)


# What is drawn.


def test_every_feature_is_kept_at_its_own_rate(route):
    assert_rates(kept(p=RATES), RATES)


def test_every_position_is_kept_at_its_rate():
    mask = draw_mask(40_000, torch.full((8,), 0.7 * LEVELS).int(), some_never=False, generator=None)
    assert set(mask.unique().tolist()) == {-1, 0}
    assert_rates(mask != 0, [0.3] * 8)


def test_features_and_tokens_are_dropped_independently(route):
    seen = kept(p=(0.2, 0.5)).double()
    correlation = torch.corrcoef(torch.cat([seen[:-1], seen[1:]], 1).T)
    off = correlation[~torch.eye(12, dtype=torch.bool)].abs()
    assert off.max() < 5 / math.sqrt(len(seen))


@pytest.mark.parametrize("count", [0, 1, 2, 30_000, 65_535, 65_536])
def test_a_feature_is_kept_at_as_many_levels_as_it_should(monkeypatch, count):
    # Every level once, in place of the random numbers.
    values = torch.arange(-LEVELS // 2, LEVELS // 2).to(torch.int16).view(torch.int64)
    draws = iter(values.split(values.numel() // 4))
    monkeypatch.setattr(torch.Tensor, "random_", lambda self, *_, **__: self.copy_(next(draws)))
    monkeypatch.setattr("askew.regularizers._dropout_mask.CHUNK", LEVELS // 4)
    mask = draw_mask(LEVELS, torch.tensor([count]), some_never=count == 0, generator=None)
    assert (mask != 0).sum() == count


def test_expectation_is_exact_for_the_rate_that_is_drawn():
    for p in (1e-9, 1e-5, 0.1, 1 / 3, 0.5, 0.9, 1 - 1e-9):
        count = _dropout._kept(p)
        assert 0 < count < LEVELS
        assert abs(count / LEVELS - (1 - p)) <= 1.0 / LEVELS
        x = torch.full((5000, 7), 3.0)
        for size in (x, x[:100]):
            y = asymmetric_dropout(size, p=p)
            close(y[y != 0], torch.full_like(y[y != 0], 3.0 * LEVELS / count))
    assert (_dropout._kept(0.0), _dropout._kept(1.0)) == (LEVELS, 0)


def test_the_mean_of_many_draws_is_the_value(route):
    x = torch.tensor([1.0, -2.0, 3.0, 0.5, 4.0, -1.0])
    y = asymmetric_dropout(x.expand(20_000, 6), p=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    spread = y.std(0) / math.sqrt(len(y))
    assert ((y.mean(0) - x).abs() < 5 * spread).all()


@each_size
def test_rate_zero_is_the_identity_and_rate_one_is_zero(shape):
    x = torch.randn(shape, requires_grad=True)
    assert asymmetric_dropout(x, p=0.0) is x
    y = asymmetric_dropout(x, p=(0.0, 1.0))
    assert torch.equal(y[..., :3], x[..., :3])
    assert torch.equal(y[..., 3:], torch.zeros_like(y[..., 3:]))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    close(gradient, torch.tensor([1.0, 1, 1, 0, 0, 0]).expand(shape))
    (nothing,) = torch.autograd.grad(asymmetric_dropout(x, p=1.0).sum(), x)
    assert not nothing.any()


@each_size
@pytest.mark.parametrize("per_sequence", [False, True])
def test_what_is_dropped_is_zero_whatever_it_was(shape, per_sequence):
    x = torch.full(shape, math.nan)
    x[..., ::2] = -math.inf
    x.requires_grad_()
    y = asymmetric_dropout(x, p=(1.0, 1.0, 0.5), per_sequence=per_sequence)
    assert torch.equal(y[..., :4], torch.zeros(*shape[:-1], 4))
    (gradient,) = torch.autograd.grad(y, x, torch.full(shape, math.nan))
    assert torch.equal(gradient[..., :4], torch.zeros(*shape[:-1], 4))


def test_blocks_may_have_fractions(route):
    seen = kept(p=(1.0, 0.0, 0.4), fractions=(0.5, 0.2, 0.3))
    assert_rates(seen, [1.0, 1.0, 1.0, 0.0, 0.4, 0.4])
    tenths = asymmetric_dropout(torch.ones(40, 10), p=(0.0, 1.0), fractions=(0.7, 0.3))
    assert torch.equal(tenths[0], torch.tensor([1.0] * 7 + [0.0] * 3))
    cut = {"p": (0.0, 1.0, 0.0), "fractions": (0.1, 0.7, 0.2)}  # .1 + .7 is less than .8 in floats
    tenths = asymmetric_dropout(torch.ones(40, 10), **cut)
    assert torch.equal(tenths[0], torch.tensor([1.0] + [0.0] * 7 + [1.0] * 2))


def test_many_rates_one_for_each_feature(route):
    rates = torch.linspace(0, 1, 40)
    module = AsymmetricDropout(rates)
    assert_rates(module(torch.ones(5000, 40)) != 0, rates.tolist())
    assert "p=40 rates in [0.0, 1.0]" in repr(module)


# One mask for a sequence.


@each_size
def test_a_sequence_has_one_mask_and_each_its_own(shape):
    x = torch.randn(shape)
    y = asymmetric_dropout(x, p=(0.3, 0.6), per_sequence=True)
    seen = y != 0
    assert (seen == seen[:, :1]).all()
    assert len(seen[:, 0].unique(dim=0)) > 10
    rates = [0.3] * 3 + [0.6] * 3
    assert_rates(seen[:, 0], rates)
    scales = torch.tensor([1 / (1 - p) for p in rates])
    close(y, torch.where(seen, x * scales, 0.0), rtol=4e-5, atol=1e-7)


def test_one_mask_for_a_sequence_takes_any_leading_axes(route):
    for shape in ((5, 6), (3, 2, 5, 6)):
        y = asymmetric_dropout(torch.ones(shape), p=0.5, per_sequence=True)
        assert y.shape == shape
        assert (y == y[..., :1, :]).all()


@pytest.mark.parametrize("per_sequence", [False, True])
@pytest.mark.parametrize("seed", [None, 0])
def test_large_sequences_have_right_rates(seed, per_sequence, device):
    x = torch.ones(2000, 16, 6, device=device)
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)
    y = asymmetric_dropout(x, p=(0.2, 0.7), per_sequence=per_sequence, generator=generator)
    assert y.device.type == device
    seen = y[:, 0] != 0 if per_sequence else y.view(-1, 6) != 0
    assert_rates(seen, [0.2] * 3 + [0.7] * 3)


# Laws.


@pytest.mark.parametrize("per_sequence", [False, True])
def test_a_generator_makes_masks_reproducible(route, per_sequence):
    x, generator = torch.randn(30, 4, 6), source(1)
    settings = {"p": (0.2, 0.5), "per_sequence": per_sequence}
    state = torch.get_rng_state()
    first, second = (asymmetric_dropout(x, **settings, generator=generator) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, second)
    assert torch.equal(first, asymmetric_dropout(x, **settings, generator=source(1)))
    assert not torch.equal(first, asymmetric_dropout(x, **settings, generator=source(2)))


def test_without_a_generator_the_seed_decides(route):
    x = torch.randn(30, 6)
    torch.manual_seed(3)
    first = asymmetric_dropout(x)
    assert not torch.equal(asymmetric_dropout(x), first)
    torch.manual_seed(3)
    assert torch.equal(asymmetric_dropout(x), first)


@pytest.mark.parametrize("per_sequence", [False, True])
def test_the_gradient_is_the_mask(route, per_sequence):
    x = torch.randn(5, 4, 6, dtype=torch.double, requires_grad=True)

    def drop(x):
        return asymmetric_dropout(
            x, p=(0.2, 1.0, 0.5), per_sequence=per_sequence, generator=source()
        )

    assert torch.autograd.gradcheck(drop, x)
    assert torch.autograd.gradgradcheck(lambda x: drop(x).square(), x)


@pytest.mark.parametrize("per_sequence", [False, True])
def test_the_derivative_in_forward_mode_is_the_mask(route, per_sequence):
    x, tangent = torch.randn(2, 5, 4, 6, dtype=torch.double)
    settings = {"p": (0.2, 1.0, 0.5), "per_sequence": per_sequence}
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, tangent)
        dropped = asymmetric_dropout(dual, **settings, generator=source())
        _, derivative = forward_ad.unpack_dual(dropped)
    close(derivative, asymmetric_dropout(tangent, **settings, generator=source()))


def test_applying_a_mask_in_pieces_is_applying_it(monkeypatch):
    monkeypatch.setattr("askew.regularizers._dropout_mask.CHUNK", 40)
    scale = torch.rand(6)
    for dtype in (torch.float32, torch.double, torch.float16, torch.bfloat16):
        x = torch.randn(9, 4, 6).to(dtype).requires_grad_()
        for length in (1, 4):
            mask = -(torch.rand(9, length, 6) < 0.5).to(torch.int8)
            y = ApplyMask.apply(x, mask, scale)
            expected = (x.float() * scale * -mask).to(dtype)
            assert y.dtype == dtype
            close(y, expected)
            (gradient,) = torch.autograd.grad(y.sum(), x)
            assert torch.equal(gradient, (-mask * scale).to(dtype).expand(x.shape))


def test_layout_does_not_matter(route):
    x = torch.randn(6, 5, 40).transpose(0, 2).requires_grad_()
    y = asymmetric_dropout(x, p=(0.0, 1.0))
    assert torch.equal(y, torch.where(torch.arange(6) < 3, x, 0.0))
    y.sum().backward()
    close(x.grad, (torch.arange(6) < 3).float().expand(x.shape))
    for shape in ((0, 6), (6,)):
        assert asymmetric_dropout(torch.ones(shape)).shape == shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.double])
def test_the_dtype_is_kept_and_the_product_is_rounded_once(route, dtype):
    x = torch.randn(40, 6).to(dtype).requires_grad_()
    y = asymmetric_dropout(x, p=0.3)
    assert y.dtype == dtype
    scale = LEVELS / round(0.7 * LEVELS)
    assert torch.equal(y, torch.where(y != 0, x.double() * scale, 0.0).to(dtype))
    assert torch.autograd.grad(y.sum(), x)[0].dtype == dtype


def test_the_default_device_does_not_matter(route):
    x = torch.randn(5, 4, 6, requires_grad=True)
    expected = asymmetric_dropout(x, generator=source())
    with torch.device("meta"):
        dropped = asymmetric_dropout(x, generator=source())
        dropped.sum().backward()
    assert torch.equal(dropped, expected)
    assert x.grad.isfinite().all()


def test_tensors_without_values_keep_shape_and_dtype(route):
    for per_sequence in (False, True):
        x = torch.randn(5, 4, 6, dtype=torch.bfloat16, device="meta")
        dropped = asymmetric_dropout(x, per_sequence=per_sequence)
        with FakeTensorMode():
            fake = asymmetric_dropout(torch.randn(5, 4, 6), per_sequence=per_sequence)
        assert (dropped.shape, dropped.dtype) == (x.shape, x.dtype)
        assert (fake.shape, fake.dtype) == (x.shape, torch.float32)


def test_nothing_else_is_touched(route):
    x = torch.randn(40, 6)
    before = x.clone()
    with torch.no_grad():
        assert not asymmetric_dropout(x.requires_grad_()).requires_grad
    with torch.inference_mode():
        asymmetric_dropout(torch.ones(40, 6))
    assert torch.equal(x, before)


@pytest.mark.unhooked
@pytest.mark.parametrize("per_sequence", [False, True])
def test_compiled_and_eager_agree_in_distribution(per_sequence):
    torch.compiler.reset()
    module = AsymmetricDropout((0.2, 0.0, 1.0), per_sequence=per_sequence)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = torch.ones(3000, 4, 6, requires_grad=True)
    for drop in (module, compiled):
        y = drop(x)
        seen = y[:, 0] != 0 if per_sequence else y.view(-1, 6) != 0
        assert_rates(seen, [0.2, 0.2, 0.0, 0.0, 1.0, 1.0])
        close(torch.autograd.grad(y.sum(), x)[0], y)
    assert not torch.equal(compiled(x), compiled(x))
    module.eval()
    assert torch.equal(compiled(x), x)


@pytest.mark.unhooked
def test_changing_shapes_compile_once():
    torch.compiler.reset()
    drop = AsymmetricDropout((0.2, 0.0, 1.0))
    compiled = torch.compile(drop, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for rows in (5, 20_000):
            y = compiled(torch.ones(rows, 6))
    assert_rates(y != 0, [0.2, 0.2, 0.0, 0.0, 1.0, 1.0])


@pytest.mark.compiler
@pytest.mark.slow
@pytest.mark.unhooked
def test_the_compiled_kernel_has_the_same_rates():
    torch.compiler.reset()
    compiled = torch.compile(AsymmetricDropout((0.2, 0.0, 1.0)), fullgraph=True, dynamic=True)
    for rows in (20_000, 30_000):
        y = compiled(torch.ones(rows, 6))
        assert_rates(y != 0, [0.2, 0.2, 0.0, 0.0, 1.0, 1.0])


def test_under_function_transforms_every_example_has_its_own_mask():
    x = torch.ones(50, 6)
    drop = torch.vmap(lambda x: asymmetric_dropout(x, p=0.5), randomness="different")
    assert len(drop(x).unique(dim=0)) > 10
    gradient = torch.func.grad(lambda x: asymmetric_dropout(x, p=(0.0, 1.0)).sum())(x)
    close(gradient, (torch.arange(6) < 3).float().expand(50, 6))


# The module.


def test_the_module_is_the_function_in_training_and_nothing_otherwise(route):
    x = torch.randn(30, 4, 6)
    settings = {"fractions": (0.5, 0.5), "per_sequence": True}
    module = AsymmetricDropout((0.2, 0.6), **settings, generator=source())
    expected = asymmetric_dropout(x, p=(0.2, 0.6), **settings, generator=source())
    assert torch.equal(module(x), expected)
    assert module.eval()(x) is x
    assert asymmetric_dropout(x, training=False) is x
    assert not module.state_dict()
    assert "p=(0.2, 0.6), fractions=(0.5, 0.5), per_sequence=True" in repr(module)


def test_a_copy_draws_what_the_original_would_have_drawn():
    x = torch.ones(40, 6)
    module = AsymmetricDropout(generator=source())
    module(x)
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    assert all(twin.generator is not module.generator for twin in copies)
    following = [module(x) for _ in range(3)]
    for twin in copies:
        assert all(torch.equal(twin(x), y) for y in following)


def test_it_moves_and_casts_with_its_model():
    model = nn.Sequential(nn.Linear(6, 6), AsymmetricDropout((0.1, 0.3))).bfloat16()
    assert model[1].p == (0.1, 0.3)
    assert model(torch.ones(4, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16


# Errors.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"p": -0.1}, r"p must be in \[0, 1\]; got p -0.1"),
        ({"p": (0.1, 1.5)}, r"p must be in \[0, 1\]; got p 1.5"),
        ({"p": (math.nan,)}, r"p must be in \[0, 1\]; got p nan"),
        ({"p": ()}, r"p must hold a rate; got p \(\)"),
        ({"fractions": (1.0,)}, "fractions must be as many as rates; got 1 fractions, 2 rates"),
        ({"fractions": (0.5, 0.4)}, r"fractions must be > 0 and sum to 1; got .*\(0.5, 0.4\)"),
        ({"fractions": (1.5, -0.5)}, r"fractions must be > 0 and sum to 1; got .*\(1.5, -0.5\)"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"asymmetric_dropout: {message}"):
        asymmetric_dropout(torch.ones(2, 6), **settings)
    with pytest.raises(ValueError, match=f"AsymmetricDropout: {message}"):
        AsymmetricDropout(**settings)


@pytest.mark.unhooked
def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match=r"x must be floating point; got dtype .*int64"):
        asymmetric_dropout(torch.ones(2, 6, dtype=torch.long))
    with pytest.raises(ValueError, match=r"got sizes \[0, 1, 0, 1\] of 2 features"):
        asymmetric_dropout(torch.ones(3, 2), p=(0.1, 0.2, 0.3, 0.4))
    with pytest.raises(ValueError, match=r"x must have an axis of features; got x \(\)"):
        asymmetric_dropout(torch.ones(()))
    with pytest.raises(ValueError, match=r"\[\*batch, length, features\]; got x \(6,\)"):
        AsymmetricDropout(per_sequence=True)(torch.ones(6))
    with pytest.raises(ValueError, match="got generator on cpu, x on meta"):
        asymmetric_dropout(torch.ones(2, 6, device="meta"), generator=source())
