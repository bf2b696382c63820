"""A question encoder of almost no cost: a table of token vectors, distilled from a large one."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from askew._check import refuse_string, require
from askew._files import in_short
from askew.models._answers import check_unicode
from askew.models._passage_encoder import EncodedQuestion, PassageEncoder
from askew.models._question_folder import read_question_encoder, write_question_encoder
from askew.models._token_table import fit_table
from askew.text import SpanTokenizer, load_any_tokenizer

_MANIFEST, _TABLES, _TOKENIZER = "static.json", "tables.safetensors", "tokenizer.json"
_PRIOR = 1.0
"""How many occurrences the state of a token alone counts as."""


class StaticEncoder:
    r"""Encodes questions by looking their tokens up, for vectors that a large encoder made.

    Every token i has a vector :math:`t_i`, whose length is its weight, and a state
    :math:`s_i`. Those of a question x are

    .. math:: v_x = \frac{\sum_{i \in x} t_i}{\lVert \sum_{i \in x} t_i \rVert}, \qquad
        S_x = (s_i)_{i \in x}

    and take the place of what `PassageEncoder.question` returns: documents are encoded by the
    large encoder, questions by the table. `distil` makes one.

    Args:
        vectors: [tokens, width], t.
        states: [tokens, width], s.
        tokenizer: Cuts questions.
        max_tokens: More tokens of a question are not read.
        fingerprint: Of the encoder that encodes the documents.

    Raises:
        ValueError: If the tables differ in shape, or the tokenizer has more tokens than they.

    Example:
        >>> from askew.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["Anna lives in Rome."], vocab_size=300)
        >>> table = torch.eye(300)
        >>> small = StaticEncoder(table, table, tokenizer, max_tokens=64, fingerprint="0" * 64)
        >>> round(float(small.question("aab").vector.max()), 3)  # 2 / sqrt(2 ** 2 + 1)
        0.894
    """

    def __init__(
        self,
        vectors: Float[Tensor, "tokens width"],
        states: Float[Tensor, "tokens width"],
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        fingerprint: str,
    ) -> None:
        largest = max(tokenizer.get_vocab().values(), default=0)
        require(
            vectors.ndim == 2 and vectors.shape == states.shape and largest < len(vectors),
            "StaticEncoder: both tables must have a row for every token of the tokenizer; got "
            f"tables {tuple(vectors.shape)} and {tuple(states.shape)}, {largest + 1} tokens. "
            "Take the tokenizer that they were made with",
        )
        require(max_tokens > 0, f"StaticEncoder: max_tokens must be positive; got {max_tokens}")
        self.vectors, self.states = vectors, states
        self._tokenizer_json = tokenizer.to_str()
        self._tokenizer = SpanTokenizer(tokenizer).tokenizer
        self.max_tokens, self.fingerprint = max_tokens, fingerprint

    @classmethod
    def distil(
        cls,
        teacher: PassageEncoder,
        texts: Sequence[str],
        *,
        ridge: float = 0.05,
        progress: Callable[[int, int], None] | None = None,
    ) -> "StaticEncoder":
        r"""Learn the tables from what a large encoder makes of some texts; no labels are needed.

        A state is the mean of the teacher's states of the token in the texts and of that of the
        token alone. Vectors start from the teacher's :math:`t^0` of each token alone, less their
        mean. They minimise, with a length :math:`a_x` of each text that is found too,

        .. math:: \sum_x \Bigl\lVert \frac{1}{|x|} \sum_{i \in x} t_i - a_x y_x \Bigr\rVert^2
            + \lambda \sum_i \lVert t_i - t^0_i \rVert^2

        where :math:`y_x` is the teacher's vector of the text x. For given lengths this is linear,
        so that it is solved in seconds.

        Args:
            teacher: The encoder of the documents.
            texts: Questions, or sentences of the documents; some thousands are enough. Blank ones
                are left out.
            ridge: λ, how much the vectors stay what they were, > 0.
            progress: Called with the texts done and those of all; tokens alone count too.

        Returns:
            The encoder, in half precision.

        Raises:
            ValueError: If there is no text, one has lone surrogates, or ridge is not positive.
            TypeError: If `texts` is a string and not a list of them.

        References:
            LEAF: Knowledge Distillation of Text Embedding Models with Teacher-Aligned
            Representations, 2025, arXiv:2509.12539: the squared distance to the teacher's unit
            vectors, without labels or negatives.
        """
        refuse_string("StaticEncoder.distil", "texts", texts)
        require(ridge > 0, f"StaticEncoder.distil: ridge must be positive; got ridge {ridge}")
        for text in texts:
            check_unicode("StaticEncoder.distil", "text", text)
        read = [tokens for text in dict.fromkeys(texts) if len(tokens := teacher.tokens(text))]
        require(
            len(read) > 0,
            f"StaticEncoder.distil: there must be texts to learn from; got {len(texts)}, "
            "none with a token. Give questions, or sentences of the documents",
        )
        read.sort(key=len)
        known = teacher.num_tokens
        everything = [*([token] for token in range(known)), *read]
        width, rows = teacher.encoder.width, []
        states, counts = torch.zeros(known, width), torch.zeros(known, 1)
        for done, (tokens, encoded) in enumerate(
            zip(everything, teacher.encode_tokens(everything), strict=True), start=1
        ):
            weight = _PRIOR if done <= known else 1.0
            numbers = torch.tensor(tokens)
            states.index_add_(0, numbers, weight * encoded.states)
            counts.index_add_(0, numbers, torch.full((len(tokens), 1), weight))
            rows.append(encoded.vector)
            if progress is not None and (done % 100 == 0 or done == len(everything)):
                progress(done, len(everything))
        vectors = torch.stack(rows)
        start = vectors[:known] - vectors[:known].mean(0)
        table = fit_table(read, vectors[known:], start, ridge=ridge)
        return cls(
            table.half(),
            (states / counts).half(),
            teacher.tokenizer,
            max_tokens=teacher.max_question_tokens,
            fingerprint=teacher.fingerprint,
        )

    @classmethod
    def load(cls, folder: str | Path, *, fingerprint: str | None = None) -> "StaticEncoder":
        """Open what `save` wrote.

        Args:
            folder: With a static encoder.
            fingerprint: Of the encoder that the documents are encoded by; not compared by default.

        Returns:
            The encoder.

        Raises:
            ValueError: If a file is missing, altered or damaged, or it is of another encoder.
        """
        folder = Path(folder)
        manifest = read_question_encoder(
            "StaticEncoder.load", folder, _MANIFEST, (_TABLES, _TOKENIZER), fingerprint
        )
        try:
            tables = load_file(folder / _TABLES)
            return cls(
                tables["vectors"],
                tables["states"],
                load_any_tokenizer(folder / _TOKENIZER),
                max_tokens=int(str(manifest["max_tokens"])),
                fingerprint=str(manifest["fingerprint"]),
            )
        except (SafetensorError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                "StaticEncoder.load: the folder must be what StaticEncoder.save wrote; got "
                f"{folder}: {in_short(error)}. Make the encoder again"
            ) from None

    def save(self, folder: str | Path) -> None:
        """Write the tables and the tokenizer; static.json, which names both, is written last.

        Args:
            folder: Made if it does not exist; what `save` wrote there before is replaced.

        Raises:
            ValueError: If it cannot be written.
            RuntimeError: If another process writes into it.
        """
        tables = {"vectors": self.vectors.contiguous(), "states": self.states.contiguous()}
        write_question_encoder(
            "StaticEncoder.save",
            Path(folder),
            _MANIFEST,
            {
                _TABLES: lambda path: save_file(tables, path),
                _TOKENIZER: lambda path: path.write_text(
                    self._tokenizer_json, encoding="utf-8", newline=""
                ),
            },
            {"fingerprint": self.fingerprint, "max_tokens": self.max_tokens},
        )

    def tokens(self, text: str) -> list[int]:
        """Cut a question into the tokens that are read.

        Args:
            text: Any text.

        Returns:
            Token numbers.

        Raises:
            ValueError: If it has lone surrogates.
        """
        check_unicode("StaticEncoder.question", "question", text)
        encoding = self._tokenizer.encode(text.strip(), add_special_tokens=False)
        return encoding.ids[: self.max_tokens]

    def question(self, text: str) -> EncodedQuestion:
        """Encode a question.

        Args:
            text: Any text.

        Returns:
            Its states and vector; of a blank text no state, and a vector of zeros.

        Raises:
            ValueError: If it has lone surrogates.
        """
        numbers = torch.tensor(self.tokens(text), dtype=torch.long)
        vector = self.vectors[numbers].float().sum(0)
        return EncodedQuestion(self.states[numbers].float(), F.normalize(vector, dim=0))
