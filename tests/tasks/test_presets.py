import pytest

from askew.tasks import SHAPES, SIZES, translation_preset

WIDTHS = {"tiny": 64, "small": 128, "base": 256}


def test_sizes_and_shapes_are_all_that_there_are():
    assert list(SIZES) == list(WIDTHS)
    assert SHAPES == ("deep-shallow", "narrow-decoder", "shared-bridge", "symmetric")


@pytest.mark.parametrize("size", SIZES)
def test_the_symmetric_shape_has_one_stack_of_the_width_of_its_size(size):
    config = translation_preset("symmetric", size, vocab_size=300)
    assert config.encoder == config.decoder
    assert (config.encoder.d_model, config.encoder.num_layers) == (WIDTHS[size], 3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("shape", "depths", "share"),
    [
        ("deep-shallow", (4, 2), 3 / 4),
        ("narrow-decoder", (3, 3), 1 / 2),
        ("shared-bridge", (3, 3), 1 / 2),
    ],
)
def test_asymmetric_shapes_have_the_depths_and_widths_they_say(shape, size, depths, share):
    config = translation_preset(shape, size, vocab_size=300)
    assert (config.encoder.num_layers, config.decoder.num_layers) == depths
    assert config.encoder.d_model == WIDTHS[size]
    assert config.decoder.d_model == share * WIDTHS[size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_preset_follows_the_same_rules(shape, size):
    config = translation_preset(shape, size, vocab_size=300)
    assert config.source_vocab == config.target_vocab == 300
    for side in (config.encoder, config.decoder):
        assert side.d_ff == 4 * side.d_model
        assert side.num_heads == max(2, side.d_model // 32)
        assert side.dropout == (0.1 if size == "base" else 0.0)


def test_refuses_unknown_names():
    with pytest.raises(ValueError, match=r"size must be one of tiny, small, base; got 'huge'$"):
        translation_preset("symmetric", "huge", vocab_size=300)
    with pytest.raises(
        ValueError,
        match=r"shape must be one of deep-shallow, narrow-decoder, shared-bridge, symmetric; "
        r"got 'twin'$",
    ):
        translation_preset("twin", "tiny", vocab_size=300)


def test_the_bridge_is_shared_in_one_shape_alone_and_vocabularies_may_differ():
    for shape in SHAPES:
        config = translation_preset(shape, "tiny", vocab_size=(300, 200))
        assert (config.source_vocab, config.target_vocab) == (300, 200)
        assert config.adapter == ("shared" if shape == "shared-bridge" else "none")
