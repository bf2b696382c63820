"""Whole models: scores per head against a plain computation, stacks, and the page."""

import json
import math
import re

import pytest
import torch
import transformers as hf
from torch import nn

from askew.attention import AsymmetricAttention
from askew.inspection import (
    AttentionPicture,
    AttentionScores,
    Inspection,
    StackShape,
    attention_entropy,
    inspect_model,
    record_attention,
    write_inspection_page,
    write_picture_page,
)

CONFIG = hf.LlamaConfig(
    vocab_size=40,
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=2,
    intermediate_size=64,
)


def naive_symmetry(square):
    symmetric = (square + square.T) / 2
    return 2 * float(symmetric.norm() ** 2 / square.norm() ** 2) - 1


def test_scores_are_those_of_each_head_and_of_their_sum():
    torch.manual_seed(0)
    model = hf.LlamaModel(CONFIG)
    inspection = inspect_model(model)
    for layer, scores in zip(model.layers, inspection.attention, strict=True):
        query = layer.self_attn.q_proj.weight.detach().double().view(6, 8, 48)
        key = layer.self_attn.k_proj.weight.detach().double().view(2, 8, 48)
        squares = [query[h].T @ key[h // 3] for h in range(6)]
        expected = [naive_symmetry(square) for square in squares]
        assert scores.symmetry.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert scores.symmetry_of_sum == pytest.approx(naive_symmetry(sum(squares)), rel=1e-9)
        for square, rank in zip(squares, scores.effective_rank, strict=True):
            values = torch.linalg.svdvals(square)[:8]
            shares = values / values.sum()
            assert math.log(float(rank)) == pytest.approx(-float((shares * shares.log()).sum()))


def test_a_group_that_shares_its_key_head_is_symmetric_only_when_paired_rightly():
    """One query head of each group equals the shared key head: tiling would pair it wrongly."""
    model = hf.LlamaModel(CONFIG)
    with torch.no_grad():
        for layer in model.layers:
            attention = layer.self_attn
            key = attention.k_proj.weight.view(2, 8, 48)
            attention.q_proj.weight.copy_(key.repeat_interleave(3, 0).reshape(48, 48))
    for scores in inspect_model(model).attention:
        assert scores.symmetry.tolist() == pytest.approx([1.0] * 6)
        assert scores.symmetry_of_sum == pytest.approx(1.0)


def test_stacks_share_out_all_parameters_once():
    torch.manual_seed(0)
    config = hf.T5Config(
        vocab_size=40, d_model=24, d_kv=6, num_layers=3, num_decoder_layers=1, num_heads=4, d_ff=32
    )
    model = hf.T5Model(config)
    encoder, decoder, rest = inspect_model(model).stacks
    assert isinstance(encoder, StackShape)
    assert (encoder.name, encoder.depth, encoder.width) == ("encoder.block", 3, 24)
    assert (decoder.name, decoder.depth, decoder.heads) == ("decoder.block", 1, 4)
    total = sum(p.numel() for p in model.parameters())
    assert encoder.parameters == sum(p.numel() for p in model.encoder.block.parameters())
    assert encoder.parameters + decoder.parameters + rest.parameters == total
    assert encoder.share + decoder.share + rest.share == pytest.approx(1.0)
    assert model.shared.weight.numel() <= rest.parameters < model.shared.weight.numel() + 100


def test_a_parameter_of_two_stacks_counts_where_it_comes_first():
    model = nn.Module()
    model.first, model.second = (
        nn.ModuleList([nn.MultiheadAttention(8, 2, bias=False)]) for _ in range(2)
    )
    model.second[0].in_proj_weight = model.first[0].in_proj_weight
    first, second, rest = inspect_model(model).stacks
    assert (first.parameters, second.parameters, rest.parameters) == (4 * 64, 64, 0)


def test_cross_attention_has_a_rank_and_no_symmetry():
    cross = inspect_model(nn.TransformerDecoderLayer(8, 2, 16)).attention[1]
    assert isinstance(cross, AttentionScores)
    assert cross.kind == "cross"
    assert cross.symmetry is None
    assert cross.directionality is None
    assert cross.symmetry_of_sum is None
    assert len(cross.effective_rank) == 2


def test_entropy_is_the_mean_over_texts_of_what_was_seen():
    torch.manual_seed(0)
    layer = AsymmetricAttention(8, num_heads=2, causal=True).eval()
    readings, by_hand = {}, []
    for text, length in (("short", 3), ("long", 6)):
        with torch.no_grad(), record_attention(layer) as seen:
            layer(4 * torch.randn(1, length, 8))
        readings[text] = {name: weights[0] for name, weights in seen.items()}
        causal = torch.ones(length, length).tril().bool()
        by_hand.append(attention_entropy(seen[""][0], causal))
    inspection = inspect_model(layer, readings)
    assert inspection.texts == ("short", "long")
    torch.testing.assert_close(inspection.attention[0].entropy, torch.stack(by_hand).mean(0))
    assert inspect_model(layer).attention[0].entropy is None


def test_plain_values_have_a_version_and_no_nan():
    layer = AsymmetricAttention(8, num_heads=2, qk_norm=False)
    with torch.no_grad():
        layer.query.weight[:4] = 0  # the first head is gone
    inspection = inspect_model(layer)
    plain = json.loads(json.dumps(inspection.to_plain(), allow_nan=False))
    assert isinstance(inspection, Inspection)
    assert plain["version"] == 1
    assert plain["attention"][0]["symmetry"][0] is None
    assert plain["attention"][0]["symmetry"][1] == inspection.attention[0].symmetry[1]


def page_data(path):
    page = path.read_text(encoding="utf-8")
    assert "http" not in page
    assert page.count("</script>") == 1
    return json.loads(re.search(r"const data = (.*);\n", page).group(1))


def test_the_page_holds_every_head_and_needs_no_network(tmp_path):
    torch.manual_seed(0)
    model = hf.LlamaModel(CONFIG)
    inspection = inspect_model(model)
    picture = AttentionPicture("</script>", ["a", "b"], ["c"], torch.ones(1, 1, 2, 1))
    write_inspection_page(inspection, tmp_path / "page.html", [picture])
    data = page_data(tmp_path / "page.html")
    symmetry, directionality, rank = data["grids"]
    assert [grid["title"] for grid in data["grids"]][:2] == ["Symmetry", "Directionality"]
    assert "0.021" in symmetry["lead"]
    assert symmetry["where"] == "layers, self-attention"
    assert symmetry["rows"][1]["cells"] == pytest.approx(
        inspection.attention[1].symmetry.tolist(), abs=1e-4
    )
    assert symmetry["rows"][1]["sum"] == pytest.approx(
        inspection.attention[1].symmetry_of_sum, abs=1e-4
    )
    assert directionality["signed"]
    assert not rank["signed"]
    assert max(rank["rows"][0]["cells"]) <= 1.0
    assert rank["rows"][0]["sum"] is None
    assert [stack["name"] for stack in data["stacks"]] == ["layers", "the rest"]
    assert data["pictures"][0]["title"] == "</script>"
    assert data["pictures"][0]["best"] == [0, 0]


def test_a_page_of_pictures_alone(tmp_path):
    weights = torch.tensor([[[[0.2, 0.8], [0.9, 0.1]]]])
    picture = AttentionPicture("hello", ["x", "y"], ["x", "y"], weights)
    write_picture_page([picture], tmp_path / "page.html", title="Looked", lead="There.")
    data = page_data(tmp_path / "page.html")
    assert (data["title"], data["lead"], data["grids"]) == ("Looked", "There.", [])
    assert data["pictures"][0]["best"] == [1, 0]
    with pytest.raises(ValueError, match="there must be a picture; got none"):
        write_picture_page([], tmp_path / "none.html", title="", lead="")
