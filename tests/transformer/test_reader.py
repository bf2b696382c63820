"""The reader scores spans, ignores padding, and refuses impossible settings."""

from dataclasses import replace

import pytest
import torch
from adapters import WRAPPERS, merge

from askew.transformer import Reader, ReaderConfig, ReaderLayer, SpanScores

CONFIG = ReaderConfig(
    d_model=16, num_layers=2, num_heads=2, d_key=8, d_ff=24, kernel_size=3, d_span=4
)
LENGTHS, ASKED = (7, 4), (3, 2)


def reader(seed=0, d_question=12, d_context=20):
    torch.manual_seed(seed)
    made = Reader(CONFIG, d_question=d_question, d_context=d_context).eval()
    torch.nn.init.normal_(made.gate.weight)  # as after some training
    return made


def mask(lengths):
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def inputs():
    torch.manual_seed(1)
    return torch.randn(2, max(ASKED), 12), torch.randn(2, max(LENGTHS), 16)


def read(net, question, context, **settings):
    return net(
        question,
        context,
        question_mask=mask(ASKED),
        context_mask=mask(LENGTHS),
        answer_mask=mask(LENGTHS),
        **settings,
    )


def test_padding_changes_nothing():
    net, (question, context) = reader(), inputs()
    both = read(net, question, context)
    assert isinstance(both, SpanScores)
    for row, (length, question_length) in enumerate(zip(LENGTHS, ASKED, strict=True)):
        alone = net(question[row : row + 1, :question_length], context[row : row + 1, :length])
        torch.testing.assert_close(both.spans[row, :length, :length], alone.spans[0])
        torch.testing.assert_close(both.nothing[row], alone.nothing[0])
        assert both.spans[row, length:].eq(-torch.inf).all()
        assert both.spans[row, :, length:].eq(-torch.inf).all()
    loud = context.masked_fill(~mask(LENGTHS).unsqueeze(-1), 1e3)
    again = read(net, question, loud)
    torch.testing.assert_close(both.spans, again.spans)


def test_only_spans_that_may_be_answers_have_a_score():
    net, (question, context) = reader(), inputs()
    spans = read(net, question, context, max_answer_tokens=2).spans
    places = torch.arange(7)
    distance = places - places[:, None]
    finite = (distance >= 0) & (distance < 2) & mask(LENGTHS)[:, None, :]
    assert torch.equal(spans.isfinite(), finite)
    torch.testing.assert_close(spans[finite], read(net, question, context).spans[finite])


def test_a_span_scores_its_start_its_end_and_how_they_suit_each_other():
    net, (question, context) = reader(), inputs()
    seen = {}
    net.ends.register_forward_hook(lambda _, __, out: seen.update(out=out))
    spans = net(question, context).spans
    start, end, u, v = seen["out"].split([1, 1, 4, 4], -1)
    for i, j in ((0, 0), (2, 5), (6, 6)):
        expected = start[1, i, 0] + end[1, j, 0] + u[1, i] @ v[1, j] / 4**0.5
        torch.testing.assert_close(spans[1, i, j], expected)


def test_both_sides_and_the_order_of_the_context_matter():
    net, (question, context) = reader(), inputs()
    base = net(question, context).spans
    assert not torch.allclose(base, net(question.flip(0), context).spans)
    turned = net(question, context.flip(1)).spans
    assert not torch.allclose(base.isfinite() * base.nan_to_num(), turned.nan_to_num())


@pytest.mark.parametrize("name", ["question_mask", "context_mask"])
def test_a_row_without_real_tokens_is_finite_and_leaves_the_others_as_they_are(name):
    net, (question, context) = reader(), inputs()
    masks = {"question_mask": mask(ASKED), "context_mask": mask(LENGTHS)}
    expected = net(question, context, **masks)
    masks[name][0] = False
    scores = net(question, context, **masks)
    allowed = torch.ones(scores.spans.shape[1:], dtype=torch.bool).triu()
    assert scores.spans[:, allowed].isfinite().all()
    assert scores.nothing.isfinite().all()
    for ours, theirs in zip(scores, expected, strict=True):
        torch.testing.assert_close(ours[1:], theirs[1:])
    (scores.spans[:, allowed].sum() + scores.nothing.sum()).backward()
    gradients = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", ["question_mask", "context_mask"])
def test_a_row_without_real_tokens_leaves_the_others_their_gradients(name):
    net, (question, context) = reader(), inputs()
    weights = [net.gate.weight, net.layers[0].context_attention.query.weight]
    gradients = []
    for emptied in (False, True):
        states = [t.clone().requires_grad_() for t in (question, context)]
        masks = {"question_mask": mask(ASKED), "context_mask": mask(LENGTHS)}
        masks[name][0] &= not emptied
        scores = net(*states, **masks)
        spans = scores.spans[1:]
        value = spans[spans.isfinite()].logsumexp(0) + scores.nothing[1:].sum()
        gradients.append(torch.autograd.grad(value, [*states, *weights]))
    for before, after in zip(*gradients, strict=True):
        torch.testing.assert_close(after, before)
    assert not gradients[1][0][0].any()
    assert not gradients[1][1][0].any()


def test_every_weight_gets_a_gradient():
    net, (question, context) = reader().train(), inputs()
    scores = read(net, question, net.context_states(torch.randn(2, 7, 20)))
    (scores.spans[scores.spans.isfinite()].logsumexp(0) + scores.nothing.sum()).backward()
    for name, weight in net.named_parameters():
        if not name.endswith("key.bias"):  # the same for all keys: the softmax does not see it
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name
    assert context.shape == (2, 7, 16)


def test_encoders_of_one_width_start_out_comparable():
    net = reader(d_question=20)
    assert torch.equal(net.question_in.weight, net.context_in.weight)
    assert torch.equal(
        net.layers[0].context_attention.key.weight, net.layers[0].context_attention.query.weight
    )


def test_stored_states_survive_half_precision():
    net = reader()
    states = net.context_states(1e4 * torch.randn(1, 5, 20))
    assert states.half().isfinite().all()
    torch.testing.assert_close(states.half().float(), states, atol=2e-3, rtol=2e-3)


def test_a_layer_alone_keeps_shapes():
    layer = ReaderLayer(CONFIG)
    context, question = layer(torch.randn(2, 5, 16), torch.randn(2, 3, 16))
    assert context.shape == (2, 5, 16)
    assert question.shape == (2, 3, 16)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_layers": 0}, "num_layers must be positive"),
        ({"d_key": 7}, "d_key must be a multiple of num_heads"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_wrong_numbers_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changed)


@pytest.mark.parametrize("wrapper", ["parametrization", "offload"])
def test_what_is_put_around_the_convolution_counts(wrapper):
    layer = ReaderLayer(CONFIG).eval()
    context, question = torch.randn(2, 7, 16), torch.randn(2, 3, 16)
    weight = WRAPPERS[wrapper](layer, "neighbours")
    wrapped, _ = layer(context, question)
    merge(layer, "neighbours", weight)
    torch.testing.assert_close(wrapped, layer(context, question)[0])


def test_hooks_of_the_convolution_run():
    layer, seen = ReaderLayer(CONFIG).eval(), []
    layer.neighbours.register_forward_hook(lambda _, args, output: seen.append(output.shape))
    layer(torch.randn(2, 7, 16), torch.randn(2, 3, 16))
    assert seen == [(2, 16, 7)]


@pytest.mark.parametrize("name", ["question_mask", "context_mask", "answer_mask"])
@pytest.mark.unhooked
def test_masks_that_do_not_fit_are_refused_by_their_names(name):
    net, (question, context) = reader(), inputs()
    with pytest.raises(ValueError, match=rf"Reader: {name} must be \[batch, keys\]"):
        net(question, context, **{name: torch.ones(2, 1, dtype=torch.bool)})
