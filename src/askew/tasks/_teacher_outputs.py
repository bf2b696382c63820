"""What a teacher writes, what of it is worth learning, and how a student stands beside it."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from askew.metrics import sentence_chrf
from askew.models import Seq2Seq
from askew.text import pad_batch

_TIMING_ROUNDS = 9
_BATCH = 32
IGNORED = -100


@torch.inference_mode()
def label_loss(
    reader: Seq2Seq, model: PreTrainedModel, inputs: Sequence[Any], labels: Sequence[list[int]]
) -> float:
    """Return the mean cross-entropy of a model for every token, in nats.

    Args:
        reader: Makes batches.
        model: The model.
        inputs: What it reads.
        labels: What it should write.

    Returns:
        The loss.
    """
    total = count = 0.0
    model.eval()
    for start in range(0, len(inputs), _BATCH):
        padded, _ = pad_batch(labels[start : start + _BATCH], value=IGNORED)
        batch = reader.inputs(inputs[start : start + _BATCH])
        logits = model(**batch, decoder_input_ids=reader.decoder_inputs(padded)).logits
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(), padded.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        total += losses.item()
        count += int((padded != IGNORED).sum())
    return total / count


def teacher_labels(
    reader: Seq2Seq,
    inputs: Sequence[Any],
    *,
    store: Path,
    beams: int,
    progress: Callable[[int, int], None],
) -> list[list[int]]:
    """Let the teacher write for every input, or go on where an earlier run was stopped.

    Args:
        reader: The teacher and what reads its inputs.
        inputs: What it reads.
        store: A file with one JSON list of tokens a line.
        beams: Hypotheses kept while it writes.
        progress: Called with what is done and all.

    Returns:
        What it wrote, as labels.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    done: list[list[int]] = []
    if store.is_file():
        raw = store.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        done = [json.loads(line) for line in whole.splitlines()][: len(inputs)]
        store.write_bytes(whole)
    with store.open("a", encoding="utf-8") as file:
        for start in range(len(done), len(inputs), _BATCH):
            written = reader.generate(inputs[start : start + _BATCH], num_beams=beams)
            file.writelines(json.dumps(tokens) + "\n" for tokens in written)
            file.flush()
            done += written
            progress(len(done), len(inputs))
    return done


def worth_learning(
    written: Sequence[str], references: Sequence[str], drop_worse: float
) -> list[bool]:
    """Decide which of a teacher's outputs a student should learn.

    Left out are empty ones, those of less than half or more than twice as many words as the
    reference, those in which four words follow each other twice, and, of all, the share that has
    the lowest chrF against the references.

    Args:
        written: What the teacher wrote.
        references: What is right.
        drop_worse: That share, in [0, 1).

    Returns:
        True where an output is to be learnt.

    Example:
        >>> worth_learning(["um gato", "", "a b c d a b c d"], ["um gato", "dois", "a b c d e"], 0)
        [True, False, False]
    """
    scores = sentence_chrf(written, references)
    ranked = sorted(range(len(scores)), key=lambda place: (scores[place], place))
    worst = set(ranked[: int(drop_worse * len(scores))])
    pairs = enumerate(zip(written, references, strict=True))
    return [place not in worst and _is_plausible(*pair) for place, pair in pairs]


def _is_plausible(written: str, reference: str) -> bool:
    words, wanted = written.split(), reference.split()
    fours = list(zip(*(words[shift:] for shift in range(4)), strict=False))
    has_length = len(wanted) / 2 <= len(words) <= 2 * len(wanted)
    return bool(words) and has_length and len(set(fours)) == len(fours)


def answer_ratio(
    reader: Seq2Seq, teacher: PreTrainedModel, student: PreTrainedModel, test: Sequence[Any]
) -> float:
    """Time single answers of both in turn; return the median ratio."""
    ratios = []
    for turn in range(_TIMING_ROUNDS + 1):
        seconds = []
        for model in (teacher, student):
            started = time.perf_counter()
            for row in test:
                reader.of(model.eval()).generate([row])
            seconds.append(time.perf_counter() - started)
        if turn:
            ratios.append(seconds[0] / seconds[1])
    return median(ratios)
