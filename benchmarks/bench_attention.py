"""Attention in a window with a learned bias, against other ways to train it on a CPU.

    python benchmarks/bench_attention.py --out attention.json

One thread, float32, 8 heads of 64, causal windows. All arms of a table run interleaved, each
round in its own order; ratios are taken within a round. Peaks of memory are measured in separate
processes. Peers that are not installed are named and left out. --quick uses small sizes.
"""

import argparse
import importlib.util
import json
import math
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from askew.attention import attend, band_mask, explain_route

HEADS, WIDTH = 8, 64
PEERS = {"local_attention": "local-attention", "x_transformers": "x-transformers"}
Run = Callable[[], object]


class Inputs:
    """Queries, keys, values, a bias of every head and offset, and a gradient of the output."""

    def __init__(self, length: int, window: int, dtype: torch.dtype = torch.float32) -> None:
        self.length, self.window = length, window
        self.q, self.k, self.v = (
            torch.randn(1, HEADS, length, WIDTH).to(dtype).requires_grad_() for _ in range(3)
        )
        self.bias = torch.randn(HEADS, window, requires_grad=True)
        self.upstream = torch.randn(1, HEADS, length, WIDTH).to(dtype)

    @property
    def qkv(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.q, self.k, self.v

    def backward(self, output: Tensor) -> tuple[Tensor | None, ...]:
        given = (*self.qkv, self.bias)
        return torch.autograd.grad(output, given, self.upstream, allow_unused=True)


def banded(x: Inputs) -> Tensor:
    window = (x.window - 1, 0)
    return attend(*x.qkv, relative_bias=x.bias, window=window, route="banded").output


def dense_bias(x: Inputs) -> Tensor:
    """[H, N, N], -inf outside the window: differentiable, as a module would build it."""
    gap = torch.arange(x.length) - torch.arange(x.length)[:, None] + x.window - 1
    bias = x.bias[:, gap.clamp(0, x.window - 1)]
    seen = band_mask(x.length, x.length, x.window - 1, 0)
    return bias.masked_fill(~seen, -math.inf)


def sdpa_learned(x: Inputs) -> Tensor:
    return F.scaled_dot_product_attention(*x.qkv, attn_mask=dense_bias(x)[None])


def sdpa_cached(x: Inputs) -> Callable[[], Tensor]:
    mask = dense_bias(x).detach()[None]
    return lambda: F.scaled_dot_product_attention(*x.qkv, attn_mask=mask)


def sdpa_strided(x: Inputs) -> Callable[[], Tensor]:
    """A mask that is a view of 2N numbers a head; queries run backwards, as strides must be > 0."""
    length, window = x.length, x.window
    line = torch.full((HEADS, 2 * length - 1), -math.inf)
    line[:, length - window : length] = x.bias.detach()
    mask = line.as_strided((1, HEADS, length, length), (0, 2 * length - 1, 1, 1))

    def run() -> Tensor:
        q = x.q.flip(2)
        return F.scaled_dot_product_attention(q, x.k, x.v, attn_mask=mask).flip(2)

    return run


def local_attention(x: Inputs) -> Callable[[], Tensor]:
    from local_attention import LocalAttention

    shape = {"dim": WIDTH, "window_size": x.window, "look_backward": 1, "look_forward": 0}
    switches = {"causal": True, "exact_windowsize": True, "autopad": True}
    layer = LocalAttention(**shape, **switches, use_rotary_pos_emb=False)
    return lambda: layer(*x.qkv)


def x_transformers(x: Inputs) -> Callable[[], Tensor]:
    from x_transformers.attend import Attend

    layer = Attend(heads=HEADS, causal=True, flash=False)
    return lambda: layer(*x.qkv, attn_bias=dense_bias(x).clamp(min=-1e9))[0]


class Sketch(nn.Module):
    """The first sketch of causal asymmetric attention, with a bias that is as long as the input
    and heads, so that it runs at this size; the rest is as it was."""

    def __init__(self, x: Inputs) -> None:
        super().__init__()
        self.inputs = x
        self.positional_bias = nn.Parameter(torch.randn(x.length, x.length))

    def forward(self) -> Tensor:
        x = self.inputs
        scores = torch.matmul(x.q, x.k.transpose(-2, -1)) / WIDTH**0.5 + self.positional_bias
        future = torch.triu(torch.ones(x.length, x.length), diagonal=1)
        scores = scores.masked_fill(future.bool(), -math.inf)
        outside = torch.zeros(x.length, x.length)
        for i in range(x.length):
            outside[i, : max(0, i - x.window + 1)] = 1
        scores = scores.masked_fill(outside.bool(), -math.inf)
        return torch.matmul(F.softmax(scores, dim=-1), x.v)


def arms(x: Inputs, peers: list[str], *, square: bool) -> dict[str, Callable[[], Tensor]]:
    """Return the contenders at this length; `square` allows N x N floats per head."""
    contenders: dict[str, Callable[[], Tensor]] = {
        "banded": lambda: banded(x),
        "SDPA, O(N) mask, bias not trained": sdpa_strided(x),
    }
    if "local_attention" in peers:
        contenders["local-attention, no bias"] = local_attention(x)
    if square:
        contenders["SDPA, learned bias"] = lambda: sdpa_learned(x)
        contenders["SDPA, cached mask, bias not trained"] = sdpa_cached(x)
        contenders["the sketch"] = Sketch(x)
        if "x_transformers" in peers:
            contenders["x-transformers, learned bias"] = x_transformers(x)
    return contenders


def interleave(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of every run in every round, after one round that is not counted."""
    names, order = list(runs), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    for index in range(-1, rounds):
        for name in order.sample(names, len(names)):
            start = time.perf_counter()
            runs[name]()
            if index >= 0:
                times[name].append(time.perf_counter() - start)
    return times


def ratio(times: dict[str, list[float]], name: str, to: str) -> float:
    return statistics.median(a / b for a, b in zip(times[name], times[to], strict=True))


def both_ways(contenders: dict[str, Callable[[], Tensor]], x: Inputs) -> dict[str, Run]:
    """Return forward alone, and forward with backward, of every contender."""
    runs: dict[str, Run] = {}

    def forward(run: Callable[[], Tensor]) -> Run:
        def call() -> None:
            with torch.no_grad():
                run()

        return call

    for name, run in contenders.items():
        runs[f"{name}|forward"] = forward(run)
        runs[f"{name}|forward+backward"] = lambda run=run: x.backward(run())
    return runs


def speed(length: int, window: int, rounds: int, peers: list[str]) -> dict[str, dict]:
    """Measure milliseconds, and ratios to the banded route, of every contender."""
    x = Inputs(length, window)
    times = interleave(both_ways(arms(x, peers, square=length <= 4096), x), rounds)
    table: dict[str, dict] = {}
    for key, seconds in times.items():
        name, way = key.split("|")
        table.setdefault(name, {})[way] = {
            "ms": statistics.median(seconds) * 1e3,
            "ratio": ratio(times, key, f"banded|{way}"),
        }
    return table


def growth(short: int, rounds: int) -> dict[str, float]:
    """Time of the banded route at four times the length, over its time at the length."""
    runs: dict[str, Run] = {}
    for length in (short, 4 * short):
        x = Inputs(length, 128)
        named = both_ways({"banded": lambda x=x: banded(x)}, x)
        runs |= {f"{key}|{length}": run for key, run in named.items()}
    times = interleave(runs, rounds)
    return {
        way: ratio(times, f"banded|{way}|{4 * short}", f"banded|{way}|{short}")
        for way in ("forward", "forward+backward")
    }


def rates(length: int, rounds: int) -> dict[str, float]:
    """Useful multiplications per second over those of a square matrix product of 1024."""
    table, square = {}, torch.randn(1024, 1024)
    for window in (128, 256):
        x = Inputs(length, window)
        runs = both_ways({"banded": lambda x=x: banded(x)}, x) | {"sgemm": lambda: square @ square}
        times = interleave(runs, rounds)
        work = 2 * 2 * length * window * WIDTH * HEADS / (2 * 1024**3)
        for way, factor in (("forward", 1.0), ("forward+backward", 3.5)):
            table[f"window {window}, {way}"] = (
                factor * work / ratio(times, f"banded|{way}", "sgemm")
            )
    return table


def narrow(rounds: int) -> dict[str, float]:
    """Prefill with queries and keys narrower than values, over that of equal widths."""
    full = [torch.randn(1, HEADS, 2048, WIDTH) for _ in range(3)]
    runs: dict[str, Run] = {"equal": lambda: F.scaled_dot_product_attention(*full, is_causal=True)}
    for width in (16, 32):
        thin = [torch.randn(1, HEADS, 2048, width) for _ in range(2)]
        runs[f"{width}, padded"] = lambda t=thin: attend(*t, full[2], causal=True)
        runs[f"{width}, as it is"] = lambda t=thin: attend(*t, full[2], causal=True, route="dense")
    with torch.no_grad():
        times = interleave(runs, rounds)
    return {name: ratio(times, name, "equal") for name in runs if name != "equal"}


def errors(length: int = 700, window: int = 128) -> dict[str, dict[str, float]]:
    """Largest error over the largest number, against the square in float64."""
    table = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = Inputs(length, window, dtype)
        exact = Inputs(length, window, torch.float64)
        exact.q, exact.k, exact.v = (t.detach().double().requires_grad_() for t in x.qkv)
        exact.bias = x.bias.detach().double().requires_grad_()
        exact.upstream = x.upstream.double()
        true = sdpa_learned(exact)
        wanted = dict(zip(("output", *"qkv", "bias"), (true, *exact.backward(true)), strict=True))
        output = banded(x)
        got = dict(zip(wanted, (output, *x.backward(output)), strict=True))
        table[str(dtype).removeprefix("torch.")] = {
            name: float(
                (got[name].double() - want).detach().abs().max() / want.detach().abs().max()
            )
            for name, want in wanted.items()
        }
    return table


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process in MiB; unlike ru_maxrss not inherited from the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def child(length: int, window: int, way: str) -> None:
    """Print the peak memory in MiB that one call adds in a process of its own."""
    small = Inputs(600, window)
    small.backward(banded(small))
    x = Inputs(length, window)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, start = resident("VmRSS"), time.perf_counter()
    if way == "forward":
        with torch.no_grad():
            output = banded(x)
    else:
        output = x.backward(banded(x))
    seconds, peak = time.perf_counter() - start, resident("VmHWM")
    del output
    print(json.dumps({"extra": peak - before, "all": peak, "seconds": seconds}))


def memory(length: int, window: int, way: str = "forward+backward") -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(length), str(window), way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def target_rows(results: dict) -> list[tuple[str, str, float | None]]:
    """Return name, target in words and measured figure for the table of targets."""
    mid, far = results["speed"]["mid"], results["speed"]["far"]

    def times_faster(table: dict, name: str, way: str) -> float | None:
        return table[name][way]["ratio"] if name in table else None

    both, local = "forward+backward", "local-attention, no bias"
    rate, grown, peak = results["rate"], results["growth"], results["memory"]
    return [
        ("SDPA, learned bias, N mid, both", ">= 40", times_faster(mid, "SDPA, learned bias", both)),
        ("local-attention, N mid, forward", ">= 4", times_faster(mid, local, "forward")),
        ("local-attention, N mid, both", ">= 3", times_faster(mid, local, both)),
        (
            "SDPA, O(N) mask, N far, both",
            ">= 40",
            times_faster(far, "SDPA, O(N) mask, bias not trained", both),
        ),
        ("growth N mid to far, forward", "<= 4.4", grown["forward"]),
        ("growth N mid to far, both", "<= 4.4", grown[both]),
        *(
            (f"rate of sgemm, {name}", ">= 0.35" if "128" in name else ">= 0.45", figure)
            for name, figure in rate.items()
        ),
        ("extra memory over q, N far, both", "<= 6", peak["far"]["extra"] / peak["q far"]),
        ("65,536 tokens, W 256: GiB in all", "<= 4", peak["65536"]["all"] / 1024),
        ("d_qk 16 padded over equal widths", "<= 1.10", results["narrow"]["16, padded"]),
        ("d_qk 32 padded over equal widths", "<= 1.10", results["narrow"]["32, padded"]),
    ]


def met(target: str, figure: float | None) -> str:
    if figure is None:
        return "not measured"
    sign, bound = target.split()
    return (
        "met" if (figure >= float(bound) if sign == ">=" else figure <= float(bound)) else "MISSED"
    )


def show(results: dict) -> None:
    for key, table in results["speed"].items():
        print(f"\nspeed, N {results['sizes'][key]}, W 128: ms (times the banded route)")
        for name, ways in table.items():
            cells = (f"{w}: {c['ms']:9.1f} ({c['ratio']:6.2f})" for w, c in ways.items())
            print(f"  {name:38}", *cells)
    print("\nerror against float64:", json.dumps(results["error"], indent=1))
    print("\nnarrow queries and keys over equal widths:", results["narrow"])
    print("peak memory, MiB:", results["memory"])
    print(f"route at N 512: {results['route at 512']}")
    if results["quick"]:
        print("\nno target is judged: they are for the full sizes")
        return
    print(f"\n{'target':40}{'wanted':>10}{'figure':>10}")
    for row in results["targets"]:
        figure = "-" if row["figure"] is None else f"{row['figure']:.3g}"
        print(f"{row['name']:40}{row['target']:>10}{figure:>10}  {row['verdict']}")


def measure(quick: bool, rounds: int) -> dict:
    near, mid = (512, 1024) if quick else (1024, 4096)
    sizes = {"near": near, "mid": mid, "far": 4 * mid}
    peers = [name for name in PEERS if importlib.util.find_spec(name)]
    for name in set(PEERS) - set(peers):
        print(f"{PEERS[name]} is not installed: left out")
    x = torch.zeros(1, HEADS, 512, WIDTH)
    results = {
        "versions": {"torch": torch.__version__} | {n: version(PEERS[n]) for n in peers},
        "machine": {
            "processor": platform.processor(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
        },
        "rounds": rounds,
        "quick": quick,
        "sizes": sizes,
        "route at 512": explain_route(x, x, x, window=(127, 0)).route,
        "speed": {key: speed(length, 128, rounds, peers) for key, length in sizes.items()},
        "growth": growth(mid, 2 * rounds + 1),
        "rate": rates(mid, 4 * rounds + 1),
        "narrow": narrow(2 * rounds + 1),
        "error": errors(),
        "memory": {
            "q far": HEADS * sizes["far"] * WIDTH * 4 / 2**20,
            "far": memory(sizes["far"], 128),
            "far, forward": memory(sizes["far"], 128, "forward"),
            "65536": memory(65_536, 256),
        },
    }
    results["targets"] = [
        {"name": n, "target": t, "figure": f, "verdict": met(t, f)}
        for n, t, f in ([] if quick else target_rows(results))
    ]
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if given.child:
        child(int(given.child[0]), int(given.child[1]), given.child[2])
        return
    results = measure(given.quick, given.rounds)
    show(results)
    if given.out:
        given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
