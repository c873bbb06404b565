"""Our ResNets against those of transformers: the same names, the same numbers."""

import pytest
import torch

from handlib.backbones import make_backbone
from handlib.resnet import ResNet, ResNetConfig


@pytest.mark.parametrize(
    ("depths", "widths", "layer"),
    [([1, 2, 2], [8, 16, 24], "basic"), ([2, 1, 1, 2], [16, 16, 32, 64], "bottleneck")],
)
def test_weights_and_outputs_are_those_of_transformers(depths, widths, layer):
    import transformers

    config = transformers.ResNetConfig(
        depths=depths, hidden_sizes=widths, layer_type=layer, embedding_size=8
    )
    n = len(depths)
    config.out_indices = [n - 2, n - 1, n]
    theirs = transformers.AutoBackbone.from_config(config).eval()
    ours = ResNet(ResNetConfig(depths, widths, layer, embedding_size=8)).eval()
    ours.load_state_dict(theirs.state_dict())
    assert ours.channels == theirs.channels == widths[-3:]
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        pairs = zip(ours(image).feature_maps, theirs(image).feature_maps, strict=True)
        for mine, other in pairs:
            torch.testing.assert_close(mine, other)


def test_random_weights_are_drawn_alike():
    import transformers

    config = transformers.ResNetConfig(depths=[1, 1, 1], hidden_sizes=[64] * 3, layer_type="basic")
    theirs = transformers.AutoBackbone.from_config(config)
    ours = make_backbone("resnet-18")
    name = "encoder.stages.0.layers.0.layer.0.convolution.weight"
    spread = [net.state_dict()[name].std().item() for net in (theirs, ours)]
    assert spread[0] == pytest.approx(spread[1], rel=0.05)
