"""The fused kernel is used only where it computes the step of PyTorch's own loop."""

import copy

import pytest
import torch
from torch import nn

from askew.optim import AsymmetricOptimizer

BASES = [
    (torch.optim.AdamW, {}),
    (torch.optim.Adam, {"amsgrad": True}),
    (torch.optim.SGD, {}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (torch.optim.Adagrad, {"fused": True}),
]
each_base = pytest.mark.parametrize(("base", "settings"), BASES)


class Holder(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)


def pair(weight, base=torch.optim.AdamW, settings=None):
    """Make our optimizer and the default one of PyTorch for equal weights."""
    ours, theirs = Holder(weight), copy.deepcopy(Holder(weight))
    assert theirs.weight.stride() == ours.weight.stride()
    optimizer = AsymmetricOptimizer(ours, {"**": 0.1}, base=base, settings=settings)
    assert optimizer.param_groups[0]["fused"]
    plain = dict(settings or {}, fused=False)
    return ours, theirs, optimizer, base(theirs.parameters(), lr=0.1, **plain)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def equal_steps(models, optimizers, gradient, steps=3):
    for step in range(steps):
        for made, optimizer in zip(models, optimizers, strict=True):
            made.weight.grad = gradient * (step + 1)
            assert made.weight.grad.stride() == gradient.stride()
            optimizer.step()
    torch.testing.assert_close(models[0].weight, models[1].weight, rtol=1e-5, atol=1e-6)


LAYOUTS = {
    "transposed gradient": (noise(3, 4), noise(4, 3).t()),
    "transposed weight": (noise(4, 3).t(), noise(3, 4)),
    "channels last gradient": (
        noise(2, 3, 2, 2), noise(2, 3, 2, 2).to(memory_format=torch.channels_last)),
    "channels last weight": (
        noise(2, 3, 2, 2).to(memory_format=torch.channels_last), noise(2, 3, 2, 2)),
    "both permuted alike": (noise(2, 3, 4).permute(2, 0, 1), noise(2, 3, 4).permute(2, 0, 1)),
}  # fmt: skip


@each_base
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_step_is_right_whatever_the_strides(layout, base, settings, device):
    if base is torch.optim.Adagrad and device != "cpu":
        pytest.skip("PyTorch has a fused Adagrad for CPUs alone")
    weight, gradient = (t.to(device) for t in LAYOUTS[layout])
    *models, one, two = pair(weight.clone(memory_format=torch.preserve_format), base, settings)
    equal_steps(models, (one, two), gradient)
    assert one.param_groups[0]["fused"] is True  # for the next step, and in a saved state


@each_base
def test_a_step_is_right_with_gaps_in_memory_and_with_a_repeated_gradient(base, settings):
    for gradient in (noise(3, 6)[:, :3], torch.ones(1, 1).expand(3, 3)):
        ours, theirs = Holder(noise(3, 6)[:, :3]), Holder(noise(3, 6)[:, :3])
        assert ours.weight.stride() == (6, 1)
        one = AsymmetricOptimizer(ours, {"**": 0.1}, base=base, settings=settings)
        two = base(theirs.parameters(), lr=0.1, **(settings | {"fused": False}))
        for made, optimizer in ((ours, one), (theirs, two)):
            made.weight.grad = gradient
            optimizer.step()
            optimizer.step()
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", ["memory format", "loaded state"])
def test_a_step_is_right_if_moments_have_other_strides(way):
    *models, one, two = pair(noise(2, 3, 2, 2))
    equal_steps(models, (one, two), noise(2, 3, 2, 2), steps=1)
    last = noise(2, 3, 2, 2).to(memory_format=torch.channels_last)
    if way == "memory format":
        models = [made.to(memory_format=torch.channels_last) for made in models]
    else:
        old = one, two
        weight = models[1].weight.detach().to(memory_format=torch.channels_last)
        *models, one, two = pair(weight)
        one.load_state_dict(old[0].state_dict())
        two.load_state_dict(old[1].state_dict())
    assert models[0].weight.stride() == last.stride()
    assert one.state[models[0].weight]["exp_avg"].stride() != last.stride()
    equal_steps(models, (one, two), last)


def test_a_step_is_right_with_gradients_of_autograd_in_a_closure():
    """The gradient of an einsum is transposed, and known only once the closure was called."""
    *models, one, two = pair(noise(3, 4))
    for made, optimizer in zip(models, (one, two), strict=True):

        def closure(made=made):
            loss = torch.einsum("io,bi->bo", made.weight, noise(5, 3)).square().sum()
            (made.weight.grad,) = torch.autograd.grad(loss, [made.weight])
            made.weight.grad = made.weight.grad.t().contiguous().t()
            return loss

        assert optimizer.step(closure) > 0
    torch.testing.assert_close(*[made.weight for made in models], rtol=1e-5, atol=1e-6)


def test_only_the_group_with_other_strides_leaves_the_fused_kernel():
    made = nn.ModuleDict({"a": nn.Linear(4, 3, bias=False), "b": nn.Linear(4, 3, bias=False)})
    twin = copy.deepcopy(made)
    one = AsymmetricOptimizer(made, {"a": 0.1, "b": 0.1})
    plain = torch.optim.AdamW(twin["a"].parameters(), lr=0.1)
    fused = torch.optim.AdamW(twin["b"].parameters(), lr=0.1, fused=True)
    for _ in range(3):
        made["a"].weight.grad = twin["a"].weight.grad = noise(4, 3).t()
        made["b"].weight.grad = twin["b"].weight.grad = noise(3, 4)
        for optimizer in (one, plain, fused):
            optimizer.step()
    assert torch.equal(made["a"].weight, twin["a"].weight)
    assert torch.equal(made["b"].weight, twin["b"].weight)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: it])
def test_copies_and_a_loaded_state_keep_the_guard_once(copied):
    made, twin = Holder(noise(3, 4)), Holder(noise(3, 4))
    optimizer = AsymmetricOptimizer(made, {"**": 0.1})
    optimizer.load_state_dict(optimizer.state_dict())
    made, optimizer = copied((made, optimizer))
    assert len(optimizer._optimizer_step_pre_hooks) == 1
    equal_steps(
        (made, twin), (optimizer, torch.optim.AdamW([twin.weight], lr=0.1)), noise(4, 3).t()
    )


def test_a_step_after_one_that_failed_is_fused_again():
    made, twin = Holder(noise(3, 4)), Holder(noise(3, 4))
    optimizer = AsymmetricOptimizer(made, {"**": 0.1}, base=torch.optim.SGD)
    made.weight.grad = noise(4, 3).t()
    optimizer.param_groups[0]["lr"] = "fast"
    with pytest.raises(TypeError):
        optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.1
    plain = torch.optim.SGD([twin.weight], lr=0.1, fused=True)
    made.weight.grad = twin.weight.grad = noise(3, 4)
    optimizer.step()
    plain.step()
    assert torch.equal(made.weight, twin.weight)
    assert optimizer.param_groups[0]["fused"] is True


def test_a_compiled_step_is_right_whatever_the_strides():
    for base, settings in BASES[:1] + BASES[2:3]:
        torch._dynamo.reset()
        *models, one, two = pair(noise(3, 4), base, settings)
        step = torch.compile(one.step, backend="eager")
        for gradient in (noise(3, 4), noise(4, 3).t()):
            for made in models:
                made.weight.grad = gradient
            for _ in range(2):
                step()
                two.step()
        # A compiled step computes the correction of the bias in single precision.
        torch.testing.assert_close(models[0].weight, models[1].weight, rtol=1e-4, atol=1e-4)
        assert one.param_groups[0]["fused"] is True


def test_a_parameter_may_get_its_first_gradient_later_than_others():
    ours = nn.ModuleList([nn.Linear(2, 1), nn.Linear(2, 1)])
    theirs = copy.deepcopy(ours)
    settings = {"momentum": 0.9}
    one = AsymmetricOptimizer(ours, {"**": 0.1}, base=torch.optim.SGD, settings=settings)
    two = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for used in (0, 1, 1):
        for made, optimizer in ((ours, one), (theirs, two)):
            made[used](torch.ones(2)).backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_sparse_gradients_and_those_of_another_dtype_train_as_with_the_base():
    indices, values = torch.tensor([[1]]), torch.ones(1, 2)
    sparse = torch.sparse_coo_tensor(indices, values, (4, 2), check_invariants=True)
    *models, one, two = pair(noise(4, 2), torch.optim.SGD)
    for made, optimizer in zip(models, (one, two), strict=True):
        made.weight.grad = sparse
        optimizer.step()
        made.weight.grad = None
        if hasattr(made.weight, "grad_dtype"):
            made.weight.grad_dtype = torch.bfloat16
            made.weight.grad = noise(4, 2).bfloat16()
            optimizer.step()
    torch.testing.assert_close(models[0].weight, models[1].weight)


@pytest.mark.parametrize("settings", [{}, {"fused": True}])
def test_a_loss_scaler_unscales_before_the_step_so_that_gradients_can_be_clipped(settings):
    """Lightning refuses to clip for an optimizer that declares to unscale by itself."""
    results = []
    for ours in (True, False):
        made = Holder(noise(3, 4))
        optimizer = (
            AsymmetricOptimizer(made, {"**": 0.1}, settings=settings)
            if ours
            else torch.optim.AdamW([made.weight], lr=0.1)
        )
        assert not getattr(optimizer, "_step_supports_amp_scaling", False)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for scale in (1.0, float("inf"), 2.0):
            optimizer.zero_grad()
            scaler.scale(made.weight.square().sum() * scale).backward()
            made.weight.grad = made.weight.grad.t().contiguous().t()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(made.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
        results.append(made.weight.detach())
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_numbers_empty_tensors_and_missing_gradients_train_as_with_the_base():
    for base, settings in BASES:
        trained = []
        for ours in (True, False):
            made = nn.ParameterList([torch.ones(()), torch.ones(0, 3), torch.ones(2, 1, 3)])
            made.extend([torch.ones(1, 1, 4).permute(2, 0, 1), torch.ones(3)])
            optimizer = (
                AsymmetricOptimizer(made, {"**": 0.1}, base=base, settings=settings)
                if ours
                else base(made, lr=0.1, **(settings | {"fused": False}))
            )
            optimizer.step()
            for _ in range(2):
                for parameter in list(made)[:-1]:
                    parameter.grad = torch.ones_like(parameter)
                optimizer.step()
            trained.append(list(made))
        for mine, other in zip(*trained, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flags", [{"maximize": True}, {"foreach": True}, {"foreach": False}])
@pytest.mark.parametrize(
    ("base", "settings"), [*BASES[:4], (torch.optim.RMSprop, {"momentum": 0.9})]
)
def test_flags_of_the_base_and_a_closure_mean_what_they_mean_there(base, settings, flags):
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    settings = settings | flags
    one = AsymmetricOptimizer(ours, {"**": 1e-3}, base=base, settings=settings)
    two = base(theirs.parameters(), lr=1e-3, **settings)
    losses = []
    for _ in range(3):
        for made, optimizer in ((ours, one), (theirs, two)):

            def closure(made=made, optimizer=optimizer):
                optimizer.zero_grad()
                loss = made(torch.ones(2, 4)).square().sum()
                loss.backward()
                return loss

            losses.append(optimizer.step(closure).item())
    assert losses[::2] == pytest.approx(losses[1::2], rel=1e-5)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)
    grows = losses[-2] > losses[0]
    assert grows is bool(flags.get("maximize"))
