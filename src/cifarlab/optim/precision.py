"""Where bfloat16 arithmetic pays."""

from __future__ import annotations

import torch


def multiplies_bf16_fast(device_type: str) -> bool:
    """Whether matrices in bfloat16 multiply faster than in float32 on the "cpu", "cuda" or "mps" device of this machine.

    CPU: AVX512-BF16 or AMX; AVX512 alone, like AVX2, emulates it many times slower. CUDA: from Ampere on.
    """
    if device_type == "cpu":
        found = torch.cpu.get_capabilities()
        compiled = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return bool(compiled and (found.get("avx512_bf16") or found.get("amx_bf16")))
    return device_type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
