"""Numbers of half width, where the hardware is fast at them."""

import torch


def fast_in_bf16(device):
    """Whether "cpu" or "cuda" has units for bfloat16; without them it is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def precision(name):
    """``TrainConfig.mixed_precision`` as accelerate takes it: "auto" is decided here."""
    if name != "auto":
        return name
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if fast_in_bf16(device):
        return "bf16"
    return "fp16" if device == "cuda" else "no"


def fast_autocast(device):
    """A context in which a network runs in bfloat16 on "cpu" or "cuda", where that is faster."""
    return torch.autocast(device, torch.bfloat16, enabled=fast_in_bf16(device))
