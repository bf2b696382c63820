"""Export of a model that labels texts to an ONNX graph."""

from pathlib import Path

import torch
from torch import Tensor, nn

from askew.export._files import replacing_folder
from askew.export._onnx_graph import write_graph, write_mark
from askew.models import AsymmetricLabelModel, load_label_model
from askew.text import load_any_tokenizer, save_tokenizer_settings


def write_label_graph(folder: Path, out: Path) -> None:
    """Write model.onnx, the tokenizer, and what turns logits into labels.

    Args:
        folder: The folder of the model.
        out: The folder to write.
    """
    model = load_label_model(folder).eval()
    tokenizer = load_any_tokenizer(folder / "tokenizer.json")
    config = model.config
    tokens = torch.ones(2, 5, dtype=torch.long)
    # Sizes of 1 are computed by the same graph, but torch 2.9 does not see it.
    rows, read = (torch.export.Dim(name, min=2) for name in ("batch", "length"))
    both = {0: rows, 1: read}
    with replacing_folder(out) as partial:
        write_graph(
            _Logits(model),
            {"input_ids": tokens, "attention_mask": tokens.clone()},
            {"input_ids": both, "attention_mask": both},
            "logits",
            partial / "model.onnx",
        )
        (partial / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
        save_tokenizer_settings(tokenizer, partial)
        made = {
            "labels": config.labels,
            "exclusive": config.is_exclusive,
            "thresholds": config.thresholds or [0.0] * len(config.labels),
            "max_tokens": config.max_tokens,
        }
        write_mark(folder, partial, made)


class _Logits(nn.Module):
    def __init__(self, model: AsymmetricLabelModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids, attention_mask, return_dict=False)[0]
