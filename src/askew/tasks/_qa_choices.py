"""From what the user chose to a question-answering task and its arms."""

from collections.abc import Mapping
from pathlib import Path

from askew._config import errors_name_file, load_config
from askew.models import QAConfig, qa_parameter_count, read_encoder_config
from askew.tasks._choices import find_twin, match_settings, merge, read_shape
from askew.tasks._qa import NO_PRETRAINED, Pretrained, QATask, encoder_depth, qa_task
from askew.tasks._qa_data import QuestionSources, load_questions
from askew.tasks._qa_presets import QA_SHAPES, qa_preset
from askew.tradeoffs import Arm
from askew.training import QATrainingConfig

# An encoder that has learnt much already is changed little: its rate is lower, and the lowest
# layers, where there are more, stay as they are.
_PRETRAINED_RATE, _FROZEN_LAYERS = 2e-4, 2


def chosen_qa_task(
    sources: QuestionSources,
    vocab_size: int,
    chosen: Mapping[str, object],
    *,
    pretrained: Pretrained = NO_PRETRAINED,
    language: str = "en",
) -> QATask:
    """Read the questions and make the task.

    Args:
        sources: Where the questions lie.
        vocab_size: Tokens of a vocabulary that is trained, at most.
        chosen: Its `training` changes the numbers of training.
        pretrained: Encoders of transformers to begin with.
        language: Whose articles do not count in answers.

    Returns:
        The task.

    Raises:
        ValueError: If data, encoders or numbers cannot be used.

    Example:
        >>> chosen_qa_task(QuestionSources(), 400, {"training": {"lr": 0.003}}).training.lr
        0.003
    """
    values = chosen.get("training", {})
    begin = {}
    for side, folder, layers in (
        ("question", pretrained.question, pretrained.question_layers),
        ("context", pretrained.context, None),
    ):
        if folder is not None:
            frozen = _FROZEN_LAYERS if encoder_depth(folder, layers) > _FROZEN_LAYERS else 0
            begin[side] = {"lr": _PRETRAINED_RATE, "frozen_layers": frozen}
    base = load_config(QATrainingConfig, {"steps": 1, **begin})
    training = load_config(
        QATrainingConfig,
        values if isinstance(values, Mapping) else {"training": values},
        base=base,
        where="training",
    )
    name, text = load_questions(sources)
    return qa_task(
        name,
        text,
        vocab_size=vocab_size,
        training=training,
        pretrained=pretrained,
        language=language,
    )


def chosen_qa_model(
    task: QATask, shape: str, preset: str, chosen: Mapping[str, object]
) -> QAConfig:
    """Take a named shape or a TOML file, and change what was chosen otherwise.

    Args:
        task: Gives the vocabularies and the pretrained encoders.
        shape: A name of `QA_SHAPES`, or a file; what the file lacks is as in "asymmetric".
        preset: A name of `QA_SIZES`.
        chosen: Values of the model; `training` is passed over.

    Returns:
        The configuration.

    Raises:
        ValueError: If a name, a key or a value is unknown, or a pretrained encoder cannot read
            so much at once.

    Example:
        >>> from askew.tasks import QuestionSources, load_questions, qa_task
        >>> task = qa_task(*load_questions(QuestionSources()), vocab_size=400)
        >>> chosen = {"context": {"dropout": 0.2}}
        >>> chosen_qa_model(task, "symmetric", "tiny", chosen).context.dropout
        0.2
    """
    shape, file, values = read_shape(shape, QA_SHAPES, usual="asymmetric")
    folder = task.pretrained.context
    if folder is not None:
        width = read_encoder_config(folder)["hidden_size"]
        values = {"d_pool": width, "reader": {"d_model": 192, "d_ff": 192, "d_key": 64}} | values
    merge(values, {key: value for key, value in chosen.items() if key != "training"})
    base = qa_preset(shape, preset, vocab_size=task.vocabularies())
    with errors_name_file(file):
        config = load_config(QAConfig, values, base=base)
    if task.pretrained.question is not None or folder is not None:
        task.check(config)
    return config


def chosen_qa_arms(
    task: QATask,
    challenger: str,
    baseline: str,
    preset: str,
    match: str,
    chosen: Mapping[str, object],
) -> tuple[list[Arm], dict[str, object]]:
    """Make the challenger and what it is compared with.

    Args:
        task: Gives the vocabularies.
        challenger: A shape or a file.
        baseline: "twin" (equal encoders, as many parameters), a shape or a file.
        preset: A name of `QA_SIZES`.
        match: What a twin has in common.
        chosen: Values of the challenger's model.

    Returns:
        Challenger and baseline, and how they were matched.

    Raises:
        ValueError: If a name, a key or a value is unknown, or no twin comes near enough.

    Example:
        >>> from askew.tasks import QuestionSources, load_questions, qa_task
        >>> task = qa_task(*load_questions(QuestionSources()), vocab_size=400)
        >>> arms, matched = chosen_qa_arms(task, "asymmetric", "twin", "tiny", "parameters", {})
        >>> [arm.name for arm in arms]
        ['asymmetric', 'twin']
    """
    first = chosen_qa_model(task, challenger, preset, chosen)
    sides = ("question", "context")
    twin = None
    if baseline == "twin":
        twin = find_twin(task, first, sides, match, parameters=qa_parameter_count)
    other = chosen_qa_model(task, baseline, preset, {}) if twin is None else twin.config
    names = [Path(name).stem for name in (challenger, baseline)]
    if names[0] == names[1]:
        names[0] += "-again"
    offset = 10_000 if first == other else 0
    arms = [
        Arm(name=names[0], config=first, init_offset=offset),
        Arm(name=names[1], config=other),
    ]
    return arms, match_settings(task, arms, twin) | {"preset": preset}
