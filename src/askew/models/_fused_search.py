"""Passages found by their words and by the states of a pretrained encoder."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from askew._check import require
from askew.models._context_index import ContextIndex
from askew.models._passage_encoder import EncodedQuestion, PassageEncoder, check_encoder, max_sim
from askew.models._static_encoder import StaticEncoder
from askew.models._student_encoder import StudentEncoder
from askew.text import Context, Passage, PassageSearch, fuse_ranks, fuse_scores

_WEIGHTS = np.linspace(0, 1, 21)


class Proposed(NamedTuple):
    """Passages that BM25 or the vectors propose for a question, with their scores.

    Args:
        passages: [proposed], their numbers in ascending order.
        by_words: [proposed], by BM25.
        by_vectors: [proposed], products of vectors.
        by_tokens: [proposed], by `max_sim`.

    Example:
        >>> none = np.zeros(0)
        >>> len(Proposed(none, none, none, none).by_tokens)
        0
    """

    passages: np.ndarray
    by_words: np.ndarray
    by_vectors: np.ndarray
    by_tokens: np.ndarray


class FusedSearch:
    r"""Finds passages by `askew.text.BM25` and by a `PassageEncoder`, and fuses both.

    The best passages by BM25 and the best by the product of vectors are compared with the question
    token by token (`max_sim`). Their final score is the sum of the reciprocal ranks by `max_sim`
    and BM25 (`askew.text.fuse_ranks`), or, where a weight w is known, the sum of standardised
    scores (`askew.text.fuse_scores`) with w for `max_sim` and 1 - w for BM25. w = 0 ranks
    these passages by BM25 alone, w = 1 by `max_sim` alone. The best sentence of a passage is that
    of the highest `max_sim`.

    Args:
        index: What the encoder made of the documents.
        encoder: The encoder, or a static one or a student, which encode questions for its
            vectors at less cost.
        weight: w, 0 to 1; None fuses ranks.
        shortlist: How many passages each of BM25 and the vectors propose, >= 1.

    Attributes:
        passages: The search by words alone, over the same passages.

    Raises:
        ValueError: If a number is out of range or the index is of another encoder.

    Example:
        >>> from transformers import BertConfig
        >>> from askew.models import PretrainedEncoder
        >>> from askew.text import Context, train_tokenizer
        >>> small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
        >>> config = BertConfig(vocab_size=300, intermediate_size=8, **small)
        >>> tokenizer = train_tokenizer(["Anna lives in Rome."], vocab_size=300)
        >>> encoder = PassageEncoder(PretrainedEncoder(config), tokenizer, fingerprint="0" * 64)
        >>> index = encoder.encode([Context("a page", "Anna lives in Rome.")])
        >>> FusedSearch(index, encoder).search("Where is Rome?")[0].text
        'Anna lives in Rome.'
    """

    def __init__(
        self,
        index: ContextIndex,
        encoder: PassageEncoder | StaticEncoder | StudentEncoder,
        *,
        weight: float | None = None,
        shortlist: int = 50,
    ) -> None:
        require(
            (weight is None or 0 <= weight <= 1) and shortlist >= 1,
            "FusedSearch: weight must be None or 0 to 1, and shortlist at least 1; "
            f"got weight {weight}, shortlist {shortlist}",
        )
        check_encoder("FusedSearch", encoder.fingerprint, index)
        self.index, self.encoder = index, encoder
        self.weight, self.shortlist = weight, shortlist
        self.passages = PassageSearch(index.contexts, passages=index.window_spans)

    @property
    def contexts(self) -> list[Context]:
        """The documents, as `askew.text.Passage` counts them."""
        return self.passages.contexts

    def search(self, question: str, *, top: int = 3) -> list[Passage]:
        """Find the best passages for a question.

        Args:
            question: Any text.
            top: How many at most, at least 1.

        Returns:
            The passages, the best first.

        Raises:
            ValueError: If `top` is below 1, or the question has lone surrogates.
        """
        require(top >= 1, f"FusedSearch.search: top must be at least 1; got top {top}")
        encoded = self.encoder.question(question)
        proposed = self._propose(question, encoded, max(top, self.shortlist))
        scores = np.full(len(self.passages.passages), -np.inf)
        scores[proposed.passages] = self._fuse(proposed)
        by_tokens = partial(self.score_sentences, encoded)
        return self.passages.search(question, top=top, scores=scores, sentence_scores=by_tokens)

    def propose(self, question: str) -> Proposed:
        """Score the passages that BM25 and the vectors propose, by each side.

        Args:
            question: Any text.

        Returns:
            Their numbers and scores.

        Raises:
            ValueError: If the question has lone surrogates.
        """
        return self._propose(question, self.encoder.question(question), self.shortlist)

    def rank(self, question: str) -> list[int]:
        """Rank documents by their best passage.

        Args:
            question: Any text.

        Returns:
            Rows of the documents that have a proposed passage, the best first.

        Raises:
            ValueError: If the question has lone surrogates.
        """
        proposed = self.propose(question)
        return self._ranked(proposed, self._fuse(proposed))

    def fit_weight(self, questions: Sequence[str], contexts: Sequence[int]) -> float:
        """Find the weight that ranks the right documents of some questions highest.

        Args:
            questions: Questions that are not to be tested with, at least one.
            contexts: Row of the right document of each.

        Returns:
            The one of 0, .05, …, 1 with the highest mean reciprocal rank; of equal ones that in the
            middle. `weight` is not changed.

        Raises:
            ValueError: If there is no question, or there are not as many contexts.
        """
        require(
            0 < len(questions) == len(contexts),
            "FusedSearch.fit_weight: there must be questions, and a context for each; "
            f"got {len(questions)} questions, {len(contexts)} contexts",
        )
        reached = np.zeros(len(_WEIGHTS))
        for question, row in zip(questions, contexts, strict=True):
            proposed = self.propose(question)
            for number, weight in enumerate(_WEIGHTS):
                ranked = self._ranked(proposed, _weighted(proposed, weight))
                reached[number] += 1 / (1 + ranked.index(row)) if row in ranked else 0.0
        best = np.flatnonzero(reached >= reached.max() - 1e-9)
        return float(_WEIGHTS[best[len(best) // 2]])

    def score_sentences(
        self, question: EncodedQuestion, passage: int, sentences: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Score the sentences of a passage by `max_sim`.

        Args:
            question: The question.
            passage: Number of the passage.
            sentences: Start and end of each, in characters of the document.

        Returns:
            A score for each.
        """
        window = self.index.gather(torch.tensor([passage]))
        begins = window.places[0, :, 0]
        inside = torch.stack([(begins >= start) & (begins < end) for start, end in sentences])
        states = window.states.expand(len(sentences), -1, -1)
        return max_sim(question.states, states, inside).double().numpy()

    def _propose(self, question: str, encoded: EncodedQuestion, most: int) -> Proposed:
        by_words = self.passages.bm25.scores(question)
        by_vectors = (
            (self.index.vectors @ encoded.vector).double().numpy() if len(by_words) else by_words
        )
        best = np.argsort(-by_words, kind="stable")[:most]
        rows = best[by_words[best] > 0].tolist()
        if len(encoded.states):
            rows += np.argsort(-by_vectors, kind="stable")[:most].tolist()
        numbers = np.unique(np.array(rows, dtype=np.int64))
        by_tokens = np.zeros(0)
        if len(numbers):
            windows = self.index.gather(torch.from_numpy(numbers))
            mask = windows.places[..., 0] >= 0  # without the tokens that the encoder puts around
            by_tokens = max_sim(encoded.states, windows.states, mask).double().numpy()
        return Proposed(numbers, by_words[numbers], by_vectors[numbers], by_tokens)

    def _fuse(self, proposed: Proposed) -> np.ndarray:
        if self.weight is None:
            return fuse_ranks([proposed.by_tokens, proposed.by_words])
        return _weighted(proposed, self.weight)

    def _ranked(self, proposed: Proposed, scores: np.ndarray) -> list[int]:
        order = proposed.passages[np.argsort(-scores, kind="stable")]
        return list(dict.fromkeys(self.passages.passages[number][0] for number in order))


def _weighted(proposed: Proposed, weight: float) -> np.ndarray:
    return fuse_scores([proposed.by_tokens, proposed.by_words], [weight, 1 - weight])
