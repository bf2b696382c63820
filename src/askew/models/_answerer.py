"""Ask contexts that were encoded once, text in and text out."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from askew._check import require
from askew.models._answers import Answer, find_answers
from askew.models._context_index import ContextIndex
from askew.models._context_shards import DTYPES, Shard
from askew.models._encoders import PretrainedEncoder
from askew.models._folder import load_qa_model, model_fingerprint
from askew.models._qa import AsymmetricQAModel, Encoded
from askew.text import Context, SpanTokenizer, TextTokens, cut_windows, pad_batch
from askew.transformer import TokenEncoder

_SHARD_BYTES = 2**28
_GROUP_CHARACTERS = 2**20

Progress = Callable[[int, int], None]
"""Called with characters of contexts done and in all."""


class QuestionAnswerer:
    """A question-answering model and its tokenizers, text in and text out.

    `encode` reads contexts, in overlapping windows of `max_context_tokens`, without any
    question. `answer` then encodes the question alone, keeps the windows whose vectors are
    nearest to its own, and reads these. Every span of `max_answer_tokens` tokens lies in some
    window.

    Args:
        model: The model, put into evaluation mode.
        context_tokenizer: Cuts contexts.
        question_tokenizer: Cuts questions.
        batch_windows: Windows that are encoded or read together.
        fingerprint: Names the weights; by default they are hashed when first needed.

    Raises:
        ValueError: If a number is not positive, a tokenizer has tokens that the model does not
            know, or a window has no room for more than the overlap.

    Example:
        >>> from askew.models import AsymmetricQAConfig
        >>> from askew.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["Anna lives in Rome."], vocab_size=300)
        >>> model = AsymmetricQAModel(AsymmetricQAConfig(question_vocab=300, context_vocab=300))
        >>> answerer = QuestionAnswerer(model, tokenizer, tokenizer)
        >>> index = answerer.encode([Context("a page", "Anna lives in Rome.")])
        >>> answerer.answer("Where does Anna live?", index)[0].title
        'a page'
    """

    def __init__(
        self,
        model: AsymmetricQAModel,
        context_tokenizer: Tokenizer,
        question_tokenizer: Tokenizer,
        *,
        batch_windows: int = 16,
        fingerprint: str | None = None,
    ) -> None:
        require(
            batch_windows > 0,
            f"QuestionAnswerer: batch_windows must be positive; got batch_windows {batch_windows}",
        )
        self.model = model.eval()
        self.context_tokenizer = SpanTokenizer(context_tokenizer)
        self.question_tokenizer = SpanTokenizer(question_tokenizer)
        self.batch_windows = batch_windows
        self._fingerprint = fingerprint
        self.plain = model.config.to_plain()
        self.window_tokens = self.plain.max_context_tokens - self.context_tokenizer.num_special
        require(
            self.window_tokens > self.plain.overlap,
            "QuestionAnswerer: max_context_tokens must leave more than overlap to the text; got "
            f"max_context_tokens {self.plain.max_context_tokens}, overlap {self.plain.overlap}, "
            f"{self.context_tokenizer.num_special} tokens around the text",
        )
        _check_vocabulary("context", model.context_encoder, context_tokenizer)
        _check_vocabulary("question", model.question_encoder, question_tokenizer)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, batch_windows: int = 16) -> "QuestionAnswerer":
        """Load what training wrote.

        Args:
            folder: A model folder.
            batch_windows: Windows that are encoded or read together.

        Returns:
            An answerer on the CPU.

        Raises:
            ValueError: If a file is missing, damaged or altered.
        """
        folder = Path(folder)
        model = load_qa_model(folder)
        names = ("tokenizer.json", "question_tokenizer.json")
        tokenizers = (_read_tokenizer(folder / name) for name in names)
        return cls(
            model, *tokenizers, batch_windows=batch_windows, fingerprint=model_fingerprint(folder)
        )

    @property
    def fingerprint(self) -> str:
        """Names the weights: of a folder as `model_fingerprint` does, else by their own hash."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            for name, weight in sorted(self.model.state_dict().items()):
                digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
                raw = weight.detach().cpu().contiguous().flatten().view(torch.uint8)
                digest.update(raw.numpy().tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def encode(
        self,
        contexts: Sequence[Context],
        *,
        dtype: str = "float16",
        progress: Progress | None = None,
    ) -> ContextIndex:
        """Encode contexts.

        Args:
            contexts: Titles and texts. One that comes twice is encoded once.
            dtype: What states are kept in, "float16" or "float32".
            progress: Called with the characters done and those of all.

        Returns:
            An index in memory. For more than memory holds, save an empty one and append to it.

        Raises:
            ValueError: If the dtype is unknown or a text has lone surrogates.
        """
        index = ContextIndex(self.fingerprint, dtype=dtype)
        self.append(index, contexts, progress=progress)
        return index

    def append(
        self,
        index: ContextIndex,
        contexts: Sequence[Context],
        *,
        progress: Progress | None = None,
    ) -> int:
        """Encode contexts that an index does not hold, and add them to it.

        Args:
            index: In memory, or in a folder, where they are written too.
            contexts: Titles and texts.
            progress: Called with the characters done and those of all.

        Returns:
            How many were left out because the index, or the list before, holds them.

        Raises:
            ValueError: If the index is of another model or a text has lone surrogates.
        """
        self._check_index("append", index)
        new = [c for c in dict.fromkeys(contexts) if index.row(c) is None]
        for context in new:
            _check_unicode("append", "context", context.text)
        if new:
            index.append(self._shards(new, len(index.contexts), DTYPES[index.dtype], progress))
        return len(contexts) - len(new)

    def can_read(self, question: str) -> bool:
        """Tell whether a question is neither blank nor longer than the model reads.

        Args:
            question: Any text.

        Returns:
            Whether `answer` takes it.
        """
        count = len(self.question_tokenizer.encode(question).ids)
        most = self.plain.max_question_tokens - self.question_tokenizer.num_special
        return bool(question.strip()) and 0 < count <= most

    def rank(self, question: str, index: ContextIndex) -> list[tuple[int, float]]:
        """Find the contexts nearest to a question by the product of vectors alone.

        Args:
            question: The question.
            index: What to look in.

        Returns:
            Row and score, -1 to 1, of the best window of each context, the best first. A
            context without tokens is left out.

        Raises:
            ValueError: If the question is blank or too long, or the index of another model.
        """
        self._check_index("rank", index)
        vectors = self._question(question).vectors
        if index.num_windows == 0:
            return []
        scores = index.vectors @ vectors[0].float().cpu()
        best = torch.full((len(index.contexts),), -torch.inf)
        best = best.scatter_reduce(0, index.window_contexts, scores, "amax")
        scores, order = best.sort(descending=True, stable=True)
        ranked = zip(order.tolist(), scores.tolist(), strict=True)
        return [(row, score) for row, score in ranked if score > -torch.inf]

    def answer(
        self,
        question: str,
        index: ContextIndex,
        *,
        top_k: int = 1,
        shortlist: int | None = 100,
        contexts: Collection[int] | None = None,
    ) -> list[Answer]:
        """Find the spans that answer a question best.

        Args:
            question: The question, of at most `max_question_tokens` tokens.
            index: What to look in.
            top_k: How many answers at most.
            shortlist: Windows that are read, those nearest to the question by their vectors;
                None reads all.
            contexts: Rows of the contexts to look in, all by default.

        Returns:
            Different spans, the best first; fewer than `top_k` where there are no more. Where
            `nothing` is true of the first, the model finds no answer.

        Raises:
            ValueError: If the question is blank or too long, a number is not positive, a
                context does not exist, or the index is of another model.
        """
        require(top_k > 0, f"QuestionAnswerer.answer: top_k must be positive; got top_k {top_k}")
        require(
            shortlist is None or shortlist > 0,
            "QuestionAnswerer.answer: shortlist must be positive or None; "
            f"got shortlist {shortlist}",
        )
        self._check_index("answer", index)
        encoded = self._question(question)
        windows = _restricted(index, contexts)
        if shortlist is not None and shortlist < len(windows):
            scores = index.vectors[windows] @ encoded.vectors[0].float().cpu()
            windows = windows[scores.topk(shortlist).indices.sort().values]
        windows = windows[index.window_lengths[windows].argsort(stable=True)]
        batches = windows.split(self.batch_windows) if len(windows) else ()
        return find_answers(self.model, encoded, index, batches, top_k=top_k)

    @torch.inference_mode()
    def _question(self, question: str) -> Encoded:
        require(
            bool(question.strip()),
            f"QuestionAnswerer: the question must not be blank; got question {question!r}",
        )
        _check_unicode("answer", "question", question)
        inner = self.question_tokenizer.encode(question).ids
        ids = self.question_tokenizer.wrap(inner)
        most = self.plain.max_question_tokens
        require(
            len(inner) > 0 and len(ids) <= most,
            f"QuestionAnswerer: the question must have 1 to {most} tokens; got {len(ids)} with "
            f"{self.question_tokenizer.num_special} around it. Ask in other words",
        )
        return self.model.encode_questions(torch.tensor([ids], device=self.model.device))

    def _shards(
        self,
        contexts: list[Context],
        first_row: int,
        dtype: torch.dtype,
        progress: Progress | None,
    ) -> Iterator[tuple[list[Context], Shard]]:
        """Encode group by group, and hand over whenever a file is full."""
        total, done = sum(len(context.text) for context in contexts), 0
        texts: list[Context] = []
        held: list[Shard] = []
        for group in _groups(contexts):
            windows = self._cut([c.text for c in group], first_row)
            first_row += len(group)
            characters = sum(len(context.text) for context in group)
            texts += group
            for start in range(0, len(windows), self.batch_windows):
                batch = windows[start : start + self.batch_windows]
                held.append(self._encode_batch(batch, dtype))
                if progress is not None:
                    progress(done + characters * (start + len(batch)) // len(windows), total)
                if sum(shard.states.nbytes for shard in held) >= _SHARD_BYTES:
                    yield texts, _joined(held)
                    texts, held = [], []
            done += characters
        if held or texts:
            held = held or [self._encode_batch([], dtype)]
            yield texts, _joined(held)

    def _cut(self, texts: list[str], first_row: int) -> list[tuple[int, TextTokens]]:
        """Windows and the rows of their contexts, the shortest first."""
        windows = []
        for row, tokens in enumerate(self.context_tokenizer.encode_all(texts), first_row):
            cuts = cut_windows(len(tokens.ids), size=self.window_tokens, overlap=self.plain.overlap)
            windows += [(row, TextTokens(*(p[start:end] for p in tokens))) for start, end in cuts]
        return sorted(windows, key=lambda window: len(window[1].ids))

    @torch.inference_mode()
    def _encode_batch(self, windows: list[tuple[int, TextTokens]], dtype: torch.dtype) -> Shard:
        spans = self.context_tokenizer
        rows = [spans.wrap(tokens.ids) for _, tokens in windows]
        around = (len(spans.before), len(spans.after))
        places = [np.stack([t.starts, t.ends], 1) for _, t in windows]
        places = [np.pad(p, (around, (0, 0)), constant_values=-1) for p in places]
        d_model, d_pool = self.model.reader.config.d_model, self.plain.d_pool
        states, vectors = torch.zeros(0, d_model), torch.zeros(0, d_pool)
        if windows:
            tokens, mask = (part.to(self.model.device) for part in pad_batch(rows))
            encoded = self.model.encode_contexts(tokens, mask.bool())
            states, vectors = encoded.states[encoded.mask], encoded.vectors
        return Shard(
            states.to("cpu", dtype),
            torch.from_numpy(np.concatenate([np.zeros((0, 2)), *places]).astype(np.int32)),
            torch.tensor([len(row) for row in rows], dtype=torch.long),
            torch.tensor([row for row, _ in windows], dtype=torch.long),
            vectors.to("cpu", torch.float32),
        )

    def _check_index(self, caller: str, index: ContextIndex) -> None:
        require(
            index.fingerprint == self.fingerprint,
            f"QuestionAnswerer.{caller}: the index must be of this model; got an index of model "
            f"{index.fingerprint[:12]}, not {self.fingerprint[:12]}. Encode the contexts again",
        )


def _groups(contexts: list[Context]) -> Iterator[list[Context]]:
    """Contexts that are cut together, so that not all tokens are in memory at once."""
    group: list[Context] = []
    size = 0
    for context in contexts:
        group.append(context)
        size += len(context.text)
        if size >= _GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _joined(shards: list[Shard]) -> Shard:
    return Shard(*(torch.cat(parts) for parts in zip(*shards, strict=True)))


def _restricted(index: ContextIndex, contexts: Collection[int] | None) -> Tensor:
    """Rows of the windows of some contexts."""
    if contexts is None:
        return torch.arange(index.num_windows)
    chosen = torch.zeros(len(index.contexts), dtype=torch.bool)
    for row in contexts:
        require(
            0 <= row < len(index.contexts),
            "QuestionAnswerer.answer: contexts must be rows of the index; "
            f"got context {row} of {len(index.contexts)}",
        )
        chosen[row] = True
    return chosen[index.window_contexts].nonzero().flatten()


def _check_unicode(caller: str, name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"QuestionAnswerer.{caller}: a {name} must be text without lone surrogates; "
            f"got {name} {text[error.start : error.start + 9]!r} from character {error.start} on"
        ) from None


def _check_vocabulary(
    side: str, encoder: TokenEncoder | PretrainedEncoder, tokenizer: Tokenizer
) -> None:
    own = isinstance(encoder, TokenEncoder)
    table = encoder.embedding if own else encoder.encoder.get_input_embeddings()
    largest = max(tokenizer.get_vocab().values(), default=0)
    require(
        largest < table.num_embeddings,
        f"QuestionAnswerer: the {side} tokenizer must be the model's; got token {largest} of "
        f"{table.num_embeddings}. Give the tokenizer that it was trained with",
    )


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ValueError(
            f"QuestionAnswerer.from_pretrained: no tokenizer can be read; got {path}: {error}"
        ) from None
