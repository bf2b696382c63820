"""Questions answered from contexts that were encoded once, with text in and text out."""

import hashlib
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from askew._check import require
from askew._files import file_sha256
from askew.models._answers import Answer, check_unicode, find_answers, window_answers
from askew.models._context_encoding import ContextEncoder, Progress, Windowing
from askew.models._context_index import ContextIndex
from askew.models._devices import input_device
from askew.models._encoders import PretrainedEncoder
from askew.models._encoding_processes import EncodeBatch
from askew.models._folder import joint_fingerprint, load_qa_model, model_fingerprint
from askew.models._qa import AsymmetricQAModel, Encoded
from askew.models._qa_configuration import MOST_RETRIEVAL
from askew.models._window_choice import choose_windows, windows_of
from askew.text import Context, SpanTokenizer, load_any_tokenizer
from askew.transformer import TokenEncoder


class QuestionAnswerer:
    """A question-answering model and its tokenizers, with text in and text out.

    `encode` encodes contexts in overlapping windows of `max_context_tokens`, without any
    question. `answer` then encodes the question alone, ranks the windows by the product of their
    vectors with the question's and by words, and reads the best of them. Every span of
    `max_answer_tokens` tokens lies within some window.

    Args:
        model: The model, put into evaluation mode.
        context_tokenizer: Cuts contexts.
        question_tokenizer: Cuts questions.
        batch_windows: Windows that are encoded or read together.
        fingerprint: Identifies the model; by default its weights are hashed when first needed.

    Attributes:
        retrieval_weight: How much the retrieval counts in the score of an answer; see `answer`. It
            comes from the config of the model.

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
        self.question_tokenizer = SpanTokenizer(question_tokenizer)
        self.batch_windows = batch_windows
        self._fingerprint, self._of_weights = fingerprint, fingerprint
        self.retrieval_weight = model.config.retrieval_weight
        plain = model.config.to_plain()
        self.max_question_tokens = plain.max_question_tokens
        self._encoder = ContextEncoder(
            "QuestionAnswerer",
            self._encode_contexts,
            context_tokenizer,
            Windowing(
                max_tokens=plain.max_context_tokens,
                overlap=plain.overlap,
                batch_windows=batch_windows,
                widths=(plain.reader.d_model, plain.d_pool),
            ),
        )
        self.context_tokenizer = self._encoder.tokenizer
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
        tokenizers = (load_any_tokenizer(folder / name) for name in names)
        weights = model_fingerprint(folder)
        others = (file_sha256(folder / name) for name in ("config.json", "tokenizer.json"))
        fingerprint = joint_fingerprint("answers", [weights, *others])  # of what encodes contexts
        made = cls(model, *tokenizers, batch_windows=batch_windows, fingerprint=fingerprint)
        made._of_weights = weights
        made._encoder.load = partial(_load_again, folder.resolve(), fingerprint)
        return made

    @property
    def fingerprint(self) -> str:
        """A hash of the files that encode contexts, else of the tensors."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            for name, weight in sorted(self.model.state_dict().items()):
                digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
                raw = weight.detach().cpu().contiguous().flatten().view(torch.uint8)
                digest.update(raw.numpy().tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The fingerprints of indexes that it reads; those of before 0.2 are of weights alone."""
        return (self.fingerprint, self._of_weights or self.fingerprint)

    def encode(
        self,
        contexts: Sequence[Context],
        *,
        dtype: str = "float16",
        folder: str | Path | None = None,
        progress: Progress | None = None,
        jobs: int = 1,
    ) -> ContextIndex:
        """Encode contexts.

        Args:
            contexts: Titles and texts. One that comes twice is encoded once.
            dtype: Of the stored states, "float16" or "float32"; what "int8" costs in answers was
                not measured.
            folder: Where the index is written while it is made, without an index before. By
                default it stays in memory. What stops the encoding leaves there what is finished,
                in steps of about a million characters; `append` adds the rest.
            progress: Called with the characters done and those of all.
            jobs: Processes of one thread each that encode at most, on the CPU, for a model that
                `from_pretrained` loaded. With one thread the index is the same for any number.

        Returns:
            The index.

        Raises:
            ValueError: If the dtype is unknown, a text has lone surrogates, the folder cannot be
                written or holds an index, or jobs does not fit.
            TypeError: If `contexts` is a string or a single context.
            RuntimeError: If another process writes into the folder, or one that encodes is killed.
        """
        self._check_jobs(jobs)
        return self._encoder.index(
            self.fingerprint, contexts, dtype=dtype, folder=folder, progress=progress, jobs=jobs
        )

    def append(
        self,
        index: ContextIndex,
        contexts: Sequence[Context],
        *,
        progress: Progress | None = None,
        jobs: int = 1,
    ) -> int:
        """Encode the contexts that an index does not hold yet, and add them to it.

        Args:
            index: In memory, or in a folder, where they are written too. What stops the encoding
                leaves there what is finished; the same call adds the rest.
            contexts: Titles and texts.
            progress: Called with the characters done and those of all.
            jobs: Processes that encode at most, as for `encode`.

        Returns:
            How many were left out: those in the index already, and repetitions in `contexts`.

        Raises:
            ValueError: If the index is of another model, a text has lone surrogates, or jobs does
                not fit.
            TypeError: If `contexts` is a string or a single context.
            RuntimeError: If another process writes into the folder, or one that encodes is killed.
        """
        self._check_index("append", index)
        self._check_jobs(jobs)
        return self._encoder.append(index, contexts, progress, jobs)

    def can_read(self, question: str) -> bool:
        """Check that a question is neither blank nor longer than the model reads.

        Args:
            question: Any text.

        Returns:
            Whether `answer` accepts it.
        """
        count = len(self.question_tokenizer.encode(question).ids)
        most = self.max_question_tokens - self.question_tokenizer.num_special
        return bool(question.strip()) and 0 < count <= most

    def rank(self, question: str, index: ContextIndex) -> list[tuple[int, float]]:
        """Rank contexts for a question by the product of vectors alone.

        Args:
            question: The question.
            index: The contexts.

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
        retrieval_weight: float | None = None,
    ) -> list[Answer]:
        r"""Find the spans that answer a question best.

        A span of a window has the score

        .. math:: z_{span} - z_{nothing} + w\,(r - \operatorname{mean}(r)) / \operatorname{std}(r)

        with the weight w of the retrieval and r, the standardised scores of the window by vectors
        and by words, added by `askew.text.fuse_scores`. Mean and standard deviation are over all
        windows that are searched.

        Args:
            question: The question, of at most `max_question_tokens` tokens.
            index: The contexts.
            top_k: How many answers at most.
            shortlist: How many windows are read: the best by the product of vectors and by the
                words that they share with the question (BM25), ranks fused; None reads all.
            contexts: Rows of the contexts to search, all by default.
            retrieval_weight: w, 0 to 100; by default that of the model, which is 0 where none was
                fitted. 0 ranks by what the reader finds alone.

        Returns:
            Distinct spans, the best first; fewer than `top_k` if there are no more. If
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
        weight = self.retrieval_weight if retrieval_weight is None else retrieval_weight
        require(
            0 <= weight <= MOST_RETRIEVAL,
            f"QuestionAnswerer.answer: retrieval_weight must be in [0, {MOST_RETRIEVAL}]; "
            f"got retrieval_weight {retrieval_weight}",
        )
        self._check_index("answer", index)
        encoded, windows = self._question(question), windows_of(index, contexts)
        chosen = choose_windows(question, encoded, index, windows, shortlist, finds=weight > 0)
        batches = chosen.batches(self.batch_windows)
        added = None if chosen.found is None else weight * chosen.found
        return find_answers(self.model, encoded, index, batches, top_k=top_k, added=added)

    def answer_each_window(
        self, question: str, index: ContextIndex, *, shortlist: int | None = 100
    ) -> list[tuple[Answer, float]]:
        """Find the best span of each window, and how well the window was found.

        With a weight w, `answer` gives the answer with the highest sum of its score and w times
        what is returned beside it.

        Args:
            question: As `answer` takes it.
            index: The contexts.
            shortlist: As `answer` takes it.

        Returns:
            For each window that is read and has a span, an answer with the score by the reader
            alone, and the standardised score of the retrieval.

        Raises:
            ValueError: If the question is blank or too long, or the index is of another model.
        """
        self._check_index("answer_each_window", index)
        encoded, windows = self._question(question), windows_of(index, None)
        chosen = choose_windows(question, encoded, index, windows, shortlist, finds=True)
        if chosen.found is None:
            raise RuntimeError("QuestionAnswerer: windows must have been found; got None")
        found = chosen.found.tolist()
        batches = chosen.batches(self.batch_windows)
        each = window_answers(self.model, encoded, index, batches)
        return [(answer, found[row]) for row, answer in each]

    def _encode_contexts(self, tokens: Tensor, mask: Tensor) -> Encoded:
        device = input_device(self.model)
        return self.model.encode_contexts(tokens.to(device), mask.to(device))

    @torch.inference_mode()
    def _question(self, question: str) -> Encoded:
        require(
            bool(question.strip()),
            f"QuestionAnswerer: the question must not be blank; got question {question!r}",
        )
        check_unicode("QuestionAnswerer.answer", "question", question)
        inner = self.question_tokenizer.encode(question).ids
        ids = self.question_tokenizer.wrap(inner)
        most = self.max_question_tokens
        require(
            len(inner) > 0 and len(ids) <= most,
            f"QuestionAnswerer: the question must have 1 to {most} tokens; got {len(ids)} with "
            f"{self.question_tokenizer.num_special} around it. Ask in other words",
        )
        return self.model.encode_questions(torch.tensor([ids], device=input_device(self.model)))

    def _check_jobs(self, jobs: int) -> None:
        device = input_device(self.model)
        require(
            jobs <= 1 or device.type == "cpu",
            "QuestionAnswerer: several processes encode on the CPU; "
            f"got jobs {jobs} and a model on {device}",
        )

    def _check_index(self, caller: str, index: ContextIndex) -> None:
        require(
            index.fingerprint in self.fingerprints,
            f"QuestionAnswerer.{caller}: the index must be of this model; got an index of model "
            f"{index.fingerprint[:12]}, not {self.fingerprint[:12]}. Encode the contexts again",
        )


def _load_again(folder: Path, fingerprint: str) -> EncodeBatch:
    """Load a model in a process that encodes."""
    answerer = QuestionAnswerer.from_pretrained(folder)
    require(
        answerer.fingerprint == fingerprint,
        f"QuestionAnswerer: the folder must be as it was loaded; got {folder} changed",
    )
    return answerer._encoder.encode_batch


def _check_vocabulary(
    side: str, encoder: TokenEncoder | PretrainedEncoder, tokenizer: Tokenizer
) -> None:
    if isinstance(encoder, TokenEncoder):
        table = encoder.embedding
    else:
        table = encoder.encoder.get_input_embeddings()
    largest = max(tokenizer.get_vocab().values(), default=0)
    require(
        largest < table.num_embeddings,
        f"QuestionAnswerer: the {side} tokenizer must be the model's; got token {largest} of "
        f"{table.num_embeddings}. Give the tokenizer that it was trained with",
    )
