"""Do the losses and penalties for special problems pay? One experiment for each, paired seeds.

    python benchmarks/evidence_parts.py noisy --out runs        # or another of the questions
    python benchmarks/evidence_parts.py all --out runs

Settings are fixed here, before the first run. Every arm tries the same six learning rates on
validation data before its trials; what is corrected after training (thresholds, shifts, priors) is
computed on validation or training data. Ten seeds; the noise, the split and the images are drawn
once. A run that was stopped goes on when the same command is typed again.

- noisy, pairs: digits whose training and validation labels are flipped, 40 % to any class, or 30 %
  to the next one; accuracy on right labels.
- tail: digits whose classes shrink from 85 rows to 2; accuracy on balanced test rows.
- quantile, linex: the progression of diabetes; the mean cost of a prediction, against a squared
  error whose predictions are shifted by what costs least on validation rows.
- segments: small handwritten characters on canvases with noise; Dice with the threshold that is
  best on validation images.
- summed: the same with the Tversky and the Dice loss each added to cross-entropy. It came after
  "segments", where the Tversky loss alone marked nothing.
- smooth: a recurrent language model of captions; its negative log-likelihood a token, with a
  penalty of changes of its states forward, backward, both ways or none.
"""

import gzip
import io
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from paired import command, parser, show
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn

from askew.losses import (
    ael_loss,
    agce_loss,
    asymmetric_tversky_loss,
    asymmetric_unified_focal_loss,
    aul_loss,
    expectile_loss,
    ldam_loss,
    linex_loss,
    logit_adjusted_cross_entropy,
    pinball_loss,
)
from askew.regularizers import directional_loss
from askew.text import train_tokenizer
from askew.tradeoffs import Experiment, Metric, Range, Score

DATA = Path("../shared/data")
SEEDS, DRAWS, BATCH = 10, 6, 64
RECALL = {"weight_fn": 0.7, "weight_fp": 0.3}  # of the paper on the Tversky loss
RATE = Range(low=3e-4, high=1e-2, log=True)
Loss = Callable[..., Tensor]
Build = Callable[[], nn.Module]


@dataclass(frozen=True)
class Fit:
    """Trains by AdamW with a rate that falls to 0, and then corrects the model.

    Attributes:
        train: Inputs and targets.
        valid: Those by which a rate is chosen and the model is corrected.
        loss: From outputs and targets.
        cost: What decides, lower is better, from outputs and targets of the validation data.
        correct: Changes a trained model by its outputs and targets on the validation data.
    """

    train: tuple[Tensor, Tensor] = field(repr=False)
    valid: tuple[Tensor, Tensor] = field(repr=False)
    loss: Loss
    cost: Loss
    correct: Callable[[Any, Tensor, Tensor], None] | None = None

    def __call__(
        self, model: nn.Module, *, steps: int, seed: int, progress: Any, lr: float = 2e-3, **_: Any
    ) -> list[dict[str, float]]:
        order = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        falls = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        begun = time.process_time()
        for step in range(steps):
            rows = torch.randint(len(self.train[0]), (BATCH,), generator=order)
            loss = self.loss(model(self.train[0][rows]), self.train[1][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falls.step()
            progress(step + 1, steps)
        model.eval()
        with torch.no_grad():
            if self.correct is not None:
                self.correct(model, model(self.valid[0]), self.valid[1])
            cost = self.cost(model(self.valid[0]), self.valid[1]).mean().item()
        seconds = time.process_time() - begun
        return [{"step": steps, "train_seconds": seconds, "eval_loss": cost}]


def experiment(
    name: str,
    build: Build | Mapping[str, Build],
    data: Mapping[str, tuple[Tensor, Tensor]],
    losses: Mapping[str, Loss],
    score: Score,
    steps: int,
    correct: Mapping[str, Any] | None = None,
) -> Experiment:
    """Make an experiment whose arms differ in their loss, their model or what corrects them."""
    lower = score.metric.better == "lower"

    def cost(outputs: Tensor, targets: Tensor) -> Tensor:
        return score.function(outputs, targets) * (1 if lower else -1)

    fits = {
        arm: Fit(data["train"], data["valid"], loss, cost, (correct or {}).get(arm))
        for arm, loss in losses.items()
    }
    return Experiment(
        name=name,
        models=build if isinstance(build, Mapping) else dict.fromkeys(losses, build),
        train_data=data["train"],
        valid_data=data["valid"],
        test_data=data["test"],
        scores=(score,),
        fit=fits,
        steps=steps,
        search={"lr": RATE},
    )


ACCURACY = Score(
    metric=Metric(name="accuracy", label="accuracy, %", equivalence=0.5),
    function=lambda outputs, targets: 100 * (outputs.argmax(-1) == targets).double(),
)


class Digits(nn.Module):
    """A perceptron whose logits are corrected after training by `prior`."""

    def __init__(self, cosine: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10, bias=not cosine)
        self.cosine = cosine
        self.register_buffer("prior", torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        states = self.body(x)
        if self.cosine:
            return F.linear(F.normalize(states), F.normalize(self.head.weight))
        return self.head(states) - self.prior


def digits() -> dict[str, tuple[Tensor, Tensor]]:
    x, y = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
    x, y = x.float() / 16, y.long()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    bounds = {"train": slice(0, 900), "valid": slice(900, 1200), "test": slice(1200, None)}
    return {name: (x[order[rows]], y[order[rows]]) for name, rows in bounds.items()}


def flipped(share: float, shift: Callable[[torch.Generator, int], Tensor]) -> dict:
    data, draws = digits(), torch.Generator().manual_seed(1)
    for name in ("train", "valid"):
        x, y = data[name]
        moved = torch.rand(len(y), generator=draws) < share
        data[name] = x, torch.where(moved, (y + shift(draws, len(y))) % 10, y)
    return data


def noisy(name: str, data: dict) -> Experiment:
    losses: dict[str, Loss] = {
        "agce": agce_loss,
        "aul": aul_loss,
        "ael": ael_loss,
        "mae": lambda outputs, targets: 1 - outputs.softmax(1).gather(1, targets[:, None]).mean(),
        "smoothing": partial(F.cross_entropy, label_smoothing=0.1),
        "cross-entropy": F.cross_entropy,
    }
    return experiment(name, Digits, data, losses, ACCURACY, 600)


def tail() -> Experiment:
    data = digits()
    x, y = data["train"]
    sizes = [round(85 * 50 ** (-c / 9)) for c in range(10)]
    rows = torch.cat([(y == c).nonzero()[:size, 0] for c, size in enumerate(sizes)])
    data["train"] = x[rows], y[rows]
    counts = torch.bincount(y[rows], minlength=10).double()
    weights = (counts.sum() / (10 * counts)).float()

    def subtract_prior(model: Digits, outputs: Tensor, targets: Tensor) -> None:
        model.prior.copy_((counts / counts.sum()).log())

    losses: dict[str, Loss] = {
        "logit-adjusted": lambda o, t: logit_adjusted_cross_entropy(o, t, counts.float()),
        "ldam": lambda o, t: ldam_loss(o, t, counts.float()),
        "class-weights": partial(F.cross_entropy, weight=weights),
        "adjusted-after": F.cross_entropy,
        "cross-entropy": F.cross_entropy,
    }
    models = {**dict.fromkeys(losses, Digits), "ldam": partial(Digits, cosine=True)}
    corrections = {"adjusted-after": subtract_prior}
    return experiment("tail", models, data, losses, ACCURACY, 600, corrections)


class Progression(nn.Module):
    """Regression whose prediction is shifted after training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[:, 0] + self.shift


def diabetes() -> dict[str, tuple[Tensor, Tensor]]:
    x, y = (torch.from_numpy(part).float() for part in load_diabetes(return_X_y=True))
    x, y = x / x.std(0), (y - y.mean()) / y.std()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    bounds = {"train": slice(0, 222), "valid": slice(222, 302), "test": slice(302, None)}
    return {name: (x[order[rows]], y[order[rows]]) for name, rows in bounds.items()}


def regression(name: str, cost: Loss, shift: Callable[[Tensor], Tensor], arms: dict) -> Experiment:
    metric = Metric(name="cost", label="cost", better="lower", equivalence=0.005)
    score = Score(metric=metric, function=partial(cost, reduction="none"))

    def move(model: Progression, outputs: Tensor, targets: Tensor) -> None:
        model.shift.copy_(shift(targets - outputs))

    losses = {**arms, "squared": F.mse_loss, "squared-shifted": F.mse_loss}
    corrections = {"squared-shifted": move}
    return experiment(name, Progression, diabetes(), losses, score, 300, corrections)


def quantile() -> Experiment:
    cost = partial(pinball_loss, quantile=0.9)
    arms = {"pinball": cost, "expectile": partial(expectile_loss, expectile=0.97)}
    return regression("quantile", cost, lambda rest: rest.quantile(0.9), arms)


def linex() -> Experiment:
    cost = partial(linex_loss, a=-2.0)  # a prediction that is too low costs exponentially

    def shift(rest: Tensor) -> Tensor:
        return (2 * rest).exp().mean().log() / 2  # where the mean of exp(2 (y − ŷ − s)) is 1

    return regression("linex", cost, shift, {"linex": cost})


class Segmenter(nn.Module):
    """A few convolutions with one logit a pixel, moved by the threshold after training."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(1, 16, 1), (16, 16, 2), (16, 16, 4), (16, 16, 1)]
        self.layers = nn.Sequential(
            *(
                part
                for ins, outs, gap in sizes
                for part in (nn.Conv2d(ins, outs, 3, padding=gap, dilation=gap), nn.ReLU())
            ),
            nn.Conv2d(16, 1, 1),
        )
        self.register_buffer("threshold", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[:, 0] - self.threshold


def dice(outputs: Tensor, targets: Tensor) -> Tensor:
    found = (outputs > 0).double()
    both = (found * targets).sum((1, 2))
    return 200 * both / (found.sum((1, 2)) + targets.sum((1, 2))).clamp_min(1)


def best_threshold(model: Segmenter, outputs: Tensor, targets: Tensor) -> None:
    tries = torch.linspace(-4, 4, 33)
    scores = torch.stack([dice(outputs - t, targets).mean() for t in tries])
    model.threshold.copy_(tries[scores.argmax()])


def canvases(count: int, characters: list[np.ndarray], draws: np.random.Generator):
    images, masks = [], []
    for _ in range(count):
        mask = np.zeros((40, 40), dtype=np.float32)
        for _ in range(draws.integers(1, 3)):
            one = characters[draws.integers(len(characters))]
            top, left = draws.integers(0, 40 - 12, 2)
            mask[top : top + 12, left : left + 12] = np.maximum(
                mask[top : top + 12, left : left + 12], one
            )
        images.append(mask * draws.uniform(0.4, 1.0) + draws.normal(0, 0.45, mask.shape))
        masks.append(mask)
    return torch.tensor(np.stack(images), dtype=torch.float32)[:, None], torch.tensor(
        np.stack(masks)
    )


def characters() -> list[np.ndarray]:
    found = []
    for path in sorted((DATA / "omniglot").rglob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(n for n in archive.namelist() if n.endswith(".png"))[::7]:
                image = Image.open(io.BytesIO(archive.read(name))).convert("L")
                small = np.asarray(image.resize((12, 12), Image.Resampling.BOX)) < 200
                found.append(small.astype(np.float32))
    return found


def segments() -> Experiment:
    return segmented(
        "segments",
        {
            "tversky": two_classes(partial(asymmetric_tversky_loss, **RECALL)),
            "unified-focal": two_classes(asymmetric_unified_focal_loss),
            "entropy": F.binary_cross_entropy_with_logits,
            "dice-and-entropy": with_entropy(asymmetric_tversky_loss),
        },
    )


def summed() -> Experiment:
    return segmented(
        "summed",
        {
            "tversky-and-entropy": with_entropy(partial(asymmetric_tversky_loss, **RECALL)),
            "dice-and-entropy": with_entropy(asymmetric_tversky_loss),
        },
    )


def segmented(name: str, losses: dict[str, Loss]) -> Experiment:
    draws, known = np.random.default_rng(0), characters()
    bounds = {"train": 600, "valid": 150, "test": 300}
    data = {part: canvases(count, known, draws) for part, count in bounds.items()}
    metric = Metric(name="dice", label="Dice, %", equivalence=0.5)
    score = Score(metric=metric, function=dice)
    corrections = dict.fromkeys(losses, best_threshold)
    return experiment(name, Segmenter, data, losses, score, 200, corrections)


def two_classes(loss: Loss) -> Loss:
    return lambda o, t: loss(torch.stack([-o / 2, o / 2], 1), t.long())


def with_entropy(loss: Loss) -> Loss:
    return lambda o, t: F.binary_cross_entropy_with_logits(o, t) + two_classes(loss)(o, t)


class Captions(nn.Module):
    """A recurrent language model; gives logits and, while it trains, its states."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, 64)
        self.rnn = nn.GRU(64, 96, batch_first=True)
        self.head = nn.Linear(96, vocabulary)

    def forward(self, tokens: Tensor) -> Any:
        states, _ = self.rnn(self.table(tokens))
        logits = self.head(states)
        return (logits, states) if self.training else logits


def captions() -> dict[str, tuple[Tensor, Tensor]]:
    with gzip.open(DATA / "multi30k" / "train.en.gz", "rt", encoding="utf-8") as lines:
        texts = [line.strip() for line in lines][:7000]
    tokenizer = train_tokenizer(texts, vocab_size=1000)
    rows = [[1, *tokenizer.encode(text).ids[:23], 2] for text in texts]
    tokens = torch.tensor([row + [0] * (25 - len(row)) for row in rows])
    bounds = {"train": slice(0, 5500), "valid": slice(5500, 6000), "test": slice(6000, None)}
    return {name: (tokens[r, :-1], tokens[r, 1:]) for name, r in bounds.items()}


def per_row(logits: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=0, reduction="none")
    return losses.sum(1) / (targets != 0).sum(1)


def smooth() -> Experiment:
    def penalised(forward: float, backward: float) -> Loss:
        def loss(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
            logits, states = outputs
            plain = per_row(logits, targets).mean()
            if forward == backward == 0:
                return plain
            return plain + directional_loss(
                states, lambda_forward=forward, lambda_backward=backward, where=targets != 0
            )

        return loss

    losses = {
        "forward": penalised(0.1, 0.0),
        "backward": penalised(0.0, 0.1),
        "both": penalised(0.05, 0.05),
        "none": penalised(0.0, 0.0),
    }
    metric = Metric(name="nll", label="nats a token", better="lower", equivalence=0.01)
    score = Score(metric=metric, function=per_row)
    return experiment("smooth", partial(Captions, 1000), captions(), losses, score, 400)


QUESTIONS: dict[str, Callable[[], Experiment]] = {
    "noisy": lambda: noisy(
        "noisy", flipped(0.4 / 0.9, lambda draws, n: torch.randint(0, 10, (n,), generator=draws))
    ),
    "pairs": lambda: noisy("pairs", flipped(0.3, lambda draws, n: torch.ones(n, dtype=torch.long))),
    "tail": tail,
    "quantile": quantile,
    "linex": linex,
    "segments": segments,
    "summed": summed,
    "smooth": smooth,
}


def main() -> None:
    made = parser(__doc__, seeds=SEEDS)
    made.add_argument("question", choices=[*QUESTIONS, "all"])
    options = made.parse_args()
    for name in QUESTIONS if options.question == "all" else [options.question]:
        comparison = QUESTIONS[name]().compare(
            out=options.out / name,
            seeds=options.seeds,
            jobs=options.jobs,
            draws=DRAWS,
            command=command(),
        )
        show(comparison, options.out / name)


if __name__ == "__main__":
    main()
