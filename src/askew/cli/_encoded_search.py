"""Opens the documents that `askew search` and `askew serve` search by an encoder."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from askew._check import require
from askew._folders import check_writable, one_writer
from askew.cli._exits import print_notes, set_up_torch
from askew.cli._indexed_documents import Documents, check_documents, follow_documents
from askew.cli._options import StateDtype
from askew.cli._question_encoders import check_question_encoder, open_question_encoder

if TYPE_CHECKING:
    from askew.models import ContextIndex, FusedSearch, PassageEncoder
    from askew.text import Context


@dataclass(frozen=True, kw_only=True)
class EncodedSearch:
    """How documents are encoded and questions asked.

    Attributes:
        caller: What messages name.
        encoder: A folder of transformers, or "minilm".
        index: Folder of the encoded documents; None keeps them in memory.
        question_encoder: "static", a number of layers, or a folder; None asks by the encoder.
        dtype: Numbers of a new index; None means float16, or those of an index that there is.
        jobs: Processes that encode documents.
        threads: Of this process.
        quiet: Whether progress is hidden.
    """

    caller: str
    encoder: str | None
    index: Path | None
    question_encoder: str | None
    dtype: StateDtype | None
    jobs: int
    threads: int
    quiet: bool

    def check(self, *, has_documents: bool) -> None:
        """Check that the options go together, before anything is read.

        Raises:
            ValueError: If they do not.
        """
        asked = self.question_encoder
        require(
            asked is None or self.index is not None,
            f"{self.caller}: --question-encoder goes with --index; got none",
        )
        require(
            self.index is None
            or self.encoder is not None
            or (asked is not None and not has_documents),
            f"{self.caller}: --index goes with --encoder; got none. Words need no index",
        )

        check_encodes(self.caller, self.encoder, self.dtype, self.jobs)

    def open(self, given: Documents) -> "FusedSearch":
        """Encode documents, or bring their index into step, and search it.

        Raises:
            ValueError: If the encoder, the index or the question encoder cannot be used.
        """
        from askew.models import FusedSearch, PassageEncoder

        index, asked = self.index, self.question_encoder
        if index is not None and not given.contexts:
            print_notes(check_documents(index))
        elif index is not None:
            check_writable(index, option="--index")
        set_up_torch(self.threads)
        model = None if self.encoder is None else PassageEncoder.from_pretrained(self.encoder)
        if index is not None and asked is not None:
            check_question_encoder(self.caller, asked, index, model)
        stored = self._open_index(model, given)
        if index is not None and asked is not None:
            small = open_question_encoder(
                self.caller, asked, model, index, stored, quiet=self.quiet
            )
            return FusedSearch(stored, small)
        if model is None:
            raise RuntimeError(f"{self.caller}: questions must be encoded; got no encoder")
        return FusedSearch(stored, model)

    def _open_index(self, model: "PassageEncoder | None", given: Documents) -> "ContextIndex":
        index = self.index
        if index is None and model is not None:
            return self._encode(model, None, given.contexts)
        if index is None:
            raise RuntimeError(f"{self.caller}: an index or an encoder is needed; got none")
        fingerprint = None if model is None else model.fingerprint
        if model is None or not given.contexts:
            return self._load(index, fingerprint)
        with one_writer(index, caller=self.caller):
            stored = None
            if (index / "index.json").is_file():
                stored = self._load(index, fingerprint)
            encode = partial(self._encode, model)
            followed, notes = follow_documents(index, given, stored, encode)
        print_notes(notes)
        return followed

    def _load(self, index: Path, fingerprint: str | None) -> "ContextIndex":
        from askew.models import ContextIndex

        stored = ContextIndex.load(index, fingerprint=fingerprint)
        require(
            self.dtype in (None, stored.dtype),
            f"{self.caller}: --dtype goes with a new index; got {self.dtype} and {index}, which is "
            f"in {stored.dtype}",
        )
        return stored

    def _encode(
        self,
        model: "PassageEncoder",
        stored: "ContextIndex | None",
        documents: "list[Context]",
    ) -> "ContextIndex":
        from askew.cli._progress import LineProgress

        with LineProgress("encoding characters", quiet=self.quiet) as progress:
            if stored is not None:
                model.append(stored, documents, progress=progress.reach, jobs=self.jobs)
                return stored
            return model.encode(
                documents,
                dtype=str(self.dtype or StateDtype.FLOAT16),
                folder=self.index,
                progress=progress.reach,
                jobs=self.jobs,
            )


def check_encodes(caller: str, encoder: str | None, dtype: StateDtype | None, jobs: int) -> None:
    """Refuse options for encoding where nothing is encoded.

    Raises:
        ValueError: If one is given without an encoder.
    """
    unused = "--dtype" if dtype is not None else "--jobs" if jobs > 1 else None
    require(
        unused is None or encoder is not None,
        f"{caller}: {unused} goes with --encoder, which encodes documents; got none",
    )
