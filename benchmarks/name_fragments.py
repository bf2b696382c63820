"""Which parameters of well-known models are trained twice or never if matched by name fragments.

    python benchmarks/name_fragments.py

Each model is built from the default configuration of its family, without memory and without
download. The fragments are "encoder", "decoder" and "head" or "classifier", each with its own
optimizer. Shares are of parameters; tied ones count once.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import transformers as t
from torch import nn

from askew.optim import partition_parameters

FRAGMENTS = {"encoder": ("encoder",), "decoder": ("decoder",), "head": ("head", "classifier")}

MODELS: dict[str, Callable[[], nn.Module]] = {
    "BERT, classifier": lambda: t.BertForSequenceClassification(t.BertConfig()),
    "ViT, classifier": lambda: t.ViTForImageClassification(t.ViTConfig()),
    "GPT-2": lambda: t.GPT2LMHeadModel(t.GPT2Config()),
    "T5": lambda: t.T5ForConditionalGeneration(t.T5Config()),
    "BART": lambda: t.BartForConditionalGeneration(t.BartConfig()),
    "Marian": lambda: t.MarianMTModel(t.MarianConfig()),
    "Whisper": lambda: t.WhisperForConditionalGeneration(t.WhisperConfig()),
    "Llama": lambda: t.LlamaForCausalLM(t.LlamaConfig()),
    "nn.Transformer with a bridge and a head": lambda: bridged(),
}


class Row(NamedTuple):
    """One model: its size, and the shares that each way of matching trains twice or never."""

    model: str
    parameters: int
    twice: float
    never: float
    empty: list[str]
    error: str


def bridged() -> nn.Module:
    """The sketch's encoder-decoder, with the names that it uses."""
    model = nn.Module()
    encoder = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
    model.encoder = nn.TransformerEncoder(encoder, 12, enable_nested_tensor=False)
    model.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(256, 4, 1024), 6)
    model.encoder_to_decoder = nn.Linear(512, 256)
    model.embedding_enc, model.embedding_dec = nn.Embedding(32000, 512), nn.Embedding(32000, 256)
    model.output_projection = nn.Linear(256, 32000)
    return model


def row(name: str, model: nn.Module) -> Row:
    """Count how many optimizers hold each parameter under the name the sketch sees."""
    held = {
        part: [n for n, _ in model.named_parameters() if any(word in n for word in words)]
        for part, words in FRAGMENTS.items()
    }
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    times = {n: sum(n in own for own in held.values()) for n in sizes}
    total = sum(sizes.values())
    twice = sum(size for n, size in sizes.items() if times[n] > 1)
    never = sum(size for n, size in sizes.items() if times[n] == 0)
    empty = [part for part, own in held.items() if not own]
    return Row(name, total, twice / total, never / total, empty, refusal(model))


def refusal(model: nn.Module) -> str:
    """What `partition_parameters` says to the same three names as whole segments."""
    rules = {part: [f"**.{word}.**" for word in words] for part, words in FRAGMENTS.items()}
    try:
        partition_parameters(model, rules)
    except ValueError as error:
        return str(error)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--errors", action="store_true", help="print what partitioning says")
    options = parser.parse_args()
    rows = []
    for name, build in MODELS.items():
        with torch.device("meta"):
            rows.append(row(name, build()))
    print("| model | parameters | trained twice | never trained | empty optimizers |")
    print("|---|---|---|---|---|")
    for one in rows:
        print(
            f"| {one.model} | {one.parameters / 1e6:,.0f} M | {one.twice:.1%} | {one.never:.1%} "
            f"| {', '.join(one.empty) or '–'} |"
        )
        if options.errors and one.error:
            print(f"    {one.error}")
    if options.out:
        figures = [one._asdict() for one in rows]
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
