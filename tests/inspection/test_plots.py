"""Pictures show the numbers of the parts, and refuse what they cannot show."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import nn

from askew.attention import ALiBi, AsymmetricAttention, RelativeBias, attend, band_mask
from askew.inspection import (
    BiasData,
    LossSidesData,
    bias_data,
    loss_sides_data,
    plot_bias,
    plot_loss_sides,
    plot_mask,
    plot_parts,
    plot_schedule,
)
from askew.losses import AsymmetricBCELoss, asymmetric_bce_loss, hill_loss
from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    PartsTable,
    RatesTable,
    constant,
    cosine,
    describe,
    freeze_until,
    linear,
    parts_table,
    preview,
)


@pytest.fixture
def ax():
    return Figure().subplots()


def small_optimizer():
    model = nn.ModuleDict({"body": nn.Linear(7, 5), "head": nn.Linear(5, 3)})
    parts = {"body": 1e-4, "head": {"lr": 1e-2, "weight_decay": 0.5}}
    return AsymmetricOptimizer(model, parts)


def curve(line):
    return list(line.get_xdata()), list(line.get_ydata())


def test_equal_sides_mirror_each_other():
    sides = loss_sides_data(AsymmetricBCELoss(gamma_pos=2.0, gamma_neg=2.0))
    torch.testing.assert_close(sides.loss_pos, sides.loss_neg.flip(0))
    torch.testing.assert_close(sides.gradient_pos, -sides.gradient_neg.flip(0))


def test_the_sides_of_cross_entropy_are_those_of_its_formula():
    sides = loss_sides_data(F.binary_cross_entropy_with_logits, limit=3.0, points=7)
    assert isinstance(sides, LossSidesData)
    assert sides.logits.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    torch.testing.assert_close(sides.loss_pos, F.softplus(-sides.logits))
    torch.testing.assert_close(sides.loss_neg, F.softplus(sides.logits))
    torch.testing.assert_close(sides.gradient_pos, sides.logits.sigmoid() - 1)
    torch.testing.assert_close(sides.gradient_neg, sides.logits.sigmoid())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_sides_are_those_of_the_loss_under_every_reduction(reduction):
    settings = {"weight_pos": 3.0, "gamma_neg": 4.0, "margin": 0.05}
    with torch.no_grad():
        sides = loss_sides_data(AsymmetricBCELoss(**settings, reduction=reduction))
    for target, values, slopes in (
        (1.0, sides.loss_pos, sides.gradient_pos),
        (0.0, sides.loss_neg, sides.gradient_neg),
    ):
        x = sides.logits.clone().requires_grad_()
        losses = asymmetric_bce_loss(x, torch.full_like(x, target), **settings, reduction="none")
        torch.testing.assert_close(values, losses.detach())
        torch.testing.assert_close(slopes, torch.autograd.grad(losses.sum(), x)[0])


def test_two_sides_are_two_curves_with_the_same_colours_in_every_picture(ax):
    sides = loss_sides_data(hill_loss, limit=4.0)
    assert plot_loss_sides(hill_loss, ax, limit=4.0) is ax
    plot_loss_sides(hill_loss, ax, show="gradient", against="probability", limit=4.0)
    assert [line.get_label() for line in ax.lines] == ["positive", "negative"] * 2
    shown = (sides.loss_pos, sides.loss_neg, sides.gradient_pos, sides.gradient_neg)
    at = [sides.logits] * 2 + [sides.logits.sigmoid()] * 2
    for line, *point in zip(ax.lines, at, shown, strict=True):
        assert curve(line) == tuple(values.tolist() for values in point)
    colours = [to_hex(line.get_color()) for line in ax.lines]
    assert colours[:2] == colours[2:]
    assert colours[0] != colours[1]
    assert ax.get_xlabel() == "probability of the positive class"
    assert ax.get_ylabel() == "gradient with respect to the logit"


def test_a_bias_is_what_attention_adds():
    bias = RelativeBias(3, window=(4, 1))
    nn.init.normal_(bias.table)
    data = bias_data(bias)
    assert isinstance(data, BiasData)
    assert data.offsets.tolist() == [-4, -3, -2, -1, 0, 1]
    assert not data.values.requires_grad
    q, k, v = (torch.randn(1, 3, 9, 5) for _ in range(3))
    visible = band_mask(9, 9, 4, 1)
    apart = torch.arange(9) - torch.arange(9)[:, None]  # key - query
    dense = data.values[:, (apart + 4).clamp(0, 5)]
    torch.testing.assert_close(
        attend(q, k, v, attn_mask=visible, bias=dense).output,
        attend(q, k, v, window=(4, 1), relative_bias=bias.table).output,
    )


@pytest.mark.parametrize(
    ("bias", "first", "last"),
    [
        (RelativeBias(2), -32, 32),
        (RelativeBias(2, causal=True), -32, 0),
        (RelativeBias(2, window=(3, 0)), -3, 0),
        (ALiBi(2), -32, 32),
        (AsymmetricAttention(8, num_heads=2, window=(5, 2), position="relative").position, -5, 2),
    ],
)
def test_a_bias_is_shown_as_far_as_it_reaches(bias, first, last):
    offsets = bias_data(bias).offsets.tolist()
    assert offsets == list(range(first, last + 1))
    assert bias_data(bias, reach=(1, 2)).offsets.tolist() == [-1, 0, 1, 2]


def test_every_head_has_a_curve_of_its_own_style(ax):
    bias = ALiBi(9, slopes_after=tuple(range(9)))
    data = bias_data(bias, reach=(3, 5))
    assert plot_bias(bias, ax, reach=(3, 5)) is ax
    own, *heads = ax.lines
    assert set(own.get_xdata()) == {0}
    for line, values in zip(heads, data.values.tolist(), strict=True):
        assert curve(line) == (data.offsets.tolist(), values)
    assert len({(line.get_color(), line.get_linestyle()) for line in heads}) == 9
    assert [text.get_text() for text in ax.get_legend().texts] == ["head 0", "head 8"]


def test_a_mask_has_its_first_query_at_the_top_and_its_first_key_at_the_left(ax):
    mask = band_mask(5, 8, before=2, after=0, num_sinks=1)
    assert plot_mask(mask, ax) is ax
    (image,) = ax.images
    assert image.get_array().tolist() == mask.float().tolist()
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert ax.get_xlim()[0] < ax.get_xlim()[1]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("query", "key")
    assert to_hex(image.cmap(1.0)) != to_hex(image.cmap(0.0))


def test_rates_are_those_of_the_preview_and_zero_is_a_gap(ax):
    scheduler = AsymmetricScheduler(
        small_optimizer(), {"body": freeze_until(3, linear(6)), "head": cosine(8)}
    )
    table = preview(scheduler, 10)
    assert plot_schedule(table, ax) is ax
    for line, (part, rates) in zip(ax.lines, table.rates.items(), strict=True):
        assert line.get_label() == part
        assert curve(line) == (list(table.steps), list(rates))
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] == pytest.approx(1e-6)  # of 1e-4, the lower peak
    at_zero = ax.yaxis.get_transform().transform([0.0])
    assert not torch.tensor(at_zero).isfinite().any()


def test_parts_that_are_never_trained_have_an_ordinary_axis(ax):
    still = AsymmetricScheduler(small_optimizer(), {"body": constant(0), "head": constant(0)})
    plot_schedule(preview(still, 4), ax)
    assert ax.get_yscale() == "linear"


def test_bars_are_the_rows_of_the_table_from_the_top(ax):
    table = describe(small_optimizer())
    assert plot_parts(table, ax) is ax
    assert [bar.get_width() for bar in ax.patches] == [row.parameters for row in table.rows]
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "body\nAdamW, rate 0.0001, decay 0.01",
        "head\nAdamW, rate 0.01, decay 0.5",
    ]
    assert [text.get_text() for text in ax.texts] == ["40", "18"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_parts_without_algorithm_and_decay_say_their_rate_alone(ax):
    table = parts_table(nn.Linear(3, 2), {"all": "**"}, {"all": 0.25})
    plot_parts(table, ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["all\nrate 0.25"]


DRAWN = {
    "mask": lambda ax=None: plot_mask(band_mask(3, 3, 1, 0), ax),
    "bias": lambda ax=None: plot_bias(ALiBi(2), ax),
    "loss_sides": lambda ax=None: plot_loss_sides(hill_loss, ax),
    "schedule": lambda ax=None: plot_schedule(RatesTable((0, 1), {"a": (0.1, 0.2)}), ax),
    "parts": lambda ax=None: plot_parts(describe(small_optimizer()), ax),
}


@pytest.mark.parametrize("name", DRAWN)
def test_axes_are_those_given_or_those_of_a_new_figure(name, tmp_path):
    from matplotlib import pyplot

    new = DRAWN[name]()
    try:
        assert pyplot.gcf() is new.figure
        new.figure.savefig(tmp_path / "picture.png")
        assert (tmp_path / "picture.png").stat().st_size > 1000
    finally:
        pyplot.close(new.figure)
    words = rf"^plot_{name}: ax must be axes of matplotlib; got ax of type ndarray. Of several"
    with pytest.raises(TypeError, match=words):
        DRAWN[name](Figure().subplots(2))


def test_without_matplotlib_the_extra_is_named_and_the_numbers_are_there():
    code = """
import sys
sys.modules["matplotlib"] = None
from askew.attention import ALiBi
from askew.inspection import bias_data, plot_bias
assert bias_data(ALiBi(2)).values.shape == (2, 65)
try:
    plot_bias(ALiBi(2))
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == (
        "plot_bias: matplotlib must be installed; got none. Run pip install 'askew[plots]'\n"
    ), done.stderr


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: plot_mask(torch.ones(3, 3)),
            TypeError,
            r"plot_mask: mask must be a boolean tensor, .*; got mask of dtype torch.float32",
        ),
        (lambda: plot_mask([[True]]), TypeError, "boolean tensor, .*; got mask of a list"),
        (
            lambda: plot_mask(torch.ones(2, 3, 4, dtype=torch.bool)),
            ValueError,
            r"plot_mask: mask must be \[queries, keys\], .*; got mask of shape \(2, 3, 4\). Choose",
        ),
        (lambda: plot_mask(band_mask(0, 3, 1, 0)), ValueError, r"got mask of shape \(0, 3\)"),
        (
            lambda: bias_data(AsymmetricAttention(8, num_heads=2)),
            TypeError,
            "bias_data: bias must be a RelativeBias or an ALiBi; got bias of type AsymmetricAtt",
        ),
        (
            lambda: plot_bias(ALiBi(2), reach=(-1, 2)),
            ValueError,
            r"bias_data: reach must be \(before, after\), both >= 0; got reach \(-1, 2\)",
        ),
        (
            lambda: loss_sides_data("bce"),
            TypeError,
            "loss_sides_data: loss must be a function of logits and targets; got loss 'bce'",
        ),
        (lambda: loss_sides_data(hill_loss, limit=0.0), ValueError, "finite; got limit 0.0"),
        (lambda: loss_sides_data(hill_loss, points=1), ValueError, "at least 2; got points 1"),
        (
            lambda: loss_sides_data(lambda x, y: x.detach()),
            ValueError,
            "the loss of one logit must be one number with a gradient; got tensor",
        ),
        (
            lambda: plot_loss_sides(hill_loss, show="slope"),
            ValueError,
            "plot_loss_sides: show must be one of loss, gradient; got show 'slope'",
        ),
        (
            lambda: plot_loss_sides(hill_loss, against="p"),
            ValueError,
            "plot_loss_sides: against must be one of logit, probability; got against 'p'",
        ),
        (
            lambda: plot_schedule(constant()),
            TypeError,
            r"plot_schedule: rates must be a RatesTable; got rates of type .*. preview\(scheduler",
        ),
        (lambda: plot_schedule(RatesTable((0,), {})), ValueError, "there must be a part; got rat"),
        (
            lambda: plot_parts(small_optimizer()),
            TypeError,
            "plot_parts: parts must be a PartsTable; got parts of type .*. describe",
        ),
        (lambda: plot_parts(PartsTable(())), ValueError, "there must be a part; got parts"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_a_figure_is_made(call, error, words):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    with pytest.raises(error, match=words):
        call()
    assert pyplot.get_fignums() == before
