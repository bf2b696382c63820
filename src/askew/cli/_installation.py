"""What is installed, what this machine can do, and whether its numbers are right."""

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import NamedTuple

import torch
import torch.nn.functional as F
from packaging.requirements import Requirement
from torch import Tensor, nn

from askew.attention import AsymmetricAttention, attend, band_mask
from askew.inspection import symmetry_score
from askew.losses import asymmetric_bce_loss
from askew.optim import AsymmetricOptimizer
from askew.transformer import AsymmetricEncoderDecoder, EncoderDecoderConfig, StackConfig

_EXTRAS = (
    "apps",
    "plots",
    "report",
    "serve",
    "onnx",
    "sweep",
    "cluster",
    "track",
    "lora",
    "documents",
    "web",
    "data",
    "pretrained",
)


class Check(NamedTuple):
    """The difference between two ways of computing the same numbers."""

    name: str
    error: float
    tolerance: float
    seconds: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


def installed() -> dict[str, str]:
    """Return the versions of Python, of this library and of the packages that it always needs."""
    names = ["torch", "numpy", "safetensors", "transformers", "tokenizers"]
    ours = {"python": platform.python_version(), "askew": version("askew")}
    return ours | {name: _version(name) or "absent" for name in names}


def extras() -> dict[str, list[str]]:
    """Return, for every optional extra, its packages that are missing or too old."""
    missing: dict[str, list[str]] = {}
    for line in requires("askew") or []:
        requirement = Requirement(line)
        for extra in _EXTRAS:
            if requirement.marker is None or not requirement.marker.evaluate({"extra": extra}):
                continue
            absent = missing.setdefault(extra, [])
            present = _version(requirement.name)
            if present is None:
                absent.append(requirement.name)
            elif not requirement.specifier.contains(present, prereleases=True):
                absent.append(f"{requirement} (got {present})")
    return missing


def left_out_of_all() -> list[str]:
    """Return the extras with a package that `askew[all]` does not install."""
    lines = [Requirement(line) for line in requires("askew") or []]
    names = {
        extra: {one.name for one in lines if one.marker and one.marker.evaluate({"extra": extra})}
        for extra in ("all", *_EXTRAS)
    }
    return [extra for extra in _EXTRAS if not names[extra] <= names["all"]]


def devices() -> dict[str, str]:
    """Describe the devices of this machine."""
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} processors"
    described = {"cpu": f"{threads}, {torch.backends.cpu.get_cpu_capability()}"}
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        described[f"cuda:{number}"] = f"{device.name}, {device.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        described["mps"] = "Apple GPU"
    return described


def routes() -> dict[str, str]:
    """Describe the ways in which attention can be computed here."""
    cuda = torch.cuda.is_available()
    compiler = next((name for name in ("c++", "g++", "clang++", "cl") if shutil.which(name)), None)
    return {
        "dense": "available",
        "padded": "available",
        "banded": "available: windows at linear cost on every device",
        "flex": "available" if cuda else "needs a CUDA device; banded takes its place",
        "torch.compile": f"available, by {compiler}" if compiler else "needs a C++ compiler",
    }


def self_test() -> Iterator[Check]:
    """Compute numbers in two ways that share no code, and yield their differences."""
    for device in devices():
        for name, (tolerance, check) in _CHECKS.items():
            torch.manual_seed(0)
            began = time.perf_counter()
            with torch.device(device):
                error = check()
            yield Check(f"{name}, {device}", error, tolerance, time.perf_counter() - began)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _furthest(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Return the largest difference; NaN counts as infinite."""
    errors = [float((ours - theirs).detach().abs().max()) for ours, theirs in pairs]
    return max(error if error == error else float("inf") for error in errors)


def _attention() -> float:
    theirs = nn.MultiheadAttention(64, 8, batch_first=True)
    ours = AsymmetricAttention.from_torch(theirs)
    x, y = (torch.randn(2, 96, 64, requires_grad=True) for _ in range(2))
    with torch.no_grad():
        y.copy_(x)
    one, two = ours(x).output, theirs(y, y, y, need_weights=False)[0]
    one.square().sum().backward()
    two.square().sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    return _furthest([(one, two), (x.grad / 96, y.grad / 96)])


def _window() -> float:
    q, k, v = (torch.randn(1, 4, 1500, 32, requires_grad=True) for _ in range(3))
    visible = band_mask(1500, 1500, before=100, after=0)
    both = (
        attend(q, k, v, window=(100, 0), route="banded").output,
        attend(q, k, v, attn_mask=visible, route="dense").output,
    )
    grads = [torch.autograd.grad(out.square().sum(), (q, k, v)) for out in both]
    return _furthest([(both[0], both[1]), *zip(*grads, strict=True)])


def _loss() -> float:
    logits = torch.randn(512, 80, requires_grad=True)
    targets = (torch.rand(512, 80) < 0.1).float()
    ours, theirs = (
        loss(logits, targets) for loss in (asymmetric_bce_loss, F.binary_cross_entropy_with_logits)
    )
    (one,), (two,) = (torch.autograd.grad(loss, logits) for loss in (ours, theirs))
    return _furthest([(ours, theirs), (one * logits.numel(), two * logits.numel())])


def _extreme_logits() -> float:
    logits = torch.tensor([-1e4, -88.0, 0.0, 88.0, 1e4], requires_grad=True)
    errors = []
    for target in (0.0, 1.0):
        loss = asymmetric_bce_loss(
            logits, torch.full_like(logits, target), gamma_pos=1.0, gamma_neg=4.0, margin=0.05
        )
        (slope,) = torch.autograd.grad(loss, logits)
        errors += [loss - loss, slope - slope]  # 0 if finite, else NaN
    return _furthest([(error, torch.zeros_like(error)) for error in errors])


def _optimizer() -> float:
    models = [nn.Linear(64, 64) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    ours = AsymmetricOptimizer(models[0], {"all": 1e-3}, rest="all")
    theirs = torch.optim.AdamW(models[1].parameters(), lr=1e-3)
    x = torch.randn(32, 64)
    for _ in range(20):
        for model, optimizer in zip(models, (ours, theirs), strict=True):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    both = zip(models[0].parameters(), models[1].parameters(), strict=True)
    return _furthest([(one, two) for one, two in both])


def _decoding() -> float:
    side = StackConfig(d_model=64, num_layers=2, num_heads=4, d_ff=128)
    config = EncoderDecoderConfig(source_vocab=99, target_vocab=99, encoder=side, decoder=side)
    model = AsymmetricEncoderDecoder(config).eval()
    source, target = torch.randint(1, 99, (2, 12)), torch.randint(1, 99, (2, 9))
    with torch.no_grad():
        whole = model(source, target)
        memory, caches = model.encode(source), model.new_caches()
        steps = [
            model.decode(target[:, i : i + 1], memory, caches=caches)
            for i in range(target.shape[1])
        ]
    return _furthest([(whole, torch.cat(steps, 1))])


def _symmetry() -> float:
    weights = torch.randn(8, 16, 128)
    turned = torch.cat([weights[:, 8:], -weights[:, :8]], 1)  # WᵀJW with Jᵀ = -J
    scores = symmetry_score(weights, weights), symmetry_score(weights, turned)
    return _furthest([(scores[0], torch.ones(8)), (scores[1], -torch.ones(8))])


_CHECKS: dict[str, tuple[float, Callable[[], float]]] = {
    "attention is nn.MultiheadAttention": (1e-6, _attention),
    "a window in bands is the masked square": (1e-3, _window),
    "the two-sided loss is cross-entropy": (1e-5, _loss),
    "logits of 10,000 have finite slopes": (0.0, _extreme_logits),
    "one part is AdamW": (1e-6, _optimizer),
    "decoding step by step is decoding at once": (1e-4, _decoding),
    "planted symmetric and skew heads": (1e-5, _symmetry),
}
