"""Scores and thresholds of texts with labels."""

from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, f1_score

from askew.tasks._labels import best_threshold
from askew.text import LabelledTexts


def target_matrix(texts: LabelledTexts, labels: list[str]) -> np.ndarray:
    """Return 0 or 1 for every text and label, [texts, labels]."""
    numbers = {name: number for number, name in enumerate(labels)}
    targets = np.zeros((len(texts.texts), len(labels)), dtype=np.int64)
    for row, names in enumerate(texts.labels):
        targets[row, [numbers[name] for name in names]] = 1
    return targets


def tune_thresholds(logits: np.ndarray, truth: np.ndarray, *, each: bool) -> list[float]:
    """Choose the logit from which a label is predicted, by the best F1.

    Args:
        logits: Shape (texts, labels).
        truth: 0 or 1, of the same shape.
        each: Whether every label gets its own; one that holds of no text gets that of all.

    Returns:
        A threshold for every label: 0 if no label holds of any text.
    """
    count = logits.shape[1]
    shared = best_threshold(logits, truth) if truth.any() else 0.0
    if not each:
        return [shared] * count
    return [
        best_threshold(logits[:, [k]], truth[:, [k]]) if truth[:, k].any() else shared
        for k in range(count)
    ]


def label_scores(
    logits: np.ndarray, holding: np.ndarray, truth: np.ndarray, *, exclusive: bool
) -> dict[str, float]:
    """Score labels, in per cent.

    Args:
        logits: Shape (texts, labels).
        holding: True where a label is predicted, of the same shape.
        truth: 0 or 1, of the same shape.
        exclusive: Whether exactly one label holds of every text.

    Returns:
        Accuracy and macro-F1, or mAP, micro-F1 and macro-F1; means over labels are over those
        that hold of some text. Where none does, mAP and macro-F1 are 0.
    """
    some = truth.any(0)

    def f1(average: Any) -> float:
        if not some.any():
            return 0.0
        columns = some if average == "macro" else slice(None)
        pair = truth[:, columns], holding[:, columns]
        return float(f1_score(*pair, average=average, zero_division=0))

    if exclusive:
        accuracy = (logits.argmax(1) == truth.argmax(1)).mean()
        return {"accuracy": 100 * float(accuracy), "macro_f1": 100 * f1("macro")}
    means = [average_precision_score(truth[:, k], logits[:, k]) for k in np.flatnonzero(some)]
    return {
        "map": 100 * float(np.mean(means)) if means else 0.0,
        "micro_f1": 100 * f1("micro"),
        "macro_f1": 100 * f1("macro"),
    }


def scores_by_label(
    logits: np.ndarray, holding: np.ndarray, truth: np.ndarray, labels: list[str]
) -> list[dict[str, Any]]:
    """Return texts, average precision and F1 of every label; None if it holds of no text."""
    rows = []
    for k, name in enumerate(labels):
        texts = int(truth[:, k].sum())
        row: dict[str, Any] = {"label": name, "texts": texts, "ap": None, "f1": None}
        if texts:
            row["ap"] = 100 * float(average_precision_score(truth[:, k], logits[:, k]))
            row["f1"] = 100 * float(f1_score(truth[:, k], holding[:, k], zero_division=0))
        rows.append(row)
    return rows
