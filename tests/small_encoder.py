"""A small pretrained encoder of transformers in a folder, with random weights."""

import torch
from small_answerer import TOKENIZER
from transformers import BertConfig, BertModel


def save_encoder(folder, *, seed=0, positions=64):
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=330,
        hidden_size=12,
        num_attention_heads=2,
        num_hidden_layers=2,
        intermediate_size=16,
        max_position_embeddings=positions,
    )
    BertModel(config).save_pretrained(folder)
    TOKENIZER.save(str(folder / "tokenizer.json"))
    return folder
