"""Parallel text: where it comes from, how it becomes tokens, how it becomes batches."""

from askew.text._batches import TokenBatches
from askew.text._neighbours import nearest_neighbour
from askew.text._pairs import ParallelText, SplitText, count_overlap, fingerprint, split_pairs
from askew.text._phrases import localisation_phrases
from askew.text._readers import read_aligned, read_pairs
from askew.text._tokenizer import END, PADDING, START, load_tokenizer, pad_batch, train_tokenizer

__all__ = [
    "END",
    "PADDING",
    "START",
    "ParallelText",
    "SplitText",
    "TokenBatches",
    "count_overlap",
    "fingerprint",
    "load_tokenizer",
    "localisation_phrases",
    "nearest_neighbour",
    "pad_batch",
    "read_aligned",
    "read_pairs",
    "split_pairs",
    "train_tokenizer",
]
