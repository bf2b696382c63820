"""The nearest-neighbour baseline: the target of the most similar training source."""

from collections.abc import Sequence

from askew._check import refuse_string, require, requires_extra
from askew.text._pairs import ParallelText, refuse_strings

_BLOCK = 128


def nearest_neighbour(queries: Sequence[str], train: ParallelText) -> list[str]:
    """Answer each query with the target of the most similar training source.

    Similarity is the cosine of TF-IDF weights of character 2- to 4-grams within words. Of
    equally similar sources the first counts, also if none has anything in common with the
    query.

    Args:
        queries: Sources to translate.
        train: The pairs to search, at least one.

    Returns:
        One training target per query.

    Raises:
        ValueError: If there is no training pair.
        TypeError: If queries or a side of the pairs is a string and not a list of them.
        ModuleNotFoundError: If scikit-learn is not installed.

    Example:
        >>> train = ParallelText(["in 5 hours", "3 May 2001"], ["em 5 horas", "3 de maio de 2001"])
        >>> nearest_neighbour(["in 7 hours"], train)
        ['em 5 horas']
    """
    refuse_string("nearest_neighbour", "queries", queries)
    refuse_strings("nearest_neighbour", train)
    require(
        len(train.sources) > 0 and len(train.sources) == len(train.targets),
        "nearest_neighbour: train must hold pairs; "
        f"got {len(train.sources)} sources, {len(train.targets)} targets",
    )
    with requires_extra("nearest_neighbour", "apps"):
        from scipy.sparse import csr_matrix
        from sklearn.feature_extraction.text import TfidfVectorizer
    if not queries:
        return []
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), lowercase=False)
    known = csr_matrix(vectorizer.fit_transform(train.sources)).T
    weights = csr_matrix(vectorizer.transform(queries))
    answers: list[str] = []
    for start in range(0, len(queries), _BLOCK):
        similarity = (weights[start : start + _BLOCK] @ known).toarray()
        answers += [train.targets[row] for row in similarity.argmax(axis=1)]
    return answers
