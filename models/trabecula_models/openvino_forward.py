"""The networks computed by OpenVINO on a CPU, in float32; needs neither torch nor a converted file."""

import os
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

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
    """A plain UNet (see ``plain_unet.py``) as an OpenVINO graph, compiled once per patch shape.

    Parameters
    ----------
    weights_path : safetensors file with MONAI's state dict of ``UNet(num_res_units=0, norm="INSTANCE")``.
    """

    engine = "openvino float32 cpu"

    def __init__(self, weights_path: Path) -> None:
        self._openvino: Any = import_openvino()
        self._core: Any = self._openvino.Core()
        self._state: dict[str, NDArray[np.float32]] = load_file(weights_path)
        if "model.0.conv.weight" not in self._state:
            raise ModelError("the weights are not those of a plain UNet", hint="use a network with residual_units 0")
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def __call__(self, patch_zyx: NDArray[np.float32]) -> NDArray[np.float32]:
        """Output channels (channels, z, y, x) of one scaled patch."""
        out: NDArray[np.float32] = self._network(patch_zyx.shape)(np.ascontiguousarray(patch_zyx)[None, None])[0][0]
        return out

    def _network(self, shape_zyx: tuple[int, ...]) -> Any:
        if shape_zyx in self._compiled:
            self._compiled.move_to_end(shape_zyx)
        else:
            if len(self._compiled) >= KEPT_SHAPES:
                self._compiled.popitem(last=False)
            self._compiled[shape_zyx] = self._core.compile_model(self._graph(shape_zyx), "CPU", _options())
        return self._compiled[shape_zyx]

    def _graph(self, shape_zyx: tuple[int, ...]) -> Any:
        from openvino import opset13 as ops

        image = ops.parameter([1, 1, *shape_zyx], np.float32)
        x, prefix = image, "model."
        skips, up_prefixes = [], []
        while f"{prefix}0.conv.weight" in self._state:
            x = self._layer(ops, x, f"{prefix}0.", stride=2)
            skips.append(x)
            up_prefixes.append(f"{prefix}2.")
            prefix += "1.submodule."
        x = self._layer(ops, x, prefix, stride=1)
        for up_prefix, skip in zip(reversed(up_prefixes), reversed(skips), strict=True):
            x = self._layer(ops, ops.concat([skip, x], axis=1), up_prefix, stride=2, up=True)
        return self._openvino.Model([x], [image], "plain_unet")

    def _layer(self, ops: Any, x: Any, prefix: str, *, stride: int, up: bool = False) -> Any:
        """Convolution (or its transpose) with bias, then instance norm and PReLU but for the last layer."""
        weight, bias = self._state[f"{prefix}conv.weight"], self._state[f"{prefix}conv.bias"]
        edges: dict[str, list[int]] = {"strides": [stride] * 3, "pads_begin": [1] * 3, "pads_end": [1] * 3, "dilations": [1] * 3}
        x = ops.convolution_backprop_data(x, weight, output_padding=[1] * 3, **edges) if up else ops.convolution(x, weight, **edges)
        x = ops.add(x, bias.reshape(1, -1, 1, 1, 1))
        slope = self._state.get(f"{prefix}{SLOPE_KEY}")
        if slope is None:
            return x
        axes = np.array([2, 3, 4], dtype=np.int64)
        return ops.prelu(ops.mvn(x, axes, normalize_variance=True, eps=1e-5, eps_mode="inside_sqrt"), slope)


def _options() -> dict[str, Any]:
    # float32 by name: on CPUs with bfloat16 units OpenVINO would use them unasked, and move outlines.
    # As many threads as the process may use: the same number each time keeps the last digits the same.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(os.environ.get("OMP_NUM_THREADS", "") or cores)
    return {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
