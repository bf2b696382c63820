"""The table of applications: a new application is one more row."""

from askew.tasks import _qa_application as qa
from askew.tasks import _table_application as table
from askew.tasks import _text_label_application as labels
from askew.tasks import _translation_application as translation
from askew.tasks._application import Application
from askew.tasks._text_label_scoring import SCORING as LABEL_SCORING

APPLICATIONS = {
    "translation": Application(
        name="translation",
        unit="pairs",
        help="Translation of sentences, by default of dates, prices and names (Unicode CLDR).",
        options=translation.TranslationComparison,
        make_task=translation.make_task,
        make_arms=translation.make_arms,
        budget=translation.budget,
        space=translation.space,
        make_starts=translation.make_starts,
        search_budget=translation.search_budget,
        search_training={"schedule": "wsd"},  # better in few steps, see docs/evidence.md
        left_out=translation.left_out,
        notes=translation.notes,
        teach=translation.teach,
        train=translation.TRAINING,
        evaluate=translation.SCORING,
    ),
    "qa": Application(
        name="qa",
        unit="questions",
        help="Answers to questions, as spans of contexts that are encoded once.",
        options=qa.QAComparison,
        make_task=qa.make_task,
        make_arms=qa.make_arms,
        budget=qa.budget,
        space=qa.space,
        left_out=qa.left_out,
        notes=qa.notes,
        teach=qa.teach,
        train=qa.TRAINING,
        evaluate=qa.SCORING,
    ),
    "labels": Application(
        name="labels",
        unit="texts",
        help="Labels of texts, by default the language and kind of dates, prices and names.",
        options=labels.LabelTextComparison,
        make_task=labels.make_task,
        make_arms=labels.make_arms,
        budget=labels.budget,
        space=labels.space,
        notes=labels.notes,
        train=labels.TRAINING,
        evaluate=LABEL_SCORING,
    ),
    "multilabel": Application(
        name="multilabel",
        unit="rows",
        help="Several labels of the rows of a table, by default of Yeast.",
        options=table.LabelComparison,
        make_task=table.make_multilabel_task,
        make_arms=table.make_label_arms,
        budget=table.budget,
        notes=table.notes,
        space=table.label_space,
    ),
    "imbalanced": Application(
        name="imbalanced",
        unit="rows",
        help="One rare label of the rows of a table, by default of digits.",
        options=table.LabelComparison,
        make_task=table.make_imbalanced_task,
        make_arms=table.make_label_arms,
        budget=table.budget,
        notes=table.notes,
        space=table.label_space,
    ),
    "retrieval": Application(
        name="retrieval",
        unit="rows",
        help="Rows of the same class found by their embeddings, of classes never seen.",
        options=table.RetrievalComparison,
        make_task=table.make_retrieval_task,
        make_arms=table.make_retrieval_arms,
        budget=table.budget,
        space=table.retrieval_space,
    ),
}
"""The applications, by their names on the command line."""
