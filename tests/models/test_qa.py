"""The question-answering model: encoders apart, saved and loaded whole or refused."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering, BertConfig, BertModel

from askew.models import (
    AsymmetricQAConfig,
    AsymmetricQAModel,
    Encoded,
    PretrainedEncoder,
    QAConfig,
    load_qa_model,
    model_fingerprint,
    model_kind,
    read_encoder_config,
    write_checksums,
)
from askew.text import train_tokenizer
from askew.transformer import ReaderConfig, StackConfig

TOKENIZER = train_tokenizer(["where is it"], vocab_size=300)


def plain(**changed):
    sides = {
        "question": StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16),
        "context": StackConfig(d_model=12, num_layers=2, num_heads=2, d_ff=16),
    }
    numbers = {
        "question_vocab": 300,
        "context_vocab": 300,
        "reader": ReaderConfig(d_model=8, num_layers=1, num_heads=2, d_key=4, d_ff=8),
        "d_pool": 6,
        "max_answer_tokens": 3,
        "overlap": 5,
        "max_context_tokens": 20,
    }
    return QAConfig(**{**sides, **numbers, **changed})


def model(seed=0, **pretrained):
    torch.manual_seed(seed)
    return AsymmetricQAModel(AsymmetricQAConfig.from_plain(plain(), **pretrained)).eval()


def batch():
    torch.manual_seed(1)
    questions, contexts = torch.randint(300, (2, 4)), torch.randint(300, (3, 9))
    return {
        "question_ids": questions,
        "question_mask": torch.tensor([[True] * 4, [True, True, False, False]]),
        "context_ids": contexts,
        "context_mask": torch.arange(9) < torch.tensor([[9], [5], [7]]),
        "answer_mask": torch.arange(9) < torch.tensor([[9], [5], [7]]),
        "question_rows": torch.tensor([0, 1, 1]),
        "context_rows": torch.tensor([0, 2, 1]),
    }


def test_pairs_are_what_each_question_and_context_give_alone(device):
    net, inputs = model().to(device), {name: t.to(device) for name, t in batch().items()}
    out = net(**inputs)
    assert out.questions.shape == (2, 6)
    assert out.contexts.shape == (3, 6)
    torch.testing.assert_close(out.contexts.norm(dim=1), torch.ones(3, device=device))
    question = net.encode_questions(inputs["question_ids"][1:, :2])
    context = net.encode_contexts(inputs["context_ids"][2:, :7])
    scores = net.read(question, context)
    torch.testing.assert_close(out.spans[1, :7, :7], scores.spans[0])
    torch.testing.assert_close(out.nothing[1], scores.nothing[0])
    torch.testing.assert_close(out.questions[1], question.vectors[0])
    assert isinstance(question, Encoded)
    assert context.states.shape == (1, 7, 8)
    finite = out.spans.masked_fill(out.spans.isinf(), 0.0)
    (finite.sum() + out.nothing.sum() + out.questions[:, 0].sum() + out.contexts.sum()).backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


def test_nothing_of_a_question_reaches_the_encoder_of_contexts():
    net, inputs = model(), batch()
    context = net.encode_contexts(inputs["context_ids"], inputs["context_mask"])
    asked = {name: t for name, t in inputs.items() if name.startswith("context")}
    again = net(**{**inputs, **asked, "question_ids": inputs["question_ids"].flip(0)})
    assert torch.equal(again.contexts, context.vectors)


def test_answers_are_no_longer_than_the_config_says():
    spans = model()(**batch()).spans[0]
    places = torch.arange(9)
    allowed = (places - places[:, None] >= 0) & (places - places[:, None] < 3)
    assert torch.equal(spans.isfinite(), allowed)


def saved(net, folder):
    net.save_pretrained(folder)
    for name in ("tokenizer.json", "question_tokenizer.json"):
        TOKENIZER.save(str(folder / name))
    write_checksums(folder)
    return folder


def test_saved_and_loaded_it_is_the_same(tmp_path):
    net = model()
    saved(net, tmp_path)
    kind = model_kind(tmp_path)
    assert kind.model_type == "askew-qa" == AutoConfig.from_pretrained(tmp_path).model_type
    for loaded in (
        load_qa_model(tmp_path),
        AutoModelForQuestionAnswering.from_pretrained(tmp_path),
    ):
        assert loaded.config.to_plain() == plain()
        assert torch.equal(loaded.eval()(**batch()).spans, net(**batch()).spans)
    before = model_fingerprint(tmp_path)
    saved(model(seed=2), tmp_path)
    assert model_fingerprint(tmp_path) != before


def test_a_damaged_or_foreign_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"load_qa_model: a model folder holds config\.json"):
        load_qa_model(tmp_path)
    assert model_kind(tmp_path).model_type is None
    saved(model(), tmp_path)
    tokens = (tmp_path / "question_tokenizer.json").read_text()
    (tmp_path / "question_tokenizer.json").write_text(tokens + " ")
    with pytest.raises(ValueError, match=r"question_tokenizer\.json"):
        load_qa_model(tmp_path)
    (tmp_path / "question_tokenizer.json").write_text(tokens)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:-50])
    with pytest.raises(ValueError, match="load_qa_model"):
        load_qa_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    (tmp_path / "checksums.json").unlink()
    with pytest.raises(ValueError, match="must be of an askew-qa model"):
        load_qa_model(tmp_path)
    (tmp_path / "question_tokenizer.json").unlink()
    with pytest.raises(ValueError, match="must be of an askew-qa model; got model_type 'bert'"):
        load_qa_model(tmp_path)


@pytest.fixture
def bert(tmp_path):
    config = BertConfig(
        vocab_size=300,
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_dropout_prob=0.3,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(tmp_path / "bert")
    TOKENIZER.save(str(tmp_path / "bert" / "tokenizer.json"))
    return tmp_path / "bert"


@pytest.mark.parametrize("name", ["question", "context"])
def test_a_text_without_tokens_is_finite_and_leaves_other_rows_their_gradients(name):
    net, inputs = model(), batch()
    inputs[f"{name}_mask"][0] = False  # of the first pair alone
    rows = inputs["question_rows"], inputs["context_rows"]

    def loss(output, kept):
        return output.nothing[kept].sum() + output.spans[kept].exp().sum()

    output = net(**inputs)
    assert output.nothing.isfinite().all()
    assert not any(scores.isnan().any() for scores in output.to_tuple())
    loss(output, slice(1, None)).backward()
    gradients = {
        key: weight.grad.clone()
        for key, weight in net.named_parameters()
        if weight.grad is not None
    }
    net.zero_grad()
    others = {"question_rows": rows[0][1:], "context_rows": rows[1][1:]}
    loss(net(**(inputs | others)), slice(None)).backward()
    for key, weight in net.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(gradients[key], weight.grad)

    inputs[f"{name}_ids"][0] = 7  # what padding holds says nothing
    again = net(**inputs)
    assert torch.equal(again.nothing, output.nothing)
    assert torch.equal(again.spans, output.spans)


def test_an_encoder_of_transformers_reads_as_it_does_itself(bert, tmp_path):
    values = read_encoder_config(bert)
    assert values["hidden_dropout_prob"] == 0.0
    net = model(context_pretrained=values)
    net.context_encoder.read_weights(bert)
    theirs = BertModel.from_pretrained(bert).eval()
    inputs = batch()
    tokens, mask = inputs["context_ids"], inputs["context_mask"]
    expected = theirs(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(net.context_encoder(tokens, mask), expected)
    loaded = load_qa_model(saved(net, tmp_path / "ours"))
    assert torch.equal(loaded.eval()(**inputs).spans, net(**inputs).spans)


def test_frozen_layers_are_the_lowest_with_the_embeddings(bert):
    encoder = model(context_pretrained=read_encoder_config(bert)).context_encoder
    assert isinstance(encoder, PretrainedEncoder)
    encoder.freeze(2)
    free = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert free
    assert all(name.startswith("encoder.encoder.layer.2.") for name in free)
    with pytest.raises(ValueError, match=r"freeze: layers must be in \[0, 3\]; got layers 4"):
        encoder.freeze(4)


SIZES = {
    "vocab_size": 300,
    "hidden_size": 12,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 16,
    "pad_token_id": 0,
}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
FAMILIES = {  # settings, layers with weights of their own, tokens that it reads at once
    "bert": ({"max_position_embeddings": 40}, 3, 40),
    "electra": ({"max_position_embeddings": 40, "embedding_size": 8}, 3, 40),
    "roberta": ({"max_position_embeddings": 41}, 3, 40),
    "mpnet": ({"max_position_embeddings": 41}, 3, 39),
    "distilbert": (
        {"dim": 12, "n_heads": 2, "n_layers": 3, "hidden_dim": 16, "max_position_embeddings": 40},
        3,
        40,
    ),
    "albert": ({"max_position_embeddings": 40, "embedding_size": 8}, 1, 40),
    "modernbert": (SPECIAL, 3, None),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_cut_read_and_frozen_and_says_how_much_it_reads(family, tmp_path):
    settings, depth, longest = FAMILIES[family]
    own = {} if "dim" in settings else SIZES
    config = AutoConfig.for_model(family, **{"vocab_size": 300} | own | settings)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    TOKENIZER.save(str(tmp_path / "tokenizer.json"))

    values = read_encoder_config(tmp_path, dropout=0.25)
    encoder = PretrainedEncoder(values)
    assert values["hidden_size"] == 12
    assert (encoder.width, encoder.depth) == (12, depth)
    rates = {m.p for m in encoder.modules() if isinstance(m, torch.nn.Dropout)}
    assert 0.25 in rates
    assert rates <= {0.0, 0.25}
    encoder.read_weights(tmp_path)
    encoder.freeze(1)
    assert any(p.requires_grad for p in encoder.parameters()) == (depth > 1)
    encoder.check_reads(longest or 500, 300)
    assert encoder.training
    with pytest.raises(ValueError, match=r"every token .* got 301 tokens and 300 embeddings of"):
        encoder.check_reads(longest or 500, 301)
    if longest is not None:
        with pytest.raises(ValueError, match=rf"must read {longest + 1} tokens .* got {family}: "):
            encoder.check_reads(longest + 1, 300)

    low = PretrainedEncoder(read_encoder_config(tmp_path, layers=2))
    assert low.depth == min(2, depth)
    low.read_weights(tmp_path)
    for name, weight in low.encoder.state_dict().items():
        assert torch.equal(weight, encoder.encoder.state_dict()[name])
    for layers in (0, 4):
        with pytest.raises(ValueError, match=rf"layers must be in \[1, 3\]; got layers {layers}"):
            read_encoder_config(tmp_path, layers=layers)


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("t5", "must read 8 tokens at once; got t5"),
        ("clip", "one width, hidden_size; got"),
        ("vit", "must read tokens; got vit"),
        ("wav2vec2", "must read tokens; got wav2vec2"),
        ("reformer", r"a state of 16 numbers; got shape \(1, 8, 32\) of reformer"),
    ],
)
def test_what_is_no_encoder_of_text_alone_is_refused(family, message):
    own = {
        "t5": {"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1},
        "clip": {},
        "vit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        "wav2vec2": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        "reformer": {"hidden_size": 16, "attn_layers": ["local"], "axial_pos_embds": False},
    }
    with pytest.raises(ValueError, match=message):
        PretrainedEncoder({"model_type": family} | own[family]).check_reads(8, 300)


def test_a_folder_that_is_no_encoder_is_refused(bert, tmp_path):
    with pytest.raises(ValueError, match="read_encoder_config: an encoder folder holds"):
        read_encoder_config(tmp_path)
    values = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps(values | {"model_type": "nothing-known"}))
    with pytest.raises(ValueError, match="that transformers knows; got model_type 'nothing"):
        read_encoder_config(bert)


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="d_pool must be positive"):
        plain(d_pool=0)
    with pytest.raises(ValueError, match="max_answer_tokens must be positive and at most overlap"):
        plain(max_answer_tokens=6)


@pytest.mark.parametrize("name", ["num_hidden_layers", "hidden_size", "tie_word_embeddings"])
def test_a_field_that_nothing_reads_is_refused(name):
    with pytest.raises(ValueError, match=rf"must be set in question_stack, .*; got {name}"):
        AsymmetricQAConfig(**{name: 5})
