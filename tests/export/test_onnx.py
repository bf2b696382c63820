"""The ONNX graphs give our logits at any batch size and length, and decode as we do."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from saved_model import CONFIG, DECODER, saved, sentences
from small_encoder import save_encoder

from askew.export import export_onnx
from askew.models import DecodingConfig, LabelModelConfig, TorchEngine, load_label_model
from askew.tasks import SplitLabelled, text_label_task
from askew.text import LabelledTexts, load_any_tokenizer
from askew.transformer import PositionConfig

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


LEARNED = PositionConfig(kind="learned", offset=2, length=90)


def graph(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def batch(size, length, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, 200, (size, length), generator=generator)
    lengths = torch.randint(1, length + 1, (size, 1), generator=generator)
    lengths[0] = length
    return tokens, (torch.arange(length) < lengths).long()


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(
            CONFIG,
            adapter="shared",
            tie_embeddings="all",
            decoder=replace(DECODER, qk_norm=True),
        ),
        replace(
            CONFIG,
            encoder=replace(CONFIG.encoder, norm="post", final_norm=False, positions=LEARNED),
            decoder=replace(
                DECODER, d_value=8, embedding_norm=True, positions=PositionConfig(width=24)
            ),
            output_bias=True,
        ),
        replace(
            CONFIG,
            encoder=replace(CONFIG.encoder, learned_sinks=True, gate="head"),
            decoder=replace(DECODER, learned_sinks=True, gate="element"),
        ),
        replace(
            CONFIG,
            encoder=replace(CONFIG.encoder, d_latent=7),
            decoder=replace(DECODER, d_latent=5, d_rotary=2, learned_sinks=True),
        ),
        replace(
            CONFIG,
            encoder=replace(CONFIG.encoder, kv_shared_every=3),
            decoder=replace(DECODER, kv_shared_every=2, num_kv_heads=2, learned_sinks=True),
        ),
    ],
    ids=[
        "different sides",
        "shared parts",
        "converted and cut",
        "sinks and gates",
        "latents",
        "keys of others",
    ],
)
def test_graphs_give_our_logits_and_our_greedy_output(tmp_path, config):
    model = saved(tmp_path, config)
    out = export_onnx(tmp_path)
    encoder, decoder = graph(out / "encoder.onnx"), graph(out / "decoder.onnx")
    for size, source_length, target_length in ((1, 1, 1), (3, 7, 4), (2, 30, 11)):
        tokens, mask = batch(size, source_length, 1)
        target, _ = batch(size, target_length, 2)
        with torch.no_grad():
            expected = model(tokens, mask, decoder_input_ids=target).logits
        given = {"attention_mask": mask.numpy()}
        memory = encoder.run(None, {"input_ids": tokens.numpy(), **given})[0]
        (logits,) = decoder.run(
            None, {"decoder_input_ids": target.numpy(), "memory": memory, **given}
        )
        np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-4)
    for source in sentences(5):
        ((ours,),) = TorchEngine(model).decode([source], [12], DecodingConfig())
        ids = np.array([[*source, 2]])
        mask = np.ones_like(ids)
        memory = encoder.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        written = [1]
        while len(written) < 13:
            call = {"decoder_input_ids": np.array([written]), "memory": memory}
            best = decoder.run(None, {**call, "attention_mask": mask})[0][0, -1].argmax()
            if best == 2:
                break
            written.append(int(best))
        assert written[1:] == ours.tokens


@pytest.mark.parametrize("kind", ["ours", "pretrained"])
def test_a_graph_of_labels_gives_our_logits_and_labels(tmp_path, kind):
    texts = ["the cat sat", "a dog ran", "one bird flew, and a dog"]
    rows = LabelledTexts(texts, [("cats",), ("dogs",), ("birds", "dogs")])
    pretrained = save_encoder(tmp_path) if kind == "pretrained" else None
    split = SplitLabelled(rows, rows, rows)
    task = text_label_task("pets", split, vocab_size=300, pretrained=pretrained)
    config = LabelModelConfig(vocab=task.tokenizer.get_vocab_size(), max_tokens=40)
    model = task.build(config, 0).eval()
    model.config.thresholds = [-0.01, 0.0, 0.02]
    folder = tmp_path / "model"
    folder.mkdir()
    task.save(model, folder)
    out = export_onnx(folder)
    run = graph(out / "model.onnx").run
    for size, length in ((1, 1), (3, 7), (2, 40)):
        tokens, mask = batch(size, length, 1)
        with torch.no_grad():
            expected = model(tokens, mask).logits
        (logits,) = run(None, {"input_ids": tokens.numpy(), "attention_mask": mask.numpy()})
        np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-4)
    mark = json.loads((out / "askew.json").read_text())
    assert mark["max_tokens"] == 40
    assert not mark["exclusive"]
    tokenizer = load_any_tokenizer(out / "tokenizer.json")
    for text, found in zip(texts, task.labeller(model).label(texts), strict=True):
        ids = np.array([tokenizer.encode(text).ids])
        (logits,) = run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        held = logits[0] >= np.array(mark["thresholds"])
        names = {name for name, holds in zip(mark["labels"], held, strict=True) if holds}
        assert names == set(found.labels)
    assert load_label_model(folder).config.labels == mark["labels"]
