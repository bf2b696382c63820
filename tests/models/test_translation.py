import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    DataCollatorForSeq2Seq,
    DynamicCache,
    EncoderDecoderCache,
    StaticCache,
)
from transformers.cache_utils import (
    Cache,
    DynamicSlidingWindowLayer,
    QuantizedLayer,
    StaticSlidingWindowLayer,
)

from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
from askew.transformer import EncoderDecoderConfig, StackConfig


def plain_config(**changes):
    values = {
        "source_vocab": 23,
        "target_vocab": 29,
        "encoder": StackConfig(d_model=12, num_layers=3, num_heads=3, d_ff=20),
        "decoder": StackConfig(d_model=8, num_layers=2, num_heads=2, d_ff=14, num_kv_heads=1),
        "tie_embeddings": "none",  # a tied random model only repeats its last token
    }
    return EncoderDecoderConfig(**(values | changes))


def translation_model(seed=0, **changes):
    torch.manual_seed(seed)
    config = AsymmetricTranslationConfig.from_plain(plain_config(**changes))
    model = AsymmetricTranslationModel(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:  # louder than the initial weights: what was read decides
            torch.nn.init.normal_(parameter, std=1.5 * parameter.shape[-1] ** -0.5)
    return model


def batch():
    tokens = torch.randint(3, 23, (4, 7), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(7) < torch.tensor([[7], [4], [6], [2]])).long()
    return tokens * mask, mask


def uncached_greedy(model, tokens, mask, steps):
    rows = torch.full((len(tokens), 1), 1)
    done = torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(steps):
        logits = model(input_ids=tokens, attention_mask=mask, decoder_input_ids=rows).logits
        best = logits[:, -1].argmax(-1).masked_fill(done, 0)
        rows = torch.cat([rows, best[:, None]], dim=1)
        done |= best == 2
        if done.all():
            break
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_cached_greedy_decoding_equals_a_loop_without_cache(seed):
    model, (tokens, mask) = translation_model(seed), batch()
    generated = model.generate(tokens, attention_mask=mask, max_new_tokens=12, do_sample=False)
    with torch.no_grad():
        expected = uncached_greedy(model, tokens, mask, 12)
    assert torch.equal(generated, expected)
    assert generated.unique().numel() > 2


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_cache_changes_nothing(seed, num_beams, device):
    model, (tokens, mask) = translation_model(seed).to(device), (t.to(device) for t in batch())
    cached, whole = (
        model.generate(
            tokens,
            attention_mask=mask,
            num_beams=num_beams,
            max_new_tokens=9,
            do_sample=False,
            use_cache=use_cache,
        )
        for use_cache in (True, False)
    )
    assert torch.equal(cached, whole)
    assert cached.device.type == device


def test_beam_search_finds_more_likely_translations_than_greedy():
    def log_probability(model, tokens, mask, rows):
        logits = model(input_ids=tokens, attention_mask=mask, decoder_input_ids=rows[:, :-1]).logits
        picked = logits.log_softmax(-1).gather(-1, rows[:, 1:, None]).squeeze(-1)
        ended = (rows[:, 1:] == 2).cumsum(-1) - (rows[:, 1:] == 2).long()
        return (picked * (ended == 0)).sum(-1)

    model, (tokens, mask) = translation_model(2), batch()
    settings = {"attention_mask": mask, "do_sample": False, "max_new_tokens": 5}
    greedy = model.generate(tokens, **settings)
    beam = model.generate(tokens, num_beams=29, length_penalty=0.0, **settings)
    with torch.no_grad():
        gains = log_probability(model, tokens, mask, beam) - log_probability(
            model, tokens, mask, greedy
        )
    assert (gains > -1e-4).all()
    assert (gains > 1e-3).any()


@pytest.mark.parametrize("tie_embeddings", ["none", "output"])
def test_saved_and_loaded_is_the_same_model(tmp_path, tie_embeddings):
    model, (tokens, mask) = translation_model(tie_embeddings=tie_embeddings), batch()
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} >= {"config.json", "model.safetensors"}
    for loaded in (
        AsymmetricTranslationModel.from_pretrained(tmp_path),
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path),
    ):
        assert loaded.config.to_plain() == plain_config(tie_embeddings=tie_embeddings)
        state = loaded.state_dict()
        assert all(torch.equal(state[name], p) for name, p in model.state_dict().items())
        buffers = dict(loaded.named_buffers())
        assert all(torch.equal(buffers[name], b) for name, b in model.named_buffers())
        target = torch.tensor([[1, 5, 6]]).expand(4, -1)
        call = {"input_ids": tokens, "attention_mask": mask, "decoder_input_ids": target}
        assert torch.equal(loaded(**call).logits, model(**call).logits)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), AsymmetricTranslationConfig)


def test_one_table_for_all_saves_and_loads(tmp_path):
    side = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=14)
    model = translation_model(encoder=side, decoder=side, source_vocab=29, tie_embeddings="all")
    model.save_pretrained(tmp_path)
    loaded = AsymmetricTranslationModel.from_pretrained(tmp_path)
    assert loaded.get_input_embeddings() is loaded.model.target_embedding
    tokens, mask = batch()
    call = {"attention_mask": mask, "max_new_tokens": 6, "do_sample": False}
    assert torch.equal(loaded.generate(tokens, **call), model.generate(tokens, **call))


def test_initial_weights_are_those_of_the_plain_module():
    from askew.transformer import AsymmetricEncoderDecoder

    torch.manual_seed(5)
    plain = AsymmetricEncoderDecoder(plain_config())
    torch.manual_seed(5)
    config = AsymmetricTranslationConfig.from_plain(plain_config())
    wrapped = AsymmetricTranslationModel(config).model
    for name, parameter in plain.state_dict().items():
        assert torch.equal(parameter, wrapped.state_dict()[name])


def test_refuses_missing_inputs_and_broken_configurations():
    model, (tokens, _) = translation_model(), batch()
    with pytest.raises(ValueError, match="decoder_input_ids are needed; got None"):
        model(input_ids=tokens)
    config = AsymmetricTranslationConfig(encoder_stack={"num_layers": 2, "d_modle": 8})
    with pytest.raises(ValueError, match=r"encoder\.d_modle"):
        config.to_plain()


CONTRADICTIONS = {
    "encoder_layers": (5, "encoder_layers must be num_layers of encoder_stack; got .* 5"),
    "decoder_layers": (5, "decoder_layers must be num_layers of decoder_stack; got .* 5"),
    "num_hidden_layers": (5, "decoder_layers must be num_layers of decoder_stack; got .* 5"),
    "tie_word_embeddings": (
        1,
        r"must be False, or True .* got tie_word_embeddings 1, .*Set tie_emb",
    ),
}


@pytest.mark.parametrize(("name", "value", "message"), [(k, *v) for k, v in CONTRADICTIONS.items()])
def test_a_field_that_contradicts_the_stacks_is_refused_whenever_it_is_set(
    tmp_path, name, value, message
):
    with pytest.raises(ValueError, match=message):
        AsymmetricTranslationConfig(**{name: value})
    config = AsymmetricTranslationConfig()
    config.save_pretrained(tmp_path)
    setattr(config, name, value)
    with pytest.raises(ValueError, match=message):
        AsymmetricTranslationModel(config)
    with pytest.raises(ValueError, match=message):
        AsymmetricTranslationConfig.from_pretrained(tmp_path, **{name: value}).to_plain()


def test_a_field_that_says_what_the_stacks_say_is_read():
    plain = plain_config()
    config = AsymmetricTranslationConfig.from_plain(plain)
    assert (config.encoder_layers, config.decoder_layers) == (3, 2)
    assert config.num_hidden_layers == 2
    again = AsymmetricTranslationConfig(**config.to_dict())
    assert again.to_plain() == plain


def test_a_size_under_the_name_of_another_model_is_refused():
    with pytest.raises(ValueError, match="must be set in encoder_stack, decoder_stack; got d_mod"):
        AsymmetricTranslationConfig(d_model=512)


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [{"adapter": "shared"}, {"tie_embeddings": "all", "source_vocab": 29, "d_embedding": 6}],
    ids=["adapter", "one table"],
)
def test_shared_parts_decode_with_a_cache_as_without_and_come_back(tmp_path, changes, num_beams):
    model, (tokens, mask) = translation_model(**changes), batch()
    call = {"attention_mask": mask, "max_new_tokens": 9, "do_sample": False}
    cached = model.generate(tokens, num_beams=num_beams, **call)
    uncached = model.generate(tokens, num_beams=num_beams, use_cache=False, **call)
    assert torch.equal(cached, uncached)
    model.save_pretrained(tmp_path)
    again = AsymmetricTranslationModel.from_pretrained(tmp_path).eval()
    assert again.config.to_plain() == plain_config(**changes)
    assert torch.equal(again.generate(tokens, num_beams=num_beams, **call), cached)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_generate_with_a_static_cache_changes_nothing(num_beams):
    model, (tokens, mask) = translation_model(1), batch()
    call = {"attention_mask": mask, "max_new_tokens": 9, "do_sample": False, "num_beams": num_beams}
    static = model.generate(tokens, cache_implementation="static", **call)
    assert torch.equal(static, model.generate(tokens, **call))


class HalfLayer(QuantizedLayer):
    """A backend of quantized caches without a package of its own."""

    def _quantize(self, tensor, axis):
        return tensor.half()

    def _dequantize(self, q_tensor):
        return q_tensor.float()


CACHES = {  # and the message of those that cannot keep every position as it was
    "dynamic": (lambda config: DynamicCache(), None),
    "static": (lambda config: StaticCache(config=config, max_cache_len=20), None),
    "wide window": (lambda config: layered(DynamicSlidingWindowLayer, sliding_window=20), None),
    "window": (
        lambda config: layered(DynamicSlidingWindowLayer, sliding_window=4),
        r"must keep the keys of every position; got DynamicSlidingWindowLayer with 3 of \d",
    ),
    "static window": (
        lambda config: layered(StaticSlidingWindowLayer, max_cache_len=20, sliding_window=4),
        "must have room for every position; got 4 positions for",
    ),
    "short": (
        lambda config: StaticCache(config=config, max_cache_len=5),
        "must have room for every position; got 5 positions for",
    ),
    "quantized": (
        lambda config: layered(HalfLayer),
        r"must keep the keys of every position; got HalfLayer with 0 of \d",
    ),
}


def layered(layer, **settings):
    return Cache(layers=[layer(**settings) for _ in range(2)])


@torch.no_grad()
@pytest.mark.parametrize("steps", [(9,), (1,) * 9, (3, 4, 2)], ids=str)
@pytest.mark.parametrize("crossing", [False, True], ids=["self", "cross"])
@pytest.mark.parametrize(("make", "message"), CACHES.values(), ids=CACHES)
def test_every_cache_of_transformers_gives_the_logits_without_one_or_is_refused(
    make, message, crossing, steps
):
    model, (tokens, mask) = translation_model(), batch()
    target = torch.randint(3, 29, (4, 9), generator=torch.Generator().manual_seed(2))
    caches = (DynamicCache(), make(model.config))
    cache = EncoderDecoderCache(*(caches if crossing else caches[::-1]))
    call = {"input_ids": tokens, "attention_mask": mask}

    def decode():
        rows = target.split(steps, dim=1)
        return torch.cat([model(**call, decoder_input_ids=r, cache=cache).logits for r in rows], 1)

    if message is None:
        torch.testing.assert_close(decode(), model(**call, decoder_input_ids=target).logits)
    else:
        with pytest.raises(ValueError, match=message):
            decode()


def test_a_cache_of_one_attention_alone_is_refused():
    model, (tokens, _) = translation_model(), batch()
    with pytest.raises(TypeError, match="must be an EncoderDecoderCache; got DynamicCache"):
        model(tokens, decoder_input_ids=tokens, cache=DynamicCache())


@torch.no_grad()
def test_a_plain_tuple_holds_the_same_as_the_named_output():
    model, (tokens, mask) = translation_model(), batch()
    call = {"input_ids": tokens, "attention_mask": mask, "decoder_input_ids": tokens}
    named = model(**call, use_cache=True)
    plain = model(**call, use_cache=True, return_dict=False)
    assert type(plain) is tuple
    assert torch.equal(plain[0], named.logits)
    assert isinstance(plain[1], EncoderDecoderCache)
    assert torch.equal(plain[2], named.encoder_last_hidden_state)
    model.config.return_dict = False
    assert type(model(**call)) is tuple
    assert model.generate(tokens, attention_mask=mask, max_new_tokens=3).shape == (4, 4)


def test_a_collator_of_transformers_makes_the_inputs_of_the_decoder():
    class Padding:
        padding_side = "right"

        def pad(self, features, **_):
            rows = [feature["input_ids"] for feature in features]
            longest = max(map(len, rows))
            ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
            return {"input_ids": ids}

    features = [{"input_ids": [5, 2], "labels": [7, 8, 2]}, {"input_ids": [6, 2], "labels": [9, 2]}]
    collate = DataCollatorForSeq2Seq(Padding(), model=translation_model())
    collated = collate(features)
    assert collated["labels"].tolist() == [[7, 8, 2], [9, 2, -100]]
    assert collated["decoder_input_ids"].tolist() == [[1, 7, 8], [1, 9, 2]]
