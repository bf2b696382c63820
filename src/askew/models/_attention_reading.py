"""Run a model on a text and record its attention, for each kind of model."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from askew._check import require
from askew._files import in_short
from askew._translator import Translator
from askew.inspection import QueryKeyMap, record_attention
from askew.models._answerer import QuestionAnswerer
from askew.models._attention_map import greedy_attention, readable_tokens
from askew.models._label_model import AsymmetricLabelModel
from askew.models._labeller import TextLabeller
from askew.models._qa import AsymmetricQAModel
from askew.models._transformers_models import read_tokenizer
from askew.models._transformers_versions import ask_for_weights

_LONGEST = 128
"""Tokens of a text that is drawn; a page of more could not be looked at."""

RowsAndColumns = Callable[[QueryKeyMap], tuple[list[str], list[str]]]
"""From an attention to the tokens of its queries and of its keys."""


class AttentionReading(NamedTuple):
    """The recorded weights by the path of each attention, [1, heads, queries, keys]."""

    weights: dict[str, Tensor]
    tokens_of: RowsAndColumns


def read_translation(model: PreTrainedModel, folder: Path, text: str) -> AttentionReading:
    """Translate the text greedily."""
    weights, source, target = greedy_attention(Translator.from_pretrained(folder), text)
    _check_length(source, text)
    return AttentionReading(weights, _two_streams(source, target, ["<start>", *target[:-1]]))


@torch.inference_mode()
def read_question(
    model: AsymmetricQAModel, folder: Path, text: str, question: str
) -> AttentionReading:
    """Read the text as the context of a question."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module is not model:
            ask_for_weights(module)
    answerer = QuestionAnswerer.from_pretrained(folder)
    inputs, words = [], []
    for tokenizer, string in (
        (answerer.question_tokenizer, question),
        (answerer.context_tokenizer, text),
    ):
        ids = tokenizer.wrap(tokenizer.encode(string).ids)
        inputs.append(torch.tensor([ids]))
        words.append(readable_tokens(ids, tokenizer.tokenizer))
        _check_length(words[-1], string)
    with record_attention(model) as weights:
        model.read(model.encode_questions(inputs[0]), model.encode_contexts(inputs[1]))
    of_question, of_context = words

    def tokens_of(attention: QueryKeyMap) -> tuple[list[str], list[str]]:
        if attention.name.endswith("question_attention"):
            return of_question, of_context
        if attention.name.endswith("context_attention"):
            return of_context, of_question
        one = of_question if attention.name.startswith("question") else of_context
        return one, one

    return AttentionReading(weights, tokens_of)


@torch.inference_mode()
def read_labelled_text(model: AsymmetricLabelModel, folder: Path, text: str) -> AttentionReading:
    """Read the text to be labelled."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module is not model:
            ask_for_weights(module)
    tokenizer = TextLabeller.from_pretrained(folder).tokenizer
    ids = tokenizer.wrap(tokenizer.encode(text).ids)
    words = readable_tokens(ids, tokenizer.tokenizer)
    _check_length(words, text)
    with record_attention(model) as weights:
        model(torch.tensor([ids]))
    return AttentionReading(weights, lambda attention: (words, words))


@torch.inference_mode()
def read_pretrained(model: PreTrainedModel, folder: Path, text: str) -> AttentionReading:
    """Read the text with a model of transformers, on both sides where it has two."""
    try:
        tokenizer = read_tokenizer(folder)
        ids = tokenizer.encode(text)
        words = [str(word) for word in tokenizer.convert_ids_to_tokens(ids)]
    except Exception as error:  # transformers raises what the files lead to
        raise ValueError(
            "read_attention: the folder must hold the model's tokenizer; "
            f"got {folder}: {in_short(error)}"
        ) from None
    _check_length(words, text)
    tokens = torch.tensor([ids])
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            ask_for_weights(module)
    inputs = {"input_ids": tokens}
    shifted = words
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        start = model.config.pad_token_id if start is None else start
        inputs["decoder_input_ids"] = torch.cat([tokens.new_tensor([[start]]), tokens[:, :-1]], 1)
        shifted = [str(tokenizer.convert_ids_to_tokens(start)), *words[:-1]]
    with record_attention(model) as weights:
        model(**inputs)
    return AttentionReading(weights, _two_streams(words, shifted, shifted))


def _two_streams(source: list[str], target: list[str], read: list[str]) -> RowsAndColumns:
    """Name the tokens of an encoder and of a decoder, whose self-attention looks at `read`."""

    def tokens_of(attention: QueryKeyMap) -> tuple[list[str], list[str]]:
        if attention.kind == "cross":
            return target, source
        in_decoder = "decoder" in attention.stack.split(".")
        return (target, read) if in_decoder else (source, source)

    return tokens_of


def _check_length(words: list[str], text: str) -> None:
    require(
        0 < len(words) <= _LONGEST,
        f"read_attention: a text must have 1 to {_LONGEST} tokens; got {len(words)} in "
        f"{text[:40]!r}",
    )
