"""Run a deep-encoder, shallow-decoder model in CTranslate2: the same translations, faster.

    python examples/serve_faster.py

The weights are random, which does not change the time. On the command line:
askew export model --to ctranslate2 and askew translate model --engine ctranslate2.
"""

import tempfile
import time
from pathlib import Path

import torch

from askew.export import export_ctranslate2
from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel, Translator
from askew.tasks import translation_preset
from askew.text import localisation_phrases, save_tokenizers, train_tokenizers


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    text = localisation_phrases(num_train=3000, num_valid=1, num_test=100)
    tokenizers = train_tokenizers(text.train, vocab_size=1000)
    vocab = tokenizers.source.get_vocab_size()
    config = translation_preset("deep-shallow", "small", vocab_size=vocab)
    model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(config))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        save_tokenizers(tokenizers, Path(folder))
        export_ctranslate2(folder)
        engines = {
            name: Translator.from_pretrained(folder, engine=name, batch_size=1)
            for name in ("torch", "ctranslate2")
        }
        took, outputs = {}, {}
        for name, translator in engines.items():
            translator.translate(text.test.sources[:2])
            began = time.perf_counter()
            outputs[name] = translator.translate(text.test.sources[:30])
            took[name] = time.perf_counter() - began
            print(f"{name:12} {1e3 * took[name] / 30:6.1f} ms a sentence, one at a time")
    same = sum(a == b for a, b in zip(*outputs.values(), strict=True))
    print(f"{took['torch'] / took['ctranslate2']:.1f} times as fast; {same} of 30 texts the same")


if __name__ == "__main__":
    main()
