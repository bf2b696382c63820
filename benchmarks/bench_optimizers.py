"""Time of an optimizer step: one optimizer with named parts against several of them.

    python benchmarks/bench_optimizers.py --out optimizers.json

The model is an encoder-decoder of about 48 M parameters in 258 tensors. The sketch keeps three
Adams, one for each name fragment. Muon for the matrices and AdamW for the rest are compared with
two optimizers on a model of a quarter of the width, since Muon multiplies every matrix 15 times.
All steps run interleaved, on one thread, on the same gradients.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from askew.optim import AsymmetricOptimizer, AsymmetricScheduler, constant, cosine, hidden_matrices

RATES = {"encoder": 1e-4, "decoder": 1e-3, "head": 1e-2}


class Model(nn.Module):
    """Twelve encoder layers and six decoder layers of half the width, as the sketch has them."""

    def __init__(self, vocab: int, width: int = 512) -> None:
        super().__init__()
        half = width // 2
        encoder = nn.TransformerEncoderLayer(width, 8, 4 * width, batch_first=True)
        decoder = nn.TransformerDecoderLayer(half, 4, 4 * half, batch_first=True)
        self.encoder = nn.TransformerEncoder(encoder, 12, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, 6)
        self.encoder_to_decoder = nn.Linear(width, half)
        self.encoder_embedding = nn.Embedding(vocab, width)
        self.decoder_embedding = nn.Embedding(vocab, half)
        self.head = nn.Linear(half, vocab)


class Several:
    """Several optimizers, stepped in turn."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()


def three_adams(model: nn.Module, **settings: object) -> Several:
    """Make the sketch: one Adam for each fragment of a name."""
    named = list(model.named_parameters())
    return Several(
        *(
            torch.optim.Adam([p for n, p in named if part in n], lr=lr, **settings)
            for part, lr in RATES.items()
        )
    )


def steps_of(model: nn.Module) -> dict[str, Callable[[], object]]:
    """Make every contender, each with its own moments, on the same parameters."""
    parts = {
        "encoder": {"where": [model.encoder, model.encoder_embedding], "lr": RATES["encoder"]},
        "decoder": {
            "where": [model.encoder_to_decoder, model.decoder, model.decoder_embedding],
            "lr": RATES["decoder"],
        },
        "head": RATES["head"],
    }
    ours = AsymmetricOptimizer(model, parts)
    split = AsymmetricOptimizer(model, parts, no_decay=["**.bias", "**.norm*.*"])
    scheduler = AsymmetricScheduler(
        split, {"encoder": cosine(1000), "decoder": constant(), "head": cosine(500)}
    )

    def split_and_scheduled() -> None:
        split.step()
        scheduler.step()

    loop = AsymmetricOptimizer(model, parts, settings={"fused": False, "foreach": False})
    return {
        "three Adams (sketch)": three_adams(model).step,
        "three Adams, fused": three_adams(model, fused=True).step,
        "AsymmetricOptimizer": ours.step,
        "AsymmetricOptimizer, no_decay and scheduler": split_and_scheduled,
        "AsymmetricOptimizer, fused=False": loop.step,
        "AdamW": torch.optim.AdamW(model.parameters()).step,
        "AdamW, fused": torch.optim.AdamW(model.parameters(), fused=True).step,
    }


def steps_of_two_algorithms(model: nn.Module) -> dict[str, Callable[[], object]]:
    """Make Muon beside AdamW as two optimizers, and as one."""
    matrices = hidden_matrices(model)
    chosen = {id(matrix) for matrix in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    parts = {"matrices": {"where": hidden_matrices, "base": torch.optim.Muon, "lr": 0.02}}
    return {
        "Muon and AdamW": Several(
            torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(rest, lr=3e-4, fused=True)
        ).step,
        "AsymmetricOptimizer, both": AsymmetricOptimizer(
            model, {**parts, "rest": 3e-4}, rest="rest"
        ).step,
    }


def measure(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Step all in turn; the first three rounds make the moments and warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 3):
        for name, step in contenders.items():
            start = time.perf_counter()
            step()
            if turn >= 3:
                times[name].append(time.perf_counter() - start)
    return times


def summary(times: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Summarise all times, with ratios to the first contender's of the same round."""
    first = next(iter(times.values()))
    rows = {}
    for name, own in times.items():
        low, _, high = statistics.quantiles(own, n=4)
        ratios = [one / two for one, two in zip(own, first, strict=True)]
        rows[name] = {
            "median_ms": 1000 * statistics.median(own),
            "low_quartile_ms": 1000 * low,
            "high_quartile_ms": 1000 * high,
            "ratio_to_first": statistics.median(ratios),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--vocab", type=int, default=3600, help="sizes the embeddings")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Model(options.vocab).to(getattr(torch, options.dtype))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter) * 1e-3
    rows = summary(measure(steps_of(model), options.rounds))
    small = Model(options.vocab, width=128).to(getattr(torch, options.dtype))
    for parameter in small.parameters():
        parameter.grad = torch.randn_like(parameter) * 1e-3
    muon = summary(measure(steps_of_two_algorithms(small), options.rounds))
    result = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tensors": len(list(model.parameters())),
        "rounds": options.rounds,
        "dtype": options.dtype,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "steps": rows,
        "two_algorithms": muon,
    }
    print(f"{result['parameters'] / 1e6:.1f} M parameters, {result['tensors']} tensors")
    for name, row in {**rows, **muon}.items():
        print(
            f"{name:45} {row['median_ms']:8.1f} ms  "
            f"({row['low_quartile_ms']:.1f} to {row['high_quartile_ms']:.1f})  "
            f"{row['ratio_to_first']:.2f}"
        )
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
