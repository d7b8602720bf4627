"""The models that are measured, with the images they are calibrated and tested on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedvm.learning.data import ImageData, Normalisation
from fedvm.learning.datasets import load_dataset
from fedvm.learning.export import export_onnx
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.training import train

UNIT = (Normalisation().scale, Normalisation().offset)
"""(scale, offset) that LeNet and the MNIST models expect their bytes through."""
LENET, RESNET = "lenet_cifar10_trained.onnx", "mlperf_tiny_resnet8.onnx"
QAT_MODEL = Path(__file__).resolve().parents[1] / "models" / "lenet_cifar10_qat.onnx"
LOW_BIT: Mapping[str, Any] = {
    "input_bits": 5,
    "activation_bits": 4,
    "lane_bits": {"conv1": 14, "conv2": 18, "dense1": 14, "dense2": 14, "dense3": 18},
}
"""Lanes of 14 bits take a 14-wide row of pooled outputs in fewer words, and 18 outputs of a dense layer in one."""

SEARCHED = 9000
"""Labelled training images by which bits are chosen; none of the test images takes part."""

LOW_BIT_RESNET: Mapping[str, Any] = {
    "activation_bits": {
        "conv1": 5, "conv2": 4, "conv3": 4, "conv4": 5, "conv5": 8, "conv6": 4, "conv7": 4, "conv8": 8, "conv9": 4,
        "pool1": 8,
    },
    "lane_bits": {
        "conv1": 19, "conv2": 14, "conv3": 14, "conv4": 15, "conv5": 17, "conv6": 14, "conv7": 15, "conv8": 17,
        "conv9": 23, "pool1": 23, "dense1": 23,
    },
}  # fmt: skip
"""Rows of 32 columns in two words and of 16 in one; shortcuts and averages keep 8 bits."""


@dataclass(frozen=True)
class Case:
    """One model to compile and measure.

    calibration, images: uint8 `[N, *input shape]`; labels: int64 `[N]`; options: of `compile_model`; preprocess:
    (scale, offset) that the float model expects, None if it takes 0..255; in_contract: how many of the images
    also run through the contract.
    """

    name: str
    model: bytes
    calibration: NDArray[np.uint8]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    options: Mapping[str, Any]
    preprocess: tuple[float, float] | None
    in_contract: int


def cifar_cases(data: ImageData, models: Path, quick: bool) -> list[Case]:
    """LeNet at 8 bits and at few bits, and MLPerf Tiny's ResNet-8, on CIFAR-10."""
    test_rows, resnet_rows, in_contract = (1000, 0, 50) if quick else (10_000, 2000, 500)
    lenet = Case(
        "LeNet, 8-bit",
        (models / LENET).read_bytes(),
        data.train.images[:1000],
        data.test.images[:test_rows],
        data.test.labels[:test_rows],
        {"activation_bits": 6},
        UNIT,
        in_contract,
    )
    cases = [lenet]
    options = {**lenet.options, "optimize": "deploy"}
    cases.append(replace(lenet, name="LeNet, small code", options=options, in_contract=in_contract // 5))
    cases.append(replace(lenet, name="LeNet, low-bit", options=LOW_BIT))
    for points in () if quick else (0.5, 1.0):
        chosen = {**lenet.options, "labels": data.train.labels[:SEARCHED], "max_accuracy_loss": points}
        cases.append(
            replace(
                lenet,
                name=f"LeNet, bits chosen, {points:g} point",
                calibration=data.train.images[:SEARCHED],
                options=chosen,
                in_contract=in_contract // 5,
            )
        )
    trained = json.loads(QAT_MODEL.with_suffix(".json").read_text())
    cases.append(
        replace(
            lenet, name="LeNet, low-bit trained", model=QAT_MODEL.read_bytes(), options=trained["options"]
        )
    )
    if resnet_rows:
        resnet = Case(
            "ResNet-8",
            (models / RESNET).read_bytes(),
            _channels_last(data.train.images[:400]),
            _channels_last(data.test.images[:resnet_rows]),
            data.test.labels[:resnet_rows],
            {"activation_bits": 6},
            None,
            40,
        )
        cases += [resnet, replace(resnet, name="ResNet-8, low-bit", options=LOW_BIT_RESNET)]
    return cases


def mnist_cases(folder: Path, quick: bool) -> list[Case]:
    """Small networks trained here in seconds on MNIST-5k; `folder` takes their ONNX files."""
    whole, small = load_dataset("mnist"), load_dataset("mnist", size=(20, 20))
    cases = []
    if not quick:
        cnn = build_model(ModelSpec.for_data("lenet", whole), seed=0)
        cases.append(_trained("MNIST CNN (LeNet)", cnn, whole, 6, folder))
    mlp = build_model(ModelSpec.for_data("mlp", whole), seed=0)
    cases.append(_trained("MNIST MLP 784-64-10", mlp, whole, 12, folder))
    cases.append(_trained("MNIST MLP 400-32-16-10", _published_mlp(), small, 20, folder))
    cases.append(_trained("MNIST MLP 784-32-32-10, tanh", _tanh_mlp(), whole, 12, folder))
    cases.append(_trained("MNIST CNN, SiLU", _silu_cnn(), whole, 6, folder))
    return cases


def _channels_last(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def _published_mlp() -> nn.Module:
    """The shape of the one network whose gas on Ethereum is published (see `published`), seeded, drawn for ReLU."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(400, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)
    )
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(module.bias)
    return model


def _tanh_mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10)
    )


def _silu_cnn() -> nn.Module:
    """Two strided convolutions, each followed by a table, and a dense layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.SiLU(), nn.Conv2d(8, 16, 3, stride=2), nn.SiLU(), nn.Flatten(),
        nn.Linear(16 * 5 * 5, 10),
    )  # fmt: skip


def _trained(name: str, model: nn.Module, data: ImageData, epochs: int, folder: Path) -> Case:
    train(model, data.train.images, data.train.labels, epochs=epochs, lr=0.005, seed=0)
    onnx = export_onnx(model, data.shape, folder / "model.onnx")
    calibration, test = data.train.images[:1000], data.test
    return Case(name, onnx, calibration, test.images, test.labels, {"activation_bits": 6}, UNIT, 100)
