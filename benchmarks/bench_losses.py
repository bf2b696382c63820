"""Losses against their published peers: right at every logit, time, memory.

    python benchmarks/bench_losses.py

One thread, forward and backward, runs interleaved, medians of ratios within a round. For the
ranking table install pytorch-metric-learning; without it the table is left out.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import loss_peers as peers
import torch
import torch.nn.functional as F
from common import add, arguments, interleave, peak_mib, print_table, summary, write
from torch import Tensor

from askew.losses import (
    asymmetric_bce_loss,
    asymmetric_focal_loss,
    asymmetric_pair_loss,
    clipped_policy_loss,
    distillation_loss,
    preference_loss,
    token_log_probs,
    top_k,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from exact_bce import SETTINGS, failures

Loss = Callable[[Tensor, Tensor], Tensor]
ASL = {"gamma_pos": 1.0, "gamma_neg": 4.0, "margin": 0.05, "reduction": "sum"}
PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)


def step(loss: Loss, x: Tensor, y: Tensor) -> Callable[[], None]:
    """Forward and backward on logits that want a gradient."""

    def run() -> None:
        loss(x, y).backward()
        x.grad = None

    return run


def numerics() -> list[list[object]]:
    """Of 39 pairs of logit and target, how many have a wrong value or gradient."""
    rows = []
    others = {
        "sketch": ("miss averse", peers.sketch_bce),
        "ASL": ("asl code", peers.asl_optimized),
        "timm": ("asl code", peers.timm_multi_label),
        "torchvision focal": ("focal", peers.focal_of_torchvision),
        "torch.nn BCE": ("plain", peers.bce),
    }
    for who, (name, loss) in others.items():
        rows.append([who, name, *(_wrong(loss, name, dtype) for dtype in PRECISIONS)])
    for route in ("composed", "chunked", "compiled"):
        for name in ("plain", "focal", "asl", "asl code", "miss averse"):
            ours = partial(
                asymmetric_bce_loss, **asdict(SETTINGS[name]), reduction="sum", route=route
            )
            rows.append([f"askew, {route}", name, *(_wrong(ours, name, d) for d in PRECISIONS)])
    return rows


def _wrong(loss: Loss, name: str, dtype: torch.dtype) -> int:
    places = {text.split(" at ")[1].split(":")[0] for text in failures(loss, dtype, SETTINGS[name])}
    return len(places)


def binary(rounds: int) -> list[dict[str, object]]:
    """Two-sided binary losses, 3 % positives."""
    runs: dict[str, Loss] = {
        "ASL optimized": peers.asl_optimized,
        "ASL": peers.asl,
        "timm": peers.timm_multi_label,
        "sketch": peers.sketch_bce,
        "torch.nn BCE": peers.bce,
        "askew composed": partial(asymmetric_bce_loss, **ASL, route="composed"),
        "askew": partial(asymmetric_bce_loss, **ASL),
        "askew compiled": partial(asymmetric_bce_loss, **ASL, route="compiled"),
    }
    results = []
    for shape, dtype in (
        ((64, 80), torch.float32),
        ((256, 1000), torch.float32),
        ((1024, 1000), torch.float32),
        ((256, 9605), torch.float32),
        ((1024, 9605), torch.float32),
        ((256, 9605), torch.bfloat16),
    ):
        generator = torch.Generator().manual_seed(0)
        x = (2 * torch.randn(shape, generator=generator)).to(dtype).requires_grad_()
        y = (torch.rand(shape, generator=generator) < 0.03).to(dtype)
        results += _compare(runs, x, y, "ASL optimized", rounds)
    return results


def multiclass(rounds: int) -> list[dict[str, object]]:
    """Focal losses over classes, gamma 2."""
    runs: dict[str, Loss] = {
        "F.cross_entropy": F.cross_entropy,
        "composition": peers.composed_focal,
        "timm, ASL": peers.asl_single_label,
        "askew": partial(asymmetric_focal_loss, gamma=2.0),
    }
    results = []
    for shape in ((64, 80), (256, 1000), (1024, 1000), (4096, 1000), (512, 32_000)):
        generator = torch.Generator().manual_seed(0)
        x = (2 * torch.randn(shape, generator=generator)).requires_grad_()
        t = torch.randint(0, shape[1], shape[:1], generator=generator)
        results += _compare(runs, x, t, "F.cross_entropy", rounds)
    return results


def distillation(rounds: int) -> list[dict[str, object]]:
    """A student's logits against a teacher's, forward and reverse, whole and of 8 classes."""

    def of_torch(x: Tensor, z: Tensor) -> Tensor:
        return F.kl_div(
            x.log_softmax(-1), z.log_softmax(-1), log_target=True, reduction="batchmean"
        )

    def of_the_largest(x: Tensor, z: Tensor) -> Tensor:
        return distillation_loss(x, kept[z.shape])

    runs: dict[str, Loss] = {
        "F.kl_div": of_torch,
        "askew": distillation_loss,
        "askew, reverse": partial(distillation_loss, divergence="reverse"),
        "askew, skewed": partial(distillation_loss, divergence="skewed"),
        "askew, largest 8": of_the_largest,
    }
    kept, results = {}, []
    for shape, dtype in (
        ((64, 2000), torch.float32),
        ((512, 2000), torch.float32),
        ((512, 32_000), torch.float32),
        ((512, 32_000), torch.bfloat16),
    ):
        generator = torch.Generator().manual_seed(0)
        x, z = 2 * torch.randn(2, *shape, generator=generator)
        kept[z.shape] = top_k(z)
        x = x.to(dtype).requires_grad_()
        results += _compare(runs, x, z.to(dtype), "F.kl_div", rounds)
    return results


def policies(rounds: int) -> list[dict[str, object]]:
    """From logits [sequences, tokens, classes] to the loss, then the clipped loss alone."""
    results = []
    for shape, dtype in (
        ((4, 16, 2000), torch.float32),
        ((8, 64, 2000), torch.float32),
        ((8, 64, 32_000), torch.float32),
        ((8, 64, 32_000), torch.bfloat16),
    ):
        generator = torch.Generator().manual_seed(0)
        x = (2 * torch.randn(shape, generator=generator)).to(dtype)
        t = torch.randint(0, shape[-1], shape[:-1], generator=generator)
        then = token_log_probs(x, t) + 0.2 * torch.randn(shape[:-1], generator=generator)
        advantage = torch.randn(shape[:1], generator=generator)
        for kind, runs in _from_logits(then, advantage).items():
            results += _compare(runs, x.requires_grad_(), t, f"TRL, {kind}", rounds)
    alone = {
        "TRL, clipped": peers.clipped_of_trl,
        "askew, clipped": partial(clipped_policy_loss, clip_high=0.28),
    }
    for shape in ((64, 1024), (256, 4096)):
        generator = torch.Generator().manual_seed(0)
        x = (0.2 * torch.randn(shape, generator=generator)).requires_grad_()
        advantage = torch.randn(shape[:1], generator=generator)
        results += _compare(alone, x, advantage, "TRL, clipped", rounds)
    return results


def _from_logits(then: Tensor, advantage: Tensor) -> dict[str, dict[str, Loss]]:
    """Policy and preference losses on log-probabilities that were `then` when sampled."""

    def of(log_probs: Loss, loss: Callable[..., Tensor], *more: Tensor) -> Loss:
        return lambda x, t: loss(log_probs(x, t) - then, *more)

    def dpo(log_ratio: Tensor) -> Tensor:
        return preference_loss(*log_ratio.sum(1).chunk(2))

    clipped = partial(clipped_policy_loss, clip_high=0.28)
    theirs, plain = peers.log_probs_of_trl, peers.log_probs_of_torch
    return {
        "policy": {
            "TRL, policy": of(theirs, peers.clipped_of_trl, advantage),
            "composition, policy": of(plain, peers.clipped_of_trl, advantage),
            "askew, policy": of(token_log_probs, clipped, advantage),
        },
        "preference": {
            "TRL, preference": of(theirs, peers.dpo_of_trl),
            "composition, preference": of(plain, peers.dpo_of_trl),
            "askew, preference": of(token_log_probs, dpo),
        },
    }


def ranking(rounds: int) -> list[dict[str, object]]:
    """All pairs of a batch of 128-wide embeddings with eight rows a label."""
    try:
        from pytorch_metric_learning.losses import ContrastiveLoss
    except ImportError:
        print("pytorch-metric-learning is not installed: no ranking table\n")
        return []

    def ours(x: Tensor, labels: Tensor) -> Tensor:
        return asymmetric_pair_loss(F.normalize(x), labels, margin_pos=0.0, margin_neg=1.0)

    runs: dict[str, Loss] = {"PML ContrastiveLoss": ContrastiveLoss(), "askew": ours}
    results = []
    for batch in (1024, 4096):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(batch, 128, generator=generator).requires_grad_()
        labels = torch.randint(0, batch // 8, (batch,), generator=generator)
        results += _compare(runs, x, labels, "PML ContrastiveLoss", max(rounds // 3, 5))
    return results


def _compare(
    runs: dict[str, Loss], x: Tensor, y: Tensor, to: str, rounds: int
) -> list[dict[str, object]]:
    steps = {name: step(loss, x, y) for name, loss in runs.items()}
    few = rounds if x.numel() > 1_000_000 else 10 * rounds
    few = max(rounds // 2, 5) if x.numel() > 5_000_000 else few
    table = summary(interleave(steps, rounds=few), to)
    size = x.numel() * x.element_size() / 2**20
    shape = "×".join(map(str, x.shape)) + ("" if x.dtype == torch.float32 else " bf16")
    results = []
    for name, figures in table.items():
        # Below a few MiB the resident size is not that of tensors.
        peak = peak_mib(steps[name]) if size >= 3 or name.startswith("PML") else None
        results.append({"shape": shape, "loss": name, **figures, "peak_mib": peak, "mib": size})
    for row in results:
        if row["loss"] == "askew" and to.startswith("PML"):
            row["peak_mib"] = peak_mib(steps["askew"])
    print_table(
        [shape, "ms", f"of {to}", "quartiles", "peak MiB", "peak/N"],
        [
            [
                r["loss"],
                r["ms"],
                r["ratio"],
                f"{r['ratio_low']:.2f}–{r['ratio_high']:.2f}",
                "" if r["peak_mib"] is None else r["peak_mib"],
                "" if r["peak_mib"] is None else r["peak_mib"] / size,
            ]
            for r in results
        ],
    )
    return results


def targets(tables: dict[str, list[dict[str, object]]]) -> list[list[object]]:
    """Return the rows of a table: every target, the measured figure, and whether it is reached."""

    def get(table: str, shape: str, loss: str = "askew", over: str | None = None) -> dict:
        rows = {(r["shape"], r["loss"]): r for r in tables[table]}
        row = rows.get((shape, loss))
        if row is None:
            return {}
        return {
            "ratio": row["ms"] / rows[shape, over]["ms"] if over else row["ratio"],
            "peak": None if row["peak_mib"] is None else row["peak_mib"] / row["mib"],
            "mib": row["peak_mib"],
        }

    rows = []

    def aim(what: str, goal: float, figure: float | None) -> None:
        verdict = "–" if figure is None else "yes" if figure <= goal else "no"
        rows.append([what, goal, "–" if figure is None else figure, verdict])

    for shape, goal in (("1024×1000", 0.30), ("256×9605", 0.30), ("1024×9605", 0.12)):
        aim(f"two-sided BCE {shape}, of ASL", goal, get("binary", shape).get("ratio"))
        compiled = get("binary", shape, "askew compiled").get("ratio")
        aim(f"two-sided BCE {shape}, compiled, of ASL", 0.12, compiled)
        aim(f"two-sided BCE {shape}, peak/N", 1.2, get("binary", shape).get("peak"))
    aim("two-sided BCE 64×80, of ASL", 0.70, get("binary", "64×80").get("ratio"))
    for shape in ("64×80", "256×1000", "1024×1000", "4096×1000"):
        aim(f"multi-class {shape}, of F.cross_entropy", 1.1, get("multiclass", shape).get("ratio"))
    large = get("multiclass", "512×32000", over="composition")
    aim("multi-class 512×32000, of the composition", 0.65, large.get("ratio"))
    aim("multi-class 512×32000, peak/N", 1.1, large.get("peak"))
    pairs = get("ranking", "4096×128")
    other = get("ranking", "4096×128", "PML ContrastiveLoss")
    aim("all pairs 4096, of PML", 0.75, pairs.get("ratio"))
    share = pairs["mib"] / other["mib"] if pairs and other else None
    aim("all pairs 4096, memory of PML", 1 / 30, share)
    return rows


def main() -> None:
    options = arguments("losses", tables=("policies",))
    if options.only == "policies":
        add(options.out, {"policies": policies(options.rounds)})
        return
    head = ["wrong of 39", "settings", "fp32", "bf16", "fp16"]
    wrong = numerics()
    print_table(head, wrong)
    tables = {
        "binary": binary(options.rounds),
        "multiclass": multiclass(options.rounds),
        "distillation": distillation(options.rounds),
        "policies": policies(options.rounds),
        "ranking": ranking(options.rounds),
    }
    aims = targets(tables)
    print_table(["target", "at most", "measured", "met"], aims)
    write(options.out, {"numerics": [dict(zip(head, r, strict=True)) for r in wrong], **tables})


if __name__ == "__main__":
    main()
