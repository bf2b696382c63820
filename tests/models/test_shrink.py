"""Students keep what they should of every kind of encoder-decoder, and nothing else."""

import copy
import re

import pytest
import torch
from families import NAMES, inputs_of, small_model
from rules import every_day_each_once
from transformers import BertConfig, BertModel

from askew.models import (
    AsymmetricTranslationConfig,
    AsymmetricTranslationModel,
    Removal,
    choose_layers,
    kept_layers,
    shrink,
)
from askew.transformer import EncoderDecoderConfig, StackConfig

TARGET = {"decoder_input_ids": torch.tensor([[2, 5, 6]])}
GREEDY = {"max_new_tokens": 6, "do_sample": False}


@torch.no_grad()
def logits(name, model):
    return model(**inputs_of(name), **TARGET).logits


@torch.no_grad()
def answers(name, model, **settings):
    return model.generate(**inputs_of(name), **GREEDY, **settings)


def tied(model):
    """Groups of names that share one tensor."""
    groups = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), set()).add(name)
    return {frozenset(names) for names in groups.values() if len(names) > 1}


@pytest.mark.parametrize("name", NAMES)
def test_all_layers_kept_is_the_same_model(name):
    model = small_model(name)
    student = shrink(model)
    assert type(student) is type(model)
    assert torch.equal(logits(name, student), logits(name, model))
    assert tied(student) == tied(model)
    assert not student.training
    ours, theirs = ({p.data_ptr() for p in m.parameters()} for m in (student, model))
    assert not ours & theirs


@pytest.mark.parametrize(
    ("name", "layers"), every_day_each_once(NAMES, [(None, 2), (2, 2), (4, 1)])
)
def test_a_student_is_an_ordinary_model(name, layers, tmp_path):
    encoder_layers, decoder_layers = layers
    model = small_model(name)
    before = copy.deepcopy(model.state_dict())
    keep = {"encoder": [1, 2], "decoder": [0, 3]} if layers == (2, 2) else "spread"
    if name == "SwitchTransformers":  # a dense layer alone is no model of this kind
        keep = {"encoder": [0, 1], "decoder": [1] if decoder_layers == 1 else [2, 3]}
        keep |= {} if encoder_layers == 2 else {"encoder": "first"}
    student = shrink(model, encoder_layers=encoder_layers, decoder_layers=decoder_layers, keep=keep)
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in model.parameters())
    expected = answers(name, student)
    assert torch.equal(answers(name, student, use_cache=False), expected)
    student.save_pretrained(tmp_path)
    loaded, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert torch.equal(answers(name, loaded.eval()), expected)
    assert tied(student) == tied(loaded)
    assert loaded.generation_config.to_dict() == student.generation_config.to_dict()


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_the_kept_layers(name):
    model = small_model(name)
    student = shrink(model, decoder_layers=2, keep=[0, 1])
    weights = model.state_dict()
    layer = re.compile(r"(.*decoder\.(?:layers|block))\.(\d)\.(.*)")
    for key, weight in student.state_dict().items():
        assert torch.equal(weight, weights[key])
    later = shrink(model, decoder_layers=2, keep=[2, 3]).state_dict()
    for key, weight in later.items():
        if found := layer.fullmatch(key):
            source = f"{found[1]}.{int(found[2]) + 2}.{found[3]}"
            assert torch.equal(weight, weights.get(source, weights[key]))


def test_numbers_of_a_mapping_say_how_many():
    student = shrink(small_model("Bart"), keep={"decoder": [1, 3], "encoder": [0]})
    assert (student.config.encoder_layers, student.config.decoder_layers) == (1, 2)


def test_what_the_first_layer_has_for_all_stays_with_the_first():
    model = small_model("T5")
    bias = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    student = shrink(model, decoder_layers=2, keep="last")
    assert torch.equal(student.state_dict()[bias], model.state_dict()[bias])


def test_lists_by_layer_follow_the_layers():
    led = shrink(small_model("LED"), encoder_layers=2, keep=[1, 2])
    assert led.config.attention_window == [8, 4]
    model = small_model("T5Gemma")
    types = model.config.decoder.layer_types
    student = shrink(model, decoder_layers=2, keep=[1, 2])
    assert student.config.decoder.layer_types == [types[1], types[2]]
    assert model.config.decoder.layer_types == types


def test_alignment_heads_follow_the_layers():
    model = small_model("Whisper")
    model.generation_config.alignment_heads = [[0, 1], [2, 0], [3, 1]]
    student = shrink(model, decoder_layers=2, keep=[1, 3])
    assert student.generation_config.alignment_heads == [[1, 1]]
    assert shrink(model, decoder_layers=1, keep=[1]).generation_config.alignment_heads is None
    assert model.generation_config.alignment_heads == [[0, 1], [2, 0], [3, 1]]


def test_generation_settings_are_kept():
    model = small_model("M2M100")
    model.generation_config.forced_bos_token_id = 7
    student = shrink(model, decoder_layers=1)
    assert student.generation_config.forced_bos_token_id == 7
    assert answers("M2M100", student)[0, 1] == 7
    model.config._name_or_path = "somewhere"
    model.model.encoder.requires_grad_(False)
    model.train().half()
    student = shrink(model, decoder_layers=1)
    assert student.training
    assert student.dtype == torch.float16
    assert not any(p.requires_grad for p in student.model.encoder.layers.parameters())
    assert all(p.requires_grad for p in student.model.decoder.layers.parameters())


# Which layers.


@pytest.mark.parametrize(
    ("depth", "count", "rule", "layers"),
    [
        (32, 2, "spread", [0, 31]),
        (12, 6, "spread", [0, 2, 4, 7, 9, 11]),
        (6, 1, "spread", [0]),
        (6, 6, "spread", [0, 1, 2, 3, 4, 5]),
        (6, 2, "first", [0, 1]),
        (6, 2, "last", [4, 5]),
        (6, 2, (1, 4), [1, 4]),
    ],
)
def test_rules(depth, count, rule, layers):
    assert kept_layers(depth, count, rule) == layers


def test_measured_leaves_out_what_costs_least():
    model = small_model("Marian")
    weights = model.state_dict()
    seen = []

    def loss(student):
        """The fewer of the layers 1 and 3 are there, the worse; 0 is worth less than 2."""
        worth = {0: 2, 1: 9, 2: 3, 3: 9}
        own = student.state_dict()
        return -sum(
            worth[layer]
            for layer in range(4)
            for place in range(student.config.decoder_layers)
            if torch.equal(
                own[f"model.decoder.layers.{place}.fc1.weight"],
                weights[f"model.decoder.layers.{layer}.fc1.weight"],
            )
        )

    student = shrink(model, decoder_layers=2, keep="measured", loss=loss, on_removal=seen.append)
    kept = student.state_dict()
    for place, layer in enumerate((1, 3)):
        assert torch.equal(
            kept[f"model.decoder.layers.{place}.fc1.weight"],
            weights[f"model.decoder.layers.{layer}.fc1.weight"],
        )
    assert seen == [
        Removal("decoder", (0, 1, 2, 3), 0, -21.0),
        Removal("decoder", (0, 1, 2, 3), 1, -14.0),
        Removal("decoder", (0, 1, 2, 3), 2, -20.0),
        Removal("decoder", (0, 1, 2, 3), 3, -14.0),
        Removal("decoder", (1, 2, 3), 1, -12.0),
        Removal("decoder", (1, 2, 3), 2, -18.0),
        Removal("decoder", (1, 2, 3), 3, -12.0),
    ]
    chosen = choose_layers(model, decoder_layers=2, keep="measured", loss=loss)
    assert chosen == {"encoder": [0, 1, 2, 3], "decoder": [1, 3]}


# Bad input.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"decoder_layers": 5},
            r"decoder_layers must be in \[1, 4\], the layers of the model; got",
        ),
        ({"encoder_layers": 0}, r"encoder_layers must be in \[1, 4\]"),
        ({"decoder_layers": 2, "keep": [0, 4]}, "keep must hold 2 different layers of 0 to 3"),
        ({"decoder_layers": 2, "keep": [3, 0]}, r"keep must hold .* for the decoder; got \[3, 0\]"),
        ({"decoder_layers": 2, "keep": [0]}, "keep must hold 2 different layers"),
        ({"decoder_layers": 2, "keep": "odd"}, "keep must be spread, first, last, measured or num"),
        ({"decoder_layers": 2, "keep": {"side": "first"}}, r"keep must be of encoder and decoder"),
        ({"keep": [0, 1]}, "numbers of layers must be of one side; got keep .* for none"),
        ({"decoder_layers": 2, "keep": "measured"}, 'keep "measured" needs a loss'),
    ],
)
def test_what_does_not_fit_is_refused(settings, words):
    with pytest.raises(ValueError, match=f"shrink: {words}"):
        shrink(small_model("Marian"), **settings)


def test_other_models_are_refused_by_name():
    bert = BertModel(BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1))
    with pytest.raises(
        ValueError, match=r"shrink: the model must be an encoder-decoder of .*'bert'"
    ):
        shrink(bert, decoder_layers=1)


def test_a_decoder_that_generate_could_not_run_is_refused():
    with pytest.raises(ValueError, match="decoder must be no deeper than the encoder"):
        shrink(small_model("T5"), encoder_layers=3)


def test_experts_that_would_stand_elsewhere_are_refused():
    model = small_model("SwitchTransformers")  # experts in the layers 1 and 3
    with pytest.raises(ValueError, match=r"leave no place for .*block\.0.*Keep others"):
        shrink(model, decoder_layers=2, keep=[1, 2])


def small_sharing_model():
    side = StackConfig(d_model=8, num_layers=6, num_heads=2, d_ff=12, kv_shared_every=2)
    plain = EncoderDecoderConfig(source_vocab=30, target_vocab=30, encoder=side, decoder=side)
    return AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain)).eval()


@torch.no_grad()
def test_layers_that_share_keys_are_kept_in_groups_from_the_first_on():
    model, tokens = small_sharing_model(), torch.tensor([[5, 7, 9, 2]])
    student = shrink(model, keep={"decoder": [2, 3, 4]})
    assert student.generate(tokens, **GREEDY).shape[0] == 1
    weights = model.model.decoder.layers
    for place, layer in enumerate(student.model.decoder.layers):
        for name, weight in layer.state_dict().items():
            assert torch.equal(weight, weights[place + 2].state_dict()[name])
    for side, kept in (("encoder", [1]), ("decoder", [0, 2, 3]), ("decoder", [0, 1, 3])):
        with pytest.raises(
            ValueError, match=rf"{side} layers that share keys must .*got layers \["
        ):
            shrink(model, keep={side: kept})


@pytest.mark.parametrize("call", [shrink, choose_layers])
@pytest.mark.parametrize("model", ["folder", torch.nn.Linear(2, 2)])
def test_what_is_no_model_of_transformers_is_refused(call, model):
    with pytest.raises(TypeError, match=r"model must be a model of transformers .*from_pretrained"):
        call(model, decoder_layers=1)
