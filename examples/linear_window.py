"""Attention to the last 256 positions: equal numbers by a mask and by a band, in less time.

python examples/linear_window.py
"""

import time

import torch

from askew.attention import attend, band_mask, explain_route

BEFORE = 255


def seconds(call) -> float:
    call()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return sorted(times)[1]


def main() -> None:
    torch.manual_seed(0)
    print("positions   masked square      band   ratio   largest difference")
    for length in (1024, 2048, 4096):
        q, k, v = (torch.randn(1, 4, length, 32) for _ in range(3))
        mask = band_mask(length, length, before=BEFORE, after=0)

        def square(q=q, k=k, v=v, mask=mask):
            return attend(q, k, v, attn_mask=mask, route="dense").output

        def band(q=q, k=k, v=v):
            return attend(q, k, v, window=(BEFORE, 0), route="banded").output

        apart = (square() - band()).abs().max()
        wide, narrow = seconds(square), seconds(band)
        print(
            f"{length:9}   {wide * 1e3:10.1f} ms {narrow * 1e3:6.1f} ms {wide / narrow:6.1f}x"
            f"   {apart:.0e}"
        )
    choice = explain_route(q, k, v, window=(BEFORE, 0))
    print(f"left alone, it takes the route {choice.route!r}: {choice.reason}")


if __name__ == "__main__":
    main()
