"""Where the decoder looked while it wrote: weights of every layer and head, and a page."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor

from askew._check import require
from askew.models._decoding import DecodingConfig
from askew.models._torch_engine import TorchEngine
from askew.models._translator import Translator
from askew.text import END, START


class AttentionMap(NamedTuple):
    """A sentence, its translation, and the weights of cross-attention between them.

    `weights[layer, head, i, j]` is how much target token i looked at source token j when it
    was written; each row sums to 1. Both sides end with the end of the sentence.
    """

    source_tokens: list[str]
    target_tokens: list[str]
    weights: Float[Tensor, "layers heads target source"]

    def alignment(self) -> list[int]:
        """Give for every target token the source token that the mean over heads prefers."""
        return self.weights.mean((0, 1)).argmax(-1).tolist()


@torch.inference_mode()
def attention_map(translator: Translator, text: str) -> AttentionMap:
    """Translate a sentence greedily and look where the decoder looked.

    Args:
        translator: A translator with the PyTorch engine.
        text: A sentence that is not blank.

    Returns:
        Tokens and weights.

    Raises:
        ValueError: If the engine is another, or the text is blank or too long.
    """
    engine = translator.engine
    if not isinstance(engine, TorchEngine):
        raise ValueError("attention_map: the engine must be torch; got another")
    pieces = translator.pieces(text)
    require(
        len(pieces) == 1,
        f"attention_map: the text must be one piece; got {len(pieces)} pieces",
    )
    read, originals = translator.read(text)
    words = translator.tokenizer.encode(read).ids
    ((found,),) = engine.decode([words], [2 * len(words) + 16], DecodingConfig())
    source, target = [*words, END], [*found.tokens, END]
    core = engine.model.model
    device = engine.model.device
    seen: list[Tensor] = []
    hooks = [
        layer.cross_attention.register_forward_pre_hook(_asking_for_weights, with_kwargs=True)
        for layer in core.decoder.layers
    ]
    hooks += [
        layer.cross_attention.register_forward_hook(lambda _, __, out: seen.append(out.weights[0]))
        for layer in core.decoder.layers
    ]
    try:
        core(
            torch.tensor([source], device=device),
            torch.tensor([[START, *target[:-1]]], device=device),
        )
    finally:
        for hook in hooks:
            hook.remove()
    return AttentionMap(
        [translator.written(token, originals) for token in _readable(source, translator.tokenizer)],
        [
            translator.written(token, originals)
            for token in _readable(target, translator.target_tokenizer)
        ],
        torch.stack(seen).float().cpu(),
    )


def write_attention_page(maps: Sequence[AttentionMap], path: str | Path) -> None:
    """Draw maps on one page of HTML that needs no network.

    Args:
        maps: What `attention_map` gave, at least one.
        path: The file.

    Raises:
        ValueError: If there are no maps.
    """
    require(len(maps) > 0, "write_attention_page: there must be a map; got none")
    data = [
        {
            "source": one.source_tokens,
            "target": one.target_tokens,
            "weights": [
                [[[round(w, 4) for w in row] for row in head] for head in layer]
                for layer in one.weights.tolist()
            ],
            "alignment": one.alignment(),
        }
        for one in maps
    ]
    page = files("askew.models").joinpath("attention.html").read_text(encoding="utf-8")
    # "<" in a token must not end the script that holds it.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    Path(path).write_text(page.replace("/*maps*/[]", text), encoding="utf-8")


def _asking_for_weights(_: object, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    return args, {**kwargs, "return_weights": True}


def _readable(tokens: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """Each token as text; bytes that are no character by themselves stay as they are stored."""
    words = []
    for token in tokens:
        text = tokenizer.decode([token])
        stored = tokenizer.id_to_token(token) or ""
        words.append(text if text and "\ufffd" not in text else stored)
    return words
