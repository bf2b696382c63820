"""The command `askew export`: a trained model for another engine."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from askew._check import require
from askew._files import read_json
from askew.cli._exits import exit_on_user_error, set_up_torch
from askew.cli._streams import show

Folder = Annotated[Path, typer.Argument(help="A folder that training wrote.")]


def export_command(
    folder: Folder,
    *,
    to: Annotated[str, typer.Option(help="ctranslate2 or onnx.")] = "ctranslate2",
    quantization: Annotated[
        str,
        typer.Option(help="Of CTranslate2: float32, int8, int16, float16, bfloat16, …."),
    ] = "float32",
    out: Annotated[
        Path | None, typer.Option(help="Output folder; by default one inside the model's folder.")
    ] = None,
) -> None:
    """Write a trained model for another engine; `askew translate --engine ctranslate2` runs it."""
    with exit_on_user_error():
        set_up_torch(1)
        from askew.export import QUANTIZATIONS, export_ctranslate2, export_onnx

        if to not in ("ctranslate2", "onnx"):
            raise ValueError(f"export: --to must be ctranslate2 or onnx; got {to}")
        if to == "onnx" and quantization != "float32":
            raise ValueError(f"export: onnx is float32; got --quantization {quantization}")
        if quantization in QUANTIZATIONS:
            _refuse_other(folder / to if out is None else out, to, quantization)
        if to == "onnx":
            # torch warns about packages that this export does not need.
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            written = export_onnx(folder, out)
        else:
            written = export_ctranslate2(folder, out, quantization=quantization)
    show(f"export: {written}")


def _refuse_other(out: Path, to: str, quantization: str) -> None:
    """Refuse to replace an export for another engine, or with other numbers."""
    if not (out / "askew.json").is_file():
        return
    stored = read_json(out / "askew.json")
    held = f"{stored.get('engine')}, {stored.get('quantization', 'float32')}"
    require(
        held == f"{to}, {quantization}",
        f"export: the folder must be new, empty or an export for {to}, {quantization}; got {out} "
        f"with one for {held}. Choose another with --out, or remove it",
    )
