"""Train on the translated messages of your .po file, and fill in the others.

    python examples/translate_po.py                  # a small catalogue made here
    python examples/translate_po.py messages.po      # yours; the copy is messages.new.po

On the command line: askew train translation --data messages.po --out model, and then
askew translate model messages.po --out messages.new.po
"""

import sys
import tempfile
from pathlib import Path

from askew.models import Translator
from askew.tasks import prepare_training, train_into, translation_preset, translation_task
from askew.text import localisation_phrases, read_po, split_pairs, translate_po
from askew.tradeoffs import Budget
from askew.training import TrainingConfig

STEPS = 500


def small_catalogue(folder: Path) -> Path:
    """Phrases that the CLDR writes in English and Portuguese; every 40th is left to do."""
    phrases = localisation_phrases(num_train=2000, num_valid=1, num_test=1).train
    path = folder / "messages.po"
    entries = [
        f'msgid "{source}"\nmsgstr "{"" if number % 40 == 0 else target}"\n'
        for number, (source, target) in enumerate(zip(*phrases, strict=True))
    ]
    path.write_text("\n".join(entries), encoding="utf-8")
    return path


def main(given: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = given or small_catalogue(Path(folder))
        text = split_pairs(read_po(path))
        training = TrainingConfig(steps=STEPS, lr=3e-3)
        task = translation_task(path.name, text, vocab_size=600, training=training, protect=True)
        model = translation_preset("deep-shallow", "tiny", vocab_size=task.vocabularies())
        run = {"budget": Budget(steps=STEPS), "seed": 0, "threads": 1, "out": Path(folder) / "m"}
        identity = prepare_training(task, model, **run)
        scores = train_into(task, model, identity, progress=lambda *_: None, **run)
        print(f"after {STEPS} steps, chrF on held-out messages: {scores['chrf']:.1f}")
        translator = Translator.from_pretrained(run["out"])
        out = path.with_suffix(".new.po")
        print(f"filled in and marked fuzzy: {translate_po(path, translator.translate, out)}")
        fuzzy = out.read_text(encoding="utf-8").split("#, fuzzy\n")[1:4]
        print("\n".join(entry.split("\n\n")[0].strip() for entry in fuzzy))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
