"""Laws that every loss obeys: `@each_law_of(CASES)` on a test that takes `law` and `case`."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad


@dataclass(frozen=True)
class LossCase:
    """A loss with float64 inputs on which all laws can be tried.

    `wrt` are the indices of the inputs that get a gradient. `where` is a mask with both values, or
    None for a loss that has none; `remove` gives the inputs without what it hides. `module` is the
    same loss as a module.
    """

    loss: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    wrt: tuple[int, ...] = (0,)
    where: Tensor | None = None
    remove: Callable[..., tuple[Tensor, ...]] = lambda where, *inputs: tuple(
        t[where] for t in inputs
    )
    module: nn.Module | None = None
    second_order: bool = True

    def fresh(self, dtype: torch.dtype = torch.double) -> list[Tensor]:
        """Copies of the inputs; those of `wrt` want a gradient."""
        inputs = [t.to(dtype) if t.is_floating_point() else t.clone() for t in self.inputs]
        return [t.clone().requires_grad_(i in self.wrt) for i, t in enumerate(inputs)]

    def gradients(self, value: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(value, [inputs[i] for i in self.wrt])

    def value_and_gradients(self, inputs: list[Tensor], **settings) -> tuple[Tensor, ...]:
        value = self.loss(*inputs, **settings)
        return value, *self.gradients(value, inputs)

    def value_and_gradients_of_sum(self, inputs: list[Tensor], **settings) -> tuple[Tensor, ...]:
        value = self.loss(*inputs, **settings)
        return value, *self.gradients(value.sum(), inputs)

    def settings(self) -> list[dict[str, Tensor]]:
        """Without and, if there is one, with the mask."""
        return [{}] if self.where is None else [{}, {"where": self.where}]


def close(actual: Tensor, expected: Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, check_dtype=False, **tolerance)


def poison(case: LossCase, tensor: Tensor) -> Tensor:
    """NaN, or an impossible label, where nothing counts."""
    where = case.where
    while where.dim() < tensor.dim():  # classes stand last, or on the second axis
        leads = where.shape == tensor.shape[: where.dim()]
        where = where.unsqueeze(-1 if leads else 1)
    if tensor.dtype == torch.bool:
        return tensor
    bad = float("nan") if tensor.is_floating_point() else -12345
    return tensor.masked_fill(~where.expand(tensor.shape), bad)


def leaves_everything_as_it_was(case: LossCase) -> None:
    inputs = case.fresh()
    before = [t.detach().clone() for t in inputs]
    enabled = torch.is_grad_enabled()
    case.loss(*inputs).backward()
    assert torch.is_grad_enabled() == enabled
    assert all(torch.equal(t, b) for t, b in zip(inputs, before, strict=True))
    with torch.no_grad():
        assert not case.loss(*inputs).requires_grad
    with torch.inference_mode():
        close(case.loss(*inputs), case.loss(*[t.clone() for t in before]))


def mean_and_sum_agree_with_none(case: LossCase) -> None:
    inputs = case.fresh()
    one_by_one = case.loss(*inputs, reduction="none")
    total, *gradient = case.value_and_gradients(inputs, reduction="sum")
    close(one_by_one.sum(), total)
    for a, b in zip(case.gradients(one_by_one.sum(), inputs), gradient, strict=True):
        close(a, b)
    mean, *scaled = case.value_and_gradients(inputs, reduction="mean")
    factor = (mean / total).detach()
    for a, b in zip(scaled, gradient, strict=True):
        close(a, b * factor)


def hiding_is_removing(case: LossCase) -> None:
    assert case.where.any()
    assert not case.where.all()
    for reduction in ("mean", "sum"):
        hidden = [
            t.detach().requires_grad_(i in case.wrt)
            for i, t in enumerate(poison(case, t) for t in case.fresh())
        ]
        kept = case.fresh()
        value, *gradients = case.value_and_gradients(hidden, where=case.where, reduction=reduction)
        removed = case.loss(*case.remove(case.where, *kept), reduction=reduction)
        close(value, removed)
        for a, b in zip(gradients, case.gradients(removed, kept), strict=True):
            close(a, b)
    assert case.loss(*hidden, where=case.where, reduction="none").isfinite().all()


def nothing_left_is_a_differentiable_zero(case: LossCase) -> None:
    nothing = torch.zeros_like(case.where)
    for reduction in ("mean", "sum"):
        value, *gradients = case.value_and_gradients(
            case.fresh(), where=nothing, reduction=reduction
        )
        assert value == 0
        assert not any(g.any() for g in gradients)


def gradients_are_right(case: LossCase) -> None:
    inputs = case.fresh()
    for reduction in ("mean", "none"):
        assert torch.autograd.gradcheck(lambda *t: case.loss(*t, reduction=reduction), inputs)  # noqa: B023
    if case.second_order:
        assert torch.autograd.gradgradcheck(case.loss, inputs)


def compiles_in_one_graph(case: LossCase, backend: str = "eager") -> None:
    torch.compiler.reset()
    compiled = torch.compile(case.loss, fullgraph=True, backend=backend)
    inputs = case.fresh()
    eager = case.value_and_gradients(inputs)
    for a, b in zip(case.value_and_gradients(inputs), eager, strict=True):
        close(a, b)
    value = compiled(*inputs)
    for a, b in zip((value, *case.gradients(value, inputs)), eager, strict=True):
        close(a, b)


def its_gradient_is_in_a_graph_too(case: LossCase) -> None:
    compiles_in_one_graph(case, backend="aot_eager")


def half_precision_is_the_rounding_of_single(case: LossCase) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        inputs = case.fresh(dtype)
        exact_inputs = [t.detach().to(torch.double) if t.is_floating_point() else t for t in inputs]
        exact_inputs = [t.requires_grad_(i in case.wrt) for i, t in enumerate(exact_inputs)]
        for reduction in ("mean", "sum", "none"):
            value = case.loss(*inputs, reduction=reduction)
            exact = case.loss(*exact_inputs, reduction=reduction)
            gradients = case.gradients(value.sum(dtype=torch.float32), inputs)
            exact_gradients = case.gradients(exact.sum(), exact_inputs)
            for a, b in zip((value, *gradients), (exact, *exact_gradients), strict=True):
                assert a.dtype == dtype
                lost = 1e-5 * float(b.detach().abs().max())  # what sums in single precision lose
                close(a, b.to(dtype), rtol=torch.finfo(dtype).eps, atol=lost)


def works_under_function_transforms(case: LossCase) -> None:
    inputs = case.fresh()
    plain = [t.detach() for t in inputs]
    for settings in case.settings():
        gradient = torch.func.grad(partial(case.loss, **settings), argnums=case.wrt)
        _, *expected = case.value_and_gradients(inputs, **settings)
        for a, b in zip(gradient(*plain), expected, strict=True):
            close(a, b, rtol=1e-11, atol=1e-13)
        batched = torch.vmap(gradient)(*(torch.stack([t, t]) for t in plain))
        for a, b in zip(batched, expected, strict=True):
            close(a, torch.stack([b, b]), rtol=1e-11, atol=1e-13)


def forward_mode_agrees_with_reverse_mode(case: LossCase) -> None:
    inputs = case.fresh()
    _, *gradients = case.value_and_gradients(inputs)
    tangents = [torch.randn_like(g) for g in gradients]
    slope = sum((g * t).sum() for g, t in zip(gradients, tangents, strict=True))
    plain = [t.detach() for t in inputs]
    for primals in (inputs, plain):  # those that want a gradient as well, and those that do not
        with forward_ad.dual_level():
            duals = list(primals)
            for i, t in zip(case.wrt, tangents, strict=True):
                duals[i] = forward_ad.make_dual(primals[i], t)
            tangent = forward_ad.unpack_dual(case.loss(*duals)).tangent
        assert tangent is not None
        close(tangent, slope)

    def loss(*moved: Tensor) -> Tensor:
        given = list(plain)
        for i, t in zip(case.wrt, moved, strict=True):
            given[i] = t
        return case.loss(*given)

    primals = tuple(plain[i] for i in case.wrt)
    close(torch.func.jvp(loss, primals, tuple(tangents))[1], slope)


def works_under_autocast(case: LossCase) -> None:
    inputs = case.fresh(torch.float32)
    exact = case.value_and_gradients(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        value = case.loss(*inputs)
        assert case.loss(*case.fresh(torch.bfloat16)).dtype == torch.float32
    assert value.dtype == torch.float32
    for a, b in zip((value, *case.gradients(value, inputs)), exact, strict=True):
        close(a, b, rtol=0.02, atol=0.01)


def the_default_device_does_not_matter(case: LossCase) -> None:
    inputs = case.fresh()
    for settings in case.settings():
        expected = case.value_and_gradients(inputs, **settings)
        with torch.device("meta"):
            actual = case.value_and_gradients(inputs, **settings)
        for a, b in zip(actual, expected, strict=True):
            assert torch.equal(a, b)


def tensors_without_values_give_shape_and_dtype(case: LossCase) -> None:
    for settings in case.settings():
        for reduction in ("mean", "none"):
            value = case.loss(*case.fresh(), **settings, reduction=reduction)
            expected = (value, *(t for i, t in enumerate(case.inputs) if i in case.wrt))
            meta = [t.detach().to("meta").requires_grad_(t.requires_grad) for t in case.fresh()]
            hidden = {name: where.to("meta") for name, where in settings.items()}
            actual = [case.value_and_gradients_of_sum(meta, **hidden, reduction=reduction)]
            with FakeTensorMode(allow_non_fake_inputs=True):
                fake = case.fresh()
                actual += [case.value_and_gradients_of_sum(fake, **settings, reduction=reduction)]
            for tensors in actual:
                for a, b in zip(tensors, expected, strict=True):
                    assert (a.shape, a.dtype) == (b.shape, b.dtype)


def the_module_is_the_function(case: LossCase) -> None:
    inputs = case.fresh()
    expected = case.value_and_gradients(inputs)
    rounds = (case.module, copy.deepcopy(case.module), pickle.loads(pickle.dumps(case.module)))
    for module in rounds:
        value = module(*inputs)
        for a, b in zip((value, *case.gradients(value, inputs)), expected, strict=True):
            close(a, b)
    assert repr(case.module).startswith(type(case.module).__name__)


def cuda_gives_the_numbers_of_the_cpu(case: LossCase) -> None:
    gives_the_numbers_of_the_cpu(case, "cuda")


def gives_the_numbers_of_the_cpu(case: LossCase, device: str) -> None:
    tolerance = {torch.double: {}, torch.float32: {"rtol": 1e-4, "atol": 1e-5}}
    for dtype in tolerance:
        for settings in case.settings():
            for reduction in ("mean", "none"):
                expected = case.value_and_gradients_of_sum(
                    case.fresh(dtype), **settings, reduction=reduction
                )
                inputs = [
                    t.detach().to(device).requires_grad_(t.requires_grad) for t in case.fresh(dtype)
                ]
                moved = {name: where.to(device) for name, where in settings.items()}
                actual = case.value_and_gradients_of_sum(inputs, **moved, reduction=reduction)
                for a, b in zip(actual, expected, strict=True):
                    assert a.device.type == device
                    close(a.cpu(), b, **tolerance[dtype])
    if case.module is not None:
        value = copy.deepcopy(case.module).to(device)(*(t.to(device) for t in case.fresh()))
        close(value.cpu(), case.module(*case.fresh()))


LAWS = [
    leaves_everything_as_it_was,
    mean_and_sum_agree_with_none,
    hiding_is_removing,
    nothing_left_is_a_differentiable_zero,
    gradients_are_right,
    compiles_in_one_graph,
    its_gradient_is_in_a_graph_too,
    half_precision_is_the_rounding_of_single,
    works_under_function_transforms,
    forward_mode_agrees_with_reverse_mode,
    works_under_autocast,
    the_default_device_does_not_matter,
    tensors_without_values_give_shape_and_dtype,
    the_module_is_the_function,
    *([cuda_gives_the_numbers_of_the_cpu] if torch.cuda.is_available() else []),
]
NEEDS = {
    hiding_is_removing: "where",
    nothing_left_is_a_differentiable_zero: "where",
    the_module_is_the_function: "module",
}
DEAR = (compiles_in_one_graph, tensors_without_values_give_shape_and_dtype)
MARKS = {
    compiles_in_one_graph: [pytest.mark.unhooked],
    its_gradient_is_in_a_graph_too: [pytest.mark.unhooked, pytest.mark.slow],
    cuda_gives_the_numbers_of_the_cpu: [pytest.mark.gpu],
}


def each_law_of(
    cases: dict[str, LossCase], *, exempt: Callable[[Callable, str], bool] = lambda *_: False
) -> pytest.MarkDecorator:
    """All pairs of a law and a case that has what the law needs and is not `exempt(law, name)`.

    Of the cases of one module, the laws that take long are tried every day on the first.
    """
    first = {type(case.module): name for name, case in reversed(cases.items())}
    pairs = [
        pytest.param(
            law,
            case,
            id=f"{name}-{law.__name__}",
            marks=[
                *MARKS.get(law, ()),
                *([pytest.mark.slow] if law in DEAR and first[type(case.module)] != name else []),
            ],
        )
        for name, case in cases.items()
        for law in LAWS
        if (law not in NEEDS or getattr(case, NEEDS[law]) is not None) and not exempt(law, name)
    ]
    return pytest.mark.parametrize(("law", "case"), pairs)
