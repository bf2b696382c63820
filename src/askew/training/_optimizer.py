"""One optimizer for encoder and decoder, each with its rate, algorithm, decay and schedule."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    constant,
    cosine,
    hidden_matrices,
    inverse_sqrt,
    linear,
    warmup,
    wsd,
)
from askew.training._config import Decay, PartConfig, RunConfig, TrainingConfig

Schedule = Callable[[int], float]

_MATRICES = ".matrices"  # after the name of a part: its hidden matrices, which Muon trains
_MUON = {"base": torch.optim.Muon, "adjust_lr_fn": "match_rms_adamw"}

_SOURCE = (
    *("encoder", "source_embedding", "source_projection"),
    *("source_positions", "source_embedding_norm"),
)


def training_optimizer(model: nn.Module, config: TrainingConfig) -> AsymmetricOptimizer:
    """Make the optimizer of the parts "encoder" and "decoder"; matrices alone decay.

    The encoder's part is the encoder with its own table of tokens. A table that both sides
    read belongs to the decoder, whose output layer also uses it.

    Args:
        model: A translation model, or the plain module in it.
        config: Rates, algorithms and decays.

    Returns:
        The optimizer. With equal settings on both sides it is AdamW with one rate, or Muon and
        AdamW with one.

    Example:
        >>> from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
        >>> model = AsymmetricTranslationModel(AsymmetricTranslationConfig())
        >>> optimizer = training_optimizer(model, TrainingConfig(steps=9, lr=0.5))
        >>> [(group["part"], group["lr"]) for group in optimizer.param_groups]
        [('encoder', 0.5), ('encoder', 0.5), ('decoder', 0.5), ('decoder', 0.5)]
    """
    core = getattr(model, "model", model)
    modules = (getattr(core, name, None) for name in _SOURCE)
    encoder = [module for module in modules if module is not None]
    return parts_optimizer(
        model, config, {"encoder": (encoder, config.encoder), "decoder": (None, config.decoder)}
    )


def training_scheduler(optimizer: Optimizer, config: TrainingConfig) -> AsymmetricScheduler:
    """Make the schedule of both parts: warm-up, then decay.

    Args:
        optimizer: What `training_optimizer` returned.
        config: Steps and kinds of decay.

    Returns:
        The scheduler.

    Example:
        >>> from torch import nn
        >>> from askew.optim import AsymmetricOptimizer, part_rates
        >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 2)})
        >>> optimizer = AsymmetricOptimizer(model, {"encoder": 1e-3, "decoder": 2e-3})
        >>> scheduler = training_scheduler(optimizer, TrainingConfig(steps=100, warmup_steps=10))
        >>> part_rates(optimizer)["encoder"] < 1e-3  # still rising
        True
    """
    return parts_scheduler(
        optimizer, config, {"encoder": config.encoder, "decoder": config.decoder}
    )


def parts_optimizer(
    model: nn.Module,
    config: RunConfig,
    parts: Mapping[str, tuple[Sequence[nn.Module] | None, PartConfig]],
) -> AsymmetricOptimizer:
    """Make one optimizer of the given parts; matrices alone decay.

    Args:
        model: Any module.
        config: Rate, algorithm and decay of the parts that have none of their own.
        parts: By name the modules of a part and its settings; the last one, with None, gets all
            parameters that no other part has. The hidden matrices of a part with Muon become a
            part of their own, "encoder.matrices".

    Returns:
        The optimizer.

    Example:
        >>> from askew.training import PartConfig
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> parts = {"body": ([model[0]], PartConfig()), "head": (None, PartConfig(lr=0.5))}
        >>> optimizer = parts_optimizer(model, RunConfig(steps=9, lr=0.1), parts)
        >>> [(group["part"], group["lr"]) for group in optimizer.param_groups]
        [('body', 0.1), ('body', 0.1), ('head', 0.5), ('head', 0.5)]

    References:
        Muon is Scalable for LLM Training, 2025, arXiv:2502.16982 (rates that fit AdamW's).
    """
    rules: dict[str, dict[str, object]] = {}
    bases = {name: part.base or config.base for name, (_, part) in parts.items()}
    wanted = hidden_matrices(model) if "muon" in bases.values() else []
    hidden = {matrix for matrix in wanted if matrix.requires_grad}
    for name, (modules, part) in parts.items():
        settings = _settings(part, config)
        own = list(model.parameters() if modules is None else _parameters(modules))
        matrices = hidden.intersection(own)
        hidden -= matrices
        where: list[Any] | None = None if modules is None else list(modules)
        if bases[name] == "muon" and matrices:
            rules[name + _MATRICES] = settings | _MUON | {"where": partial(_given, matrices)}
            others = [weight for weight in own if weight.requires_grad and weight not in matrices]
            if modules is not None and not others:
                continue
            where = where and [partial(_given, others)]
        rules[name] = settings if where is None else settings | {"where": where}
    flat = [n for n, weight in model.named_parameters() if weight.ndim < 2 and weight.requires_grad]
    return AsymmetricOptimizer(model, rules, rest=list(parts)[-1], no_decay=flat)


def _parameters(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [weight for module in modules for weight in module.parameters()]


def _given(weights: Iterable[nn.Parameter], model: nn.Module) -> Iterable[nn.Parameter]:
    """Return these weights, as a rule of a part."""
    return weights


def parts_scheduler(
    optimizer: Optimizer, config: RunConfig, parts: Mapping[str, PartConfig]
) -> AsymmetricScheduler:
    """Make the schedule of each part: warm-up, then decay.

    Args:
        optimizer: What `parts_optimizer` returned.
        config: Steps, warm-up and schedule of the parts that have none of their own.
        parts: The settings of every part, by name; also of parts of which nothing is trained.

    Returns:
        The scheduler.

    Example:
        >>> from askew.training import PartConfig
        >>> model, run = nn.Linear(2, 1), RunConfig(steps=9, warmup_steps=2)
        >>> optimizer = parts_optimizer(model, run, {"all": (None, PartConfig())})
        >>> parts_scheduler(optimizer, run, {"all": PartConfig()}).get_last_lr()
        [0.0, 0.0]
    """
    names = dict.fromkeys(group["part"] for group in optimizer.param_groups)
    return AsymmetricScheduler(
        optimizer,
        {name: _schedule(parts[name.removesuffix(_MATRICES)], config) for name in names},
    )


def _settings(part: PartConfig, config: RunConfig) -> dict[str, object]:
    decay = config.weight_decay if part.weight_decay is None else part.weight_decay
    return {"lr": config.lr if part.lr is None else part.lr, "weight_decay": decay}


def _schedule(part: PartConfig, config: RunConfig) -> Schedule:
    rise = config.warmup_steps if part.warmup_steps is None else part.warmup_steps
    form = config.schedule if part.schedule is None else part.schedule
    return rise_and_fall(form, rise=rise, steps=config.schedule_steps or config.steps)


def rise_and_fall(form: Decay, *, rise: int, steps: int) -> Schedule:
    """Make a schedule that rises from 0 to 1 and then falls.

    Args:
        form: How it falls; "linear", "cosine" and "wsd" end at 0 with the last step.
        rise: Steps of warm-up, >= 0.
        steps: Steps in total, >= 1.

    Returns:
        A function from the step to a factor of the learning rate.

    Example:
        >>> [rise_and_fall("linear", rise=2, steps=6)(step) for step in range(6)]
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]
    """
    left = max(1, steps - rise)
    fall = {
        "linear": lambda: linear(left),
        "cosine": lambda: cosine(left),
        "inverse_sqrt": lambda: inverse_sqrt(max(1, rise)),
        "constant": constant,
        "wsd": lambda: wsd(left),
    }[form]()
    return warmup(rise, fall) if rise else fall
