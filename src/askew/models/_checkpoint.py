"""Open any saved model, and see where its heads look in a text."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from askew._check import require
from askew._files import in_short
from askew.inspection import AttentionPicture, QueryKeyMap, query_key_maps, record_attention
from askew.models._answerer import QuestionAnswerer
from askew.models._attention_map import greedy_attention, readable_tokens
from askew.models._folder import check_depth, load_qa_model, load_translation_model, read_values
from askew.models._qa import AsymmetricQAModel
from askew.models._translation import AsymmetricTranslationModel
from askew.models._translator import Translator

_LONGEST = 128
"""Tokens of a text that is drawn; a page of more could not be looked at."""

Sides = Callable[[QueryKeyMap], tuple[list[str], list[str]]]
"""Which tokens the rows and the columns of an attention are."""


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
    values = read_values(folder)
    kind = values.get("model_type")
    if kind == "askew-translation":
        return load_translation_model(folder).eval()
    if kind == "askew-qa":
        return load_qa_model(folder).eval()
    if (folder / "model.safetensors").is_file():  # else of several files, named by their index
        check_depth("load_checkpoint", folder, values)
    try:
        model, report = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        paths = tuple(f"{found.name}." for found in query_key_maps(model))
    except Exception as error:  # transformers raises what the values of the config lead to
        raise ValueError(
            "load_checkpoint: the folder must hold a model with attention that transformers knows, "
            f"with its weights as safetensors; got folder {folder}: {in_short(error)}"
        ) from error
    missing = sorted(name for name in report["missing_keys"] if name.startswith(paths))
    require(
        not missing,
        f"load_checkpoint: the file must hold every weight of attention; got {folder} without "
        f"{missing[:3]}",
    )
    return model.eval()


def read_attention(
    model: PreTrainedModel, folder: str | Path, text: str, *, question: str | None = None
) -> Reading:
    """Let a model read a text, and catch the weights of every head.

    A translation model of this library translates the text greedily; a question-answering one
    reads it as the context of a question. An encoder-decoder of transformers reads the text on
    both sides, the decoder one token behind.

    Args:
        model: What `load_checkpoint` gave.
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
    asks = isinstance(model, AsymmetricQAModel)
    require(
        asks == (question is not None),
        "read_attention: a question goes with a question-answering model of this library, and only "
        f"with one; got question {question!r}",
    )
    if isinstance(model, AsymmetricQAModel) and question is not None:
        seen, sides = _answered(model, Path(folder), text, question)
    elif isinstance(model, AsymmetricTranslationModel):
        seen, source, target = greedy_attention(Translator.from_pretrained(folder), text)
        _check_length(source, text)
        sides = _two_streams(source, target, ["<start>", *target[:-1]])
    else:
        seen, sides = _read(model, Path(folder), text)
    weights = {name: own[0].float().cpu() for name, own in seen.items()}
    return Reading(weights, list(_pictures(query_key_maps(model), weights, sides, text)))


@torch.inference_mode()
def _read(model: PreTrainedModel, folder: Path, text: str) -> tuple[dict[str, Tensor], Sides]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        told = " ".join(str(error).split())[:120]
        raise ValueError(
            f"read_attention: the folder must hold the model's tokenizer; got {folder}: {told}"
        ) from None
    ids = tokenizer.encode(text)
    words = [str(word) for word in tokenizer.convert_ids_to_tokens(ids)]
    _check_length(words, text)
    tokens = torch.tensor([ids])
    model.set_attn_implementation("eager")
    given = {"input_ids": tokens}
    behind = words
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        start = model.config.pad_token_id if start is None else start
        given["decoder_input_ids"] = torch.cat([tokens.new_tensor([[start]]), tokens[:, :-1]], 1)
        behind = [str(tokenizer.convert_ids_to_tokens(start)), *words[:-1]]
    with record_attention(model) as seen:
        model(**given)
    return seen, _two_streams(words, behind, behind)


@torch.inference_mode()
def _answered(
    model: AsymmetricQAModel, folder: Path, text: str, question: str
) -> tuple[dict[str, Tensor], Sides]:
    for own in model.modules():
        if isinstance(own, PreTrainedModel) and own is not model:
            own.set_attn_implementation("eager")
    answerer = QuestionAnswerer.from_pretrained(folder)
    inputs, words = [], []
    for tokenizer, own in (
        (answerer.question_tokenizer, question),
        (answerer.context_tokenizer, text),
    ):
        ids = tokenizer.wrap(tokenizer.encode(own).ids)
        inputs.append(torch.tensor([ids]))
        words.append(readable_tokens(ids, tokenizer.tokenizer))
        _check_length(words[-1], own)
    with record_attention(model) as seen:
        model.read(model.encode_questions(inputs[0]), model.encode_contexts(inputs[1]))
    asked, told = words

    def sides(found: QueryKeyMap) -> tuple[list[str], list[str]]:
        if found.name.endswith("question_attention"):
            return asked, told
        if found.name.endswith("context_attention"):
            return told, asked
        return (asked, asked) if found.name.startswith("question") else (told, told)

    return seen, sides


def _two_streams(source: list[str], target: list[str], read: list[str]) -> Sides:
    """Tokens of an encoder, and of a decoder if there is one; `read` are those it looks back at."""

    def sides(found: QueryKeyMap) -> tuple[list[str], list[str]]:
        if found.kind == "cross":
            return target, source
        return (target, read) if "decoder" in found.stack.split(".") else (source, source)

    return sides


def _check_length(words: list[str], text: str) -> None:
    require(
        0 < len(words) <= _LONGEST,
        f"read_attention: a text must have 1 to {_LONGEST} tokens; got {len(words)} in "
        f"{text[:40]!r}",
    )


def _pictures(
    maps: list[QueryKeyMap], weights: dict[str, Tensor], sides: Sides, text: str
) -> Iterator[AttentionPicture]:
    """One picture for the layers of a stack that look the same way."""
    groups: dict[str, list[QueryKeyMap]] = {}
    for found in maps:
        if found.name in weights:
            own = found.name[len(found.stack) :].lstrip(".").partition(".")[2]
            groups.setdefault(f"{found.stack} {own}".strip(), []).append(found)
    for name, members in groups.items():
        rows, columns = sides(members[0])
        joined = torch.stack([weights[found.name] for found in members])
        yield AttentionPicture(f"{text[:60]} · {name or 'attention'}", rows, columns, joined)
