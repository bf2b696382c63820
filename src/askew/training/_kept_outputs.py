"""What a teacher says of every token, and the states of a frozen encoder, computed once."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from askew._files import write_json
from askew._folders import check_resumable
from askew.losses import TopK, top_k
from askew.models import Seq2Seq
from askew.text import pad_batch
from askew.training._distillation_config import DistillationConfig
from askew.training._examples import IGNORED

Row = dict[str, Tensor]
_PART = 128
"""Examples of a file: so many are computed again after a crash."""
_BATCH = 32


class KeptOutputs:
    """Outputs of a teacher and states of an encoder, by example.

    Args:
        folder: Their files.
        token_counts: Labels of each example.
        has_top: Whether there are probabilities of a teacher.
        has_states: Whether there are states of an encoder.

    Example:
        >>> KeptOutputs(Path("kept"), [3], has_top=False, has_states=True).without_states() is None
        True
    """

    def __init__(
        self,
        folder: str | Path,
        token_counts: Sequence[int],
        *,
        has_top: bool,
        has_states: bool,
    ) -> None:
        self.folder, self.has_top, self.has_states = Path(folder), has_top, has_states
        self.token_counts = token_counts
        self._files: dict[int, Any] = {}

    @classmethod
    def of(
        cls,
        reader: Seq2Seq,
        inputs: Sequence[Row],
        labels: Sequence[list[int]],
        *,
        teacher: PreTrainedModel | None,
        encoder: PreTrainedModel | None,
        config: DistillationConfig,
        folder: Path,
        progress: Callable[[int, int], None],
    ) -> "KeptOutputs | None":
        """Compute what is not stored yet; None where nothing is to be kept.

        Raises:
            ValueError: If the folder holds outputs of another teacher or of other examples.
        """
        if teacher is None and encoder is None:
            return None
        identity = {
            "version": 1,
            "examples": _digest(inputs, labels),
            "teacher": None if teacher is None else _weights_digest(teacher),
            "encoder": None if encoder is None else _weights_digest(encoder),
            "top_k": config.top_k,
            "temperature": config.temperature,
        }
        check_resumable(folder, "kept.json", identity, caller="distil")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "kept.json", identity)
        for start in range(0, len(inputs), _PART):
            path = _path(folder, start // _PART)
            if not path.is_file():
                rows = slice(start, start + _PART)
                tensors = _computed(reader, inputs[rows], labels[rows], teacher, encoder, config)
                partial = path.with_suffix(".partial")
                save_file(tensors, partial)
                partial.replace(path)
            progress(min(start + _PART, len(inputs)), len(inputs))
        return cls(
            folder,
            [len(target) for target in labels],
            has_top=teacher is not None,
            has_states=encoder is not None,
        )

    def without_states(self) -> "KeptOutputs | None":
        """Return the outputs of the teacher alone."""
        if not self.has_top:
            return None
        return KeptOutputs(self.folder, self.token_counts, has_top=True, has_states=False)

    def __getitem__(self, row: int) -> tuple[Tensor | None, TopK | None]:
        part, place = divmod(row, _PART)
        if part not in self._files:
            self._files[part] = safe_open(_path(self.folder, part), "pt")
        file = self._files[part]
        states = top = None
        if self.has_states:
            ends = file.get_tensor("state_ends")
            begin = int(ends[place - 1]) if place else 0
            states = file.get_slice("states")[begin : int(ends[place])]
        if self.has_top:
            begin = sum(self.token_counts[part * _PART : row])
            tokens = slice(begin, begin + self.token_counts[row])
            top = TopK(
                file.get_slice("log_probabilities")[tokens].float(),
                file.get_slice("indices")[tokens].long(),
                file.get_slice("log_rest")[tokens].float(),
            )
        return states, top


def _path(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05}.safetensors"


@torch.inference_mode()
def _computed(
    reader: Seq2Seq,
    inputs: Sequence[Row],
    labels: Sequence[list[int]],
    teacher: PreTrainedModel | None,
    encoder: PreTrainedModel | None,
    config: DistillationConfig,
) -> dict[str, Tensor]:
    """Compute the tensors of one file, in batches of similar length."""
    order = sorted(range(len(inputs)), key=lambda k: (reader.length(inputs[k]), len(labels[k])))
    tops: dict[int, TopK] = {}
    states: dict[int, Tensor] = {}
    for start in range(0, len(order), _BATCH):
        places = order[start : start + _BATCH]
        batch = reader.inputs([inputs[k] for k in places])
        if encoder is not None:
            found = _states(encoder, batch)
            for place, own in zip(places, found, strict=True):
                length = inputs[place]["input_ids"].shape[-1] if "input_ids" in batch else len(own)
                states[place] = own[:length].to(torch.bfloat16)
        if teacher is not None:
            teacher.eval()
            padded, _ = pad_batch([labels[k] for k in places], value=IGNORED)
            batch = {name: tensor.to(teacher.device) for name, tensor in batch.items()}
            decoder_input_ids = reader.decoder_inputs(padded).to(teacher.device)
            logits = teacher(**batch, decoder_input_ids=decoder_input_ids).logits
            for place, own in zip(places, logits, strict=True):
                classes = own.shape[-1]
                top = top_k(
                    own[: len(labels[place])],
                    min(config.top_k, classes),
                    temperature=config.temperature,
                )
                tops[place] = TopK(*(part.cpu() for part in top))
    tensors: dict[str, Tensor] = {}
    rows = range(len(inputs))
    if tops:
        tensors["log_probabilities"] = torch.cat([tops[k].log_probabilities for k in rows])
        tensors["indices"] = torch.cat([tops[k].indices for k in rows]).int()
        tensors["log_rest"] = torch.cat([tops[k].log_rest for k in rows])
    if states:
        tensors["states"] = torch.cat([states[k] for k in rows])
        tensors["state_ends"] = torch.tensor([len(states[k]) for k in rows]).cumsum(0)
    return tensors


def _states(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Compute the states of the encoder without dropout, whatever the mode of the model."""
    was_training = model.training
    model.eval()
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    try:
        return model.get_encoder()(**batch).last_hidden_state.cpu()
    finally:
        model.train(was_training)


def _digest(inputs: Sequence[Row], labels: Sequence[list[int]]) -> str:
    digest = hashlib.sha256(json.dumps(labels).encode())
    for row in inputs:
        for name, tensor in row.items():
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _weights_digest(model: PreTrainedModel) -> str:
    digest = hashlib.sha256(model.config.to_json_string().encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
