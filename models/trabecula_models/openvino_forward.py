"""The networks computed by OpenVINO on a CPU, in float32; needs neither torch nor a converted file."""

import os
import sys
from collections import OrderedDict
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from trabecula_models.bundle import Bundle
from trabecula_models.errors import ModelError

SLOPE_KEY = "adn.A.weight"

KEPT_SHAPES = 4
"""Compiled networks kept, one per patch shape: the usual windows of both networks, and the smaller ones of small series."""


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry.

    ``import openvino`` reports itself to its maker over the network unless the package ``openvino_telemetry`` is missing. A machine
    that holds patient data must stay silent, so the package is hidden; OpenVINO then uses its own stand-in that does nothing.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # documented: makes its import fail
    import openvino

    module: ModuleType = openvino
    return module


class OpenVinoForward:
    """A plain UNet (see ``plain_unet.py``) as an OpenVINO graph, compiled once per patch shape; without norms once for all shapes.

    Parameters
    ----------
    bundle : weights and description.
    """

    engine = "openvino float32 cpu"

    def __init__(self, bundle: Bundle) -> None:
        self._openvino: Any = import_openvino()
        self._core: Any = self._openvino.Core()
        self._state: dict[str, NDArray[np.float32]] = load_file(bundle.weights_path)
        self._strides, self._normed = bundle.strides, bundle.normed
        if "model.0.conv.weight" not in self._state:
            raise ModelError("the weights are not those of a plain UNet", hint="use a network with residual_units 0")
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Output channels (channels, z, y, x) of one image (channels, z, y, x)."""
        # Views of bodies come in many shapes; without norms a graph for any shape costs no time.
        shape = image.shape if self._normed else (image.shape[0], -1, -1, -1)
        out: NDArray[np.float32] = self._network(shape)(np.ascontiguousarray(image)[None])[0][0]
        return out

    def _network(self, shape: tuple[int, ...]) -> Any:
        if shape in self._compiled:
            self._compiled.move_to_end(shape)
        else:
            if len(self._compiled) >= KEPT_SHAPES:
                self._compiled.popitem(last=False)
            self._compiled[shape] = self._core.compile_model(self._graph(shape), "CPU", _options())
        return self._compiled[shape]

    def _graph(self, shape: tuple[int, ...]) -> Any:
        from openvino import opset13 as ops

        image = ops.parameter([1, *shape], np.float32)
        x, prefix = image, "model."
        skips, up_prefixes = [], []
        for stride in self._strides:
            x = self._layer(ops, x, f"{prefix}0.", stride=stride)
            skips.append(x)
            up_prefixes.append(f"{prefix}2.")
            prefix += "1.submodule."
        x = self._layer(ops, x, prefix, stride=1)
        for up_prefix, skip, stride in zip(reversed(up_prefixes), reversed(skips), reversed(self._strides), strict=True):
            x = self._layer(ops, ops.concat([skip, x], axis=1), up_prefix, stride=stride, up=True)
        return self._openvino.Model([x], [image], "plain_unet")

    def _layer(self, ops: Any, x: Any, prefix: str, *, stride: int, up: bool = False) -> Any:
        """Convolution (or its transpose) with bias, then instance norm, if there is one, and PReLU but for the last layer."""
        weight, bias = self._state[f"{prefix}conv.weight"], self._state[f"{prefix}conv.bias"]
        edges: dict[str, list[int]] = {"strides": [stride] * 3, "pads_begin": [1] * 3, "pads_end": [1] * 3, "dilations": [1] * 3}
        x = (
            ops.convolution_backprop_data(x, weight, output_padding=[stride - 1] * 3, **edges)
            if up
            else ops.convolution(x, weight, **edges)
        )
        x = ops.add(x, bias.reshape(1, -1, 1, 1, 1))
        slope = self._state.get(f"{prefix}{SLOPE_KEY}")
        if slope is None:
            return x
        if self._normed:
            x = ops.mvn(x, np.array([2, 3, 4], dtype=np.int64), normalize_variance=True, eps=1e-5, eps_mode="inside_sqrt")
        return ops.prelu(x, slope)


def _options() -> dict[str, Any]:
    # float32 by name: on CPUs with bfloat16 units OpenVINO would use them unasked, and move outlines.
    # As many threads as the process may use: the same number each time keeps the last digits the same.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(os.environ.get("OMP_NUM_THREADS", "") or cores)
    return {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
