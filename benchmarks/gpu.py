"""Every path that a GPU takes: the tests marked `gpu`, then times and peaks of memory beside peers.

    python benchmarks/gpu.py            # a CUDA device, at most eight minutes
    python benchmarks/gpu.py --smoke    # the same program with tiny sizes on the CPU

Runs of a table are warmed up, synchronised and interleaved; figures are medians, ratios are taken
within a round, to the first run of the table, which is ours. What is finished is written after
every table.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import bench_attention
import bench_optimizers
import bench_translation
import loss_peers as peers
import torch
import torch.nn.functional as F
from common import interleave, peak_mib, print_table, summary
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from transformers import BertConfig, BertModel
from transformers.utils import logging

from askew.attention import attend, explain_route
from askew.losses import asymmetric_bce_loss, asymmetric_focal_loss
from askew.models import AsymmetricQAConfig, AsymmetricQAModel, QAConfig
from askew.transformer import ReaderConfig, StackConfig

ROOT = Path(__file__).parents[1]
Run = Callable[[], object]
Table = tuple[str, dict[str, Run]]
"""A title and runs; the first is ours."""
SMALLEST = 2e-3  # seconds of a timed sample: shorter runs are repeated
TOKENS = 16  # forced out of every decoder


class Device:
    """Where everything runs, and how large it is."""

    def __init__(self, *, smoke: bool) -> None:
        self.smoke, self.name = smoke, "cpu" if smoke else "cuda"

    def size(self, large: int, small: int) -> int:
        return small if self.smoke else large

    def synchronize(self) -> None:
        if not self.smoke:
            torch.cuda.synchronize()

    def peak_mib(self, run: Run) -> float:
        """Largest memory during a run above that before it; on the CPU resident memory."""
        if self.smoke:
            return peak_mib(run)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20

    def described(self) -> dict[str, object]:
        packages = ("torch", "transformers", "askew")
        made = {"date": time.strftime("%Y-%m-%d"), **{name: version(name) for name in packages}}
        if self.smoke:
            return {"device": "cpu, tiny sizes", **made}
        properties = torch.cuda.get_device_properties(0)
        return {
            "device": properties.name,
            "memory_gib": properties.total_memory / 2**30,
            "capability": list(torch.cuda.get_device_capability()),
            "cuda": torch.version.cuda,
            "tf32": torch.backends.cuda.matmul.allow_tf32,
            **made,
        }


# What is timed.


def train(loss: Callable[..., Tensor], x: Tensor, *rest: Tensor) -> Run:
    """Forward and backward."""

    def run() -> None:
        torch.autograd.grad(loss(x, *rest), x)

    return run


def flex_by_hand(x: bench_attention.Inputs) -> Run:
    """FlexAttention as its own manual would write a window with a trained bias."""
    last = x.window - 1

    def score(value, batch, head, query, key):
        return value + x.bias[head, (key - query + last).clamp(0, last)]

    def seen(batch, head, query, key):
        return (key <= query) & (key >= query - last)

    blocks = create_block_mask(seen, None, None, x.length, x.length, device=x.q.device)
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda: x.backward(compiled(*x.qkv, score_mod=score, block_mask=blocks))


def windows(device: Device) -> Iterator[Table]:
    for length in (device.size(4096, 700), device.size(16384, 1100)):
        for dtype in (torch.bfloat16, torch.float32):
            x = bench_attention.Inputs(length, device.size(256, 64), dtype)
            x.bias = x.bias.detach().to(dtype).requires_grad_()
            settings = {"relative_bias": x.bias, "window": (x.window - 1, 0)}
            chosen = explain_route(*x.qkv, **settings).route
            runs: dict[str, Run] = {
                f"attend ({chosen})": lambda x=x, given=settings: x.backward(
                    attend(*x.qkv, **given).output
                ),
                "attend (banded)": lambda x=x: x.backward(bench_attention.banded(x)),
                "SDPA, learned bias": lambda x=x: x.backward(bench_attention.sdpa_learned(x)),
            }
            if not device.smoke:  # it trains on CUDA only
                runs["FlexAttention by hand"] = flex_by_hand(x)
            yield (
                f"window {x.window} of {length}, {dtype}, forward and backward".replace(
                    "torch.", ""
                ),
                runs,
            )


def losses(device: Device) -> Iterator[Table]:
    settings = {"gamma_pos": 1.0, "gamma_neg": 4.0, "margin": 0.05, "reduction": "sum"}
    ours = partial(asymmetric_bce_loss, **settings)
    for rows, labels in ((64, 80), (device.size(256, 32), device.size(9605, 200))):
        x = torch.randn(rows, labels, requires_grad=True)
        y = (torch.rand(rows, labels) < 0.02).float()
        contenders = {
            "asymmetric_bce_loss": ours,
            "ASL": peers.asl,
            "ASL, optimized": peers.asl_optimized,
            "timm": peers.timm_multi_label,
            "plain BCE": peers.bce,
        }
        if not device.smoke:  # compiling takes longer than a smoke test may
            contenders["ASL, compiled"] = torch.compile(peers.asl)
            contenders["ours, composed and compiled"] = torch.compile(
                partial(ours, route="composed")
            )
        runs = {name: train(loss, x, y) for name, loss in contenders.items()}
        yield f"labels {rows} x {labels}, forward and backward", runs
    rows, classes = device.size(4096, 64), device.size(32000, 300)
    x = torch.randn(rows, classes, requires_grad=True)
    t = torch.randint(classes, (rows,))
    contenders = {
        "asymmetric_focal_loss": partial(asymmetric_focal_loss, gamma=2.0),
        "focal, composed": peers.sketch_focal,
        "ASLSingleLabel": peers.asl_single_label,
        "cross-entropy": F.cross_entropy,
    }
    if not device.smoke:
        contenders["focal, compiled"] = torch.compile(peers.composed_focal)
    runs = {name: train(loss, x, t) for name, loss in contenders.items()}
    yield f"classes {rows} x {classes}, forward and backward", runs


def optimizers(device: Device) -> Iterator[Table]:
    makers = {
        "step of three parts": (bench_optimizers.steps_of, device.size(512, 32)),
        "step of Muon and AdamW": (bench_optimizers.steps_of_two_algorithms, device.size(512, 32)),
    }
    for title, (make, width) in makers.items():
        model = bench_optimizers.Model(device.size(3600, 50), width=width)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) * 1e-3
        runs = make(model)
        first = next(name for name in runs if name.startswith("AsymmetricOptimizer"))
        yield f"{title}, width {width}", {first: runs.pop(first), **runs}


def translation(device: Device) -> Iterator[Table]:
    vocab, layers, width = device.size(32000, 300), device.size(6, 1), device.size(512, 128)
    rows, length = device.size(64, 4), device.size(32, 6)
    source, target = (torch.randint(3, vocab, (rows, length)) for _ in range(2))
    batch = {
        "input_ids": source,
        "attention_mask": torch.ones_like(source),
        "decoder_input_ids": target,
    }
    models: dict[str, nn.Module] = {
        "ours": bench_translation.ours(vocab, (layers, width), (layers, width)),
        "ours, one decoder layer": bench_translation.ours(vocab, (layers, width), (1, width)),
        "Marian": bench_translation.marian(vocab, layers, layers, width),
    }
    shape = f"{layers} + {layers} layers of {width}, bfloat16"
    runs = {name: _step(model, batch, device) for name, model in models.items()}
    yield f"training step, {shape}, batch {rows} x {length}", runs
    for model in models.values():
        model.bfloat16().eval()
    sizes = ((1, 1), (rows, 5)) if device.smoke else ((1, 1), (1, 5), (rows, 1), (rows, 5))
    for size, beams in sizes:
        runs = {
            name: partial(_generate, model, source[:size], beams) for name, model in models.items()
        }
        yield f"{TOKENS} tokens, {shape}, batch {size}, beams {beams}", runs


def _step(model: nn.Module, batch: dict[str, Tensor], device: Device) -> Run:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    labels = batch["decoder_input_ids"].flatten()

    def run() -> None:
        model.train()
        with torch.autocast(device.name, torch.bfloat16):
            logits = model(**batch).logits
        loss = F.cross_entropy(logits.flatten(0, 1).float(), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


@torch.inference_mode()
def _generate(model: nn.Module, tokens: Tensor, beams: int) -> None:
    model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        num_beams=beams,
        do_sample=False,
        min_new_tokens=TOKENS,
        max_new_tokens=TOKENS,
    )


def questions(device: Device) -> Iterator[Table]:
    """Encoding of passages, beside a BERT of the same layers and width."""
    width, layers, length = device.size(384, 128), device.size(12, 1), device.size(256, 32)
    heads, vocab, rows = width // 32, device.size(30000, 300), device.size(64, 4)
    context = StackConfig(d_model=width, num_layers=layers, num_heads=heads, d_ff=4 * width)
    question = StackConfig(d_model=128, num_layers=1, num_heads=4, d_ff=256)
    reader = ReaderConfig(d_model=128, num_layers=1, num_heads=4, d_key=32, d_ff=256)
    plain = QAConfig(
        question_vocab=vocab,
        context_vocab=vocab,
        question=question,
        context=context,
        reader=reader,
        d_pool=64,
        max_answer_tokens=length // 8,
        overlap=length // 4,
        max_context_tokens=length,
    )
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    bert = BertModel(BertConfig(vocab_size=vocab, intermediate_size=4 * width, **sizes))
    ours = AsymmetricQAModel(AsymmetricQAConfig.from_plain(plain))
    ids = torch.randint(vocab, (rows, length))
    mask = torch.arange(length) < torch.randint(length // 2, length, (rows, 1))
    ours, bert = ours.bfloat16().eval(), bert.bfloat16().eval()
    runs = {
        "encode_contexts": torch.inference_mode()(partial(ours.encode_contexts, ids, mask)),
        "BertModel": torch.inference_mode()(partial(bert, ids, mask)),
    }
    yield f"passages, {layers} layers of {width}, bfloat16, batch {rows} x {length}", runs


# How it is timed and told.

FAMILIES = {
    "windows": windows,
    "losses": losses,
    "optimizers": optimizers,
    "translation": translation,
    "questions": questions,
}


def tests(device: Device, seconds: float) -> dict[str, object]:
    """Run the tests that are marked `gpu`; on the CPU one of them."""
    chosen = ["-n", "0", "-k", "every_route", "tests/attention/test_routes.py"]
    chosen = chosen if device.smoke else ["-n", "4", "-m", "gpu", "tests"]
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf", *chosen]
    try:
        done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        end = (error.stdout or b"").decode()[-2000:]
        print(f"the tests were not done after {seconds:.0f} s: {end}", flush=True)
        return {"end": "out of time", "failed": []}
    lines = done.stdout.splitlines()
    print("\n".join(lines[-60:] if done.returncode else lines[-1:]), done.stderr, flush=True)
    return {
        "end": lines[-1] if lines else done.stderr[-500:],
        "exit_code": done.returncode,
        "failed": [line for line in lines if line.startswith(("FAILED", "ERROR"))],
    }


def measure(runs: dict[str, Run], device: Device, rounds: int) -> dict[str, dict[str, float]]:
    """Time runs in turn; a run that fails is named and left out."""
    alive: dict[str, Run] = {}
    for name, run in runs.items():
        try:
            for _ in range(3):
                run()
            device.synchronize()
        except (RuntimeError, torch.OutOfMemoryError) as error:
            print(f"{name} failed: {str(error).splitlines()[0][:200]}", flush=True)
            continue
        started = time.perf_counter()
        run()
        device.synchronize()
        repeats = max(1, round(SMALLEST / (time.perf_counter() - started)))
        alive[name] = partial(_repeated, run, device, repeats)
        alive[name].repeats = repeats  # type: ignore[attr-defined]
    if not alive:
        return {}
    table = summary(interleave(alive, rounds=rounds), next(iter(alive)))
    for name, row in table.items():
        times = alive[name].repeats  # type: ignore[attr-defined]
        row["ms"] /= times
        row["peak_mib"] = device.peak_mib(runs[name])
    return table


def _repeated(run: Run, device: Device, times: int) -> None:
    for _ in range(times):
        run()
    device.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--minutes", type=float, default=8.0, help="after these no table begins")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=FAMILIES, help="this family alone, without tests")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.json")
    options = parser.parse_args()
    if not options.smoke and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --smoke runs on the CPU")
    device = Device(smoke=options.smoke)
    began = time.monotonic()
    results: dict[str, object] = {"machine": device.described(), "tables": {}}
    print(json.dumps(results["machine"]), flush=True)
    if options.only is None:
        results["tests"] = tests(device, options.minutes * 60 / 2)
    torch.manual_seed(0)
    torch.set_default_device(device.name)
    logging.set_verbosity_error()
    if device.smoke:
        torch.set_num_threads(1)
    for family in [options.only] if options.only else FAMILIES:
        for title, runs in FAMILIES[family](device):
            if time.monotonic() - began > 60 * options.minutes:
                print(f"no time is left for {title}", flush=True)
                continue
            table = measure(runs, device, 3 if device.smoke else options.rounds)
            results["tables"][title] = table
            rows = [[n, *(r[k] for k in ("ms", "ratio", "peak_mib"))] for n, r in table.items()]
            print(title)
            print_table(["run", "ms", "time / first", "peak MiB"], rows)
            if not device.smoke:
                options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
