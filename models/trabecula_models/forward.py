"""How the networks are computed: one port, with torch and OpenVINO behind it. The choice changes the time, not the labels."""

from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trabecula_models.bundle import Bundle
from trabecula_models.errors import ModelError


class Engine(StrEnum):
    """What computes the networks. AUTO: torch on a GPU; on a CPU OpenVINO where it is installed, else torch."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """AUTO: half precision where the machine has units for it (a GPU; AMX or AVX512-BF16 under torch); FLOAT32: never."""

    AUTO = "auto"
    FLOAT32 = "float32"


class ForwardPass(Protocol):
    """A network with its weights."""

    engine: str
    """What computes it and how, for logs and benchmarks: "openvino float32"."""

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Output channels (channels, z, y, x) of one image (channels, z, y, x) whose edges are multiples of the network's pooling."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Where and how the networks run.

    Parameters
    ----------
    device : "auto" (a GPU where torch sees one, else the CPU), "cpu", "cuda" or "cuda:N".
    engine, precision : see there.
    """

    device: str = "auto"
    engine: Engine = Engine.AUTO
    precision: Precision = Precision.AUTO


def openvino_installed() -> bool:
    """Whether the extra "openvino" is installed; does not import it."""
    return find_spec("openvino") is not None


def resolve_device(device: str) -> str:
    """ "auto" as "cuda" or "cpu".

    Raises
    ------
    ModelError : a GPU is asked for and torch sees none.
    """
    if device == "cpu" or (device == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda" if device == "auto" else device
    if device == "auto":
        return "cpu"
    raise ModelError(f"the device {device!r} is not there", hint='set the device to "auto" or "cpu", or install a CUDA build of torch')


def build_forward(bundle: Bundle, compute: Compute) -> ForwardPass:
    """The forward pass of a bundle's network.

    Raises
    ------
    ModelError : OpenVINO is asked for and not installed, or the device is not there.
    """
    device = resolve_device(compute.device)
    on_cpu = device == "cpu"
    if compute.engine is Engine.OPENVINO and not (openvino_installed() and on_cpu):
        raise ModelError(
            "OpenVINO cannot compute the networks here",
            where=f"engine = {compute.engine.value!r}, device = {device!r}",
            hint='install it (pip install "trabecula[openvino]") and use the CPU, or set the engine to "auto"',
        )
    if on_cpu and compute.engine is not Engine.TORCH and openvino_installed():
        from trabecula_models.openvino_forward import OpenVinoForward

        return OpenVinoForward(bundle)
    from trabecula_models.torch_forward import TorchForward

    return TorchForward(bundle, device, half=compute.precision is Precision.AUTO)


def _may_have_gpu() -> bool:
    # Asking torch costs seconds of import; without a driver there is nothing to ask for.
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()
