"""One decoding step of attention over a long cache: latent, shared, grouped and plain keys.

    python benchmarks/bench_latent.py --out latent.json

A layer of width 512 with 8 heads of 64 reads one new token for each of 8 sentences and what its
cache holds, in float32. All layers run interleaved, on one thread; ratios to two key heads are
taken within a round. Of two layers that share keys, time and bytes are halved. Times are those of
the processor, which other processes do not lengthen. The cache is copied to append to it, as caches
of transformers do.
"""

import random
import time
from collections.abc import Callable

import torch
from common import Run, arguments, print_table, summary, write
from torch import nn

from askew.attention import AsymmetricAttention, KeyValueCache, LatentAttention

D_MODEL, HEADS, BATCH = 512, 8, 8
PEER = "2 key heads"


class Expanded(LatentAttention):
    """Makes the keys and values of the whole past in every step."""

    def _is_absorbed(self, queries: int, keys: int, cache: KeyValueCache | None) -> bool:
        return False


class Pair(nn.Module):
    """Two layers, of which the second reads the keys of the first."""

    def __init__(self, first: AsymmetricAttention, second: AsymmetricAttention) -> None:
        super().__init__()
        self.first, self.second, self.new_cache = first, second, first.new_cache

    def forward(self, x: torch.Tensor, cache: KeyValueCache) -> torch.Tensor:
        keys_values = self.first.keys_values(x, cache=cache)
        for layer in (self.first, self.second):
            x = x + layer(x, cache=cache, keys_values=keys_values).output
        return x


def layers() -> dict[str, nn.Module]:
    """Make the contenders."""

    def grouped(count: int, own_keys: bool = True) -> AsymmetricAttention:
        return AsymmetricAttention(
            D_MODEL,
            num_heads=HEADS,
            num_kv_heads=count,
            causal=True,
            qk_norm=False,
            own_keys=own_keys,
        )

    latent = {"d_latent": 128, "d_rotary": 32, "num_heads": HEADS, "causal": True}
    return {
        "8 key heads": grouped(8),
        PEER: grouped(2),
        "1 key head": grouped(1),
        "latent 128 + 32": LatentAttention(D_MODEL, **latent),
        "8 key heads, of two layers": Pair(grouped(8), grouped(8, own_keys=False)),
        "2 key heads, of two layers": Pair(grouped(2), grouped(2, own_keys=False)),
        "latent 64": LatentAttention(D_MODEL, d_latent=64, num_heads=HEADS, causal=True),
        "latent 128 + 32, expanded": Expanded(D_MODEL, **latent),
    }


def step(layer: nn.Module, length: int) -> tuple[Run, int]:
    """Return a decoding step after `length` tokens, and the bytes of a token in the cache."""
    layer = layer.eval()
    filled, x = layer.new_cache(), torch.randn(BATCH, 1, D_MODEL)
    layer(torch.randn(BATCH, length, D_MODEL), cache=filled)
    keys, values = filled.read()

    def run() -> None:
        cache = KeyValueCache()
        cache.append(keys, values)
        layer(x, cache=cache)

    numbers = (keys.numel() + values.numel()) // (BATCH * length * count(layer))
    return run, numbers * keys.element_size()


def count(layer: nn.Module) -> int:
    """Return how many layers of attention a contender has."""
    return 2 if isinstance(layer, Pair) else 1


def interleave(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every run in every round, after two rounds that are not counted."""
    order = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(-2, rounds):
        for name in order.sample(list(runs), len(runs)):
            start = time.process_time()
            runs[name]()
            if turn >= 0:
                times[name].append(time.process_time() - start)
    return times


@torch.no_grad()
def measure(length: int, rounds: int) -> dict[str, dict[str, float]]:
    """Time all layers in turn."""
    contenders = layers()
    steps = {name: step(layer, length) for name, layer in contenders.items()}
    runs: dict[str, Callable[[], object]] = {name: run for name, (run, _) in steps.items()}
    times = {
        name: [seconds / count(contenders[name]) for seconds in each]
        for name, each in interleave(runs, rounds).items()
    }
    table = summary(times, PEER)
    return {name: row | {"bytes": steps[name][1]} for name, row in table.items()}


def main() -> None:
    """Measure, print, write."""
    given = arguments("latent")
    torch.manual_seed(0)
    results: dict[str, object] = {}
    for length in (512, 2048):
        table = measure(length, given.rounds)
        results[f"{length} tokens"] = table
        print_table(
                [f"{length} tokens", "bytes a token", "ms", f"of {PEER}"],
                [
                    [name, row["bytes"], f"{row['ms']:.2f}",
                     f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"]
                    for name, row in table.items()
                ],
            )  # fmt: skip
    write(given.out, results)


if __name__ == "__main__":
    main()
