"""How a model that labels texts is trained: numbers, examples and objective."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset
from transformers.modeling_outputs import SequenceClassifierOutput

from askew._check import require
from askew.models import PretrainedEncoder
from askew.optim import AsymmetricScheduler
from askew.tasks._tabular_losses import Loss
from askew.tasks._text_losses import TextLossConfig, loss_state, restore_loss
from askew.text import pad_batch
from askew.training import (
    LayeredPartConfig,
    PartConfig,
    RunConfig,
    parts_optimizer,
    parts_scheduler,
)

_Part = tuple[str, list[nn.Module], PartConfig]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextLabelTrainingConfig(RunConfig):
    """How a model that labels texts is trained.

    Attributes:
        batch_tokens: Budget of a batch in tokens: texts times the length of the longest.
        encoder: Settings of the encoder alone.
        head: Settings of the linear layer alone.
        loss: The loss.
        thresholds: Whether "one" threshold for all labels is tuned on the validation texts, or one
            for each "label".
        remove_positives: Share of the labels of the training texts that are removed, in [0, 1).
            They are the same for every arm; validation and test texts keep theirs. All other
            settings are those of `RunConfig`.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> TextLabelTrainingConfig(steps=100, head=PartConfig(lr=1e-2)).thresholds
        'one'
    """

    batch_tokens: int = 1024
    lr: float = 1e-3
    encoder: LayeredPartConfig = field(default_factory=LayeredPartConfig)
    head: PartConfig = field(default_factory=PartConfig)
    loss: TextLossConfig = field(default_factory=TextLossConfig)
    thresholds: Literal["one", "label"] = "one"
    remove_positives: float = 0.0

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        require(
            self.thresholds in ("one", "label"),
            "TextLabelTrainingConfig: thresholds must be one or label; "
            f"got thresholds {self.thresholds!r}",
        )
        require(
            0 <= self.remove_positives < 1,
            "TextLabelTrainingConfig: remove_positives must be in [0, 1); "
            f"got remove_positives {self.remove_positives}",
        )


class LabelExample(NamedTuple):
    """The tokens of a text, and 0 or 1 for every label."""

    tokens: list[int]
    targets: Tensor


class LabelExamples(Dataset):
    """Texts as token numbers, with their labels.

    Args:
        tokens: Of every text.
        targets: 0 or 1, [texts, labels].
    """

    def __init__(self, tokens: Sequence[list[int]], targets: Tensor) -> None:
        self.tokens, self.targets = tokens, targets

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> LabelExample:
        row = index % len(self)
        return LabelExample(self.tokens[row], self.targets[row])

    @property
    def lengths(self) -> list[tuple[int, int]]:
        """Tokens of every text; the second length is 1, so that they alone fill a batch."""
        return [(max(1, len(tokens)), 1) for tokens in self.tokens]

    def lengths_in(self, epoch: int) -> list[tuple[int, int]]:
        """Return the same in every epoch."""
        return self.lengths


class LabelObjective:
    """Predicts the labels of texts, by any loss of them.

    Args:
        config: The settings of the run.
        loss: From logits and targets, both [texts, labels], to the mean loss of a batch.
        exclusive: Whether exactly one label holds of every text.
    """

    def __init__(self, config: TextLabelTrainingConfig, loss: Loss, *, exclusive: bool) -> None:
        self.config, self.exclusive = config, exclusive
        self._loss = loss

    def collate(self, rows: Sequence[LabelExample]) -> dict[str, Any]:
        """Make a batch: tokens, their mask and the labels."""
        tokens, mask = pad_batch([row.tokens for row in rows])
        labels = torch.stack([row.targets for row in rows])
        return {"input_ids": tokens, "attention_mask": mask, "labels": labels}

    def counted(self, labels: Tensor) -> Tensor:
        """Count texts."""
        return torch.zeros(len(labels), dtype=torch.long)

    def loss(
        self,
        outputs: SequenceClassifierOutput,
        labels: Tensor,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Compute the mean over the texts of the step, as the share of this batch."""
        mean = self._loss(_logits(outputs), labels)
        return mean if num_items_in_batch is None else mean * (len(labels) / num_items_in_batch)

    def score(self, outputs: SequenceClassifierOutput, labels: Tensor) -> tuple[float, int]:
        """Sum the plain cross-entropy over texts, whatever the loss of the training."""
        logits = _logits(outputs)
        if self.exclusive:
            total = F.cross_entropy(logits, labels.argmax(1), reduction="sum")
        else:
            total = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        return total.item(), len(labels)

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Make the optimizer of the parts "encoder" and "head"; freeze the frozen layers.

        With a decay of the rate by layer each layer is a part, "encoder.0" the lowest one, and what
        lies below is "encoder.below". The state of a loss that changes in training is stored with
        that of the optimizer.

        Raises:
            ValueError: If layers are to be frozen in an encoder that is not of transformers.
        """
        encoder: Any = model.encoder
        if self.config.encoder.frozen_layers:
            require(
                isinstance(encoder, PretrainedEncoder),
                "LabelObjective: only an encoder of transformers can be frozen; got "
                f"encoder.frozen_layers {self.config.encoder.frozen_layers}. Leave it out",
            )
            encoder.freeze(self.config.encoder.frozen_layers)
        parts: dict[str, tuple[list[nn.Module] | None, PartConfig]] = {}
        for name, modules, settings in self._encoder_parts(encoder):
            if trained := [module for module in modules if _trains(module)]:
                parts[name] = trained, settings
        optimizer = parts_optimizer(model, self.config, {**parts, "head": (None, self.config.head)})
        optimizer.register_state_dict_post_hook(self._add_loss)
        optimizer.register_load_state_dict_pre_hook(self._restore_loss)
        return optimizer

    def scheduler(self, optimizer: Optimizer) -> AsymmetricScheduler:
        """Make the schedule of each part that is trained."""
        parts = {"head": self.config.head}
        for group in optimizer.param_groups:
            if group["part"].startswith("encoder"):
                pieces = group["part"].split(".")
                names = (".".join(pieces[:count]) for count in range(1, len(pieces) + 1))
                parts |= dict.fromkeys(names, self.config.encoder)
        return parts_scheduler(optimizer, self.config, parts)

    def _encoder_parts(self, encoder: nn.Module) -> Iterator[_Part]:
        config = self.config.encoder
        rate, decay = self.config.lr if config.lr is None else config.lr, config.layer_decay
        if decay == 1:
            yield "encoder", [encoder], config
            return
        below, layers, above = encoder_layers(encoder)
        depth = len(layers)
        yield "encoder.below", below, replace(config, lr=rate * decay**depth)
        for number, layer in enumerate(layers):
            own = replace(config, lr=rate * decay ** (depth - 1 - number))
            yield f"encoder.{number}", [layer], own
        yield "encoder", above, config

    def _add_loss(self, optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        kept = loss_state(self._loss)
        return state if kept is None else state | {"loss": kept}

    def _restore_loss(self, optimizer: Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
        rest = dict(state)
        if kept := rest.pop("loss", None):
            restore_loss(self._loss, kept)
        return rest


def _logits(outputs: SequenceClassifierOutput) -> Tensor:
    # pyrefly: ignore[missing-attribute]  our models always compute logits
    return outputs.logits.float()


def _trains(module: nn.Module) -> bool:
    return any(weight.requires_grad for weight in module.parameters())


def encoder_layers(
    encoder: nn.Module,
) -> tuple[list[nn.Module], nn.ModuleList, list[nn.Module]]:
    """Return the modules before the layers of an encoder, the layers, and those after them."""
    stacks = [(name, m) for name, m in encoder.named_modules() if isinstance(m, nn.ModuleList)]
    name, layers = max(stacks, key=lambda pair: len(pair[1]))
    below, above, whole = [], [], encoder
    for key in name.split("."):
        children = list(whole.named_children())
        place = [own for own, _ in children].index(key)
        below += [child for _, child in children[:place]]
        above += [child for _, child in children[place + 1 :]]
        whole = children[place][1]
    return below, layers, above
