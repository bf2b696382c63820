import copy
import math
import pickle

import pytest
import torch
from loss_laws import close
from scipy import stats
from torch._subclasses.fake_tensor import FakeTensorMode

from askew.regularizers import OrderedDropout, ordered_dropout


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_survival(seen, expected):
    """Each count lies where a binomial does, but for one time in a million."""
    for count, keep in zip(seen.sum(0).tolist(), expected, strict=True):
        low, high = stats.binom.interval(1 - 1e-6, len(seen), keep)
        assert low <= count <= high, (count / len(seen), keep)


# All features alike: nothing happens.


def test_without_a_cut_it_is_the_identity():
    x = torch.randn(4, 6)
    assert ordered_dropout(x, p=0.0) is x
    assert torch.equal(ordered_dropout(x, widths=(1.0,)), x)
    assert ordered_dropout(x, p=0.5, training=False) is x


# What is kept.


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9, 1.0])
def test_the_cut_is_geometric(p):
    x = torch.ones(20_000, 5)
    y = ordered_dropout(x, p=p)
    assert (y[:, 1:] <= y[:, :-1]).all(), "something is kept after a cut"
    assert_survival(y != 0, [(1 - p) ** i for i in range(5)])
    assert torch.equal(y, (y != 0).float())


def test_a_width_is_drawn_uniformly(device):
    y = ordered_dropout(torch.ones(20_000, 10, device=device), widths=(0.2, 0.55, 1.0))
    assert (y[:, 1:] <= y[:, :-1]).all()
    assert_survival(y != 0, [1.0] * 2 + [2 / 3] * 4 + [1 / 3] * 4)


@pytest.mark.parametrize("features", range(1, 12))
def test_one_width_cuts_without_chance_and_rounds_up(features):
    for tenths in range(1, 11):
        y = ordered_dropout(torch.ones(features), widths=(tenths / 10,))
        assert int(y.sum()) == -(-tenths * features // 10)
    assert ordered_dropout(torch.ones(100), widths=(0.07,)).sum() == 7  # .07 · 100 > 7 in floats


def test_what_is_cut_off_is_zero_whatever_it_was_and_so_is_its_gradient():
    x = torch.full((3, 4), math.nan)
    x[:, :2] = 2.0
    x.requires_grad_()
    y = ordered_dropout(x, widths=(0.5,))
    assert torch.equal(y, torch.tensor([2.0, 2.0, 0.0, 0.0]).expand(3, 4))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(3, 4))


@pytest.mark.parametrize("settings", [{"p": 0.3}, {"widths": (0.25, 0.5, 1.0)}])
def test_a_sequence_may_have_one_cut(settings):
    x = torch.ones(200, 5, 8)
    together = ordered_dropout(x, **settings, per_sequence=True)
    assert (together == together[:, :1]).all()
    assert len(together[:, 0].unique(dim=0)) >= 3
    assert not (lambda y: (y == y[:, :1]).all())(ordered_dropout(x, **settings))


# The exact consequence: a linear autoencoder finds the principal components in order.


def data(count=400):
    """Rows whose covariance is diag(9, 4, 2.25, 1, .25) in a rotated frame, to the last digit."""
    raw = torch.linalg.qr(torch.randn(count, 5, generator=source(), dtype=torch.double)).Q
    raw = torch.linalg.qr(raw - raw.mean(0)).Q * count**0.5
    turn = torch.linalg.qr(torch.randn(5, 5, generator=source(1), dtype=torch.double)).Q
    return raw * torch.tensor([3.0, 2.0, 1.5, 1.0, 0.5]) @ turn.T, turn


def angles(decoder, components):
    """The largest angle between the first k columns of both, for each k."""
    width = decoder.shape[1]
    spans = [torch.linalg.qr(decoder[:, :k].detach()).Q for k in range(1, width + 1)]
    cosines = [torch.linalg.svdvals(q.T @ components[:, : q.shape[1]]).min() for q in spans]
    return torch.stack(cosines).clamp(max=1.0).acos()


def autoencoder(width=3):
    encoder = 0.5 * torch.randn(5, width, generator=source(2), dtype=torch.double)
    decoder = 0.5 * torch.randn(width, 5, generator=source(3), dtype=torch.double)
    return encoder.requires_grad_(), decoder.requires_grad_()


def minimise(loss, parameters):
    step = torch.optim.LBFGS(
        parameters, max_iter=3000, tolerance_grad=1e-12, tolerance_change=1e-16,
        history_size=30, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        step.zero_grad()
        value = loss()
        value.backward()
        return value

    step.step(closure)


def test_a_linear_autoencoder_finds_the_principal_components_in_order():
    # The mean over all cuts, each of which `widths` makes without chance.
    x, components = data()
    encoder, decoder = autoencoder()

    def nested():
        codes = [ordered_dropout(x @ encoder, widths=(k / 3,)) for k in (1, 2, 3)]
        return sum((x - code @ decoder).square().sum(1).mean() for code in codes)

    minimise(nested, [encoder, decoder])
    assert angles(decoder.T, components).max() < 1e-4
    # What is left over at each cut are the variances after it: 16.5 − 9 − 4 − 2.25 and so on.
    close(nested(), torch.tensor(7.5 + 3.5 + 1.25, dtype=torch.double), rtol=1e-6, atol=0.0)


def test_an_ordinary_one_finds_their_span_alone():
    x, components = data()
    encoder, decoder = autoencoder()
    minimise(lambda: (x - x @ encoder @ decoder).square().sum(1).mean(), [encoder, decoder])
    largest = angles(decoder.T, components)
    assert largest[2] < 1e-4
    assert largest[:2].min() > 0.05


@pytest.mark.parametrize("settings", [{"p": 0.4}, {"widths": (1 / 3, 2 / 3, 1.0)}])
def test_random_cuts_find_them_too(settings):
    x, components = data()
    drop = OrderedDropout(**settings, generator=source(4))
    encoder, decoder = autoencoder()
    optimizer = torch.optim.Adam([encoder, decoder])
    for i in range(1500):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - i / 1500)
        optimizer.zero_grad()
        (x - drop(x @ encoder) @ decoder).square().sum(1).mean().backward()
        optimizer.step()
    assert angles(decoder.T, components).max() < 0.06


# Laws.


@pytest.mark.parametrize("settings", [{"p": 0.3}, {"widths": (0.25, 0.5, 1.0)}])
def test_a_generator_makes_cuts_reproducible(settings):
    x, generator = torch.randn(30, 8), source(1)
    state = torch.get_rng_state()
    first, second = (ordered_dropout(x, **settings, generator=generator) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, second)
    assert torch.equal(first, ordered_dropout(x, **settings, generator=source(1)))


@pytest.mark.parametrize("settings", [{"p": 0.3}, {"widths": (0.25, 0.5, 1.0)}])
def test_the_module_is_the_function_in_training_and_nothing_otherwise(settings):
    x = torch.randn(30, 4, 8)
    module = OrderedDropout(**settings, per_sequence=True, generator=source())
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    expected = ordered_dropout(x, **settings, per_sequence=True, generator=source())
    for each in (module, *copies):
        assert torch.equal(each(x), expected)
    assert module.eval()(x) is x
    assert not module.state_dict()
    assert "per_sequence=True" in repr(module)


@pytest.mark.unhooked
@pytest.mark.parametrize("settings", [{"p": 0.3}, {"widths": (0.25, 1.0)}])
def test_it_compiles_in_one_graph(settings):
    torch.compiler.reset()
    module = OrderedDropout(**settings)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    assert compiled(torch.ones(5, 4)).shape == (5, 4)
    keep = [0.7**i for i in range(4)] if "p" in settings else [1.0, 0.5, 0.5, 0.5]
    assert_survival(compiled(torch.ones(20_000, 4)) != 0, keep)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.double])
def test_the_dtype_is_kept(dtype):
    x = torch.randn(40, 300).to(dtype)
    y = ordered_dropout(x, p=0.01)
    assert y.dtype == dtype
    assert torch.equal(y, torch.where(y != 0, x, 0.0))
    many = ordered_dropout(torch.ones(5000, 300, dtype=dtype), p=0.01)
    assert_survival(many != 0, [0.99**i for i in range(300)])


def test_under_function_transforms_every_example_has_its_own_cut():
    cut = torch.vmap(lambda x: ordered_dropout(x, p=0.3), randomness="different")
    assert len(cut(torch.ones(50, 6)).unique(dim=0)) > 3


# Errors.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either p or widths must be given; got p None, widths None"),
        ({"p": 0.1, "widths": (0.5,)}, r"either p or widths .*; got p 0.1, widths \(0.5,\)"),
        ({"p": 1.1}, r"p must be in \[0, 1\]; got p 1.1"),
        ({"widths": ()}, r"widths must be shares in \(0, 1\]; got widths \(\)"),
        ({"widths": (0.0, 1.0)}, r"widths must be shares .*; got widths \(0.0, 1.0\)"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"ordered_dropout: {message}"):
        ordered_dropout(torch.ones(2, 6), **settings)
    with pytest.raises(ValueError, match=f"OrderedDropout: {message}"):
        OrderedDropout(**settings)


@pytest.mark.unhooked
def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match=r"x must be floating point; got dtype .*int64"):
        ordered_dropout(torch.ones(2, 6, dtype=torch.long), p=0.1)
    with pytest.raises(ValueError, match=r"got x \(6,\), per_sequence True"):
        ordered_dropout(torch.ones(6), p=0.1, per_sequence=True)
    with pytest.raises(ValueError, match="got generator on cpu, x on meta"):
        ordered_dropout(torch.ones(2, 6, device="meta"), p=0.1, generator=source())


@pytest.mark.parametrize("settings", [{"p": 0.3}, {"widths": (0.5, 1.0)}])
def test_tensors_without_values_keep_shape_and_dtype(settings):
    x = torch.randn(5, 6)
    with FakeTensorMode():
        fake = ordered_dropout(torch.randn(5, 6), **settings)
    for cut in (ordered_dropout(x.to("meta"), **settings), fake):
        assert (cut.shape, cut.dtype) == (x.shape, x.dtype)
    with torch.device("meta"):
        assert ordered_dropout(x, **settings).device == x.device
