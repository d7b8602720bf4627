# ruff: noqa: E501  (a model a line)
"""Keras models, small, as tf2onnx writes them: after keras.io's examples and keras.applications' blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from coverage_bench.case import Built, Case, Kind, built, rows_of, seed_of
from coverage_bench.keras_writer import Keras

Layers = Callable[[Keras, str], str]
GREY, IMAGE, VECTOR, SERIES = (12, 12, 1), (16, 16, 3), (12,), (12, 3)


def _ends(k: Keras, x: str, classes: int = 4) -> str:
    """A global average and a softmax."""
    return k.dense(k.reduce(x), classes, "softmax")


def _mlp(*activations: str, end: str = "softmax", units: int = 4) -> Layers:
    def layers(k: Keras, x: str) -> str:
        for activation in activations:
            x = k.dense(x, 16, activation)
        return k.dense(x, units, end)

    return layers


def _mnist(activation: str = "relu", kind: str = "MaxPool") -> Layers:
    def layers(k: Keras, x: str) -> str:
        x = k.pool(k.conv(x, 4, same=False, activation=activation), kind)
        return k.dense(k.flatten(k.conv(x, 8, same=False, activation=activation)), 5, "softmax")

    return layers


def _over_series(of: Layers) -> Layers:
    return lambda k, x: k.dense(of(k, x), 3, "softmax")


def _squeezed(k: Keras, x: str, activation: str = "sigmoid") -> str:
    channels = k.size[x][-1]
    weights = k.dense(k.dense(k.reduce(x), channels // 2, "relu"), channels, activation)
    return k.mul(x, k.reshape(weights, (1, 1, channels)))


def _mbconv(k: Keras, x: str, activation: str) -> str:
    channels = k.size[x][-1]
    wide = k.conv(x, 2 * channels, (1, 1), activation=activation)
    deep = k.conv(wide, 1, groups=2 * channels, activation=activation)
    return k.add(x, k.conv(_squeezed(k, deep), channels, (1, 1)))


def _separable(k: Keras, x: str, filters: int) -> str:
    return k.conv(k.conv(x, 1, groups=k.size[x][-1]), filters, (1, 1), activation="relu")


def _dense_block(k: Keras, x: str) -> str:
    for _ in range(2):
        x = k.join(x, k.conv(k.activate(k.norm(x), "relu"), 4))
    return _ends(k, x)


def _unet(k: Keras, x: str) -> str:
    first = k.conv(x, 4, activation="relu")
    second = k.conv(k.pool(first), 8, activation="relu")
    return k.conv(k.join(first, k.transposed(second, 4, 2, 2)), 2, (1, 1))


def _autoencoder(k: Keras, x: str) -> str:
    x = k.pool(k.conv(x, 4, activation="relu"))
    return k.conv(k.upsample(x), 1, activation="sigmoid")


def _transformer(k: Keras, x: str) -> str:
    width = k.size[x][-1]
    normal = k.layer_norm(x)
    x = k.add(x, k.dense(k.attention(k.dense(normal, 4), k.dense(normal, 4), k.dense(normal, width)), width))
    x = k.add(x, k.dense(k.dense(k.layer_norm(x), 8, "relu"), width))
    return k.dense(k.reduce(x, axes=(1,)), 3, "softmax")


def _patches(k: Keras, x: str) -> str:
    x = k.conv(x, 6, (8, 8), 8, same=False)
    steps = k.size[x][0] * k.size[x][1]
    return _transformer(k, k.reshape(x, (steps, 6)))


def _residual(k: Keras, x: str) -> str:
    x = k.conv(x, 8, activation="relu")
    return _ends(k, k.activate(k.add(x, k.conv(k.conv(x, 8, activation="relu"), 8)), "relu"))


def _time_distributed(k: Keras, x: str) -> str:
    steps, features = k.size[x]
    each = k.node("Reshape", [x, k.constant([-1, features], np.int64)], (features,))
    k.size[each] = (features,)
    done = k.reshape(k.dense(each, 4, "relu"), (steps, 4))
    return k.dense(k.flatten(done), 3, "softmax")


def _embedded(of: Layers) -> Layers:
    """Embedding: a Gather of a table by a Cast to whole numbers."""

    def layers(k: Keras, x: str) -> str:
        (steps,) = k.size[x]
        index = k.node("Cast", [x], (steps,), to=6)
        table = k.constant(k.rng.normal(0, 1, (16, 6)))
        return k.dense(of(k, k.node("Gather", [table, index], (steps, 6))), 3, "softmax")

    return layers


MODELS: dict[str, tuple[tuple[int, ...], Kind, Layers]] = {
    "Dense": (VECTOR, "normal", _mlp()),
    "Dense, relu, softmax": (VECTOR, "normal", _mlp("relu", "relu")),
    "Dense, tanh, sigmoid": (VECTOR, "normal", _mlp("tanh", end="sigmoid", units=1)),
    "Dense, selu": (VECTOR, "normal", _mlp("selu", "selu")),
    "Dense, elu, gelu": (VECTOR, "normal", _mlp("elu", "gelu")),
    "Dense, swish": (VECTOR, "normal", _mlp("swish")),
    "Dense, softplus, softsign": (VECTOR, "normal", _mlp("softplus", "softsign")),
    "Dense, regression": (VECTOR, "normal", _mlp("relu", end="", units=1)),
    "Dense, multi-label": (VECTOR, "normal", _mlp("relu", end="sigmoid", units=3)),
    "BatchNormalization between": (VECTOR, "normal", lambda k, x: k.dense(k.norm(k.dense(x, 16, "relu")), 4, "softmax")),
    "LayerNormalization": (VECTOR, "normal", lambda k, x: k.dense(k.layer_norm(k.dense(x, 16, "relu")), 4, "softmax")),
    "Normalization": (VECTOR, "normal", lambda k, x: k.dense(k.dense(k.norm(x), 16, "relu"), 4, "softmax")),
    "wide and deep": (VECTOR, "normal", lambda k, x: k.dense(k.join(x, k.dense(k.dense(x, 16, "relu"), 8, "relu")), 1)),
    "gated by a product": (VECTOR, "normal", lambda k, x: k.dense(k.mul(k.dense(x, 8), k.dense(x, 8, "sigmoid")), 3)),
    "MNIST, Conv2D": (GREY, "unit", _mnist()),
    "MNIST, averages, tanh": (GREY, "unit", _mnist("tanh", "AveragePool")),
    "MNIST, leaky": (GREY, "unit", _mnist("leaky")),
    "MNIST, fixed batch": (GREY, "unit", _mnist()),
    "Conv2D, stride, same": (IMAGE, "unit", lambda k, x: _ends(k, k.conv(k.conv(x, 8, stride=2, activation="relu"), 8))),
    "Conv2D, dilated": (IMAGE, "unit", lambda k, x: _ends(k, k.conv(x, 6, dilation=2, activation="relu"))),
    "SeparableConv2D": (IMAGE, "unit", lambda k, x: _ends(k, _separable(k, _separable(k, x, 8), 8))),
    "MobileNet, relu6": (IMAGE, "unit", lambda k, x: _ends(k, k.conv(k.conv(k.conv(x, 8, stride=2, activation="relu6"), 1, groups=8, activation="relu6"), 8, (1, 1)))),
    "EfficientNet block": (IMAGE, "unit", lambda k, x: _ends(k, _mbconv(k, k.conv(x, 8, stride=2), "swish"))),
    "squeeze and excite": (IMAGE, "unit", lambda k, x: _ends(k, _squeezed(k, k.conv(x, 8, stride=2, activation="relu")))),
    "residual": (IMAGE, "unit", _residual),
    "DenseNet block": (IMAGE, "unit", lambda k, x: _dense_block(k, k.conv(x, 8, stride=2))),
    "Inception, concatenated": (IMAGE, "unit", lambda k, x: _ends(k, k.join(k.conv(x, 4, (1, 1)), k.conv(x, 4, activation="relu"), k.conv(k.pool(x, size=3, stride=1, same=True), 4, (1, 1))))),
    "global maximum": (IMAGE, "unit", lambda k, x: k.dense(k.reduce(k.conv(x, 6, activation="relu"), "ReduceMax"), 4)),
    "pools, same": (IMAGE, "unit", lambda k, x: k.dense(k.flatten(k.pool(k.conv(x, 4, activation="relu"), size=3, stride=2, same=True)), 4)),
    "Conv2DTranspose": (IMAGE, "unit", lambda k, x: _ends(k, k.transposed(k.conv(x, 6, stride=2, activation="relu"), 4, 3, 2, "relu"))),
    "autoencoder, UpSampling2D": (GREY, "unit", _autoencoder),
    "U-Net": (IMAGE, "unit", _unet),
    "vision transformer": (IMAGE, "unit", _patches),
    "Conv1D": (SERIES, "normal", _over_series(lambda k, x: k.flatten(k.conv1d(x, 8, 3, "relu")))),
    "Conv1D, causal, dilated": (SERIES, "normal", _over_series(lambda k, x: k.reduce(k.conv1d(x, 8, 3, "relu", dilation=2), axes=(1,)))),
    "GlobalAveragePooling1D": (SERIES, "normal", _over_series(lambda k, x: k.reduce(k.conv1d(x, 8, 5, "relu"), axes=(1,)))),
    "SimpleRNN": (SERIES, "normal", _over_series(lambda k, x: k.recurrent(x, "RNN", 6))),
    "LSTM": (SERIES, "normal", _over_series(lambda k, x: k.recurrent(x, "LSTM", 6))),
    "LSTM, stacked": (SERIES, "normal", _over_series(lambda k, x: k.recurrent(k.recurrent(x, "LSTM", 5, every=True), "LSTM", 5))),
    "LSTM, bidirectional": (SERIES, "normal", _over_series(lambda k, x: k.recurrent(x, "LSTM", 5, both=True))),
    "GRU": (SERIES, "normal", _over_series(lambda k, x: k.recurrent(x, "GRU", 6))),
    "Conv1D and GRU": (SERIES, "normal", _over_series(lambda k, x: k.recurrent(k.conv1d(x, 6, 3, "relu"), "GRU", 6))),
    "TimeDistributed": (SERIES, "normal", _time_distributed),
    "Attention": (SERIES, "normal", _over_series(lambda k, x: k.flatten(k.attention(k.dense(x, 4), k.dense(x, 4), k.dense(x, 4))))),
    "transformer": (SERIES, "normal", _transformer),
    "Embedding, average": ((10,), "tokens", _embedded(lambda k, x: k.reduce(x, axes=(1,)))),
    "Embedding, LSTM": ((10,), "tokens", _embedded(lambda k, x: k.recurrent(x, "LSTM", 5))),
    "Embedding, Conv1D": ((10,), "tokens", _embedded(lambda k, x: k.reduce(k.conv1d(x, 8, 3, "relu"), "ReduceMax", (1,)))),
}  # fmt: skip


def cases() -> list[Case]:
    """All of the list."""
    return [Case(name, _build(name)) for name in MODELS]


def _build(name: str) -> Callable[[], Built]:
    def build() -> Built:
        shape, kind, layers = MODELS[name]
        keras = Keras(shape, seed_of(name))
        rows = rows_of(kind, shape, seed_of(name))
        if kind == "tokens":  # Keras' inputs are floats, which the layer casts
            rows = rows.astype(np.float32)
        return built(keras.model(layers(keras, "x"), fixed="fixed" in name), rows)

    return build
