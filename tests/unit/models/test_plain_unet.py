"""The forward pass used for measuring is the one that was trained."""

import pytest
import torch

from trabecula_models.errors import ModelError
from trabecula_models.networks import NetworkConfig, build_network
from trabecula_models.plain_unet import PlainUNet

SHAPES = (
    NetworkConfig(channels=(4, 8, 16, 24), strides=(2, 2, 2)),
    NetworkConfig(channels=(4, 8, 16, 24), strides=(1, 1, 2), norm=None, in_channels=5, out_channels=1),
)


@pytest.mark.filterwarnings("ignore")  # warnings of MONAI's own import are not ours
@pytest.mark.parametrize("config", SHAPES, ids=("with instance norm", "without norm, at full resolution"))
def test_the_plain_forward_pass_equals_monais(config: NetworkConfig) -> None:
    torch.manual_seed(3)
    network = build_network(config).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("adn.A.weight"):
            torch.nn.init.uniform_(parameter, 0.05, 0.4)
    image = torch.randn(1, config.in_channels, 32, 24, 16)
    with torch.inference_mode():
        expected = network(image)
        actual = PlainUNet(dict(network.state_dict()), config.strides, normed=config.norm is not None)(image)
    assert actual.shape == expected.shape
    assert torch.allclose(actual, expected, atol=1e-4)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ModelError):
        PlainUNet({"model.conv.weight": torch.zeros(1)}, (2, 2))
