"""Options of translation, by command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from askew._check import require
from askew.tasks._application import MatchedOptions, ScoringOptions, SettingOptions, Size, option
from askew.tasks._arm_names import SHAPES, check_name, check_student
from askew.tasks._sources import Sources, check_sources, is_catalogue, is_xliff


@dataclass(frozen=True, kw_only=True)
class TranslationOptions(SettingOptions):
    """Options for the data and the size of translation models."""

    pair: str = option("en-pt", "Two locales of the phrases that are used without --data.")
    data: Path | None = option(
        None,
        "Your pairs: FILE.tsv (source TAB target), .csv, .jsonl, .json, .tmx or .xlf, also .gz; a "
        "gettext .po file or a folder of such; or "
        "datasets:NAME#SPLIT?config=…&source=en&target=de.",
    )
    columns: str | None = option(
        None,
        "Which columns of --data are source and target: names, as en,de, or numbers, as 2,4.",
    )
    language: str | None = option(
        None, "The language to read, if a --data folder holds several, e.g. pt_BR."
    )
    source: Path | None = option(None, "Your source lines; needs --target.")
    target: Path | None = option(None, "Your target lines, one for each source line.")
    valid_source: Path | None = option(
        None, "Validation sources; set aside from the pairs by default."
    )
    valid_target: Path | None = option(None, "Validation targets.")
    test_source: Path | None = option(None, "Test sources; set aside from the pairs by default.")
    test_target: Path | None = option(None, "Test targets.")
    drop_empty: bool = option(
        False, "Leave out pairs with an empty side.", name="--drop-empty", show_default=False
    )
    drop_long: bool = option(
        False,
        "Leave out training and validation pairs longer than training.batch_tokens.",
        name="--drop-long",
        show_default=False,
    )
    preset: Size = option("small", "Size of the models.")
    vocab_size: int = option(2000, "Most tokens of the joint vocabulary, or of each of two.")
    separate_vocabularies: bool = option(False, "A vocabulary for each side.")
    teacher: Path | None = option(
        None,
        "A trained model. Its translations of the training sources are learnt instead of the "
        "references, or beside them with training.target=both. It is faster if it is exported for "
        "CTranslate2.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sources(self.sources())
        require(
            self.teacher is None or self.training_settings().get("target") != "reference",
            "translation: a teacher must be learnt from; got training.target 'reference' and "
            f"--teacher {self.teacher}. Leave one out, or set training.target=both",
        )

    def sources(self) -> Sources:
        """Return where the text is."""
        return Sources(**{name: getattr(self, name) for name in Sources._fields})

    @property
    def protects(self) -> bool:
        """Whether placeholders and markup are replaced by marks, which the model copies."""
        return False


_OF_THE_MODEL = ("preset", "vocab_size", "separate_vocabularies", "drop_long")
"""What has no effect on students, who have size and vocabularies of the model."""


@dataclass(frozen=True, kw_only=True)
class TranslationComparison(MatchedOptions, TranslationOptions):
    """Options of `askew compare translation`."""

    challenger: str = option(
        "deep-shallow",
        "The asymmetric model: deep-shallow, narrow-decoder, shared-bridge, twin (the baseline "
        "against itself) or FILE.toml; with --from, student-deep-shallow or student-3-1 (layers of "
        "encoder and decoder), or the same with fresh weights, fresh-3-1.",
    )
    from_: Path | None = option(
        None,
        "A trained model: both arms are cut from it and learn from it, the baseline as deep on "
        "both sides (student-symmetric).",
        name="--from",
    )
    serve: str | None = option(
        None,
        "Measure speed in the engine that will serve: ctranslate2, or ctranslate2:int8 (or another "
        "of its kinds of weights). Scores are those of PyTorch.",
    )
    taught: Literal["both", "challenger"] = option(
        "both", "Which arms learn from --teacher.", show_default=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.from_ is None or self.teacher is None,
            "compare: --from is a teacher; got --teacher, too. Leave it out",
        )
        require(
            self.taught == "both" or self.teacher is not None,
            f"compare: --taught goes with --teacher; got --taught {self.taught}. Give --teacher",
        )
        if self.from_ is None:
            for name in (self.challenger, self.baseline):
                check_name("compare: an arm", name, (*SHAPES, "twin"))
            return
        check_student(self.challenger, is_baseline=False)
        check_student(self.baseline, is_baseline=True)
        for name in _OF_THE_MODEL:
            value = getattr(self, name)
            require(
                value == getattr(TranslationOptions, name),
                lambda name=name, value=value: (
                    f"compare: with --from, both arms are cut from the model; got "
                    f"--{name.replace('_', '-')} {value}, too. Leave it out"
                ),
            )


@dataclass(frozen=True, kw_only=True)
class TranslationTraining(TranslationOptions):
    """Options of `askew train translation`."""

    shape: str = option(
        "deep-shallow", "deep-shallow, narrow-decoder, shared-bridge, symmetric or FILE.toml."
    )
    protect: bool | None = option(
        None,
        "Replace placeholders, roles, literals, tags and addresses by marks, so that they are "
        "copied word for word. On by default for .po and .xlf files.",
        name="--protect/--no-protect",
        show_default=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("train: a shape", self.shape, SHAPES)

    @property
    def protects(self) -> bool:
        """Whether placeholders and markup are replaced by marks, which the model copies."""
        if self.protect is not None:
            return self.protect
        return is_catalogue(self.data) or is_xliff(self.data)


@dataclass(frozen=True, kw_only=True)
class TranslationScoring(ScoringOptions):
    """Options of `askew evaluate` for translation models."""

    test_source: Path | None = option(None, "Test sources, one a line, instead of --data.")
    test_target: Path | None = option(None, "Their references.")
    columns: str | None = option(
        None, "Which columns of --data are source and target, or text and labels."
    )
    drop_empty: bool = option(
        False, "Leave out pairs with an empty side.", name="--drop-empty", show_default=False
    )
    bleu_tokenizer: str | None = option(
        None,
        "sacreBLEU's tokenizer, such as 13a, intl, zh, ja-mecab, ko-mecab, char; by default the "
        "one for the script of the references.",
    )
    also: str = option("", "More scores, with commas: chrf++, spbleu.", show_default=False)
    beams: int = option(1, "Hypotheses kept; 1 is greedy.", minimum=1)
    length_penalty: float = option(1.0, "Scores are divided by the length to this power.")
    engine: str = option(
        "auto",
        "torch; ctranslate2 for a model that askew export wrote; or auto, the fastest one that "
        "answers as the model does, which may write a sub-folder, engine.",
    )
    batch_size: int = option(64, "Lines decoded together at most.", minimum=1)
