"""Comparison of a saved state with the optimizer that is to load it."""

from askew._check import require


def compare_states(here: list[dict], there: list[dict]) -> None:
    """Raise an error if a part, a parameter or an algorithm of a state is not the one here."""
    require(
        all("part" in group and "param_names" in group for group in there),
        "AsymmetricOptimizer.load_state_dict: the state must name its parts and parameters; "
        "got one without names, as another optimizer writes it",
    )
    ours = [(group["part"], name) for group in here for name in group["param_names"]]
    theirs = [(group["part"], name) for group in there for name in group["param_names"]]
    shapes = [len(group["params"]) for group in here] == [len(group["params"]) for group in there]
    require(
        ours == theirs and shapes,
        lambda: (
            "AsymmetricOptimizer.load_state_dict: the state must have the same parameters in the "
            f"same parts and order; got {_difference(ours, theirs)}"
        ),
    )
    for one, two in zip(here, there, strict=True):
        kept, given = (group.get("base") for group in (one, two))
        require(
            kept == given,
            "AsymmetricOptimizer.load_state_dict: the state must have the same algorithm for "
            f"every part; got part {one['part']!r} by {given or 'the only one of the state'}, "
            f"here by {kept or 'the only one'}",
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
