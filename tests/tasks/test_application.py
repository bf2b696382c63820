"""An application is one row of a table, and its options are fields of a dataclass."""

from dataclasses import dataclass, fields

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


@dataclass(frozen=True, kw_only=True)
class Options(SettingOptions):
    size: int = option(9, "How large.", name="-s", minimum=1)
    folder: str = option(..., "Where.", positional=True)


def test_an_option_is_a_field_that_the_command_line_reads():
    assert Options(folder="x").size == 9
    with pytest.raises(TypeError, match="folder"):
        Options()
    described = {one.name: one.metadata for one in fields(Options)}
    assert (described["size"]["name"], described["size"]["min"]) == ("-s", 1)
    assert described["folder"]["positional"]


@pytest.mark.parametrize("row", APPLICATIONS.values(), ids=list(APPLICATIONS))
def test_a_row_has_options_of_the_shared_kinds(row):
    assert isinstance(row, Application)
    assert issubclass(row.options, SettingOptions)
    assert (row.train is None) == (row.evaluate is None)
    if row.train is not None:
        assert isinstance(row.train, Training)
        assert isinstance(row.evaluate, Scoring)
        assert issubclass(row.options, MatchedOptions)
        assert issubclass(row.evaluate.options, ScoringOptions)


def test_options_become_the_input_of_a_comparison():
    row = APPLICATIONS["imbalanced"]
    setup = row.setup(row.options(challenger="focal"))
    assert isinstance(setup, Setup)
    assert setup.settings["signatures"] == setup.task.signatures()
    assert setup.budget == row.budget(row.options())


def test_scored_is_outputs_results_and_lines():
    assert Scored(["um"], {"chrf": 1.0}, ["chrf 1"]) == (["um"], {"chrf": 1.0}, ["chrf 1"])
