"""Cut a trained encoder-decoder down to a student, and teach it on the user's data."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from askew._check import require
from askew._files import file_sha256, read_json, write_json
from askew._folders import WORK, check_resumable, one_writer
from askew.metrics import bleu, chrf, exact_match, word_error_rate
from askew.models import Keep, Removal, check_widths, choose_layers, load_seq2seq, shrink
from askew.tasks._layers import LayerTable
from askew.tasks._limited import FixedAnswers, Limited, limit_layers
from askew.tasks._model_card import card_of_student
from askew.tasks._shrinking import Shrinking, Shrunk
from askew.tasks._teacher_outputs import (
    IGNORED,
    answer_ratio,
    label_loss,
    teacher_labels,
    worth_learning,
)
from askew.text import ParallelText, SplitText, fingerprint, pad_batch
from askew.training import OnRecord, distil

_MEASURED = 256  # validation pairs on which layers are left out
_TIMED = 16  # test items
_ANSWERS = 4  # the same for each layer
_SHOWN = 1024  # training pairs that show which channels, heads and units matter
_BATCH = 32
_OTHERS = ("training", "widths")


def prepare_shrinking(
    folder: str | Path, out: str | Path, shrinking: Shrinking, text: SplitText | None
) -> dict:
    """Check that a model can be shrunk into a folder, without writing anything.

    Args:
        folder: Of the model.
        out: Of the student; an unfinished run with the same settings will be resumed.
        shrinking: What is cut, and how the student learns.
        text: Training, validation and test pairs; None to cut alone.

    Returns:
        The settings that identify the run.

    Raises:
        ValueError: If settings do not fit, or the folder holds something else.

    Example:
        >>> prepare_shrinking("model", "student", Shrinking(targets="all"), None)
        Traceback (most recent call last):
        ValueError: shrink: targets must be reference, teacher or both; got targets 'all'
    """
    folder, out = Path(folder), Path(out)
    require(
        shrinking.targets in ("reference", "teacher", "both"),
        f"shrink: targets must be reference, teacher or both; got targets {shrinking.targets!r}",
    )
    require(
        0 <= shrinking.drop_worse < 1,
        f"shrink: drop_worse must be in [0, 1); got drop_worse {shrinking.drop_worse}",
    )
    require(
        text is not None or shrinking.training is None,
        "shrink: teaching needs data; got none. Give --data",
    )
    require(
        text is not None or "measured" not in _rules(shrinking.keep),
        'shrink: keep "measured" needs data; got none. Give --data',
    )
    _check_limit(shrinking, text)
    require(
        not shrinking.widths or shrinking.latency_ms is None,
        "shrink: a limit of latency chooses layers of full width; got "
        f"{' and '.join(shrinking.widths)}, too. Leave it out",
    )
    require(
        text is not None or not shrinking.widths,
        "shrink: cutting widths needs data, which show what matters; got none. Give --data",
    )
    model = load_seq2seq(folder).model
    check_widths(model, **shrinking.widths)
    if "measured" not in _rules(shrinking.keep):
        choose_layers(
            model,
            encoder_layers=shrinking.encoder_layers,
            decoder_layers=shrinking.decoder_layers,
            keep=shrinking.keep,
        )
    weights = sorted(folder.glob("*.safetensors"))
    identity = {
        "version": 1,
        "model": [file_sha256(path) for path in weights],
        "data": None if text is None else fingerprint(text),
        **{name: getattr(shrinking, name) for name in Shrinking._fields if name not in _OTHERS},
        "widths": dict(shrinking.widths) or None,  # as in folders that know no widths
        "training": None if shrinking.training is None else shrinking.training.plain(),
    }
    check_resumable(out, "shrink.json", identity, caller="shrink")
    return identity


def _check_limit(shrinking: Shrinking, text: SplitText | None) -> None:
    limit = shrinking.latency_ms
    if limit is None:
        return
    require(limit > 0, f"shrink: latency_ms must be positive; got latency_ms {limit}")
    sides = ("encoder_layers", "decoder_layers")
    given = [name for name in sides if getattr(shrinking, name) is not None]
    given = given or (["keep"] if shrinking.keep not in ("spread", {}) else [])
    require(
        not given,
        f"shrink: a limit of latency chooses the layers; got {' and '.join(given)}, too. Leave "
        "it out",
    )
    require(
        text is not None,
        "shrink: a limit of latency needs data; got none. Give --data",
    )


def _rules(keep: Keep | Mapping[str, Keep]) -> list[Keep]:
    return list(keep.values()) if isinstance(keep, Mapping) else [keep]


def shrink_folder(
    folder: str | Path,
    out: str | Path,
    shrinking: Shrinking,
    text: SplitText | None = None,
    *,
    stage: Callable[[str], None] = lambda name: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    on_record: OnRecord | None = None,
) -> Shrunk:
    """Cut a model down, teach the student, score both, and write an ordinary model folder.

    A run that was stopped continues when it is called again with the same settings.

    Args:
        folder: Of the model, as `load_seq2seq` reads it.
        out: Of the student.
        shrinking: What is cut, and how the student learns.
        text: Training, validation and test pairs. The sources of a model that hears are paths of
            recordings.
        stage: Called with the name of each stage.
        progress: Called with what is done of a stage and all of it.
        on_record: Called with each record of the training.

    Returns:
        What was kept, and the scores.

    Raises:
        ValueError: If a setting does not fit, or a folder or a recording cannot be read.
        RuntimeError: If another process writes into the folder.

    Example:
        >>> shrink_folder("/nowhere", "student", Shrinking(decoder_layers=2))
        Traceback (most recent call last):
        ValueError: load_seq2seq: the folder must hold a config.json; got folder /nowhere
    """
    folder, out = Path(folder), Path(out)
    identity = prepare_shrinking(folder, out, shrinking, text)
    run = _Run(folder, out, shrinking, text, stage, progress, on_record)
    with one_writer(out, caller="shrink"):
        if (out / "scores.json").is_file():
            return _read(out)
        write_json(out / "shrink.json", identity)
        shrunk = run.run()
        card_of_student(shrunk, folder.resolve().name).write(out)
        write_json(out / "scores.json", {"version": 1, **shrunk.plain()})
        shutil.rmtree(out / WORK, ignore_errors=True)
        return shrunk


def _read(out: Path) -> Shrunk:
    stored = read_json(out / "scores.json")
    stored["removals"] = [
        Removal(one["side"], tuple(one["left"]), one["layer"], one["loss"])
        for one in stored["removals"]
    ]
    stored["parameters"] = tuple(stored["parameters"])
    if stored.get("layers") is not None:
        stored["layers"] = LayerTable.of(stored["layers"])
    return Shrunk(**{name: stored[name] for name in Shrunk._fields if name in stored})


class _Run:
    """One shrinking: its folders, its settings and where it reports."""

    def __init__(
        self,
        folder: Path,
        out: Path,
        shrinking: Shrinking,
        text: SplitText | None,
        stage: Callable[[str], None],
        progress: Callable[[int, int], None],
        on_record: OnRecord | None,
    ) -> None:
        self.reader = load_seq2seq(folder)
        self.out, self.work = out, out / WORK
        self.shrinking, self.text = shrinking, text
        self.stage, self.progress, self.on_record = stage, progress, on_record
        self._checks: tuple[list, list[list[int]]] | None = None

    def run(self) -> Shrunk:
        """Cut, teach, score and save."""
        removals: list[Removal] = []
        torch.manual_seed(self.shrinking.seed)
        teacher = self.reader.model
        limited = None
        if self.shrinking.latency_ms is not None:
            limited = self._within(self.shrinking.latency_ms)
            kept = limited.kept
        else:
            kept = choose_layers(
                teacher,
                encoder_layers=self.shrinking.encoder_layers,
                decoder_layers=self.shrinking.decoder_layers,
                keep=self.shrinking.keep,
                loss=self._validation_loss,
                on_removal=removals.append,
            )
        narrow: Any = self.shrinking.widths
        batches = self._batches() if narrow else None
        student = shrink(teacher, keep=kept, batches=batches, **narrow)
        shrunk = Shrunk(
            kept=kept,
            parameters=(_size(teacher), _size(student)),
            removals=removals,
            scores={},
            latency_ratio=None,
            left_out=0,
            train_seconds=0.0,
            layers=None if limited is None else limited.table,
            latency_ms=None if limited is None else limited.latency_ms,
        )
        if self.text is not None:
            shrunk = self._taught_and_scored(student, self.text, shrunk)
        self.reader.save(student.eval(), self.out)
        return shrunk

    def _within(self, limit: float) -> Limited:
        """Choose the layers under a limit, once: timing again could choose others."""
        path = self.work / "layers.json"
        if not path.is_file():
            assert self.text is not None
            tokens = [len(labels) for labels in self.reader.labels(self.text.valid.targets)]
            answers = FixedAnswers(
                self.reader,
                self.reader.read(self.text.test.sources[:_ANSWERS]),
                tokens=round(sum(tokens) / len(tokens)),
            )
            limited = limit_layers(self.reader.model, limit, self._validation_loss, answers)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"version": 1, **limited.plain()})
        return Limited.of(read_json(path))

    def _taught_and_scored(
        self, student: PreTrainedModel, text: SplitText, shrunk: Shrunk
    ) -> Shrunk:
        """Score the teacher and the student, and teach it between."""
        reader, training = self.reader, self.shrinking.training
        test = reader.read(text.test.sources)
        scores = {"teacher": self._scores(reader.model, test, text.test, "scoring the teacher")}
        scores["untaught"] = self._scores(student, test, text.test, "scoring the cut model")
        left_out, records = 0, []
        if training is not None:
            train, left_out = self._lessons(text.train)
            self.stage("reading")
            valid = (reader.read(text.valid.sources), reader.labels(text.valid.targets))
            self.stage("teaching")
            records = distil(
                student,
                reader.model,
                reader,
                train,
                valid,
                training,
                out=self.work / "training",
                seed=self.shrinking.seed,
                progress=self.progress,
                on_kept=self.progress,
                on_record=self.on_record,
            )
            # It may have learnt on an accelerator.
            student.to(reader.model.device)  # pyrefly: ignore[bad-argument-type]  its stub is wrong
            scores["student"] = self._scores(student, test, text.test, "scoring the student")
        self.stage("timing")
        return shrunk._replace(
            scores=scores,
            latency_ratio=answer_ratio(reader, reader.model, student, test[:_TIMED]),
            left_out=left_out,
            train_seconds=max((record["train_seconds"] for record in records), default=0.0),
        )

    def _lessons(self, train: ParallelText) -> tuple[tuple[list, list], int]:
        """Return inputs and labels of the training, and how many outputs were left out."""
        inputs = self.reader.read(train.sources)
        references = self.reader.labels(train.targets)
        if self.shrinking.targets == "reference":
            return (inputs, references), 0
        self.stage("writing with the teacher")
        written = teacher_labels(
            self.reader,
            inputs,
            store=self.work / "written.jsonl",
            beams=self.shrinking.beams,
            progress=self.progress,
        )
        worth = worth_learning(self.reader.write(written), train.targets, self.shrinking.drop_worse)
        taught = [place for place, is_worth in enumerate(worth) if is_worth]
        require(
            bool(taught),
            "shrink: the teacher must write something that is worth learning; got nothing. Learn "
            "the references",
        )
        own = ([inputs[place] for place in taught], [written[place] for place in taught])
        if self.shrinking.targets == "both":
            own = (own[0] + inputs, own[1] + references)
        return own, len(written) - len(taught)

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield inputs and targets of some training pairs."""
        assert self.text is not None
        self.stage("measuring activations")
        inputs = self.reader.read(self.text.train.sources[:_SHOWN])
        labels = self.reader.labels(self.text.train.targets[:_SHOWN])
        for start in range(0, len(inputs), _BATCH):
            padded, _ = pad_batch(labels[start : start + _BATCH], value=IGNORED)
            yield {**self.reader.inputs(inputs[start : start + _BATCH]), "labels": padded}

    def _validation_loss(self, model: PreTrainedModel) -> float:
        """Return the cross-entropy of a model on some validation pairs."""
        assert self.text is not None
        pairs = ParallelText(*(side[:_MEASURED] for side in self.text.valid))
        if self._checks is None:
            self._checks = self.reader.read(pairs.sources), self.reader.labels(pairs.targets)
            self.stage("leaving out layers")
        return label_loss(self.reader, model, *self._checks)

    def _scores(
        self, model: PreTrainedModel, test: list, pairs: ParallelText, stage: str
    ) -> dict[str, float]:
        self.stage(stage)
        answers = self.reader.of(model).answer(test)
        if self.reader.hears:
            return {"word_error_rate": word_error_rate(answers, pairs.targets).value}
        scores = {"chrf": chrf, "bleu": bleu, "exact_match": exact_match}
        return {name: score(answers, pairs.targets).value for name, score in scores.items()}


def _size(model: PreTrainedModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
