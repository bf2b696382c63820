"""Named parameter groups, one per part, for any optimizer of PyTorch."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
from torch import Tensor, nn

from askew._check import require
from askew.optim._parts import matching, partition_named
from askew.optim._rules import NamedParameter, Rule

PartSettings = float | Tensor | Mapping[str, object]


def parameter_groups(
    model: nn.Module,
    parts: Mapping[str, PartSettings],
    *,
    rest: str | None = None,
    lr: float | Tensor | None = None,
    no_decay: Rule | None = None,
) -> list[dict[str, object]]:
    """Make parameter groups for any optimizer: one per part, with its name, rate and decay.

    One part with one rate trains like a plain list of all parameters.

    Args:
        model: The model.
        parts: For each part's name its rate, or a mapping with `where` (a rule as in
            `partition_parameters`), `lr` or `multiplier` (of the base `lr`), and any option of
            the optimizer for this part alone, such as `weight_decay`. Without `where` the name
            is the path of a submodule or a pattern.
        rest: Name of a part for all parameters that no rule matches. `parts` may have settings
            under that name, without `where`.
        lr: Base rate, >= 0. A part without `lr` has this rate times its `multiplier`. A rate may
            be a tensor of one element; every group has a copy of it.
        no_decay: A rule for the parameters whose weight decay is 0; a part that contains some
            then has two groups.

    Returns:
        Groups with `params`, `param_names`, `part` and `lr`; `aliases` lists the other names
        of tied parameters. The groups of one part are adjacent.

    Raises:
        ValueError: If the parts do not cover the model exactly, a part has no rate, or a
            number is out of range.
        TypeError: If the settings of a part are neither a number nor a mapping.

    Example:
        >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 3), "head": nn.Linear(3, 1)})
        >>> groups = parameter_groups(model, {"encoder": 1e-4, "head": 1e-2}, no_decay="**.bias")
        >>> [(group["part"], group["lr"], group["param_names"]) for group in groups]
        [('encoder', 0.0001, ['encoder.weight']), ('encoder', 0.0001, ['encoder.bias']),
         ('head', 0.01, ['head.weight']), ('head', 0.01, ['head.bias'])]
    """
    if not isinstance(parts, Mapping):
        raise TypeError(
            f"parameter_groups: parts must map names to settings; got {type(parts).__name__}"
        )
    options = {part: _options(part, settings) for part, settings in parts.items()}
    if rest is not None:
        _check_rest(rest, options)
    rules = {part: opts.pop("where", part) for part, opts in options.items() if part != rest}
    rates = {part: _pop_rate(part, opts, lr) for part, opts in options.items()}
    partition = partition_named(model, rules, rest=rest)
    undecayed = set() if no_decay is None else matching(model, no_decay, where="no_decay")
    groups = []
    for part, members in partition.items():
        shared = {"part": part, "lr": rates[part], **options[part]}
        decayed = [one for one in members if one.parameter not in undecayed]
        plain = [one for one in members if one.parameter in undecayed]
        if decayed or not plain:
            groups.append(_group(decayed, shared))
        if plain:
            groups.append(_group(plain, {**shared, "weight_decay": 0.0}))
    return groups


def layerwise_parts(
    layers: Sequence[nn.Module] | nn.ModuleList,
    *,
    decay: float,
    below: Rule | None = None,
    above: Rule | None = None,
    name: str = "layers",
) -> dict[str, PartSettings]:
    r"""Make one part per layer, with a rate that falls with the distance from the output.

    With L layers, layer l (counted from 1) has the multiplier

    .. math:: \xi^{L + 1 - l}.

    Parameters before the layers have :math:`\xi^{L+1}`, those after them 1. A decay of 1 means
    one rate for all. Pass the result to `parameter_groups` or `AsymmetricOptimizer`, with a
    base `lr=`.

    Args:
        layers: The layers from the input to the output.
        decay: The factor :math:`\xi` from one layer to the one before it, > 0.
        below: Rule for the parameters before the layers, such as the embeddings.
        above: Rule for the parameters after them, such as the final norm and the head.
        name: Prefix of the parts' names.

    Returns:
        Settings of the parts `name.below`, `name.0`, `name.1` and so on, `name.above`.

    Raises:
        ValueError: If there is no layer, or `decay` is not positive.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
        >>> parts = layerwise_parts(model[:2], decay=0.5, above="2")
        >>> {part: settings["multiplier"] for part, settings in parts.items()}
        {'layers.0': 0.25, 'layers.1': 0.5, 'layers.above': 1.0}

    References:
        ELECTRA, 2020, arXiv:2003.10555; its published code has one exponent more.
    """
    require(len(layers) > 0, "layerwise_parts: there must be a layer; got layers of length 0")
    require(
        math.isfinite(decay) and decay > 0,
        f"layerwise_parts: decay must be positive; got decay {decay}",
    )
    count = len(layers)
    parts: dict[str, PartSettings] = {}
    if below is not None:
        parts[f"{name}.below"] = {"where": below, "multiplier": decay ** (count + 1)}
    for i, layer in enumerate(layers):
        parts[f"{name}.{i}"] = {"where": layer, "multiplier": decay ** (count - i)}
    if above is not None:
        parts[f"{name}.above"] = {"where": above, "multiplier": 1.0}
    return parts


def _options(part: str, settings: PartSettings) -> dict:
    """Copy the settings of a part as a mapping."""
    if isinstance(settings, Mapping):
        require(
            "base" not in settings,
            "parameter_groups: groups have no algorithm of their own; "
            f"got part {part!r} with base. Make an AsymmetricOptimizer",
        )
        return {name: plain_option(option) for name, option in settings.items()}
    if isinstance(settings, bool) or not isinstance(settings, (Real, Tensor)):
        raise TypeError(
            "parameter_groups: a part must be a rate or a mapping of settings; "
            f"got {part!r} {type(settings).__name__}"
        )
    return {"lr": settings}


def plain_option(option: object) -> object:
    """Return an option as PyTorch takes and stores it: without numbers and arrays of numpy."""
    if isinstance(option, (np.generic, np.ndarray)):
        option = option.tolist()
        return tuple(option) if isinstance(option, list) else option
    return tuple(map(plain_option, option)) if type(option) is tuple else option


def _check_rest(rest: str, options: dict[str, dict]) -> None:
    require(
        "where" not in options.setdefault(rest, {}),
        f"parameter_groups: rest takes what is left, so it has no rule; got rest {rest!r} "
        "with where. Give the part another name",
    )


def _pop_rate(part: str, options: dict, base: float | Tensor | None) -> float | Tensor:
    """Remove `lr` and `multiplier` from a part's options and return the rate they mean."""
    lr, multiplier = options.pop("lr", None), options.pop("multiplier", None)
    require(
        lr is None or multiplier is None,
        f"parameter_groups: a part has lr or multiplier, not both; got {part!r} with both",
    )
    if lr is not None:
        return _rate(part, "lr", lr)
    require(
        base is not None,
        f"parameter_groups: every part needs a rate; got {part!r} with none. "
        "Give it lr, or pass the base lr=",
    )
    rate = _rate("base", "lr", base)
    return rate if multiplier is None else _rate(part, "multiplier", multiplier) * rate


def _rate(part: str, name: str, value: object) -> float | Tensor:
    """Check a rate or a multiplier; a tensor stays one, so that compiled steps can read it."""
    scalar = isinstance(value, Tensor) and value.numel() == 1
    number = value.item() if scalar else value
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(
            f"parameter_groups: {name} must be a number; got {part} {name} {type(value).__name__}"
        )
    number = float(number)
    require(
        math.isfinite(number) and number >= 0,
        f"parameter_groups: {name} must be finite and >= 0; got {part} {name} {number}",
    )
    return value if scalar and value.is_floating_point() else number


def _group(members: list[NamedParameter], shared: Mapping[str, object]) -> dict[str, object]:
    names = [one.names[0] for one in members]
    group = {"params": [one.parameter for one in members], "param_names": names, **shared}
    rate = group["lr"]
    if isinstance(rate, Tensor) and not rate.requires_grad:
        group["lr"] = rate.clone()  # schedulers write into it
    aliases = {one.names[0]: list(one.names[1:]) for one in members if len(one.names) > 1}
    return {**group, "aliases": aliases} if aliases else group
