"""Translate strings with a folder that training wrote."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from askew._check import require
from askew.models._ctranslate2 import MARK, CTranslate2Engine
from askew.models._decoding import DecodingConfig, Engine
from askew.models._folder import check_export, load_translation_model
from askew.models._pieces import split_text
from askew.models._torch_engine import TorchEngine
from askew.models._translation import AsymmetricTranslationModel
from askew.text import Protected, is_protecting, load_tokenizers, protect, restore

_BATCH_TOKENS = 8192


class Hypothesis(NamedTuple):
    """A translation, and its log-probability over its length to the length penalty.

    Args:
        text: What the model wrote.
        score: Log-probability over its length to the power of the penalty, at most 0.

    Example:
        >>> best = Hypothesis("um gato", -0.2)
        >>> best.text, best.score > Hypothesis("um cão", -1.5).score
        ('um gato', True)
    """

    text: str
    score: float


class Translator:
    """A translation model and its tokenizers, text in and text out.

    Sentences of like length are decoded together. A text of more than `max_source_tokens`
    tokens is translated in pieces, cut where a sentence ends, else at a space, else anywhere.
    A translation has at most twice its source's tokens plus 16. Where the model was trained so,
    placeholders and markup are out of its way: it copies marks, which then are put back.

    Args:
        model: The model, put into evaluation mode, or an engine.
        tokenizer: The tokenizer of both sides, or of the source.
        target_tokenizer: The tokenizer of the target, where it has its own.
        batch_size: Sentences decoded together at most.
        max_source_tokens: Longest piece that is decoded at once.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> from askew.models import AsymmetricTranslationConfig
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
        model: AsymmetricTranslationModel | Engine,
        tokenizer: Tokenizer,
        *,
        target_tokenizer: Tokenizer | None = None,
        batch_size: int = 64,
        max_source_tokens: int = 512,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("max_source_tokens", max_source_tokens)):
            require(value > 0, f"Translator: {name} must be positive; got {name} {value}")
        is_model = isinstance(model, AsymmetricTranslationModel)
        self.engine: Engine = TorchEngine(model) if is_model else model
        self.tokenizer = tokenizer
        self.target_tokenizer = tokenizer if target_tokenizer is None else target_tokenizer
        self.batch_size = batch_size
        self.max_source_tokens = max_source_tokens
        self.protects = is_protecting(tokenizer)

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
            threads: Threads of CTranslate2; PyTorch has its own setting.

        Returns:
            A translator on the CPU.

        Raises:
            ValueError: If a file is missing, damaged or altered, or the export is of other
                weights than the model.
            ModuleNotFoundError: If ctranslate2 is asked for and not installed.
        """
        folder = Path(folder)
        require(
            engine in ("torch", "ctranslate2"),
            f"Translator.from_pretrained: engine must be torch or ctranslate2; got {engine!r}",
        )
        if engine == "torch":
            loaded: AsymmetricTranslationModel | Engine = load_translation_model(folder)
        else:
            exported = folder if (folder / MARK).is_file() else folder / "ctranslate2"
            loaded = CTranslate2Engine(exported, threads=threads)
            check_export(folder, loaded.fingerprint)
            folder = exported
        source, target = load_tokenizers(folder)
        return cls(loaded, source, target_tokenizer=target, batch_size=batch_size)

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
            decoding: All that can be chosen, instead of `num_beams`.

        Returns:
            One translation per text, in the same order.

        Raises:
            ValueError: If `num_beams` is not positive.
        """
        decoding = DecodingConfig(num_beams=num_beams) if decoding is None else decoding
        return [found[0].text for found in self.hypotheses(texts, decoding)]

    def hypotheses(self, texts: Sequence[str], decoding: DecodingConfig) -> list[list[Hypothesis]]:
        """Give the best translations of every text, with their scores.

        Args:
            texts: Source sentences.
            decoding: How to search, and for how many.

        Returns:
            `num_hypotheses` translations per text, the best first. An empty text has empty
            ones; one translated in pieces has the mean of its pieces' scores.
        """
        read = [self.read(text) for text in texts]
        pieces = [self._cut(text) for text, _ in read]
        flat = [piece for own in pieces for piece, _ in own]
        found = iter(self._search(flat, decoding))
        joined = []
        for own, (_, originals) in zip(pieces, read, strict=True):
            parts = [(next(found), after) for _, after in own]
            joined.append(
                [self._joined(parts, rank, originals) for rank in range(decoding.num_hypotheses)]
                if parts
                else [Hypothesis("", 0.0)] * decoding.num_hypotheses
            )
        return joined

    def pieces(self, text: str) -> list[tuple[str, str]]:
        """Cut a text where it is too long to be decoded at once.

        Args:
            text: Any text.

        Returns:
            Pieces, each with the white space that follows it; one for a text that fits, none
            for a blank one.
        """
        masked, originals = self.read(text)
        return [(self.written(piece, originals), after) for piece, after in self._cut(masked)]

    def read(self, text: str) -> Protected:
        """Give what the model reads of a text.

        Args:
            text: Any text.

        Returns:
            The text, with marks in place of what must be kept where the model knows them.
        """
        return protect(text) if self.protects else Protected(text, ())

    def written(self, text: str, originals: Sequence[str]) -> str:
        """Give what the model means by what it wrote.

        Args:
            text: What it wrote.
            originals: Of what it read.

        Returns:
            The text without marks.
        """
        return restore(text, originals) if self.protects else text

    def _cut(self, text: str) -> list[tuple[str, str]]:
        if not text.strip():
            return []
        return split_text(text, self.tokenizer, self.max_source_tokens)

    def _search(self, texts: Sequence[str], decoding: DecodingConfig) -> list[list[Hypothesis]]:
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]
        found: list[list[Hypothesis]] = [[] for _ in texts]
        for rows in self._batches(encoded, decoding):
            sources = [encoded[row] for row in rows]
            limits = [2 * len(source) + 16 for source in sources]
            decoded = self.engine.decode(sources, limits, decoding)
            for row, hypotheses in zip(rows, decoded, strict=True):
                words = self.target_tokenizer.decode_batch([h.tokens for h in hypotheses])
                scores = (h.score for h in hypotheses)
                found[row] = [Hypothesis(*pair) for pair in zip(words, scores, strict=True)]
        return found

    def _batches(
        self, encoded: Sequence[Sequence[int]], decoding: DecodingConfig
    ) -> Iterator[list[int]]:
        """Rows of like length, as many as fit the size and the memory."""
        each = decoding.num_hypotheses if decoding.sample else decoding.num_beams
        batch: list[int] = []
        for row in sorted(range(len(encoded)), key=lambda row: len(encoded[row])):
            tokens = (len(batch) + 1) * (len(encoded[row]) + 1) * each
            if batch and (len(batch) == self.batch_size or tokens > _BATCH_TOKENS):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _joined(
        self,
        parts: Sequence[tuple[list[Hypothesis], str]],
        rank: int,
        originals: Sequence[str],
    ) -> Hypothesis:
        text = "".join(found[rank].text + after for found, after in parts)
        score = sum(found[rank].score for found, _ in parts) / len(parts)
        return Hypothesis(self.written(text, originals), score)
