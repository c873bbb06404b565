"""ResNets (He et al. 2016) in plain torch, with the names and numbers of transformers' ones.

So a checkpoint of either loads into the other, and a prediction need not wait for transformers to
be imported, which takes longer than torch itself.
"""

from dataclasses import dataclass
from types import SimpleNamespace

from torch import nn


@dataclass
class ResNetConfig:
    """What a ``ResNet`` is made of; fields as in transformers."""

    depths: list
    """Layers of each stage."""
    hidden_sizes: list
    """Channels of each stage."""
    layer_type: str = "basic"
    """"basic": two 3x3 convolutions, or "bottleneck"."""
    embedding_size: int = 64
    """Channels of the first convolution."""
    num_channels: int = 3
    """Channels of the input."""


class ResNet(nn.Module):
    """An encoder whose ``feature_maps`` are those of the last three stages.

    Attributes:
        config: ``ResNetConfig``. channels: of the maps that are returned.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.channels = list(config.hidden_sizes[-3:])
        self.embedder = _Embedder(config)
        self.encoder = _Encoder(config)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels):
        """(B, C, H, W) -> object with ``feature_maps``, fine to coarse."""
        x, maps = self.embedder(pixels), []
        for stage in self.encoder.stages:
            for layer in stage.layers:
                x = layer(x)
            maps.append(x)
        return SimpleNamespace(feature_maps=tuple(maps[-3:]))

    def grow(self, known):
        """Let the layers of which ``known`` says nothing pass on what they get, until they learn.

        So weights of a shallower encoder begin a deeper one that gives the same maps.

        Args:
            known: names of ``state_dict``.

        Returns:
            the ``state_dict`` of these layers.
        """
        new = {}
        for name, layer in self.named_modules():
            is_new = not any(key.startswith(f"{name}.") for key in known)
            if is_new and isinstance(layer, _Residual) and isinstance(layer.shortcut, nn.Identity):
                # Nothing beside the shortcut, whose input is not negative.
                nn.init.zeros_(layer.layer[-1].normalization.weight)
                new |= {f"{name}.{key}": value for key, value in layer.state_dict().items()}
        return new


class _Embedder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embedder = _Convolution(config.num_channels, config.embedding_size, 7, 2)
        self.pooler = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, pixels):
        return self.pooler(self.embedder(pixels))


class _Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        layer = {"basic": _Basic, "bottleneck": _Bottleneck}[config.layer_type]
        self.stages = nn.ModuleList()
        before = config.embedding_size
        for number, (depth, width) in enumerate(
            zip(config.depths, config.hidden_sizes, strict=True)
        ):
            stage = nn.Module()
            stride = 1 if number == 0 else 2
            first = layer(before, width, stride)
            stage.layers = nn.Sequential(first, *(layer(width, width) for _ in range(depth - 1)))
            self.stages.append(stage)
            before = width


class _Convolution(nn.Module):
    """Convolution, batch norm and, where it is wanted, a ReLU."""

    def __init__(self, before, after, size, stride=1, is_last=False):
        super().__init__()
        self.convolution = nn.Conv2d(before, after, size, stride, size // 2, bias=False)
        self.normalization = nn.BatchNorm2d(after)
        self.activation = nn.Identity() if is_last else nn.ReLU()

    def forward(self, x):
        return self.activation(self.normalization(self.convolution(x)))


class _Residual(nn.Module):
    """``layer`` of a subclass, beside a shortcut."""

    def __init__(self, before, after, stride=1):
        super().__init__()
        changes = before != after or stride != 1
        self.shortcut = (
            _Convolution(before, after, 1, stride, is_last=True) if changes else nn.Identity()
        )
        self.layer = nn.Sequential(*self.convolutions(before, after, stride))
        self.activation = nn.ReLU()

    def forward(self, x):
        return self.activation(self.layer(x) + self.shortcut(x))


class _Basic(_Residual):
    @staticmethod
    def convolutions(before, after, stride):
        first = _Convolution(before, after, 3, stride)
        return first, _Convolution(after, after, 3, is_last=True)


class _Bottleneck(_Residual):
    @staticmethod
    def convolutions(before, after, stride):
        inner = after // 4
        first = _Convolution(before, inner, 1), _Convolution(inner, inner, 3, stride)
        return *first, _Convolution(inner, after, 1, is_last=True)
