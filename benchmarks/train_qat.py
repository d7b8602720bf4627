"""Train LeNet for CIFAR-10 on the few bits that make it cheap in a contract.

    python benchmarks/train_qat.py [--data PATH] [--source MODEL.onnx] [--out FOLDER] [--seed N]

Starts from a float LeNet, goes on training it in float with shifted and mirrored images, then on integers
(`fedvm.learning.quantization`) with the least of its kernel rows pruned. Writes lenet_cifar10_qat.onnx, the float
network whose weights lie on the trained grid, and lenet_cifar10_qat.json, the options to compile it with and its
accuracy. Fails (exit status 1) if the compiled network is not, score for score, the one that was trained; 2: data or
model are missing. The same seed gives the same files (same PyTorch, same CPU family). Some 8 minutes on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from fedvm.compiler import compile_model
from fedvm.files import write_atomically
from fedvm.learning.data import ImageData, Normalisation, Split
from fedvm.learning.datasets import load_dataset
from fedvm.learning.errors import LearningError
from fedvm.learning.export import export_onnx
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.quantization import QuantizationSettings, QuantizedNetwork, plain, quantize_aware
from fedvm.learning.training import evaluate, predict, train

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
NAME = "lenet_cifar10_qat"
SETTINGS = QuantizationSettings(
    input_bits=5,
    activation_bits={"conv1": 4, "conv2": 3, "dense1": 4, "dense2": 4},
    lane_bits={"conv1": 14, "conv2": 18, "dense1": 12, "dense2": 12, "dense3": 18},
    row_sparsity={"conv1": 0.3, "conv2": 0.5},
)
"""Lanes: 14 bits take half a row of conv1 in one word, 18 bits a row of conv2, 12 bits 21 outputs of a dense layer."""
FLOAT_EPOCHS, EPOCHS, LR, BATCH = 20, 18, 0.02, 64
LAYERS = {"c1": "conv1", "c2": "conv2", "f1": "fc1", "f2": "fc2", "f3": "fc3"}
"""Names of the layers in the source model and in ours."""
CALIBRATION = 1000


def main(arguments: list[str] | None = None) -> int:
    """Train, compile, compare, write; return the exit status."""
    options = _parser().parse_args(arguments)
    for path in (options.data, options.source):
        if not path.exists():
            print(f"train_qat: there is no {path}; give --data and --source", file=sys.stderr)
            return 2
    try:
        data = load_dataset("cifar10", options.data)
    except LearningError as error:
        print(f"train_qat: {error}", file=sys.stderr)
        return 2
    ordinary = load_lenet(options.source, data)
    accuracies = {"source": _accuracy(ordinary, data.test)}
    print(f"source: {accuracies['source']:.4f} of the test images")
    _train(ordinary, data.train, options.float_epochs, options.seed, "float")
    accuracies["float, same images"] = _accuracy(ordinary, data.test)
    print(f"float with these images: {accuracies['float, same images']:.4f} of the test images")
    model = quantize_aware(ordinary, SETTINGS, data.train.images[:CALIBRATION])
    _train(model, data.train, options.epochs, options.seed + 1, "integers")
    options.out.mkdir(parents=True, exist_ok=True)
    content = export_onnx(plain(model), data.shape, options.out / f"{NAME}.onnx")
    gas, scores = _compiled(content, data)
    accuracies["integers"] = float((scores.argmax(1) == data.test.labels).mean())
    print(f"integers: {accuracies['integers']:.4f} of the test images, {gas:,} gas")
    record = _record(options, content, accuracies)
    write_atomically(options.out / f"{NAME}.json", json.dumps(record, indent=2) + "\n")
    wrong = int((scores != _integer_scores(model, data)).any(axis=1).sum())
    if wrong:
        print(f"train_qat: {wrong} test images have other scores when compiled", file=sys.stderr)
    return int(wrong > 0)


def load_lenet(source: Path, data: ImageData) -> nn.Module:
    """Our LeNet with the weights of an ONNX file that names its layers c1, c2, f1, f2, f3."""
    model = build_model(ModelSpec.for_data("lenet", data), seed=0)
    state = {}
    for tensor in onnx.load(source).graph.initializer:
        layer, kind = tensor.name.split(".")
        state[f"{LAYERS[layer]}.{kind}"] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    model.load_state_dict(state)
    return model


def compile_options() -> dict[str, Any]:
    """Options of `compile_model` under which it finds the trained integers."""
    return {
        "input_bits": SETTINGS.input_bits,
        "activation_bits": SETTINGS.activation_bits,
        "lane_bits": SETTINGS.lane_bits,
    }


def _train(model: nn.Module, split: Split, epochs: int, seed: int, what: str) -> None:
    """Cosine decay from LR to 0, an epoch a step."""
    for epoch in range(epochs):
        result = train(
            model,
            split.images,
            split.labels,
            batch_size=BATCH,
            lr=LR * (1 + math.cos(math.pi * epoch / epochs)) / 2,
            augmentation="shift_flip",
            seed=seed * 1000 + epoch,
        )
        print(
            f"{what}, epoch {epoch + 1} of {epochs}: loss {result.loss:.4f}, {result.accuracy:.4f} right",
            flush=True,
        )


def _accuracy(model: nn.Module, split: Split) -> float:
    return evaluate(model, split.images, split.labels).accuracy


def _compiled(content: bytes, data: ImageData) -> tuple[int, NDArray[np.int32]]:
    """Gas of a prediction, and the integer scores of the test images as ONNX Runtime computes them."""
    how = Normalisation()
    compiled = compile_model(
        content, data.train.images[:CALIBRATION], preprocess=(how.scale, how.offset), **compile_options()
    )
    session = onnxruntime.InferenceSession(compiled.reference.SerializeToString())
    images = data.test.images
    parts = [session.run(None, {"input": images[i : i + 500]})[0] for i in range(0, len(images), 500)]
    return int(compiled.manifest["gas"]["evm"]), np.concatenate(parts)


def _integer_scores(model: QuantizedNetwork, data: ImageData) -> NDArray[np.int64]:
    last = list(model.children())[-1]
    step = 2.0 ** last.log2_step.detach().double().numpy()  # type: ignore[union-attr, operator]
    return np.rint(predict(model, data.test.images) / step).astype(np.int64)


def _record(options: argparse.Namespace, content: bytes, accuracies: dict[str, float]) -> dict[str, Any]:
    how = Normalisation()
    return {
        "model": f"{NAME}.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "source": options.source.name,
        "source_sha256": hashlib.sha256(options.source.read_bytes()).hexdigest(),
        "options": compile_options(),
        "preprocess": [how.scale, how.offset],
        "calibration": "any images: the weights are whole numbers of the grid that the compiler finds",
        "row_sparsity": dict(SETTINGS.row_sparsity),
        "seed": options.seed,
        "epochs": {"float": options.float_epochs, "integers": options.epochs},
        "test_accuracy": accuracies,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train LeNet for CIFAR-10 on few bits.")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "cifar10", help="folder of CIFAR-10")
    parser.add_argument("--source", type=Path, default=SHARED / "models" / "lenet_cifar10_trained.onnx")
    parser.add_argument("--out", type=Path, default=HERE / "models", help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float-epochs", type=int, default=FLOAT_EPOCHS)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs on integers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
