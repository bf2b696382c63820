"""Texts to labels as an application: its options, its task and its arms."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askew._config import errors_name_file, load_config, to_dict
from askew.tasks._application import SettingOptions, Size, Training, merge, option
from askew.tasks._arm_names import check_name, read_arm
from askew.tasks._loss_space import (
    LABEL_TIES,
    class_ranges,
    equal_classes,
    equal_labels,
    label_ranges,
    loss_space,
)

if TYPE_CHECKING:
    from askew.models import LabelModelConfig
    from askew.tasks._text_labels import TextLabelTask
    from askew.tradeoffs import Arm, Budget, Space

_WIDTHS = {"tiny": 64, "small": 128, "base": 192}
_PRETRAINED_RATE = 2e-4
_PLAIN = "plain"
_SEVERAL: dict[str, dict[str, Any]] = {
    _PLAIN: {},
    "asl": {"loss": {"name": "asymmetric", "gamma_neg": 4.0, "margin": 0.05}},
    "focusing": {"loss": {"name": "asymmetric", "gamma_pos": 2.0, "gamma_neg": 1.0}},
    "focal": {"loss": {"name": "asymmetric", "gamma_pos": 2.0, "gamma_neg": 2.0}},
    "hill": {"loss": {"name": "hill"}},
    "splc": {"loss": {"name": "splc"}},
    "two-way": {"loss": {"name": "two_way"}},
    "adaptive": {"loss": {"name": "adaptive"}},
    "tversky": {"loss": {"name": "tversky"}},
    "unified-focal": {"loss": {"name": "unified_focal"}},
}
_NOISY = ("agce", "aul", "ael")
"""Losses of classes for labels that are wrong; the others are for a long tail."""
_EXCLUSIVE: dict[str, dict[str, Any]] = {
    _PLAIN: {},
    "focal": {"loss": {"name": "focal", "gamma": 2.0}},
    "logit-adjusted": {"loss": {"name": "logit_adjusted"}},
    "ldam": {"loss": {"name": "ldam"}},
    **{name: {"loss": {"name": name}} for name in _NOISY},
}
_NAMES = (*dict.fromkeys((*_SEVERAL, *_EXCLUSIVE)), "rates", "layer-decay")
"""What a text may be trained with; which of them depends on how many labels it has."""
_A_LOSS = "labels: a loss"


@dataclass(frozen=True, kw_only=True)
class LabelTextOptions(SettingOptions):
    """Options for the texts and the encoder."""

    data: str | None = option(
        None,
        "Your texts: FILE.tsv, .csv or .jsonl with text and labels, or "
        "datasets:NAME#SPLIT?config=CONFIG.",
    )
    valid: str | None = option(None, "Validation texts; by default set aside from --data.")
    test: str | None = option(None, "Test texts; by default set aside from --data.")
    columns: str | None = option(
        None, "Which columns are text and labels: NAME,NAME or numbers such as 1,2."
    )
    preset: Size = option("small", "Size of the model.")
    vocab_size: int = option(2000, "Tokens of the vocabulary, at most.")
    encoder: Path | None = option(
        None, "Pretrained encoder to start from: a folder of transformers, or minilm."
    )


@dataclass(frozen=True, kw_only=True)
class LabelTextComparison(LabelTextOptions):
    """Options of `askew compare labels`."""

    challenger: str | None = option(
        None,
        "The loss or the rates that compete: asl (the default), focal, focusing, hill, splc, "
        "two-way, adaptive, tversky, unified-focal, rates or layer-decay; where every text has one "
        "label logit-adjusted (the default), focal, ldam, agce, aul, ael, rates or layer-decay; or "
        "FILE.toml.",
    )
    baseline: str = option(
        "twin",
        "What the challenger is compared with: twin (plain loss, one rate), another name that "
        "--challenger takes, or FILE.toml.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.challenger is not None:
            check_name(_A_LOSS, self.challenger, _NAMES)
        if self.baseline != "twin":
            check_name(_A_LOSS, self.baseline, _NAMES)


@dataclass(frozen=True, kw_only=True)
class LabelTextTraining(LabelTextOptions):
    """Options of `askew train labels`."""

    loss: str = option(
        _PLAIN,
        "Name of the loss, or rates, as askew compare labels --challenger takes it; its numbers "
        "are set with --set training.loss.NAME=NUMBER.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(_A_LOSS, self.loss, _NAMES)


def make_task(options: LabelTextOptions) -> "TextLabelTask":
    """Read the texts, train or load the tokenizer, and make the task."""
    from askew.models import encoder_folder
    from askew.tasks._text_label_data import LabelSources, load_labelled
    from askew.tasks._text_labels import text_label_task
    from askew.tasks._text_labels_training import TextLabelTrainingConfig

    pretrained = None if options.encoder is None else encoder_folder(options.encoder)
    base = TextLabelTrainingConfig(steps=1)
    if options.encoder is not None:
        base = replace(base, lr=_PRETRAINED_RATE)
    shared = options.training_settings()
    shared.pop("loss", None)  # which is of one arm, and not of all
    training = load_config(TextLabelTrainingConfig, shared, base=base, where="training")
    sources = LabelSources(options.data, options.valid, options.test, options.columns)
    name, text = load_labelled(sources)
    return text_label_task(
        name,
        text,
        vocab_size=options.vocab_size,
        training=training,
        pretrained=pretrained,
    )


def make_model(
    task: "TextLabelTask", options: LabelTextTraining
) -> "tuple[LabelModelConfig, Mapping[str, object]]":
    """Make the config of the one model that is trained, and what its loss changes."""
    return _arm_values(task, options, options.loss)


def make_arms(
    task: "TextLabelTask", options: LabelTextComparison
) -> "tuple[list[Arm], dict[str, object]]":
    """Make the challenger and its baseline; no cost is matched, since they share the model."""
    from askew.tasks._arms import OTHER_WEIGHTS
    from askew.tradeoffs import Arm

    name = options.challenger or ("logit-adjusted" if task.text.is_exclusive else "asl")
    config, training = _arm_values(task, options, name)
    first = Arm(name=Path(name).stem, config=config, training=training)
    if options.baseline == "twin":
        other = Arm(name="twin", config=config, training=_equal(task, training))
    else:
        config, training = _arm_values(task, options, options.baseline, has_loss=False)
        other = Arm(name=Path(options.baseline).stem, config=config, training=training)
    if first.name == other.name:
        first = replace(first, name=f"{first.name}-again")
    if (first.config, first.training) == (other.config, other.training):
        first = replace(first, init_offset=OTHER_WEIGHTS)
    return [first, other], {"match": "nothing", "match_residual": 0.0, "preset": options.preset}


def _equal(task: "TextLabelTask", training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training of a twin: its loss is plain, and both parts have one rate.

    What the parts have in `task.training` is taken back. Frozen layers are of both arms.
    """
    equal = {key: value for key, value in training.items() if key not in ("loss", *_PARTS)}
    for part in _PARTS:
        shared = getattr(task.training, part)
        usual, given = to_dict(type(shared)()), training.get(part, {})
        own = {
            key: usual.get(key)
            for key, value in to_dict(shared).items()
            if value != usual.get(key) and key not in _OF_BOTH
        }
        own |= {key: value for key, value in given.items() if key in _OF_BOTH}
        if own:
            equal[part] = own
    return equal


_PARTS = ("encoder", "head")
_OF_BOTH = ("frozen_layers",)
"""What a part of a twin keeps."""


def _presets(task: "TextLabelTask") -> dict[str, dict[str, Any]]:
    rate = task.training.lr
    parts = {
        "rates": {"encoder": {"lr": rate / 2}, "head": {"lr": rate * 5}},
        "layer-decay": {"encoder": {"layer_decay": 0.8}},
    }
    return (_EXCLUSIVE if task.text.is_exclusive else _SEVERAL) | parts


def _arm_values(
    task: "TextLabelTask", options: LabelTextOptions, name: str, *, has_loss: bool = True
) -> "tuple[LabelModelConfig, dict[str, Any]]":
    """Return the config and the training of a preset, or of a file, and check both.

    The numbers of a loss that are set are those of the challenger, `has_loss`, alone.
    """
    from askew.models import LabelModelConfig
    from askew.tasks._arms import refuse_sizes
    from askew.transformer import StackConfig

    presets = _presets(task)
    is_file = name not in presets and Path(name).suffix == ".toml"
    check_name(_A_LOSS, name, presets)
    values: dict[str, Any] = read_arm(name) if is_file else {"training": deepcopy(presets[name])}
    training: dict[str, Any] = values.pop("training", {})
    own = options.model_settings()
    refuse_sizes("labels", "encoder", own, task.pretrained, "--encoder")
    merge(values, own)
    given = options.training_settings()
    loss = given.pop("loss", None)
    merge(training, given if training else {})
    if has_loss and loss is not None:
        merge(training, {"loss": loss})
    width = _WIDTHS[options.preset]
    stack = StackConfig(d_model=width, num_layers=2, num_heads=width // 32, d_ff=4 * width)
    vocab = task.tokenizer.get_vocab_size()
    with errors_name_file(name if is_file else None):
        task.check_training(training)
        base = LabelModelConfig(vocab=vocab, encoder=stack)
        config = load_config(
            LabelModelConfig, values, base=base, beside={"training": task.training}
        )
    task.check(config)
    return config, training


def space(task: "TextLabelTask", options: LabelTextComparison) -> "Space":
    """Return what a search draws: the loss, rates of encoder and head, and the dropout.

    The loss is the two-sided one, or the focal loss and those for a long tail where every text has
    one label. A challenger with another loss brings that and its like into the search. Symmetric
    candidates have the two-sided loss with equal sides or the focal loss, and one rate.
    """
    from askew.tradeoffs import Range, Space

    arms, _ = make_arms(task, options)
    ranges = task.search_space()
    rest = Space(
        numbers={**ranges, "training.encoder.layer_decay": Range(low=0.6, high=1.0)},
        ties={"training.head.lr": "training.encoder.lr"},
        fixed={"training.encoder.layer_decay": 1.0},
    )
    if task.text.is_exclusive:
        losses: list[Any] = [arm.training.get("loss", {}) for arm in arms]
        noisy = any(loss.get("name") in _NOISY for loss in losses)
        found = loss_space(arms, class_ranges(noisy=noisy), {}, rest, usual=_PLAIN)
        return replace(found, fixed={**rest.fixed, **equal_classes(found)})
    found = loss_space(arms, label_ranges(), LABEL_TIES, rest, usual=_PLAIN)
    return replace(found, fixed={**rest.fixed, **equal_labels(found)})


def budget(options: LabelTextOptions) -> "Budget":
    """Return the usual budget of a trial."""
    from askew.tasks._arms import usual_budget

    return usual_budget(is_user_data=options.data is not None)


def notes(task: "TextLabelTask", options: LabelTextOptions) -> Iterator[str]:
    """Describe what the user should know about the texts."""
    room = options.model_settings().get("max_tokens", 128)
    texts = [text for split in task.text for text in split.texts]
    longer = sum(len(tokens.ids) > room for tokens in task.tokenizer.encode_batch(texts))
    if longer:
        yield f"{longer} of {len(texts)} texts have more than {room} tokens: the rest is not read"


TRAINING = Training(
    options=LabelTextTraining,
    make_model=make_model,
    use="askew predict {folder} < lines.txt",
    pipeline="text-classification",
    help="""Train a model that finds the labels of texts: one of each, or several.

    Without --data it learns the language and the kind of phrases such as dates and prices
    (Unicode CLDR). Where texts have several labels, thresholds are tuned on the validation texts
    and stored in the folder. A training that was killed resumes, bit for bit, when the same command
    is typed again.
    """,
)
