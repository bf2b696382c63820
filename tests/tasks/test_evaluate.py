"""A model is scored on pairs of one's own, each score with its interval."""

import pytest
from saved_model import PAIRS, saved

from askew.metrics import bleu, chrf
from askew.models import DecodingConfig, Translator
from askew.tasks import Evaluated, Sources, evaluate_translator, load_test, load_text, read_any
from askew.text import ParallelText

TEST = ParallelText(["three %s", "see", "bees"] * 5, ["três %s", "veem", "abelhas"] * 5)


def test_scores_are_those_of_the_metrics_with_an_interval_around_them(tmp_path):
    saved(tmp_path)
    translator, progress_calls = Translator.from_pretrained(tmp_path), []
    evaluated = evaluate_translator(
        translator,
        TEST,
        DecodingConfig(num_beams=2),
        progress=lambda *counts: progress_calls.append(counts),
    )
    assert isinstance(evaluated, Evaluated)
    assert progress_calls == [(15, 15)]
    assert evaluated.translations == translator.translate(TEST.sources, num_beams=2)
    for metric in (bleu, chrf):
        expected, score = metric(evaluated.translations, TEST.targets), metric.__name__
        stored = evaluated.results["scores"][score]
        assert stored["value"] == expected.value
        assert stored["signature"] == expected.signature
        low, high = stored["interval"]
        assert low + high == pytest.approx(2 * expected.value)
    assert evaluated.results["placeholders"]["total"] == 5
    assert evaluated.results["sentences_per_second"] > 0


def test_one_pair_has_scores_without_an_interval(tmp_path):
    saved(tmp_path)
    one = ParallelText(["three"], ["três"])
    translator = Translator.from_pretrained(tmp_path)
    silent = lambda done, total: None  # noqa: E731
    results = evaluate_translator(translator, one, DecodingConfig(), progress=silent).results
    assert [score["interval"] for score in results["scores"].values()] == [None] * 3


def test_the_interval_covers_the_mean_of_coins_as_often_as_it_says():
    """Exact match is a mean of zeros and ones: the normal interval of a binomial share."""
    from askew.tasks import _evaluate

    items = (1.0,) * 40 + (0.0,) * 60
    assert _evaluate._standard_error(items) == pytest.approx((0.4 * 0.6 / 99) ** 0.5)


def test_test_pairs_come_in_one_way(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\nc\td\n")
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_text("a\nc\n")
    other.write_text("b\nd\n")
    expected = ParallelText(["a", "c"], ["b", "d"])
    assert load_test(path, None, None) == load_test(None, one, other) == expected
    assert read_any(path) == expected
    assert PAIRS.sources
    for call in ((None, None, None), (path, one, other), (None, one, None)):
        with pytest.raises(ValueError, match="test pairs are needed in one way; got"):
            load_test(*call)


def test_the_part_that_training_splits_off_is_what_is_scored(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{n} apples\t{n} Apfel\n" for n in range(60)))
    split = load_text(Sources(data=path))[1]
    assert load_test(path, None, None, part="test") == split.test
    assert load_test(path, None, None, part="valid") == split.valid
    with pytest.raises(ValueError, match="part needs data; got part 'test' and no data"):
        load_test(None, path, path, part="test")
    assert not set(split.test.sources) & set(split.train.sources)
