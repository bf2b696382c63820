"""Translate strings with a folder that training wrote."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from askew._check import require
from askew.models._folder import load_translation_model
from askew.models._translation import AsymmetricTranslationModel
from askew.text import load_tokenizers, pad_batch


class Translator:
    """A translation model and its tokenizer, text in and text out.

    Args:
        model: The model; put into evaluation mode.
        tokenizer: The tokenizer of both sides, or of the source.
        target_tokenizer: The tokenizer of the target, where it has its own.
        batch_size: Sentences decoded together.

    Raises:
        ValueError: If `batch_size` is not positive.
    """

    def __init__(
        self,
        model: AsymmetricTranslationModel,
        tokenizer: Tokenizer,
        *,
        target_tokenizer: Tokenizer | None = None,
        batch_size: int = 64,
    ) -> None:
        require(batch_size > 0, f"Translator: batch_size must be positive; got {batch_size}")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.target_tokenizer = tokenizer if target_tokenizer is None else target_tokenizer
        self.batch_size = batch_size

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, batch_size: int = 64) -> "Translator":
        """Load what `save_pretrained` and training write.

        Args:
            folder: A folder with config.json, model.safetensors and tokenizer.json.
            batch_size: Sentences decoded together.

        Returns:
            A translator on the CPU.

        Raises:
            ValueError: If a file is missing.
        """
        model = load_translation_model(folder)
        source, target = load_tokenizers(folder)
        return cls(model, source, target_tokenizer=target, batch_size=batch_size)

    def translate(self, texts: Sequence[str], *, num_beams: int = 1) -> list[str]:
        """Translate every text; an empty or blank one stays empty.

        Sentences of like length are decoded together. A translation is cut at twice its
        source's tokens plus 16.

        Args:
            texts: Source sentences.
            num_beams: Hypotheses kept while decoding; 1 is greedy.

        Returns:
            One translation per text, in the same order.

        Raises:
            ValueError: If `num_beams` is not positive.
        """
        require(num_beams > 0, f"Translator.translate: num_beams must be positive; got {num_beams}")
        encoded = [e.ids for e in self.tokenizer.encode_batch_fast(list(texts))]
        translations = [""] * len(texts)
        for rows in self._batches(texts, encoded):
            sources = [encoded[row] for row in rows]
            decoded = self._decode(sources, num_beams)
            for row, text in zip(rows, self.target_tokenizer.decode_batch(decoded), strict=True):
                translations[row] = text
        return translations

    def _batches(
        self, texts: Sequence[str], encoded: Sequence[Sequence[int]]
    ) -> Iterator[list[int]]:
        rows = [row for row, text in enumerate(texts) if text.strip()]
        rows.sort(key=lambda row: len(encoded[row]))
        for start in range(0, len(rows), self.batch_size):
            yield rows[start : start + self.batch_size]

    @torch.inference_mode()
    def _decode(self, sources: list[list[int]], num_beams: int) -> list[list[int]]:
        end = self.model.config.eos_token_id
        device = self.model.device
        tokens, mask = pad_batch([[*source, end] for source in sources])
        limits = [2 * len(source) + 16 for source in sources]
        decoded = self.model.generate(
            tokens.to(device),
            attention_mask=mask.to(device),
            num_beams=num_beams,
            do_sample=False,
            max_new_tokens=max(limits),
        ).tolist()
        return [row[1 : limit + 1] for row, limit in zip(decoded, limits, strict=True)]
