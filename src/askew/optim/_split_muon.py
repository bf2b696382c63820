"""Muon for matrices that hold several projections, such as query, key and value."""

from collections.abc import Mapping, MutableMapping, Sequence
from operator import index

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from askew._check import require
from askew.optim._rules import expression_of


class SplitMuon(torch.optim.Muon):
    """Muon of PyTorch that orthogonalises every block of a fused matrix on its own.

    A matrix that holds query, key and value projections is three matrices to the model. Here it
    is also three to the optimizer: each block is updated as a separate matrix by
    `torch.optim.Muon` would be, bit for bit, with its own factor of the rate. Without blocks this
    is `torch.optim.Muon`. The state has one momentum for the whole matrix, as there.

    Args:
        params: Matrices with their names, such as those of `named_parameters()`.
        lr: Rate, >= 0.
        blocks: For a name, or a pattern on whole path segments as in `partition_parameters`, the
            number of equal blocks or their sizes. They follow one another along the rows; if they
            do not add up to the rows, along the columns, as in `Conv1D` of transformers. A
            number of blocks divides the longer side.
        weight_decay: Decoupled decay, >= 0.
        momentum: Share of the past gradients, in [0, 1).
        nesterov: Whether the momentum looks ahead.
        ns_coefficients: Coefficients of the iteration.
        eps: Least norm that a matrix is divided by.
        ns_steps: Number of Newton–Schulz iterations.
        adjust_lr_fn: "original" multiplies the rate by √max(1, rows / columns),
            "match_rms_adamw" by 0.2 √max(rows, columns), so that rates tuned for AdamW fit.

    Raises:
        ValueError: If a pattern matches no name, or blocks do not fit a matrix.

    Example:
        >>> from torch import nn
        >>> from askew.optim import AsymmetricOptimizer, hidden_matrices
        >>> model = nn.TransformerEncoderLayer(8, 2, 16)
        >>> muon = {"where": hidden_matrices, "base": SplitMuon, "lr": 0.02}
        >>> muon["blocks"] = {"**.in_proj_weight": 3}
        >>> optimizer = AsymmetricOptimizer(model, {"matrices": muon, "rest": 3e-4}, rest="rest")
        >>> optimizer.param_groups[0]["blocks"]
        {'self_attn.in_proj_weight': (8, 8, 8)}

    References:
        Muon is Scalable for LLM Training, 2025, arXiv:2502.16982.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        blocks: Mapping[str, int | Sequence[int]] | None = None,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            weight_decay,
            momentum,
            nesterov,
            ns_coefficients,
            eps,
            ns_steps,
            adjust_lr_fn,
        )
        self.defaults["blocks"] = dict(blocks or {})  # as added groups inherit it
        names = [name for group in self.param_groups for name in group.get("param_names", ())]
        for pattern in self.defaults["blocks"]:
            require(
                any(_matches(pattern, name) for name in names),
                f"SplitMuon: blocks must name matrices; got {pattern!r}, which matches none of "
                f"{len(names)} names",
            )
        for group in self.param_groups:
            _split(group, group.get("blocks", self.defaults["blocks"]))

    def add_param_group(self, param_group: dict) -> None:
        """Add matrices; those that `blocks` names are split.

        Args:
            param_group: `params` with names, and options.
        """
        super().add_param_group(param_group)
        if "blocks" in self.defaults:  # else the constructor is at work
            _split(param_group, param_group["blocks"])

    def _init_group(
        self,
        group: MutableMapping,
        params_with_grad: list[Tensor],
        grads: list[Tensor],
        muon_momentum_bufs: list[Tensor],
    ) -> bool:
        """Collect tensors as Muon does, but a fused matrix as views of its blocks."""
        lists = (grads, muon_momentum_bufs, params_with_grad)  # the keys last
        is_complex = super()._init_group(group, params_with_grad, grads, muon_momentum_bufs)
        named = zip(group["params"], group.get("param_names", ()), strict=False)
        blocks = group.get("blocks", {})
        sizes = {id(matrix): blocks[name] for matrix, name in named if name in blocks}
        if sizes:
            for tensors in lists:
                tensors[:] = [
                    view
                    for tensor, matrix in zip(tensors, params_with_grad, strict=True)
                    for view in _views(tensor, sizes.get(id(matrix)))
                ]
        return is_complex


def _views(tensor: Tensor, sizes: tuple[int, ...] | None) -> tuple[Tensor, ...]:
    if sizes is None:
        return (tensor,)
    require(
        not hasattr(tensor, "_local_tensor"),
        "SplitMuon: a fused matrix must lie in this process; got one that is sharded",
    )
    return tensor.split(sizes, dim=_side(tensor, sizes))


def _side(matrix: Tensor, sizes: tuple[int, ...]) -> int:
    return 0 if sum(sizes) == matrix.shape[0] else 1


def _matches(pattern: str, name: str) -> bool:
    return expression_of(pattern, "blocks").fullmatch(f"{name}.") is not None


def _split(group: dict, blocks: Mapping[str, int | Sequence[int]]) -> None:
    """Replace the patterns of a group by the names of its matrices, with sizes."""
    group["blocks"] = {
        name: _sizes(name, matrix, blocks[pattern])
        for matrix, name in zip(group["params"], group.get("param_names", ()), strict=False)
        for pattern in [next((p for p in blocks if _matches(p, name)), None)]
        if pattern is not None
    }


def _sizes(name: str, matrix: Tensor, blocks: int | Sequence[int]) -> tuple[int, ...]:
    rows, columns = matrix.shape
    if isinstance(blocks, int):
        count, longer = blocks, max(rows, columns)
        sizes = (longer // count,) * count if count > 0 else ()
    else:
        sizes = tuple(map(index, blocks))
    require(
        all(size > 0 for size in sizes) and sum(sizes) in (rows, columns),
        f"SplitMuon: blocks must add up to the rows or the columns of a matrix; got {blocks} for "
        f"{name} {[rows, columns]}",
    )
    return sizes
