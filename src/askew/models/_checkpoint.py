"""Open any saved model, and see where its heads look in a text."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from askew._check import require
from askew.inspection import AttentionPicture, QueryKeyMap, query_key_maps
from askew.models._attention_reading import RowsAndColumns
from askew.models._kinds import kind_of_type, model_kind


class Reading(NamedTuple):
    """What the heads of a model did with a text.

    Args:
        weights: Of every attention by its path, [heads, queries, keys].
        pictures: The same for `write_inspection_page`, layers joined.

    Example:
        >>> Reading({}, []).pictures
        []
    """

    weights: dict[str, Float[Tensor, "heads queries keys"]]
    pictures: list[AttentionPicture]


def load_checkpoint(folder: str | Path) -> PreTrainedModel:
    """Load a model of this library, or one of transformers without its head.

    Args:
        folder: With config.json and the weights as safetensors. No code of the folder is run,
            nothing is unpickled and nothing fetched.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        ValueError: If the folder holds no such model, or weights of its attention are missing.

    Example:
        >>> load_checkpoint("/nowhere")
        Traceback (most recent call last):
        ValueError: load_checkpoint: the folder must hold a config.json; got folder /nowhere
    """
    folder = Path(folder)
    require(
        (folder / "config.json").is_file(),
        f"load_checkpoint: the folder must hold a config.json; got folder {folder}",
    )
    return model_kind(folder).load(folder).eval()


def read_attention(
    model: PreTrainedModel, folder: str | Path, text: str, *, question: str | None = None
) -> Reading:
    """Let a model read a text, and record the weights of every head.

    A translation model of this library translates the text greedily; a question-answering one
    reads it as the context of a question. An encoder-decoder of transformers reads the text on
    both sides, shifted by a start token in the decoder.

    Args:
        model: What `load_checkpoint` returned.
        folder: Its folder, which holds the tokenizer.
        text: At most 128 tokens.
        question: For a question-answering model of this library, and only there.

    Returns:
        The weights, and pictures of them.

    Raises:
        ValueError: If there is no tokenizer, the text is empty or too long, or a question is
            missing or not wanted.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1))
        >>> read_attention(model, "/nowhere", "Hello")
        Traceback (most recent call last):
        ValueError: read_attention: the folder must hold the model's tokenizer; got /nowhere...
    """
    kind = kind_of_type(model.config.model_type)
    require(
        kind.has_question == (question is not None),
        "read_attention: a question goes with a question-answering model of this library, and only "
        f"with one; got question {question!r}",
    )
    texts = (text,) if question is None else (text, question)
    recorded, tokens_of = kind.read_attention(model, Path(folder), *texts)
    weights = {name: batch[0].float().cpu() for name, batch in recorded.items()}
    return Reading(weights, list(_pictures(query_key_maps(model), weights, tokens_of, text)))


def _pictures(
    maps: list[QueryKeyMap], weights: dict[str, Tensor], tokens_of: RowsAndColumns, text: str
) -> Iterator[AttentionPicture]:
    """One picture for the layers of a stack that look the same way."""
    groups: dict[str, list[QueryKeyMap]] = {}
    for attention in maps:
        if attention.name in weights:
            inner = attention.name[len(attention.stack) :].lstrip(".").partition(".")[2]
            groups.setdefault(f"{attention.stack} {inner}".strip(), []).append(attention)
    for name, members in groups.items():
        rows, columns = tokens_of(members[0])
        joined = torch.stack([weights[attention.name] for attention in members])
        yield AttentionPicture(f"{text[:60]} · {name or 'attention'}", rows, columns, joined)
