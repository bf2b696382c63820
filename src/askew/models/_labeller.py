"""Texts labelled by a model with its tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer

from askew._check import refuse_string
from askew.models._folder import load_label_model
from askew.models._label_model import AsymmetricLabelModel
from askew.text import SpanTokenizer, load_any_tokenizer, pad_batch


class Labelled(NamedTuple):
    """The labels of a text.

    Args:
        labels: Those that hold, the most probable first.
        probabilities: Of every label of the model, by name.

    Example:
        >>> Labelled(labels=["cats"], probabilities={"cats": 0.9, "dogs": 0.2}).labels
        ['cats']
    """

    labels: list[str]
    probabilities: dict[str, float]


class TextLabeller:
    """Finds the labels of texts.

    Args:
        model: The model, whose config holds labels and thresholds.
        tokenizer: Its tokenizer.

    Example:
        >>> from askew.models import AsymmetricLabelConfig
        >>> from askew.text import train_tokenizer
        >>> model = AsymmetricLabelModel(AsymmetricLabelConfig(vocab_size=300))
        >>> labeller = TextLabeller(model, train_tokenizer(["Cats sleep."], vocab_size=300))
        >>> sorted(labeller.label(["Cats sleep."])[0].probabilities)
        ['LABEL_0', 'LABEL_1']
    """

    def __init__(self, model: AsymmetricLabelModel, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = SpanTokenizer(tokenizer)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "TextLabeller":
        """Read a folder that training wrote.

        Args:
            folder: The folder.

        Returns:
            The labeller.

        Raises:
            ValueError: If the folder is missing, damaged, or of another kind of model.
        """
        model = load_label_model(folder).eval()
        return cls(model, load_any_tokenizer(Path(folder) / "tokenizer.json"))

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        """Cut texts into tokens, with the special tokens of the encoder.

        Args:
            texts: The texts.

        Returns:
            The tokens of each, at most `max_tokens` of the config, and how many were longer.
        """
        refuse_string("TextLabeller.encode", "texts", texts)
        room = self.model.config.max_tokens - self.tokenizer.num_special
        encoded = self.tokenizer.encode_all(list(texts))
        longer = sum(len(tokens.ids) > room for tokens in encoded)
        return [self.tokenizer.wrap(tokens.ids[:room]) for tokens in encoded], longer

    @torch.inference_mode()
    def logits(self, texts: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """Compute the logit of every text and label.

        Args:
            texts: The texts.
            batch_size: Texts that are read together; those of similar length are.

        Returns:
            The logits, float32 [texts, labels].
        """
        model = self.model.eval()
        rows, _ = self.encode(texts)
        found = np.zeros((len(rows), len(model.config.labels)), dtype=np.float32)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            tokens, mask = pad_batch([rows[row] for row in batch])
            output = model(tokens.to(model.device), mask.to(model.device), return_dict=True)
            found[batch] = output.logits.float().cpu().numpy()
        return found

    def label(self, texts: Sequence[str], *, batch_size: int = 64) -> list[Labelled]:
        """Find the labels of texts.

        Args:
            texts: The texts.
            batch_size: Texts that are read together.

        Returns:
            The labels of each: those whose logit reaches the threshold of the label, or the one
            with the largest logit where exactly one holds.
        """
        if not texts:
            return []
        config = self.model.config
        logits = self.logits(texts, batch_size=batch_size)
        tensor = torch.from_numpy(logits).double()
        probabilities = (tensor.softmax(1) if config.is_exclusive else tensor.sigmoid()).numpy()
        labelled = []
        for row, holds in zip(probabilities, self.holding(logits), strict=True):
            names = dict(zip(config.labels, map(float, row), strict=True))
            chosen = [name for name, held in zip(names, holds, strict=True) if held]
            labelled.append(Labelled(sorted(chosen, key=lambda n: -names[n]), names))
        return labelled

    def holding(self, logits: np.ndarray) -> np.ndarray:
        """Say which labels hold.

        Args:
            logits: Shape (texts, labels).

        Returns:
            True where a label holds, of the same shape.
        """
        config = self.model.config
        if config.is_exclusive:
            return np.arange(logits.shape[1]) == logits.argmax(1)[:, None]
        return logits >= np.array(config.thresholds or [0.0] * logits.shape[1])
