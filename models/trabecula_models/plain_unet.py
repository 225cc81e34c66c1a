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
    stride: int
    normed: bool

    def down(self, x: torch.Tensor) -> torch.Tensor:
        """Convolution, then instance norm and PReLU, as MONAI's default order "NDA"."""
        return self._finish(F.conv3d(x, self.weight, self.bias, stride=self.stride, padding=1))

    def up(self, x: torch.Tensor) -> torch.Tensor:
        """The transposed convolution, which doubles the edges where the stride is 2; then as `down`."""
        return self._finish(F.conv_transpose3d(x, self.weight, self.bias, stride=self.stride, padding=1, output_padding=self.stride - 1))

    def _finish(self, x: torch.Tensor) -> torch.Tensor:
        if self.slope is None:
            return x
        return F.prelu(F.instance_norm(x) if self.normed else x, self.slope)


class PlainUNet:
    """A UNet without residual units, with PReLU and either instance norm or none.

    Parameters
    ----------
    state : MONAI's state dict of ``UNet(num_res_units=0, norm="INSTANCE")``, or of one with ``norm=None``.
    strides : stride of each level.
    normed : whether there is instance norm.
    """

    def __init__(self, state: dict[str, torch.Tensor], strides: tuple[int, ...], *, normed: bool = True, device: str = "cpu") -> None:
        self._down: list[_Layer] = []
        self._up: list[_Layer] = []
        prefix = "model."
        for stride in strides:
            if f"{prefix}0.conv.weight" not in state:
                break
            self._down.append(self._layer(state, f"{prefix}0.", stride, normed, device))
            self._up.insert(0, self._layer(state, f"{prefix}2.", stride, normed, device))
            prefix += "1.submodule."
        if len(self._down) < len(strides) or f"{prefix}conv.weight" not in state:
            raise ModelError("the weights are not those of a plain UNet", hint="use a network with residual_units 0")
        self._bottom = self._layer(state, prefix, 1, normed, device)

    @staticmethod
    def _layer(state: dict[str, torch.Tensor], prefix: str, stride: int, normed: bool, device: str) -> _Layer:
        weight = state[f"{prefix}conv.weight"].to(device, memory_format=torch.channels_last_3d)
        slope = state.get(f"{prefix}{SLOPE_KEY}")
        slope = None if slope is None else slope.to(device)
        return _Layer(weight=weight, bias=state[f"{prefix}conv.bias"].to(device), slope=slope, stride=stride, normed=normed)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Output channels for an image (1, channels, z, y, x) whose edges are multiples of the product of the strides."""
        skips = []
        for layer in self._down:
            x = layer.down(x)
            skips.append(x)
        x = self._bottom.down(x)
        for layer, skip in zip(self._up, reversed(skips), strict=True):
            x = layer.up(torch.cat([skip, x], dim=1))
        return x
