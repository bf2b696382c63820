"""One optimizer for encoder and decoder, each with its rate, its decay and its schedule."""

from collections.abc import Callable, Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    constant,
    cosine,
    inverse_sqrt,
    linear,
    warmup,
    wsd,
)
from askew.training._config import Decay, PartConfig, RunConfig, TrainingConfig

Schedule = Callable[[int], float]

_SOURCE = (
    *("encoder", "source_embedding", "source_projection"),
    *("source_positions", "source_embedding_norm"),
)


def training_optimizer(model: nn.Module, config: TrainingConfig) -> AsymmetricOptimizer:
    """Make AdamW with the parts "encoder" and "decoder"; matrices alone decay.

    The encoder's part is the encoder with its own table of tokens. A table that both sides
    read belongs to the decoder, whose output layer also uses it.

    Args:
        model: A translation model, or the plain module in it.
        config: Rates and decays.

    Returns:
        The optimizer. With equal settings on both sides it is AdamW with one rate.

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
    """Make AdamW with the given parts; matrices alone decay.

    Args:
        model: Any module.
        config: Rate and decay of the parts that have none of their own.
        parts: By name the modules of a part and its settings; the last one, with None, gets all
            parameters that no other part has.

    Returns:
        The optimizer.

    Example:
        >>> from askew.training import PartConfig
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> parts = {"body": ([model[0]], PartConfig()), "head": (None, PartConfig(lr=0.5))}
        >>> optimizer = parts_optimizer(model, RunConfig(steps=9, lr=0.1), parts)
        >>> [(group["part"], group["lr"]) for group in optimizer.param_groups]
        [('body', 0.1), ('body', 0.1), ('head', 0.5), ('head', 0.5)]
    """
    rules: dict[str, dict[str, object]] = {}
    for name, (modules, part) in parts.items():
        rules[name] = _settings(part, config)
        if modules is not None:
            rules[name]["where"] = list(modules)
    flat = [n for n, weight in model.named_parameters() if weight.ndim < 2 and weight.requires_grad]
    return AsymmetricOptimizer(model, rules, rest=list(parts)[-1], no_decay=flat)


def parts_scheduler(
    optimizer: Optimizer, config: RunConfig, parts: Mapping[str, PartConfig]
) -> AsymmetricScheduler:
    """Make the schedule of each part: warm-up, then decay.

    Args:
        optimizer: What `parts_optimizer` returned.
        config: Steps, warm-up and schedule of the parts that have none of their own.
        parts: The settings of every part of the optimizer, by name.

    Returns:
        The scheduler.

    Example:
        >>> from askew.training import PartConfig
        >>> model, run = nn.Linear(2, 1), RunConfig(steps=9, warmup_steps=2)
        >>> optimizer = parts_optimizer(model, run, {"all": (None, PartConfig())})
        >>> parts_scheduler(optimizer, run, {"all": PartConfig()}).get_last_lr()
        [0.0, 0.0]
    """
    return AsymmetricScheduler(
        optimizer, {name: _schedule(part, config) for name, part in parts.items()}
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
