"""The usual loop: draw, forward, loss, backward, step."""

import math
from itertools import islice
from typing import Any

import torch
from torch import nn

from askew.tradeoffs._experiment_settings import Loss, seconds
from askew.tradeoffs._running.batches import answer, ordered_batches, training_batches
from askew.tradeoffs._task import OnRecord, Progress, Records


def train_loop(
    model: nn.Module,
    arm: str,
    optimizer: torch.optim.Optimizer,
    loss_of: Loss,
    train_data: Any,
    valid_data: Any,
    *,
    batch_size: int,
    device: str,
    steps: int,
    seed: int,
    progress: Progress,
    on_record: OnRecord | None = None,
) -> Records:
    """Train in place; the time of validation does not count.

    Args:
        model: Trained in place.
        arm: Its name, for messages.
        optimizer: Of its parameters.
        loss_of: `loss(output, target)`.
        train_data: A dataset or loader.
        valid_data: A dataset or loader, or None.
        batch_size: Items per step, of a dataset.
        device: Where the model is.
        steps: Optimizer steps.
        seed: Of the data order.
        progress: Called after each step.
        on_record: Called with each record.

    Returns:
        The training loss of about fifty steps, and the validation loss of about ten.

    Raises:
        FloatingPointError: If a loss is not finite.

    Example:
        >>> model, x = nn.Linear(2, 1), torch.ones(8, 2)
        >>> records = train_loop(
        ...     model,
        ...     "line",
        ...     torch.optim.SGD(model.parameters(), lr=0.1),
        ...     nn.functional.mse_loss,
        ...     torch.utils.data.TensorDataset(x, x[:, :1]),
        ...     None,
        ...     batch_size=4,
        ...     device="cpu",
        ...     steps=3,
        ...     seed=0,
        ...     progress=lambda step, steps: None,
        ... )
        >>> [record["step"] for record in records]
        [1, 2, 3]
    """
    where = torch.device(device)
    log_every, validate_every = max(1, steps // 50), max(1, steps // 10)
    records: list[dict[str, float]] = []
    started, validating = seconds(device), 0.0
    model.train()
    data = training_batches(train_data, batch_size, seed, where)
    for step, (inputs, target) in enumerate(islice(data, steps), 1):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(answer(model, inputs), target)
        loss.backward()
        optimizer.step()
        record: dict[str, float] = {
            "step": step,
            "train_seconds": seconds(device) - started - validating,
        }
        if step == steps or step % log_every == 0:
            record["loss"] = loss.item()
            if not math.isfinite(record["loss"]):
                raise FloatingPointError(
                    f"Experiment: the loss must be finite; got loss {record['loss']} of {arm} at "
                    f"step {step}, seed {seed}"
                )
        if valid_data is not None and (step == steps or step % validate_every == 0):
            paused = seconds(device)
            record["eval_loss"] = _mean_loss(model, loss_of, valid_data, batch_size, where)
            validating += seconds(device) - paused
        if len(record) > 2:
            records.append(record)
            if on_record is not None:
                on_record(record)
        progress(step, steps)
    broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise FloatingPointError(
            f"Experiment: weights must be finite; got others in {', '.join(broken[:3])} of {arm} "
            f"after step {steps}, seed {seed}"
        )
    return records


@torch.no_grad()
def _mean_loss(
    model: nn.Module, loss_of: Loss, data: Any, batch_size: int, where: torch.device
) -> float:
    model.eval()
    total = items = 0.0
    for inputs, target in ordered_batches(data, batch_size, where):
        total += loss_of(answer(model, inputs), target).item() * len(target)
        items += len(target)
    model.train()
    return total / items
