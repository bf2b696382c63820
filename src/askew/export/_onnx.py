"""Export to two ONNX graphs: one encodes the source, one scores target prefixes."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from askew._check import require, requires_extra
from askew._files import file_sha256, write_json
from askew.export._files import MARK, check_replaceable, replacing_folder
from askew.models import load_translation_model
from askew.text import load_tokenizers, save_tokenizers
from askew.transformer import AsymmetricEncoderDecoder


def export_onnx(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write a trained model as ONNX, float32, with free batch size and lengths.

    encoder.onnx maps `input_ids` and `attention_mask` [batch, source] to `memory`;
    decoder.onnx maps `decoder_input_ids` [batch, target], `memory` and `attention_mask` to
    `logits` [batch, target, vocab]. Each decoding step computes the whole prefix: no cache.

    Args:
        folder: A model folder.
        out: The folder to write, by default the sub-folder "onnx"; an earlier export is replaced.

    Returns:
        The folder written, with the tokenizers and askew.json with the SHA-256 of the weights.

    Raises:
        ValueError: If the folder holds no whole model or `out` holds something else.
        ModuleNotFoundError: If onnx or onnxscript is not installed.

    Example:
        >>> export_onnx("/nowhere")
        Traceback (most recent call last):
        ValueError: export_onnx: the folder must hold a trained model; got folder /nowhere
    """
    folder = Path(folder)
    require(
        (folder / "config.json").is_file(),
        f"export_onnx: the folder must hold a trained model; got folder {folder}",
    )
    with requires_extra("export_onnx", "onnx"):
        import onnx  # noqa: F401  (a missing package is reported before any work)
        import onnxscript  # noqa: F401

    out = folder / "onnx" if out is None else Path(out)
    check_replaceable(out, caller="export_onnx")
    model, tokenizers = load_translation_model(folder).eval(), load_tokenizers(folder)
    source = torch.ones(2, 5, dtype=torch.long)
    target = torch.ones(2, 3, dtype=torch.long)
    memory = torch.zeros(2, 5, model.config.to_plain().d_memory)
    # Sizes of 1 are computed by the same graph, but torch 2.9 does not see it.
    rows, read, written = (torch.export.Dim(name, min=2) for name in ("batch", "source", "target"))
    both = {0: rows, 1: read}
    with replacing_folder(out) as partial:
        _write(
            _Encoder(model.model),
            {"input_ids": source, "attention_mask": source.clone()},
            {"input_ids": both, "attention_mask": both},
            "memory",
            partial / "encoder.onnx",
        )
        _write(
            _Decoder(model.model),
            {"decoder_input_ids": target, "memory": memory, "attention_mask": source},
            {
                "decoder_input_ids": {0: rows, 1: written},
                "memory": both,
                "attention_mask": both,
            },
            "logits",
            partial / "decoder.onnx",
        )
        save_tokenizers(tokenizers, partial)
        manifest = {
            "version": 1,
            "engine": "onnx",
            "fingerprint": file_sha256(folder / "model.safetensors"),
        }
        write_json(partial / MARK, manifest)
    return out


class _Encoder(nn.Module):
    def __init__(self, core: AsymmetricEncoderDecoder) -> None:
        super().__init__()
        self.core = core

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.core.encode(input_ids, source_mask=attention_mask.bool())


class _Decoder(nn.Module):
    def __init__(self, core: AsymmetricEncoderDecoder) -> None:
        super().__init__()
        self.core = core

    def forward(self, decoder_input_ids: Tensor, memory: Tensor, attention_mask: Tensor) -> Tensor:
        return self.core.decode(decoder_input_ids, memory, source_mask=attention_mask.bool())


def _write(
    module: nn.Module, inputs: dict[str, Tensor], shapes: dict, output: str, path: Path
) -> None:
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
