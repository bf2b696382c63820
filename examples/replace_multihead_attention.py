"""Replace nn.MultiheadAttention by asymmetric attention: first equal, then narrower.

python examples/replace_multihead_attention.py
"""

import torch
from torch import nn

from askew.attention import AsymmetricAttention, mask_from_torch


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def main() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(256, 8, batch_first=True)
    ours = AsymmetricAttention.from_torch(theirs)  # copies the weights

    x = torch.randn(4, 50, 256)
    padding = torch.arange(50) >= torch.tensor([50, 40, 30, 20])[:, None]  # torch: True = hidden
    expected, _ = theirs(x, x, x, key_padding_mask=padding, need_weights=False)
    output = ours(x, key_mask=mask_from_torch(padding)).output  # here: True = may be seen
    print(f"largest difference: {(output - expected).abs().max():.1e}")

    # Keys choose and values are carried: choosing needs less width.
    narrow = AsymmetricAttention(256, d_query=64, num_heads=8)
    print(f"parameters: {parameters(theirs):,}, with queries of 64: {parameters(narrow):,}")

    # A decoder 256 wide that reads an encoder 512 wide, without an adapter between them, and
    # that stores two key heads for its eight query heads.
    cross = AsymmetricAttention(256, d_source=512, num_heads=8, num_kv_heads=2)
    memory = torch.randn(4, 70, 512)
    print(f"reading another width: {tuple(cross(x, memory).output.shape)}")


if __name__ == "__main__":
    main()
