"""The one way this library refuses bad input: a condition and a sentence."""


def require(condition: bool, message: str) -> None:
    """Raise a ValueError with `message` unless `condition` holds.

    The message reads `<callable>: <what must hold>; got <name> <value>. <repair>`.
    """
    if not condition:
        raise ValueError(message)
