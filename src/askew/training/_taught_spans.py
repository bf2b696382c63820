"""What a teacher says of where answers start and end, kept on disk, and the loss towards it."""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from askew._check import require
from askew._files import in_short, write_json
from askew._folders import check_resumable
from askew.losses import TopK, distillation_loss
from askew.models import PairScores, SpanTeacher
from askew.text import QuestionSet, TextTokens

_PART = 128
"""Questions of a file: so many are read again after a crash."""
_NO_PLACE = -1
_IMPOSSIBLE = -1e4
"""A score that no softmax notices, and whose gradient is no NaN."""


class TaughtSpans(NamedTuple):
    """A teacher's largest probabilities of the start and of the end of each answer.

    Args:
        places: [questions, 2, k], the first character of a start, the position after the last one
            of an end; -1 where there is none.
        log_probabilities: [questions, 2, k], of these.
        log_nothing: [questions, 2], that there is no answer.
        log_rest: [questions, 2], of all other places together.
        seconds: CPU time of the teacher.

    Example:
        >>> none = torch.zeros(0, 2)
        >>> TaughtSpans(none, none, none, none, 0.0).mass.item()
        nan
    """

    places: Tensor
    log_probabilities: Tensor
    log_nothing: Tensor
    log_rest: Tensor
    seconds: float

    @property
    def mass(self) -> Tensor:
        """Mean share of the probabilities that is kept one by one."""
        return 1 - self.log_rest.exp().mean()

    def describe(self) -> str:
        """Say how long the teacher took, and how much of what it said is kept."""
        count, _, k = self.places.shape
        return (
            f"the teacher read {count} questions in {self.seconds / 60:.1f} CPU-minutes, which do "
            f"not count as training; with that of no answer, the {k} largest probabilities of "
            f"starts and of ends hold {100 * float(self.mass):.1f} %"
        )


class SoftSpan(NamedTuple):
    """What a teacher says of one question, in tokens of one window.

    Args:
        indices: [2, k + 1], positions of starts and of ends; the first, -1, is "no answer".
        log_probabilities: [2, k + 1], of these; -inf where there is none.
        log_rest: [2], of all other positions together.

    Example:
        >>> SoftSpan._fields
        ('indices', 'log_probabilities', 'log_rest')
    """

    indices: Tensor
    log_probabilities: Tensor
    log_rest: Tensor


def teach_spans(
    open_teacher: Callable[[], SpanTeacher],
    questions: QuestionSet,
    *,
    fingerprint: str,
    k: int,
    temperature: float,
    folder: str | Path,
    progress: Callable[[int, int], None],
) -> TaughtSpans:
    """Let a teacher read all questions with their contexts, or go on after a crash.

    Args:
        open_teacher: Loads the teacher; called if a question was not read yet.
        questions: The questions.
        fingerprint: Of the teacher.
        k: How many probabilities of starts and of ends are kept, >= 1.
        temperature: Of the softmax over all places and "no answer", > 0.
        folder: Where what it says is kept.
        progress: Called with the number of questions read and of all.

    Returns:
        What it says of each question.

    Raises:
        ValueError: If the folder holds what another teacher said, or of other questions.

    Example:
        >>> import tempfile
        >>> kept = {"fingerprint": "", "k": 8, "temperature": 2.0, "progress": lambda *_: None}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     none = teach_spans(SpanTeacher, QuestionSet([], [], []), folder=folder, **kept)
        >>> len(none.places)
        0
    """
    folder = Path(folder)
    texts = [[one.text, questions.contexts[one.context].text] for one in questions.questions]
    identity = {
        "version": 1,
        "questions": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
        "teacher": fingerprint,
        "top_k": k,
        "temperature": temperature,
    }
    check_resumable(folder, "kept.json", identity, caller="teach_spans")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "kept.json", identity)
    teacher, parts = None, []
    for start in range(0, len(texts), _PART):
        path = folder / f"part-{start // _PART:05}.safetensors"
        if not os.path.lexists(path):
            teacher = open_teacher() if teacher is None else teacher
            before = time.process_time()
            scores = teacher.read(*zip(*texts[start : start + _PART], strict=True))
            kept = _stacked([_largest(one, k, temperature) for one in scores])
            kept["seconds"] = torch.tensor([time.process_time() - before])
            partial = path.with_suffix(".partial")
            save_file(kept, partial)
            partial.replace(path)
        parts.append(_read(path, len(texts[start : start + _PART]), k))
        progress(min(start + _PART, len(texts)), len(texts))
    none = _stacked([_largest(PairScores(*torch.zeros(2, 2, 0)), k, temperature)])
    places, log_p, log_nothing, log_rest = (
        torch.cat([none[name][:0], *(part[name] for part in parts)]) for name in none
    )
    seconds = sum(float(part["seconds"]) for part in parts)
    return TaughtSpans(places, log_p, log_nothing, log_rest, seconds)


def _read(path: Path, count: int, k: int) -> dict[str, Tensor]:
    """Read what a teacher says of some questions, or refuse a damaged file."""
    pairs, tops = torch.Size([count, 2]), torch.Size([count, 2, k])
    expected = dict(zip(TaughtSpans._fields, (tops, tops, pairs, pairs, (1,)), strict=True))
    try:
        kept = load_file(path)
        shapes = {name: tensor.shape for name, tensor in kept.items()}
        require(shapes == expected, f"{shapes}")
        # A probability that is no number would not be noticed before the weights.
        require(not any(tensor.isnan().any() for tensor in kept.values()), "NaN")
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"teach_spans: what a teacher said must be as it was written; got {path}: "
            f"{in_short(error, 120)}. Remove it"
        ) from None
    return kept


def _largest(scores: PairScores, k: int, temperature: float) -> tuple[Tensor, ...]:
    """Keep the probability of "no answer", the k largest of the places, and that of the others."""
    padded = F.pad(F.pad(scores.scores, (1, 0)), (0, k), value=-math.inf)
    nothing, answered = torch.log_softmax(padded / temperature, 1).split(
        [1, padded.shape[1] - 1], 1
    )
    largest = answered.topk(k, 1)
    rest = answered.scatter(1, largest.indices, -math.inf).logsumexp(1)
    places = F.pad(scores.places.long(), (0, k), value=_NO_PLACE).gather(1, largest.indices)
    return places, largest.values, nothing.squeeze(1), rest


def _stacked(rows: Sequence[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    columns = (torch.stack(column) for column in zip(*rows, strict=True))
    return dict(zip(TaughtSpans._fields, columns, strict=False))


def soft_span(
    taught: TaughtSpans, number: int, tokens: TextTokens, window: tuple[int, int], first: int
) -> SoftSpan:
    """Say in tokens of a window what a teacher says of a question in characters.

    Probabilities of places outside the window count as "no answer"; those that fall into one token
    are added.

    Args:
        taught: What the teacher says.
        number: Of the question.
        tokens: Of the context.
        window: The first of them in the window, and the one after the last.
        first: Position of the first one in the window.

    Returns:
        Positions and their probabilities.

    Example:
        >>> from askew.text import SpanTokenizer, train_tokenizer
        >>> tokens = SpanTokenizer(train_tokenizer(["a b"], vocab_size=300)).encode("a b")
        >>> certain = torch.zeros(1, 2, 1)
        >>> never = torch.full((1, 2), -math.inf)
        >>> places = torch.tensor([[[0], [1]]])
        >>> taught = TaughtSpans(places, certain, never, never, 0.0)
        >>> soft_span(taught, 0, tokens, (0, len(tokens.ids)), 1).indices.tolist()
        [[-1, 1], [-1, 1]]
    """
    k = taught.places.shape[2]
    indices = torch.full((2, k + 1), _NO_PLACE)
    log_p = torch.full((2, k + 1), -math.inf)
    log_rest = taught.log_rest[number].clone()
    begin, end = window
    for side in range(2):
        said: dict[int, float] = {_NO_PLACE: float(taught.log_nothing[number, side])}
        places = taught.places[number, side].tolist()
        for place, log in zip(places, taught.log_probabilities[number, side].tolist(), strict=True):
            if side == 0:
                token = int(np.searchsorted(tokens.ends, place, side="right"))
            else:
                token = int(np.searchsorted(tokens.starts, place, side="left")) - 1
            is_inside = place != _NO_PLACE and begin <= token < end
            where = token - begin + first if is_inside else _NO_PLACE
            said[where] = float(np.logaddexp(said.get(where, -math.inf), log))
        if len(said) > end - begin:  # no other position is left for the rest
            said[_NO_PLACE] = float(np.logaddexp(said[_NO_PLACE], float(log_rest[side])))
            log_rest[side] = -math.inf
        indices[side, : len(said)] = torch.tensor(list(said))
        log_p[side, : len(said)] = torch.tensor(list(said.values()))
    return SoftSpan(indices, log_p, log_rest)


def soft_span_loss(
    spans: Tensor, nothing: Tensor, taught: SoftSpan, *, temperature: float
) -> Tensor:
    r"""Divergence of a student's starts and ends from its teacher's, times the squared temperature.

    .. math:: T^2\,\left(\operatorname{KL}(p_s\,\|\,q_s)+\operatorname{KL}(p_e\,\|\,q_e)\right)

    p are the teacher's probabilities of starts (s) and of ends (e), q the student's.

    The student's score of a start is the logarithm of the sum over all spans that begin with it,
    that of an end over all that end with it; one more class is "no answer". Where a teacher is sure
    and T is 1, the divergence of the starts is the `span_loss` with all spans that begin there.

    Args:
        spans: Scores [pairs, start, end], -inf where there is no span.
        nothing: Scores [pairs] of "no answer".
        taught: What the teacher says of each pair, its tensors with a first axis of pairs.
        temperature: T, at which the teacher's probabilities were taken, > 0.

    Returns:
        The loss of every pair, [pairs].

    Example:
        >>> spans = torch.zeros(1, 2, 2)
        >>> half = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]).log()
        >>> said = SoftSpan(torch.tensor([[[-1, 0], [-1, 0]]]), half, torch.full((1, 2), -math.inf))
        >>> soft_span_loss(spans, torch.zeros(1), said, temperature=1.0).shape
        torch.Size([1])

    References:
        Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531.
    """
    scores = spans.float()
    scores = scores.masked_fill(scores == -torch.inf, _IMPOSSIBLE)
    both = torch.stack([scores.logsumexp(2), scores.logsumexp(1)], 1)
    none = nothing.float()[:, None, None].expand(-1, 2, 1)
    # Impossible classes take what pads the teacher's, and leave one to the rest.
    length, kept = both.shape[2], taught.indices.shape[2]
    logits = F.pad(torch.cat([none, both], 2), (0, kept + 1), value=_IMPOSSIBLE)
    absent = taught.log_probabilities == -torch.inf
    indices = torch.where(absent, length + 1, taught.indices + 1)
    top = TopK(taught.log_probabilities, indices, taught.log_rest)
    return distillation_loss(logits, top, temperature=temperature, reduction="none").sum(1)
