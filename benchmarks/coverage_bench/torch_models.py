# ruff: noqa: E501  (a model a line)
"""PyTorch modules as people write them: a hundred and more, each by the default exporter, some by the older one too."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from coverage_bench.case import Case, Kind
from coverage_bench.export import OLDER, Fn, Make, torch_case
from coverage_bench.torch_blocks import (
    Attention,
    ConvNeXt,
    Dense,
    Fire,
    Gate,
    Highway,
    Inception,
    InvertedResidual,
    LastState,
    Mixer,
    Multi,
    Residual,
    SqueezeExcite,
    Tcn,
    Transformer,
    UNet,
    Vit,
)

S = nn.Sequential
IMAGE, GREY, SERIES, VECTOR = (3, 16, 16), (1, 12, 12), (3, 24), (16,)


def _cnn(activation: Callable[[], nn.Module]) -> Make:
    return lambda: S(
        nn.Conv2d(1, 4, 3, padding=1), activation(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), activation(),
        nn.Flatten(), nn.LazyLinear(5),
    )  # fmt: skip


def _mlp(activation: Callable[[], nn.Module]) -> Make:
    return lambda: S(nn.Linear(16, 24), activation(), nn.Linear(24, 12), activation(), nn.Linear(12, 4))


def _head(*layers: nn.Module, classes: int = 4) -> Make:
    return lambda: S(*layers, nn.Flatten(), nn.LazyLinear(classes))


def _image(*layers: nn.Module) -> nn.Module:
    """A stem, the layers over 8 channels of 8 × 8, and a classifier over their averages."""
    return S(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), *layers, nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.LazyLinear(5),
    )  # fmt: skip


def _series(*layers: nn.Module) -> nn.Module:
    return S(*layers, nn.Flatten(), nn.LazyLinear(4))


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU, "ReLU6": nn.ReLU6, "LeakyReLU": lambda: nn.LeakyReLU(0.1), "PReLU": nn.PReLU, "ELU": nn.ELU,
    "SELU": nn.SELU, "CELU": nn.CELU, "GELU": nn.GELU, "GELU, tanh": lambda: nn.GELU(approximate="tanh"),
    "SiLU": nn.SiLU, "Mish": nn.Mish, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh, "Softplus": nn.Softplus,
    "Hardswish": nn.Hardswish, "Hardsigmoid": nn.Hardsigmoid, "Hardtanh": nn.Hardtanh, "Softsign": nn.Softsign,
    "LogSigmoid": nn.LogSigmoid, "Threshold": lambda: nn.Threshold(0.1, 0.0),
}  # fmt: skip

VECTORS: dict[str, Make] = {
    "logistic regression": lambda: nn.Linear(16, 3),
    "logistic regression, softmax": lambda: S(nn.Linear(16, 3), nn.Softmax(1)),
    "binary, sigmoid": lambda: S(nn.Linear(16, 1), nn.Sigmoid()),
    "perceptron, log_softmax": lambda: S(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4), nn.LogSoftmax(1)),
    "perceptron, dropout, batchnorm": lambda: S(
        nn.Linear(16, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 4)
    ),
    "regression of three": lambda: S(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 3)),
    "autoencoder": lambda: S(
        nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 16)
    ),
    "perceptron, LayerNorm": lambda: S(nn.Linear(16, 24), nn.LayerNorm(24), nn.ReLU(), nn.Linear(24, 4)),
    "perceptron, RMSNorm": lambda: S(nn.Linear(16, 24), nn.RMSNorm(24), nn.SiLU(), nn.Linear(24, 4)),
    "perceptron, GLU": lambda: S(nn.Linear(16, 24), nn.GLU(), nn.Linear(12, 4)),
    "SwiGLU block": lambda: S(Gate(16, 24), nn.Linear(16, 4)),
    "highway": lambda: S(Highway(16), Highway(16), nn.Linear(16, 4)),
    "residual perceptron": lambda: S(Residual(S(nn.Linear(16, 16), nn.ReLU())), nn.Linear(16, 4)),
    "mixture of two": lambda: Multi(16, 4),
    "L2-normalised embedding": lambda: S(nn.Linear(16, 8), Fn(lambda x: F.normalize(x, dim=1))),
    "cosine classifier": lambda: S(nn.Linear(16, 8), Fn(lambda x: F.normalize(x, dim=1)), nn.Linear(8, 4)),
    "polynomial features": lambda: S(Fn(lambda x: torch.cat([x, x * x], 1)), nn.Linear(32, 4)),
    "weight_norm": lambda: S(nn.utils.parametrizations.weight_norm(nn.Linear(16, 8)), nn.ReLU(), nn.Linear(8, 3)),
    "bilinear": lambda: Dense(16, 4),
}  # fmt: skip

IMAGES: dict[str, Make] = {
    "LeNet": _head(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 12, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "LeNet-5, tanh and averages": _head(nn.Conv2d(3, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 12, 3), nn.Tanh()),
    "VGG block": _head(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    ),
    "strided convolutions": _head(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU()),
    "dilated convolutions": _head(nn.Conv2d(3, 6, 3, dilation=2), nn.ReLU(), nn.Conv2d(6, 6, 3, dilation=2)),
    "grouped convolutions": lambda: _image(nn.Conv2d(8, 16, 3, padding=1, groups=4), nn.ReLU()),
    "depthwise separable": lambda: _image(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 16, 1), nn.ReLU6()),
    "residual": lambda: _image(Residual(S(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()))),
    "bottleneck": lambda: _image(Residual(S(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1)))),
    "inverted residual": lambda: _image(InvertedResidual(8)),
    "inverted residual, hard swish, squeeze": lambda: _image(InvertedResidual(8, squeeze=True)),
    "squeeze and excite": lambda: _image(SqueezeExcite(8)),
    "fire module": lambda: _image(Fire(8)),
    "inception": lambda: _image(Inception(8)),
    "dense block": lambda: _image(Dense.block(8)),
    "ConvNeXt block": lambda: _image(ConvNeXt(8)),
    "channel shuffle": lambda: _image(nn.Conv2d(8, 8, 1, groups=2), nn.ChannelShuffle(2), nn.ReLU()),
    "GroupNorm": lambda: _image(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU()),
    "InstanceNorm": lambda: _image(nn.Conv2d(8, 8, 3, padding=1), nn.InstanceNorm2d(8, affine=True), nn.ReLU()),
    "LocalResponseNorm": lambda: _image(nn.LocalResponseNorm(2)),
    "global max": lambda: S(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    "adaptive average to 2 × 2": _head(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
    "adaptive maximum to 4 × 4": _head(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(4)),
    "pools with padding": _head(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1)),
    "ceil_mode": _head(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
    "LPPool": _head(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.LPPool2d(2, 2)),
    "reflection padding": _head(nn.ReflectionPad2d(1), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "replication padding": _head(nn.ReplicationPad2d(1), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "zero padding": _head(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "transposed convolution": lambda: _image(nn.ConvTranspose2d(8, 4, 2, 2), nn.ReLU()),
    "transposed convolution, 3 × 3": lambda: _image(nn.ConvTranspose2d(8, 4, 3, 2, 1, 1), nn.ReLU()),
    "convolutional autoencoder": lambda: S(
        nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.ConvTranspose2d(4, 1, 2, 2), nn.Sigmoid()
    ),
    "upsample, nearest": lambda: _image(nn.Upsample(scale_factor=2), nn.Conv2d(8, 4, 3, padding=1), nn.ReLU()),
    "upsample, bilinear": lambda: _image(
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(8, 4, 3, padding=1), nn.ReLU()
    ),
    "pixel shuffle": lambda: _image(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(), nn.PixelShuffle(2), nn.Conv2d(3, 8, 3), nn.ReLU()),
    "space to depth": lambda: S(nn.PixelUnshuffle(2), nn.Conv2d(12, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)),
    "U-Net": lambda: UNet(),
    "fully convolutional, softmax per pixel": lambda: S(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.Softmax(1)),
    "normalised inside": lambda: S(
        Fn(lambda x: (x - torch.tensor([0.48, 0.45, 0.4]).view(1, 3, 1, 1)) / 0.25), nn.Conv2d(3, 4, 3), nn.ReLU(),
        nn.Flatten(), nn.LazyLinear(4),
    ),
    "channels last": lambda: S(
        Fn(lambda x: x.permute(0, 2, 3, 1)), nn.Linear(3, 8), nn.ReLU(), Fn(lambda x: x.mean((1, 2))), nn.Linear(8, 4)
    ),
    "vision transformer": lambda: Vit(),
    "MLP-Mixer": lambda: Mixer(),
    "mean and maximum": lambda: S(
        nn.Conv2d(3, 6, 3), nn.ReLU(), Fn(lambda x: torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)), nn.Linear(12, 4)
    ),
    "asymmetric kernels": _head(nn.Conv2d(3, 4, (1, 5)), nn.ReLU(), nn.Conv2d(4, 4, (5, 1)), nn.ReLU()),
    "PReLU per channel": _head(nn.Conv2d(3, 6, 3), nn.PReLU(6), nn.MaxPool2d(2)),
    "half precision": lambda: S(
        Fn(lambda x: x.half()), nn.Conv2d(3, 4, 3).half(), nn.ReLU(), nn.Flatten(), nn.Linear(784, 4).half(),
        Fn(lambda x: x.float()),
    ),
}  # fmt: skip

SEQUENCES: dict[str, Make] = {
    "Conv1d": lambda: _series(nn.Conv1d(3, 8, 5), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(8, 8, 3), nn.ReLU()),
    "FCN with a global average": lambda: _series(
        nn.Conv1d(3, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.AdaptiveAvgPool1d(1)
    ),
    "temporal convolutions, dilated": lambda: _series(Tcn(3, 8, 1), Tcn(8, 8, 2), nn.AdaptiveAvgPool1d(1)),
    "WaveNet gate": lambda: _series(Tcn(3, 8, 1, gated=True), nn.AdaptiveAvgPool1d(1)),
    "ConvTranspose1d": lambda: _series(nn.Conv1d(3, 4, 4, 2, 1), nn.ReLU(), nn.ConvTranspose1d(4, 2, 4, 2, 1)),
    "Conv1d and a squeeze": lambda: _series(nn.Conv1d(3, 8, 3), SqueezeExcite(8, 1), nn.AdaptiveAvgPool1d(1)),
}  # fmt: skip

STEPS: dict[str, Make] = {
    "RNN": lambda: S(LastState(nn.RNN(4, 8, batch_first=True)), nn.Linear(8, 3)),
    "RNN, ReLU": lambda: S(LastState(nn.RNN(4, 8, nonlinearity="relu", batch_first=True)), nn.Linear(8, 3)),
    "LSTM": lambda: S(LastState(nn.LSTM(4, 8, batch_first=True)), nn.Linear(8, 3)),
    "LSTM of two layers": lambda: S(LastState(nn.LSTM(4, 6, 2, batch_first=True)), nn.Linear(6, 3)),
    "LSTM, both directions": lambda: S(LastState(nn.LSTM(4, 6, bidirectional=True, batch_first=True)), nn.Linear(12, 3)),
    "GRU": lambda: S(LastState(nn.GRU(4, 8, batch_first=True)), nn.Linear(8, 3)),
    "GRU, mean of all": lambda: S(LastState(nn.GRU(4, 8, batch_first=True), mean=True), nn.Linear(8, 3)),
    "self-attention": lambda: S(Attention(4), nn.Flatten(), nn.Linear(32, 3)),
    "causal attention": lambda: S(Attention(4, causal=True), nn.Flatten(), nn.Linear(32, 3)),
    "attention of two heads": lambda: S(Attention(4, heads=2), nn.Flatten(), nn.Linear(32, 3)),
    "transformer encoder": lambda: S(Transformer(4), Fn(lambda x: x.mean(1)), nn.Linear(4, 3)),
    "dense over steps": lambda: S(nn.Linear(4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
    "LayerNorm over steps": lambda: S(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
}  # fmt: skip

TOKENS: dict[str, Make] = {
    "embedding, mean": lambda: S(nn.Embedding(16, 6), Fn(lambda x: x.mean(1)), nn.Linear(6, 3)),
    "embedding, dense": lambda: S(nn.Embedding(16, 4), nn.Flatten(), nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 3)),
    "embedding, Conv1d": lambda: S(
        nn.Embedding(16, 6), Fn(lambda x: x.transpose(1, 2)), nn.Conv1d(6, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool1d(1),
        nn.Flatten(), nn.Linear(8, 3),
    ),
    "embedding, GRU": lambda: S(nn.Embedding(16, 4), LastState(nn.GRU(4, 6, batch_first=True)), nn.Linear(6, 3)),
    "one-hot": lambda: S(Fn(lambda x: F.one_hot(x, 16).float()), nn.Flatten(), nn.Linear(128, 3)),
}  # fmt: skip

OLD = (
    "LeNet", "residual", "VGG block", "depthwise separable", "inception", "U-Net", "GRU", "LSTM",
    "RNN", "self-attention", "embedding, mean", "perceptron, LayerNorm", "transposed convolution", "squeeze and excite",
    "CNN, SiLU", "perceptron, GELU", "upsample, nearest", "Conv1d", "adaptive average to 2 × 2",
)  # fmt: skip
"""Modules that the older exporter writes too."""


def cases() -> list[Case]:
    """All of the list."""
    plain: list[tuple[str, Make, tuple[int, ...], Kind]] = []
    for name, activation in ACTIVATIONS.items():
        plain.append((f"CNN, {name}", _cnn(activation), GREY, "normal"))
        if name in ("ReLU", "GELU", "Tanh", "Sigmoid", "SELU", "Mish"):
            plain.append((f"perceptron, {name}", _mlp(activation), VECTOR, "normal"))
    plain += [(name, make, VECTOR, "normal") for name, make in VECTORS.items()]
    plain += [(name, make, IMAGE, "unit") for name, make in IMAGES.items()]
    plain += [(name, make, SERIES, "normal") for name, make in SEQUENCES.items()]
    plain += [(name, make, (8, 4), "normal") for name, make in STEPS.items()]
    plain += [(name, make, (8,), "tokens") for name, make in TOKENS.items()]
    listed = [torch_case(name, make, shape, kind) for name, make, shape, kind in plain]
    older = [torch_case(n + OLDER, m, shape, kind, older=True) for n, m, shape, kind in plain if n in OLD]
    return listed + older
