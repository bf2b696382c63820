"""Regularizers against the plain compositions one would write instead: time and peak memory.

Forward and backward, float32, [16, 256, 512], one thread; the first row of a table is the measure
of the others. Peak memory is resident memory in units of the input, its gradient included.

    python benchmarks/bench_regularizers.py --out regularizers.json
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from common import arguments, interleave, peak_mib, print_table, summary, write
from torch import Tensor

from askew.regularizers import (
    AsymmetricDropout,
    OrderedDropout,
    asymmetric_total_variation,
    directional_loss,
)

BATCH, LENGTH, WIDTH = 16, 256, 512

Call = Callable[[Tensor], Tensor]


def two_norms(h: Tensor) -> Tensor:
    """The directional sketch: two norms of the same difference."""
    forward = torch.mean(torch.norm(h[:, 1:, :] - h[:, :-1, :], p=2, dim=-1))
    backward = torch.mean(torch.norm(h[:, 1:, :] - h[:, :-1, :], p=1, dim=-1))
    return 0.1 * forward + 0.05 * backward


def stopped_norms(h: Tensor) -> Tensor:
    """What the sketch meant, composed."""
    forward = torch.linalg.vector_norm(h[:, 1:] - h[:, :-1].detach(), dim=-1).mean()
    backward = torch.linalg.vector_norm(h[:, 1:].detach() - h[:, :-1], dim=-1).mean()
    return 0.1 * forward + 0.05 * backward


def two_dropouts(x: Tensor) -> Tensor:
    """The dropout sketch: one for each half."""
    half = x.shape[-1] // 2
    return torch.cat([F.dropout(x[..., :half], 0.1), F.dropout(x[..., half:], 0.3)], dim=-1)


def two_clamps(x: Tensor) -> Tensor:
    """Total variation in time with two prices, composed."""
    change = x[:, 1:] - x[:, :-1]
    return (2.0 * change.clamp_min(0) + (-change).clamp_min(0)).mean()


def families() -> dict[str, dict[str, Call]]:
    """By family, the calls."""
    lengths = torch.randint(LENGTH // 2, LENGTH + 1, (BATCH,))
    where = torch.arange(LENGTH) < lengths[:, None]
    return {
        "directional": {
            "sketch": two_norms,
            "stopped gradient, composed": stopped_norms,
            "directional_loss": directional_loss,
            "… p_backward=1": partial(directional_loss, p_backward=1),
            "… squared": partial(directional_loss, squared=True),
            "… masked": partial(directional_loss, where=where),
            "… masked, p_backward=1": partial(directional_loss, where=where, p_backward=1),
        },
        "dropout": {
            "sketch": two_dropouts,
            "F.dropout, one rate": partial(F.dropout, p=0.2),
            "AsymmetricDropout": AsymmetricDropout(),
            "… a rate per feature": AsymmetricDropout(torch.linspace(0.05, 0.5, WIDTH)),
            "… one rate": AsymmetricDropout(0.2),
            "… per sequence": AsymmetricDropout(per_sequence=True),
        },
        "ordered dropout": {
            "F.dropout, one rate": partial(F.dropout, p=0.2),
            "OrderedDropout, p": OrderedDropout(1 / WIDTH),
            "OrderedDropout, widths": OrderedDropout(widths=(0.25, 0.5, 0.75, 1.0)),
        },
        "total variation": {
            "composed": two_clamps,
            "asymmetric_total_variation": partial(
                asymmetric_total_variation, weight_rise=2.0, dim=1
            ),
        },
    }


def step(call: Call, x: Tensor, upstream: Tensor) -> None:
    """One forward and backward."""
    x.grad = None
    y = call(x)
    y.backward(upstream if y.dim() else None)


def measure(calls: dict[str, Call], rounds: int) -> dict[str, dict[str, float]]:
    """Times, interleaved, and memory of all calls of a family."""
    x = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    upstream = torch.randn_like(x)
    runs = {name: partial(step, call, x, upstream) for name, call in calls.items()}
    table = summary(interleave(runs, rounds=rounds), to=next(iter(runs)))
    size = x.numel() * x.element_size() / 2**20
    for name, run in runs.items():
        x.grad = None
        table[name]["peak"] = peak_mib(run) / size
    return table


def main() -> None:
    """Measure all families, print them, and write them down."""
    options = arguments("regularizers")
    torch.manual_seed(0)
    results: dict[str, object] = {"shape": [BATCH, LENGTH, WIDTH]}
    for family, calls in families().items():
        table = measure(calls, options.rounds)
        head = [family, "ms", "ratio", "low", "high", "peak / N"]
        print_table(head, [[name, *row.values()] for name, row in table.items()])
        results[family] = table
    write(options.out, results)


if __name__ == "__main__":
    main()
