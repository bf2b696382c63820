"""Some layers of an encoder in place of all: what they keep, learn and refuse."""

import json

import pytest
import torch
from small_encoder import save_encoder
from transformers import AlbertConfig, BertConfig, ModernBertConfig

from askew.models import FusedSearch, PassageEncoder, PretrainedEncoder, StudentEncoder
from askew.text import Context
from askew.training import distil_questions

TEXTS = ["where is the red house", "ben lives in oslo", "anna or ben", "blue tree", "the tree"]
SMALL = {
    "vocab_size": 50,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 4,
    "intermediate_size": 8,
}
DOCUMENTS = [Context("rome", "anna lives in rome"), Context("oslo", "ben lives in oslo")]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = save_encoder(tmp_path_factory.mktemp("encoder"))
    return PassageEncoder.from_pretrained(folder)


@pytest.fixture(scope="module")
def deep(teacher):
    """A teacher whose layers change much."""
    torch.manual_seed(0)
    config = BertConfig(**SMALL | {"vocab_size": 330}, initializer_range=0.4)
    return PassageEncoder(PretrainedEncoder(config), teacher.tokenizer, fingerprint="2" * 64)


@pytest.fixture(scope="module")
def student(teacher):
    return distil_questions(teacher, TEXTS, layers=1, steps=2)


def test_all_layers_are_the_encoder_itself(teacher):
    whole = StudentEncoder.cut(teacher, 2)
    for text in TEXTS:
        one, other = whole.question(text), teacher.question(text)
        assert torch.equal(one.states, other.states)
        assert torch.equal(one.vector, other.vector)


@pytest.mark.parametrize(("keep", "layer"), [("first", 0), ("last", 1), ([1], 1), ("spread", 0)])
def test_the_layers_that_are_kept_are_those_asked_for_and_copies(teacher, keep, layer):
    cut = StudentEncoder.cut(teacher, 1, keep=keep).reader.encoder.encoder
    whole = teacher.encoder.encoder
    for name, weight in whole.encoder.layer[layer].state_dict().items():
        own = cut.encoder.layer[0].state_dict()[name]
        assert torch.equal(own, weight)
        assert own.data_ptr() != weight.data_ptr()
    assert torch.equal(
        cut.embeddings.word_embeddings.weight, whole.embeddings.word_embeddings.weight
    )
    assert (cut.config.num_hidden_layers, whole.config.num_hidden_layers) == (1, 2)


def states(encoder, tokens):
    with torch.no_grad():
        return encoder.eval()(tokens)


def test_layers_that_share_their_weights_are_run_less_often():
    encoder = PretrainedEncoder(AlbertConfig(**SMALL, embedding_size=4))
    tokens = torch.arange(9).unsqueeze(0)
    kept = encoder.keep([0, 3])
    assert kept.encoder.config.num_hidden_layers == 2
    assert not torch.equal(states(kept, tokens), states(encoder, tokens))
    assert torch.equal(states(encoder.keep([0, 1, 2, 3]), tokens), states(encoder, tokens))


def test_kinds_of_layers_follow_and_what_only_the_first_has_cannot_move():
    config = ModernBertConfig(**SMALL, pad_token_id=0, global_attn_every_n_layers=3)
    encoder = PretrainedEncoder(config)
    kinds = encoder.encoder.config.layer_types
    assert encoder.keep([0, 2, 3]).encoder.config.layer_types == [kinds[n] for n in (0, 2, 3)]
    with pytest.raises(ValueError, match=r"got layers \[1\], which leave no place for .*attn_norm"):
        encoder.keep([1])


def test_what_it_learned_is_nearer_to_the_encoder(deep):
    def apart(encoder):
        pairs = [(encoder.question(text), deep.question(text)) for text in TEXTS]
        vectors = sum(float((a.vector - b.vector).square().sum()) for a, b in pairs)
        tokens = sum(float((a.states - b.states).square().sum(1).mean()) for a, b in pairs)
        return vectors, tokens

    raw_vectors, raw_tokens = apart(StudentEncoder.cut(deep, 1))
    vectors, tokens = apart(distil_questions(deep, TEXTS, layers=1, steps=80, lr=3e-2))
    assert vectors < 0.5 * raw_vectors
    assert tokens < 0.5 * raw_tokens


def test_the_distance_is_that_of_the_formula(deep):
    from askew.training._question_students import _distance

    raw = StudentEncoder.cut(deep, 1)
    texts = TEXTS[:3]
    tokens = [deep.tokens(text) for text in texts]
    lessons = list(deep.encode_tokens(tokens))
    expected = 0.0
    for text, lesson in zip(texts, lessons, strict=True):
        made = raw.question(text)
        expected += float((made.vector - lesson.vector).square().sum())
        squares = [
            float((a - b).square().sum()) for a, b in zip(made.states, lesson.states, strict=True)
        ]
        expected += sum(squares) / len(squares)
    found = float(_distance(raw, tokens, lessons).detach())
    assert found == pytest.approx(expected / 3, rel=1e-4)


def test_the_same_seed_learns_the_same_and_the_teacher_stays(teacher):
    before = {name: w.clone() for name, w in teacher.encoder.state_dict().items()}
    texts = [f"{number} trees" for number in range(300)]
    one, same, other = (
        distil_questions(teacher, texts, layers=1, steps=4, seed=seed) for seed in (3, 3, 4)
    )
    found = [one.question("blue"), same.question("blue"), other.question("blue")]
    assert torch.equal(found[0].vector, found[1].vector)
    assert not torch.equal(found[0].vector, found[2].vector)
    assert one.fingerprint == teacher.fingerprint
    assert all(torch.equal(w, before[name]) for name, w in teacher.encoder.state_dict().items())


def test_progress_ends_at_its_total(teacher):
    seen = []
    distil_questions(teacher, TEXTS, layers=1, steps=3, progress=lambda *one: seen.append(one))
    assert seen[-1] == (5 + 3 * 32, 5 + 3 * 32)
    assert seen == sorted(seen)


def test_what_is_saved_is_what_is_loaded(student, tmp_path):
    student.save(tmp_path / "student")
    loaded = StudentEncoder.load(tmp_path / "student", fingerprint=student.fingerprint)
    for text in (*TEXTS, "[CLS] </s> <s>", "", "x" * 99):
        one, other = student.question(text), loaded.question(text)
        assert torch.equal(one.vector, other.vector)
        assert torch.equal(one.states, other.states)
    student.save(tmp_path / "student")  # again, over itself
    assert sorted(path.name for path in (tmp_path / "student").iterdir()) == [
        *("config.json", "model.safetensors", "student.json", "tokenizer.json")
    ]


def test_an_index_is_searched_by_it(teacher, student):
    index = teacher.encode(DOCUMENTS, dtype="float32")
    search = FusedSearch(index, student)
    assert search.search("who lives in oslo", top=1)[0].text == "ben lives in oslo"
    expected = (index.vectors @ student.question("zebra").vector).tolist()
    assert search.propose("zebra").by_vectors.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_altered_files_are_refused(student, tmp_path, name):
    student.save(tmp_path)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(ValueError, match=rf"{name} missing or altered"):
        StudentEncoder.load(tmp_path)


def test_what_does_not_fit_is_refused(teacher, student, tmp_path):
    for layers in (0, 3):
        with pytest.raises(ValueError, match=rf"layers must be in \[1, 2\], .* layers {layers}"):
            StudentEncoder.cut(teacher, layers)
    with pytest.raises(ValueError, match="keep must hold 1 different layers"):
        StudentEncoder.cut(teacher, 1, keep=[5])
    for texts in ([], ["", "  \n"]):
        with pytest.raises(ValueError, match=rf"must be texts to learn from; got {len(texts)}"):
            distil_questions(teacher, texts, layers=1)
    with pytest.raises(TypeError, match="texts must be a"):
        distil_questions(teacher, "one text", layers=1)
    with pytest.raises(ValueError, match="without lone surrogates"):
        distil_questions(teacher, ["\ud800"], layers=1)
    with pytest.raises(ValueError, match=r"must be positive; got steps 0, lr 0\.001"):
        distil_questions(teacher, TEXTS, layers=1, steps=0)
    student.save(tmp_path)
    with pytest.raises(ValueError, match="must be of the encoder of the documents"):
        StudentEncoder.load(tmp_path, fingerprint="1" * 64)
    values = json.loads((tmp_path / "student.json").read_text())
    (tmp_path / "student.json").write_text(json.dumps({**values, "version": 2}))
    with pytest.raises(ValueError, match="must be of version 1"):
        StudentEncoder.load(tmp_path)
    (tmp_path / "student.json").unlink()
    with pytest.raises(ValueError, match=r"must hold student\.json"):
        StudentEncoder.load(tmp_path)
