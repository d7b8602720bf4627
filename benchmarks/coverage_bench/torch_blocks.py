"""Blocks of well-known networks, small."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """The input and what the inner module makes of it, added (He et al. 2016)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class SqueezeExcite(nn.Module):
    """Channels weighted by a function of their averages (Hu et al. 2018)."""

    def __init__(self, channels: int, axes: int = 2, gate: type[nn.Module] = nn.Sigmoid) -> None:
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv1d
        self.axes = tuple(range(2, 2 + axes))
        self.inner = nn.Sequential(
            conv(channels, channels // 2, 1), nn.ReLU(), conv(channels // 2, channels, 1), gate()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.inner(x.mean(self.axes, keepdim=True))


class InvertedResidual(nn.Module):
    """MobileNetV2's and V3's block (Sandler et al. 2018, Howard et al. 2019)."""

    def __init__(self, channels: int, squeeze: bool = False) -> None:
        super().__init__()
        wide = 2 * channels
        act: type[nn.Module] = nn.Hardswish if squeeze else nn.ReLU6
        self.inner = nn.Sequential(
            nn.Conv2d(channels, wide, 1), nn.BatchNorm2d(wide), act(), nn.Conv2d(wide, wide, 3, 1, 1, groups=wide),
            nn.BatchNorm2d(wide), act(), SqueezeExcite(wide, gate=nn.Hardsigmoid) if squeeze else nn.Identity(),
            nn.Conv2d(wide, channels, 1), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Fire(nn.Module):
    """SqueezeNet's module (Iandola et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, 4, 1)
        self.one, self.three = nn.Conv2d(4, channels, 1), nn.Conv2d(4, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.one(x).relu(), self.three(x).relu()], 1)


class Inception(nn.Module):
    """Convolutions of several sizes beside each other (Szegedy et al. 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Conv2d(channels, 4, 1), nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(channels, 4, 5, padding=2),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(channels, 4, 1)),
            ]
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x).relu() for branch in self.branches], 1)


class Dense(nn.Module):
    """`xᵀ W x` for every class: a layer of products."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(features, 8), nn.Linear(features, 8)
        self.out = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.left(x) * self.right(x))

    @staticmethod
    def block(channels: int) -> nn.Module:
        """DenseNet's block: everything before is concatenated (Huang et al. 2017)."""

        class Joined(nn.Module):
            def __init__(self, inside: int) -> None:
                super().__init__()
                self.conv = nn.Conv2d(inside, 4, 3, padding=1)

            def forward(self, x: Tensor) -> Tensor:
                return torch.cat([x, self.conv(x).relu()], 1)

        return nn.Sequential(Joined(channels), Joined(channels + 4), Joined(channels + 8))


class ConvNeXt(nn.Module):
    """Depthwise 7 × 7, LayerNorm over channels, two dense layers (Liu et al. 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide, self.narrow = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)


class Gate(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(features, hidden, bias=False), nn.Linear(features, hidden, bias=False)
        self.down = nn.Linear(hidden, features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Highway(nn.Module):
    """Srivastava et al. 2015."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner, self.gate = nn.Linear(features, features), nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        t = torch.sigmoid(self.gate(x))
        return t * self.inner(x).relu() + (1 - t) * x


class Multi(nn.Module):
    """Two experts, and how much each counts (Jacobs et al. 1991)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(features, classes) for _ in range(2)])
        self.gate = nn.Linear(features, 2)

    def forward(self, x: Tensor) -> Tensor:
        share = self.gate(x).softmax(1)
        return share[:, :1] * self.experts[0](x) + share[:, 1:] * self.experts[1](x)


class UNet(nn.Module):
    """One level down and up again, with the skip (Ronneberger et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down(x).relu()
        second = self.middle(F.max_pool2d(first, 2)).relu()
        return self.out(torch.cat([first, self.up(second)], 1))


class Tcn(nn.Module):
    """A causal dilated convolution, with WaveNet's gate or without (Bai et al. 2018, van den Oord et al. 2016)."""

    def __init__(self, inside: int, outside: int, dilation: int, gated: bool = False) -> None:
        super().__init__()
        self.pad, self.gated = 2 * dilation, gated
        self.conv = nn.Conv1d(inside, outside * (2 if gated else 1), 3, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(F.pad(x, (self.pad, 0)))
        if not self.gated:
            return y.relu()
        a, b = y.chunk(2, 1)
        return torch.tanh(a) * torch.sigmoid(b)


class LastState(nn.Module):
    """The last output of a recurrent layer, or the mean of all."""

    def __init__(self, layer: nn.Module, mean: bool = False) -> None:
        super().__init__()
        self.layer, self.mean = layer, mean

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)[0]
        return y.mean(1) if self.mean else y[:, -1]


class Attention(nn.Module):
    """Scaled dot products of queries and keys, softmax, times values (Vaswani et al. 2017)."""

    def __init__(self, width: int, causal: bool = False, heads: int = 1) -> None:
        super().__init__()
        self.causal, self.heads = causal, heads
        self.of = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, width = x.shape
        q, k, v = (
            part.reshape(batch, steps, self.heads, -1).transpose(1, 2) for part in self.of(x).chunk(3, -1)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if self.causal:
            scores = scores.masked_fill(torch.ones(steps, steps, dtype=torch.bool).triu(1), -1e9)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, steps, width))


class Transformer(nn.Module):
    """Attention and a perceptron, each normalised before and added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.inner(self.second(x))


class Vit(nn.Module):
    """A vision transformer of 4 patches (Dosovitskiy et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, 8)
        self.place = nn.Parameter(torch.randn(1, 4, 6) * 0.1)
        self.block, self.head = Transformer(6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.patches(x).flatten(2).transpose(1, 2) + self.place).mean(1))


class Mixer(nn.Module):
    """Dense layers over patches and over channels in turn (Tolstikhin et al. 2021), normalised by batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 4)
        self.over_patches, self.over_channels = nn.Linear(16, 16), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2)
        x = x + self.over_patches(x).relu()
        x = x.transpose(1, 2)
        x = x + self.over_channels(x).relu()
        return self.head(x.mean(1))
