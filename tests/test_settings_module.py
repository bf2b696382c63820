"""What every module form of a function does with its settings."""

import inspect

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from askew import losses, regularizers
from askew._settings_module import SettingsModule
from askew.losses import AsymmetricBCELoss, AsymmetricFocalLoss, asymmetric_bce_loss
from askew.regularizers import DirectionalRegularizer, directional_loss


class Line(SettingsModule):
    """y = slope · x + offset."""

    def __init__(self, slope: float | Tensor, *, offset: float | None = None, kind: str = "a"):
        super().__init__()
        self._store("slope", slope)
        self.offset = offset
        self.kind = kind


class Steep(Line):
    _unprinted = ("kind",)

    def __init__(self) -> None:
        super().__init__(9.0, offset=1.0)


def test_settings_are_the_arguments_of_the_constructor():
    assert Line(2.0)._settings() == {"slope": 2.0, "offset": None, "kind": "a"}
    assert Steep()._settings() == {"slope": 9.0, "offset": 1.0, "kind": "a"}


def test_a_setting_is_printed_unless_it_is_none_or_unprinted():
    assert repr(Line(2.0)) == "Line(slope=2.0, kind='a')"
    assert repr(Steep()) == "Steep(slope=9.0, offset=1.0)"


def test_a_tensor_is_a_buffer_and_a_parameter_is_learned():
    assert list(Line(torch.tensor([1.0])).state_dict()) == ["slope"]
    line = Line(2.0)
    line.offset = nn.Parameter(torch.tensor(1.0))
    assert repr(line) == "Line(slope=2.0, offset='learned', kind='a')"


@pytest.mark.unhooked
def test_modules_compile_in_one_graph():
    x = torch.randn(4, 3)
    y = (x > 0).float()
    weights = torch.tensor([1.0, 2.0, 3.0])
    for module, inputs, expected in (
        (
            AsymmetricBCELoss(weight_pos=weights, gamma_neg=2.0),
            (x, y),
            asymmetric_bce_loss(x, y, weight_pos=weights, gamma_neg=2.0),
        ),
        (AsymmetricFocalLoss(), (x, y.argmax(1)), nn.CrossEntropyLoss()(x, y.argmax(1))),
        (
            DirectionalRegularizer(0.3, p_backward=1),
            (x,),
            directional_loss(x, lambda_forward=0.3, p_backward=1),
        ),
    ):
        torch.compiler.reset()
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(*inputs), expected)


COUNTS = torch.tensor([5, 1, 3])
REQUIRED = {
    losses.LogitAdjustedCrossEntropy: {"class_counts": COUNTS},
    losses.LDAMLoss: {"class_counts": COUNTS},
    regularizers.OrderedDropout: {"p": 0.5},
}
OTHER_NUMBERS = {  # settings whose default is no number, and others that they need
    losses.LogitAdjustedCrossEntropy: {"class_counts": {}},
    losses.LDAMLoss: {"class_counts": {}, "weight": {}},
    losses.AsymmetricFocalLoss: {
        "weight": {},
        **{
            f"{n}_{side}": {"positive_classes": [0]}
            for n in ("alpha", "gamma")
            for side in ("pos", "neg")
        },
    },
    losses.AsymmetricRankingLoss: {"relative_margin": {}},
    regularizers.AsymmetricDropout: {"p": {}},
    regularizers.OrderedDropout: {"p": {}, "widths": {"p": None}},
}
MAY_BE_NEGATIVE = {
    "bias",
    "a",
    "dim",
    "ignore_index",
    "margin_pos",
    "relative_margin",
    "tau",
    "target_gap",
}
MODULES = [
    symbol
    for package in (losses, regularizers)
    for symbol in (getattr(package, name) for name in package.__all__)
    if inspect.isclass(symbol) and issubclass(symbol, nn.Module)
]


def numeric_settings():
    for module in MODULES:
        others = OTHER_NUMBERS.get(module, {})
        for name, parameter in inspect.signature(module).parameters.items():
            if name in others or type(parameter.default) in (int, float):
                yield pytest.param(
                    module,
                    name,
                    REQUIRED.get(module, {}) | others.get(name, {}),
                    id=f"{module.__name__}-{name}",
                )


each_number = pytest.mark.parametrize(("module", "name", "needed"), [*numeric_settings()])
pytestmark = pytest.mark.filterwarnings("ignore:.*(fades out|the loss can be 0):UserWarning")


@each_number
def test_what_is_no_number_is_refused_at_construction(module, name, needed):
    for wrong in (float("nan"), "high", object(), ["high"]):
        with pytest.raises((ValueError, TypeError), match=f"^{module.__name__}: .*{name}"):
            module(**needed | {name: wrong})


@each_number
def test_what_is_below_its_range_is_refused_at_construction(module, name, needed):
    if name not in MAY_BE_NEGATIVE or module in (losses.AsymmetricPairLoss,):
        for low in (-1, np.float32(-1)):
            with pytest.raises((ValueError, TypeError), match=f"^{module.__name__}: .*{name}.*-1"):
                module(**needed | {name: low})


@each_number
def test_several_numbers_are_converted_or_refused_at_construction(module, name, needed):
    for several in ([0.25, 0.75], (0.25, 0.75), np.array([0.25, 0.75])):
        try:
            loss = module(**needed | {name: several})
        except TypeError as error:
            assert str(error).startswith(f"{module.__name__}: {name} must be")
            continue
        stored = getattr(loss, name)
        assert isinstance(stored, (Tensor, tuple))
        assert torch.as_tensor(stored).tolist() == [0.25, 0.75]
        assert isinstance(stored, tuple) or name in loss.state_dict()


@each_number
def test_numbers_of_numpy_are_numbers(module, name, needed):
    default = inspect.signature(module).parameters[name].default
    if isinstance(default, float):
        loss = module(**needed | {name: np.float64(default)})
        assert getattr(getattr(loss, "hinges", loss), name) == default


def test_label_smoothing_and_sides_are_checked_at_construction():
    for module in (
        losses.AsymmetricFocalLoss,
        lambda **k: losses.LogitAdjustedCrossEntropy(COUNTS, **k),
    ):
        with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\]; got .* 5"):
            module(label_smoothing=5)
    with pytest.raises(ValueError, match=r"AsymmetricFocalLoss: .* Give positive_classes"):
        AsymmetricFocalLoss(gamma_pos=2.0)
    for counts in ([5, 0, 2], [5.0, float("nan")]):
        with pytest.raises(ValueError, match="LDAMLoss: class_counts must be positive"):
            losses.LDAMLoss(counts)


@pytest.mark.parametrize("convert", [list, tuple, np.array], ids=lambda kind: kind.__name__)
def test_several_numbers_mean_the_same_in_any_container(convert):
    x, t, y = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0]), torch.rand(6, 3)
    numbers = [0.25, 0.5, 0.75]
    tensor, given = torch.tensor(numbers), convert(numbers)
    for loss, names, inputs in (
        (losses.asymmetric_bce_loss, ("weight_pos", "gamma_neg", "margin"), (x, y)),
        (losses.asymmetric_focal_loss, ("alpha", "gamma", "weight"), (x, t)),
        (losses.asymmetric_tversky_loss, ("weight_fn", "weight_fp"), (x, t)),
        (losses.pinball_loss, ("quantile",), (x, y)),
        (losses.expectile_loss, ("expectile",), (x, y)),
        (losses.asymmetric_huber_loss, ("quantile",), (x, y)),
        (losses.ldam_loss, ("class_counts", "weight"), (x, t)),
        (losses.logit_adjusted_cross_entropy, ("class_counts",), (x, t)),
    ):
        expected = loss(*inputs, **dict.fromkeys(names, tensor))
        assert torch.equal(loss(*inputs, **dict.fromkeys(names, given)), expected)
    shares = convert([0.25, 0.75])
    for drop, settings in (
        (regularizers.asymmetric_dropout, {"p": shares, "fractions": shares}),
        (regularizers.ordered_dropout, {"widths": shares}),
    ):
        assert drop(torch.ones(2, 8), **settings).shape == (2, 8)


def test_a_setting_that_is_a_parameter_is_learned():
    weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    loss = AsymmetricBCELoss(weight_pos=weight)
    assert dict(loss.named_parameters()) == {"weight_pos": weight}
    loss(torch.randn(2, 3), torch.ones(2, 3)).backward()
    assert weight.grad.all()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_modules_are_built_where_nothing_has_a_value(module):
    for mode in (torch.device("meta"), FakeTensorMode(allow_non_fake_inputs=True)):
        with mode:
            module(**REQUIRED.get(module, {}))
