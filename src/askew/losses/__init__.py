"""Losses whose two sides may be priced differently; equal sides give the classics."""

from askew.losses._adaptive import AdaptiveAsymmetry
from askew.losses._binary import AsymmetricBCELoss, asymmetric_bce_loss
from askew.losses._long_tail import (
    LDAMLoss,
    LogitAdjustedCrossEntropy,
    ldam_loss,
    logit_adjusted_cross_entropy,
)
from askew.losses._multiclass import AsymmetricFocalLoss, asymmetric_focal_loss
from askew.losses._ranking import (
    AsymmetricRankingLoss,
    RankingViolations,
    asymmetric_ranking_loss,
    ranking_violations,
)
from askew.losses._ranking_pairs import AsymmetricPairLoss, asymmetric_pair_loss
from askew.losses._reduction import Reduction

__all__ = [
    "AdaptiveAsymmetry",
    "AsymmetricBCELoss",
    "AsymmetricFocalLoss",
    "AsymmetricPairLoss",
    "AsymmetricRankingLoss",
    "LDAMLoss",
    "LogitAdjustedCrossEntropy",
    "RankingViolations",
    "Reduction",
    "asymmetric_bce_loss",
    "asymmetric_focal_loss",
    "asymmetric_pair_loss",
    "asymmetric_ranking_loss",
    "ldam_loss",
    "logit_adjusted_cross_entropy",
    "ranking_violations",
]
