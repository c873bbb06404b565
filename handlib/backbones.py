"""Image encoders by name: ResNets of our own, others from transformers; weights from the Hub.

transformers is imported where it is needed only: that takes longer than a photo's prediction.
"""

import torch
from torch import nn

from handlib.resnet import ResNet, ResNetConfig


def _resnet(depths, widths=(64, 128, 256, 512), layer="basic", stem=64):
    return ResNetConfig(
        embedding_size=stem, hidden_sizes=list(widths), depths=depths, layer_type=layer
    )


def _convnextv2(widths, depths):
    from transformers import ConvNextV2Config

    return ConvNextV2Config(hidden_sizes=widths, depths=depths)


def _dinov2(**sizes):
    from transformers import Dinov2Config

    return Dinov2Config(**sizes)


# name: (Hub repository of the pretrained weights or None, configuration for random weights).
# The configurations stand here so that random weights need no network.
_BACKBONES = {
    "resnet-tiny": (None, lambda: _resnet([1, 2, 2], (32, 96, 160), stem=32)),
    "resnet-small": (None, lambda: _resnet([1, 2, 2], (64, 128, 256), stem=64)),
    "resnet-medium": (None, lambda: _resnet([1, 2, 4], (64, 128, 256), stem=64)),
    "resnet-18": ("microsoft/resnet-18", lambda: _resnet([2, 2, 2, 2])),
    "resnet-34": ("microsoft/resnet-34", lambda: _resnet([3, 4, 6, 3])),
    "resnet-50": (
        "microsoft/resnet-50",
        lambda: _resnet([3, 4, 6, 3], (256, 512, 1024, 2048), "bottleneck"),
    ),
    "convnextv2-atto": (
        "facebook/convnextv2-atto-1k-224",
        lambda: _convnextv2([40, 80, 160, 320], [2, 2, 6, 2]),
    ),
    "convnextv2-tiny": (
        "facebook/convnextv2-tiny-1k-224",
        lambda: _convnextv2([96, 192, 384, 768], [3, 3, 9, 3]),
    ),
    "dinov2-small": (
        "facebook/dinov2-small",
        lambda: _dinov2(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14),
    ),
}
BACKBONES = tuple(_BACKBONES)


def make_backbone(name, init="random", channels=3):
    """An encoder whose ``feature_maps`` are (B, C, H, W), fine to coarse, C in ``channels``.

    Args:
        name: one of ``BACKBONES``, or a Hub repository or local folder that AutoBackbone knows.
        init: "random", or "pretrained" (downloaded once, then read from the Hub's cache).
        channels: of the input; to those beyond three, the encoder is blind at first.

    Raises:
        ValueError: for an unknown name, or one that has no pretrained weights.
        OSError: when the weights are neither cached nor reachable.
    """
    if init not in ("random", "pretrained"):
        raise ValueError(f"init must be 'random' or 'pretrained', not {init!r}")
    if name not in _BACKBONES and "/" not in name:
        raise ValueError(f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}")
    repository, make_config = _BACKBONES.get(name, (name, None))
    if init == "pretrained" and repository is None:
        raise ValueError(f"no pretrained weights exist for {name!r}: use init='random'")
    config = None if make_config is None else make_config()
    if init == "random" and isinstance(config, ResNetConfig):
        backbone = ResNet(config)
    else:
        backbone = _from_transformers(name, repository, config, init)
    if repository is None:  # our own, for CPUs
        _quarter_at_once(backbone)
    if channels > 3:
        _widen(backbone, channels)
    _freeze_unused(backbone)
    return backbone


def _from_transformers(name, repository, config, init):
    from transformers import AutoBackbone, AutoConfig

    try:
        if config is None or init == "pretrained":
            config = AutoConfig.from_pretrained(repository)
        # A transformer's blocks all have one resolution: the last one says it all.
        last = len(config.stage_names) - 1
        config.out_indices = [last] if config.model_type == "dinov2" else [last - 2, last - 1, last]
        if init == "pretrained":
            return AutoBackbone.from_pretrained(repository, config=config)
        return AutoBackbone.from_config(config)
    except OSError as error:
        raise OSError(
            f"backbone {name!r} could not be read from {repository!r} (the Hugging Face Hub, its "
            f"cache, or a folder): connect once to fill the cache, or use init='random'"
        ) from error


def _quarter_at_once(resnet):
    """Let the first convolution take steps of 4 px, instead of 2 px and a pooling by 2.

    The finest maps cost a CPU the most, and did not make the joints' places any better.
    """
    resnet.embedder.embedder.convolution.stride = (4, 4)
    resnet.embedder.pooler = nn.Identity()


def _widen(backbone, channels):
    """Let the first convolution take more channels, with weights of zero for the new ones."""
    name, first = next((n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d))
    extra = first.weight.new_zeros(len(first.weight), channels - 3, *first.kernel_size)
    first.weight = nn.Parameter(torch.cat([first.weight.detach(), extra], 1))
    first.in_channels = backbone.config.num_channels = channels
    # The module around it compares its input with the number it was made for.
    while name:
        name = name.rpartition(".")[0]
        module = backbone.get_submodule(name)
        if hasattr(module, "num_channels"):
            module.num_channels = channels


def _freeze_unused(backbone):
    """Switch off what a forward pass never touches: several processes wait for every gradient."""
    for name, parameter in backbone.named_parameters():
        if name.endswith("mask_token"):
            parameter.requires_grad_(False)
