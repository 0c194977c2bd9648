"""What computes."""

from __future__ import annotations

import torch


def hardware_name(device: torch.device) -> str:
    """A device's name for the card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads"


def joined_hardware(before: str, now: str) -> str:
    """What a run was trained on, one after the other, each once."""
    return "; ".join(dict.fromkeys([*(part for part in before.split("; ") if part), now]))


def has_bf16_units() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware (AMX, AVX512-BF16); emulated, it is slower than float32."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    units = any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return units and torch.backends.mkldnn.is_available()
