"""A small question-answering model with random weights, and contexts of random words."""

import random

import torch

from askew.models import AsymmetricQAConfig, AsymmetricQAModel, QAConfig, QuestionAnswerer
from askew.text import Context, train_tokenizer
from askew.transformer import ReaderConfig, StackConfig

TEXT = "where anna ben rome oslo lives in the a red blue house tree and or with"
TOKENIZER = train_tokenizer([TEXT] * 3, vocab_size=330)
QUESTION = "where is anna"


def answerer(seed=0, window=20, overlap=6, longest=4, batch_windows=3):
    torch.manual_seed(seed)
    vocab = TOKENIZER.get_vocab_size()
    plain = QAConfig(
        question_vocab=vocab,
        context_vocab=vocab,
        question=StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16),
        context=StackConfig(d_model=12, num_layers=2, num_heads=2, d_ff=16),
        reader=ReaderConfig(d_model=8, num_layers=1, num_heads=2, d_key=4, d_ff=8),
        d_pool=6,
        max_question_tokens=12,
        max_context_tokens=window,
        overlap=overlap,
        max_answer_tokens=longest,
    )
    model = AsymmetricQAModel(AsymmetricQAConfig.from_plain(plain))
    return QuestionAnswerer(model, TOKENIZER, TOKENIZER, batch_windows=batch_windows)


def contexts(count):
    draw, words = random.Random(0), TEXT.split()
    texts = [" ".join(draw.choices(words, k=draw.randint(3, 60))) for _ in range(count)]
    return [Context(f"title {i}", text) for i, text in enumerate(texts)]
