"""Question encoders of few layers, taught by the encoder of the documents without labels."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from askew._check import refuse_string, require
from askew.models import EncodedQuestion, Keep, PassageEncoder, StudentEncoder
from askew.training._optimizer import rise_and_fall

_BATCH, _WARMUP = 32, 0.1


def distil_questions(
    teacher: PassageEncoder,
    texts: Sequence[str],
    *,
    layers: int,
    keep: Keep = "first",
    steps: int = 300,
    lr: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> StudentEncoder:
    r"""Teach some layers of an encoder to make of questions what all of them make.

    With unit vectors v and unit states s of the teacher, and those of the student with a hat,

    .. math:: \sum_x \lVert \hat v_x - v_x \rVert^2
        + \frac{1}{|x|} \sum_{i \in x} \lVert \hat s_{xi} - s_{xi} \rVert^2

    is minimised by AdamW over texts x. The table of tokens keeps its values. No labels are needed.

    Args:
        teacher: The encoder of the documents.
        texts: Questions, or sentences of the documents; some thousands are enough. Blank ones are
            left out.
        layers: How many the student has.
        keep: Which, as `askew.models.StudentEncoder.cut` takes them.
        steps: Of 32 texts each.
        lr: The highest rate; it rises for a tenth of the steps, and then falls linearly.
        seed: Of the order of texts.
        progress: Called with the texts done and those of all; the teacher reads each once, the
            student 32 in each step.

    Returns:
        The student.

    Raises:
        ValueError: If there is no text, one has lone surrogates, a number is not positive, or the
            layers do not fit.
        TypeError: If `texts` is a string and not a list of them.

    Example:
        >>> from transformers import BertConfig
        >>> from askew.models import PretrainedEncoder
        >>> from askew.text import train_tokenizer
        >>> small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 3}
        >>> config = BertConfig(vocab_size=300, intermediate_size=8, **small)
        >>> tokenizer = train_tokenizer(["Anna lives in Rome."], vocab_size=300)
        >>> teacher = PassageEncoder(PretrainedEncoder(config), tokenizer, fingerprint="0" * 64)
        >>> student = distil_questions(teacher, ["Anna", "in Rome"], layers=1, steps=2)
        >>> student.question("Rome").vector.shape
        torch.Size([8])

    References:
        LEAF: Knowledge Distillation of Text Embedding Models with Teacher-Aligned
        Representations, 2025, arXiv:2509.12539: the squared distance to the teacher's unit
        vectors, without labels or negatives.
    """
    refuse_string("distil_questions", "texts", texts)
    require(
        steps > 0 and lr > 0,
        f"distil_questions: steps and lr must be positive; got steps {steps}, lr {lr}",
    )
    student = StudentEncoder.cut(teacher, layers, keep=keep)
    read = [tokens for text in dict.fromkeys(texts) if len(tokens := teacher.tokens(text))]
    require(
        len(read) > 0,
        f"distil_questions: there must be texts to learn from; got {len(texts)}, "
        "none with a token. Give questions, or sentences of the documents",
    )
    read.sort(key=len)
    total, lessons = len(read) + steps * _BATCH, []
    for lesson in teacher.encode_tokens(read):
        lessons.append(EncodedQuestion(lesson.states.half(), lesson.vector))
        if progress is not None and len(lessons) % 100 == 0:
            progress(len(lessons), total)
    learned = _learning(student)
    optimizer = torch.optim.AdamW(learned, lr=lr, weight_decay=0.0)
    schedule = rise_and_fall("linear", rise=max(1, int(_WARMUP * steps)), steps=steps)
    for step, rows in enumerate(_batches(len(read), steps, seed)):
        for group in optimizer.param_groups:
            group["lr"] = lr * schedule(step + 1)
        loss = _distance(student, [read[row] for row in rows], [lessons[row] for row in rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress is not None:
            progress(len(read) + (step + 1) * _BATCH, total)
    return student


def _learning(student: StudentEncoder) -> list[Tensor]:
    model = student.reader.encoder.encoder
    model.get_input_embeddings().requires_grad_(False)  # most of the weights, for little
    return [weight for weight in model.parameters() if weight.requires_grad]


def _batches(count: int, steps: int, seed: int) -> Iterator[list[int]]:
    """Draw neighbours, which are of about one length, until there are enough steps."""
    draw = torch.Generator().manual_seed(seed)
    starts = range(0, count, _BATCH)
    drawn: list[int] = []
    for _ in range(steps):
        drawn = drawn or torch.randperm(len(starts), generator=draw).tolist()
        start = starts[drawn.pop()]
        yield list(range(start, min(count, start + _BATCH)))


def _distance(
    student: StudentEncoder, texts: list[list[int]], lessons: list[EncodedQuestion]
) -> Tensor:
    encoded = student.reader.read_tokens(texts)
    counts = torch.tensor([len(text) for text in texts])
    states = torch.cat([lesson.states for lesson in lessons]).float()
    apart = (encoded.states[encoded.mask] - states).square().sum(1)
    by_tokens = (apart / counts.repeat_interleave(counts)).sum()
    vectors = torch.stack([lesson.vector for lesson in lessons])
    return ((encoded.vectors - vectors).square().sum() + by_tokens) / len(texts)
