"""Numbers in words: factors, signed differences, sizes, shares."""

import math

from askew.tradeoffs._report.language import Language

TIMES, MINUS, DASH = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}", "\N{EN DASH}"


def factor(say: Language, log_ratio: float, spread: float | None) -> str:
    """Write a ratio; `spread` is the width of its interval, which sets the decimals."""
    value = math.exp(log_ratio)
    if spread and spread < 0.02:
        return say.digits(f"{value:.3f}")
    return say.digits(f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}")


def signed(say: Language, value: float, decimals: int) -> str:
    """Write a difference with its sign, 0 without one."""
    text = f"{value:+.{decimals}f}"
    return say.digits(text.replace("-", MINUS) if float(text) else text[1:])


def unsigned(say: Language, value: float, decimals: int) -> str:
    """Write a number with so many decimals."""
    return say.digits(f"{value:.{decimals}f}").replace("-", MINUS)


def size(say: Language, value: float | None, metric: dict, spread: float | None) -> str:
    """Write a change without a sign, such as an equivalence."""
    if value is None:
        return DASH
    if metric["scale"] == "ratio":
        return f"{factor(say, value, spread)}{TIMES}"
    return f"{unsigned(say, value, decimals(value, spread))} {metric['unit']}".rstrip()


def decimals(value: float, spread: float | None) -> int:
    """Choose the decimals whose last place is at most a third of half the interval."""
    scale = spread / 2 if spread else abs(value)
    return min(4, max(1, -math.floor(math.log10(scale / 3)))) if scale else 2


def number(say: Language, value: float | None) -> str:
    """Write a measured number with four digits, large ones with the sign of their size."""
    if value is None:
        return DASH
    if value == 0 or isinstance(value, int):
        return say.digits(f"{int(value):,}")
    for size_, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size_:
            return f"{say.digits(f'{value / size_:#.3g}')} {sign}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")
    return say.digits(MINUS + text[1:] if value < 0 else text)


def percent(say: Language, confidence: float) -> str:
    """Write a confidence."""
    return f"{say.digits(f'{100 * confidence:.4g}')}\N{NO-BREAK SPACE}%"
