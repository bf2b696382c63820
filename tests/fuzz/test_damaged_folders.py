"""Folders of models, indexes and comparisons in which something has happened to one file."""

import io
import json
import math
from functools import partial

import hypothesis
import numpy as np
import pytest
import torch
from damage import (
    SETTINGS,
    WHOLLY_WRONG,
    Readable,
    damaged_bytes,
    damaged_json,
    every_other_value,
    read_or_refuse,
    try_bytes,
)
from report_pages import example_results
from rich.console import Console
from safetensors.numpy import save_file
from saved_model import TOKENIZERS, saved
from tokenizers import Tokenizer, processors
from transformers import BertConfig, BertForQuestionAnswering, BertModel

from askew._files import write_json
from askew.export import export_ctranslate2
from askew.models import (
    AsymmetricLabelConfig,
    AsymmetricLabelModel,
    AsymmetricQAConfig,
    AsymmetricQAModel,
    ContextIndex,
    CTranslate2Engine,
    DecodingConfig,
    LabelModelConfig,
    PairScores,
    QAConfig,
    QuestionAnswerer,
    SpanTeacher,
    TextLabeller,
    Translator,
    load_checkpoint,
    load_label_model,
    load_qa_model,
    load_translation_model,
    read_encoder_config,
    write_checksums,
)
from askew.models._encoders import encoder_config
from askew.tasks import APPLICATIONS, MLPConfig, Teacher, teach
from askew.text import Context, Question, QuestionSet
from askew.tradeoffs import Experiment, Range, load_trial, print_results, read_run, write_report
from askew.tradeoffs._running.tuning import _ask
from askew.tradeoffs._running.tuning_journal import finished_draws, open_studies
from askew.training import last_checkpoint, teach_spans
from askew.transformer import ReaderConfig, StackConfig

LabelComparison = APPLICATIONS["imbalanced"].options

CONTEXTS = [Context("a", "three trees see bees"), Context("b", "bees see three trees " * 5)]
TOKENIZER = TOKENIZERS.source


def qa_model():
    torch.manual_seed(0)
    vocab = TOKENIZER.get_vocab_size()
    plain = QAConfig(
        question_vocab=vocab,
        context_vocab=vocab,
        question=StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16),
        context=StackConfig(d_model=12, num_layers=1, num_heads=2, d_ff=16),
        reader=ReaderConfig(d_model=8, num_layers=1, num_heads=2, d_key=4, d_ff=8),
        d_pool=6,
        max_context_tokens=16,
        overlap=4,
        max_answer_tokens=4,
    )
    config = AsymmetricQAConfig.from_plain(plain)
    config.retrieval = {"weight": 0.5, "questions": 9, "contexts": 2, "f1": 3.0}
    return AsymmetricQAModel(config).eval()


TASK = APPLICATIONS["imbalanced"].make_task(LabelComparison())
POINTS = torch.ones(8, 2), torch.zeros(8, dtype=torch.long)
EXPERIMENT = Experiment(
    name="points",
    models={"one": partial(torch.nn.Linear, 2, 2), "other": partial(torch.nn.Linear, 2, 2)},
    train_data=POINTS,
    test_data=POINTS,
    steps=1,
)
ANSWERER = QuestionAnswerer(qa_model(), TOKENIZER, TOKENIZER)


def translation_folder(name, *, sums):
    def make(folder):
        saved(folder)
        if sums:
            write_checksums(folder)
        return folder / name

    return make


def qa_folder(name):
    def make(folder):
        qa_model().save_pretrained(folder)
        for kind in ("tokenizer", "question_tokenizer"):
            (folder / f"{kind}.json").write_text(TOKENIZER.to_str())
        return folder / name

    return make


def label_folder(name):
    def make(folder):
        torch.manual_seed(0)
        stack = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
        plain = LabelModelConfig(vocab=TOKENIZER.get_vocab_size(), encoder=stack, max_tokens=16)
        config = AsymmetricLabelConfig.from_plain(plain, labels=["a", "b", "c"], exclusive=False)
        config.thresholds = [-0.5, 0.0, 0.5]
        AsymmetricLabelModel(config).save_pretrained(folder)
        (folder / "tokenizer.json").write_text(TOKENIZER.to_str())
        return folder / name

    return make


def bert_folder(name, *, vocab=20, model_class=BertModel):
    def make(folder):
        config = BertConfig(
            vocab_size=vocab, hidden_size=8, num_attention_heads=2, num_hidden_layers=1,
            intermediate_size=8, max_position_embeddings=16,
        )  # fmt: skip
        model_class(config).save_pretrained(folder)
        (folder / "tokenizer.json").write_text(TOKENIZER.to_str())
        return folder / name

    return make


def export_folder(name):
    def make(folder):
        saved(folder)
        return export_ctranslate2(folder) / name

    return make


def index_folder(name):
    def make(folder):
        ANSWERER.encode(CONTEXTS, dtype="float32").save(folder / "index")
        return folder / "index" / name

    return make


def run_folder(name):
    def make(folder):
        results = example_results()
        write_json(folder / "results.json", results)
        for trial in results["trials"]:
            place = folder / "trials" / f"{trial['arm']}-seed{trial['seed']}"
            place.mkdir(parents=True)
            kept = {"version": 1, "steps": 40, **trial}
            write_json(place / "trial.json", kept)
            save_file({"chrf": np.arange(6.0) + trial["seed"]}, place / "items.safetensors")
        return folder / name

    return make


def translates(path):
    load_translation_model(path.parent)
    found = Translator.from_pretrained(path.parent).translate(["three trees", "bees"])
    assert len(found) == 2
    assert all(isinstance(text, str) for text in found)


def answers(path):
    load_qa_model(path.parent)
    reader = QuestionAnswerer.from_pretrained(path.parent)
    found = reader.answer("who sees", reader.encode(CONTEXTS))
    assert all(math.isfinite(answer.score) for answer in found)


def labels(path):
    load_label_model(path.parent)
    labeller = TextLabeller.from_pretrained(path.parent)
    found = labeller.label(["three trees", "bees"])
    assert len(found) == 2
    for text in found:
        assert set(text.labels) <= set(text.probabilities)
        assert all(0 <= value <= 1 for value in text.probabilities.values())


def opens(path):
    model = load_checkpoint(path.parent)
    assert all(p.isfinite().all() for p in model.parameters())


def encodes(path):
    encoder_config(read_encoder_config(path.parent, dropout=0.5))


def teaches(path):
    teacher = SpanTeacher.from_pretrained(path.parent)
    found = teacher.read(["who sees"], ["three trees see bees"])[0]
    assert found.places.shape == found.scores.shape


def teacher_folder(name):
    made = Tokenizer.from_str(TOKENIZER.to_str())
    ends = [("<s>", 1), ("</s>", 2)]
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ends
    )
    size = made.get_vocab_size()
    make = bert_folder(name, vocab=size, model_class=BertForQuestionAnswering)

    def with_tokenizer(folder):
        path = make(folder)
        made.save(str(folder / "tokenizer.json"))
        return path

    return with_tokenizer


ASKED = QuestionSet(CONTEXTS, [Question(str(n), f"who {n}", n % 2, ()) for n in range(3)], [])


class Silent:
    """Says nothing but that there is no answer."""

    def read(self, questions, contexts):
        return [PairScores(torch.zeros(2, 1), torch.zeros(2, 1)) for _ in questions]


def spans_of(folder):
    return teach_spans(
        Silent,
        ASKED,
        fingerprint="",
        k=2,
        temperature=1.0,
        folder=folder,
        progress=lambda *_: None,
    )


def taught_spans(name):
    def make(folder):
        spans_of(folder)
        return folder / name

    return make


def learns_spans(path):
    found = spans_of(path.parent)
    assert found.places.shape == (3, 2, 2)
    assert not found.log_probabilities.isnan().any()


def decodes(path):
    engine = CTranslate2Engine(path.parent)
    assert len(engine.decode([[3, 4]], [5], DecodingConfig())) == 1


def searches(*, sums):
    def read(path):
        index = ContextIndex.load(path.parent, check_sums=sums)
        assert index.contexts == CONTEXTS or not sums or path.name == "index.json"
        if not index.num_windows:
            return
        index.gather(torch.arange(index.num_windows))
        try:
            found = ANSWERER.answer("who sees bees", index)
        except ValueError as error:
            if "index must be of this model" not in str(error):
                raise
            raise ValueError(f"{error} in {path}") from None  # an index in memory has no folder
        for answer in found:
            context = index.contexts[answer.context]
            assert answer.text == context.text[answer.start : answer.end]

    return read


def shows(path):
    run = read_run(path.parent)
    for language in ("en", "pt"):
        print_results(run.results, Console(file=io.StringIO()), language=language)
    write_report(run.results, path.parent / "report.html", items=run.items)


def shows_trials(path):
    trial = load_trial(path.parents[2], "deep", 0)
    assert all(isinstance(value, float | int) for value in trial.metrics.values())
    assert all(items.ndim == 1 and np.isfinite(items).all() for items in trial.items.values())
    assert trial.train_seconds > 0
    read_run(path.parents[2])


def table_folder(name):
    def make(folder):
        TASK.save(TASK.build(MLPConfig(width=4), 0), folder / "model")
        return folder / "model" / name

    return make


def experiment_folder(name):
    def make(folder):
        EXPERIMENT.save(EXPERIMENT.build(EXPERIMENT.arms[0].config, 0), folder / "model")
        return folder / "model" / name

    return make


def loads(task):
    def read(path):
        model = task.load(path.parent)
        assert all(p.dtype == torch.float32 for p in model.parameters())

    return read


SOURCES = ["one cat", "two", "three"]


def taught(folder):
    (folder / "taught.jsonl").write_text('"um gato"\n"dois"\n"três"\n', encoding="utf-8")
    return folder / "taught.jsonl"


def learns(path):
    taught = teach(
        path.parent,
        Teacher(fingerprint=""),
        SOURCES[: path.read_bytes().count(b"\n") if path.is_file() else 0],
        store=path,
        progress=lambda *_: None,
    )
    assert all(isinstance(text, str) for text in taught.targets)


def journal(folder):
    study = open_studies({"wide": {"steps": 5}}, folder)["wide"]
    for number in range(3):
        study.tell(_ask(study, {"lr": Range(low=0.1, high=1.0)}, number), -1.0 / (1 + number))
    return folder / "tuning.journal"


def tries(path):
    found = finished_draws(open_studies({"wide": {"steps": 5}}, path.parent)["wide"])
    assert all(isinstance(draw.score, float) for draw in found.values())


def items(path):
    found = load_trial(path.parents[2], "deep", 0).items
    assert all(values.ndim == 1 for values in found.values())


TRIAL = "trials/deep-seed0/trial.json"


def parent(path):
    return str(path.parent)


CASES = {
    "translation config": Readable(
        translation_folder("config.json", sums=False), translates, parent
    ),
    "translation weights": Readable(
        translation_folder("model.safetensors", sums=False), translates, parent
    ),
    "translation tokenizer": Readable(
        translation_folder("tokenizer.json", sums=False), translates, parent
    ),
    "summed config": Readable(translation_folder("config.json", sums=True), translates, parent),
    "checksums": Readable(translation_folder("checksums.json", sums=True), translates, parent),
    "qa config": Readable(qa_folder("config.json"), answers, parent),
    "qa weights": Readable(qa_folder("model.safetensors"), answers, parent),
    "qa tokenizer": Readable(qa_folder("question_tokenizer.json"), answers, parent),
    "labels config": Readable(label_folder("config.json"), labels, parent),
    "labels weights": Readable(label_folder("model.safetensors"), labels, parent),
    "labels tokenizer": Readable(label_folder("tokenizer.json"), labels, parent),
    "checkpoint config": Readable(bert_folder("config.json"), opens, parent),
    "checkpoint weights": Readable(bert_folder("model.safetensors"), opens, parent),
    "encoder config": Readable(bert_folder("config.json"), encodes, parent),
    "export mark": Readable(export_folder("askew.json"), decodes, parent),
    "index": Readable(index_folder("index.json"), searches(sums=True), parent),
    "index unsummed": Readable(index_folder("index.json"), searches(sums=False), parent),
    "index texts": Readable(index_folder("shard-00000.jsonl"), searches(sums=True)),
    "index texts unsummed": Readable(index_folder("shard-00000.jsonl"), searches(sums=False)),
    "index states": Readable(index_folder("shard-00000.safetensors"), searches(sums=True)),
    "index states unsummed": Readable(
        index_folder("shard-00000.safetensors"), searches(sums=False)
    ),
    "run": Readable(run_folder("results.json"), shows, parent),
    "trial": Readable(run_folder(TRIAL), shows_trials),
    "trial items": Readable(
        run_folder(TRIAL.replace("trial.json", "items.safetensors")), items, parent
    ),
    "export weights": Readable(export_folder("model.bin"), decodes, parent),
    "table config": Readable(table_folder("config.json"), loads(TASK), parent),
    "table weights": Readable(table_folder("model.safetensors"), loads(TASK), parent),
    "experiment arm": Readable(experiment_folder("model.json"), loads(EXPERIMENT), parent),
    "experiment weights": Readable(
        experiment_folder("model.safetensors"), loads(EXPERIMENT), parent
    ),
    "teacher config": Readable(teacher_folder("config.json"), teaches, parent),
    "teacher weights": Readable(teacher_folder("model.safetensors"), teaches, parent),
    "teacher tokenizer": Readable(teacher_folder("tokenizer.json"), teaches, parent),
    "taught": Readable(taught, learns),
    "taught spans": Readable(taught_spans("part-00000.safetensors"), learns_spans),
    "journal": Readable(journal, tries),
}
GROWING = ("taught", "taught spans", "journal")  # begun anew where there is none


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = {}

    def one(name):
        if name not in made:
            made[name] = CASES[name].make(tmp_path_factory.mktemp("good"))
        return made[name]

    return one


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch):
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")


@pytest.mark.parametrize("name", CASES)
def test_a_good_folder_is_read(name, made):
    assert read_or_refuse(CASES[name], made(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_damaged_bytes_are_read_rightly_or_refused(name, made):
    path = made(name)

    @SETTINGS
    @hypothesis.given(damaged_bytes(path.read_bytes()))
    def check(other):
        try_bytes(CASES[name], path, other)

    check()


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_such_file_is_refused(name, made):
    path = made(name)
    read = [wrong for wrong, other in WHOLLY_WRONG.items() if try_bytes(CASES[name], path, other)]
    assert not read or name in GROWING, "a half line is what a crash leaves"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("what", ["nothing", "a folder", "a link to itself"])
def test_what_is_not_a_file_is_refused(name, what, tmp_path):
    case = CASES[name]
    path = case.make(tmp_path)
    path.unlink()
    if what == "a folder":
        path.mkdir()
    elif what == "a link to itself":
        path.symlink_to(path)
    begun = name == "checksums" or (name in GROWING and what == "nothing")
    assert begun or not read_or_refuse(case, path)


VERSIONED = [
    *("checksums", "export mark", "index", "run", "trial", "table config", "experiment arm"),
]


DEPTHS = [
    ("translation config", "decoder_stack", "num_layers"),
    ("qa config", "reader", "num_layers"),
    ("labels config", "stack", "num_layers"),
    ("checkpoint config", None, "num_hidden_layers"),
]


@pytest.mark.parametrize(("name", "part", "key"), DEPTHS)
def test_more_layers_than_the_weights_have_are_refused_before_they_are_built(name, part, key, made):
    path = made(name)
    good = path.read_bytes()
    values = json.loads(good)
    (values[part] if part else values)[key] = 2000
    path.write_text(json.dumps(values))
    try:
        with pytest.raises(ValueError, match=f"must hold every layer; got {key} 2000"):
            CASES[name].read(path)
    finally:
        path.write_bytes(good)


def test_layers_that_a_model_only_could_have_are_not_counted(made):
    path = made("checkpoint config")
    values = json.loads(path.read_text()) | {"max_window_layers": 2000}
    assert try_bytes(CASES["checkpoint config"], path, json.dumps(values).encode())


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.5, True])
@pytest.mark.parametrize("name", VERSIONED)
def test_another_version_is_refused_in_words(name, version, made):
    path = made(name)
    values = json.loads(path.read_text())
    assert values["version"] == 1
    other = json.dumps(values | {"version": version}).encode()
    good = path.read_bytes()
    try:
        path.write_bytes(other)
        with pytest.raises(ValueError, match=f"version 1; got .*{version!r}"):
            CASES[name].read(path)
    finally:
        path.write_bytes(good)


JSONS = [
    *("translation config", "qa config", "checkpoint config", "encoder config", "checksums"),
    *("export mark", "index", "index unsummed", "run", "trial", "table config", "experiment arm"),
    "labels config",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", JSONS)
def test_other_values_are_read_rightly_or_refused(name, made):
    path = made(name)

    @SETTINGS
    @hypothesis.given(damaged_json(json.loads(path.read_text())))
    def check(other):
        try_bytes(CASES[name], path, other)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", JSONS)
def test_every_other_value_is_read_rightly_or_refused(name, made):
    path = made(name)
    for other in every_other_value(json.loads(path.read_text())):
        try_bytes(CASES[name], path, other)


ALTERED = {
    "translation config": [{"encoder_stack": 7}, {"decoder_stack": []}],
    "labels config": [
        *({"stack": 7}, {"thresholds": 0.5}, {"thresholds": [0.5]}, {"thresholds": [0, 1, "x"]}),
        *({"thresholds": [0.0, float("nan"), 0.0]}, {"id2label": {"0": "a"}}, {"id2label": [1]}),
        *({"problem_type": "regression"}, {"max_tokens": 0}, {"pretrained": 7}),
    ],
    "export mark": [{"max_length": []}],
    "index": [{"dtype": []}, {"shards": 7}],
    "run": [{"verdicts": [None]}, {"trials": [7]}],
    "trial": [{"metrics": []}, {"metrics": None}, {"train_seconds": "x"}],
}


@pytest.mark.parametrize(("name", "change"), [(n, c) for n, own in ALTERED.items() for c in own])
def test_a_value_of_another_kind_is_refused(name, change, made):
    path = made(name)
    other = json.dumps(json.loads(path.read_text()) | change).encode()
    assert not try_bytes(CASES[name], path, other)


CONTRADICTIONS = {
    "one end": ({"low": None}, "an interval from None to"),
    "turned ends": ({"low": 9.0, "high": -9.0}, r"an interval from 9\.0 to -9\.0"),
    "no difference": ({"difference": None}, "without a difference"),
    "no arm": ({"challenger": "nobody"}, "no arm or metric of the name 'nobody'"),
    "no metric": ({"metric": "nothing"}, "no arm or metric of the name 'nothing'"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_verdict_that_contradicts_itself_is_refused(name):
    change, told = CONTRADICTIONS[name]
    results = example_results()
    results["verdicts"][0] |= change
    with pytest.raises(ValueError, match=told):
        print_results(results, Console(file=io.StringIO()))


def test_an_export_with_other_weights_is_refused_though_they_can_be_read(tmp_path):
    path = export_folder("model.bin")(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1  # a bit of a weight
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"as it was written; got .*model\.bin altered"):
        CTranslate2Engine(path.parent)


def test_a_trial_with_cut_items_is_refused(tmp_path):
    path = run_folder(TRIAL)(tmp_path)
    items = path.with_name("items.safetensors")
    items.write_bytes(items.read_bytes()[:-9])
    assert not read_or_refuse(Readable(run_folder(TRIAL), shows_trials, parent), path)


@pytest.mark.parametrize("note", ["[]", "7", "[" * 100_000, '{"model.safetensors": 4}'])
def test_a_checkpoint_with_a_damaged_note_is_passed_over(tmp_path, note):
    for step, text in ((2, '{"model.safetensors": 3}'), (10, note)):
        place = tmp_path / f"checkpoint-{step}"
        place.mkdir()
        (place / "model.safetensors").write_bytes(b"abc")
        (place / "complete").write_text(text)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
