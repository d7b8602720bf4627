"""Checkpoints and ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from fedvm.learning.checkpoint import load_checkpoint, save_checkpoint
from fedvm.learning.data import ImageData, Normalisation
from fedvm.learning.errors import CheckpointError, ExportError
from fedvm.learning.export import export_onnx
from fedvm.learning.models import ARCHITECTURES, ModelSpec, build_model, load_model, model_size
from fedvm.learning.quantization import QuantizationSettings
from fedvm.learning.training import predict, train

NAMES = tuple("abcdefghij")


def test_checkpoint_round_trip(tmp_path: Path, mnist: ImageData) -> None:
    spec = ModelSpec.for_data("lenet", mnist)
    model = build_model(spec, seed=0)
    train(model, mnist.train.images[::50], mnist.train.labels[::50], seed=0)
    save_checkpoint(tmp_path / "model.pt", model, spec, NAMES, Normalisation(0.5, 0.25))
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert (loaded.spec, loaded.class_names, loaded.normalisation) == (spec, NAMES, Normalisation(0.5, 0.25))
    assert not loaded.model.training
    images = mnist.test.images[:9]
    assert np.array_equal(predict(loaded.model, images), predict(model, images))
    save_checkpoint(tmp_path / "again.pt", loaded.model, spec, NAMES, Normalisation(0.5, 0.25))
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "model.pt").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.pt", "model.pt"]


def test_a_quantized_network_survives_its_checkpoint(tmp_path: Path, mnist: ImageData) -> None:
    settings = QuantizationSettings(4, 5, {"dense1": 3}, {"dense1": 14, "dense2": 16})
    spec = ModelSpec.for_data("mlp", mnist, settings)
    model = build_model(spec, seed=0, images=mnist.train.images[:64])
    train(model, mnist.train.images[:256], mnist.train.labels[:256])
    model = load_model(spec, model.state_dict())
    save_checkpoint(tmp_path / "model.pt", model, spec, NAMES)
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert loaded.spec == spec
    images = mnist.test.images[:100]
    assert np.array_equal(predict(loaded.model, images), predict(model, images))
    assert model_size(model, mnist.shape).macs == 28 * 28 * 64 + 64 * 10


def test_checkpoint_errors(tmp_path: Path) -> None:
    spec = ModelSpec("mlp", (1, 4, 4), 10)
    path = tmp_path / "model.pt"
    model = build_model(spec, seed=0)
    save_checkpoint(path, model, spec, NAMES)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="3 names"):
        save_checkpoint(path, model, spec, ("x", "y", "z"))
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / "no" / "model.pt", model, spec, NAMES)
    (tmp_path / "cut.pt").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "cut.pt")
    torch.save({"w": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of the form"):
        load_checkpoint(tmp_path / "foreign.pt")
    content = torch.load(path, weights_only=True)
    torch.save(content | {"state_dict": {}}, tmp_path / "empty.pt")
    with pytest.raises(CheckpointError, match="does not hold what its header says"):
        load_checkpoint(tmp_path / "empty.pt")


class _Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("pwned").touch, ())


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": "fedvm-model/1", "x": _Malicious()}, "evil.pt")
    with pytest.raises(CheckpointError, match="damaged or not"):
        load_checkpoint(Path("evil.pt"))
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("name", "shape"), [("lenet", (3, 32, 32)), ("lenet", (1, 28, 28)), ("mlp", (1, 8, 8))]
)
def test_onnx_has_the_trained_weights_and_any_batch(
    tmp_path: Path, name: str, shape: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(0)
    model = build_model(ModelSpec(name, shape, 10), seed=0).train()
    images, labels = rng.integers(0, 256, (40, *shape), np.uint8), rng.integers(0, 10, 40)
    train(model, images, labels)
    content = export_onnx(model, shape, tmp_path / "model.onnx")
    assert model.training, "the model is left as it was"
    assert (tmp_path / "model.onnx").read_bytes() == content == export_onnx(model, shape, tmp_path / "b.onnx")
    graph = onnx.load_model_from_string(content)
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", 17)]
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    for key, tensor in model.state_dict().items():
        assert np.array_equal(stored[key], tensor.numpy())
    assert not any(node.doc_string for node in graph.graph.node)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    inputs = images.astype(np.float32) / 127.5 - 1
    scores = session.run(["scores"], {"input": inputs})[0]
    assert np.allclose(scores, predict(model, images), atol=1e-4)
    assert session.run(["scores"], {"input": inputs[:1]})[0].shape == (1, 10)


class _Unfaithful(nn.Module):
    """Traces one branch and runs the other: what a faithful export must catch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.fc(images.flatten(1))
        return scores if images.shape[0] == 2 else scores + 1


def test_an_unfaithful_or_broken_export_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError, match="differ from PyTorch's by up to 1 "):
        export_onnx(_Unfaithful(), (1, 4, 4), path)
    model = build_model(ModelSpec("mlp", (1, 4, 4), 3), seed=0)
    with torch.no_grad():
        next(model.parameters())[0, 0] = float("nan")
    with pytest.raises(ExportError, match=r"fc1\.weight.*not finite"):
        export_onnx(model, (1, 4, 4), path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_onnx_holds_every_federated_tensor_as_it_is(tmp_path: Path, name: str) -> None:
    """An auditor compares them with the round's model, so nothing may be folded away."""
    model = build_model(ModelSpec(name, (1, 16, 16), 3), seed=0)
    generator = torch.Generator().manual_seed(1)
    images = np.random.default_rng(2).integers(0, 256, (32, 1, 16, 16), dtype=np.uint8)
    train(model, images, np.arange(32) % 3, epochs=1)  # running statistics move, too
    for parameter in model.parameters():  # two of one value would be stored once
        parameter.data += 0.01 * torch.rand(parameter.shape, generator=generator)
    content = export_onnx(model, (1, 16, 16), tmp_path / "model.onnx")
    stored = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load_model_from_string(content).graph.initializer
    }
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            assert np.array_equal(stored[key], tensor.numpy()), key
