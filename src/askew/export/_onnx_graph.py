"""Modules as ONNX graphs, and the folders that hold them."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from askew._check import requires_extra
from askew._files import file_sha256, write_json
from askew.export._files import MARK


def require_onnx() -> None:
    """Report a missing package before any work."""
    with requires_extra("export_onnx", "onnx"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401


def write_graph(
    module: nn.Module, inputs: dict[str, Tensor], shapes: dict, output: str, path: Path
) -> None:
    """Write a module as a graph, float32.

    Args:
        module: It takes the inputs by name and returns one tensor.
        inputs: Examples, no size of which is 1 where it is free.
        shapes: The free sizes of each input, as `torch.export` takes them.
        output: Name of the result.
        path: The file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            module,
            kwargs=inputs,
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=[output],
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # as with dynamo=True
    program.save(str(path))


def write_mark(folder: Path, partial: Path, more: Mapping[str, object] | None = None) -> None:
    """Write of which weights the export in `partial` was made, those in `folder`, and more."""
    manifest = {
        "version": 1,
        "engine": "onnx",
        "fingerprint": file_sha256(folder / "model.safetensors"),
        **(more or {}),
    }
    write_json(partial / MARK, manifest)
