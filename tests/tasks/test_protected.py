"""A task that protects learns marks, from references and teachers alike, and copies them."""

from dataclasses import replace

import pytest

from askew.metrics import placeholder_survival
from askew.tasks import is_catalogue, is_xliff, translation_task
from askew.text import ParallelText, SplitText, find_placeholders, is_protecting, protect_pairs
from askew.training import SideConfig, TrainingConfig
from askew.transformer import EncoderDecoderConfig, StackConfig

WORDS = {"open": "abrir", "close": "fechar", "read": "ler", "write": "gravar"}


def pairs(names):
    rows = [(s, t, names[i]) for s, t in WORDS.items() for i in range(len(names))]
    return ParallelText(
        [f"{s} ``{name}`` now" for s, _, name in rows],
        [f"{t} ``{name}`` já" for _, t, name in rows],
    )


SEEN = pairs([f"x{i * i}" for i in range(12)])
NEW = pairs(["total", "os.replace"])
TEXT = SplitText(SEEN, NEW, NEW)


def task(*, protect, **changes):
    training = TrainingConfig(steps=1, batch_tokens=256, lr=1e-2, warmup_steps=10, **changes)
    return translation_task("files", TEXT, vocab_size=300, training=training, protect=protect)


def test_examples_hold_marks_and_those_of_a_teacher_too():
    made = task(protect=True)
    assert made.protects
    assert is_protecting(made.tokenizers.target)
    for part, text in zip(made.examples, (SEEN, NEW), strict=True):
        for token_ids, side, tokenizer in zip(
            zip(*part, strict=True), protect_pairs(text), made.tokenizers, strict=True
        ):
            assert [tokenizer.decode(tokens) for tokens in token_ids] == side
    taught = replace(made, taught=ParallelText(["read ``y``"], ["``y`` lido"]))
    ((source, target),) = taught._examples(taught._training_pairs("teacher"), made.training, 0)
    assert made.tokenizers.source.decode(source) == "read \ufdd0"
    assert made.tokenizers.target.decode(target) == "\ufdd0 lido"


def test_a_task_that_does_not_protect_is_as_before():
    plain = task(protect=False)
    assert not plain.protects
    assert "protect" not in plain.describe()
    assert task(protect=True).describe()["protect"] is True
    for token_ids, side, tokenizer in zip(
        zip(*plain.examples[0], strict=True), SEEN, plain.tokenizers, strict=True
    ):
        assert list(token_ids) == [tokenizer.encode(text).ids for text in side]


@pytest.mark.parametrize("p", [0.2, pytest.param(0.0, marks=pytest.mark.slow)])
def test_names_that_were_never_seen_are_copied(tmp_path, p):
    kept = {}
    for protect in (True, False):
        made = task(protect=protect, encoder=SideConfig(bpe_dropout=p))
        source, target = made.vocabularies()
        side = StackConfig(d_model=32, num_layers=1, num_heads=2, d_ff=48)
        config = EncoderDecoderConfig(
            source_vocab=source, target_vocab=target, encoder=side, decoder=side
        )
        model = made.build(config, 0)
        folder = tmp_path / str(protect)
        made.train(model, steps=60, seed=0, folder=folder, progress=lambda step, steps: None)
        translations = made.translator(model).translate(NEW.sources)
        kept[protect] = placeholder_survival(NEW.sources, translations, find_placeholders).share
    assert kept[True] == 1.0
    assert kept[False] < 0.5


def test_catalogues_are_files_and_folders(tmp_path):
    assert is_catalogue("pt.po")
    assert is_catalogue("pt.POT")
    assert is_xliff("pt.XLF")
    assert is_xliff("pt.xliff")
    assert not any(map(is_xliff, ("pt.po", "xlf", None)))
    assert is_catalogue(tmp_path)
    for other in (None, "pt.tsv", f"datasets:{tmp_path}", "datasets:a.po"):
        assert not is_catalogue(other)
