# ruff: noqa: E501  (a model a line)
"""Small networks such as EZKL's users try: one layer at a time, arithmetic, trees, recurrent layers, attention.

Own modules, of the kinds that its list of examples has; a few operators that rewrite positions by data (TopK, Scatter by
input) are among them, so that the share says something.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from coverage_bench.case import Case, Kind
from coverage_bench.export import Fn, Make, torch_case
from coverage_bench.sklearn_models import cases as tabular_cases
from coverage_bench.torch_blocks import Attention, LastState, Transformer

S = nn.Sequential
VECTOR, IMAGE, STEPS = (8,), (2, 8, 8), (6, 4)

ONE_LAYER: dict[str, tuple[Make, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(8, 4), VECTOR),
    "relu": (nn.ReLU, VECTOR),
    "sigmoid": (nn.Sigmoid, VECTOR),
    "tanh": (nn.Tanh, VECTOR),
    "gelu": (nn.GELU, VECTOR),
    "elu": (nn.ELU, VECTOR),
    "leaky relu": (nn.LeakyReLU, VECTOR),
    "prelu": (nn.PReLU, VECTOR),
    "silu": (nn.SiLU, VECTOR),
    "softplus": (nn.Softplus, VECTOR),
    "hard sigmoid": (nn.Hardsigmoid, VECTOR),
    "softmax": (lambda: nn.Softmax(1), VECTOR),
    "erf": (lambda: Fn(torch.erf), VECTOR),
    "abs": (lambda: Fn(torch.abs), VECTOR),
    "exp": (lambda: Fn(torch.exp), VECTOR),
    "square": (lambda: Fn(lambda x: x * x), VECTOR),
    "cube": (lambda: Fn(lambda x: x**3), VECTOR),
    "sine and cosine": (lambda: Fn(lambda x: torch.sin(x) + torch.cos(x)), VECTOR),
    "square root": (lambda: Fn(lambda x: torch.sqrt(x.abs() + 0.1)), VECTOR),
    "reciprocal root": (lambda: Fn(lambda x: torch.rsqrt(x.abs() + 0.5)), VECTOR),
    "logarithm": (lambda: Fn(lambda x: torch.log(x.abs() + 0.5)), VECTOR),
    "sign": (lambda: Fn(torch.sign), VECTOR),
    "rounding": (lambda: Fn(lambda x: torch.round(4 * x)), VECTOR),
    "floor and ceiling": (lambda: Fn(lambda x: torch.floor(4 * x) + torch.ceil(4 * x)), VECTOR),
    "where": (lambda: Fn(lambda x: torch.where(x > 0, x, 0.1 * x * x)), VECTOR),
    "comparison": (lambda: Fn(lambda x: (x > 0.2).float()), VECTOR),
    "clamp": (lambda: Fn(lambda x: x.clamp(-0.5, 0.5)), VECTOR),
    "minimum of halves": (lambda: Fn(lambda x: torch.minimum(x[:, :4], x[:, 4:])), VECTOR),
    "maximum of halves": (lambda: Fn(lambda x: torch.maximum(x[:, :4], x[:, 4:])), VECTOR),
    "division of halves": (lambda: Fn(lambda x: x[:, :4] / (x[:, 4:].abs() + 1)), VECTOR),
    "product of halves": (lambda: Fn(lambda x: x[:, :4] * x[:, 4:]), VECTOR),
    "division by a number": (lambda: Fn(lambda x: x / 3 + 1), VECTOR),
    "mean": (lambda: Fn(lambda x: x.mean(1, keepdim=True)), VECTOR),
    "variance": (lambda: Fn(lambda x: x.var(1, keepdim=True)), VECTOR),
    "sum": (lambda: Fn(lambda x: x.sum(1, keepdim=True)), VECTOR),
    "L1 norm": (lambda: Fn(lambda x: x.abs().sum(1, keepdim=True)), VECTOR),
    "L2 norm": (lambda: Fn(lambda x: x.norm(dim=1, keepdim=True)), VECTOR),
    "log-sum-exp": (lambda: Fn(lambda x: torch.logsumexp(x, 1, keepdim=True)), VECTOR),
    "cumulative sum": (lambda: Fn(lambda x: torch.cumsum(x, 1)), VECTOR),
    "concatenation": (lambda: Fn(lambda x: torch.cat([x, 2 * x], 1)), VECTOR),
    "slice": (lambda: Fn(lambda x: x[:, 1:6:2]), VECTOR),
    "gather by constants": (lambda: Fn(lambda x: x[:, [3, 1, 1, 6]]), VECTOR),
    "flip": (lambda: Fn(lambda x: torch.flip(x, (1,))), VECTOR),
    "roll": (lambda: Fn(lambda x: torch.roll(x, 2, 1)), VECTOR),
    "flatten": (nn.Flatten, IMAGE),
    "permutation": (lambda: Fn(lambda x: x.permute(0, 2, 3, 1)), IMAGE),
    "padding": (lambda: nn.ConstantPad2d(1, 0.0), IMAGE),
    "convolution": (lambda: nn.Conv2d(2, 4, 3), IMAGE),
    "transposed convolution": (lambda: nn.ConvTranspose2d(2, 3, 3, 2), IMAGE),
    "batch norm": (lambda: nn.BatchNorm2d(2), IMAGE),
    "instance norm": (lambda: nn.InstanceNorm2d(2), IMAGE),
    "max pool": (lambda: nn.MaxPool2d(2), IMAGE),
    "average pool": (lambda: nn.AvgPool2d(2), IMAGE),
    "upsample": (lambda: nn.Upsample(scale_factor=2), IMAGE),
    "space to depth": (lambda: nn.PixelUnshuffle(2), IMAGE),
    "downsample": (lambda: Fn(lambda x: x[:, :, ::2, ::2]), IMAGE),
    "argmax": (lambda: Fn(lambda x: x.argmax(1, keepdim=True)), VECTOR),
    "top k": (lambda: Fn(lambda x: torch.topk(x, 3, 1).values), VECTOR),
    "sort": (lambda: Fn(lambda x: torch.sort(x, 1).values), VECTOR),
    "scatter": (lambda: Fn(lambda x: torch.zeros_like(x).scatter(1, torch.tensor([[2, 5]]).expand(len(x), 2), x[:, :2])), VECTOR),
    "matrix product of the input with itself": (lambda: Fn(lambda x: x @ x.transpose(1, 2)), STEPS),
    "einsum with weights": (lambda: Fn(lambda x: torch.einsum("bij,jk->bik", x, torch.ones(4, 3) / 2)), STEPS),
    "layer norm": (lambda: nn.LayerNorm(4), STEPS),
    "conv1d": (lambda: nn.Conv1d(6, 4, 2), STEPS),
}  # fmt: skip

NETWORKS: dict[str, tuple[Make, tuple[int, ...], Kind]] = {
    "two layers, relu, sigmoid": (lambda: S(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4), nn.Sigmoid()), VECTOR, "normal"),
    "MNIST classifier": (lambda: S(nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.Conv2d(4, 4, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)), (1, 28, 28), "unit"),
    "variational autoencoder's decoder": (lambda: S(nn.Linear(4, 16), nn.ReLU(), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 2, 2, 2), nn.Sigmoid()), (4,), "normal"),
    "generator": (lambda: S(nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 36), nn.Tanh()), VECTOR, "normal"),
    "tic-tac-toe autoencoder": (lambda: S(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8), nn.Sigmoid()), VECTOR, "normal"),
    "LSTM": (lambda: S(LastState(nn.LSTM(4, 6, batch_first=True)), nn.Linear(6, 2)), STEPS, "normal"),
    "little transformer": (lambda: S(Transformer(4), nn.Flatten(), nn.Linear(24, 3)), STEPS, "normal"),
    "multi-head attention": (lambda: S(Attention(4, heads=2), nn.Flatten(), nn.Linear(24, 3)), STEPS, "normal"),
    "linear time series": (lambda: Fn(lambda x: (x - x[:, -1:]).mean(1) + x[:, -1]), STEPS, "normal"),
    "nano language model": (lambda: S(nn.Embedding(16, 4), Transformer(4), nn.Flatten(), nn.Linear(24, 8)), (6,), "tokens"),
    "distance to centres": (lambda: Fn(lambda x: ((x[:, None] - torch.arange(24.0).view(1, 3, 8) / 12) ** 2).sum(-1)), VECTOR, "normal"),
    "Gaussian mixture": (lambda: Fn(lambda x: torch.exp(-((x[:, None] - torch.arange(24.0).view(1, 3, 8) / 24) ** 2).sum(-1) / 4)), VECTOR, "normal"),
    "quadratic form": (lambda: Fn(lambda x: (x @ torch.ones(8, 8) * x).sum(1, keepdim=True) / math.sqrt(8)), VECTOR, "unit"),
    "cosine similarity": (lambda: Fn(lambda x: F.cosine_similarity(x[:, :4], x[:, 4:]).unsqueeze(1)), VECTOR, "unit"),
}  # fmt: skip

TABULAR = (
    "RandomForest, iris", "DecisionTree, iris", "GradientBoosting, breast_cancer", "LightGBM, two classes",
    "XGBoost, two classes", "LinearRegression, diabetes", "SVC, linear, iris", "SVC, rbf, iris",
)  # fmt: skip


def cases() -> list[Case]:
    """All of the list."""
    listed = [torch_case(f"one layer: {name}", make, shape) for name, (make, shape) in ONE_LAYER.items()]
    listed += [torch_case(name, make, shape, kind) for name, (make, shape, kind) in NETWORKS.items()]
    return listed + [case for case in tabular_cases() if case.name in TABULAR]
