"""Losses whose two sides may be priced differently; equal sides give the classics."""

from askew._reduction import Reduction
from askew.losses._adaptive import AdaptiveAsymmetry
from askew.losses._binary import AsymmetricBCELoss, asymmetric_bce_loss
from askew.losses._contrastive import AsymmetricContrastiveLoss, asymmetric_contrastive_loss
from askew.losses._distillation import DistillationLoss, distillation_loss
from askew.losses._divergences import Divergence, TopK, top_k
from askew.losses._hill import HillLoss, hill_loss
from askew.losses._kto import KTOLoss, kto_loss
from askew.losses._linex import LinExLoss, linex_loss
from askew.losses._long_tail import (
    LDAMLoss,
    LogitAdjustedCrossEntropy,
    ldam_loss,
    logit_adjusted_cross_entropy,
)
from askew.losses._multiclass import AsymmetricFocalLoss, asymmetric_focal_loss
from askew.losses._noisy import AELLoss, AGCELoss, AULLoss, ael_loss, agce_loss, aul_loss
from askew.losses._off_policy import AsymmetricPolicyLoss, asymmetric_policy_loss
from askew.losses._overlap import AsymmetricTverskyLoss, asymmetric_tversky_loss
from askew.losses._policy import ClippedPolicyLoss, clipped_policy_loss
from askew.losses._preferences import PreferenceLoss, preference_loss
from askew.losses._ranking import (
    AsymmetricRankingLoss,
    RankingViolations,
    asymmetric_ranking_loss,
    ranking_violations,
)
from askew.losses._ranking_pairs import AsymmetricPairLoss, asymmetric_pair_loss
from askew.losses._regression import (
    AsymmetricHuberLoss,
    ExpectileLoss,
    PinballLoss,
    asymmetric_huber_loss,
    expectile_loss,
    pinball_loss,
)
from askew.losses._siglip import SigLIPLoss, siglip_loss
from askew.losses._splc import SPLCLoss, splc_loss
from askew.losses._token_log_probs import token_log_probs
from askew.losses._two_way import TwoWayLoss, two_way_loss
from askew.losses._unified_focal import AsymmetricUnifiedFocalLoss, asymmetric_unified_focal_loss

__all__ = [
    "AELLoss",
    "AGCELoss",
    "AULLoss",
    "AdaptiveAsymmetry",
    "AsymmetricBCELoss",
    "AsymmetricContrastiveLoss",
    "AsymmetricFocalLoss",
    "AsymmetricHuberLoss",
    "AsymmetricPairLoss",
    "AsymmetricPolicyLoss",
    "AsymmetricRankingLoss",
    "AsymmetricTverskyLoss",
    "AsymmetricUnifiedFocalLoss",
    "ClippedPolicyLoss",
    "DistillationLoss",
    "Divergence",
    "ExpectileLoss",
    "HillLoss",
    "KTOLoss",
    "LDAMLoss",
    "LinExLoss",
    "LogitAdjustedCrossEntropy",
    "PinballLoss",
    "PreferenceLoss",
    "RankingViolations",
    "Reduction",
    "SPLCLoss",
    "SigLIPLoss",
    "TopK",
    "TwoWayLoss",
    "ael_loss",
    "agce_loss",
    "asymmetric_bce_loss",
    "asymmetric_contrastive_loss",
    "asymmetric_focal_loss",
    "asymmetric_huber_loss",
    "asymmetric_pair_loss",
    "asymmetric_policy_loss",
    "asymmetric_ranking_loss",
    "asymmetric_tversky_loss",
    "asymmetric_unified_focal_loss",
    "aul_loss",
    "clipped_policy_loss",
    "distillation_loss",
    "expectile_loss",
    "hill_loss",
    "kto_loss",
    "ldam_loss",
    "linex_loss",
    "logit_adjusted_cross_entropy",
    "pinball_loss",
    "preference_loss",
    "ranking_violations",
    "siglip_loss",
    "splc_loss",
    "token_log_probs",
    "top_k",
    "two_way_loss",
]
