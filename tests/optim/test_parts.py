"""Every trainable parameter is in exactly one part, or an error says which is not."""

import re
from fnmatch import fnmatchcase

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from askew.optim import partition_parameters


class Toy(nn.Module):
    """The names that fragments get wrong: `encoder_to_decoder`, `decoder_head`, `embedding`."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(nn.Linear(4, 4) for _ in range(3))})
        self.encoder["norm"] = nn.LayerNorm(4)
        self.encoder_to_decoder = nn.Linear(4, 2)
        self.decoder = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(2, 2)])})
        self.decoder_head = nn.Linear(2, 5)


def names(parts):
    return {part: [name for name, _ in held] for part, held in parts.items()}


def check_exact(model, parts):
    """By identity: each trainable parameter once, none else."""
    held = [id(parameter) for members in parts.values() for _, parameter in members]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in model.parameters() if p.requires_grad}
    for members in parts.values():
        for name, parameter in members:
            assert model.get_parameter(name) is parameter


def naive_matches(pattern, name):
    """Whole segments by trying every split; shares nothing with the regular expression."""
    pattern, name = pattern.split("."), name.split(".")

    def match(i, j):
        if i == len(pattern):
            return j == len(name)
        if pattern[i] == "**":
            least = 1 if i == len(pattern) - 1 else 0
            return any(match(i + 1, k) for k in range(j + least, len(name) + 1))
        return j < len(name) and fnmatchcase(name[j], pattern[i]) and match(i + 1, j + 1)

    return match(0, 0)


def test_one_rule_for_everything_is_the_list_of_the_model():
    model = Toy()
    for rule in (model, "**", [model.embedding, "encoder", "**"]):
        parts = partition_parameters(model, {"all": rule})
        assert parts["all"] == list(model.named_parameters())


@pytest.mark.parametrize("pattern", [
    "encoder.**", "*.norm.*", "**.bias", "**", "*.layers.[0-1].*", "**.layers.**", "*coder.**",
    "**.l*s.?.w*", "encoder.layers.*.bias", "**.[!b]*", "encod*.**",
])  # fmt: skip
def test_patterns_are_those_of_a_naive_matcher(pattern):
    model = Toy()
    parts = partition_parameters(model, {"meant": pattern}, rest="rest")
    expected = [name for name, _ in model.named_parameters() if naive_matches(pattern, name)]
    assert names(parts)["meant"] == expected
    assert expected
    check_exact(model, parts)


segment = st.sampled_from(["a", "b", "ab", "1", "bias"])
piece = st.sampled_from(["a", "b", "*", "**", "?", "a*", "*b", "[ab]", "[!a]", "bias"])


@given(
    st.lists(st.lists(segment, min_size=1, max_size=4), min_size=1, max_size=12),
    st.lists(piece, min_size=1, max_size=4),
)
def test_any_pattern_on_any_tree_is_that_of_a_naive_matcher(paths, pieces):
    root = nn.Module()
    for path in paths:
        module = root
        for step in path[:-1]:
            if not isinstance(getattr(module, step, None), nn.Module):
                if hasattr(module, step):
                    break
                module.add_module(step, nn.Module())
            module = getattr(module, step)
        else:
            if not hasattr(module, path[-1]):
                module.register_parameter(path[-1], nn.Parameter(torch.zeros(1)))
    pattern = ".".join(pieces)
    expected = [n for n, _ in root.named_parameters() if naive_matches(pattern, n)]
    modules = {path for path, _ in root.named_modules() if path}
    if pattern in modules:  # a plain path is the module, and all below it
        expected = [n for n, _ in root.named_parameters() if n.startswith(f"{pattern}.")]
    if expected:
        parts = partition_parameters(root, {"meant": pattern}, rest="rest")
        assert names(parts)["meant"] == expected
        check_exact(root, parts)
    else:
        with pytest.raises(ValueError, match="every rule must match"):
            partition_parameters(root, {"meant": pattern}, rest="rest")


def test_a_path_is_the_module_and_not_a_fragment():
    model = Toy()
    for rule in ("encoder", model.encoder, "encoder.**"):
        parts = partition_parameters(model, {"encoder": rule}, rest="rest")
        assert len(parts["encoder"]) == 8
        assert all(name.startswith("encoder.") for name, _ in parts["encoder"])
    whole = partition_parameters(model, {"one": "embedding.weight"}, rest="rest")
    assert names(whole)["one"] == ["embedding.weight"]


def test_the_first_rule_that_matches_wins():
    model = Toy()
    parts = partition_parameters(
        model, {"bias": "**.bias", "norm": model.encoder["norm"], "first": "encoder.**"}, rest="r"
    )
    assert names(parts)["norm"] == ["encoder.norm.weight"]
    assert names(parts)["first"] == [f"encoder.layers.{i}.weight" for i in range(3)]
    check_exact(model, parts)


def test_an_inner_module_before_the_outer_one_is_no_overlap():
    model = Toy()
    parts = partition_parameters(
        model, {"top": model.encoder["layers"][2], "encoder": model.encoder}, rest="rest"
    )
    assert names(parts)["top"] == ["encoder.layers.2.weight", "encoder.layers.2.bias"]
    assert len(parts["encoder"]) == 6


def test_a_slice_of_layers_is_the_list_of_its_layers():
    model = Toy()
    parts = partition_parameters(
        model, {"low": model.encoder["layers"][:2], "rest of it": "encoder"}, rest="rest"
    )
    assert len(parts["low"]) == 4
    assert len(parts["rest of it"]) == 4


def test_rest_may_stay_empty_and_frozen_parameters_are_in_no_part():
    model = Toy()
    assert partition_parameters(model, {"all": model}, rest="rest")["rest"] == []
    model.encoder.requires_grad_(False)
    parts = partition_parameters(model, {"embedding": "embedding"}, rest="rest")
    check_exact(model, parts)
    assert not [name for name, _ in parts["rest"] if name.startswith("encoder.")]


def tied():
    model = Toy()
    model.decoder_head = nn.Linear(4, 5, bias=False)
    model.decoder_head.weight = model.embedding.weight
    return model


def test_a_tied_parameter_is_in_the_first_part_that_any_of_its_names_matches():
    model = tied()
    rules = {"head": "decoder_head", "other": "**"}
    assert names(partition_parameters(model, rules))["head"] == ["embedding.weight"]
    rules = {"table": model.embedding, "other": "**"}
    parts = partition_parameters(model, rules)
    assert names(parts)["table"] == ["embedding.weight"]
    check_exact(model, parts)


def test_a_module_under_two_paths_has_all_of_them():
    model = Toy()
    model.encoder["embed"] = model.embedding
    message = "got embedding of 'table' also in 'encoder': encoder.embed.weight"
    message = message.replace("got embedding", "got encoder.embed")
    with pytest.raises(ValueError, match=message):
        partition_parameters(model, {"encoder": model.encoder, "table": model.embedding}, rest="r")
    parts = partition_parameters(model, {"table": model.embedding, "e": model.encoder}, rest="r")
    assert names(parts)["table"] == ["embedding.weight"]


@pytest.mark.parametrize("wrap", [
    lambda m: torch.compile(m, backend="eager"), nn.DataParallel,
    lambda m: nn.DataParallel(torch.compile(m, backend="eager")),
])  # fmt: skip
def test_wrappers_change_no_name(wrap):
    model = Toy()
    plain = partition_parameters(model, {"encoder": "encoder"}, rest="rest")
    assert names(partition_parameters(wrap(model), {"encoder": "encoder"}, rest="rest")) == names(
        plain
    )
    model.encoder = torch.compile(model.encoder, backend="eager")
    for rule in ("encoder", model.encoder):
        inner = partition_parameters(model, {"encoder": rule}, rest="rest")
        assert names(inner)["encoder"] == names(plain)["encoder"]


def refused(rules, message, model=None, kind=ValueError, **settings):
    with pytest.raises(kind, match=re.escape(message)):
        partition_parameters(model or Toy(), rules, **settings)


def test_orphans_are_named():
    refused(
        {"encoder": "encoder", "decoder": "decoder", "e": "embedding", "head": "decoder_head"},
        "partition_parameters: every trainable parameter needs one part; 2 have none: "
        "encoder_to_decoder.weight, encoder_to_decoder.bias. "
        "Add a rule, or name a part for the rest",
    )


def test_many_orphans_are_named_by_module_and_cut():
    model = nn.ModuleDict({f"block{i}": nn.Linear(2, 2) for i in range(20)})
    refused(
        {"first": "block0.weight"},
        "39 have none: block0.bias, block1.** (2), block2.** (2), block3.** (2), block4.** (2), "
        "block5.** (2), block6.** (2), block7.** (2) and 12 more. ",
        model,
    )


def test_a_rule_without_a_match_is_named_with_what_was_meant():
    start = "partition_parameters: every rule must match a trainable parameter; got part "
    refused({"encodr": "encodr"}, start + "'encodr' (did you mean 'encoder'?)", rest="r")
    refused({"norm": "norm"}, start + "'norm' (did you mean 'encoder.norm'?)", rest="r")
    refused({"x": "zzz.**", "y": "head"}, start + "'x': 'zzz.**', 'y': 'head'", rest="r")
    refused({"x": ["**", "zzz"]}, start + "'x': 'zzz'")
    refused({"x": nn.Linear(1, 1)}, start + "'x': a Linear that is not in the model", rest="r")
    refused({"x": []}, start + "'x' (an empty list)", rest="r")
    model = Toy()
    model.encoder.requires_grad_(False)
    refused({"encoder": "encoder"}, start + "'encoder' (all of it is frozen)", model, rest="r")
    model.empty = nn.ReLU()
    refused({"empty": "empty"}, start + "'empty' (it has no parameter)", model, rest="r")


def test_a_part_that_lost_all_to_earlier_ones_is_named():
    refused(
        {"weights": "**.weight", "tables": "embedding.*"},
        "every part must be left a parameter; got part 'tables', all of which (1) went to "
        "'weights' before. Put it first",
        rest="rest",
    )


def test_overlapping_modules_are_named():
    model = Toy()
    for inner in (model.encoder["norm"], "encoder.norm"):
        refused(
            {"encoder": model.encoder, "norm": inner},
            "partition_parameters: modules must not overlap; got encoder.norm of 'norm' also in "
            "'encoder': encoder.norm.weight, encoder.norm.bias. Put the inner module's part first",
            model,
            rest="rest",
        )
    refused({"a": model.decoder, "b": model.decoder}, "got decoder of 'b' also in 'a'", model)


def test_wrong_input_is_refused():
    refused({"a": 3}, "a list of those; got a int", kind=TypeError)
    refused({"a": [3]}, "a list of those; got a int", kind=TypeError)
    refused({"a": nn.Parameter(torch.ones(1))}, "got a Parameter", kind=TypeError)
    refused({3: "encoder"}, "a part's name must be a string; got int", kind=TypeError)
    refused(["encoder"], "rules must map names of parts to rules; got list", kind=TypeError)
    refused({"a": "encoder..*"}, "whole segments with dots between; got a 'encoder..*'")
    refused({"a": "encoder"}, "rest must be a name that no rule has; got rest 'a'", rest="a")
    refused({"a": "**"}, "the model must have a trainable parameter; got ReLU", model=nn.ReLU())
