"""Self-contained HTML pages: scores of heads as heat maps, and the attention of each head."""

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from askew._check import require
from askew._files import write_text
from askew.inspection._model import AttentionScores, Inspection

_GRIDS = (
    (
        "symmetry",
        "Symmetry",
        "1: i scores j exactly as j scores i; −1: with the opposite sign. "
        "Random weights give {chance}.",
    ),
    (
        "directionality",
        "Directionality",
        "1: a few features of the keys stand out; −1: of the queries. "
        "The published tables have the opposite sign.",
    ),
    (
        "effective_rank",
        "Effective rank",
        "The number of directions that a head compares, as a share of its width.",
    ),
    (
        "entropy",
        "Entropy of attention",
        "1: all visible keys equally; 0: one key alone. Mean over the texts read.",
    ),
)


class AttentionPicture(NamedTuple):
    """Attention weights of all heads for one text.

    Args:
        title: Its name in the page's list of texts.
        rows: Tokens of the queries.
        columns: Tokens of the keys.
        weights: Weights in [0, 1]; each row sums to 1.

    Example:
        >>> import torch
        >>> AttentionPicture("hi", ["h", "i"], ["h", "i"], torch.ones(1, 1, 2, 2) / 2).rows
        ['h', 'i']
    """

    title: str
    rows: list[str]
    columns: list[str]
    weights: Float[Tensor, "layers heads rows columns"]


def write_inspection_page(
    inspection: Inspection, path: str | Path, pictures: Sequence[AttentionPicture] = ()
) -> None:
    """Write a page with a model's scores, a cell per layer and head, and its stacks.

    Args:
        inspection: The result of `inspect_model`.
        path: The file.
        pictures: Attention weights for texts, to choose from on the page.

    Example:
        >>> import tempfile
        >>> from torch import nn
        >>> from askew.inspection import inspect_model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = Path(folder) / "page.html"
        ...     write_inspection_page(inspect_model(nn.TransformerEncoderLayer(8, 2)), page)
        ...     "Symmetry" in page.read_text(encoding="utf-8")
        True
    """
    data = {
        "title": f"Attention of {inspection.model}",
        "lead": _lead(inspection),
        "stacks": [stack._asdict() for stack in inspection.stacks],
        "grids": _grids(inspection),
        "pictures": [_drawn(picture) for picture in pictures],
    }
    _write(data, path)


def write_picture_page(
    pictures: Sequence[AttentionPicture], path: str | Path, *, title: str, lead: str
) -> None:
    """Write a page with attention weights, a cell per pair of tokens.

    Args:
        pictures: At least one.
        path: The file.
        title: Heading of the page.
        lead: A sentence under the heading.

    Raises:
        ValueError: If there is no picture.

    Example:
        >>> write_picture_page([], "page.html", title="Nothing", lead="")
        Traceback (most recent call last):
        ValueError: write_picture_page: there must be a picture; got none
    """
    require(len(pictures) > 0, "write_picture_page: there must be a picture; got none")
    drawn = [_drawn(picture) for picture in pictures]
    _write({"title": title, "lead": lead, "stacks": [], "grids": [], "pictures": drawn}, path)


def _write(data: dict, path: str | Path) -> None:
    page = files("askew.inspection").joinpath("page.html").read_text(encoding="utf-8")
    # "<" in a token must not end the script that holds it.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    write_text(Path(path), page.replace("/*data*/{}", text))


def _lead(inspection: Inspection) -> str:
    stacks = [stack for stack in inspection.stacks if stack.depth]
    shapes = "; ".join(
        f"{stack.name or 'the module'}: {stack.depth} × {stack.width} wide, {stack.share:.0%} of "
        "the parameters"
        for stack in stacks
    )
    return f"{shapes}. A row is a layer, a column a head; Σ is the sum of a layer's heads."


def _grids(inspection: Inspection) -> list[dict]:
    """Make a grid for each score and each group of attentions, by stack and kind, that has it."""
    groups: dict[tuple[str, str], list[AttentionScores]] = {}
    for scores in inspection.attention:
        groups.setdefault((scores.stack, scores.kind), []).append(scores)
    grids = []
    for field, title, lead in _GRIDS:
        for (stack, kind), members in groups.items():
            rows = [row for row in (_row(scores, field) for scores in members) if row]
            if rows:
                chance = f"about {1 / members[0].d_model:.2g}"
                grids.append(
                    {
                        "title": title,
                        "lead": lead.format(chance=chance),
                        "where": f"{stack or 'module'}, {kind}-attention",
                        "signed": field in ("symmetry", "directionality"),
                        "rows": rows,
                    }
                )
    return grids


def _row(scores: AttentionScores, field: str) -> dict | None:
    values = getattr(scores, field)
    if values is None:
        return None
    cells = (values / scores.d_head if field == "effective_rank" else values).tolist()
    whole = getattr(scores, f"{field}_of_sum", None)
    return {"label": f"layer {scores.layer + 1}", "title": scores.name} | {
        "cells": [_finite(cell) for cell in cells],
        "sum": None if whole is None else _finite(whole),
    }


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _drawn(picture: AttentionPicture) -> dict:
    weights = [
        [[[round(w, 4) for w in row] for row in head] for head in layer]
        for layer in picture.weights.tolist()
    ]
    best = picture.weights.mean((0, 1)).argmax(-1).tolist()
    return {
        "title": picture.title,
        "rows": picture.rows,
        "columns": picture.columns,
        "weights": weights,
        "best": best,
    }
