"""Extractive question-answering models of transformers, which read pairs of texts."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor
from transformers import MODEL_FOR_QUESTION_ANSWERING_MAPPING, PreTrainedModel

from askew._check import require
from askew._files import in_short
from askew.models._adapter_files import refuse_adapter
from askew.models._config_values import check_depth, read_checked_config
from askew.models._devices import input_device
from askew.models._transformers_models import fill_model, make_config, read_weights
from askew.text import load_any_tokenizer, pad_batch

_LONGEST, _OVERLAP, _QUESTION = 384, 128, 64
"""Tokens of a window with its question, those that two windows share, and those of a question."""
_BATCH = 16


class PairScores(NamedTuple):
    """Scores of all starts and ends of an answer in one context, relative to "no answer".

    Args:
        places: [2, tokens]: the first character of each token, and the position after its last.
        scores: [2, tokens]: of an answer that starts, and that ends, with it; 0 is the score of
            "no answer".

    Example:
        >>> PairScores(torch.zeros(2, 0), torch.zeros(2, 0)).scores.shape
        torch.Size([2, 0])
    """

    places: Tensor
    scores: Tensor


class SpanTeacher:
    """A model of transformers that marks the answer in a context which it reads with the question.

    Long contexts are read in windows. Scores of a window are relative to its first token, which
    stands for "no answer"; a token in several windows has its highest.

    Args:
        model: Of a class of `AutoModelForQuestionAnswering`, with one score of start and one of
            end for each token.
        tokenizer: Its tokenizer, which puts a pair of texts in a row.

    Raises:
        ValueError: If the model does not know all tokens, or does not score starts and ends.

    Example:
        >>> from tokenizers.processors import BertProcessing
        >>> from transformers import BertConfig, BertForQuestionAnswering
        >>> from askew.text import train_tokenizer
        >>> small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
        >>> config = BertConfig(vocab_size=300, intermediate_size=8, **small)
        >>> tokenizer = train_tokenizer(["Cats sleep."], vocab_size=300)
        >>> tokenizer.post_processor = BertProcessing(("</s>", 2), ("<s>", 1))
        >>> teacher = SpanTeacher(BertForQuestionAnswering(config), tokenizer)
        >>> teacher.read(["Who sleeps?"], ["Cats sleep."])[0].places[0, 0].item()
        0
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
        self.model: Any = model.eval()
        self.tokenizer = tokenizer
        tokenizer.no_padding()
        config: Any = model.config
        most = getattr(config, "max_position_embeddings", _LONGEST + 2)
        self.longest = min(_LONGEST, most - 2)  # RoBERTa and its kin number positions from 2
        self._takes_kinds = "token_type_ids" in inspect.signature(model.forward).parameters
        self._padding = getattr(config, "pad_token_id", None) or 0
        self._check()

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "SpanTeacher":
        """Read a folder of transformers; nothing in it is run or unpickled.

        Args:
            folder: With config.json, model.safetensors and tokenizer.json.

        Returns:
            The teacher, on the CPU.

        Raises:
            ValueError: If the folder holds no extractive question-answering model.
        """
        folder = Path(folder)
        caller = "SpanTeacher.from_pretrained"
        refuse_adapter(caller, folder)
        values = read_checked_config(caller, folder)
        tensors = read_weights(caller, folder)
        check_depth(caller, folder, values, len(tensors))
        tokenizer = load_any_tokenizer(folder / "tokenizer.json")
        try:
            config = make_config(values)
            model_class: Any = MODEL_FOR_QUESTION_ANSWERING_MAPPING[type(config)]
            model, report = fill_model(model_class, config, tensors)
            absent = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
            require(not absent, f"no {', '.join(absent[:3])}")
            return cls(model, tokenizer)
        except Exception as error:  # transformers raises what the values of the config lead to
            raise ValueError(
                f"{caller}: the teacher must be an extractive question-answering model of "
                f"transformers; got folder {folder}: {in_short(error, 160)}"
            ) from None

    @torch.inference_mode()
    def read(self, questions: Sequence[str], contexts: Sequence[str]) -> list[PairScores]:
        """Score the starts and ends of answers.

        Args:
            questions: Questions; of one with more than 64 tokens, the first 64 are read.
            contexts: As many contexts.

        Returns:
            The scores for each, in the order of the characters.
        """
        encodings = self._encode(list(questions), list(contexts))
        rows = [
            (number, window)
            for number, encoding in enumerate(encodings)
            for window in (encoding, *encoding.overflowing)
        ]
        rows.sort(key=lambda row: len(row[1].ids))
        found: list[dict[int, tuple[int, int, float, float]]] = [{} for _ in encodings]
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            both = self._logits([window for _, window in batch])
            for (number, window), scores in zip(batch, both, strict=True):
                _gather(found[number], window, scores[:, : len(window.ids)].numpy())
        return [_in_order(one) for one in found]

    def _encode(self, questions: list[str], contexts: list[str]) -> list[Encoding]:
        self.tokenizer.no_truncation()
        most = min(_QUESTION, self.longest // 4)
        cut = [
            text if len(tokens.ids) <= most else text[: tokens.offsets[most - 1][1]]
            for text, tokens in zip(
                questions,
                self.tokenizer.encode_batch(questions, add_special_tokens=False),
                strict=True,
            )
        ]
        self.tokenizer.enable_truncation(
            self.longest, stride=min(_OVERLAP, self.longest // 3), strategy="only_second"
        )
        return self.tokenizer.encode_batch(list(zip(cut, contexts, strict=True)))

    def _logits(self, windows: list[Encoding]) -> Tensor:
        """Return scores of starts and ends, [windows, 2, length], relative to the first token."""
        device = input_device(self.model)
        tokens, mask = pad_batch([window.ids for window in windows], value=self._padding)
        inputs = {"input_ids": tokens.to(device), "attention_mask": mask.to(device)}
        if self._takes_kinds:
            kinds, _ = pad_batch([window.type_ids for window in windows], value=0)
            inputs["token_type_ids"] = kinds.to(device)
        output = self.model(**inputs)
        both = torch.stack([output.start_logits, output.end_logits], 1).float().cpu()
        return both - both[:, :, :1]

    def _check(self) -> None:
        known = self.model.get_input_embeddings().num_embeddings
        largest = max(self.tokenizer.get_vocab().values(), default=0)
        require(
            largest < known,
            f"SpanTeacher: the model must know every token of its tokenizer; got token {largest} "
            f"of {known}. Take config.json and tokenizer.json of one model",
        )
        pair = self.tokenizer.encode("a", "a")
        with torch.inference_mode():
            shape = self._logits([pair]).shape
        require(
            shape == (1, 2, len(pair.ids)) and pair.sequence_ids[0] is None,
            "SpanTeacher: the model must score start and end at each token, the first of which is "
            f"special; got scores {tuple(shape)} of {len(pair.ids)} tokens",
        )


def _gather(
    found: dict[int, tuple[int, int, float, float]], window: Encoding, scores: np.ndarray
) -> None:
    """Add the tokens of the context in one window, by their first character."""
    for place, of in enumerate(window.sequence_ids):
        first, end = window.offsets[place]
        if of == 1 and end > first:
            start_score, end_score = map(float, scores[:, place])
            before = found.get(first, (first, end, start_score, end_score))
            found[first] = (
                first,
                max(end, before[1]),
                max(start_score, before[2]),
                max(end_score, before[3]),
            )


def _in_order(found: dict[int, tuple[int, int, float, float]]) -> PairScores:
    rows = [found[first] for first in sorted(found)]
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 4).T
    return PairScores(table[:2].long(), table[2:].float())
