"""The ONNX graphs give our logits at any batch size and length, and decode as we do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from saved_model import CONFIG, DECODER, saved, sentences

from askew.export import export_onnx
from askew.models import DecodingConfig, TorchEngine
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
    ],
    ids=["different sides", "shared parts", "converted and cut", "sinks and gates"],
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
