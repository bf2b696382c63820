"""Models of transformers become ours, say the same, and go back."""

import copy

import pytest
import torch
from families import small_model
from torch import nn
from transformers import BertConfig, BertModel, MarianConfig, MarianMTModel

from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel, shrink
from askew.transformer import EncoderDecoderConfig, PositionConfig, StackConfig, parameter_count

NAMES = ["Bart", "Blenderbot", "M2M100", "MBart", "Marian", "Pegasus"]
convert = AsymmetricTranslationModel.from_transformers


def model_of(name):
    model = small_model(name)
    generator = torch.Generator().manual_seed(1)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.normal_(generator=generator)
    return model


def inputs(model, *, length=12):
    """Return three sources, two of them padded, and their targets."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(3, 64, (3, length), generator=generator)
    mask = (torch.arange(length) < torch.tensor([[length], [7], [3]])).long()
    tokens = tokens.masked_fill(mask == 0, model.config.pad_token_id)
    target = torch.randint(3, 64, (3, 9), generator=generator)
    return {"input_ids": tokens, "attention_mask": mask, "decoder_input_ids": target}


@torch.no_grad()
def logits(model, given):
    return model(**given).logits


def answers(model, given, **settings):
    source = {name: given[name] for name in ("input_ids", "attention_mask")}
    start = {"decoder_start_token_id": 2}  # mBART starts with a language
    limits = {"max_new_tokens": 10, "min_new_tokens": 4, "do_sample": False}
    return model.generate(**source, **limits, **start, **settings)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_the_model_says(name):
    theirs = model_of(name)
    ours = convert(theirs)
    given = inputs(theirs)
    torch.testing.assert_close(logits(ours, given), logits(theirs, given), rtol=0, atol=1e-5)
    for beams in (1, 3):
        expected = answers(theirs, given, num_beams=beams)
        assert torch.equal(answers(ours, given, num_beams=beams), expected)
        assert torch.equal(answers(ours, given, num_beams=beams, use_cache=False), expected)
    assert not {p.data_ptr() for p in ours.parameters()} & {
        p.data_ptr() for p in theirs.parameters()
    }
    counted = sum(weight.numel() for weight in ours.parameters())
    assert parameter_count(ours.config.to_plain()).total == counted


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_back(name):
    theirs = model_of(name)
    back = convert(theirs).to_transformers()
    assert type(back) is type(theirs)
    expected = theirs.state_dict()
    assert back.state_dict().keys() == expected.keys()
    for key, weight in back.state_dict().items():
        assert torch.equal(weight, expected[key]), key
    given = inputs(theirs)
    assert torch.equal(logits(back, given), logits(theirs, given))
    assert back.lm_head.weight is back.model.encoder.embed_tokens.weight
    assert back.config.max_position_embeddings == theirs.config.max_position_embeddings
    assert back.generation_config.to_dict() == theirs.generation_config.to_dict()


@pytest.mark.parametrize("name", ["Bart", "M2M100", "Marian"])
def test_it_is_saved_and_loaded_and_its_sizes_go_on(name, tmp_path):
    theirs = model_of(name)
    theirs.generation_config.forced_bos_token_id = 7
    ours = convert(theirs.train().half())
    assert ours.training
    assert ours.dtype == torch.float16
    assert ours.generation_config.forced_bos_token_id == 7
    ours.save_pretrained(tmp_path)
    loaded, report = AsymmetricTranslationModel.from_pretrained(
        tmp_path, output_loading_info=True, dtype=torch.float32
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    given = inputs(theirs)
    ours, loaded = ours.float().eval(), loaded.eval()
    assert torch.equal(logits(loaded, given), logits(ours, given))
    assert torch.equal(answers(loaded, given), answers(ours, given))
    student = shrink(loaded, decoder_layers=1)
    assert student.config.decoder_layers == 1
    assert torch.isfinite(logits(student, given)).all()


def marian(**settings):
    sizes = {"d_model": 16, "encoder_ffn_dim": 12, "decoder_ffn_dim": 20, "vocab_size": 64}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 4}
    depths = {"encoder_layers": 2, "decoder_layers": 1}
    torch.manual_seed(0)
    config = MarianConfig(**sizes, **heads, **depths, **{"pad_token_id": 63} | settings)
    return MarianMTModel(config).eval()


@pytest.mark.parametrize("activation", ["relu", "gelu", "swish", "silu"])
@pytest.mark.parametrize("scaled", [True, False])
def test_settings_of_marian_are_kept(activation, scaled):
    rates = {"dropout": 0.25, "attention_dropout": 0.125, "activation_dropout": 0.0625}
    theirs = marian(activation_function=activation, scale_embedding=scaled, **rates)
    ours = convert(theirs)
    given = inputs(theirs)
    torch.testing.assert_close(logits(ours, given), logits(theirs, given), rtol=0, atol=1e-5)
    side = ours.config.to_plain().decoder
    kept = side.dropout, side.attention_dropout, side.feed_forward_dropout
    assert kept == tuple(rates.values())
    assert torch.equal(logits(ours.to_transformers(), given), logits(ours, given))


def test_long_positions_are_those_of_marian_to_the_last_digit():
    theirs = marian(max_position_embeddings=1024)
    given = inputs(theirs, length=900)
    assert torch.equal(logits(convert(theirs), given), logits(theirs, given))


@pytest.mark.parametrize(
    ("settings", "tied"),
    [
        ({"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 80}, "output"),
        ({"tie_word_embeddings": False}, "none"),
    ],
)
def test_tables_of_their_own_stay_so(settings, tied):
    theirs = marian(**settings)
    for weight in theirs.parameters():
        nn.init.normal_(weight, std=0.3) if weight.requires_grad else None
    ours = convert(theirs)
    assert ours.config.tie_embeddings == tied
    given = inputs(theirs)
    torch.testing.assert_close(logits(ours, given), logits(theirs, given), rtol=0, atol=1e-5)
    back = ours.to_transformers()
    assert torch.equal(logits(back, given), logits(theirs, given))
    assert (back.lm_head.weight is back.model.decoder.embed_tokens.weight) == (tied == "output")


def test_a_model_of_ours_with_equal_sides_is_a_pegasus():
    side = StackConfig(d_model=16, num_layers=2, num_heads=4, d_ff=20, activation="gelu")
    plain = EncoderDecoderConfig(
        source_vocab=64,
        target_vocab=64,
        encoder=side,
        decoder=StackConfig(d_model=16, num_layers=1, num_heads=2, d_ff=12, activation="gelu"),
        tie_embeddings="all",
    )
    torch.manual_seed(0)
    ours = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain)).eval()
    theirs = ours.to_transformers()
    assert type(theirs).__name__ == "PegasusForConditionalGeneration"
    given = inputs(ours)
    torch.testing.assert_close(logits(theirs, given), logits(ours, given), rtol=0, atol=1e-5)
    assert torch.equal(answers(theirs, given), answers(ours, given))


def test_new_tokens_have_no_bias():
    ours = convert(model_of("Bart"))
    before = ours.model.output_bias.detach().clone()
    ours.resize_token_embeddings(70)
    assert torch.equal(ours.model.output_bias[:64], before)
    assert torch.equal(ours.model.output_bias[64:], torch.zeros(6))
    assert logits(ours, inputs(ours)).shape[-1] == 70


# Bad input.


@pytest.mark.parametrize("name", ["T5", "BlenderbotSmall", "Whisper", "LED"])
def test_other_families_are_refused_by_name(name):
    theirs = small_model(name)
    with pytest.raises(ValueError, match=rf"must be a MarianMTModel, Bart.*; got {name}For"):
        convert(theirs)


def test_an_encoder_alone_is_refused():
    bert = BertModel(BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1))
    with pytest.raises(ValueError, match=r"from_transformers: .*; got BertModel, whose layers"):
        convert(bert)


def test_what_our_layers_lack_is_refused():
    with pytest.raises(ValueError, match=r"activation must be one of relu, .*; got 'gelu_new'"):
        convert(marian(activation_function="gelu_new"))
    theirs = marian()
    theirs.config.pad_token_id = None
    with pytest.raises(ValueError, match="must have a padding token; got pad_token_id None"):
        convert(theirs)
    theirs = marian()
    theirs.model.encoder.embed_positions.weight.data[3] += 1
    with pytest.raises(ValueError, match="must be the sinusoids of MarianMTModel; got others in"):
        convert(theirs)
    theirs = marian()
    theirs.lm_head.weight = nn.Parameter(theirs.lm_head.weight.detach().clone())
    with pytest.raises(ValueError, match=r"got source = target True, target = output False"):
        convert(theirs)


def ours(sides=None, **settings):
    side = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 8}
    encoder, decoder = (StackConfig(**(side | changed)) for changed in sides or ({}, {}))
    common = {"source_vocab": 9, "target_vocab": 9, "tie_embeddings": "all"} | settings
    plain = EncoderDecoderConfig(encoder=encoder, decoder=decoder, **common)
    return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))


POST = {"norm": "post"}
T2T = {"positions": PositionConfig(kind="tensor2tensor", offset=1)}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: ours(({}, {"d_model": 8})), "both sides must be as wide; got d_model 16 and 8"),
        (lambda: ours(({}, {"dropout": 0.0})), "dropout must be the same .*; got 0.1 and 0.0"),
        (lambda: ours(({"d_key": 8}, {})), "encoder: heads must be d_model / num_heads wide; .*8"),
        (lambda: ours(({}, {"d_value": 8})), "decoder: heads must be d_model / num_heads wide"),
        (lambda: ours(({}, {"qk_norm": True})), "decoder: every head .* qk_norm True"),
        (lambda: ours(({"num_kv_heads": 1}, {})), "encoder: every head .* num_kv_heads 1"),
        (lambda: ours(({}, {"learned_sinks": True})), "decoder: a query .* learned_sinks True"),
        (lambda: ours(({}, {"d_latent": 6})), "decoder: keys must be made .* d_latent 6"),
        (lambda: ours(({}, {"kv_shared_every": 2})), "decoder: every layer .* kv_shared_every 2"),
        (lambda: ours(({"gate": "head"}, {})), "encoder: a query .*, gate 'head'"),
        (lambda: ours(({"embedding_scale": 3.0},) * 2), "embedding_scale must be 1 or the root"),
        (lambda: ours(({"positions": PositionConfig(width=18)},) * 2), "width of positions 18"),
        (lambda: ours(adapter="shared"), "there must be no map .*; got adapter 'shared'"),
        (lambda: ours(d_embedding=4), "there must be no map .* d_embedding 4"),
        (lambda: ours(tie_embeddings="output"), r"Pegasus.* has one table .* 'output', voc"),
        (lambda: ours((POST, POST)), r"no class of Marian.*; got norm 'post', final_norm True"),
        (lambda: ours(({}, POST)), r"no class of Marian.*; got norm 'pre', .* and norm 'post'"),
        (lambda: ours((T2T, T2T), output_bias=True), "M2M100.* has no bias of logits"),
    ],
)
def test_what_stands_in_the_way_back_is_named(model, words):
    with pytest.raises(ValueError, match=rf"to_transformers: .*{words}"):
        model().to_transformers()


def test_more_tokens_than_learned_positions_are_refused():
    model = convert(model_of("Bart"))
    given = inputs(model, length=65)
    with pytest.raises(ValueError, match="at most 64 tokens, one a position; got 65"):
        model(**given)


def test_the_model_that_is_converted_stays_as_it_was():
    theirs = model_of("Bart")
    before = copy.deepcopy(theirs.state_dict())
    convert(theirs).model.output_bias.data.zero_()
    assert all(torch.equal(before[name], weight) for name, weight in theirs.state_dict().items())
