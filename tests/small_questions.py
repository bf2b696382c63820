"""Contexts that say where people live, questions about them, and a small model."""

import random

import torch

from askew.models import AsymmetricQAConfig, AsymmetricQAModel, QAConfig
from askew.text import Context, Question, QuestionSet, SpanTokenizer, train_tokenizer
from askew.training import QuestionExamples
from askew.transformer import ReaderConfig, StackConfig

NAMES = ["anna", "ben", "carl", "dora", "emil", "fritz", "gerda", "hans"]
PLACES = ["rome", "oslo", "lima", "bonn", "cairo", "delhi", "paris", "tokyo"]


def where_people_live(count, seed):
    """Contexts that say where three people live, and a question about each of them."""
    draw = random.Random(seed)
    contexts, questions = [], []
    for row in range(count):
        names, places = draw.sample(NAMES, 3), draw.sample(PLACES, 3)
        said = [f"{name} is in {place} ." for name, place in zip(names, places, strict=True)]
        text = " ".join(said)
        contexts.append(Context(f"article {row % 4}", text))
        for name, place in zip(names, places, strict=True):
            start = text.index(place)
            questions.append(
                Question(f"{row}-{name}", f"where is {name}", row, ((start, start + len(place)),))
            )
    return QuestionSet(contexts, questions, [])


TEXT = where_people_live(6, seed=0)
TOKENIZER = SpanTokenizer(train_tokenizer([c.text for c in TEXT.contexts] * 3, vocab_size=330))
SIZES = {
    "max_context_tokens": 12,
    "overlap": 5,
    "max_question_tokens": 9,
    "max_answer_tokens": 4,
}


def examples(part=TEXT, **changed):
    return QuestionExamples(part, TOKENIZER, TOKENIZER, **{**SIZES, **changed})


def tiny_model(seed=0):
    torch.manual_seed(seed)
    vocab = TOKENIZER.tokenizer.get_vocab_size()
    side = StackConfig(d_model=32, num_layers=1, num_heads=2, d_ff=48, dropout=0.0)
    plain = QAConfig(
        question_vocab=vocab,
        context_vocab=vocab,
        question=side,
        context=side,
        reader=ReaderConfig(d_model=32, num_layers=1, num_heads=2, d_key=16, d_ff=32, dropout=0.0),
        d_pool=16,
        **{**SIZES, "max_context_tokens": 40},
    )
    return AsymmetricQAModel(AsymmetricQAConfig.from_plain(plain))
