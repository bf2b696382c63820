import math

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of

from askew._reduction import reduce
from askew.losses import _token_log_probs, token_log_probs


@pytest.fixture(params=["composed", "blocks of rows"])
def route(request, monkeypatch):
    """Both ways to the same numbers: autograd, or blocks of a few rows."""
    in_blocks = request.param != "composed"
    monkeypatch.setattr(_token_log_probs, "BLOCKS_MIN_LOGITS", 0 if in_blocks else 1 << 60)
    monkeypatch.setattr(_token_log_probs, "BLOCK_LOGITS", 17)
    return request.param


def example(*rows: int, classes: int = 5):
    generator = torch.Generator().manual_seed(sum(rows) + classes)
    logits = 2 * torch.randn(*rows, classes, generator=generator, dtype=torch.double)
    return logits.requires_grad_(), torch.randint(classes, rows, generator=generator)


def with_gradient(logits, targets, **settings):
    value = token_log_probs(logits, targets, **settings)
    slopes = torch.arange(1.0, value.numel() + 1, dtype=value.dtype).view(value.shape)
    return value.detach(), *torch.autograd.grad(value, logits, slopes)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_it_is_the_naive_logarithm(route, temperature):
    logits, targets = example(3, 4)
    expected = [
        x[t] / temperature - math.log(sum(math.exp(v / temperature) for v in x))
        for x, t in zip(logits.flatten(0, 1).tolist(), targets.flatten().tolist(), strict=True)
    ]
    value = token_log_probs(logits, targets, temperature=temperature)
    close(value, torch.tensor(expected, dtype=torch.double).view(3, 4))


@pytest.mark.parametrize("rows", [(), (1,), (7,), (3, 4), (2, 3, 2)], ids=str)
def test_value_and_gradient_are_those_of_cross_entropy(route, rows):
    logits, targets = example(*rows)
    value, gradient = with_gradient(logits, targets)
    flat = logits.view(-1, 5)
    nll = F.cross_entropy(flat, targets.reshape(-1), reduction="none").view(rows)
    slopes = torch.arange(1.0, nll.numel() + 1, dtype=nll.dtype).view(rows)
    close(value, -nll)
    close(gradient, torch.autograd.grad(-nll, logits, slopes)[0])


def test_a_slice_of_logits_is_not_copied_and_right(route, monkeypatch):
    logits, targets = example(2, 5, classes=6)
    shapes = []
    kept = _token_log_probs._visible
    monkeypatch.setattr(
        _token_log_probs, "_visible", lambda x, *more: shapes.append(x) or kept(x, *more)
    )
    for part, some in ((logits[:, :-1], targets[:, 1:]), (logits.transpose(0, 1), targets.T)):
        value = token_log_probs(part, some)
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        close(value, token_log_probs(part.contiguous(), some.contiguous()))
        close(gradient, torch.autograd.grad(_reference(part, some).sum(), logits)[0])
    memory = logits.untyped_storage().data_ptr()
    shared = [x.untyped_storage().data_ptr() == memory for x in shapes]
    assert sum(shared) >= (12 if route != "composed" else 2)


def _reference(logits, targets):
    return logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def test_rows_that_do_not_count_are_zero_and_may_be_nan(route):
    logits, targets = example(3, 4)
    where = torch.arange(12).view(3, 4) % 3 != 1
    expected, slope = with_gradient(logits, targets)
    broken = logits.detach().masked_fill(~where.unsqueeze(-1), math.nan).requires_grad_()
    for given, settings in (
        (targets.masked_fill(~where, -7), {"where": where}),
        (targets.masked_fill(~where, -100), {}),
        (targets.masked_fill(~where, 99), {"ignore_index": 99}),
    ):
        value, gradient = with_gradient(broken, given, **settings)
        close(value, expected * where)
        close(gradient, slope * where.unsqueeze(-1))


def test_half_precision_gives_single_precision(route):
    logits, targets = example(3, 4)
    for dtype in (torch.bfloat16, torch.float16):
        x = logits.detach().to(dtype).requires_grad_()
        value, gradient = with_gradient(x, targets)
        exact, slope = with_gradient(x.detach().double().requires_grad_(), targets)
        assert value.dtype == torch.float32
        assert gradient.dtype == dtype
        close(value, exact, rtol=1e-6, atol=1e-6)
        close(gradient, slope, rtol=torch.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [20.0, 128.0, 8192.0])
def test_large_logits_are_exact(route, dtype, size):
    """Targets that are nearly certain, nearly impossible, or one of two equals."""
    rows = [[size, -size, 0], [-size, size, 0], [size, size, -size]]
    x = torch.tensor(rows, dtype=dtype, requires_grad=True)
    value, gradient = with_gradient(x, torch.tensor([0, 0, 1]))
    close(value, torch.tensor([-math.exp(-size) if size < 50 else 0.0, -2 * size, -math.log(2)]))
    assert gradient.isfinite().all()
    close(gradient[1], torch.tensor([2.0, -2.0, 0.0]), atol=1e-6, rtol=0)
    close(gradient[2], torch.tensor([-1.5, 1.5, 0.0]), atol=1e-6, rtol=0)


def test_an_impossible_class_is_allowed(route):
    logits = torch.tensor([[0.0, -math.inf, 0.0]] * 2, requires_grad=True)
    value, gradient = with_gradient(logits, torch.tensor([0, 2]))
    close(value, torch.full((2,), -math.log(2)))
    assert gradient.isfinite().all()
    assert not gradient[:, 1].any()


def test_nothing_of_the_size_of_the_logits_is_kept(monkeypatch):
    monkeypatch.setattr(_token_log_probs, "BLOCKS_MIN_LOGITS", 0)
    logits, targets = example(8)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        token_log_probs(logits, targets)
    assert all(t.data_ptr() == logits.data_ptr() for t in kept if t.numel() == logits.numel())


# All losses' laws, for the mean of the log-probabilities.

WHERE = torch.arange(6).view(3, 2) % 4 != 1
LOGITS, TARGETS = example(3, 2)


def case(**settings) -> LossCase:
    def loss(logits, targets, where=None, reduction="mean"):
        value = token_log_probs(logits, targets, where=where, **settings)
        dtype = value.dtype if torch.is_autocast_enabled("cpu") else logits.dtype
        return reduce(value, reduction, where, dtype)

    return LossCase(loss, (LOGITS.detach(), TARGETS), where=WHERE)


@each_law_of({"plain": case(), "cold": case(temperature=0.5)})
def test_law(law, case, route):
    law(case)


# Bad input.


@pytest.mark.unhooked
def test_bad_input_is_refused():
    logits, targets = example(3, 4)
    with pytest.raises(ValueError, match=r"got targets \(3, 3\), logits \(3, 4, 5\)"):
        token_log_probs(logits, targets[:, :3])
    with pytest.raises(TypeError, match=r"targets must be class indices; got dtype torch\.float64"):
        token_log_probs(logits, targets.double())
    with pytest.raises(TypeError, match=r"logits must be floating point; got dtype torch\.int64"):
        token_log_probs(logits.long(), targets)
    with pytest.raises(ValueError, match=r"must be in \[0, 5\) or ignore_index -100; got targets"):
        token_log_probs(logits, targets + 4)
    with pytest.raises(ValueError, match="temperature must be finite and positive; got temp"):
        token_log_probs(logits, targets, temperature=0.0)
    with pytest.raises(ValueError, match=r"where must broadcast to the rows; got where \(4, 3\)"):
        token_log_probs(logits, targets, where=torch.ones(4, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match="ignore_index must be an integer; got ignore_index"):
        token_log_probs(logits, targets, ignore_index=1.5)
