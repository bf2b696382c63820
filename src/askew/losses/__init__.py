"""Losses whose two sides may be priced differently; equal sides give the classics."""

from askew.losses._binary import AsymmetricBCELoss, asymmetric_bce_loss
from askew.losses._ranking import (
    AsymmetricRankingLoss,
    RankingViolations,
    asymmetric_ranking_loss,
    ranking_violations,
)
from askew.losses._ranking_pairs import AsymmetricPairLoss, asymmetric_pair_loss
from askew.losses._reduction import Reduction

__all__ = [
    "AsymmetricBCELoss",
    "AsymmetricPairLoss",
    "AsymmetricRankingLoss",
    "RankingViolations",
    "Reduction",
    "asymmetric_bce_loss",
    "asymmetric_pair_loss",
    "asymmetric_ranking_loss",
    "ranking_violations",
]
