"""A list or an array in place of a tensor is refused in words, by every loss for every input."""

import inspect

import pytest
import torch
from torch import Tensor

from askew import losses

SCORES, CLASSES = torch.randn(4, 9), torch.tensor([0, 1, 2, 0])
MARKS, ROWS = SCORES > 0, torch.randn(4)
USUAL = {
    "anchor": SCORES,
    "positive": SCORES + 1,
    "negative": SCORES - 1,
    "embeddings": SCORES,
    "labels": CLASSES,
    "queries": SCORES,
    "documents": SCORES,
    "positives": torch.eye(4).bool(),
    "exclude": torch.zeros(4, 4).bool(),
    "prediction": ROWS,
    "target": ROWS,
    "student_logits": SCORES,
    "teacher": SCORES,
    "log_ratio": ROWS,
    "advantage": ROWS,
    "desirable": ROWS > 0,
    "chosen": ROWS,
    "rejected": ROWS,
    "chosen_lengths": torch.ones(4),
    "rejected_lengths": torch.ones(4),
    "class_counts": [9, 8, 7, 6, 5, 4, 3, 2, 1],
    "a": 1.0,
}
OF_CLASSES = {
    "asymmetric_focal_loss",
    "logit_adjusted_cross_entropy",
    "ldam_loss",
    "agce_loss",
    "aul_loss",
    "ael_loss",
    "token_log_probs",
    "asymmetric_tversky_loss",
    "asymmetric_unified_focal_loss",
}


def usual(name: str) -> dict:
    targets = CLASSES if name in OF_CLASSES else MARKS
    values = USUAL | {"logits": SCORES, "targets": targets, "correct": False}
    parameters = inspect.signature(getattr(losses, name)).parameters.values()
    return {
        p.name: values[p.name]
        for p in parameters
        if p.name in values and (p.default is p.empty or isinstance(values[p.name], Tensor))
    }


LOSSES = [name for name in losses.__all__ if inspect.isfunction(getattr(losses, name))]


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_no_tensor_is_refused_by_name(name):
    loss, inputs = getattr(losses, name), usual(name)
    loss(**inputs)
    has_where = "where" in inspect.signature(loss).parameters
    for key, value in (inputs | ({"where": CLASSES > 0} if has_where else {})).items():
        if not isinstance(value, Tensor):
            continue
        for wrong, kind in ((value.tolist(), "list"), (value.numpy(), "ndarray")):
            with pytest.raises(TypeError, match=rf"^\w+: {key} must be a tensor; got .*{kind}"):
                loss(**inputs | {key: wrong})
