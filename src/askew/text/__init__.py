"""Parallel text, questions and documents: readers, tokenizers and batches."""

from askew.text._batches import TokenBatches
from askew.text._bm25 import BM25
from askew.text._bpe_dropout import BpeDropout
from askew.text._datasets import read_dataset
from askew.text._documents import list_documents, read_document_files, read_documents
from askew.text._fusion import fuse_ranks, fuse_scores
from askew.text._gettext import read_po, translate_po
from askew.text._labelled import LabelledTexts, read_labelled, read_labelled_dataset
from askew.text._neighbours import nearest_neighbour
from askew.text._pairs import ParallelText, SplitText, count_overlap, fingerprint, split_pairs
from askew.text._passage_search import Passage, PassageSearch
from askew.text._passages import cut_passages, sentence_spans
from askew.text._phrases import labelled_phrases, localisation_phrases
from askew.text._placeholders import find_placeholders, placeholder_kind
from askew.text._places import Place, find_place
from askew.text._protect import Protected, protect, protect_pairs, protect_target, restore
from askew.text._questions import (
    Context,
    Question,
    QuestionSet,
    SplitQuestions,
    split_by_article,
    with_unanswerable,
)
from askew.text._readers import numbered_aligned, numbered_pairs, read_aligned, read_pairs
from askew.text._squad import read_question_lines, read_questions, read_squad
from askew.text._tfidf import TfidfIndex
from askew.text._tokenizer import (
    END,
    PADDING,
    START,
    is_protecting,
    load_any_tokenizer,
    load_tokenizer,
    pad_batch,
    read_special_tokens_as_text,
    train_tokenizer,
)
from askew.text._tokenizers import (
    Tokenizers,
    load_tokenizers,
    save_tokenizer_settings,
    save_tokenizers,
    train_tokenizers,
)
from askew.text._windows import SpanTokenizer, TextTokens, cut_windows, tokens_of_span
from askew.text._xliff import translate_xliff

__all__ = [
    "BM25",
    "END",
    "PADDING",
    "START",
    "BpeDropout",
    "Context",
    "LabelledTexts",
    "ParallelText",
    "Passage",
    "PassageSearch",
    "Place",
    "Protected",
    "Question",
    "QuestionSet",
    "SpanTokenizer",
    "SplitQuestions",
    "SplitText",
    "TextTokens",
    "TfidfIndex",
    "TokenBatches",
    "Tokenizers",
    "count_overlap",
    "cut_passages",
    "cut_windows",
    "find_place",
    "find_placeholders",
    "fingerprint",
    "fuse_ranks",
    "fuse_scores",
    "is_protecting",
    "labelled_phrases",
    "list_documents",
    "load_any_tokenizer",
    "load_tokenizer",
    "load_tokenizers",
    "localisation_phrases",
    "nearest_neighbour",
    "numbered_aligned",
    "numbered_pairs",
    "pad_batch",
    "placeholder_kind",
    "protect",
    "protect_pairs",
    "protect_target",
    "read_aligned",
    "read_dataset",
    "read_document_files",
    "read_documents",
    "read_labelled",
    "read_labelled_dataset",
    "read_pairs",
    "read_po",
    "read_question_lines",
    "read_questions",
    "read_special_tokens_as_text",
    "read_squad",
    "restore",
    "save_tokenizer_settings",
    "save_tokenizers",
    "sentence_spans",
    "split_by_article",
    "split_pairs",
    "tokens_of_span",
    "train_tokenizer",
    "train_tokenizers",
    "translate_po",
    "translate_xliff",
    "with_unanswerable",
]
