"""Partition of a model's trainable parameters into named parts, total and disjoint."""

from collections.abc import Mapping, Sequence

from torch import nn

from askew._check import hint, require
from askew.optim._rules import (
    Claim,
    NamedParameter,
    Rule,
    claims_of,
    inside,
    plain_path,
    trainable,
    unwrapped,
)

_LISTED = 8


def partition_parameters(
    model: nn.Module, rules: Mapping[str, Rule], *, rest: str | None = None
) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """Put every trainable parameter of a model into exactly one named part.

    A rule is a module of the model, the path of one, a pattern, or a list of those. The
    first rule that matches wins. One rule for the whole model gives the list that an ordinary
    optimizer is made from.

    In a pattern `*` stands for one segment of a parameter's path or a piece of one, `**` for
    any number of whole segments, `?` and `[0-5]` for one character: `"encoder.**"`,
    `"*.norm.*"`, `"**.bias"`, `"layers.[0-5].**"`. A pattern always matches whole segments, so
    `"encoder"` does not match `encoder_to_decoder`.

    A tied parameter has several names; it goes once, to the first part whose rule matches any
    of them. Frozen parameters (`requires_grad` false) are in no part.

    Args:
        model: The model, or a wrapper of it for data parallelism or compilation.
        rules: The rule of each part by name.
        rest: Name of a last part for all parameters that no rule matches; it may be empty.

    Returns:
        Name and tensor of every parameter of each part, in the order of the model.

    Raises:
        ValueError: If a parameter is in no part, if a rule matches nothing or nothing that is
            left, or if it names a module inside one that an earlier rule named. The message
            names them.
        TypeError: If the model is not a module, or a rule is of another type.

    Example:
        >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 3), "decoder": nn.Linear(3, 1)})
        >>> parts = partition_parameters(model, {"biases": "**.bias"}, rest="others")
        >>> {part: [name for name, _ in members] for part, members in parts.items()}
        {'biases': ['encoder.bias', 'decoder.bias'], 'others': ['encoder.weight', 'decoder.weight']}
    """
    parts = partition_named(model, rules, rest=rest)
    return {part: [(h.names[0], h.parameter) for h in members] for part, members in parts.items()}


def partition_named(
    model: nn.Module, rules: Mapping[str, Rule], *, rest: str | None
) -> dict[str, list[NamedParameter]]:
    """Partition like `partition_parameters`, but keep all names of every parameter."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"partition_parameters: model must be a module; got {type(model).__name__}. Rules "
            "select by name, so pass the model itself; in the Trainer of transformers by "
            "optimizer_cls_and_kwargs=(AsymmetricOptimizer, {'model': model, 'parts': parts})"
        )
    _check_names(rules, rest)
    model = unwrapped(model)
    trained = trainable(model)
    require(
        bool(trained),
        "partition_parameters: the model must have a trainable parameter; "
        f"got {type(model).__name__} with none",
    )
    claims = {part: claims_of(model, rule, where=part) for part, rule in rules.items()}
    parts: dict[str, list[NamedParameter]] = {part: [] for part in rules}
    orphans: list[NamedParameter] = []
    for one in trained:
        first = next((p for p in rules if any(c.matches(one) for c in claims[p])), None)
        (orphans if first is None else parts[first]).append(one)
    problems = _overlaps(claims, trained) + _unmatched(model, claims, trained)
    if not problems:
        problems = _emptied(claims, parts, trained)
    if rest is not None:
        parts[rest] = orphans
    elif orphans:
        problems.append(
            f"every trainable parameter needs one part; {len(orphans)} have none: "
            f"{_cut(_gathered(orphans, trained))}. Add a rule, or name a part for the rest"
        )
    require(not problems, "partition_parameters: " + ". And ".join(problems))
    return parts


def matching(model: nn.Module, rule: Rule, *, where: str) -> set[nn.Parameter]:
    """Return the trainable parameters that a rule matches.

    Raises:
        ValueError: If one of its modules, paths or patterns matches none.
    """
    model = unwrapped(model)
    trained, claims = trainable(model), claims_of(model, rule, where=where)
    for claim in claims:
        require(
            any(claim.matches(one) for one in trained),
            lambda claim=claim: (
                f"parameter_groups: {where} must match a trainable parameter; "
                f"got {claim.text}{_hint(model, claim)}"
            ),
        )
    return {one.parameter for one in trained if any(claim.matches(one) for claim in claims)}


def _check_names(rules: Mapping[str, Rule], rest: str | None) -> None:
    if not isinstance(rules, Mapping):
        raise TypeError(
            "partition_parameters: rules must map names of parts to rules; "
            f"got {type(rules).__name__}"
        )
    for part in rules:
        if not isinstance(part, str):
            raise TypeError(
                f"partition_parameters: a part's name must be a string; got {type(part).__name__}"
            )
    require(
        rest not in rules,
        f"partition_parameters: rest must be a name that no rule has; got rest {rest!r}",
    )


def _overlaps(claims: Mapping[str, list[Claim]], trained: list[NamedParameter]) -> list[str]:
    """Describe modules that lie inside a module that an earlier part names."""
    problems = []
    names = [name for one in trained for name in one.names]
    parts = list(claims)
    for i, early in enumerate(parts):
        outer = [path for claim in claims[early] for path in claim.paths]
        for late in parts[i + 1 :]:
            for path in (path for claim in claims[late] for path in claim.paths):
                shared = [name for name in names if inside(name, path)]
                if shared and any(inside(path, other) for other in outer):
                    problems.append(
                        f"modules must not overlap; got {path or 'the whole model'} of {late!r} "
                        f"also in {early!r}: {_cut(shared, 3)}. Put the inner module's part first"
                    )
    return problems


def _unmatched(
    model: nn.Module, claims: Mapping[str, list[Claim]], trained: list[NamedParameter]
) -> list[str]:
    """Describe rules, or members of a rule's list, that match no parameter."""
    unmatched = []
    for part, members in claims.items():
        if not members:
            unmatched.append(f"{part!r} (an empty list)")
        for claim in members:
            if not any(claim.matches(one) for one in trained):
                rule = "" if claim.text == repr(part) else f": {claim.text}"
                unmatched.append(f"{part!r}{rule}{_hint(model, claim)}")
    if not unmatched:
        return []
    return [f"every rule must match a trainable parameter; got part {', '.join(unmatched)}"]


def _emptied(
    claims: Mapping[str, list[Claim]],
    parts: Mapping[str, list[NamedParameter]],
    trained: list[NamedParameter],
) -> list[str]:
    """Describe parts all of whose parameters went to earlier ones."""
    problems = []
    for part in (part for part, members in parts.items() if not members):
        matched = {
            one.names for one in trained if any(claim.matches(one) for claim in claims[part])
        }
        takers = [p for p in parts if any(one.names in matched for one in parts[p])]
        problems.append(
            f"every part must be left a parameter; got part {part!r}, all of which "
            f"({len(matched)}) went to {', '.join(map(repr, takers))} before. Put it first"
        )
    return problems


def _hint(model: nn.Module, claim: Claim) -> str:
    """Explain why a claim matches nothing, or suggest a similar name."""
    parameters = [plain_path(n) for n, _ in model.named_parameters(remove_duplicate=False)]
    if claim.matches(NamedParameter(tuple(parameters), nn.Parameter())):
        return " (all of it is frozen)"
    if claim.expression is None:
        return " (it has no parameter)" if claim.paths else ""
    text = claim.text.strip("'")
    modules = [plain_path(path) for path, _ in model.named_modules(remove_duplicate=False)]
    same_end = [path for path in modules if path.endswith(f".{text}")][:1]
    return hint(text, same_end or modules + parameters, elsewhere=same_end)


def _gathered(orphans: list[NamedParameter], trained: list[NamedParameter]) -> list[str]:
    """Name orphans one by one; if there are many, name modules all of which are orphans."""
    if len(orphans) <= _LISTED:
        return [one.names[0] for one in orphans]
    lost = {one.names for one in orphans}
    placed = [one.names[0] for one in trained if one.names not in lost]
    counts: dict[str, int] = {}
    for name in (one.names[0] for one in orphans):
        segments = name.split(".")
        prefixes = [".".join(segments[:n]) for n in range(1, len(segments))]
        whole = [p for p in prefixes if not any(inside(other, p) for other in placed)]
        key = f"{whole[0]}.**" if whole else name
        counts[key] = counts.get(key, 0) + 1
    return [f"{key} ({n})" if key.endswith(".**") else key for key, n in counts.items()]


def _cut(names: Sequence[str], listed: int = _LISTED) -> str:
    shown = ", ".join(names[:listed])
    return shown if len(names) <= listed else f"{shown} and {len(names) - listed} more"
