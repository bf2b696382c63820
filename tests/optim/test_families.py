"""On the well-known families every parameter is in one part, and steps at its part's rate."""

import re

import pytest
import torch
import transformers
from transformers.models.vit import modeling_vit

from askew.optim import AsymmetricOptimizer, describe, partition_parameters

_TEXT = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 24}  # fmt: skip
_SEQ2SEQ = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
            "max_position_embeddings": 32, "decoder_start_token_id": 1}  # fmt: skip

FAMILIES = {
    "BERT": lambda t: t.BertForSequenceClassification(t.BertConfig(**_BERT, vocab_size=40)),
    "ViT": lambda t: t.ViTForImageClassification(
        t.ViTConfig(**_BERT, image_size=8, patch_size=4, num_labels=3)
    ),
    "GPT-2": lambda t: t.GPT2LMHeadModel(
        t.GPT2Config(**_TEXT, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    ),
    "T5": lambda t: t.T5ForConditionalGeneration(
        t.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
                   decoder_start_token_id=0)
    ),
    "BART": lambda t: t.BartForConditionalGeneration(
        t.BartConfig(**_TEXT, **_SEQ2SEQ, forced_eos_token_id=2)
    ),
    "Marian": lambda t: t.MarianMTModel(
        t.MarianConfig(**_TEXT, **_SEQ2SEQ, forced_eos_token_id=2, decoder_vocab_size=40)
    ),
    "Whisper": lambda t: t.WhisperForConditionalGeneration(
        t.WhisperConfig(
            **_TEXT, **{k: v for k, v in _SEQ2SEQ.items() if k != "max_position_embeddings"},
            num_mel_bins=8, max_source_positions=16, max_target_positions=16,
        )
    ),
    "Llama": lambda t: t.LlamaForCausalLM(
        t.LlamaConfig(**_TEXT, **_BERT, num_key_value_heads=1)
    ),
}  # fmt: skip
SEED = {
    "encoder": "**.encoder.**",
    "decoder": "**.decoder.**",
    "head": ["**.head.**", "**.lm_head.**", "**.classifier.**"],
}
# What the three names are called in each family, as paths. transformers 5.0 has one of ViT's more.
_VIT_ENCODER = "vit.encoder" if hasattr(modeling_vit, "ViTEncoder") else "vit.layers"
PATHS = {
    "BERT": {"encoder": "bert.encoder", "head": "classifier"},
    "ViT": {"encoder": _VIT_ENCODER, "head": "classifier"},
    "GPT-2": {"decoder": "transformer.h", "head": "lm_head"},
    "T5": {"encoder": "encoder", "decoder": "decoder"},
    "BART": {"encoder": "model.encoder", "decoder": "model.decoder"},
    "Marian": {"encoder": "model.encoder", "decoder": "model.decoder"},
    "Whisper": {"encoder": "model.encoder", "decoder": "model.decoder"},
    "Llama": {"decoder": "model.layers", "head": "lm_head"},
}
RATES = {"encoder": 1e-4, "decoder": 1e-3, "head": 1e-2, "rest": 3e-3}

each_family = pytest.mark.parametrize("family", FAMILIES)


def build(family):
    torch.manual_seed(0)
    return FAMILIES[family](transformers)


def check_exact(model, parts):
    held = [id(parameter) for members in parts.values() for _, parameter in members]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in model.parameters() if p.requires_grad}


@each_family
def test_three_names_partition_or_the_error_names_what_is_left(family):
    model = build(family)
    try:
        parts = partition_parameters(model, SEED)
    except ValueError as error:
        message = str(error)
        match = re.search(r"needs one part; (\d+) have none: (.*)\. Add a rule", message)
        assert match or "every rule must match a trainable parameter; got part" in message
        if match:
            shown = match[2].split(" and ")[0].split(", ")
            for name in (re.sub(r"(\.\*\*)? \(\d+\)$", "", one) for one in shown):
                assert any(n.startswith(name) for n, _ in model.named_parameters()), name
    else:
        check_exact(model, parts)


@each_family
def test_with_rest_every_parameter_is_in_exactly_one_part(family):
    model = build(family)
    parts = partition_parameters(model, PATHS[family], rest="rest")
    check_exact(model, parts)
    for part, path in PATHS[family].items():
        assert parts[part], path
    frozen = next(iter(PATHS[family].values()))
    module = model.get_submodule(frozen)
    module.requires_grad_(False)
    kept = {part: rule for part, rule in PATHS[family].items() if rule != frozen}
    check_exact(model, partition_parameters(model, kept, rest="rest"))


@each_family
def test_the_first_step_of_every_parameter_has_the_size_of_its_part(family):
    model = build(family)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    parts = {part: {"where": path, "lr": RATES[part]} for part, path in PATHS[family].items()} | {
        "rest": RATES["rest"]
    }
    optimizer = AsymmetricOptimizer(
        model, parts, rest="rest", settings={"weight_decay": 0.0, "eps": 1e-12}
    )
    for p in model.parameters():
        p.grad = torch.randn_like(p) if p.requires_grad else None
    optimizer.step()
    now = dict(model.named_parameters())
    rate = {names[0]: row.lr for row in describe(optimizer).rows for names in row.names}
    assert set(rate) == {name for name, p in now.items() if p.requires_grad}
    for name, lr in rate.items():
        moved = (now[name].detach() - before[name]).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, lr), rtol=2e-2, atol=3e-7)


@pytest.mark.parametrize(("family", "names"), [
    ("T5", {"shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
            "lm_head.weight"}),
    ("BART", {"model.shared.weight", "model.encoder.embed_tokens.weight",
              "model.decoder.embed_tokens.weight", "lm_head.weight"}),
    ("GPT-2", {"transformer.wte.weight", "lm_head.weight"}),
])  # fmt: skip
def test_a_tied_table_is_in_one_part_and_described_by_all_its_names(family, names):
    model = build(family)
    optimizer = AsymmetricOptimizer(model, {"**": 0.1})
    tied = [set(held) for row in describe(optimizer).rows for held in row.names if len(held) > 1]
    assert tied == [names]


def test_the_names_of_the_sketch_miss_llama_altogether():
    model = build("Llama")
    with pytest.raises(ValueError, match=r"got part 'encoder': '\*\*.encoder.\*\*'"):
        partition_parameters(model, SEED)
    with pytest.raises(ValueError, match=r"(?s)got part 'encoder', .*model\.\*\* \(\d+\)"):
        partition_parameters(model, {"encoder": "encoder", "norm": "model.norms"})
