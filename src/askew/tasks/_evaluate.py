"""Scores of a trained translation model on the user's pairs."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import NormalDist, stdev
from typing import NamedTuple

from askew._check import require
from askew.metrics import CorpusScore, bleu, chrf, exact_match, placeholder_survival
from askew.models import DecodingConfig, Translator
from askew.tasks._application import Split
from askew.tasks._data import load_text, read_any
from askew.tasks._sources import Sources, check_columns
from askew.text import ParallelText, find_placeholders, placeholder_kind, read_aligned

Score = Callable[[Sequence[str], Sequence[str]], CorpusScore]

_CHUNK = 1024
_MORE_SCORES: dict[str, Score] = {
    "chrf++": partial(chrf, word_order=2),
    "spbleu": partial(bleu, tokenizer="flores200"),
}


class Evaluated(NamedTuple):
    """Translations, and their scores as plain values.

    Args:
        translations: One translation per source.
        results: Scores with intervals and signatures, placeholders kept, and speed.

    Example:
        >>> Evaluated(translations=["um gato"], results={"scores": {}}).translations
        ['um gato']
    """

    translations: list[str]
    results: dict


def load_test(
    data: str | Path | None,
    source: str | Path | None,
    target: str | Path | None,
    *,
    part: Split = "all",
    columns: str | None = None,
    drop_empty: bool = False,
    left_out: Counter[str] | None = None,
) -> ParallelText:
    """Read the pairs to test with.

    Args:
        data: Pairs, as `read_any` reads them.
        source: Instead of `data`: a file of source lines.
        target: A file of their references.
        part: "all" of `data`, or the "valid" or "test" pairs that training splits off.
        columns: Which columns of `data` hold source and target, as `read_any` takes them.
        drop_empty: Whether pairs with an empty side are left out; otherwise they are refused.
        left_out: Is told how many pairs are left out, by reason.

    Returns:
        The pairs.

    Raises:
        ValueError: Unless there is either `data` or `source` and `target`; if `part` is given
            without `data`; or if files cannot be read.

    Example:
        >>> load_test(None, None, None)
        Traceback (most recent call last):
        ValueError: load_test: test pairs are needed in one way; got data None, source None...
    """
    data = None if data is None else Path(data)
    aligned = source is not None and target is not None
    require(
        (data is None) == aligned and (source is None) == (target is None),
        "load_test: test pairs are needed in one way; "
        f"got data {data}, source {source}, target {target}. "
        "Give --data, or --test-source and --test-target",
    )
    require(
        part == "all" or data is not None,
        f"load_test: part needs data; got part {part!r} and no data. Give --data",
    )
    if source is not None and target is not None:
        check_columns(columns, None)
        return read_aligned(source, target, drop_empty=drop_empty, left_out=left_out)
    if part != "all":
        sources = Sources(data=data, columns=columns, drop_empty=drop_empty)
        return getattr(load_text(sources)[1], part)  # of what is left out no part is known
    return read_any(str(data), columns=columns, drop_empty=drop_empty, left_out=left_out)


def chosen_scores(tokenizer: str | None = None, also: str = "") -> dict[str, Score]:
    """Return BLEU with a tokenizer, chrF, exact match, and the scores named in `also`."""
    names = [name.strip().lower() for name in also.split(",") if name.strip()]
    unknown = sorted(set(names) - _MORE_SCORES.keys())
    require(
        not unknown,
        f"chosen_scores: also must name {' or '.join(_MORE_SCORES)}; got also {also!r}",
    )
    usual = {"bleu": partial(bleu, tokenizer=tokenizer), "chrf": chrf, "exact_match": exact_match}
    return usual | {name: _MORE_SCORES[name] for name in names}


def evaluate_translator(
    translator: Translator,
    pairs: ParallelText,
    decoding: DecodingConfig,
    *,
    progress: Callable[[int, int], None],
    scores: Mapping[str, Score] | None = None,
) -> Evaluated:
    """Translate sources and score the translations.

    Args:
        translator: The model.
        pairs: Sources and references.
        decoding: How to search.
        progress: Called with the number of lines done and of all.
        scores: Functions of translations and references by the name of the score; by default
            BLEU, chrF and exact match.

    Returns:
        The translations; `scores`, each with `value`, `interval` (95 %, normal, from jackknife
        pseudo-values over sentences; None for one sentence) and `signature`; `placeholders`;
        `sentences_per_second`.

    Example:
        >>> from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
        >>> from askew.tasks import translation_preset
        >>> from askew.text import train_tokenizer
        >>> plain = translation_preset("symmetric", "tiny", vocab_size=280)
        >>> model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))
        >>> tokenizer = train_tokenizer(["one cat", "um gato"], vocab_size=280)
        >>> pairs, silent = ParallelText(["one cat"], ["um gato"]), lambda done, total: None
        >>> translator = Translator(model, tokenizer)
        >>> evaluated = evaluate_translator(translator, pairs, DecodingConfig(), progress=silent)
        >>> sorted(evaluated.results["scores"])
        ['bleu', 'chrf', 'exact_match']
    """
    translations: list[str] = []
    started = time.perf_counter()
    for start in range(0, len(pairs.sources), _CHUNK):
        chunk = pairs.sources[start : start + _CHUNK]
        translations += translator.translate(chunk, decoding=decoding)
        progress(len(translations), len(pairs.sources))
    seconds = time.perf_counter() - started
    results = {}
    for name, metric in (scores or chosen_scores()).items():
        score = metric(translations, pairs.targets)
        results[name] = {
            "value": score.value,
            "interval": _interval(score),
            "signature": score.signature,
        }
    kept = placeholder_survival(
        pairs.sources, translations, find_placeholders, kind=placeholder_kind
    )
    return Evaluated(
        translations,
        {
            "version": 1,
            "sentences": len(translations),
            "scores": results,
            "placeholders": kept._asdict(),
            "sentences_per_second": len(translations) / seconds,
        },
    )


def _interval(score: CorpusScore) -> list[float] | None:
    if len(score.items) < 2:
        return None
    half = NormalDist().inv_cdf(0.975) * _standard_error(score.items)
    return [score.value - half, score.value + half]


def _standard_error(items: tuple[float, ...]) -> float:
    return stdev(items) / len(items) ** 0.5
