"""The kinds of model folders: what loads, builds and reads each, in one table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from askew.models._attention_reading import (
    AttentionReading,
    read_labelled_text,
    read_pretrained,
    read_question,
    read_translation,
)
from askew.models._config_values import read_config_values
from askew.models._folder import (
    load_label_model,
    load_pretrained,
    load_qa_model,
    load_translation_model,
)
from askew.models._label_model import AsymmetricLabelModel
from askew.models._qa import AsymmetricQAModel
from askew.models._translation import AsymmetricTranslationModel


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelKind:
    """One kind of model folder, and what opens it.

    Attributes:
        model_type: What its `config.json` says; None stands for every type not in the table.
        application: The application that trains and evaluates it, by name; None if there is none.
        load: From the folder to the model; a damaged folder is refused.
        model_class: What is built on the meta device; None if `config.json` names the class.
        read_attention: From the model, its folder and a text (and a question, where it has one)
            to the weights of attention and the tokens that they belong to.
        has_question: Whether attention is read of a text together with a question.

    Example:
        >>> [kind.application for kind in MODEL_KINDS]
        ['translation', 'qa', 'labels', None]
    """

    model_type: str | None
    application: str | None
    load: Callable[[Path], PreTrainedModel]
    model_class: type[PreTrainedModel] | None
    read_attention: Callable[..., AttentionReading]
    has_question: bool


MODEL_KINDS = (
    ModelKind(
        model_type="askew-translation",
        application="translation",
        load=load_translation_model,
        model_class=AsymmetricTranslationModel,
        read_attention=read_translation,
        has_question=False,
    ),
    ModelKind(
        model_type="askew-qa",
        application="qa",
        load=load_qa_model,
        model_class=AsymmetricQAModel,
        read_attention=read_question,
        has_question=True,
    ),
    ModelKind(
        model_type="askew-labels",
        application="labels",
        load=load_label_model,
        model_class=AsymmetricLabelModel,
        read_attention=read_labelled_text,
        has_question=False,
    ),
    ModelKind(
        model_type=None,
        application=None,
        load=load_pretrained,
        model_class=None,
        read_attention=read_pretrained,
        has_question=False,
    ),
)
"""Every kind of model folder; the last stands for all other models of transformers."""


def model_kind(folder: str | Path) -> ModelKind:
    """Find the kind of model that a folder holds.

    Args:
        folder: A model folder.

    Returns:
        The row of `MODEL_KINDS` for the `model_type` of its config.json; the last one where that
        cannot be read, whose `load` then says what is wrong.

    Example:
        >>> model_kind("/nowhere").application is None
        True
    """
    return kind_of_type(read_config_values(Path(folder)).get("model_type"))


def kind_of_type(model_type: object) -> ModelKind:
    """Find the kind of a `model_type`, which may be anything that a file holds."""
    rows = (kind for kind in MODEL_KINDS if kind.model_type == model_type)
    return next(rows, MODEL_KINDS[-1])
