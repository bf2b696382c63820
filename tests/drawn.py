"""What laws for drawn input share: how often, and tensors from a drawn seed."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

FEW = settings(max_examples=25)
SEEDS = st.integers(0, 2**31)


def normal(seed, *shape, size=1.0):
    """Double precision, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(*shape, generator=generator, dtype=torch.double)
