"""An encoder-decoder with what reads its inputs and writes its outputs, whatever its family."""

import copy
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from askew._check import require
from askew._files import in_short, parse_json
from askew.models._adapter_files import refuse_adapter
from askew.models._config_values import read_checked_config
from askew.models._families import family_of
from askew.models._folder import load_translation_model, write_checksums
from askew.models._kinds import model_kind
from askew.models._transformers_models import (
    fill_model,
    known_class,
    make_config,
    read_feature_extractor,
    read_tokenizer,
    read_weights,
)
from askew.models._wav import read_wav
from askew.text import END, load_tokenizers, pad_batch, read_special_tokens_as_text

Row = dict[str, Tensor]
"""Inputs of one example by name, without an axis for the batch."""

_WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json")
_OWN = (
    "config.json",
    "generation_config.json",
    "checksums.json",
    "training.json",
    "scores.json",
)
_LEFT = (*_OWN, "README.md", "curve.json", "shrink.json", ".lock")
_READ = (
    "tokenizer.json",
    "target_tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "processor_config.json",
    "normalizer.json",
)
"""What a tokenizer or a processor reads, beside the files of its vocabulary."""
IGNORED = -100


class Seq2Seq(ABC):
    """An encoder-decoder with what reads its inputs and writes its outputs.

    Args:
        model: The model.
        folder: Where it was read.

    Example:
        >>> Seq2Seq.hears
        False
    """

    def __init__(self, model: PreTrainedModel, folder: Path) -> None:
        self.model = model
        self.folder = folder

    hears = False
    """Whether sources are paths of recordings."""

    def of(self, model: PreTrainedModel) -> Self:
        """Return the same for another model of the family, such as a student."""
        other = copy.copy(self)
        other.model = model
        return other

    @abstractmethod
    def read(self, sources: Sequence[str]) -> list[Row]:
        """Turn sources into inputs: sentences, or paths of recordings."""

    @abstractmethod
    def labels(self, targets: Sequence[str]) -> list[list[int]]:
        """Turn sentences into what the decoder is to write, with an end token."""

    @abstractmethod
    def write(self, labels: Sequence[Sequence[int]]) -> list[str]:
        """Turn what the decoder wrote into sentences."""

    @abstractmethod
    def inputs(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Make a batch."""

    def length(self, row: Row) -> int:
        """Return how long an input is, in what a budget of tokens counts."""
        return next(iter(row.values())).shape[-1]

    def decoder_inputs(self, labels: Tensor) -> Tensor:
        """Shift labels to the right, with the start token of the model."""
        model: Any = self.model
        if hasattr(model, "prepare_decoder_input_ids_from_labels"):
            return model.prepare_decoder_input_ids_from_labels(labels)
        start = labels.new_full((len(labels), 1), self.model.config.decoder_start_token_id)
        shifted = torch.cat([start, labels[:, :-1]], 1)
        return shifted.masked_fill(shifted == IGNORED, self.model.config.pad_token_id)

    @torch.inference_mode()
    def generate(self, rows: Sequence[Row], *, num_beams: int = 1) -> list[list[int]]:
        """Decode a batch; each answer ends with its end token, if the model wrote one."""
        inputs = self.inputs(rows)
        most = 2 * max(self.length(row) for row in rows) + 16
        # Not `max_new_tokens` alone: beside the length of a generation config it is warned about.
        limit = {} if self._has_own_limit() else {"max_length": most + 1, "max_new_tokens": None}
        # pyrefly: ignore[not-callable]  every encoder-decoder generates
        written = self.model.generate(**inputs, num_beams=num_beams, do_sample=False, **limit)
        return [self._trimmed(row) for row in written.tolist()]

    def answer(self, rows: Sequence[Row], *, num_beams: int = 1, batch_size: int = 32) -> list[str]:
        """Decode inputs into sentences, those of similar length together."""
        order = sorted(range(len(rows)), key=lambda place: self.length(rows[place]))
        answers: dict[int, str] = {}
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            written = self.generate([rows[place] for place in places], num_beams=num_beams)
            answers |= dict(zip(places, self.write(written), strict=True))
        return [answers[place] for place in range(len(rows))]

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """Write a model of this family, with everything of the folder that is not weights.

        Of links that lead out of the folder, only files of the tokenizer are followed, and those
        of a cache of Hugging Face, whose folders hold nothing but links.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.iterdir()):
            is_left = path.name in _LEFT or path.name.endswith(_WEIGHTS)
            if path.is_file() and not is_left and self._is_own(path):
                shutil.copyfile(path, folder / path.name)
        model.save_pretrained(folder)

    def _is_own(self, path: Path) -> bool:
        """Return whether a file is of the model: no link to somewhere else."""
        top = self.folder.resolve()
        tops = [top, top.parents[1] / "blobs"] if top.parent.name == "snapshots" else [top]
        return path.name in self._read_files() or any(map(path.resolve().is_relative_to, tops))

    def _read_files(self) -> set[str]:
        return set(_READ)

    @property
    def keeps_states(self) -> bool:
        """Whether states of the encoder can take the place of its inputs."""
        return not family_of(self.model.config).has_experts  # whose routing they lack

    def _has_own_limit(self) -> bool:
        return False

    def _trimmed(self, row: list[int]) -> list[int]:
        """Leave out the start token, and what follows the end token."""
        end, padding = self._token("eos_token_id"), self._token("pad_token_id")
        ends = {end} if isinstance(end, int) else set(end or ())
        row = row[1:] if row[:1] == [self._token("decoder_start_token_id")] else row
        for place, token in enumerate(row):
            if token in ends:
                return row[: place + 1]
        return [token for token in row if token != padding]

    def _token(self, name: str) -> Any:
        """Return what `generate` reads: of the generation config, or of the model's."""
        token = getattr(self.model.generation_config, name, None)
        return getattr(self.model.config, name, None) if token is None else token


class OwnSeq2Seq(Seq2Seq):
    """A translation model that training of this library wrote."""

    def __init__(self, folder: Path) -> None:
        super().__init__(load_translation_model(folder), folder)
        self.source, self.target = load_tokenizers(folder)
        for tokenizer in (self.source, self.target):
            read_special_tokens_as_text(tokenizer)

    def read(self, sources: Sequence[str]) -> list[Row]:
        encoded = self.source.encode_batch_fast(list(sources))
        return [{"input_ids": torch.tensor([*one.ids, END])} for one in encoded]

    def labels(self, targets: Sequence[str]) -> list[list[int]]:
        return [[*one.ids, END] for one in self.target.encode_batch_fast(list(targets))]

    def write(self, labels: Sequence[Sequence[int]]) -> list[str]:
        return self.target.decode_batch([[t for t in row if t != END] for row in labels])

    def inputs(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        tokens, mask = pad_batch([row["input_ids"].tolist() for row in rows])
        return {"input_ids": tokens, "attention_mask": mask}

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        super().save(model, folder)
        write_checksums(folder)


class TextSeq2Seq(Seq2Seq):
    """A model of transformers that reads and writes text."""

    def __init__(self, model: PreTrainedModel, folder: Path) -> None:
        super().__init__(model, folder)
        self.tokenizer = read_tokenizer(folder)

    def _read_files(self) -> set[str]:
        return {*super()._read_files(), *self.tokenizer.vocab_files_names.values()}

    def read(self, sources: Sequence[str]) -> list[Row]:
        encoded = self.tokenizer(list(sources), truncation=True)["input_ids"]
        return [{"input_ids": torch.tensor(tokens)} for tokens in encoded]

    def labels(self, targets: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(text_target=list(targets), truncation=True)["input_ids"]

    def write(self, labels: Sequence[Sequence[int]]) -> list[str]:
        return self.tokenizer.batch_decode(list(labels), skip_special_tokens=True)

    def inputs(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        padding = self.model.config.pad_token_id or 0
        tokens, mask = pad_batch([row["input_ids"].tolist() for row in rows], value=padding)
        return {"input_ids": tokens, "attention_mask": mask}


class SpeechSeq2Seq(TextSeq2Seq):
    """A model of transformers that reads recordings, by their paths, and writes text."""

    hears = True

    def __init__(self, model: PreTrainedModel, folder: Path) -> None:
        super().__init__(model, folder)
        self.extractor = read_feature_extractor(folder)
        self.name = model.main_input_name

    def read(self, sources: Sequence[str]) -> list[Row]:
        rate = self.extractor.sampling_rate
        rows = []
        for path in sources:
            sound = read_wav(Path(path), rate)
            features = self.extractor(sound, sampling_rate=rate, return_tensors="pt")
            rows.append({self.name: features[self.name][0]})
        return rows

    def labels(self, targets: Sequence[str]) -> list[list[int]]:
        start = self.model.config.decoder_start_token_id
        rows = super().labels(targets)
        return [row[1:] if row[:1] == [start] else row for row in rows]

    def inputs(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        features = [row[self.name] for row in rows]
        longest = max(one.shape[-1] for one in features)
        padded = [torch.nn.functional.pad(one, (0, longest - one.shape[-1])) for one in features]
        inputs = {self.name: torch.stack(padded)}
        if features[0].dim() == 1:  # waves; spectra have one length
            lengths = torch.tensor([len(one) for one in features])
            inputs["attention_mask"] = (torch.arange(longest) < lengths.unsqueeze(1)).long()
        return inputs

    def length(self, row: Row) -> int:
        """Return 1: recordings of a model have one length, or one that counts little."""
        return 1

    @property
    def keeps_states(self) -> bool:
        """Whether states of the encoder can take the place of its inputs: not those of waves."""
        return self.name == "input_features"

    def _has_own_limit(self) -> bool:
        return True


def load_seq2seq(folder: str | Path) -> Seq2Seq:
    """Load an encoder-decoder with its tokenizer, or refuse its folder with the reason.

    Args:
        folder: A folder that `askew train translation` wrote, or of a family that `shrink` knows,
            as transformers writes it.

    Returns:
        The model on the CPU, with what reads its inputs and writes its outputs.

    Raises:
        ValueError: If the folder is none of these, or a file is missing or damaged.

    Example:
        >>> load_seq2seq("/nowhere")
        Traceback (most recent call last):
        ValueError: load_seq2seq: the folder must hold a config.json; got folder /nowhere
    """
    folder, caller = Path(folder), "load_seq2seq"
    if model_kind(folder).application == "translation":
        return OwnSeq2Seq(folder)
    refuse_adapter(caller, folder)
    values = read_checked_config(caller, folder)
    try:
        config = make_config(values)
    except Exception as error:  # transformers raises what the class of the config does
        raise _unreadable(folder, error) from error
    family_of(config, caller=caller)
    tensors = read_weights(caller, folder)
    try:
        model, report = fill_model(known_class(values.get("architectures")), config, tensors)
    except Exception as error:  # transformers raises what the values of the config lead to
        raise _unreadable(folder, error) from error
    missing = sorted(report["missing_keys"])
    require(
        not missing,
        f"{caller}: the file must hold every weight; got {folder} without {missing[:3]}",
    )
    path = folder / "generation_config.json"
    if path.is_file():
        values = parse_json(path.read_text(encoding="utf-8"))
        model.generation_config = GenerationConfig.from_dict(values)
    kind = TextSeq2Seq if model.main_input_name == "input_ids" else SpeechSeq2Seq
    try:
        return kind(model.eval(), folder)
    except Exception as error:  # transformers raises what the files of a tokenizer lead to
        raise ValueError(
            f"{caller}: the folder must hold the tokenizer of its model; got {folder}: "
            f"{in_short(error, 160)}"
        ) from error


def _unreadable(folder: Path, error: Exception) -> ValueError:
    return ValueError(
        "load_seq2seq: the folder must hold an encoder-decoder that transformers knows; got "
        f"folder {folder}: {in_short(error)}"
    )
