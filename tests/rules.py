"""Rules that many things must keep, and what of a large table of cases is tried every day."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import pytest


def holds_for_each(*cases: tuple) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Make a test of a rule: it is called with the parts of each case.

    Thousands of tests of a millisecond each would cost more to hand out than to run.
    """

    def make_test(rule: Callable[..., None]) -> Callable[[], None]:
        def test() -> None:
            broken = [f"{case}: {error}" for case in cases for error in _broken(rule, case)]
            assert not broken, "\n".join(broken)

        test.__name__, test.__doc__, test.__module__ = rule.__name__, rule.__doc__, rule.__module__
        return test

    return make_test


def _broken(rule: Callable[..., None], case: Iterable[object]) -> list[AssertionError]:
    try:
        rule(*case)
    except AssertionError as error:
        return [error]
    return []


def first_every_day(first: object, *others: object) -> list[object]:
    """Return values for one parameter, or tuples for several; only the first is tried every day."""
    rows = [one if isinstance(one, tuple) else (one,) for one in (first, *others)]
    return [pytest.param(*row, marks=pytest.mark.slow if n else ()) for n, row in enumerate(rows)]


def every_day_each_once(*lists: Sequence[object]) -> list[object]:
    """Return all combinations; only so many are not slow that each thing occurs in one of them."""
    longest = max(len(one) for one in lists)
    daily = {tuple(k % len(one) for one in lists) for k in range(longest)}
    return [
        pytest.param(
            *(one[k] for one, k in zip(lists, places, strict=True)),
            marks=[] if places in daily else [pytest.mark.slow],
        )
        for places in product(*(range(len(one)) for one in lists))
    ]
