"""A row of the table leads from options to what is compared, trained and scored."""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import pytest

from askew.tasks import (
    APPLICATIONS,
    Application,
    MatchedOptions,
    Scored,
    Scoring,
    ScoringOptions,
    SettingOptions,
    Setup,
    Training,
    option,
)
from askew.tradeoffs import Budget, SearchBudget, Task
from askew.tradeoffs._running.candidate_costs import CandidateCosts
from askew.tradeoffs._running.search_plan import SearchPlan

EACH = pytest.mark.parametrize("application", APPLICATIONS.values(), ids=list(APPLICATIONS))


def test_an_option_is_a_field_with_what_the_command_line_says_of_it():
    @dataclass(frozen=True, kw_only=True)
    class Options:
        path: Path = option(..., "Where.", positional=True)
        size: int = option(9, "How large.", name="--size-of", minimum=1, show_default=False)

    path, size = fields(Options)
    assert path.default is MISSING
    assert path.metadata["positional"]
    assert dict(size.metadata) == {
        "help": "How large.",
        "name": "--size-of",
        "min": 1,
        "max": None,
        "show_default": False,
        "positional": False,
    }
    assert Options(path=Path("a")).size == 9
    with pytest.raises(TypeError, match="path"):
        Options()


@EACH
def test_every_option_of_every_row_says_what_it_is(application):
    assert isinstance(application, Application)
    rows = [
        application.options,
        *(row.options for row in (application.train, application.evaluate) if row),
    ]
    for options in rows:
        for one in fields(options):
            assert one.metadata["help"].endswith("."), (options, one.name)
    assert issubclass(application.options, SettingOptions)
    assert application.help.endswith(".")
    if application.evaluate is not None:
        assert isinstance(application.evaluate, Scoring)
        assert issubclass(application.evaluate.options, ScoringOptions)
    if application.train is not None:
        assert isinstance(application.train, Training)


def test_a_setup_is_what_compare_takes():
    imbalanced = APPLICATIONS["imbalanced"]
    setup = imbalanced.setup(imbalanced.options(challenger="focal"))
    assert isinstance(setup, Setup)
    assert isinstance(setup.task, Task)
    assert [arm.name for arm in setup.arms] == ["focal", "bce"]
    assert setup.budget == Budget(steps=600)
    assert setup.settings["match"] == "nothing"
    assert setup.settings["signatures"] == setup.task.signatures()
    assert imbalanced.setup(imbalanced.options(), Budget(steps=3)).budget == Budget(steps=3)
    assert list(imbalanced.notes(setup.task, imbalanced.options())) == []
    assert imbalanced.teach(setup.task, imbalanced.options()) is None


def test_a_search_matches_a_baseline_with_a_name_too_unless_costs_are_bounded(tmp_path):
    translation = APPLICATIONS["translation"]
    pairs = "".join(f"{number} cats\t{number} gatos\n" for number in range(99))
    (tmp_path / "pairs.tsv").write_text(pairs)
    data = {"data": str(tmp_path / "pairs.tsv"), "vocab_size": 300}
    options = translation.options(preset="tiny", baseline="symmetric", **data)
    assert translation.setup(options).settings["match"] == "nothing"
    setup = translation.search_setup(options, {})
    assert (setup.settings["match"], setup.arms[1].name) == ("parameters", "symmetric")
    assert translation.search_setup(options, {"flops": 1e9}).settings["match"] == "nothing"
    space = translation.space(setup.task, options)
    limits = {"match": setup.settings["match"], "at_most": {}, "threads": 1}
    plan = SearchPlan(
        task=setup.task,
        space=space,
        start=setup.arms,
        out=tmp_path / "out",
        budget=SearchBudget(steps=20, candidates=6, finalists=1, seeds=5),
        **limits,
    )
    costs = CandidateCosts(plan)
    offer = costs.complete(plan.open_space.values_of(setup.arms[1]), symmetric=True)
    assert offer.distance == 0
    own = setup.task.parameters(costs.arm_of(offer.values).config)
    assert own == pytest.approx(setup.task.parameters(setup.arms[0].config), rel=0.01)


def test_settings_of_the_model_and_of_the_training_are_told_apart():
    options = SettingOptions(set_=["width=3", "training.lr=0.1"])
    assert options.model_settings() == {"width": 3}
    assert options.training_settings() == {"lr": 0.1}
    with pytest.raises(ValueError, match="must read key=value"):
        SettingOptions(set_=["width"])


def test_a_file_of_settings_is_read_once_and_its_values_belong_to_the_options(tmp_path):
    file = tmp_path / "numbers.toml"
    file.write_text("[encoder]\nd_ff = 12\n")
    options = SettingOptions(config=file)
    file.unlink()
    options.settings()["encoder"]["d_ff"] = 13
    assert options.model_settings() == {"encoder": {"d_ff": 12}}


def test_a_model_of_translation_is_scored_by_its_row(tmp_path):
    from saved_model import saved

    saved(tmp_path)
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("three cats\ttrês gatos\nsee\tveem\n", encoding="utf-8")
    row = APPLICATIONS["translation"].evaluate
    read, notes, score = row.score(tmp_path, row.options(data=pairs, batch_size=1))
    seen = []
    scored = score(lambda done, total: seen.append((done, total)))
    assert isinstance(scored, Scored)
    assert (read, notes) == (f"read 2 pairs from {pairs}", [])
    assert seen == [(2, 2)]
    assert len(scored.outputs) == 2
    assert set(scored.results["scores"]) == {"bleu", "chrf", "exact_match"}
    assert [line.split()[0] for line in scored.lines[:3]] == ["bleu", "chrf", "exact_match"]


def test_what_a_twin_has_in_common_is_one_of_four():
    assert MatchedOptions(match="flops").baseline == "twin"
