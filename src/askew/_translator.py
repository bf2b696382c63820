"""Translate strings with a folder that training wrote.

Nothing here needs PyTorch: an exported model translates in the time that importing it would take.
`askew.models` adds what makes an engine of a model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from tokenizers import Tokenizer

from askew._check import refuse_string, require
from askew._ctranslate2_engine import MARK, CTranslate2Engine, check_export
from askew._decoding import DecodingConfig, Engine
from askew._split_text import split_text
from askew._threads import use_threads
from askew.text import (
    Protected,
    is_protecting,
    load_tokenizers,
    protect,
    read_special_tokens_as_text,
    restore,
)

if TYPE_CHECKING:
    from torch import nn

    Loader = Callable[[Path, int], tuple[nn.Module | Engine, Path]]

_BATCH_TOKENS = 8192  # source tokens times hypotheses of one batch


class Hypothesis(NamedTuple):
    """A translation and its score.

    Args:
        text: What the model wrote.
        score: Log-probability over its length to the power of the length penalty, at most 0.

    Example:
        >>> best = Hypothesis("um gato", -0.2)
        >>> best.text, best.score > Hypothesis("um cão", -1.5).score
        ('um gato', True)
    """

    text: str
    score: float


class Translator:
    """A translation model and its tokenizers, text in and text out.

    Sentences of similar length are decoded together. A text of more than `max_source_tokens`
    tokens is translated in pieces, cut where a sentence ends, else at a space, else anywhere.
    A translation has at most twice its source's tokens plus 16. A model that was trained with
    protection reads marks in place of placeholders and markup and copies them; the originals
    are then put back.

    Args:
        model: The model, put into evaluation mode, or an engine.
        tokenizer: The tokenizer of both sides, or of the source.
        target_tokenizer: The tokenizer of the target, where it has its own.
        batch_size: Sentences decoded together at most.
        max_source_tokens: Longest piece that is decoded at once; fewer where the model has
            positions for fewer.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
        >>> from askew.text import train_tokenizer
        >>> from askew.transformer import EncoderDecoderConfig, StackConfig
        >>> side = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
        >>> vocab = {"source_vocab": 280, "target_vocab": 280}
        >>> plain = EncoderDecoderConfig(encoder=side, decoder=side, **vocab)
        >>> model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))
        >>> tokenizer = train_tokenizer(["one cat", "two cats"], vocab_size=280)
        >>> len(Translator(model, tokenizer).translate(["one cat", ""]))
        2
    """

    def __init__(
        self,
        model: "nn.Module | Engine",
        tokenizer: Tokenizer,
        *,
        target_tokenizer: Tokenizer | None = None,
        batch_size: int = 64,
        max_source_tokens: int = 512,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("max_source_tokens", max_source_tokens)):
            require(value > 0, f"Translator: {name} must be positive; got {name} {value}")
        self.engine = as_engine(model)
        read_special_tokens_as_text(tokenizer)
        self.tokenizer = tokenizer
        self.target_tokenizer = tokenizer if target_tokenizer is None else target_tokenizer
        self.batch_size = batch_size
        longest = getattr(self.engine, "longest", None)  # with the end token
        most = max_source_tokens if longest is None else max(1, min(max_source_tokens, longest - 1))
        self.max_source_tokens = most
        self.protects = is_protecting(tokenizer)
        self._threads: int | None = None  # as many as PyTorch has

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        batch_size: int = 64,
        engine: str = "torch",
        threads: int = 1,
    ) -> "Translator":
        """Load what training, or `askew export`, wrote.

        Args:
            folder: A model folder; for CTranslate2 also an exported folder itself.
            batch_size: Sentences decoded together at most.
            engine: "torch", or "ctranslate2" for a model that was exported.
            threads: Threads of the engine, for as long as it translates.

        Returns:
            A translator on the CPU.

        Raises:
            ValueError: If a file is missing, damaged or altered, or the export is of other
                weights than the model.
            ModuleNotFoundError: If the engine is ctranslate2 and it is not installed.
        """
        folder = Path(folder)
        require(
            engine in _LOADERS,
            f"Translator.from_pretrained: engine must be torch or ctranslate2; got {engine!r}",
        )
        loaded, folder = _LOADERS[engine](folder, threads)
        source, target = load_tokenizers(folder)
        translator = cls(loaded, source, target_tokenizer=target, batch_size=batch_size)
        translator._threads = threads
        return translator

    def translate(
        self,
        texts: Sequence[str],
        *,
        num_beams: int = 1,
        decoding: DecodingConfig | None = None,
    ) -> list[str]:
        """Translate every text; an empty or blank one stays empty.

        Args:
            texts: Source sentences.
            num_beams: Hypotheses kept while decoding; 1 is greedy.
            decoding: All settings of the search; replaces `num_beams`.

        Returns:
            One translation per text, in the same order.

        Raises:
            ValueError: If `num_beams` is not positive.
            TypeError: If `texts` is a string and not a list of them.
        """
        decoding = DecodingConfig(num_beams=num_beams) if decoding is None else decoding
        return [best[0].text for best in self.hypotheses(texts, decoding)]

    def hypotheses(self, texts: Sequence[str], decoding: DecodingConfig) -> list[list[Hypothesis]]:
        """Return the best translations of every text, with their scores.

        Args:
            texts: Source sentences.
            decoding: How to search, and for how many.

        Returns:
            `num_hypotheses` translations per text, the best first. An empty text has empty
            ones; one translated in pieces has the mean of its pieces' scores.

        Raises:
            TypeError: If `texts` is a string and not a list of them.
        """
        refuse_string("Translator", "texts", texts)
        masked = [self.protect(text) for text in texts]
        named = (
            nullcontext()
            if self._threads is None
            else use_threads("Translator", self._threads, import_torch=False)
        )
        with named:
            pieces = [self._split(text) for text, _ in masked]
            flat = [piece for of_text in pieces for piece, _ in of_text if piece]
            translations = iter(self._search(flat, decoding))
        ranks = range(decoding.num_hypotheses)
        joined = []
        for of_text, (_, originals) in zip(pieces, masked, strict=True):
            translated = [(next(translations) if piece else [], space) for piece, space in of_text]
            joined.append(
                [self._join(translated, rank, originals) for rank in ranks]
                if translated
                else [Hypothesis("", 0.0) for _ in ranks]
            )
        return joined

    def split_text(self, text: str) -> list[tuple[str, str]]:
        """Split a text that is too long to be decoded at once.

        Args:
            text: Any text.

        Returns:
            Pieces, each with the white space that follows it; one for a text that fits, none
            for a blank one.
        """
        masked, originals = self.protect(text)
        return [(self.restore(piece, originals), space) for piece, space in self._split(masked)]

    def protect(self, text: str) -> Protected:
        """Replace placeholders and markup by marks, if the model was trained with them.

        Args:
            text: Any text.

        Returns:
            What the model reads, and the originals of the marks in it.
        """
        return protect(text) if self.protects else Protected(text, ())

    def restore(self, text: str, originals: Sequence[str]) -> str:
        """Put the originals back in place of the marks that the model wrote.

        Args:
            text: What it wrote.
            originals: Of the marks in what it read.

        Returns:
            The text without marks.
        """
        return restore(text, originals) if self.protects else text

    def _split(self, text: str) -> list[tuple[str, str]]:
        if not text.strip():
            return []
        return split_text(text, self.tokenizer, self.max_source_tokens)

    def _search(self, texts: Sequence[str], decoding: DecodingConfig) -> list[list[Hypothesis]]:
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]
        hypotheses: list[list[Hypothesis]] = [[] for _ in texts]
        for rows in self._batches(encoded, decoding):
            sources = [encoded[row] for row in rows]
            limits = [2 * len(source) + 16 for source in sources]
            decoded = self.engine.decode(sources, limits, decoding)
            for row, ranked in zip(rows, decoded, strict=True):
                words = self.target_tokenizer.decode_batch([h.tokens for h in ranked])
                pairs = zip(words, ranked, strict=True)
                hypotheses[row] = [Hypothesis(text, h.score) for text, h in pairs]
        return hypotheses

    def _batches(
        self, encoded: Sequence[Sequence[int]], decoding: DecodingConfig
    ) -> Iterator[list[int]]:
        """Group rows of similar length, as many as fit the batch size and the memory."""
        width = decoding.num_hypotheses if decoding.sample else decoding.num_beams
        batch: list[int] = []
        for row in sorted(range(len(encoded)), key=lambda row: len(encoded[row])):
            tokens = (len(batch) + 1) * (len(encoded[row]) + 1) * width
            if batch and (len(batch) == self.batch_size or tokens > _BATCH_TOKENS):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _join(
        self,
        pieces: Sequence[tuple[list[Hypothesis], str]],
        rank: int,
        originals: Sequence[str],
    ) -> Hypothesis:
        text = "".join((ranked[rank].text if ranked else "") + space for ranked, space in pieces)
        scores = [ranked[rank].score for ranked, _ in pieces if ranked]
        score = sum(scores) / len(scores)
        return Hypothesis(self.restore(text, originals), score)


@singledispatch
def as_engine(model: object) -> Engine:
    """Return the engine that searches with a model; an engine is its own."""
    return cast("Engine", model)


def _load_export(folder: Path, threads: int) -> tuple[Engine, Path]:
    exported = folder if (folder / MARK).is_file() else folder / "ctranslate2"
    engine = CTranslate2Engine(exported, threads=threads)
    check_export(folder, engine.export)
    return engine, exported


_LOADERS: "dict[str, Loader]" = {"ctranslate2": _load_export}


def add_engine(name: str, load: "Loader") -> None:
    """Offer an engine by name: `load` takes folder and threads, and returns what it has read."""
    _LOADERS[name] = load
