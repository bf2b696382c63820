"""The lexical baseline: the contexts and the sentence most similar to a question by TF-IDF."""

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from askew._check import refuse_string, require, requires_extra
from askew.text._words import whole_words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# A sentence ends where white space follows its last mark, or anywhere after a CJK one.
_SENTENCE = re.compile(
    r"\S[^\n]*?(?:[.!?][\"'\u201d\u2019»)\]]*(?=\s)|[\u3002\uff01\uff1f]|(?=\n)|\Z)"
)


class TfidfIndex:
    r"""TF-IDF weights of the words of contexts and of their sentences.

    A word :math:`w` that occurs :math:`c` times in a text has the weight
    :math:`(1 + \log c)\,(1 + \log\frac{1 + n}{1 + n_w})`, where :math:`n_w` of all :math:`n`
    sentences contain it. Texts are compared by the cosine. Case is ignored, punctuation is
    dropped, words of one character count.

    Args:
        contexts: The texts to search, with at least one word in all.

    Raises:
        ValueError: If there is no word.
        TypeError: If `contexts` is a string and not a list of them.
        ModuleNotFoundError: If scikit-learn is not installed.

    Example:
        >>> index = TfidfIndex(["Lima is in Peru. It is large.", "Santiago is in Chile."])
        >>> [(row, round(score, 2)) for row, score in index.search("What is large?", 2)]
        [(0, 0.58), (1, 0.18)]
        >>> start, end = index.best_sentence("What is large?", 0)
        >>> index.contexts[0][start:end]
        'It is large.'
    """

    def __init__(self, contexts: Sequence[str]) -> None:
        with requires_extra("TfidfIndex", "apps"):
            from scipy.sparse import csr_matrix
            from sklearn.feature_extraction.text import TfidfVectorizer
        refuse_string("TfidfIndex", "contexts", contexts)
        self.contexts = list(contexts)
        self._spans = [_sentence_spans(text) for text in self.contexts]
        sentences = [
            text[start:end]
            for text, spans in zip(self.contexts, self._spans, strict=True)
            for start, end in spans
        ]
        require(
            any(map(whole_words, sentences)),
            f"TfidfIndex: contexts must hold a word; got {len(self.contexts)} without any",
        )
        self._vectorizer = TfidfVectorizer(analyzer=whole_words, sublinear_tf=True)
        self._csr_matrix = csr_matrix
        self._vectorizer.fit(sentences)
        self._sentences = self._weigh(sentences)
        self._first = list(accumulate(map(len, self._spans), initial=0))
        self._by_word = self._weigh(self.contexts).T.tocsr()

    def search(self, question: str, k: int) -> list[tuple[int, float]]:
        """Find the contexts most similar to a question.

        Args:
            question: Any text.
            k: Maximal number of contexts, at least 1.

        Returns:
            Row and cosine, 0 to 1, of each context, the most similar first; equal ones by row.
            Contexts that share no word with the question are left out.

        Raises:
            ValueError: If k is below 1.
        """
        require(k >= 1, f"TfidfIndex.search: k must be at least 1; got k {k}")
        cosines = (self._weigh([question]) @ self._by_word).tocsr()
        order = np.lexsort((cosines.indices, -cosines.data))[:k]
        return [(int(cosines.indices[i]), float(cosines.data[i])) for i in order]

    def best_sentence(self, question: str, context: int) -> tuple[int, int]:
        """Find the sentence of a context most similar to a question.

        Sentences end with ".", "!" or "?" before white space, or at the end of a line.

        Args:
            question: Any text.
            context: Row of the context.

        Returns:
            Start and end (exclusive) in characters of the context. Of equally similar sentences
            it is the first, also if none shares a word with the question.

        Raises:
            ValueError: If there is no such row.
        """
        require(
            0 <= context < len(self.contexts),
            "TfidfIndex.best_sentence: context must be a row of contexts; "
            f"got context {context} of {len(self.contexts)}",
        )
        rows = self._sentences[self._first[context] : self._first[context + 1]]
        similarity = (rows @ self._weigh([question]).T).toarray()[:, 0]
        return self._spans[context][int(similarity.argmax())]

    def _weigh(self, texts: list[str]) -> "csr_matrix":
        return self._csr_matrix(self._vectorizer.transform(texts))


def _sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of each sentence; for a blank text those of the whole text."""
    spans = [(m.start(), m.start() + len(m[0].rstrip())) for m in _SENTENCE.finditer(text)]
    return spans or [(0, len(text))]
