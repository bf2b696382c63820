"""Laws of what students learn from, for drawn logits, layers, words and schedules."""

from itertools import pairwise

import pytest
import torch
from families import small_model
from hypothesis import given, settings
from hypothesis import strategies as st

from askew.losses import distillation_loss, top_k
from askew.metrics import sentence_chrf, word_error_rate
from askew.models import check_widths, choose_layers, kept_layers, shrink
from askew.optim import wsd

numbers = st.floats(-30, 30)
kinds = st.sampled_from(["forward", "reverse", "skewed", "js"])
words = st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=6)


@st.composite
def sides(draw):
    classes = draw(st.integers(2, 6))
    row = st.lists(numbers, min_size=classes, max_size=classes)
    return tuple(torch.tensor([draw(row)], dtype=torch.double) for _ in range(2))


@given(sides(), kinds, st.floats(0.5, 4.0))
def test_a_divergence_is_never_negative_and_nothing_between_equals(both, kind, temperature):
    student, teacher = both
    given_ = {"divergence": kind, "temperature": temperature}
    assert distillation_loss(student, teacher, **given_) >= -1e-12
    assert abs(distillation_loss(teacher, teacher, **given_)) < 1e-12


@given(sides(), st.floats(0.5, 4.0))
def test_the_mirror_of_forward_is_reverse(both, temperature):
    forward = distillation_loss(*both, temperature=temperature)
    reverse = distillation_loss(*both[::-1], divergence="reverse", temperature=temperature)
    torch.testing.assert_close(forward, reverse)


@given(sides(), st.data())
def test_the_largest_and_the_rest_are_all(both, data):
    logits, other = both
    k = data.draw(st.integers(1, logits.shape[1]))
    kept = top_k(logits, k)
    total = kept.log_probabilities.exp().sum() + kept.log_rest.exp().sum()
    assert total.item() == pytest.approx(1)
    assert (
        kept.log_probabilities[0, -1] >= logits.log_softmax(-1).sort(descending=True)[0][0, k - 1]
    )
    assert distillation_loss(other, kept) <= distillation_loss(other, logits) + 1e-9


@given(
    st.integers(1, 500), st.floats(0.01, 1), st.floats(0, 1), st.sampled_from(["linear", "sqrt"])
)
def test_wsd_falls_to_its_end_and_is_stable_before(steps, decay, end, shape):
    rates = [wsd(steps, decay=decay, end=end, shape=shape)(step) for step in range(steps + 2)]
    assert all(later <= rate + 1e-12 for rate, later in pairwise(rates))
    assert rates[steps] == rates[-1] == pytest.approx(end)
    assert rates[: steps - max(1, round(decay * steps)) + 1].count(1.0) >= 1


@given(st.lists(words, min_size=1, max_size=5), st.randoms())
def test_words_and_characters_are_right_of_what_is_equal(texts, rng):
    references = [" ".join(text) for text in texts]
    assert sentence_chrf(references, references) == pytest.approx([100] * len(texts))
    assert word_error_rate(references, references).value == 0
    shuffled = [" ".join(rng.sample(text, len(text))) for text in texts]
    assert 0 <= word_error_rate(shuffled, references).value <= 1
    assert all(0 <= score <= 100 for score in sentence_chrf(shuffled, references))


@given(st.integers(1, 40), st.data())
def test_kept_layers_are_as_many_different_ones_in_order(depth, data):
    count = data.draw(st.integers(1, depth))
    rule = data.draw(st.sampled_from(["spread", "first", "last"]))
    kept = kept_layers(depth, count, rule)
    assert kept == sorted(set(kept))
    assert len(kept) == count
    assert 0 <= kept[0] <= kept[-1] < depth


@settings(max_examples=5)
@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from(["spread", "first", "last"]))
def test_a_student_has_the_layers_that_are_chosen(encoder, decoder, rule):
    model = small_model("Marian")
    chosen = choose_layers(model, encoder_layers=encoder, decoder_layers=decoder, keep=rule)
    student = shrink(model, keep=chosen)
    weights = model.state_dict()
    for side, layers in chosen.items():
        for place, layer in enumerate(layers):
            name = f"model.{side}.layers.{{}}.fc1.weight"
            assert torch.equal(
                student.state_dict()[name.format(place)], weights[name.format(layer)]
            )


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 20), st.integers(1, 3), st.integers(1, 20))
def test_a_student_has_the_widths_that_can_be_cut_and_others_are_refused(width, heads, ff):
    model = small_model("askew")  # 16 channels, 2 heads, 16 units
    widths = {"decoder_width": width, "encoder_heads": heads, "decoder_ff": ff}
    tokens = torch.tensor([[3, 4, 5], [6, 7, 8]])
    batches = [{"input_ids": tokens, "labels": tokens}]
    if width > 16 or heads > 2 or ff > 16:
        with pytest.raises(ValueError, match="what the model has; got"):
            check_widths(model, **widths)
        return
    check_widths(model, **widths)
    plain = shrink(model, **widths, batches=batches).config.to_plain()
    assert (plain.decoder.d_model, plain.encoder.num_heads, plain.decoder.d_ff) == (
        width,
        heads,
        ff,
    )
    assert (plain.encoder.d_model, plain.decoder.num_heads, plain.encoder.d_ff) == (16, 2, 16)
