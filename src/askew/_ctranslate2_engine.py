"""Decoding with CTranslate2, from a folder that `askew.export` wrote."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from askew._check import require, requires_extra
from askew._decoding import DecodingConfig, TokenHypothesis
from askew._files import file_sha256, in_short, is_version, parse_json
from askew.text import load_tokenizers

MARK = "askew.json"

_PATIENCE = 2


class CTranslate2Engine:
    """Searches with CTranslate2, which is several times faster than PyTorch on a CPU.

    Args:
        folder: What `export_ctranslate2` wrote.
        threads: Threads of a search.

    Raises:
        ValueError: If the folder holds no export, or a damaged one.
        ModuleNotFoundError: If ctranslate2 is not installed.

    Example:
        >>> CTranslate2Engine("/nowhere")
        Traceback (most recent call last):
        ValueError: CTranslate2Engine: the folder must be what askew export wrote; got /now...
    """

    def __init__(self, folder: str | Path, *, threads: int = 1) -> None:
        with requires_extra("CTranslate2Engine", "serve"):
            import ctranslate2

        folder = Path(folder)
        require(
            (folder / MARK).is_file() and (folder / "model.bin").is_file(),
            "CTranslate2Engine: the folder must be what askew export wrote; "
            f"got {folder}. Run askew export DIR --to ctranslate2",
        )
        self.export = _read_export(folder)
        self.longest = self.export["max_length"]
        try:
            self._model = ctranslate2.Translator(
                str(folder), device="cpu", inter_threads=1, intra_threads=threads
            )
        except (RuntimeError, ValueError) as error:
            raise _unfit(folder, error) from None
        self.source_words, self.target_words = (
            [t.id_to_token(n) for n in range(t.get_vocab_size())] for t in load_tokenizers(folder)
        )
        self.numbers = {word: number for number, word in enumerate(self.target_words)}

    def decode(
        self, sources: Sequence[Sequence[int]], limits: Sequence[int], config: DecodingConfig
    ) -> list[list[TokenHypothesis]]:
        """Search as `Engine.decode` describes; limits are lowered to the exported positions.

        Raises:
            ValueError: If a source is longer than the exported positions.
        """
        longest = max(map(len, sources), default=0) + 1
        require(
            longest <= self.longest,
            f"CTranslate2Engine: a source must have at most {self.longest} tokens; got {longest}",
        )
        import ctranslate2

        if config.sample:
            ctranslate2.set_random_seed(config.seed)
        hypotheses: list[list[TokenHypothesis]] = [[] for _ in sources]
        # CTranslate2 has one limit per call, so sources of equal limits go together.
        order = sorted(range(len(sources)), key=lambda row: limits[row])
        for limit, group in itertools.groupby(order, key=lambda row: limits[row]):
            rows = list(group)
            limit = min(limit, self.longest - 1)
            texts = [[self.source_words[token] for token in sources[row]] for row in rows]
            results = self._model.translate_batch(texts, **self._call(limit, config))
            for row, result in zip(rows, results, strict=True):
                pairs = zip(result.hypotheses, result.scores, strict=True)
                hypotheses[row] = [
                    TokenHypothesis([self.numbers[word] for word in words], score)
                    for words, score in pairs
                ]
            self._score_ends(sources, hypotheses, rows, limit, config.length_penalty)
        return [
            sorted(of_source, key=lambda h: -h.score)[: config.num_hypotheses]
            for of_source in hypotheses
        ]

    def write(self, sources: Sequence[Sequence[int]], length: int) -> list[list[int]]:
        """Write exactly so many tokens for each source, greedily: as much work for any weights.

        Args:
            sources: Source tokens without an end.
            length: Tokens to write, >= 1, fewer than the exported positions.

        Returns:
            The tokens of each.
        """
        results = self._model.translate_batch(
            [[self.source_words[token] for token in source] for source in sources],
            beam_size=1,
            min_decoding_length=length,
            max_decoding_length=length,
            max_input_length=0,
        )
        return [[self.numbers[word] for word in result.hypotheses[0]] for result in results]

    def _score_ends(
        self,
        sources: Sequence[Sequence[int]],
        hypotheses: list[list[TokenHypothesis]],
        rows: list[int],
        limit: int,
        length_penalty: float,
    ) -> None:
        """Add the end, which CTranslate2 leaves out, to the scores of what was cut at the limit."""
        cut = [
            (row, place)
            for row in rows
            for place, hypothesis in enumerate(hypotheses[row])
            if len(hypothesis.tokens) == limit
        ]
        targets = [hypotheses[row][place].tokens for row, place in cut]
        scores = self.score([sources[row] for row, _ in cut], targets) if cut else []
        for (row, place), of_tokens in zip(cut, scores, strict=True):
            score = sum(of_tokens) / len(of_tokens) ** length_penalty
            hypotheses[row][place] = hypotheses[row][place]._replace(score=score)

    def _call(self, limit: int, config: DecodingConfig) -> dict[str, object]:
        found = config.num_beams * _PATIENCE
        sampling = {
            "sampling_topk": config.top_k or len(self.target_words),
            "sampling_topp": config.top_p,
            "sampling_temperature": config.temperature,
        }
        return {
            "beam_size": config.num_beams,
            # With 1 it stops at the first `num_beams` ends, before the best one.
            "patience": float(_PATIENCE),
            # All that it found: what was cut at the limit looks better before its end is scored.
            "num_hypotheses": found if config.num_beams > 1 else config.num_hypotheses,
            "length_penalty": config.length_penalty,
            "max_decoding_length": limit,
            "min_decoding_length": 0,
            "max_input_length": 0,
            "return_scores": True,
            **(sampling if config.sample else {}),
        }

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """Compute the log-probability of every target token and of the end after them.

        Args:
            sources: Source tokens without an end.
            targets: Target tokens without start and end.

        Returns:
            For each pair one number per target token, and one for the end.
        """
        results = self._model.score_batch(
            [[self.source_words[token] for token in source] for source in sources],
            [[self.target_words[token] for token in target] for target in targets],
            max_input_length=0,
        )
        return [result.log_probs for result in results]


def model_files(folder: Path) -> dict[str, str]:
    """Hash the files of a model folder that an export is made of."""
    files = ("config.json", "model.safetensors", "tokenizer.json", "target_tokenizer.json")
    return {name: file_sha256(folder / name) for name in files if (folder / name).is_file()}


def is_made_of(export: Mapping[str, Any], files: Mapping[str, str]) -> bool:
    """Compare what askew export wrote of an export with a model; before 0.2, of its weights."""
    if "made_of" in export:
        return export["made_of"] == files
    return export.get("fingerprint") == files["model.safetensors"]


def check_export(folder: Path, export: Mapping[str, Any]) -> None:
    """Refuse an export that was made of other files than the folder holds now."""
    require(
        not (folder / "model.safetensors").is_file() or is_made_of(export, model_files(folder)),
        "Translator.from_pretrained: the export must be of the weights in the folder, "
        f"the config and the tokenizers; got {folder}, changed or trained again since. Run askew "
        f"export {folder} --to ctranslate2",
    )


def _read_export(folder: Path) -> dict:
    """Read what askew export wrote of an export, and compare the sums of its files."""
    try:
        export = parse_json((folder / MARK).read_text(encoding="utf-8"))
        version, longest, fingerprint, digest = (
            export[name] for name in ("version", "max_length", "fingerprint", "sha256")
        )
        sums = {"model.bin": digest, **export.get("files", {})}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unfit(folder, error) from None
    require(
        is_version(version, 1),
        f"CTranslate2Engine: the export must be of version 1; got version {version!r} in "
        f"{folder}. Export again",
    )
    require(
        type(longest) is int and longest > 1 and isinstance(fingerprint, str),
        f"CTranslate2Engine: max_length must be an integer above 1; got {longest!r} in "
        f"{folder}. Export again",
    )
    # Exports of before list the weights alone.
    read = sorted(set(_files_read(folder)) | set(sums)) if "files" in export else ["model.bin"]
    for name in read:
        require(
            name == Path(name).name
            and (folder / name).is_file()
            and file_sha256(folder / name) == sums.get(name),
            f"CTranslate2Engine: a file must be as it was written; got {folder / name} "
            "altered. Export again",
        )
    return export


def _files_read(folder: Path) -> list[str]:
    """Name the files of an export that CTranslate2 or this library reads, but for askew.json."""
    names = (path.name for path in folder.iterdir())
    return sorted(n for n in names if n.endswith((".bin", ".json", ".txt")) and n != MARK)


def _unfit(folder: Path, error: Exception) -> ValueError:
    return ValueError(
        f"CTranslate2Engine: the export must be whole; got {folder}: {in_short(error)}. "
        "Export again"
    )
