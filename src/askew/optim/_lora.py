"""Rules for the two factors of low-rank adapters, found by the structure of peft."""

from collections.abc import Iterator

from torch import nn

from askew._check import require, requires_extra


def lora_a(model: nn.Module) -> list[nn.Parameter]:
    """Select the first factors of low-rank adapters of peft, as a rule of a part.

    An adapter adds B·A to a weight. A, whose rows are the rank, begins at random.
    These are the factors of linear layers and convolutions. Those of tables have no part in
    LoRA+: leave them to another rule.

    Args:
        model: A model of peft, or a model in which one lies.

    Returns:
        The parameters, in the order of the model, of all adapters.

    Raises:
        ValueError: If the model has no such adapter.
        ModuleNotFoundError: If peft is not installed.

    Example:
        >>> from peft import LoraConfig, get_peft_model
        >>> plain = nn.Sequential(nn.Linear(4, 6))
        >>> model = get_peft_model(plain, LoraConfig(r=2, target_modules=["0"]))
        >>> [tuple(factor.shape) for factor in lora_a(model)]
        [(2, 4)]

    References:
        LoRA+, 2024, arXiv:2402.12354.
    """
    return list(_factors(model, "lora_A"))


def lora_b(model: nn.Module) -> list[nn.Parameter]:
    """Select the second factors of low-rank adapters of peft, as a rule of a part.

    An adapter adds B·A to a weight. B, whose columns are the rank, begins at zero. LoRA+ gives
    it a rate about 16 times that of A.

    Args:
        model: A model of peft, or a model in which one lies.

    Returns:
        The parameters, in the order of the model, of all adapters, with biases of this factor.

    Raises:
        ValueError: If the model has no such adapter.
        ModuleNotFoundError: If peft is not installed.

    Example:
        >>> from peft import LoraConfig, get_peft_model
        >>> from askew.optim import AsymmetricOptimizer, part_rates
        >>> plain = nn.Sequential(nn.Linear(4, 6))
        >>> model = get_peft_model(plain, LoraConfig(r=2, target_modules=["0"]))
        >>> parts = {"A": {"where": lora_a}, "B": {"where": lora_b, "multiplier": 16}}
        >>> part_rates(AsymmetricOptimizer(model, parts, lr=0.5))
        {'A': 0.5, 'B': 8.0}

    References:
        LoRA+, 2024, arXiv:2402.12354.
    """
    return list(_factors(model, "lora_B"))


def _factors(model: nn.Module, factor: str) -> Iterator[nn.Parameter]:
    """Yield the parameters of one factor of every adapter."""
    caller = factor.lower()
    with requires_extra(caller, "lora"):
        from peft.tuners.lora import LoraLayer
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    require(
        bool(layers),
        f"{caller}: the model must have a layer with a low-rank adapter of peft; "
        f"got {type(model).__name__} without one",
    )
    for layer in layers:
        yield from getattr(layer, factor).parameters()
