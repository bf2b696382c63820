"""Parallel text: where it comes from, how it becomes tokens, how it becomes batches."""

from askew.text._batches import TokenBatches
from askew.text._bpe_dropout import BpeDropout
from askew.text._datasets import read_dataset
from askew.text._gettext import read_po, translate_po
from askew.text._neighbours import nearest_neighbour
from askew.text._pairs import ParallelText, SplitText, count_overlap, fingerprint, split_pairs
from askew.text._phrases import localisation_phrases
from askew.text._placeholders import find_placeholders, placeholder_kind
from askew.text._readers import read_aligned, read_pairs
from askew.text._tokenizer import END, PADDING, START, load_tokenizer, pad_batch, train_tokenizer
from askew.text._tokenizers import (
    Tokenizers,
    load_tokenizers,
    save_tokenizers,
    train_tokenizers,
)

__all__ = [
    "END",
    "PADDING",
    "START",
    "BpeDropout",
    "ParallelText",
    "SplitText",
    "TokenBatches",
    "Tokenizers",
    "count_overlap",
    "find_placeholders",
    "fingerprint",
    "load_tokenizer",
    "load_tokenizers",
    "localisation_phrases",
    "nearest_neighbour",
    "pad_batch",
    "placeholder_kind",
    "read_aligned",
    "read_dataset",
    "read_pairs",
    "read_po",
    "save_tokenizers",
    "split_pairs",
    "train_tokenizer",
    "train_tokenizers",
    "translate_po",
]
