"""The networks computed by torch: float32 on a CPU, half precision where the machine has units for it."""

from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from trabecula_models.bundle import Bundle
from trabecula_models.plain_unet import PlainUNet

FAST_BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
"""CPUs without these compute bfloat16 in software: measured 12 times slower than float32."""


class TorchForward:
    """A network under torch.

    Parameters
    ----------
    bundle : weights and description.
    device : "cpu" or a CUDA device.
    half : use bfloat16 (CPU with units for it) or float16 (GPU), with float32 where precision matters (autocast).
    """

    def __init__(self, bundle: Bundle, device: str = "cpu", *, half: bool = True) -> None:
        self._device = torch.device(device)
        self._network = PlainUNet(load_file(bundle.weights_path), bundle.strides, normed=bundle.normed, device=device)
        self._dtype = half_type(self._device.type, cpu_flags()) if half else None
        self.engine = f"torch {str(self._dtype or torch.float32).removeprefix('torch.')} {self._device.type}"

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Output channels (channels, z, y, x) of one image (channels, z, y, x)."""
        patch = torch.from_numpy(np.ascontiguousarray(image))[None].to(self._device)
        cast = torch.autocast(self._device.type, dtype=self._dtype) if self._dtype else nullcontext()
        # Benchmarking picks another algorithm from run to run, and with it other last digits.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact, cast:
            channels = self._network(patch.contiguous(memory_format=torch.channels_last_3d))[0]
        # Each channel in one piece of memory, as whoever adds up channel by channel wants it: that takes half the time.
        out: NDArray[np.float32] = channels.to(torch.float32, memory_format=torch.contiguous_format).cpu().numpy()
        return out


def half_type(device_type: str, flags: frozenset[str]) -> torch.dtype | None:
    """The half-precision type that is quick on a device, or None; ``flags`` are the CPU's."""
    if device_type == "cuda":
        return torch.float16
    return torch.bfloat16 if flags & FAST_BFLOAT16_FLAGS else None


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """The CPU's features as Linux names them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))
