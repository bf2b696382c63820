"""A small model of every kind of encoder-decoder that can be shrunk, with random weights."""

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
from askew.transformer import EncoderDecoderConfig, StackConfig

BART = {
    "vocab_size": 64,
    "d_model": 16,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "bos_token_id": 0,
    "decoder_start_token_id": 2,
}
SPARSE = {"num_sparse_encoder_layers": 2, "num_sparse_decoder_layers": 2}
T5 = {
    "vocab_size": 64,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 16,
    "num_layers": 4,
    "num_decoder_layers": 4,
    "num_heads": 2,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
PROPHETNET = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_encoder_layers": 4,
    "num_decoder_layers": 4,
    "num_encoder_attention_heads": 2,
    "num_decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
MOONSHINE = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 16,
    "encoder_num_hidden_layers": 4,
    "decoder_num_hidden_layers": 4,
    "encoder_num_attention_heads": 2,
    "decoder_num_attention_heads": 2,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "bos_token_id": 1,
    "decoder_start_token_id": 1,
}
GEMMA = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 4,
}
LED_POSITIONS = {"max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 64}
SETTINGS = {
    "Bart": BART,
    "Blenderbot": BART,
    "BlenderbotSmall": BART,
    "LED": {**BART, **LED_POSITIONS, "attention_window": [4, 8, 4, 8]},
    "LongT5": T5,
    "LongT5, global": {**T5, "encoder_attention_type": "transient-global"},
    "M2M100": BART,
    "MBart": BART,
    "MT5": T5,
    "Marian": BART,
    "Moonshine": MOONSHINE,
    "Pegasus": BART,
    "ProphetNet": PROPHETNET,
    "SwitchTransformers": {**T5, "num_experts": 3, **SPARSE},
    "T5": T5,
    "T5Gemma": {"encoder": GEMMA, "decoder": GEMMA, "vocab_size": 64},
    "UMT5": T5,
    "Whisper": {
        **BART,
        "num_mel_bins": 8,
        "max_source_positions": 10,
        "max_target_positions": 32,
    },
}
NAMES = [*SETTINGS, "askew"]


def small_model(name: str) -> PreTrainedModel:
    """Build a model with four layers a side whose weights are all far from zero."""
    torch.manual_seed(0)
    if name == "askew":
        side = StackConfig(d_model=16, num_layers=4, num_heads=2, d_ff=16)
        sizes = {"source_vocab": 64, "target_vocab": 64, "encoder": side, "decoder": side}
        config = AsymmetricTranslationConfig.from_plain(EncoderDecoderConfig(**sizes))
        model = AsymmetricTranslationModel(config)
    else:
        kind = name.split(",")[0]
        head = "MTModel" if kind == "Marian" else "ForConditionalGeneration"
        config = getattr(transformers, f"{kind}Config")(**SETTINGS[name])
        model = getattr(transformers, kind + head)(config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def inputs_of(name: str) -> dict[str, Tensor]:
    """Return one source."""
    generator = torch.Generator().manual_seed(0)
    if name == "Whisper":
        return {"input_features": torch.randn(1, 8, 20, generator=generator)}
    if name == "Moonshine":
        return {"input_values": torch.randn(1, 4000, generator=generator)}
    return {"input_ids": torch.tensor([[5, 6, 7, 2]])}
