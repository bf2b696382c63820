"""The cross-attention of a translation, of every layer and head, and a page that shows it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor

from askew._check import require
from askew._decoding import DecodingConfig
from askew._translator import Translator
from askew.inspection import AttentionPicture, record_attention, write_picture_page
from askew.models._devices import input_device
from askew.models._torch_engine import TorchEngine
from askew.text import END, START


class AttentionMap(NamedTuple):
    """A sentence, its translation, and the weights of cross-attention between them.

    `weights[layer, head, i, j]` is how much target token i looked at source token j when it
    was written; each row sums to 1. Both sides end with the end of the sentence.

    Example:
        >>> seen = AttentionMap(["a", "b"], ["A", "B"], torch.eye(2)[None, None])
        >>> seen.alignment()
        [0, 1]
    """

    source_tokens: list[str]
    target_tokens: list[str]
    weights: Float[Tensor, "layers heads target source"]

    def alignment(self) -> list[int]:
        """Return for each target token the source position of the highest mean weight."""
        return self.weights.mean((0, 1)).argmax(-1).tolist()


def attention_map(translator: Translator, text: str) -> AttentionMap:
    """Translate a sentence greedily and record the cross-attention of the decoder.

    Args:
        translator: A translator with the PyTorch engine.
        text: A sentence that is not blank.

    Returns:
        Tokens and weights.

    Raises:
        ValueError: If the engine is another, or the text is blank or too long.

    Example:
        >>> from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
        >>> from askew.text import train_tokenizer
        >>> from askew.transformer import EncoderDecoderConfig, StackConfig
        >>> side = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
        >>> vocab = {"source_vocab": 280, "target_vocab": 280}
        >>> plain = EncoderDecoderConfig(encoder=side, decoder=side, **vocab)
        >>> model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))
        >>> tokenizer = train_tokenizer(["one cat", "two cats"], vocab_size=280)
        >>> seen = attention_map(Translator(model, tokenizer), "one cat")
        >>> seen.weights.shape[:2], "".join(seen.source_tokens[:-1])
        (torch.Size([1, 2]), 'one cat')
    """
    recorded, source, target = greedy_attention(translator, text)
    layers = [weights[0] for name, weights in recorded.items() if name.endswith("cross_attention")]
    return AttentionMap(source, target, torch.stack(layers).float().cpu())


@torch.inference_mode()
def greedy_attention(
    translator: Translator, text: str
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Translate greedily; return the weights of every attention, and both sides' tokens as text."""
    engine = translator.engine
    if not isinstance(engine, TorchEngine):
        raise ValueError("attention_map: the engine must be torch; got another")
    pieces = translator.split_text(text)
    require(
        len(pieces) == 1,
        f"attention_map: the text must be one piece; got {len(pieces)} pieces",
    )
    masked, originals = translator.protect(text)
    ids = translator.tokenizer.encode(masked).ids
    ((best,),) = engine.decode([ids], [2 * len(ids) + 16], DecodingConfig())
    source, target = [*ids, END], [*best.tokens, END]
    model, device = engine.model, input_device(engine.model)
    with record_attention(model) as recorded:
        model.model(
            torch.tensor([source], device=device),
            torch.tensor([[START, *target[:-1]]], device=device),
        )
    source_words, target_words = (
        [translator.restore(word, originals) for word in readable_tokens(tokens, tokenizer)]
        for tokens, tokenizer in (
            (source, translator.tokenizer),
            (target, translator.target_tokenizer),
        )
    )
    return recorded, source_words, target_words


def write_attention_page(maps: Sequence[AttentionMap], path: str | Path) -> None:
    """Draw maps on one page of HTML that needs no network.

    Args:
        maps: What `attention_map` returned, at least one.
        path: The file.

    Raises:
        ValueError: If there are no maps.

    Example:
        >>> import tempfile
        >>> seen = AttentionMap(["a", "b"], ["A", "B"], torch.eye(2)[None, None])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_attention_page([seen], Path(folder) / "page.html")
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['page.html']
    """
    require(len(maps) > 0, "write_attention_page: there must be a map; got none")
    pictures = [
        AttentionPicture("".join(m.source_tokens[:-1]), m.target_tokens, m.source_tokens, m.weights)
        for m in maps
    ]
    write_picture_page(
        pictures,
        path,
        title="Where the decoder looked",
        lead="A row is a token of the translation, a column one of the source.",
    )


def readable_tokens(tokens: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """Return each token as text; bytes that are no character stay as the tokenizer stores them."""
    words = []
    for token in tokens:
        text = tokenizer.decode([token])
        stored = tokenizer.id_to_token(token) or ""
        words.append(text if text and "\ufffd" not in text else stored)
    return words
