"""The forward pass of MONAI's plain 3D UNet, without importing MONAI.

Importing MONAI takes 4 s, as long as a whole analysis; measuring a CT needs only the forward pass of a network whose weights are
known. Training builds the network with MONAI (``networks.py``); a test holds this twin to the same outputs.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every reader of torch code knows

from trabecula_models.errors import ModelError

SLOPE_KEY = "adn.A.weight"


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A convolution with its bias and, but for the last layer, the slope of its PReLU."""

    weight: torch.Tensor
    bias: torch.Tensor
    slope: torch.Tensor | None

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        """Instance norm and PReLU, as MONAI's default order "NDA"."""
        return x if self.slope is None else F.prelu(F.instance_norm(x), self.slope)


class PlainUNet:
    """A UNet of stride-2 levels without residual units, instance norm and PReLU.

    Parameters
    ----------
    state : MONAI's state dict of ``UNet(num_res_units=0, norm="INSTANCE")``.
    """

    def __init__(self, state: dict[str, torch.Tensor], device: str = "cpu") -> None:
        self._down: list[_Layer] = []
        self._up: list[_Layer] = []
        prefix = "model."
        while f"{prefix}0.conv.weight" in state:
            self._down.append(self._layer(state, f"{prefix}0.", device))
            self._up.insert(0, self._layer(state, f"{prefix}2.", device))
            prefix += "1.submodule."
        if not self._down or f"{prefix}conv.weight" not in state:
            raise ModelError("the weights are not those of a plain UNet", hint="use a network with residual_units 0")
        self._bottom = self._layer(state, prefix, device)

    @staticmethod
    def _layer(state: dict[str, torch.Tensor], prefix: str, device: str) -> _Layer:
        weight = state[f"{prefix}conv.weight"].to(device, memory_format=torch.channels_last_3d)
        slope = state.get(f"{prefix}{SLOPE_KEY}")
        return _Layer(weight, state[f"{prefix}conv.bias"].to(device), None if slope is None else slope.to(device))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Output channels for an image (1, 1, z, y, x) whose edges are multiples of 2 to the number of levels."""
        skips = []
        for layer in self._down:
            x = layer.finish(F.conv3d(x, layer.weight, layer.bias, stride=2, padding=1))
            skips.append(x)
        x = self._bottom.finish(F.conv3d(x, self._bottom.weight, self._bottom.bias, stride=1, padding=1))
        for layer, skip in zip(self._up, reversed(skips), strict=True):
            x = torch.cat([skip, x], dim=1)
            x = layer.finish(F.conv_transpose3d(x, layer.weight, layer.bias, stride=2, padding=1, output_padding=1))
        return x
