"""Regularizers whose two sides may be priced differently; equal sides give the classics."""

from askew.regularizers._directional import DirectionalRegularizer, directional_loss
from askew.regularizers._dropout import AsymmetricDropout, asymmetric_dropout
from askew.regularizers._ordered import OrderedDropout, ordered_dropout
from askew.regularizers._variation import AsymmetricTotalVariation, asymmetric_total_variation

__all__ = [
    "AsymmetricDropout",
    "AsymmetricTotalVariation",
    "DirectionalRegularizer",
    "OrderedDropout",
    "asymmetric_dropout",
    "asymmetric_total_variation",
    "directional_loss",
    "ordered_dropout",
]
