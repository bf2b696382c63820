"""Names, files and numbers of the user become tasks, models, arms and budgets."""

from dataclasses import replace
from pathlib import Path

import pytest
from options import typed

from askew.tasks import (
    APPLICATIONS,
    MatchedOptions,
    SettingOptions,
    Sources,
    _arms,
    default_folder,
    translation_preset,
    translation_task,
)
from askew.text import ParallelText, SplitText
from askew.tradeoffs import Arm, Budget, symmetric_twin
from askew.training import TrainingConfig
from askew.transformer import parameter_count

TranslationComparison = APPLICATIONS["translation"].options
TranslationTraining = APPLICATIONS["translation"].train.options

TRANSLATION = APPLICATIONS["translation"]
PAIRS = ParallelText([f"number {i}" for i in range(30)], [f"número {i}" for i in range(30)])


@pytest.fixture(scope="module")
def task():
    return translation_task("numbers", SplitText(PAIRS, PAIRS, PAIRS), vocab_size=268)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{s}\t{t}\n" for s, t in zip(*PAIRS, strict=True)), encoding="utf-8")
    return path


def make_task(data=None, vocab_size=265, numbers=None, **options):
    options = TranslationComparison(
        data=data, vocab_size=vocab_size, set_=typed(numbers or {}), **options
    )
    return TRANSLATION.make_task(options)


def make_model(task, shape, size, numbers):
    options = TranslationTraining(shape=str(shape), preset=size, set_=typed(numbers))
    return TRANSLATION.train.make_model(task, options)[0]


def make_arms(
    task, challenger="deep-shallow", baseline="twin", match="parameters", numbers=None, **options
):
    options = TranslationComparison(
        challenger=str(challenger),
        baseline=str(baseline),
        preset="tiny",
        match=match,
        set_=typed(numbers or {}),
        **options,
    )
    return TRANSLATION.make_arms(task, options)


@pytest.mark.parametrize(("written", "kind"), [("", "float32"), (":int8", "int8")])
def test_an_engine_may_serve(data, written, kind):
    pytest.importorskip("ctranslate2")
    serve = f"ctranslate2{written}"
    made = make_task(data, serve=serve)
    assert made.serve == kind
    assert make_task(data).serve is None
    _, settings = make_arms(made, serve=serve)
    assert settings["serve"] == f"ctranslate2, {kind}"
    with pytest.raises(ValueError, match="plain attention with keys as wide as values; got enc"):
        make_arms(made, serve=serve, numbers={"encoder.qk_norm": "true"})
    assert "serve" not in make_arms(make_task(data))[1]


@pytest.mark.parametrize("serve", ["marian", "ctranslate2:", "ctranslate2:int4", "torch"])
def test_refuses_an_engine_that_it_does_not_know(data, serve):
    with pytest.raises(ValueError, match=f"--serve must be ctranslate2.*; got {serve}"):
        make_task(data, serve=serve)


def preset(shape="deep-shallow", size="tiny"):
    return translation_preset(shape, size, vocab_size=268)


def toml(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_chosen_is_nothing():
    assert SettingOptions().settings() == SettingOptions(set_=[]).settings() == {}


def test_settings_win_over_the_file_and_later_ones_over_earlier(tmp_path):
    config = toml(tmp_path, "c.toml", "[encoder]\nnum_layers = 5\nd_ff = 12\n[training]\nlr = 0.1")
    settings = ["encoder.num_layers=6", "decoder.d_ff=8", "training.lr=1", "training.lr=0.5"]
    assert SettingOptions(config=config, set_=settings).settings() == {
        "encoder": {"num_layers": 6, "d_ff": 12},
        "decoder": {"d_ff": 8},
        "training": {"lr": 0.5},
    }
    assert SettingOptions(config=config, set_=["encoder=7"]).settings()["encoder"] == 7


def test_refuses_settings_and_files_it_cannot_read(tmp_path):
    with pytest.raises(ValueError, match="must read key=value; got 'lr'"):
        SettingOptions(set_=["lr"])
    with pytest.raises(ValueError, match=r"the file must exist; got path '.*gone\.toml'"):
        SettingOptions(config=tmp_path / "gone.toml")


def test_task_has_the_data_the_vocabulary_and_the_numbers_of_training(data):
    made = make_task(data, numbers={"training": {"lr": 0.25, "batch_tokens": 99}})
    assert made.source_name == str(data)
    assert made.vocabularies() == (265, 265)
    assert made.training == TrainingConfig(steps=1, lr=0.25, batch_tokens=99)
    assert make_task(data).training == TrainingConfig(steps=1)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"training": {"lrr": 1}}, "unknown key 'training.lrr'; did you mean 'training.lr'"),
        ({"training": 5}, "training must be a table; got training 5"),
        ({"training": {"lr": "fast"}}, "training.lr must be float; got training.lr 'fast'"),
        ({"training": {"lr": -1}}, "training: TrainingConfig: lr must be positive; got lr -1"),
    ],
)
def test_refuses_numbers_of_training_that_cannot_be(data, chosen, message):
    with pytest.raises(ValueError, match=message):
        make_task(data, numbers=chosen)


def test_a_named_shape_is_the_preset_with_what_was_chosen(task):
    assert make_model(task, "symmetric", "small", {}) == preset("symmetric", "small")
    chosen = {"encoder": {"num_layers": 1}, "tie_embeddings": "none", "training": {"lr": 1}}
    model = make_model(task, "narrow-decoder", "tiny", chosen)
    assert (model.encoder.num_layers, model.tie_embeddings) == (1, "none")
    assert model.decoder == preset("narrow-decoder").decoder
    assert model.encoder.d_model == preset("narrow-decoder").encoder.d_model


def test_a_file_changes_the_deep_shallow_shape_and_settings_change_the_file(task, tmp_path):
    path = toml(tmp_path, "mine.toml", "[encoder]\nnum_layers = 9\n[decoder]\nnum_layers = 1")
    model = make_model(task, path, "tiny", {"encoder": {"num_layers": 8}})
    assert (model.encoder.num_layers, model.decoder.num_layers) == (8, 1)
    assert model.encoder.d_model == preset().encoder.d_model


def test_steps_are_no_number_that_is_tuned(task):
    with pytest.raises(ValueError, match=r"steps must be left out, .* Give --steps"):
        task.check_training({"steps": 3})


def test_refuses_models_that_cannot_be(task, tmp_path):
    with pytest.raises(ValueError, match=r"shape must be .*; got 'wide'"):
        make_model(task, "wide", "tiny", {})
    with pytest.raises(ValueError, match=r"size must be one of .*; got 'huge'"):
        make_model(task, "symmetric", "huge", {})
    with pytest.raises(ValueError, match=r"the file must exist; got path '.*gone\.toml'"):
        make_model(task, tmp_path / "gone.toml", "tiny", {})
    with pytest.raises(ValueError, match=r"unknown key 'encoder\.layers'.*\?$"):
        make_model(task, "symmetric", "tiny", {"encoder": {"layers": 3}})
    path = toml(tmp_path, "mine.toml", "[encoder]\nlayers = 3")
    with pytest.raises(
        ValueError, match=r"unknown key 'encoder\.layers'.* \(in .*mine\.toml or an override\)$"
    ):
        make_model(task, path, "tiny", {})
    with pytest.raises(ValueError, match=r"encoder: StackConfig: num_layers .* got num_layers 0"):
        make_model(task, "symmetric", "tiny", {"encoder": {"num_layers": 0}})


def test_a_challenger_meets_its_symmetric_twin(task):
    arms, settings = make_arms(task, "deep-shallow", "twin")
    twin = symmetric_twin(preset())
    assert arms == [Arm(name="deep-shallow", config=preset()), Arm(name="twin", config=twin.config)]
    assert settings == {
        "match": "parameters",
        "match_residual": pytest.approx(twin.residual),
        "preset": "tiny",
    }
    assert twin.residual != 0


def test_settings_change_the_challenger_and_the_twin_follows(task):
    chosen = {"encoder": {"num_layers": 6}}
    (first, twin), _ = make_arms(task, "deep-shallow", "twin", numbers=chosen)
    assert first.config.encoder.num_layers == 6
    assert twin.config.encoder.num_layers == 4


def test_another_shape_as_baseline_is_matched_in_nothing_and_keeps_its_own_numbers(task):
    chosen = {"encoder": {"num_layers": 6}}
    arms, settings = make_arms(task, "deep-shallow", "symmetric", numbers=chosen)
    assert [arm.name for arm in arms] == ["deep-shallow", "symmetric"]
    assert arms[1].config == preset("symmetric")
    assert (arms[0].init_offset, arms[1].init_offset) == (0, 0)
    first, other = (parameter_count(arm.config).total for arm in arms)
    assert settings["match"] == "nothing"
    assert settings["match_residual"] == pytest.approx(other / first - 1)


def test_a_model_against_itself_starts_from_other_weights(task):
    arms, settings = make_arms(task, "symmetric", "symmetric")
    assert [arm.name for arm in arms] == ["symmetric-again", "symmetric"]
    assert arms[0].config == arms[1].config
    assert arms[0].init_offset > 1000
    assert arms[1].init_offset == 0
    assert settings["match_residual"] == 0
    arms, _ = make_arms(task, "symmetric", "twin")
    assert [arm.name for arm in arms] == ["symmetric", "twin"]
    assert arms[0].init_offset > 0


def test_the_twin_can_meet_itself(task):
    arms, settings = make_arms(task, "twin", "twin")
    assert [arm.name for arm in arms] == ["twin-again", "twin"]
    assert arms[0].config == arms[1].config == symmetric_twin(preset()).config
    assert arms[0].init_offset > 0
    assert settings["match_residual"] == 0


def test_arms_from_files_are_called_like_their_files(task, tmp_path):
    mine = toml(tmp_path, "mine.toml", "[encoder]\nnum_layers = 2")
    other = toml(tmp_path, "other.toml", "[encoder]\nnum_layers = 3")
    arms, _ = make_arms(task, mine, other)
    assert [(arm.name, arm.config.encoder.num_layers) for arm in arms] == [
        ("mine", 2),
        ("other", 3),
    ]


def test_refuses_what_no_twin_can_match(task):
    with pytest.raises(ValueError, match="flops, latency or time; got match 'luck'"):
        make_arms(task, "deep-shallow", "twin", "luck")


def test_operations_are_matched(task):
    arms, settings = make_arms(task, "deep-shallow", "twin", "flops")
    first, twin = (task.flops_per_step(arm.config) for arm in arms)
    assert settings["match"] == "flops"
    assert settings["match_residual"] == pytest.approx(twin / first - 1)
    assert abs(twin / first - 1) <= 0.01


@pytest.mark.parametrize("match", ["latency", "time"])
def test_a_twin_found_by_timing_is_found_again(task, tmp_path, monkeypatch, match):
    def timed(task, config, *, sides, match):
        calls.append(match)
        return symmetric_twin(config, sides=sides)._replace(residual=0.07, match=match)

    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("askew.tasks._arms.measured_twin", timed)
    first, again = (make_arms(task, match=match) for _ in range(2))
    assert first == again
    assert calls == [match]
    assert first[1]["match"] == match
    assert first[1]["match_residual"] == 0.07
    make_arms(task, match=match, numbers={"encoder": {"num_layers": 6}})
    assert calls == [match] * 2, "another model is timed anew"


def test_the_usual_budget_is_that_of_the_data(task, data):
    assert TRANSLATION.budget(TranslationComparison()) == Budget(steps=1000)
    source = data.with_name("a.en")
    for own in ({"data": data}, {"source": source, "target": source}):
        assert TRANSLATION.budget(TranslationComparison(**own)) == Budget(minutes=6.0)
    options = TranslationComparison(data=data, vocab_size=265, preset="tiny")
    assert TRANSLATION.setup(options).budget == Budget(minutes=6.0)
    assert TRANSLATION.setup(options, Budget(steps=7)).budget == Budget(steps=7)


def test_refuses_two_budgets_and_budgets_of_nothing():
    for steps, minutes in ((5, 1.0), (0, None), (None, -1.0)):
        with pytest.raises(ValueError, match=f"Budget: .*got steps {steps}, minutes {minutes}$"):
            Budget(steps=steps, minutes=minutes)


def test_folder_is_the_same_for_the_same_settings_only(task):
    arms, _ = make_arms(task, "deep-shallow", "twin")
    budget = Budget(steps=5)
    folder = default_folder(task, arms, budget, 1)
    assert folder.parent == Path("askew-runs")
    assert folder.name.startswith("translation-deep-shallow-")
    assert default_folder(task, list(arms), Budget(steps=5), 1) == folder
    half = ParallelText(PAIRS.sources[:20], PAIRS.targets[:20])
    text = SplitText(half, PAIRS, PAIRS)
    others = [
        default_folder(task, arms, Budget(steps=6), 1),
        default_folder(task, arms, budget, 2),
        default_folder(task, arms[::-1], budget, 1),
        default_folder(translation_task("numbers", text, vocab_size=268), arms, budget, 1),
    ]
    assert len({folder, *others}) == 5


def test_folder_is_named_by_content_and_one_of_an_earlier_release_is_found(
    task, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    call = (make_arms(task, "deep-shallow", "twin")[0], Budget(steps=5), 1)
    moved = replace(task, source_name="elsewhere/pairs.tsv")
    folder = default_folder(task, *call)
    assert default_folder(moved, *call) == folder
    arms = [repr(arm) for arm in call[0]]
    digest = _arms._digest(task.describe(), arms, repr(call[1]), call[2])
    earlier = Path("askew-runs") / f"translation-deep-shallow-{digest}"
    assert earlier != folder
    earlier.mkdir(parents=True)
    assert default_folder(task, *call) == earlier
    assert default_folder(moved, *call) == folder


def test_a_teacher_teaches_whom_it_should_unless_what_is_learnt_was_chosen(data, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    taught = make_task(data, 268, teacher=tmp_path)
    first, twin = make_arms(taught, teacher=tmp_path)[0]
    assert first.training == twin.training == {"target": "teacher"}
    first, twin = make_arms(taught, teacher=tmp_path, taught="challenger")[0]
    assert first.training == {"target": "teacher"}
    assert twin.training == {}
    _, training = TRANSLATION.train.make_model(taught, TranslationTraining(teacher=tmp_path))
    assert training == {"target": "teacher"}
    numbers = {"training": {"target": "both"}}
    arms = make_arms(taught, numbers=numbers, teacher=tmp_path)[0]
    assert [arm.training for arm in arms] == [{}, {}]
    with pytest.raises(ValueError, match=r"the target 'both' needs a teacher; got none\. Give"):
        make_task(data, numbers=numbers)


def test_a_teacher_translates_only_where_there_is_one(data, tmp_path):
    assert TRANSLATION.teach(make_task(data), TranslationComparison(data=data)) is None
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    options = TranslationComparison(data=data, teacher=tmp_path)
    assert callable(TRANSLATION.teach(make_task(data, teacher=tmp_path), options))


def test_files_that_contradict_each_other_are_refused_before_anything_is_read(tmp_path):
    gone = tmp_path / "gone"
    for files, message in (
        ({"valid_target": gone}, "valid_source and valid_target go together"),
        ({"data": gone, "source": gone, "target": gone}, "exclude each other"),
        ({"test_source": gone, "test_target": gone}, "need training files"),
    ):
        with pytest.raises(ValueError, match=message):
            TranslationComparison(**files)


def test_catalogues_are_protected_unless_it_is_said():
    catalogue = Path("de.po")
    assert TranslationTraining(data=catalogue).protects
    assert not TranslationTraining(data=catalogue, protect=False).protects
    assert TranslationTraining(protect=True).protects
    assert not TranslationComparison(data=catalogue).protects


def test_options_say_where_the_text_lies():
    assert TranslationComparison(pair="en-de").sources() == Sources(pair="en-de")
    options = TranslationComparison(data=Path("a.tsv"))
    assert options.sources() == Sources(data=Path("a.tsv"))
    assert MatchedOptions().match == "parameters"


def test_what_a_user_should_know_is_noted(data):
    options = TranslationTraining(data=data, vocab_size=300, protect=True)
    task = TRANSLATION.make_task(options)
    assert list(TRANSLATION.notes(task, options)) == [
        "placeholders and markup are protected; --no-protect leaves them to the model"
    ]
