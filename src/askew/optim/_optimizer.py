"""One optimizer whose parts have their own rates and algorithms, with names in its state."""

import copy
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from askew._check import require
from askew.optim._bases import (
    can_fuse,
    check_base,
    check_options,
    default_rate,
    has_tensors,
    takes_any,
)
from askew.optim._fused import can_run_fused
from askew.optim._groups import PartSettings, parameter_groups, plain_option
from askew.optim._mixed import Mixed, lift_options, names_of, split_bases
from askew.optim._rules import Rule
from askew.optim._states import compare_states


class AsymmetricOptimizer(Optimizer):
    """One optimizer of PyTorch, with a named group for every part of a model.

    Every trainable parameter is in exactly one part; otherwise the constructor raises an error
    that names the parameters. The instance is also an instance of `base`, so it can be used
    wherever an `AdamW` can, and its step is that of `base`. One part with one rate is bit for
    bit the AdamW with the same `fused`.

    A part may have an algorithm of its own: `base` among its settings. The step is then bit for
    bit that of one optimizer for each algorithm, on its parameters alone. There is still one
    optimizer, with one list of groups and one state; it is an instance of no `base`.

    Under Adam only a rate changes how fast a part learns: a factor on its loss or gradient is
    divided out again. Decoupled weight decay is multiplied by the part's rate.

    Args:
        model: The model.
        parts: For each part's name its rate or settings, as in `parameter_groups`. Settings may
            have `base`, a class of optimizer, beside the options of that class. It must step
            without a closure. Muon takes matrices alone: see `hidden_matrices`.
        rest: Name of a part for all parameters that no rule matches.
        lr: Base rate. A part without `lr` has this rate times its `multiplier`.
        no_decay: A rule for the parameters whose weight decay is 0; none by default.
        base: The class of the optimizer, for parts that name none. It must read the rate of each
            group: an Adafactor with `relative_step=True`, which computes its own rate, and a base
            without `lr` are refused.
        settings: Keyword arguments of `base` for all parts that have it, such as `betas`. Adam,
            AdamW and SGD run fused where device, dtype and memory layout allow it, unless
            `fused`, `foreach` or `differentiable` is set.

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
        >>> from askew.optim import hidden_matrices
        >>> matrices = {"where": hidden_matrices, "base": torch.optim.Muon, "lr": 0.02}
        >>> model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9))
        >>> both = AsymmetricOptimizer(model, {"matrices": matrices, "rest": 3e-4}, rest="rest")
        >>> [(group["part"], group["base"]) for group in both.param_groups]
        [('matrices', 'Muon'), ('rest', 'AdamW')]

    References:
        Muon is Scalable for LLM Training, 2025, arXiv:2502.16982 (Muon for matrices, AdamW beside).
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
        check_base(base)
        bases, parts = split_bases(parts, rest, base)
        groups = parameter_groups(model, parts, rest=rest, lr=lr, no_decay=no_decay)
        options = {name: plain_option(option) for name, option in (settings or {}).items()}
        shares: dict[type[Optimizer], list[dict]] = {}
        for group in groups:
            shares.setdefault(bases[str(group["part"])], []).append(group)
        require(
            base in shares or not options,
            f"AsymmetricOptimizer: settings are options of base; got {', '.join(options)} for "
            f"{base.__name__}, which no part has. Put them into the parts",
        )
        if len(shares) == 1:
            (only,) = shares
            self._start(only, groups, options if only is base else None, model, lr)
            return
        members: dict[str, Optimizer] = {}
        for (one, share), name in zip(shares.items(), names_of(shares), strict=True):
            member = members[name] = object.__new__(AsymmetricOptimizer)
            member._start(one, share, options if one is base else None, model, lr)
            for group in share:
                group["base"] = name
        self.__class__ = _with_parts(type(self), Mixed)
        # pyrefly: ignore[bad-argument-type]  the class is one of those now
        Mixed.__init__(self, groups, members, base)
        self._choose_kernels()

    def _start(
        self,
        base: type[Optimizer],
        groups: list[dict],
        settings: dict | None,
        model: nn.Module,
        lr: float | Tensor | None,
    ) -> None:
        """Become a `base` that compares names when it loads.

        Without settings, those on which all groups agree are passed to its constructor.
        """
        check_options(base, settings or {}, groups)
        options: dict = lift_options(groups) if settings is None else settings
        options |= default_rate(base, lr, groups)
        if can_fuse(base, options, model, groups):
            options["fused"] = True
        self.__class__ = _with_parts(type(self), base)
        base.__init__(self, groups, **options)
        require(
            "lr" in self.defaults or takes_any(base),
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
        if self._made_from[1] is not Mixed and "base" in group:
            require(
                group["base"] is self._made_from[1],
                "AsymmetricOptimizer: the algorithm of an added group must be that of the "
                f"optimizer, {self._made_from[1].__name__}; got base {group['base']!r}",
            )
            del group["base"]
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
        fits = all(map(torch.is_floating_point, tensors)) and not has_tensors(self.defaults | group)
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
            lambda _, state: compare_states(self.param_groups, state["param_groups"])
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
