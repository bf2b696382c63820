"""Export to ONNX: a graph of labels, or two of translation, of the source and of prefixes."""

from pathlib import Path

import torch
from torch import Tensor, nn

from askew._check import require
from askew.export._files import check_replaceable, replacing_folder
from askew.export._onnx_graph import require_onnx, write_graph, write_mark
from askew.export._onnx_labels import write_label_graph
from askew.models import load_translation_model, model_kind
from askew.text import load_tokenizers, save_tokenizers
from askew.transformer import AsymmetricEncoderDecoder


def export_onnx(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write a trained model as ONNX, float32, with free batch size and lengths.

    Of a translation model encoder.onnx maps `input_ids` and `attention_mask` [batch, source] to
    `memory`; decoder.onnx maps `decoder_input_ids` [batch, target], `memory` and `attention_mask`
    to `logits` [batch, target, vocab]. Each decoding step computes the whole prefix: no cache.

    Of a model that labels texts model.onnx maps `input_ids` and `attention_mask` [batch, length] to
    `logits` [batch, labels]; askew.json has labels, thresholds and the longest text.

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
    require_onnx()
    out = folder / "onnx" if out is None else Path(out)
    check_replaceable(out, caller="export_onnx")
    if model_kind(folder).application == "labels":
        write_label_graph(folder, out)
    else:
        _write_translation_graphs(folder, out)
    return out


def _write_translation_graphs(folder: Path, out: Path) -> None:
    model, tokenizers = load_translation_model(folder).eval(), load_tokenizers(folder)
    source = torch.ones(2, 5, dtype=torch.long)
    target = torch.ones(2, 3, dtype=torch.long)
    memory = torch.zeros(2, 5, model.config.to_plain().d_memory)
    # Sizes of 1 are computed by the same graph, but torch 2.9 does not see it.
    rows, read, written = (torch.export.Dim(name, min=2) for name in ("batch", "source", "target"))
    both = {0: rows, 1: read}
    with replacing_folder(out) as partial:
        write_graph(
            _Encoder(model.model),
            {"input_ids": source, "attention_mask": source.clone()},
            {"input_ids": both, "attention_mask": both},
            "memory",
            partial / "encoder.onnx",
        )
        write_graph(
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
        write_mark(folder, partial)


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
