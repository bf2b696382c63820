"""A sixth application in one file: texts get labels, from a small encoder with a two-sided loss."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from askew._config import load_config, to_dict
from askew._files import read_json, write_json
from askew.losses import asymmetric_bce_loss
from askew.tasks import Application, SettingOptions, Training, option
from askew.text import train_tokenizer
from askew.tradeoffs import (
    Arm,
    Budget,
    Evaluation,
    Metric,
    Range,
    Task,
    count_flops,
    count_parameters,
    train_loop,
)
from askew.transformer import StackConfig, TokenEncoder

ARMS = {"bce": {}, "two-sided": {"gamma_neg": 2.0}}
LENGTH = 12


@dataclass(frozen=True, kw_only=True)
class TopicOptions(SettingOptions):
    """What can be said of the data."""

    data: Path = option(..., "Lines of TEXT TAB LABEL,LABEL.")


@dataclass(frozen=True, kw_only=True)
class TopicComparison(TopicOptions):
    """What is compared."""

    challenger: str = option("two-sided", "two-sided or bce.")
    baseline: str = option("bce", "two-sided or bce.")


@dataclass(frozen=True, kw_only=True)
class TopicTraining(TopicOptions):
    """Which loss trains one model."""

    loss: str = option("two-sided", "two-sided or bce.")


@dataclass(frozen=True, kw_only=True)
class TopicConfig:
    d_model: int = 16
    num_layers: int = 1


@dataclass(frozen=True, kw_only=True)
class Numbers:
    lr: float = 5e-3
    batch_size: int = 8
    gamma_pos: float = 0.0
    gamma_neg: float = 0.0


class Classifier(nn.Module):
    """The mean of an encoder's states, and a logit for every label."""

    def __init__(self, config: TopicConfig, vocab: int, labels: int) -> None:
        super().__init__()
        d, self.config = config.d_model, config
        stack = StackConfig(d_model=d, num_layers=config.num_layers, num_heads=2, d_ff=2 * d)
        self.encoder, self.head = TokenEncoder(vocab, stack), nn.Linear(d, labels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [rows, length] to logits [rows, labels]."""
        seen = (tokens > 0)[..., None]
        return self.head((self.encoder(tokens, seen[..., 0]) * seen).sum(1) / seen.sum(1))


@dataclass(frozen=True, kw_only=True)
class TopicTask(Task[Classifier]):
    """Find the labels of a text."""

    name: str = "topics"
    source_name: str
    vocab: int
    training: Numbers
    splits: Mapping[str, tuple[Tensor, Tensor]]
    metrics: ClassVar = (Metric(name="f1", label="F1", equivalence=1.0, unit="points"),)
    speeds: ClassVar = {"throughput": "texts labelled", "latency_ms": "time per text"}

    def describe(self):
        sizes = {name: len(x) for name, (x, _) in self.splits.items()}
        return {"name": self.source_name, **sizes, "training": to_dict(self.training)}

    def build(self, config, seed):
        torch.manual_seed(seed)
        return Classifier(config, self.vocab, self.splits["train"][1].shape[1])

    def train(
        self, model, *, training, steps, seed, folder, progress, on_record=None, tensorboard=None
    ):
        numbers = load_config(Numbers, training, base=self.training, where="training")
        torch.manual_seed(seed)
        return train_loop(
            model,
            "the model",
            torch.optim.AdamW(model.parameters(), lr=numbers.lr),
            lambda logits, y: asymmetric_bce_loss(
                logits, y, gamma_pos=numbers.gamma_pos, gamma_neg=numbers.gamma_neg
            ),
            TensorDataset(*self.splits["train"]),
            TensorDataset(*self.splits["valid"]),
            batch_size=numbers.batch_size,
            device="cpu",
            steps=steps,
            seed=seed,
            progress=progress,
            on_record=on_record,
        )

    @torch.no_grad()
    def evaluate(self, model):
        """Score every text by the F1 of its labels."""
        x, y = self.splits["test"]
        guess, right = model.eval()(x) > 0, y > 0
        f1 = 200 * (guess & right).sum(1) / (guess.sum(1) + right.sum(1)).clamp(min=1)
        return Evaluation({"f1": f1.mean().item()}, {"f1": f1.tolist()})

    @torch.no_grad()
    def predict(self, model, *, items, batch_size):
        for batch in self.splits["test"][0][:items].split(batch_size):
            model.eval()(batch)

    def parameters(self, config):
        return count_parameters(self.build(config, 0))

    def flops_per_step(self, config):
        model, x = self.build(config, 0), self.splits["train"][0][: self.training.batch_size]
        return float(count_flops(lambda: model(x).sum().backward()))

    def search_space(self):
        return {"training.lr": Range(low=1e-3, high=1e-2, log=True)}

    def save(self, model, folder):
        folder.mkdir(exist_ok=True)
        save_model(model, str(folder / "model.safetensors"))
        write_json(folder / "config.json", {"version": 1, "model": to_dict(model.config)})

    def load(self, folder):
        model = self.build(load_config(TopicConfig, read_json(folder / "config.json")["model"]), 0)
        load_model(model, str(folder / "model.safetensors"))
        return model.eval()


def make_task(options: TopicOptions) -> TopicTask:
    """Read the data."""
    with options.data.open(encoding="utf-8", newline="") as file:
        texts, labels = zip(*csv.reader(file, delimiter="\t"), strict=True)
    tokenizer = train_tokenizer(texts, vocab_size=280)
    tokenizer.enable_padding(length=LENGTH)
    tokenizer.enable_truncation(LENGTH)
    x = torch.tensor([encoded.ids for encoded in tokenizer.encode_batch(texts)])
    names = sorted({name for row in labels for name in row.split(",")})
    y = torch.tensor([[float(name in row.split(",")) for name in names] for row in labels])
    splits = {name: (x[k::3], y[k::3]) for k, name in enumerate(("train", "valid", "test"))}
    numbers = load_config(Numbers, options.training_settings(), where="training")
    vocab = tokenizer.get_vocab_size()
    return TopicTask(source_name=options.data.name, vocab=vocab, training=numbers, splits=splits)


def make_arms(task: TopicTask, options: TopicComparison) -> tuple[list[Arm], dict[str, object]]:
    """Make two arms of one model that differ in their loss."""
    config = load_config(TopicConfig, options.model_settings())
    names = (options.challenger, options.baseline)
    return [Arm(name=n, config=config, training=ARMS[n]) for n in names], {"match": "nothing"}


def make_model(task: TopicTask, options: TopicTraining) -> tuple[TopicConfig, dict[str, float]]:
    """Make the one model."""
    return load_config(TopicConfig, options.model_settings()), ARMS[options.loss]


TOPICS = Application(
    name="topics",
    help="Labels of texts.",
    options=TopicComparison,
    make_task=make_task,
    make_arms=make_arms,
    budget=lambda options: Budget(steps=30),
    train=Training(options=TopicTraining, make_model=make_model, help="Train on texts."),
)
