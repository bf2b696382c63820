"""Several algorithms behind the interface of one optimizer."""

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from askew._check import require
from askew.optim._bases import check_base, check_matrices
from askew.optim._groups import PartSettings

_OURS = {"params", "param_names", "aliases", "part", "lr"}  # of a group, beside options


class Mixed(Optimizer):
    """An optimizer whose groups are stepped by several members, each with its share of them.

    A group is one dictionary, here and in its member, and all have one state. So whoever changes
    a rate, reads a state or loads one needs to know nothing of the members.
    """

    def __init__(
        self, groups: list[dict], members: dict[str, Optimizer], default: type[Optimizer]
    ) -> None:
        for member in members.values():
            _check_step(member)
        self._members = members
        self._default = default  # the algorithm of added groups that name none
        Optimizer.__init__(self, groups, {})
        for member in members.values():
            self.state.update(member.state)
        self._share()
        self._step_supports_amp_scaling = False

    def _share(self) -> None:
        """Give every member its groups and the common state."""
        for name, member in self._members.items():
            groups = [group for group in self.param_groups if group["base"] == name]
            # Some algorithms read the whole state that they are given: here only their own.
            own = {p: self.state[p] for g in groups for p in g["params"] if p in self.state}
            member.__setstate__({"state": defaultdict(dict, own), "param_groups": groups})
            self.state.update(member.state)
            member.state = self.state

    def __getstate__(self) -> dict:
        return super().__getstate__() | {"_members": self._members, "_default": self._default}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._share()

    def add_param_group(self, param_group: dict) -> None:
        """Add a group to the member of its part, or to that of its `base`."""
        if param_group.get("base") in self._members:  # one that a member began with
            super().add_param_group(param_group)
            return
        name = self._member_for(param_group["part"], param_group.pop("base", None))
        member = self._members[name]
        member.add_param_group(param_group)
        try:
            check_matrices(algorithm(member), [param_group])
            super().add_param_group(param_group)
        except ValueError:
            member.param_groups.pop()
            raise
        param_group["base"] = name

    def _member_for(self, part: str, base: type[Optimizer] | None) -> str:
        known = {algorithm(member): name for name, member in self._members.items()}
        name = next((g["base"] for g in self.param_groups if g["part"] == part), None)
        if name is not None and base is None:
            return name
        base = check_base(self._default if base is None else base, f"base of part {part!r}")
        allowed = list(known.values()) if name is None else [name]
        require(
            known.get(base) in allowed,
            f"AsymmetricOptimizer: the algorithm of part {part!r} must be {' or '.join(allowed)}, "
            f"with which the optimizer was made; got base {base.__name__}",
        )
        return known[base]

    # pyrefly: ignore[bad-override]  as every optimizer of PyTorch has it
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take one step of every algorithm.

        Args:
            closure: A function that computes loss and gradients, called once.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for member in self._members.values():
            member.step()
        return loss


def _check_step(member: Optimizer) -> None:
    closure = inspect.signature(type(member).step).parameters.get("closure")
    require(
        closure is None or closure.default is not closure.empty,
        "AsymmetricOptimizer: an algorithm beside others must step without a closure; "
        f"got {algorithm(member).__name__}",
    )


def algorithm(optimizer: Optimizer) -> type[Optimizer]:
    """Return the class of the algorithm that an optimizer runs, whatever has been wrapped round."""
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps an optimizer
    _, base = getattr(inner, "_made_from", (None, type(inner)))
    return base


def split_bases(
    parts: Mapping[str, PartSettings], rest: str | None, default: type[Optimizer]
) -> tuple[dict[str, type[Optimizer]], Mapping[str, PartSettings]]:
    """Separate the algorithm of every part from its other settings."""
    if not isinstance(parts, Mapping):
        return {}, parts  # refused where groups are made
    bases = {} if rest is None else {rest: default}
    plain = dict(parts)
    for part, settings in parts.items():
        bases[part] = default
        if isinstance(settings, Mapping) and "base" in settings:
            bases[part] = check_base(settings["base"], f"base of part {part!r}")
            plain[part] = {name: value for name, value in settings.items() if name != "base"}
    return bases, plain


def names_of(bases: Iterable[type[Optimizer]]) -> list[str]:
    """Name classes: by their own names where those differ, else with their modules."""
    bases = list(bases)
    counts = Counter(base.__name__ for base in bases)
    return [
        base.__name__ if counts[base.__name__] == 1 else f"{base.__module__}.{base.__qualname__}"
        for base in bases
    ]


def lift_options(groups: list[dict]) -> dict[str, object]:
    """Take the options that all groups agree on out of them, for the constructor to check."""
    first, *others = groups
    names = [
        name
        for name, value in first.items()
        if name not in _OURS and all(_same(value, other.get(name)) for other in others)
    ]
    options = {name: first[name] for name in names}
    for group in groups:
        for name in names:
            del group[name]
    return options


def _same(one: object, two: object) -> bool:
    return one is two or (not isinstance(one, Tensor) and type(one) is type(two) and one == two)
