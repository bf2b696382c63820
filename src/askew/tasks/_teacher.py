"""Sequence-level distillation: a model learns a teacher's translations of its sources."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from askew._check import require
from askew._files import file_sha256, in_short, read_json, write_json
from askew.models import Translator, model_kind
from askew.text import ParallelText

_CHUNK = 512
_NO_STORE = "teach: the store must hold a translation, a JSON string, per line"


@dataclass(frozen=True, kw_only=True, slots=True)
class Teacher:
    """A trained model whose translations another one learns.

    Attributes:
        fingerprint: SHA-256 of its weights.
        num_beams: Hypotheses kept while it translates.
        engine: "torch", or "ctranslate2" if the model was exported.

    Example:
        >>> Teacher(fingerprint="0f1e").num_beams
        5

    References:
        Sequence-Level Knowledge Distillation, 2016, arXiv:1606.07947.
    """

    fingerprint: str
    num_beams: int = 5
    engine: str = "torch"


def find_teacher(folder: str | Path, *, num_beams: int = 5) -> Teacher:
    """Identify a trained model as a teacher, without loading it.

    Args:
        folder: A model folder; CTranslate2 runs it if it was exported.
        num_beams: Hypotheses kept while it translates.

    Returns:
        The teacher.

    Raises:
        ValueError: If the folder holds no model, or one that does not translate.

    Example:
        >>> find_teacher(Path("/nowhere"))
        Traceback (most recent call last):
        ValueError: find_teacher: the teacher must be a folder that training wrote; got /no...
    """
    folder = Path(folder)
    weights = folder / "model.safetensors"
    require(
        weights.is_file(),
        f"find_teacher: the teacher must be a folder that training wrote; got {folder}",
    )
    require(
        not (folder / "config.json").is_file() or model_kind(folder).application == "translation",
        f"find_teacher: the teacher must be a translation model; got {folder} of another kind",
    )
    engine = "ctranslate2" if (folder / "ctranslate2").is_dir() else "torch"
    return Teacher(fingerprint=file_sha256(weights), num_beams=num_beams, engine=engine)


def teach(
    folder: str | Path,
    teacher: Teacher,
    sources: Sequence[str],
    *,
    store: str | Path,
    progress: Callable[[int, int], None],
) -> ParallelText:
    """Translate the training sources with the teacher, or resume after a crash.

    Args:
        folder: The teacher's folder.
        teacher: What `find_teacher` returns for it.
        sources: Sentences to translate.
        store: A file of translations as JSON lines; those in it are not made again.
        progress: Called with the number of sentences done and of all.

    Returns:
        The pairs, without those whose translation is empty.

    Raises:
        ValueError: If the store holds anything else, what another teacher said or of other sources,
            or more lines than there are sources.

    Example:
        >>> from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
        >>> from askew.tasks import translation_preset
        >>> from askew.text import ParallelText, save_tokenizers, train_tokenizers
        >>> plain = translation_preset("symmetric", "tiny", vocab_size=280)
        >>> model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))
        >>> import tempfile
        >>> both = train_tokenizers(ParallelText(["one cat"] * 9, ["um gato"] * 9), vocab_size=280)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save_pretrained(folder)
        ...     save_tokenizers(both, Path(folder))
        ...     teacher = find_teacher(Path(folder), num_beams=1)
        ...     store = Path(folder) / "taught.jsonl"
        ...     silent = lambda done, total: None
        ...     _ = teach(Path(folder), teacher, ["one cat"], store=store, progress=silent)
        ...     len(store.read_text(encoding="utf-8").splitlines())
        1
    """
    folder = Path(folder)
    store = Path(store)
    done = _stored(store)
    _check_identity(store, teacher, sources, is_new=not done)
    require(
        len(done) <= len(sources),
        f"teach: the store must be of these {len(sources)} sources; got {store} with {len(done)} "
        "translations. Remove it",
    )
    translator = None
    with _opened(store) as file:
        for start in range(len(done), len(sources), _CHUNK):
            if translator is None:
                translator = Translator.from_pretrained(folder, engine=teacher.engine)
            chunk = list(sources[start : start + _CHUNK])
            targets = translator.translate(chunk, num_beams=teacher.num_beams)
            file.writelines(json.dumps(target, ensure_ascii=False) + "\n" for target in targets)
            file.flush()
            done += targets
            progress(len(done), len(sources))
    pairs = [(s, t) for s, t in zip(sources, done, strict=True) if t.strip()]
    return ParallelText([s for s, _ in pairs], [t for _, t in pairs])


def _opened(store: Path) -> TextIO:
    try:
        return store.open("a", encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"teach: the store must be a file that can be written; got {store}: {error.strerror}"
        ) from None


def _check_identity(store: Path, teacher: Teacher, sources: Sequence[str], *, is_new: bool) -> None:
    """Refuse what another teacher said, or of other sources; stores of before 0.2 do not say."""
    path = store.with_suffix(".json")
    digest = hashlib.sha256(json.dumps(list(sources)).encode()).hexdigest()
    own = {
        "version": 1,
        "teacher": teacher.fingerprint,
        "beams": teacher.num_beams,
        "sources": digest,
    }
    if is_new:
        write_json(path, own)
    elif path.is_file():
        require(
            read_json(path) == own,
            f"teach: the store must be of this teacher, these beams and these sources; got {store} "
            "of others. Remove it",
        )


def _stored(store: Path) -> list[str]:
    """Read the complete lines of a file, and cut off a line that a crash left incomplete."""
    if not store.is_file():
        return []
    raw = store.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    torn = raw[len(whole) :]
    try:
        done = [json.loads(line) for line in whole.splitlines()]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_NO_STORE}; got {store}: {in_short(error)}. Remove it") from None
    others = [line for line in done if not isinstance(line, str)]
    if torn and not torn.startswith(b'"'):
        others.append(torn[:20])
    require(not others, f"{_NO_STORE}; got {store} with {str(others[:1])[1:-1]}. Remove it")
    if torn:
        store.write_bytes(whole)
    return done
