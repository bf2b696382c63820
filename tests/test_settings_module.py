"""What every module form of a function does with its settings."""

import pytest
import torch
from torch import Tensor, nn

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
