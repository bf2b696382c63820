"""An exported model says the same as ours: log-probabilities, greedy output, scores."""

import json
from dataclasses import replace

import pytest
import torch
from adapters import WRAPPERS, parametrize_weight
from saved_model import CONFIG, DECODER, PAIRS, saved, sentences

from askew._files import file_sha256
from askew.export import QUANTIZATIONS, export_ctranslate2
from askew.models import CTranslate2Engine, DecodingConfig, TorchEngine, Translator
from askew.text import Tokenizers, train_tokenizers
from askew.transformer import PositionConfig

pytest.importorskip("ctranslate2")

MARIAN = {"norm": "post", "final_norm": False}
LEARNED = PositionConfig(kind="learned", offset=2, length=300)
SHAPES = {
    "different sides": CONFIG,
    "untied": replace(CONFIG, tie_embeddings="none"),
    "one table": replace(CONFIG, tie_embeddings="all"),
    "one narrow table": replace(CONFIG, tie_embeddings="all", d_embedding=10),
    "adapter": replace(CONFIG, adapter="shared"),
    "symmetric": replace(CONFIG, encoder=DECODER, tie_embeddings="all"),
    "gelu": replace(CONFIG, decoder=replace(DECODER, activation="gelu")),
    "shared heads": replace(CONFIG, decoder=replace(DECODER, num_kv_heads=2)),
    "as Marian": replace(
        CONFIG,
        encoder=replace(DECODER, **MARIAN, positions=PositionConfig()),
        decoder=replace(DECODER, **MARIAN, activation="swish"),
        tie_embeddings="all",
        output_bias=True,
    ),
    "as BART": replace(
        CONFIG,
        encoder=replace(CONFIG.encoder, **MARIAN, embedding_norm=True, positions=LEARNED),
        decoder=replace(DECODER, **MARIAN, embedding_norm=True, positions=LEARNED),
    ),
    "cut": replace(
        CONFIG,
        encoder=replace(CONFIG.encoder, final_norm=False),
        decoder=replace(
            DECODER, d_key=8, d_value=8, embedding_scale=2.5, positions=PositionConfig(width=24)
        ),
        output_bias=True,
        tie_embeddings="none",
    ),
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_log_probabilities_and_output_of_both_searches_are_ours(tmp_path, config):
    model = saved(tmp_path, config)
    engine = CTranslate2Engine(export_ctranslate2(tmp_path))
    sources, targets = sentences(40), sentences(40)[::-1]
    for source, target, found in zip(sources, targets, engine.score(sources, targets), strict=True):
        with torch.no_grad():
            logits = model(
                torch.tensor([[*source, 2]]), decoder_input_ids=torch.tensor([[1, *target]])
            ).logits[0]
        expected = logits.log_softmax(-1)[torch.arange(len(target) + 1), [*target, 2]]
        torch.testing.assert_close(torch.tensor(found), expected, rtol=0, atol=1e-4)
    limits = [2 * len(source) + 16 for source in sources]
    for search in (DecodingConfig(), DecodingConfig(num_beams=4, num_hypotheses=2)):
        ours = TorchEngine(model).decode(sources, limits, search)
        assert_same(ours, engine.decode(sources, limits, search))
        assert len({tuple(best[0].tokens) for best in ours}) > 5


@pytest.mark.parametrize("place", ["encoder.layers.0.attention.query", "target_embedding"])
@pytest.mark.parametrize("wrapper", ["adapter", "hook", "offload"])
def test_what_its_weights_do_not_say_is_refused_by_name(tmp_path, monkeypatch, wrapper, place):
    model = saved(tmp_path)
    owner, _, name = f"model.{place}".rpartition(".")
    WRAPPERS[wrapper](model.get_submodule(owner), name)
    monkeypatch.setattr("askew.export._ctranslate2.load_translation_model", lambda folder: model)
    with pytest.raises(ValueError, match=f"apply its weights as they are; got {place} "):
        export_ctranslate2(tmp_path)
    assert not (tmp_path / "ctranslate2").exists()


def test_a_parametrized_weight_is_exported_as_it_is_applied(tmp_path, monkeypatch):
    model = saved(tmp_path)
    parametrize_weight(model.model.decoder.layers[0].feed_forward, "expand")
    monkeypatch.setattr("askew.export._ctranslate2.load_translation_model", lambda folder: model)
    engine = CTranslate2Engine(export_ctranslate2(tmp_path))
    sources = sentences(10)
    limits = [20] * len(sources)
    ours = TorchEngine(model).decode(sources, limits, DecodingConfig())
    assert_same(ours, engine.decode(sources, limits, DecodingConfig()))


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert [h.tokens for h in one] == [h.tokens for h in other]
        assert [h.score for h in one] == pytest.approx([h.score for h in other], abs=1e-3)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_what_is_cut_at_the_limit_has_the_score_of_its_end_too(tmp_path, num_beams, length_penalty):
    model = saved(tmp_path)
    engine = CTranslate2Engine(export_ctranslate2(tmp_path))
    search = DecodingConfig(num_beams=num_beams, length_penalty=length_penalty)
    sources, limits = sentences(30), [1 + row % 4 for row in range(30)]
    ours = TorchEngine(model).decode(sources, limits, search)
    assert_same(ours, engine.decode(sources, limits, search))
    assert all(len(best.tokens) == limit for (best,), limit in zip(ours, limits, strict=True))


def test_samples_are_scored_as_the_model_scores_them_whole(tmp_path):
    saved(tmp_path)
    engine = CTranslate2Engine(export_ctranslate2(tmp_path))
    search = DecodingConfig(sample=True, num_hypotheses=3, temperature=0.7, length_penalty=0.5)
    for source, samples in zip(
        sentences(9), engine.decode(sentences(9), [5] * 9, search), strict=True
    ):
        assert len(samples) == 3
        scores = engine.score([source] * 3, [sample.tokens for sample in samples])
        expected = [sum(of_tokens) / len(of_tokens) ** 0.5 for of_tokens in scores]
        assert [sample.score for sample in samples] == pytest.approx(expected, abs=1e-3)


def undecided(folder):
    """Save a model to which translations of very different lengths are about equally good."""
    model = saved(folder, replace(CONFIG, tie_embeddings="none"))
    with torch.no_grad():
        model.model.output.weight.mul_(0.25)
        model.model.decoder.norm.bias.copy_(5 * model.model.output.weight[2])
    model.save_pretrained(folder)
    return model


def test_the_best_few_are_ours_and_none_is_lost_to_what_the_limit_cuts(tmp_path):
    model = undecided(tmp_path)
    engine = CTranslate2Engine(export_ctranslate2(tmp_path))
    sources, search = sentences(60), DecodingConfig(num_beams=4, num_hypotheses=4)
    limits = [2 * len(source) + 16 for source in sources]
    ours, theirs = (e.decode(sources, limits, search) for e in (TorchEngine(model), engine))
    same = 0
    for one, other in zip(ours, theirs, strict=True):
        assert len(other) == 4
        assert [h.score for h in other] == sorted([h.score for h in other], reverse=True)
        same += [h.tokens for h in one] == [h.tokens for h in other]
        scores = {tuple(h.tokens): h.score for h in one}
        shared = [h for h in other if tuple(h.tokens) in scores]
        assert [h.score for h in shared] == pytest.approx(
            [scores[tuple(h.tokens)] for h in shared], abs=1e-3
        )
    assert same >= 56  # 52 of 60 if only `num_beams` are asked for


def test_beams_go_on_after_the_first_ends_as_ours_do(tmp_path):
    model = undecided(tmp_path)
    engine = CTranslate2Engine(export_ctranslate2(tmp_path))
    sources, search = sentences(60), DecodingConfig(num_beams=4)
    limits = [2 * len(source) + 16 for source in sources]
    ours = TorchEngine(model).decode(sources, limits, search)
    theirs = engine.decode(sources, limits, search)
    assert len({len(best.tokens) for (best,) in ours}) > 10
    same = [one[0].tokens == other[0].tokens for one, other in zip(ours, theirs, strict=True)]
    assert sum(same) >= 57  # 52 with a patience of 1; the rules by which both stop still differ
    for (one,), (other,), equal in zip(ours, theirs, same, strict=True):
        assert not equal or one.score == pytest.approx(other.score, abs=1e-3)


@pytest.mark.parametrize("quantization", ["int8", "int16"])
def test_quantized_weights_load_and_say_nearly_the_same(tmp_path, quantization):
    saved(tmp_path)
    plain = CTranslate2Engine(export_ctranslate2(tmp_path, tmp_path / "f"))
    small = CTranslate2Engine(
        export_ctranslate2(tmp_path, tmp_path / "q", quantization=quantization)
    )
    sizes = [(tmp_path / part / "model.bin").stat().st_size for part in ("q", "f")]
    assert sizes[0] < sizes[1]
    pairs = sentences(10), sentences(10)[::-1]
    for one, other in zip(plain.score(*pairs), small.score(*pairs), strict=True):
        assert one != other
        torch.testing.assert_close(torch.tensor(one), torch.tensor(other), rtol=0.3, atol=1.5)


def test_separate_vocabularies_are_exported_with_their_own_words(tmp_path):
    own = train_tokenizers(PAIRS, vocab_size=270, separate=True)
    assert isinstance(own, Tokenizers)
    vocabs = {"source_vocab": 270, "target_vocab": 270}
    saved(tmp_path, replace(CONFIG, **vocabs), own)
    export_ctranslate2(tmp_path)
    texts = ["three trees", "", "bees see"]
    ours = Translator.from_pretrained(tmp_path).translate(texts)
    assert Translator.from_pretrained(tmp_path, engine="ctranslate2").translate(texts) == ours


def test_the_export_alone_translates_and_knows_the_weights_it_came_from(tmp_path):
    saved(tmp_path / "model")
    out = export_ctranslate2(tmp_path / "model", tmp_path / "elsewhere")
    texts = ["see bees", "trees"]
    expected = Translator.from_pretrained(tmp_path / "model").translate(texts)
    assert Translator.from_pretrained(out, engine="ctranslate2").translate(texts) == expected
    export_ctranslate2(tmp_path / "model")
    saved(tmp_path / "model", replace(CONFIG, tie_embeddings="none"))
    with pytest.raises(ValueError, match=r"must be of the weights .* trained again since\. Run"):
        Translator.from_pretrained(tmp_path / "model", engine="ctranslate2")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_the_export_knows_the_other_files_too_that_it_came_from(tmp_path, name):
    saved(tmp_path)
    mark = export_ctranslate2(tmp_path) / "askew.json"
    (tmp_path / name).write_text((tmp_path / name).read_text("utf-8") + "\n")
    with pytest.raises(ValueError, match="the config and the tokenizers; got"):
        Translator.from_pretrained(tmp_path, engine="ctranslate2")
    values = json.loads(mark.read_text("utf-8"))
    del values["made_of"]  # as before
    mark.write_text(json.dumps(values))
    assert Translator.from_pretrained(tmp_path, engine="ctranslate2").translate([""]) == [""]


def test_an_earlier_export_is_replaced_and_nothing_else(tmp_path):
    saved(tmp_path)
    for quantization in ("float32", "int8"):
        out = export_ctranslate2(tmp_path, quantization=quantization)
        assert json.loads((out / "askew.json").read_text())["quantization"] == quantization
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["ctranslate2"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").touch()
    with pytest.raises(ValueError, match="new, empty or an earlier export; got out"):
        export_ctranslate2(tmp_path, tmp_path / "thesis")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"qk_norm": True}, "qk_norm True"),
        ({"d_key": 8}, "d_key 8, d_value 16"),
        ({"learned_sinks": True}, "learned_sinks True"),
        ({"gate": "head"}, "gate 'head'"),
        ({"d_latent": 6}, "d_latent 6"),
        ({"kv_shared_every": 2}, "kv_shared_every 2"),
        ({"norm": "post"}, "norm 'post', final_norm True"),
    ],
)
def test_refuses_attention_that_ctranslate2_cannot_compute(tmp_path, changes, named):
    saved(tmp_path, replace(CONFIG, decoder=replace(DECODER, **changes)))
    with pytest.raises(ValueError, match=rf"CTranslate2 .*decoder.*{named}"):
        export_ctranslate2(tmp_path)
    assert not (tmp_path / "ctranslate2").exists()


def test_refuses_unknown_quantizations_and_folders_without_an_export(tmp_path):
    saved(tmp_path)
    assert "int8" in QUANTIZATIONS
    with pytest.raises(ValueError, match=r"quantization must be one of float32.*; got 'int4'"):
        export_ctranslate2(tmp_path, quantization="int4")
    with pytest.raises(ValueError, match=r"must be what askew export wrote; got .*Run askew"):
        Translator.from_pretrained(tmp_path, engine="ctranslate2")
    out = export_ctranslate2(tmp_path)
    (out / "model.bin").write_bytes((out / "model.bin").read_bytes()[:999])
    with pytest.raises(ValueError, match=r"got .*model\.bin altered\. Export again"):
        CTranslate2Engine(out)
    manifest = json.loads((out / "askew.json").read_text())
    sum_of_cut = file_sha256(out / "model.bin")
    manifest["sha256"] = manifest["files"]["model.bin"] = sum_of_cut
    (out / "askew.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"the export must be whole; got .*Export again"):
        CTranslate2Engine(out)


def test_a_source_beyond_the_positions_is_refused(tmp_path):
    saved(tmp_path)
    engine = CTranslate2Engine(export_ctranslate2(tmp_path))
    with pytest.raises(ValueError, match=r"at most 2048 tokens; got 2049"):
        engine.decode([[5] * 2048], [4], DecodingConfig())


def test_both_engines_read_special_tokens_in_a_text_as_text(tmp_path):
    saved(tmp_path)
    export_ctranslate2(tmp_path)
    texts = ["<s>three</s> trees", "bees <pad> see", "</s>"]
    one, other = (
        Translator.from_pretrained(tmp_path, engine=engine).translate(texts)
        for engine in ("torch", "ctranslate2")
    )
    assert one == other
    assert all(one)
