"""A table of tokens in place of a large encoder: what it learns, keeps and refuses."""

import json

import pytest
import torch
import torch.nn.functional as F
from small_encoder import save_encoder

from askew.models import ContextIndex, FusedSearch, PassageEncoder, StaticEncoder
from askew.models._token_table import TokenBags, fit_table, nearer
from askew.text import Context

TEXTS = ["where is the red house", "ben lives in oslo", "anna or ben", "blue tree", "the tree"]
DOCUMENTS = [Context("rome", "anna lives in rome"), Context("oslo", "ben lives in oslo")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def teacher(folder):
    return PassageEncoder.from_pretrained(folder)


@pytest.fixture(scope="module")
def small(teacher):
    return StaticEncoder.distil(teacher, TEXTS)


def bags(count, draw):
    return [torch.randint(0, 20, (n % 7 + 1,), generator=draw).tolist() for n in range(count)]


def directions(table, texts):
    return F.normalize(torch.stack([table[text].sum(0) for text in texts]), dim=1)


def test_a_teacher_that_is_a_bag_of_tokens_is_recovered_to_1e_4():
    draw = torch.Generator().manual_seed(0)
    true = torch.randn(30, 5, generator=draw)
    start = true + 0.5 * torch.randn(30, 5, generator=draw)
    texts = bags(300, draw)
    found = fit_table(texts, directions(true, texts), start, ridge=1e-6)
    others = bags(100, draw)
    expected = directions(true, others)
    assert (directions(start, others) - expected).abs().max() > 0.1
    torch.testing.assert_close(directions(found, others), expected, atol=1e-4, rtol=0)
    ratio = found[20:] / start[20:]  # tokens in no text stay, on the scale of the others
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio))


def test_for_given_lengths_the_table_is_that_of_the_linear_equations():
    draw = torch.Generator().manual_seed(1)
    texts, ridge = bags(40, draw), 0.3
    wanted, began = torch.randn(40, 4, generator=draw), torch.randn(20, 4, generator=draw)
    matrix = torch.stack([torch.bincount(torch.tensor(t), minlength=20) / len(t) for t in texts])
    assert (matrix.sum(0) > 0).all()
    right = matrix.T @ wanted + ridge * began
    expected = torch.linalg.solve(matrix.T @ matrix + ridge * torch.eye(20), right)
    found = began
    for _ in range(8):
        found = nearer(TokenBags(texts), wanted, began, found, ridge)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_states_are_those_of_the_tokens_in_the_texts_and_alone(teacher, small):
    token = teacher.tokens("tree")[:1]
    alone = next(teacher.encode_tokens([token])).states[0]
    seen = [
        state
        for text in TEXTS
        for number, state in zip(teacher.tokens(text), teacher.question(text).states, strict=True)
        if number == token[0]
    ]
    expected = torch.stack([alone, *seen]).mean(0)
    assert len(seen) >= 1
    torch.testing.assert_close(small.question("tree").states[0], expected, atol=1e-3, rtol=0)


def test_texts_that_were_learned_come_near_the_vectors_of_the_teacher(teacher, small):
    near = [float(small.question(t).vector @ teacher.question(t).vector) for t in TEXTS]
    assert min(near) > 0.8
    other = StaticEncoder.distil(teacher, ["a house"])
    apart = [float(other.question(t).vector @ teacher.question(t).vector) for t in TEXTS]
    assert sum(near) > sum(apart) + 0.1


def test_a_question_is_the_direction_of_the_sum_of_its_rows(small):
    numbers = small.tokens("ben lives in oslo")
    total = sum(small.vectors[number].float() for number in numbers)
    question = small.question(" ben lives in oslo ")
    torch.testing.assert_close(question.vector, total / total.norm())
    torch.testing.assert_close(question.states, small.states[numbers].float())


def test_what_is_saved_is_what_is_loaded(small, tmp_path):
    small.save(tmp_path / "static")
    loaded = StaticEncoder.load(tmp_path / "static", fingerprint=small.fingerprint)
    assert torch.equal(loaded.vectors, small.vectors)
    assert torch.equal(loaded.states, small.states)
    assert loaded.max_tokens == small.max_tokens == 64
    for text in (*TEXTS, "[CLS] </s> <s>", "", "x" * 99):
        one, other = small.question(text), loaded.question(text)
        assert torch.equal(one.vector, other.vector)
        assert torch.equal(one.states, other.states)
    small.save(tmp_path / "static")  # again, over itself
    assert {path.name for path in (tmp_path / "static").iterdir()} == {
        "static.json",
        "tables.safetensors",
        "tokenizer.json",
    }


def test_an_index_is_searched_without_the_large_encoder(teacher, small, tmp_path):
    index = teacher.encode(DOCUMENTS, dtype="float32")
    search = FusedSearch(index, small)
    assert search.search("who lives in oslo", top=1)[0].text == "ben lives in oslo"
    assert search.search(" ") == []
    proposed = search.propose("zebra")
    expected = (index.vectors @ small.question("zebra").vector).tolist()
    assert proposed.by_vectors.tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"FusedSearch: the index must be of this enc"):
        FusedSearch(ContextIndex("1" * 64), small)


def test_a_blank_question_has_no_state(small):
    question = small.question("  ")
    assert question.states.shape == (0, 12)
    assert question.vector.tolist() == [0.0] * 12


@pytest.mark.parametrize("name", ["tables.safetensors", "tokenizer.json"])
def test_altered_files_are_refused(small, tmp_path, name):
    small.save(tmp_path)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(ValueError, match=rf"{name} missing or altered"):
        StaticEncoder.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=rf"{name} missing or altered"):
        StaticEncoder.load(tmp_path)


def test_a_manifest_that_is_none_is_refused(small, tmp_path):
    small.save(tmp_path)
    values = json.loads((tmp_path / "static.json").read_text())
    for changed, message in (
        ({**values, "version": 2}, "must be of version 1"),
        ({**values, "sha256": 3}, "missing or altered"),
        ({**values, "max_tokens": "many"}, "must be what StaticEncoder.save wrote"),
    ):
        (tmp_path / "static.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=message):
            StaticEncoder.load(tmp_path)
    (tmp_path / "static.json").unlink()
    with pytest.raises(ValueError, match=r"must hold static\.json"):
        StaticEncoder.load(tmp_path)


def test_what_cannot_be_learned_from_or_does_not_fit_is_refused(teacher, small, tmp_path):
    for texts in ([], ["", "  \n"]):
        with pytest.raises(ValueError, match=rf"must be texts to learn from; got {len(texts)}"):
            StaticEncoder.distil(teacher, texts)
    with pytest.raises(TypeError, match="texts must be a"):
        StaticEncoder.distil(teacher, "one text")
    with pytest.raises(ValueError, match="without lone surrogates"):
        StaticEncoder.distil(teacher, ["\ud800"])
    with pytest.raises(ValueError, match="ridge must be positive; got ridge 0"):
        StaticEncoder.distil(teacher, TEXTS, ridge=0)
    tables = (small.vectors[:-1], small.states[:-1])
    tokenizer = teacher.tokenizer
    with pytest.raises(ValueError, match=r"a row for every token .* 305 tokens"):
        StaticEncoder(*tables, tokenizer, max_tokens=64, fingerprint="0" * 64)
    with pytest.raises(ValueError, match="max_tokens must be positive; got 0"):
        StaticEncoder(small.vectors, small.states, tokenizer, max_tokens=0, fingerprint="0" * 64)
    small.save(tmp_path)
    with pytest.raises(ValueError, match="must be of the encoder of the documents"):
        StaticEncoder.load(tmp_path, fingerprint="1" * 64)
