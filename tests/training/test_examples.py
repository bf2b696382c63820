"""Pairs become token numbers, and batches that teach to predict the next one."""

import pickle

import pytest
import torch

from askew.text import ParallelText, TokenBatches, Tokenizers, train_tokenizer
from askew.training import EpochBatches, TranslationExamples, collate_translation

PAIRS = ParallelText(["one", "two 12", "three"], ["um", "dois 12", "três"])
TOKENIZER = train_tokenizer(["one um"], vocab_size=259)  # one token per byte


def test_examples_are_the_tokens_of_both_sides():
    examples = TranslationExamples(PAIRS, TOKENIZER, max_tokens=8)
    assert len(examples) == 3
    for row, (source, target) in enumerate(examples[i] for i in range(3)):
        assert TOKENIZER.decode(source) == PAIRS.sources[row]
        assert TOKENIZER.decode(target) == PAIRS.targets[row]


def test_special_tokens_in_pairs_are_text_in_a_copied_tokenizer_too():
    pairs = ParallelText(["<s>a</s>"], ["<pad>b"])
    for tokenizer in (TOKENIZER, pickle.loads(pickle.dumps(TOKENIZER))):
        ((source, target),) = TranslationExamples(pairs, tokenizer, max_tokens=10)
        assert (len(source), len(target)) == (8, 6)
        assert (tokenizer.decode(source), tokenizer.decode(target)) == ("<s>a</s>", "<pad>b")


def test_lengths_count_the_end_token():
    examples = TranslationExamples(PAIRS, TOKENIZER, max_tokens=8)
    assert examples.lengths == [(4, 3), (7, 8), (6, 6)]  # the ê is two bytes
    for pair, lengths in zip(examples, examples.lengths, strict=True):
        batch = collate_translation([pair])
        assert (batch["input_ids"].numel(), batch["labels"].numel()) == lengths


def test_collated_by_hand():
    batch = collate_translation([([5], [6, 7]), ([8, 9, 10], [])])
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[5, 2, 0, 0], [8, 9, 10, 2]],
        "attention_mask": [[1, 1, 0, 0], [1, 1, 1, 1]],
        "decoder_input_ids": [[1, 6, 7], [1, 0, 0]],
        "labels": [[6, 7, 2], [2, -100, -100]],
    }
    assert {tensor.dtype for tensor in batch.values()} == {torch.long}


def test_refuses_a_side_beyond_the_budget_and_names_the_pair():
    with pytest.raises(
        ValueError, match=r"max_tokens 7; got pair 2 with 8 tokens: 'two 12'.*raise training\.b"
    ):
        TranslationExamples(PAIRS, TOKENIZER, max_tokens=7)
    long_source = ParallelText(["x" * 60], ["y"])
    with pytest.raises(ValueError, match=r"max_tokens 60; got pair 1 with 61 tokens: 'x{40}'\. "):
        TranslationExamples(long_source, TOKENIZER, max_tokens=60)
    assert len(TranslationExamples(long_source, TOKENIZER, max_tokens=61)) == 1


WORDS = train_tokenizer(["three trees see three bees"] * 9, vocab_size=280)


def test_each_side_has_its_tokenizer():
    examples = TranslationExamples(PAIRS, Tokenizers(TOKENIZER, WORDS), max_tokens=8)
    source, target = examples[2]
    assert source == TOKENIZER.encode("three").ids
    assert target == WORDS.encode("três").ids


def test_bpe_dropout_cuts_one_side_anew_in_every_epoch_and_the_same_again():
    text = ParallelText(["three trees see", "three bees"], ["three trees see", "three bees"])
    made, again, other = (
        TranslationExamples(text, WORDS, max_tokens=99, bpe_dropout=(0.5, 0.0), seed=seed)
        for seed in (3, 3, 4)
    )
    epochs = [made[2 * epoch] for epoch in range(40)]
    assert len({tuple(source) for source, _ in epochs}) > 5
    assert {tuple(target) for _, target in epochs} == {tuple(WORDS.encode("three trees see").ids)}
    assert {WORDS.decode(source) for source, _ in epochs} == {"three trees see"}
    assert epochs == [again[2 * epoch] for epoch in range(40)]
    assert epochs != [other[2 * epoch] for epoch in range(40)]
    assert made.lengths == TranslationExamples(text, WORDS, max_tokens=99).lengths


def test_row_numbers_say_the_epoch():
    lengths = [(2, 2), (3, 3), (2, 3)]
    batches = TokenBatches(lengths, max_tokens=6, num_batches=5, seed=0)
    numbered = list(EpochBatches(batches, 3))
    assert len(EpochBatches(batches, 3)) == 5
    assert [[row % 3 for row in batch] for batch in numbered] == list(batches)
    flat = [row for batch in numbered for row in batch]
    assert sorted(flat[:3]) == [0, 1, 2]
    assert sorted(flat[3:6]) == [3, 4, 5]
