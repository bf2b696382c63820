"""Where the decoder looked: against weights computed by hand, and drawn without a network."""

import json
import re

import pytest
import torch
from saved_model import CONFIG, saved

from askew.models import (
    AttentionMap,
    DecodingConfig,
    Translator,
    attention_map,
    write_attention_page,
)


def test_weights_are_those_of_softmax_by_hand(tmp_path):
    model = saved(tmp_path)
    translator = Translator.from_pretrained(tmp_path)
    found = attention_map(translator, "three trees")
    heads, layers = CONFIG.decoder.num_heads, CONFIG.decoder.num_layers
    shape = (layers, heads, len(found.target_tokens), len(found.source_tokens))
    assert isinstance(found, AttentionMap)
    assert found.weights.shape == shape
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(shape[:-1]))
    core = model.model
    source = torch.tensor([[*translator.tokenizer.encode("three trees").ids, 2]])
    text = translator.translate(["three trees"])[0]
    words = translator.tokenizer.encode("three trees").ids
    ((greedy,),) = translator.engine.decode([words], [2 * len(words) + 16], DecodingConfig())
    assert len(found.target_tokens) == len(greedy.tokens) + 1
    target = torch.tensor([[1, *greedy.tokens]])
    inputs = {}
    hook = core.decoder.layers[1].cross_attention.register_forward_pre_hook(
        lambda module, args, kwargs: inputs.update(x=args[0], memory=args[1]), with_kwargs=True
    )
    with torch.no_grad():
        core(source, target)
        attention = core.decoder.layers[1].cross_attention
        q = attention.query(inputs["x"])[0].unflatten(-1, (heads, -1)).transpose(0, 1)
        k = attention.key(inputs["memory"])[0].unflatten(-1, (heads, -1)).transpose(0, 1)
    hook.remove()
    expected = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
    torch.testing.assert_close(found.weights[1], expected, rtol=1e-4, atol=1e-5)
    best = found.weights.mean((0, 1)).max(-1).indices.tolist()
    assert found.alignment() == best
    assert "".join(found.source_tokens[:-1]) == "three trees"
    again = translator.translate(["three trees"])[0]
    assert again == text  # nothing is left behind in the model


def test_the_page_holds_the_maps_and_nothing_from_a_network(tmp_path):
    saved(tmp_path)
    translator = Translator.from_pretrained(tmp_path)
    maps = [attention_map(translator, text) for text in ("trees", "</script><b>ü")]
    write_attention_page(maps, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http" not in page
    assert page.count("</script>") == 1
    data = json.loads(re.search(r"const data = (.*);\n", page).group(1))
    drawn = data["pictures"]
    assert [one["columns"] for one in drawn] == [one.source_tokens for one in maps]
    assert [one["rows"] for one in drawn] == [one.target_tokens for one in maps]
    assert drawn[0]["best"] == maps[0].alignment()
    assert drawn[1]["weights"][0][0][0] == pytest.approx(
        maps[1].weights[0, 0, 0].tolist(), abs=1e-4
    )


def test_refuses_what_has_no_map(tmp_path):
    saved(tmp_path)
    translator = Translator.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="must be one piece; got 0 pieces"):
        attention_map(translator, "  ")
    translator.engine = object()
    with pytest.raises(ValueError, match="the engine must be torch"):
        attention_map(translator, "trees")
    with pytest.raises(ValueError, match="there must be a map; got none"):
        write_attention_page([], tmp_path / "page.html")
