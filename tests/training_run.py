"""One training of a tiny model, for tests that kill it or start it several times at once.

    python training_run.py OUT CONFIG_JSON [KILL_STEP | save:STEP | full:BYTES]

Writes OUT/records.json and OUT/weights.safetensors when it ends.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_model

from askew._config import load_config
from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
from askew.text import ParallelText, train_tokenizers
from askew.training import TrainingConfig, TranslationExamples, _callbacks, train_model
from askew.transformer import EncoderDecoderConfig, StackConfig

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
PAIRS = ParallelText(
    [f"{a} {b}" for a in WORDS for b in WORDS[:4]], [f"{b} {a}" for a in WORDS for b in WORDS[:4]]
)


def tiny_model(vocab, dropout):
    torch.manual_seed(0)
    sides = [
        StackConfig(
            d_model=width,
            num_layers=layers,
            num_heads=2,
            d_ff=32,
            dropout=dropout,
            attention_dropout=dropout,
            feed_forward_dropout=dropout,
        )
        for width, layers in ((16, 2), (12, 1))
    ]
    plain = EncoderDecoderConfig(
        source_vocab=vocab,
        target_vocab=vocab,
        encoder=sides[0],
        decoder=sides[1],
        tie_embeddings="all",
    )
    return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def main():
    torch.set_num_threads(1)
    out, values = Path(sys.argv[1]), json.loads(sys.argv[2])
    how = sys.argv[3] if len(sys.argv) > 3 else ""
    dropout = values.pop("dropout", 0.2)
    config = load_config(TrainingConfig, values)
    if how.startswith("save:"):
        mark = _callbacks.mark_complete
        _callbacks.mark_complete = lambda path: (
            kill() if path.name.endswith(f"-{how[5:]}") else mark(path)
        )
    if how.startswith("full:"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(how[5:]),) * 2)
    tokenizers = train_tokenizers(PAIRS, vocab_size=280)
    shares = (config.encoder.bpe_dropout, config.decoder.bpe_dropout)
    data = TranslationExamples(PAIRS, tokenizers, max_tokens=96, bpe_dropout=shares)
    valid = TranslationExamples(PAIRS, tokenizers, max_tokens=96)
    model = tiny_model(tokenizers.source.get_vocab_size(), dropout)

    def progress(step, steps):
        if how.isdigit() and step == int(how):
            kill()

    records = train_model(
        model, data, valid, config, out=out / "checkpoints", seed=1, progress=progress
    )
    if int(os.environ.get("RANK", "0")) == 0:
        save_model(model, str(out / "weights.safetensors"))
        (out / "records.json").write_text(json.dumps(records))


if __name__ == "__main__":
    main()
