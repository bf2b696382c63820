import pytest
import torch
from rules import first_every_day
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from askew.attention import attend
from askew.attention._banded import _backward_operator, _operator


def tensors(
    *, batch=2, heads=4, kv_heads=2, queries=37, keys=41, d_qk=5, d_v=3, dtype=torch.double
):
    generator = torch.Generator().manual_seed(queries * 100 + keys)
    shapes = [
        (batch, heads, queries, d_qk),
        (batch, kv_heads, keys, d_qk),
        (batch, kv_heads, keys, d_v),
    ]
    rows = [torch.randn(s, generator=generator, dtype=torch.double).to(dtype) for s in shapes]
    return [t.requires_grad_() for t in rows]


def relative(heads, window, dtype=torch.double):
    generator = torch.Generator().manual_seed(sum(window))
    bias = torch.randn(heads, sum(window) + 1, generator=generator, dtype=torch.double)
    return bias.to(dtype).requires_grad_()


def slopes(output, inputs):
    generator = torch.Generator().manual_seed(5)
    upstream = torch.randn(output.shape, generator=generator, dtype=torch.double)
    return torch.autograd.grad(output, inputs, upstream.to(output.dtype))


def test_autocast_computes_as_the_dense_kernel_does():
    q, k, v = tensors(dtype=torch.float32)
    bias = relative(4, (7, 2), torch.float32)
    exact = attend(q, k, v, window=(7, 2), relative_bias=bias, route="banded").output
    wanted = slopes(exact, (q, k, v, bias))
    for kind in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", kind):
            output = attend(q, k, v, window=(7, 2), relative_bias=bias, route="banded").output
            gradients = slopes(output, (q, k, v, bias))
        assert output.dtype == kind
        torch.testing.assert_close(output.float(), exact, atol=3e-2, rtol=3e-2)
        for got, want in zip(gradients, wanted, strict=True):
            assert got.dtype == torch.float32
            torch.testing.assert_close(got, want, atol=0.1, rtol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert _operator(q, k, v, None, None, 7, 2, 0, 0.4)[0].dtype == torch.bfloat16


def banded(q, k, v, bias):
    return attend(q, k, v, relative_bias=bias, window=(3, 1), num_sinks=1, route="banded").output


def small():
    q, k, v = tensors(batch=1, heads=2, kv_heads=1, queries=7, keys=8, d_qk=2, d_v=3)
    return q, k, v, relative(2, (3, 1))


def test_first_and_second_derivatives_are_exact():
    assert torch.autograd.gradcheck(banded, small())
    assert torch.autograd.gradgradcheck(banded, small())
    q, k, v, _ = small()
    mask = torch.rand(1, 1, 1, 8) < 0.7

    def masked(*t):
        return attend(*t, attn_mask=mask, window=(3, 0), route="banded").output

    assert torch.autograd.gradgradcheck(masked, (q, k, v))


@pytest.mark.parametrize("order", [2, 3])
def test_higher_derivatives_are_those_of_the_square_where_inputs_hang_together(order):
    def derivative(route):
        x, _, v, bias = small()
        given = {"relative_bias": bias, "window": (3, 1), "route": route}
        y = attend(x, x[:, :1] * 2, v[:, :, :7], **given).output.pow(2).sum()
        for _ in range(order):
            slopes = torch.autograd.grad(y, (x, v, bias), create_graph=True)
            y = sum(s.sin().sum() for s in slopes)
        return y

    torch.testing.assert_close(derivative("banded"), derivative("dense"))


def test_function_transforms_are_right():
    inputs = [t.detach() for t in small()]
    leaves = [t.clone().requires_grad_() for t in inputs]
    expected = torch.autograd.grad(banded(*leaves).square().sum(), leaves)
    got = torch.func.grad(lambda *t: banded(*t).square().sum(), argnums=(0, 1, 2, 3))(*inputs)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)
    stacked = [torch.stack([t, t + 1]) for t in inputs]
    both = torch.stack([banded(*inputs), banded(*(t + 1 for t in inputs))])
    torch.testing.assert_close(torch.vmap(banded)(*stacked), both)


def test_forward_derivatives_are_right():
    inputs = [t.detach() for t in small()]
    tangents = [torch.randn_like(t) for t in inputs]
    step = 1e-6
    plus, minus = (
        banded(*(t + s * d for t, d in zip(inputs, tangents, strict=True))) for s in (step, -step)
    )
    expected = (plus - minus) / (2 * step)
    _, pushed = torch.func.jvp(banded, tuple(inputs), tuple(tangents))
    torch.testing.assert_close(pushed, expected, atol=1e-7, rtol=1e-6)
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(t, d) for t, d in zip(inputs, tangents, strict=True)]
        _, pushed = forward_ad.unpack_dual(banded(*duals))
    torch.testing.assert_close(pushed, expected, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("biased", [True, False])
def test_the_operators_keep_the_rules_of_registration(biased):
    q, k, v = tensors(batch=1, queries=5, keys=6)
    bias = relative(4, (2, 1)) if biased else None
    mask = torch.ones(1, 6, dtype=torch.bool) if biased else None
    utilities = ("test_schema", "test_autograd_registration", "test_faketensor")
    band = (2, 1, 1, 0.4)
    torch.library.opcheck(_operator, (q, k, v, bias, mask, *band), test_utils=utilities)
    output, lse = (t.detach() for t in _operator(q, k, v, bias, mask, *band))
    torch.library.opcheck(
        _backward_operator,
        (torch.randn_like(output), q, k, v, bias, mask, output, lse, *band),
        test_utils=utilities,
    )


@pytest.mark.unhooked
@pytest.mark.parametrize("dynamic", first_every_day(False, True))
@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.compiler)]
)
def test_compiles_in_one_graph(backend, dynamic, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    compiled = torch.compile(banded, fullgraph=True, backend=backend, dynamic=dynamic)
    inputs = [*tensors(), relative(4, (3, 1))]
    expected, got = banded(*inputs), compiled(*inputs)
    torch.testing.assert_close(got, expected)
    for a, b in zip(slopes(got, inputs), slopes(expected, inputs), strict=True):
        torch.testing.assert_close(a, b)


class Layer(torch.nn.Module):
    def forward(self, q, k, v, bias):
        return banded(q, k, v, bias)


@pytest.mark.unhooked
@pytest.mark.parametrize("strict", [False, True])
def test_exports(strict):
    inputs = (*tensors(), relative(4, (3, 1)))
    program = torch.export.export(Layer(), inputs, strict=strict)
    torch.testing.assert_close(program.module()(*inputs), banded(*inputs))


def test_checkpointing_gives_the_same_gradients():
    inputs = small()
    plain = slopes(banded(*inputs), inputs)
    again = slopes(checkpoint(banded, *inputs, use_reentrant=False), inputs)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


@pytest.mark.parametrize(("batch", "queries", "keys"), [(0, 3, 3), (2, 0, 3), (2, 3, 0)])
def test_nothing_to_do_gives_nothing_or_zeros(batch, queries, keys):
    q, k, v = tensors(batch=batch, queries=queries, keys=keys)
    bias = relative(4, (2, 1))
    output = attend(q, k, v, relative_bias=bias, window=(2, 1), route="banded").output
    assert output.shape == (batch, 4, queries, 3)
    assert not output.any()
    assert not any(g.any() for g in slopes(output, (q, k, v, bias))[0])


def test_inputs_and_the_gradient_mode_are_untouched():
    q, k, v, bias = small()
    copies = [t.detach().clone() for t in (q, k, v, bias)]
    with torch.no_grad():
        banded(q, k, v, bias)
        assert not torch.is_grad_enabled()
    banded(q, k, v, bias).sum().backward()
    assert torch.is_grad_enabled()
    assert all(torch.equal(a, b) for a, b in zip((q, k, v, bias), copies, strict=True))
