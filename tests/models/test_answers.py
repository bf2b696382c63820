"""The best spans of many windows are those that a plain loop finds."""

import random

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from askew.models import AsymmetricQAConfig, AsymmetricQAModel, Encoded, QuestionAnswerer
from askew.models._answers import find_answers
from askew.text import Context, train_tokenizer
from askew.transformer import SpanScores

LETTERS = "abc"
BYTES = train_tokenizer(["a b c"], vocab_size=300)


def word_pieces():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{c}" for c in LETTERS)]
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def answerer(tokenizer):
    plain = AsymmetricQAConfig(
        question_vocab=300,
        context_vocab=300,
        max_context_tokens=12,
        overlap=4,
        max_answer_tokens=3,
    )
    model = AsymmetricQAModel(plain)
    return QuestionAnswerer(model, tokenizer, tokenizer, batch_windows=3)


class Planted:
    """Gives every span of every window a score of its own, in the order of the batches."""

    def __init__(self, scores, nothing, batches):
        self.scores, self.nothing, self.batches = scores, nothing, iter(batches)

    def read(self, question, context, answer_mask):
        rows, length = next(self.batches), context.states.shape[1]
        near = torch.ones(length, length).triu().tril(2).bool()
        allowed = near & answer_mask.unsqueeze(1) & answer_mask.unsqueeze(2)
        spans = self.scores[rows, :length, :length].masked_fill(~allowed, -torch.inf)
        return SpanScores(spans, self.nothing[rows])


def plain_loop(index, scores, nothing):
    best = {}
    for window in range(index.num_windows):
        held = index.gather(torch.tensor([window]))
        context, places = int(held.contexts[0]), held.places[0].tolist()
        text = index.contexts[context].text
        for i, (start, _) in enumerate(places):
            for j, (_, end) in enumerate(places[i : i + 3], i):
                piece = text[start:end] if min(start, end) >= 0 else ""
                if piece.strip():
                    first = start + len(piece) - len(piece.lstrip())
                    place = (context, first, first + len(piece.strip()))
                    score = float(scores[window, i, j] - nothing[window])
                    best[place] = max(score, best.get(place, score))
    return best


@pytest.mark.parametrize("tokenizer", [BYTES, word_pieces()], ids=["bytes", "pieces"])
@pytest.mark.parametrize("top_k", [1, 4, 10**4])
@pytest.mark.parametrize("seed", range(5))
def test_they_are_those_of_a_plain_loop(tokenizer, top_k, seed):
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    reader = answerer(tokenizer)
    texts = ["".join(draw.choices("abc      \n", k=draw.randint(1, 40))) for _ in range(6)]
    index = reader.encode([Context("", text) for text in texts])
    scores = torch.randn(index.num_windows, 12, 12, generator=generator)
    scores[::2] -= 20 * (seed % 2)  # windows that differ much: only margins compare
    nothing = torch.randn(index.num_windows, generator=generator)
    nothing[::2] -= 20 * (seed % 2)
    batches = torch.arange(index.num_windows).split(3)
    question = Encoded(torch.zeros(1, 2, 8), torch.zeros(1, 8), torch.ones(1, 2).bool())
    planted = Planted(scores, nothing, batches)
    found = find_answers(planted, question, index, batches, top_k=top_k)
    expected = plain_loop(index, scores, nothing)
    best = sorted(expected, key=expected.get, reverse=True)[:top_k]
    assert [(a.context, a.start, a.end) for a in found] == best
    assert [a.score for a in found] == [expected[place] for place in best]
    assert all(a.text == texts[a.context][a.start : a.end] for a in found)


def test_an_encoder_sees_what_it_expects_around_every_window():
    reader = answerer(word_pieces())
    index = reader.encode([Context("", "ab c"), Context("", "a" * 30)], dtype="float32")
    lengths = index.window_lengths.tolist()
    assert max(lengths) == 12
    for window, length in enumerate(lengths):
        held = index.gather(torch.tensor([window]))
        text = index.contexts[int(held.contexts[0])].text
        places = held.places[0].tolist()
        assert places[0] == places[-1] == [-1, -1]
        first, last = places[1][0], places[-2][1]
        inner = reader.context_tokenizer.encode(text)
        chosen = inner.ids[(inner.starts >= first) & (inner.ends <= last)]
        tokens = torch.tensor([[2, *chosen.tolist(), 3]])
        assert tokens.shape == (1, length)
        with torch.no_grad():
            encoded = reader.model.encode_contexts(tokens)
        torch.testing.assert_close(held.states, encoded.states)
        torch.testing.assert_close(index.vectors[window : window + 1], encoded.vectors)
