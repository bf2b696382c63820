"""Classes of optimizers: by name, and what their constructors take."""

import inspect
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from askew._check import did_you_mean, require

_FUSED_BASES = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
_FUSED_DEVICES = {"cpu", "cuda", "mps", "xpu"}

ALGORITHMS = {
    "adadelta": torch.optim.Adadelta,
    "adafactor": torch.optim.Adafactor,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "muon": torch.optim.Muon,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}
"""The algorithms of PyTorch that can be named in files and on the command line."""


def check_base(base: object, where: str = "base") -> type[Optimizer]:
    """Refuse what is no class of optimizer."""
    if isinstance(base, type) and issubclass(base, Optimizer):
        return base
    raise TypeError(f"AsymmetricOptimizer: {where} must be a class of optimizer; got {base!r}")


def check_options(
    base: type[Optimizer], settings: Mapping[str, object], groups: Sequence[Mapping[str, object]]
) -> None:
    """Refuse options that the constructor of `base` does not take, and parameters it cannot."""
    parameters = inspect.signature(base).parameters
    # Adafactor in transformers and its relatives call it so; the rate of a group is then ignored.
    relative = "relative_step" in parameters and parameters["relative_step"].default
    for options in ({**settings, **group} for group in groups):
        require(
            not options.get("relative_step", relative),
            f"AsymmetricOptimizer: base must use the rate of each part; got {base.__name__} with "
            "relative_step True, which computes a rate of its own. "
            "Pass settings={'relative_step': False}",
        )
    require(
        "lr" not in settings,
        f"AsymmetricOptimizer: settings must be options of {base.__name__}; got 'lr'. "
        "Pass the rate as lr=, or in parts",
    )
    check_matrices(base, groups)
    if takes_any(base):
        return
    known = set(parameters) - {"params", "lr"}
    ours = {"params", "param_names", "part", "lr", "aliases", "base"}
    places = dict.fromkeys(settings, "settings")
    places |= {name: f"part {g['part']!r}" for g in groups for name in g if name not in ours}
    for name, where in places.items():
        near = did_you_mean(name, known) or f"it takes {', '.join(sorted(known))}"
        require(
            name in known,
            f"AsymmetricOptimizer: {where} must be options of {base.__name__}; got {name!r}. "
            f"{near[0].upper()}{near[1:]}",
        )


def check_matrices(base: type[Optimizer], groups: Iterable[Mapping]) -> None:
    """Refuse parameters that are no matrices where the algorithm is for matrices alone."""
    if not issubclass(base, torch.optim.Muon):
        return
    for group in groups:
        named = zip(group["params"], group["param_names"], strict=True)
        wrong = [f"{name} {list(weight.shape)}" for weight, name in named if weight.ndim != 2]
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        require(
            not wrong,
            f"AsymmetricOptimizer: {base.__name__} trains matrices alone; got part "
            f"{group['part']!r} with {', '.join(wrong[:3])}{more}. Select them by hidden_matrices",
        )


def takes_any(base: type[Optimizer]) -> bool:
    """Whether the options of a base cannot be known, since it passes them on."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(base).parameters.values())


def default_rate(
    base: type[Optimizer], lr: float | Tensor | None, groups: Sequence[Mapping]
) -> dict[str, object]:
    """Return `lr` as `base` needs it; every group has its own, so it holds for added ones only."""
    parameter = inspect.signature(base).parameters.get("lr")
    if parameter is None:
        return {}
    if lr is None and parameter.default in (None, parameter.empty):
        return {"lr": max(group["lr"] for group in groups)}
    return {} if lr is None else {"lr": lr}


def can_fuse(
    base: type[Optimizer],
    settings: Mapping[str, object],
    model: nn.Module,
    groups: Sequence[Mapping],
) -> bool:
    """Whether the fused kernel of `base` takes all parameters of the groups."""
    trained = {parameter for group in groups for parameter in group["params"]}
    return (
        issubclass(base, _FUSED_BASES)
        and "fused" in inspect.signature(base).parameters
        and not {"fused", "foreach", "differentiable"} & set(settings)
        and all(p.is_floating_point() and p.device.type in _FUSED_DEVICES for p in trained)
        # A sparse embedding's gradient is sparse, which fused kernels do not take.
        and not any(
            getattr(module, "sparse", False) is True
            and not trained.isdisjoint(module.parameters(recurse=False))
            for module in model.modules()
        )
    )


def has_tensors(options: Mapping[str, object]) -> bool:
    """Whether an option besides the rate is a tensor, which fused kernels do not take."""
    return any(
        isinstance(value, Tensor)
        for name, option in options.items()
        if name not in ("lr", "initial_lr", "params")
        for value in (option if isinstance(option, tuple) else (option,))
    )
