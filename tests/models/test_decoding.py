"""The search: against every possible output, within limits, and alone as in company."""

import itertools
import math

import pytest
import torch
from saved_model import saved, sentences

from askew.models import (
    AsymmetricTranslationConfig,
    AsymmetricTranslationModel,
    DecodingConfig,
    Engine,
    TokenHypothesis,
    TorchEngine,
)
from askew.transformer import EncoderDecoderConfig, StackConfig

SOURCE = [3, 5, 4]


def tiny(vocab=6, seed=0):
    torch.manual_seed(seed)
    side = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=12, dropout=0.0)
    plain = EncoderDecoderConfig(
        source_vocab=vocab, target_vocab=vocab, encoder=side, decoder=side, tie_embeddings="none"
    )
    return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain)).eval()


def log_probability(model, source, tokens):
    with torch.no_grad():
        logits = model(
            torch.tensor([[*source, 2]]), decoder_input_ids=torch.tensor([[1, *tokens]])
        ).logits[0]
    labels = torch.tensor([*tokens, 2])
    return logits.double().log_softmax(-1)[torch.arange(len(labels)), labels].sum().item()


def every_output(model, source, limit, length_penalty):
    """All token sequences up to a length that can be written, the best first."""
    letters = [token for token in range(6) if token != 2]
    outputs = [
        list(tokens) for n in range(limit + 1) for tokens in itertools.product(letters, repeat=n)
    ]
    scored = []
    for tokens in outputs:
        total = log_probability(model, source, tokens)  # of a forced end too
        scored.append((total / (len(tokens) + 1) ** length_penalty, tokens))
    return sorted(scored, reverse=True)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_all_outputs_finds_the_best_of_all(seed, length_penalty):
    model = tiny(seed=seed)
    config = DecodingConfig(num_beams=125, num_hypotheses=3, length_penalty=length_penalty)
    ((*found,),) = TorchEngine(model).decode([SOURCE], [3], config)
    expected = every_output(model, SOURCE, 3, length_penalty)[:3]
    for hypothesis, (score, tokens) in zip(found, expected, strict=True):
        assert hypothesis.tokens == tokens
        assert hypothesis.score == pytest.approx(score, abs=1e-4)


def test_greedy_takes_the_most_probable_token_and_scores_it():
    model = tiny(seed=4)
    ((found,),) = TorchEngine(model).decode([SOURCE], [9], DecodingConfig())
    written = []
    while len(written) < 9:
        with torch.no_grad():
            logits = model(
                torch.tensor([[*SOURCE, 2]]), decoder_input_ids=torch.tensor([[1, *written]])
            ).logits[0, -1]
        if logits.argmax() == 2:
            break
        written.append(int(logits.argmax()))
    assert found.tokens == written
    expected = log_probability(model, SOURCE, written) / (len(written) + 1)
    assert isinstance(found, TokenHypothesis)
    assert found.score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "config", [DecodingConfig(), DecodingConfig(num_beams=3, num_hypotheses=2)]
)
def test_a_sentence_is_decoded_alone_as_in_company_and_within_its_own_limit(tmp_path, config):
    engine: Engine = TorchEngine(saved(tmp_path))
    sources = sentences(12)
    limits = [1 + row % 5 * 3 for row in range(12)]
    together = engine.decode(sources, limits, config)
    for source, limit, found in zip(sources, limits, together, strict=True):
        assert all(len(hypothesis.tokens) <= limit for hypothesis in found)
        (alone,) = engine.decode([source], [limit], config)
        assert [h.tokens for h in alone] == [h.tokens for h in found]
        assert [h.score for h in alone] == pytest.approx([h.score for h in found], abs=1e-4)
    assert any(len(found[0].tokens) == limit for limit, found in zip(limits, together, strict=True))


def test_n_best_is_sorted_and_different(tmp_path):
    config = DecodingConfig(num_beams=6, num_hypotheses=5)
    for found in TorchEngine(saved(tmp_path)).decode(sentences(6), [8] * 6, config):
        assert len({tuple(hypothesis.tokens) for hypothesis in found}) == 5
        scores = [hypothesis.score for hypothesis in found]
        assert scores == sorted(scores, reverse=True)


def first_tokens(model, count, **settings):
    config = DecodingConfig(sample=True, num_hypotheses=count, **settings)
    (found,) = TorchEngine(model).decode([SOURCE], [1], config)
    return [hypothesis.tokens[0] if hypothesis.tokens else 2 for hypothesis in found]


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_samples_are_as_frequent_as_the_model_says(temperature):
    model, draws = tiny(seed=2), 4000
    with torch.no_grad():
        logits = model(torch.tensor([[*SOURCE, 2]]), decoder_input_ids=torch.tensor([[1]])).logits[
            0, 0
        ]
    expected = (logits / temperature).softmax(-1) * draws
    drawn = torch.tensor(first_tokens(model, draws, temperature=temperature))
    found = torch.bincount(drawn, minlength=6)
    assert ((found - expected).square() / expected).sum() < 25  # chi-square, 5 degrees, p < 2e-4


def test_sampling_is_cut_to_the_top_is_repeated_by_its_seed_and_leaves_the_generator_alone():
    model = tiny(seed=2)
    with torch.no_grad():
        logits = model(torch.tensor([[*SOURCE, 2]]), decoder_input_ids=torch.tensor([[1]])).logits[
            0, 0
        ]
    order = logits.argsort(descending=True).tolist()
    assert set(first_tokens(model, 200, top_k=2)) == set(order[:2])
    nucleus = logits.softmax(-1)[order[0]].item() - 1e-3
    assert set(first_tokens(model, 200, top_p=nucleus)) == {order[0]}
    state = torch.random.get_rng_state()
    one, again, other = (first_tokens(model, 50, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_beams": 0}, "num_beams must be positive; got num_beams 0"),
        ({"num_hypotheses": 2}, "at most num_beams; got num_hypotheses 2, num_beams 1"),
        ({"sample": True, "num_beams": 2}, "sampling needs one beam; got num_beams 2"),
        ({"temperature": 0.0}, "temperature must be positive"),
        *(
            ({"sample": True, "temperature": value}, r"temperature must be in \[0.001, 1000\]")
            for value in (1e-9, math.inf)
        ),
        *(
            ({"length_penalty": value}, rf"length_penalty must be in \[-10, 10\]; got .* {value}")
            for value in (math.nan, math.inf, 400.0)
        ),
        ({"sample": True, "seed": -1}, "seed must be in .*; got seed -1"),
        ({"sample": True, "seed": 2**32}, "seed must be in .*; got seed 4294967296"),
        ({"top_p": 0.9}, "top_p needs sample; got top_p 0.9 without"),
        ({"top_k": 3}, "top_k needs sample; got top_k 3 without"),
        ({"temperature": 0.5}, "temperature needs sample; got temperature 0.5 without"),
        ({"seed": 3}, "seed needs sample; got seed 3 without"),
        ({"top_k": -1}, "top_k must be >= 0; got top_k -1"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]; got top_p 0.0"),
    ],
)
def test_refuses_numbers_that_do_not_go_together(changes, message):
    with pytest.raises(ValueError, match=f"DecodingConfig: .*{message}"):
        DecodingConfig(**changes)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_every_sample_is_scored_as_the_model_scores_it_whole(length_penalty):
    model, config = (
        tiny(seed=2),
        DecodingConfig(sample=True, num_hypotheses=20, length_penalty=length_penalty),
    )
    samples = TorchEngine(model).decode([SOURCE, [4]], [6, 3], config)
    for source, found in zip((SOURCE, [4]), samples, strict=True):
        assert len({len(hypothesis.tokens) for hypothesis in found}) > 2
        for tokens, score in found:
            expected = log_probability(model, source, tokens) / (len(tokens) + 1) ** length_penalty
            assert score == pytest.approx(expected, abs=1e-4)
