"""Scores of a question-answering model of transformers, token by token of the context."""

import pytest
import torch
from small_answerer import answerer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from askew.models import PairScores, SpanTeacher

WORDS = ["<pad>", "<s>", "</s>", "?", *"abcdefgh"]
SMALL = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
LENGTHS = {"vocab_size": len(WORDS), "max_position_embeddings": 34}


def tokenizer(kinds=True):
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    second = 1 if kinds else 0
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair=f"<s> $A </s> $B:{second} </s>:{second}",
        special_tokens=[("<s>", 1), ("</s>", 2)],
    )
    return made


def bert(**more):
    return BertConfig(**SMALL, **LENGTHS, intermediate_size=16, **more)


MODELS = {
    "bert": lambda: BertForQuestionAnswering(bert()),
    "roberta": lambda: RobertaForQuestionAnswering(
        RobertaConfig(**SMALL, **LENGTHS, intermediate_size=16, type_vocab_size=1, pad_token_id=0)
    ),
    "distilbert": lambda: DistilBertForQuestionAnswering(
        DistilBertConfig(dim=16, n_heads=2, n_layers=2, hidden_dim=16, **LENGTHS)
    ),
}


def saved(folder, model, **kinds):
    model.save_pretrained(folder)
    tokenizer(**kinds).save(str(folder / "tokenizer.json"))
    return folder


def plain(model, question, context, start=0):
    """Scores of one window, as a call of transformers gives them, relative to the first token."""
    ids = [1, *(WORDS.index(w) for w in question), 2, *(WORDS.index(w) for w in context), 2]
    kinds = [0] * (len(question) + 2) + [1] * (len(context) + 1)
    inputs = {"input_ids": torch.tensor([ids])}
    if model.config.model_type == "bert":
        inputs["token_type_ids"] = torch.tensor([kinds])
    with torch.no_grad():
        output = model.eval()(**inputs)
    both = torch.stack([output.start_logits[0], output.end_logits[0]])
    first = len(question) + 2
    return (both - both[:, :1])[:, first : first + len(context)]


@pytest.mark.parametrize("kind", MODELS)
def test_scores_are_those_of_the_model_whatever_is_read_beside(kind, tmp_path):
    torch.manual_seed(0)
    model = MODELS[kind]()
    teacher = SpanTeacher.from_pretrained(saved(tmp_path, model, kinds=kind == "bert"))
    asked = [("a b", "c d e"), ("a", "h g  f e d c b a"), ("a b c d", "e")]
    found = teacher.read(*zip(*asked, strict=True))
    for (question, context), scores in zip(asked, found, strict=True):
        assert isinstance(scores, PairScores)
        expected = plain(model, question.split(), context.split())
        torch.testing.assert_close(scores.scores, expected, atol=1e-5, rtol=1e-5)
        spans = scores.places.T.tolist()
        assert [context[a:b] for a, b in spans] == context.split()
    assert teacher.read(["a"], [""])[0].scores.shape == (2, 0)


def test_of_a_token_in_several_windows_the_highest_score_counts(tmp_path):
    torch.manual_seed(0)
    model = MODELS["bert"]()
    teacher = SpanTeacher(model, tokenizer())
    assert teacher.longest == 32
    context = ("a b c d e f g h " * 6).split()
    found = teacher.read(["a b"], [" ".join(context)])[0].scores
    size, step = 32 - 5, 32 - 5 - 10
    expected = torch.full((2, len(context)), -torch.inf)
    start = 0
    while True:
        window = context[start : start + size]
        own = plain(model, ["a", "b"], window)
        held = expected[:, start : start + size]
        expected[:, start : start + size] = torch.maximum(held, own)
        if start + size >= len(context):
            break
        start += step
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_of_a_long_question_the_beginning_is_read():
    torch.manual_seed(0)
    teacher = SpanTeacher(MODELS["bert"](), tokenizer())
    many = "a b c d e f g h a b c d"
    cut, whole = (teacher.read([text], ["c d e"])[0].scores for text in (many[:15], many))
    torch.testing.assert_close(cut, whole)


def test_what_is_no_extractive_model_is_refused_in_one_line(tmp_path, capfd):
    encoder = saved(tmp_path / "encoder", BertModel(bert()))
    labels = saved(tmp_path / "labels", BertForSequenceClassification(bert()))
    three = saved(tmp_path / "three", BertForQuestionAnswering(bert(num_labels=3)))
    ours = tmp_path / "ours"
    made = answerer()
    made.model.save_pretrained(ours)
    made.context_tokenizer.tokenizer.save(str(ours / "tokenizer.json"))
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    other = saved(tmp_path / "other", MODELS["bert"]())
    more = Tokenizer(models.WordLevel({"?": 0, "far": 99}, unk_token="?"))
    more.save(str(other / "tokenizer.json"))
    capfd.readouterr()
    for folder, fault in (
        (encoder, "no qa_outputs.bias, qa_outputs.weight"),
        (labels, "no qa_outputs.bias, qa_outputs.weight"),
        (three, ""),
        (ours, ""),
        (nothing, "must hold a config.json"),
        (other, "must know every token"),
    ):
        with pytest.raises(ValueError, match=r"SpanTeacher\.from_pretrained: ") as raised:
            SpanTeacher.from_pretrained(folder)
        message = str(raised.value)
        assert str(folder) in message
        assert fault in message
        assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_a_model_that_transformers_saved_with_its_pooler_is_read(tmp_path):
    torch.manual_seed(0)
    model = MODELS["bert"]()
    folder = saved(tmp_path, model)
    again = AutoModelForQuestionAnswering.from_pretrained(folder)
    torch.testing.assert_close(
        SpanTeacher(again, tokenizer()).read(["a"], ["b c"])[0].scores,
        SpanTeacher.from_pretrained(folder).read(["a"], ["b c"])[0].scores,
    )
