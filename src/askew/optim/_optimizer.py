"""One optimizer whose parts have their own rates, with their names in its state."""

import copy
import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from askew._check import require
from askew.optim._fused import can_run_fused
from askew.optim._groups import PartSettings, parameter_groups, plain_option
from askew.optim._rules import Rule

_FUSED_BASES = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
_FUSED_DEVICES = {"cpu", "cuda", "mps", "xpu"}


class AsymmetricOptimizer(Optimizer):
    """One optimizer of PyTorch, with a named group for every part of a model.

    Every trainable parameter is in exactly one part; otherwise the constructor raises an error
    that names the parameters. The instance is also an instance of `base`, so it can be used
    wherever an `AdamW` can, and its step is that of `base`. One part with one rate is bit for
    bit the AdamW with the same `fused`.

    Under Adam only a rate changes how fast a part learns: a factor on its loss or gradient is
    divided out again. Decoupled weight decay is multiplied by the part's rate.

    Args:
        model: The model.
        parts: For each part's name its rate or settings, as in `parameter_groups`.
        rest: Name of a part for all parameters that no rule matches.
        lr: Base rate. A part without `lr` has this rate times its `multiplier`.
        no_decay: A rule for the parameters whose weight decay is 0; none by default.
        base: The class of the optimizer. It must read the rate of each group: an Adafactor with
            `relative_step=True`, which computes its own rate, and a base without `lr` are refused.
        settings: Keyword arguments of `base` for all parts, such as `betas`. Adam, AdamW and
            SGD run fused where device, dtype and memory layout allow it, unless `fused`,
            `foreach` or `differentiable` is set here.

    Raises:
        ValueError: If the parts do not cover the model exactly, or a name or number is wrong.
        TypeError: If `base` is not a class of optimizer, or a setting is of the wrong kind.

    Numerics:
        A fused step rounds differently from the loop of the same base; each is bit-equal to the
        base with the same `fused`. PyTorch's fused kernels pair elements by their place in memory
        and so move wrong ones if the strides of a gradient or of a moment differ from those of
        its parameter. In such a step the group runs the default loop of `base`. A compiled step
        is never fused by this kernel. Moments have the dtype of their parameter.

        A `GradScaler` unscales the gradients before the step, so they can be clipped in between.

    Example:
        >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 3), "head": nn.Linear(3, 1)})
        >>> optimizer = AsymmetricOptimizer(model, {"encoder": 1e-4, "head": 1e-2})
        >>> isinstance(optimizer, torch.optim.AdamW), part_rates(optimizer)
        (True, {'encoder': 0.0001, 'head': 0.01})

    References:
        LoRA+, 2024, arXiv:2402.12354 (a `multiplier` of 16 for the second factor).
    """

    _made_from: tuple[type, type[Optimizer]]  # set by `_with_parts`

    def __init__(
        self,
        model: nn.Module,
        parts: Mapping[str, PartSettings],
        *,
        rest: str | None = None,
        lr: float | Tensor | None = None,
        no_decay: Rule | None = None,
        base: type[Optimizer] = torch.optim.AdamW,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        if not (isinstance(base, type) and issubclass(base, Optimizer)):
            raise TypeError(f"AsymmetricOptimizer: base must be a class of optimizer; got {base!r}")
        options: dict = {n: plain_option(option) for n, option in (settings or {}).items()}
        groups = parameter_groups(model, parts, rest=rest, lr=lr, no_decay=no_decay)
        _check_options(base, options, groups)
        options |= _default_rate(base, lr, groups)
        if _can_fuse(base, options, model):
            options["fused"] = True
        # From here on the instance is a `base` that compares names when it loads.
        self.__class__ = _with_parts(type(self), base)
        base.__init__(self, groups, **options)
        require(
            "lr" in self.defaults or _takes_any(base),
            f"AsymmetricOptimizer: base must read the rate of a part as lr; got {base.__name__}, "
            f"whose groups have {', '.join(self.defaults)}",
        )
        # Else clipping between unscaling and the step is refused, by Lightning for one.
        self._step_supports_amp_scaling = False
        self._choose_kernels()

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._choose_kernels()

    def _choose_kernels(self) -> None:
        """Prepare to leave the fused kernel for single steps; copies and loading come here too."""
        if "_unfused" not in self.__dict__:
            self._unfused: list[dict] = []  # groups that run the plain loop in this step
            self.register_step_pre_hook(_before_step)
            self.register_step_post_hook(_after_step)

    def _init_group(self, group: dict, params: list, grads: list, *states: list) -> object:
        """Collect tensors as `base` does; here the gradients that a closure made are known."""
        # pyrefly: ignore[missing-attribute]  `base` has it, if it calls this
        collected = super()._init_group(group, params, grads, *states)
        if group.get("fused"):
            sharded = not isinstance(self, torch.optim.SGD)  # no fused SGD of a DTensor exists
            if not can_run_fused(params, grads, *states, sharded=sharded):
                self._leave_fused(group)
        return collected

    def _leave_fused(self, group: dict) -> None:
        group["fused"] = None  # the default of PyTorch: it chooses between its other loops
        self._unfused.append(group)

    def __reduce__(self) -> tuple:
        return _empty, self._made_from, self.__getstate__()

    def add_param_group(self, param_group: dict) -> None:
        """Add parameters that no part has yet, such as unfrozen ones.

        Args:
            param_group: `params`, which are tensors or pairs of name and tensor, and options of
                `base`. Without `part` they are a part of their own with the name `group <i>`, i
                its index in `param_groups`; without names they are `group <i>.0`, `group <i>.1`
                and so on. In a part that exists they have its rate unless `lr` is given.

        Example:
            >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 3), "head": nn.Linear(3, 1)})
            >>> _ = model["encoder"].requires_grad_(False)
            >>> optimizer = AsymmetricOptimizer(model, {"head": 1e-2})
            >>> unfrozen = model["encoder"].requires_grad_(True).named_parameters()
            >>> optimizer.add_param_group({"params": unfrozen, "lr": 1e-4, "part": "encoder"})
            >>> part_rates(optimizer)
            {'head': 0.01, 'encoder': 0.0001}
        """
        if isinstance(param_group, dict) and not isinstance(param_group["params"], set):
            self._complete(param_group)
        super().add_param_group(param_group)

    def _complete(self, group: dict) -> None:
        """Name the part and the parameters of a group in place, as PyTorch sets its defaults."""
        params = group["params"]
        params = group["params"] = [params] if isinstance(params, Tensor) else list(params)
        name = f"group {len(self.param_groups)}"
        part = group.setdefault("part", name)
        if not any(isinstance(parameter, tuple) for parameter in params):
            group.setdefault("param_names", [f"{name}.{i}" for i in range(len(params))])
        for other in self.param_groups:
            if other["part"] == part and "lr" not in group:
                rates = {name: other[name] for name in ("lr", "initial_lr") if name in other}
                group.update(copy.deepcopy(rates))  # a rate that is a tensor is never shared
        for option in self.defaults.keys() & group.keys() - {"lr"}:
            group[option] = plain_option(group[option])
        tensors = [one[1] if isinstance(one, tuple) else one for one in params]
        fits = all(map(torch.is_floating_point, tensors)) and not _has_tensors(
            self.defaults | group
        )
        if self.defaults.get("fused") and not fits:
            group.setdefault("fused", None)

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state whose parts have the same parameters under the same names.

        Args:
            state_dict: A result of `state_dict`.

        Raises:
            ValueError: If parts or names differ; the message says where. Nothing is loaded.
        """
        # As the last hook it sees a state that the hooks of the user have adapted.
        handle = self.register_load_state_dict_pre_hook(
            lambda _, state: _compare(self.param_groups, state["param_groups"])
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()


def part_rates(optimizer: Optimizer) -> dict[str, float]:
    """Return the current rate of every part, for logging.

    Args:
        optimizer: An optimizer with named parts, or a wrapper of one.

    Returns:
        The rate of each part by name.

    Raises:
        ValueError: If a group has no part.

    Example:
        >>> groups = parameter_groups(nn.Linear(2, 1), {"weight": 0.1, "bias": 0.2})
        >>> part_rates(torch.optim.SGD(groups))
        {'weight': 0.1, 'bias': 0.2}
    """
    return {part: current_rate(group) for part, group in named_groups(optimizer, "part_rates")}


def current_rate(group: Mapping) -> float:
    """Return the rate of a group as a number, also if it is a tensor."""
    rate = group["lr"]
    return rate.item() if isinstance(rate, Tensor) else float(rate)


def named_groups(optimizer: Optimizer, function: str) -> list[tuple[str, dict]]:
    """Pair every group with the name of its part."""
    groups = optimizer.param_groups
    unnamed = [i for i, group in enumerate(groups) if "part" not in group]
    require(
        not unnamed,
        f"{function}: every group of the optimizer must name its part; got groups {unnamed} "
        "without one. Make the optimizer from parameter_groups",
    )
    return [(group["part"], group) for group in groups]


@cache
def _with_parts(kind: type, base: type[Optimizer]) -> type:
    """Make the class that inherits from both, once: a second one would not be an equal type."""
    name = f"Asymmetric{base.__name__}" if kind is AsymmetricOptimizer else kind.__name__
    bases = (kind,) if issubclass(kind, base) else (kind, base)
    return type(name, bases, {"_made_from": (kind, base)})


def _empty(kind: type, base: type[Optimizer]) -> AsymmetricOptimizer:
    """Make an instance without a state, for pickle to fill."""
    return object.__new__(_with_parts(kind, base))


def _check_options(
    base: type[Optimizer], settings: Mapping[str, object], groups: list[dict[str, object]]
) -> None:
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
    if _takes_any(base):
        return
    known = set(parameters) - {"params", "lr"}
    ours = {"params", "param_names", "part", "lr", "aliases"}
    places = dict.fromkeys(settings, "settings")
    places |= {name: f"part {g['part']!r}" for g in groups for name in g if name not in ours}
    for name, where in places.items():
        close = get_close_matches(name, known, n=1)
        require(
            name in known,
            f"AsymmetricOptimizer: {where} must be options of {base.__name__}; got {name!r}. "
            + (f"Did you mean {close[0]!r}?" if close else f"It takes {', '.join(sorted(known))}"),
        )


def _before_step(optimizer: AsymmetricOptimizer, *_: object) -> None:
    """Leave the kernel to the compiler in a compiled step."""
    _after_step(optimizer)  # if the last step ended in an error
    if torch.compiler.is_compiling():
        for group in optimizer.param_groups:
            if group.get("fused"):
                optimizer._leave_fused(group)


def _after_step(optimizer: AsymmetricOptimizer, *_: object) -> None:
    for group in optimizer._unfused:
        group["fused"] = True
    optimizer._unfused.clear()


def _has_tensors(options: Mapping[str, object]) -> bool:
    """Whether an option besides the rate is a tensor, which fused kernels do not take."""
    return any(
        isinstance(value, Tensor)
        for name, option in options.items()
        if name not in ("lr", "initial_lr", "params")
        for value in (option if isinstance(option, tuple) else (option,))
    )


def _takes_any(base: type[Optimizer]) -> bool:
    """Whether the options of a base cannot be known, since it passes them on."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(base).parameters.values())


def _default_rate(
    base: type[Optimizer], lr: float | Tensor | None, groups: list[dict]
) -> dict[str, object]:
    """Return `lr` as `base` needs it; every group has its own, so it holds for added ones only."""
    parameter = inspect.signature(base).parameters.get("lr")
    if parameter is None:
        return {}
    if lr is None and parameter.default in (None, parameter.empty):
        return {"lr": max(group["lr"] for group in groups)}
    return {} if lr is None else {"lr": lr}


def _can_fuse(base: type[Optimizer], settings: Mapping[str, object], model: nn.Module) -> bool:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return (
        issubclass(base, _FUSED_BASES)
        and "fused" in inspect.signature(base).parameters
        and not {"fused", "foreach", "differentiable"} & set(settings)
        and all(p.is_floating_point() and p.device.type in _FUSED_DEVICES for p in trained)
        # A sparse embedding's gradient is sparse, which fused kernels do not take.
        and not any(getattr(module, "sparse", False) is True for module in model.modules())
    )


def _compare(here: list[dict], there: list[dict]) -> None:
    """Raise an error if a part or a parameter is missing, added or moved in a state."""
    require(
        all("part" in group and "param_names" in group for group in there),
        "AsymmetricOptimizer.load_state_dict: the state must name its parts and parameters; "
        "got one without names, as another optimizer writes it",
    )
    ours = [(group["part"], name) for group in here for name in group["param_names"]]
    theirs = [(group["part"], name) for group in there for name in group["param_names"]]
    shapes = [len(group["params"]) for group in here] == [len(group["params"]) for group in there]
    if ours == theirs and shapes:
        return
    raise ValueError(
        "AsymmetricOptimizer.load_state_dict: the state must have the same parameters in the "
        f"same parts and order; got {_difference(ours, theirs)}"
    )


def _difference(ours: list[tuple[str, str]], theirs: list[tuple[str, str]]) -> str:
    here, there = ({name: part for part, name in pairs} for pairs in (ours, theirs))
    differences = [f"{name} missing" for name in here if name not in there]
    differences += [f"{name} unknown here" for name in there if name not in here]
    differences += [
        f"{name} of part {there[name]!r}, here {part!r}"
        for name, part in here.items()
        if name in there and there[name] != part
    ]
    if not differences:
        moved = [(one, two) for one, two in zip(ours, theirs, strict=True) if one != two]
        differences = [f"{two[1]} where here is {one[1]}" for one, two in moved]
    if not differences:
        differences = ["another split into decayed and not decayed"]
    more = f" and {len(differences) - 6} more" if len(differences) > 6 else ""
    return ", ".join(differences[:6]) + more
