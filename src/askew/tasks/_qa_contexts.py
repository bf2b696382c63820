"""Answer every question from its own context, and look how well contexts are found."""

from askew.models import ContextIndex, QuestionAnswerer
from askew.text import QuestionSet
from askew.tradeoffs import Progress


def references(part: QuestionSet) -> list[list[str]]:
    """Give the right answers of every question.

    Args:
        part: Questions.

    Returns:
        The texts of each, none where there is no answer.

    Example:
        >>> from askew.text import Context, Question
        >>> held = [Question("1", "where", 0, ((3, 7),))]
        >>> references(QuestionSet([Context("", "in Rome")], held, []))
        [['Rome']]
    """
    return [part.answer_texts(question) for question in part.questions]


def read_own_contexts(
    answerer: QuestionAnswerer,
    index: ContextIndex,
    part: QuestionSet,
    *,
    progress: Progress | None = None,
) -> tuple[list[str], list[int | None]]:
    """Answer every question from its own context, and rank that context among all.

    Args:
        answerer: The model.
        index: Of the contexts of the set.
        part: The questions.
        progress: Called with questions done and questions in all.

    Returns:
        The best answer to each, "" where the set has unanswerable questions and the model finds
        nothing more likely, and to questions it cannot read; and the 1-based rank of each
        context by the vectors alone.

    Example:
        >>> from askew.models import AsymmetricQAConfig, AsymmetricQAModel
        >>> from askew.text import Context, Question, train_tokenizer
        >>> question = Question("q", "Who?", 0, ((0, 4),))
        >>> part = QuestionSet([Context("a", "Cats sleep.")], [question], [])
        >>> tokenizer = train_tokenizer(["Cats sleep."], vocab_size=300)
        >>> model = AsymmetricQAModel(AsymmetricQAConfig(question_vocab=300, context_vocab=300))
        >>> answerer = QuestionAnswerer(model, tokenizer, tokenizer)
        >>> texts, ranks = read_own_contexts(answerer, answerer.encode(part.contexts), part)
        >>> texts[0] in "Cats sleep.", ranks
        (True, [1])
    """
    may_be_nothing = any(not question.answers for question in part.questions)
    found: list[str] = []
    ranks: list[int | None] = []
    places = [index.row(context) for context in part.contexts]
    for done, question in enumerate(part.questions, 1):
        own = places[question.context]
        if progress is not None:
            progress(done, len(part.questions))
        if not answerer.can_read(question.text):
            found.append("")
            ranks.append(None)
            continue
        best = answerer.answer(question.text, index, contexts=[] if own is None else [own])
        silent = not best or (may_be_nothing and best[0].nothing)
        found.append("" if silent else best[0].text)
        rows = [row for row, _ in answerer.rank(question.text, index)]
        ranks.append(rows.index(own) + 1 if own in rows else None)
    return found, ranks
