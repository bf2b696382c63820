"""Do small caches of keys and values cost quality? Four of them against a plain decoder.

    python benchmarks/evidence_keys.py --out keys

Settings are fixed here, before the first run: 2 encoder and 4 decoder layers of 64 with 4 heads,
the default phrases, 400 steps, the default rate, six paired seeds. The arms differ in the decoder's
self-attention (narrow keys also in its attention to the source); the bytes that it caches for a
target token are printed first. A run that was stopped goes on when the same command is typed again.
"""

from dataclasses import replace

from paired import judge, parser

from askew.tasks import APPLICATIONS, TranslationTask, translation_preset
from askew.tradeoffs import Arm
from askew.transformer import cache_bytes, parameter_count

STEPS, SEEDS, WIDTH = 400, 6, 64
SETTINGS = ["training.evaluations=2", "training.checkpoints=1"]
ARMS = {
    "narrow-keys": {"d_key": WIDTH // 4},
    "latent-keys": {"d_latent": WIDTH // 4},
    "one-key-head": {"num_kv_heads": 1},
    "shared-by-two": {"kv_shared_every": 2},
    "plain": {},
}


def main() -> None:
    options = parser(__doc__, seeds=SEEDS).parse_args()
    application = APPLICATIONS["translation"]
    task: TranslationTask = application.make_task(application.options(set_=SETTINGS))
    judge(task, arms(task), options, steps=STEPS)


def arms(task: TranslationTask) -> list[Arm]:
    """Return the decoders that differ in their keys, the plain one last."""
    plain = translation_preset("symmetric", "tiny", vocab_size=task.vocabularies())
    encoder = replace(plain.encoder, num_layers=2, num_heads=4)
    made = []
    for name, setting in ARMS.items():
        decoder = replace(plain.decoder, num_layers=4, num_heads=4, **setting)
        config = replace(plain, encoder=encoder, decoder=decoder)
        sizes = cache_bytes(decoder), parameter_count(config).total
        print(f"{name}: {sizes[0]} bytes a token, {sizes[1]} parameters", flush=True)
        made.append(Arm(name=name, config=config))
    return made


if __name__ == "__main__":
    main()
