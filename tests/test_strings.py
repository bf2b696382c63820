"""A string where a list of texts is due is refused in words, and never read letter by letter."""

import pytest
from small_answerer import TOKENIZER, answerer

from askew.metrics import (
    answer_exact_match,
    answer_f1,
    bleu,
    chrf,
    exact_match,
    placeholder_survival,
)
from askew.models import DecodingConfig, Translator
from askew.text import (
    BM25,
    Context,
    ParallelText,
    SpanTokenizer,
    TfidfIndex,
    count_overlap,
    find_placeholders,
    nearest_neighbour,
    protect_pairs,
    split_pairs,
    train_tokenizer,
    train_tokenizers,
)
from askew.tradeoffs import Budget, Metric, Range, SearchBudget
from askew.training import SideConfig, TrainingConfig, TranslationExamples
from askew.transformer import StackConfig

TEXT = "one cat"
LIST = list(TEXT)
PAIRS = ParallelText(LIST, LIST)


class Unused:
    def decode(self, sources, limits, config):
        raise AssertionError


TRANSLATOR = Translator(Unused(), TOKENIZER)
CALLS = {
    "bleu": lambda: bleu(TEXT, LIST),
    "bleu both": lambda: bleu(TEXT, TEXT),
    "chrf": lambda: chrf(LIST, TEXT),
    "exact_match": lambda: exact_match(TEXT, TEXT),
    "answer_f1": lambda: answer_f1(TEXT, [[one] for one in TEXT]),
    "answer_exact_match": lambda: answer_exact_match(LIST, TEXT),
    "placeholder_survival": lambda: placeholder_survival(LIST, TEXT, find_placeholders),
    "translate": lambda: TRANSLATOR.translate(TEXT),
    "hypotheses": lambda: TRANSLATOR.hypotheses(TEXT, DecodingConfig()),
    "train_tokenizer": lambda: train_tokenizer(TEXT),
    "train_tokenizers": lambda: train_tokenizers(ParallelText(LIST, TEXT), vocab_size=280),
    "split_pairs": lambda: split_pairs(ParallelText(TEXT, LIST)),
    "count_overlap": lambda: count_overlap(PAIRS, ParallelText(TEXT, LIST)),
    "protect_pairs": lambda: protect_pairs(ParallelText(TEXT, TEXT)),
    "nearest_neighbour": lambda: nearest_neighbour(TEXT, PAIRS),
    "nearest pairs": lambda: nearest_neighbour(LIST, ParallelText(TEXT, TEXT)),
    "encode_all": lambda: SpanTokenizer(TOKENIZER).encode_all(TEXT),
    "BM25": lambda: BM25(TEXT),
    "TfidfIndex": lambda: TfidfIndex(TEXT),
    "TranslationExamples": lambda: TranslationExamples(
        ParallelText(TEXT, TEXT), TOKENIZER, max_tokens=9
    ),
    "encode": lambda: answerer().encode(TEXT),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_string_is_no_list_of_texts(call):
    with pytest.raises(TypeError, match=r"must be a list of .*got .*'one cat'.*Put it into a list"):
        call()


def test_a_context_is_no_list_of_contexts():
    with pytest.raises(TypeError, match=r"must be a list of Context; got Context .*'a page'"):
        answerer().encode(Context("a page", TEXT))


@pytest.mark.parametrize("wrong", [None, 7, float("nan"), b"one"])
def test_what_is_no_text_in_a_list_is_refused_with_its_place(wrong):
    for call in (
        lambda: TRANSLATOR.translate(["one", wrong]),
        lambda: bleu(["one", wrong], ["one", "two"]),
        lambda: BM25(["one", wrong]),
    ):
        with pytest.raises(TypeError, match=r"must be texts; got .* at place 1, counted from 0"):
            call()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Budget, {"steps": "5"}),
        (Range, {"low": "1", "high": 2}),
        (SearchBudget, {"minutes": "5"}),
        (Metric, {"equivalence": "0.1", "name": "x", "label": "x"}),
        (DecodingConfig, {"num_beams": "2"}),
        (SideConfig, {"lr": "1e-3"}),
        (SideConfig, {"bpe_dropout": "0.1"}),
        (TrainingConfig, {"steps": "5"}),
        (TrainingConfig, {"patience": "5", "steps": 9}),
        (StackConfig, {"d_model": "64", "num_layers": 1, "num_heads": 2, "d_ff": 8}),
    ],
)
def test_a_number_in_quotes_is_refused(kind, settings):
    name = next(iter(settings))
    with pytest.raises(TypeError, match=rf"^{kind.__name__}: {name} must be a number; got {name}"):
        kind(**settings)
