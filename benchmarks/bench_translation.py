"""Training throughput and decoding speed beside Marian of transformers and other peers.

Everything runs in turn in one process on one thread; figures are CPU time, medians of ratios
within a round. Lengths are those of Multi30k where it is present, else random ones like them.

    python benchmarks/bench_translation.py [--rounds 5]
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from common import arguments, print_table, write
from torch import nn
from transformers import MarianConfig, MarianMTModel
from transformers.utils import logging

from askew.export import export_ctranslate2
from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel, CTranslate2Engine
from askew.text import (
    ParallelText,
    TokenBatches,
    pad_batch,
    read_aligned,
    save_tokenizers,
    train_tokenizers,
)
from askew.training import TranslationExamples, collate_translation
from askew.transformer import EncoderDecoderConfig, StackConfig

DATA = Path("../shared/data/multi30k")
VOCABULARY, WIDTH, LAYERS, HEADS, DROPOUT, BUDGET = 8000, 256, 3, 4, 0.1, 1024
STEPS, TOKENS = 4, 16  # steps of a training slice; tokens forced out of every decoder


def pairs() -> ParallelText:
    if DATA.is_dir():
        return read_aligned(DATA / "train.en.gz", DATA / "train.de.gz")
    rng = random.Random(0)
    words = [f"w{i}" for i in range(3000)]
    made = [
        [" ".join(rng.choices(words, k=max(3, round(rng.gauss(12, 4))))) for _ in range(8000)]
        for _ in range(2)
    ]
    return ParallelText(*made)


def ours(vocab: int, encoder: tuple[int, int], decoder: tuple[int, int]):
    sides = [
        StackConfig(
            d_model=width,
            num_layers=layers,
            num_heads=width // 64 if width >= 128 else 2,
            d_ff=4 * width,
            dropout=DROPOUT,
        )
        for layers, width in (encoder, decoder)
    ]
    config = EncoderDecoderConfig(
        source_vocab=vocab,
        target_vocab=vocab,
        encoder=sides[0],
        decoder=sides[1],
        tie_embeddings="all",
    )
    return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(config))


def marian(vocab: int, encoder: int, decoder: int, width: int = WIDTH) -> MarianMTModel:
    config = MarianConfig(
        vocab_size=vocab,
        d_model=width,
        encoder_layers=encoder,
        decoder_layers=decoder,
        encoder_attention_heads=width // 64,
        decoder_attention_heads=width // 64,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        dropout=DROPOUT,
        attention_dropout=0.0,
        activation_dropout=0.0,
        activation_function="relu",
        scale_embedding=True,
        pad_token_id=0,
        eos_token_id=2,
        bos_token_id=1,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    return MarianMTModel(config)


class TorchTransformer(nn.Module):
    """torch.nn.Transformer between tables of tokens."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab, WIDTH)
        self.positions = nn.Embedding(512, WIDTH)
        self.inner = nn.Transformer(
            WIDTH, HEADS, LAYERS, LAYERS, 4 * WIDTH, DROPOUT, batch_first=True, norm_first=True
        )

    def forward(self, input_ids, attention_mask, decoder_input_ids):
        source, target = (
            self.table(x) * WIDTH**0.5 + self.positions.weight[: x.shape[1]]
            for x in (input_ids, decoder_input_ids)
        )
        hidden = attention_mask == 0
        states = self.inner(
            source,
            target,
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(target.shape[1]),
            src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
            tgt_is_causal=True,
        )
        return F.linear(states, self.table.weight)


def trainer(model: nn.Module, batches: list[dict], *, bf16: bool = False) -> Callable[[], int]:
    """A slice of training: some steps, and the target tokens that they learnt from."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    given = iter(range(10**9))

    def run() -> int:
        model.train()
        tokens = 0
        for _ in range(STEPS):
            batch = dict(batches[next(given) % len(batches)])
            labels = batch.pop("labels").flatten()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                output = model(**batch)
            logits = output if isinstance(output, torch.Tensor) else output.logits
            loss = F.cross_entropy(
                logits.flatten(0, 1).float(), labels, ignore_index=-100, label_smoothing=0.1
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            tokens += int((labels != -100).sum())
        return tokens

    return run


def generator(model: nn.Module, sources: list[list[int]], size: int, beams: int):
    """A slice of decoding: a batch, so many tokens forced; gives its sentences."""
    model.eval()
    tokens, mask = pad_batch([[*source, 2] for source in sources[:size]])

    @torch.inference_mode()
    def run() -> int:
        model.generate(
            tokens,
            attention_mask=mask,
            num_beams=beams,
            do_sample=False,
            min_new_tokens=TOKENS,
            max_new_tokens=TOKENS,
        )
        return size

    return run


def ctranslate2(model, tokenizers, sources, size: int, beams: int, quantization: str):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        save_tokenizers(tokenizers, folder)
        engine = CTranslate2Engine(export_ctranslate2(folder, quantization=quantization))
    words = [[engine.source_words[token] for token in source] for source in sources[:size]]

    def run() -> int:
        engine._model.translate_batch(
            words,
            beam_size=beams,
            min_decoding_length=TOKENS,
            max_decoding_length=TOKENS,
        )
        return size

    return run


def race(runs: dict[str, Callable[[], int]], to: str, rounds: int) -> dict[str, dict[str, float]]:
    """Items per CPU-second, and the median ratio to one of them within a round."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    order = random.Random(0)
    for turn in range(-1, rounds):
        for name in order.sample(list(runs), len(runs)):
            started = time.process_time()
            items = runs[name]()
            if turn >= 0:
                rates[name].append(items / (time.process_time() - started))
    return {
        name: {
            "per_second": statistics.median(own),
            "ratio": statistics.median(a / b for a, b in zip(own, rates[to], strict=True)),
        }
        for name, own in rates.items()
    }


def main() -> None:
    options = arguments("translation")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    text = pairs()
    tokenizers = train_tokenizers(text, vocab_size=VOCABULARY)
    vocab = tokenizers.source.get_vocab_size()
    data = TranslationExamples(text, tokenizers, max_tokens=BUDGET)
    rows = list(TokenBatches(data.lengths, max_tokens=BUDGET, num_batches=300, seed=0))
    batches = [collate_translation([data[row] for row in batch]) for batch in rows]
    useful = sum(int((b["labels"] != -100).sum()) for b in batches)
    share = useful / sum(b["labels"].numel() for b in batches)
    sources = [data[row][0] for row in random.Random(1).sample(range(len(data)), 64)]
    torch.manual_seed(0)
    same = (LAYERS, WIDTH)
    training = race(
        {
            "Marian": trainer(marian(vocab, LAYERS, LAYERS), batches),
            "ours": trainer(ours(vocab, same, same), batches),
            "ours, bf16": trainer(ours(vocab, same, same), batches, bf16=True),
            "Marian, bf16": trainer(marian(vocab, LAYERS, LAYERS), batches, bf16=True),
            "torch.nn.Transformer": trainer(TorchTransformer(vocab), batches),
            "ours, 6 x 256 + 1 x 128": trainer(ours(vocab, (6, 256), (1, 128)), batches),
        },
        "Marian",
        options.rounds,
    )
    results: dict[str, object] = {"useful_targets": share, "training": training}
    table("training, target tokens per CPU-second", training)
    models = {
        "Marian": marian(vocab, LAYERS, LAYERS),
        "Marian, 6 + 1": marian(vocab, 6, 1),
        "ours": ours(vocab, same, same),
        "ours, 6 x 256 + 1 x 128": ours(vocab, (6, 256), (1, 128)),
    }
    for size, beams in ((1, 1), (1, 5), (64, 1), (64, 5)):
        runs = {name: generator(model, sources, size, beams) for name, model in models.items()}
        for name in ("ours", "ours, 6 x 256 + 1 x 128"):
            for kind in ("float32", "int8"):
                run = ctranslate2(models[name], tokenizers, sources, size, beams, kind)
                runs[f"{name}, CTranslate2 {kind}"] = run
        rates = race(runs, "Marian", options.rounds)
        results[f"decoding, batch {size}, beam {beams}"] = rates
        table(f"decoding, batch {size}, beam {beams}, sentences per CPU-second", rates)
    write(options.out, results)


def table(title: str, rates: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}")
    print_table(["", "per second", "to Marian"], [[n, *r.values()] for n, r in rates.items()])
    sys.stdout.flush()


if __name__ == "__main__":
    main()
