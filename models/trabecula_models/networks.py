"""The one place that builds both networks, from a small frozen description that is stored beside their weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trabecula_models.bundle import load_bundle

if TYPE_CHECKING:
    from torch import nn

CLASS_CHANNELS = 7
"""Background, body, posterior elements, disc, sacrum, rib, pelvis."""
INPUT_LOW_HU, INPUT_HIGH_HU = -200.0, 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Shape of a 3D UNet (MONAI); by default that of `locate` and `delineate`: HU clipped and scaled to -1..1, eight output channels.

    Output channels 0-6 are class logits; channel 7 is centre heat (0..1, `delineate`) or the vertebral level as
    VerSe index (T1 = 8 .. T12 = 19, L1 = 20 .. L5 = 24, S1 = 25, `locate`).
    """

    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    residual_units: int = 0
    norm: str | None = "INSTANCE"
    in_channels: int = 1
    out_channels: int = CLASS_CHANNELS + 1

    @property
    def multiple_voxels(self) -> int:
        """Every input edge must be a multiple of this."""
        product = 1
        for stride in self.strides:
            product *= stride
        return product


REFINE_NETWORK = NetworkConfig(channels=(12, 24, 48, 96, 96), strides=(1, 1, 2, 2), norm="BATCH", in_channels=5, out_channels=1)
"""`refine` while it is trained: two levels at full resolution, where edges are. Export folds the norms into the convolutions."""


def build_network(config: NetworkConfig) -> nn.Module:
    """Build the untrained network."""
    from monai.networks.nets.unet import UNet  # importing monai takes seconds: only where a network is built

    network: nn.Module = UNet(
        spatial_dims=3,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        channels=config.channels,
        strides=config.strides,
        num_res_units=config.residual_units,
        norm=config.norm,
    )
    return network


def monai_definition(config: NetworkConfig) -> dict[str, object]:
    """The network as MONAI's configuration describes it (``network_def`` of a bundle's inference.json)."""
    return {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "channels": list(config.channels),
        "strides": list(config.strides),
        "num_res_units": config.residual_units,
        "norm": config.norm,
    }


def config_from_definition(definition: dict[str, Any]) -> NetworkConfig:
    """The description behind a bundle's ``network_def``."""
    return NetworkConfig(
        channels=tuple(definition["channels"]),
        strides=tuple(definition["strides"]),
        residual_units=int(definition["num_res_units"]),
        norm=definition["norm"],
        in_channels=int(definition["in_channels"]),
        out_channels=int(definition["out_channels"]),
    )


def load_network(folder: Path) -> nn.Module:
    """Build the network of a bundle folder, with its weights, in evaluation mode."""
    from safetensors.torch import load_file

    bundle = load_bundle(folder.name, folder.parent)
    network = build_network(config_from_definition(bundle.network))
    network.load_state_dict(load_file(bundle.weights_path))
    return network.eval()
