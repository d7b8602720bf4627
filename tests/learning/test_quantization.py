"""Quantization-aware training: whole numbers, lanes that hold, gradients, and the same integers out of the compiler."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

from fedvm.compiler import compile_model
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.graph import Dense
from fedvm.compiler.interpreter import accumulator_bounds
from fedvm.compiler.quantize import QuantizeOptions, quantize
from fedvm.compiler.trained_grid import trained_grid
from fedvm.learning import quantization
from fedvm.learning.data import ImageData, Normalisation
from fedvm.learning.errors import QuantizationError
from fedvm.learning.export import export_onnx
from fedvm.learning.fake_quant import QuantizedLayer, QuantizedReLU, round_within, straight_through
from fedvm.learning.models import ModelSpec, build_model, load_model
from fedvm.learning.quantization import QuantizationSettings, QuantizedNetwork, plain, quantize_aware, settle
from fedvm.learning.training import evaluate, predict, train

MODELS = Path(__file__).parents[2] / "benchmarks" / "models"
SHAPE = (2, 12, 12)
PREPROCESS = (Normalisation().scale, Normalisation().offset)
ANY = {"min_agreement": 0.0, "min_correlation": 0.0}
"""Networks that were trained for a moment, on a handful of inputs: nobody asks how near the integers come."""
FEW_BITS = QuantizationSettings(
    input_bits=5,
    activation_bits={"conv1": 4, "conv2": 3, "dense1": 4},
    lane_bits={"conv1": 14, "conv2": 16, "dense1": 12, "dense2": 18},
    row_sparsity={"conv2": 0.3},
)


def _small(seed: int = 0, padding: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=padding, groups=2), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.1), nn.Linear(150 if padding else 54, 12), nn.ReLU(), nn.Linear(12, 5),
    )  # fmt: skip


def _images(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = rng.integers(0, 256, (count, *SHAPE)) // 2 + rng.integers(0, 128, (count, 2, 1, 1))
    return smooth.astype(np.uint8)


def _trained(bits: QuantizationSettings = FEW_BITS, steps: int = 12, lr: float = 0.02) -> QuantizedNetwork:
    model = quantize_aware(_small(), bits, _images(64))
    labels = np.arange(96) % 5
    train(model, _images(96, 1), labels, epochs=steps, batch_size=32, lr=lr)
    return model


def _layers(model: QuantizedNetwork) -> list[QuantizedLayer]:
    return [module for module in model if isinstance(module, QuantizedLayer)]


def _scores(model: QuantizedNetwork, images: np.ndarray) -> np.ndarray:
    """The network's scores as integers."""
    step = 2.0 ** _layers(model)[-1].log2_step.detach().double().numpy()
    return np.rint(predict(model, images) / step).astype(np.int64)


def _onnx(model: nn.Module, folder: Path, shape: tuple[int, int, int] = SHAPE) -> bytes:
    return export_onnx(model, shape, folder / "model.onnx")


@pytest.mark.parametrize("lr", [0.02, 20.0])
def test_everything_is_whole_and_in_its_lane_whatever_training_does(lr: float) -> None:
    model = _trained(lr=lr) if lr < 1 else _wrecked(lr)
    for layer in _layers(model):
        weight, bias = layer.integers()
        assert torch.equal(weight, weight.round()) and torch.equal(bias, bias.round())
        assert weight.abs().max() <= layer.grid.weight_limit
        assert (weight[~layer.kept.expand_as(weight)] == 0).all()
        lane, top = 1 << layer.grid.lane_bits, layer.grid.input_high
        flat = weight.detach().flatten(1).long()
        half = torch.where(layer.shift > 0, 1 << (layer.shift - 1).clamp_min(0), 0)
        start = bias.detach().long() + half
        low, high = start + flat.clamp_max(0).sum(1) * top, start + flat.clamp_min(0).sum(1) * top
        raised = -(low.clamp_max(0) >> layer.shift) << layer.shift
        assert int((high.clamp_min(0) + raised).max()) < lane


def _wrecked(factor: float) -> QuantizedNetwork:
    """As after steps that were far too long: every parameter anywhere."""
    model = quantize_aware(_small(), FEW_BITS, _images(64))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += factor * torch.randn(parameter.shape, generator=generator)
    return model


def test_activations_are_whole_steps_of_their_bits() -> None:
    model = _trained()
    seen: list[tuple[int, torch.Tensor]] = []
    for module in model:
        if isinstance(module, QuantizedReLU):
            module.register_forward_hook(lambda m, _, out: seen.append((m.bits, out)))
    predict(model, _images(50, 3))
    assert [bits for bits, _ in seen] == [4, 3, 4]
    for bits, out in seen:
        assert torch.equal(out, out.round()) and out.min() == 0 and 2 ** (bits - 1) < out.max() <= 2**bits - 1


@pytest.mark.parametrize("lr", [0.02, 20.0])
def test_what_is_deployed_is_whole_in_its_lane_and_what_was_trained(lr: float) -> None:
    model = _trained(lr=lr) if lr < 1 else _wrecked(lr)
    for layer in _layers(model):
        weight, bias = layer.deployed()
        assert torch.equal(weight, weight.round()) and torch.equal(bias, bias.round())
        assert weight.abs().max() <= layer.grid.weight_limit
        assert (weight[~layer.kept.expand_as(weight)] == 0).all()
        lane, top = 1 << layer.grid.lane_bits, layer.grid.input_high
        flat = weight.flatten(1).long()
        half = torch.where(layer.shift > 0, 1 << (layer.shift - 1).clamp_min(0), 0)
        start = bias.long() + half
        low, high = start + flat.clamp_max(0).sum(1) * top, start + flat.clamp_min(0).sum(1) * top
        raised = -(low.clamp_max(0) >> layer.shift) << layer.shift
        assert int((high.clamp_min(0) + raised).max()) < lane
        shrink = layer.shrink()
        assert ((shrink > 0) & (shrink <= 1)).all()
        trained, _ = layer.integers()
        apart = (weight - trained.detach()).abs().flatten(1)
        assert apart.max() <= 1 or lr > 1
        room = layer._target()[0].abs().flatten(1).sum(1) <= layer.l1_bound()
        assert (apart.amax(1)[room & (shrink == 1)] == 0).all()  # where all fits, both round to nearest


def test_few_weight_bits_clip_the_tail_and_not_the_weights(
    mnist: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def likeness() -> list[float]:
        """Of each layer's weights and the whole numbers that stand for them, as correlation coefficients."""
        ordinary = build_model(ModelSpec.for_data("lenet", mnist), seed=0)  # normally distributed
        settings = QuantizationSettings(weight_bits=2, activation_bits=4)
        layers = _layers(quantize_aware(ordinary, settings, mnist.train.images[:64]).eval())
        pairs = [(layer.weight.detach() * layer.input_step, layer.deployed()[0].float()) for layer in layers]
        return [float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) for a, b in pairs]

    clipped = likeness()
    monkeypatch.setattr(quantization, "_CLIP", {})
    whole = likeness()
    assert min(clipped) > 0.7 and all(few > most for few, most in zip(clipped, whole, strict=True))
    assert min(whole) < 0.5


def test_the_file_holds_the_parameters_as_they_were_trained(tmp_path: Path) -> None:
    model = _trained().eval()
    settle(model)
    content = _onnx(model, tmp_path)
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load_model_from_string(content).graph.initializer}
    floats = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    assert {name.rpartition(".")[2] for name in floats} == {"weight", "bias", "log2_step"}
    assert all(np.array_equal(held[name], tensor.numpy()) for name, tensor in floats.items())
    compiled = compile_model(
        content, _images(9), preprocess=PREPROCESS, input_bits=5, activation_bits=4, **ANY
    )
    session = onnxruntime.InferenceSession(compiled.reference.SerializeToString())
    extreme = np.random.default_rng(8).choice([0, 255], (50, *SHAPE)).astype(np.uint8)
    images = np.concatenate([_images(300, 6), extreme])
    assert np.array_equal(session.run(None, {"input": images})[0], _scores(model, images))


def test_a_network_follows_from_its_floats(mnist: ImageData) -> None:
    spec = ModelSpec.for_data("mlp", mnist, QuantizationSettings(4, 5, 3, 14))
    model = build_model(spec, seed=1, images=mnist.train.images[:64])
    images, labels = mnist.train.images[:600], mnist.train.labels[:600]
    train(model, images, labels, epochs=2, lr=0.05)
    state = model.state_dict()
    loaded = load_model(spec, state)
    spoilt = {name: tensor * 0 if name.endswith("shift") else tensor for name, tensor in state.items()}
    assert np.array_equal(predict(load_model(spec, spoilt), images), predict(loaded, images))
    accuracy = evaluate(model, images, labels).accuracy
    assert evaluate(loaded, images, labels).accuracy == pytest.approx(accuracy, abs=0.03) and accuracy > 0.8
    # Weights that have outgrown their bits take a lesser shift; what the network computes stays.
    layer = next(module for module in loaded if isinstance(module, QuantizedLayer))
    before = layer.shift.clone()
    with torch.no_grad():
        layer.weight *= 4
        layer.bias *= 4
        layer.log2_step += 2
    settle(loaded)
    assert torch.equal(layer.shift, before)
    with torch.no_grad():
        layer.log2_step -= 2
    settle(loaded)
    assert (layer.shift < before).all()


def test_gradients_reach_every_parameter() -> None:
    model = quantize_aware(_small(), FEW_BITS, _images(64)).train()
    pixels = torch.from_numpy(_images(64, 2)).float() / 127.5 - 1
    loss = nn.functional.cross_entropy(model(pixels), torch.arange(64) % 5)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).float().mean() > 0.3, name


def test_straight_through_keeps_the_value_and_passes_the_gradient() -> None:
    smooth = torch.tensor([0.1, 1e6 + 0.7, -3.3], requires_grad=True)
    exact = straight_through(smooth * 2, torch.round(smooth.detach()))
    assert torch.equal(exact, torch.round(smooth))
    exact.sum().backward()
    assert torch.equal(smooth.grad, torch.full((3,), 2.0))
    relu = QuantizedReLU(3)
    x = torch.tensor([-0.2, 0.49, 0.5, 6.9, 7.4, 9.0], requires_grad=True)
    out = relu(x)
    assert out.tolist() == [0, 0, 1, 7, 7, 7]
    out.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0, 0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=12), st.integers(0, 40))
def test_rounding_keeps_to_the_bound_and_moves_no_weight_by_one(row: list[float], bound: int) -> None:
    target = torch.tensor([row], dtype=torch.float32)
    target = target * min(1.0, bound / max(float(target.abs().sum()), 1e-9))
    whole = round_within(target, torch.tensor([float(bound)]))
    assert torch.equal(whole, whole.round()) and whole.abs().sum() <= bound
    assert (whole - target).abs().max() < 1 and (whole * target >= 0).all()
    nearest = torch.round(target)
    if nearest.abs().sum() <= bound:
        assert torch.equal(whole, nearest)


def test_it_starts_close_to_the_float_network_and_parameters_keep_their_units() -> None:
    ordinary, images = _small().eval(), _images(200, 4)
    model = quantize_aware(ordinary, QuantizationSettings(activation_bits=8), _images(64))
    wanted, got = predict(ordinary, images), predict(model, images)
    assert np.sqrt(np.square(got - wanted).mean()) < 0.03 * wanted.std()
    for layer, before in zip(_layers(model), [m for m in ordinary if hasattr(m, "weight")], strict=True):
        assert torch.equal(layer.weight, before.weight) and torch.equal(layer.bias, before.bias)


def test_sparsity_takes_the_rows_of_least_effect() -> None:
    model = quantize_aware(_small(), FEW_BITS, _images(64))
    kept = _layers(model)[1].kept
    assert kept.shape == (6, 2, 3, 1) and int((~kept).sum()) == int(0.3 * 36)
    weight, _ = _layers(model)[1].integers()
    assert int((weight.abs().sum(3) == 0).sum()) >= 10


def test_plain_is_the_same_network_but_for_rounding() -> None:
    model = _trained()
    folded = plain(model)
    assert not any(isinstance(m, QuantizedLayer | QuantizedReLU) for m in folded)
    # Put the rounding back: the mean of each byte's possible values in, whole steps between the layers, of which
    # the ties that float errors would break are rounded up.
    for module in folded:
        if isinstance(module, nn.Hardtanh):
            module.register_forward_hook(lambda m, x, _: torch.floor(x[0] + 0.5001).clamp(0, m.max_val))
    images = _images(100, 5)
    pixels = ((images >> 3 << 3) + 3.5).astype(np.float32) / 127.5 - 1
    with torch.no_grad():
        got = folded.eval()(torch.from_numpy(pixels)).numpy()
    assert np.allclose(got, predict(model, images), atol=1e-4)


@pytest.mark.parametrize(
    "calibration", [_images(64), np.zeros((1, *SHAPE), np.uint8)], ids=["typical", "one"]
)
def test_the_compiler_finds_the_trained_integers_on_any_calibration_data(
    tmp_path: Path, calibration: np.ndarray
) -> None:
    model = _trained()
    content = _onnx(plain(model), tmp_path)
    # The options may allow more bits than were trained with.
    compiled = compile_model(
        content, calibration, preprocess=PREPROCESS, input_bits=5, activation_bits=6, **ANY
    )
    session = onnxruntime.InferenceSession(compiled.reference.SerializeToString())
    rng = np.random.default_rng(8)
    extreme = [np.zeros((1, *SHAPE)), np.full((1, *SHAPE), 255), rng.choice([0, 255], (50, *SHAPE))]
    images = np.concatenate([_images(300, 6), rng.integers(0, 256, (300, *SHAPE)), *extreme]).astype(np.uint8)
    assert np.array_equal(session.run(None, {"input": images})[0], _scores(model, images))
    integer = quantize(
        load_graph(content, preprocess=PREPROCESS),
        calibration,
        QuantizeOptions(activation_bits=6, input_bits=5),
    )
    for layer, trained in zip(integer.layers, _layers(model), strict=True):
        weight, _ = trained.integers()
        assert np.abs(layer.terms[0].weight).max() <= int(weight.abs().max())
    for name, (low, high) in accumulator_bounds(integer).items():
        assert (high - np.minimum(low, 0) < 1 << FEW_BITS.lane_bits[name]).all()


def test_the_grid_is_left_where_it_does_not_fit(tmp_path: Path) -> None:
    model = _trained()
    graph = load_graph(_onnx(plain(model), tmp_path), preprocess=PREPROCESS)
    options = QuantizeOptions(activation_bits=2, lane_bits=11, input_bits=5)
    integer = quantize(graph, _images(64), options)
    assert [layer.high for layer in integer.layers] == [3, 3, 3, None]
    for low, high in accumulator_bounds(integer).values():
        assert (np.maximum(high, 0) - np.minimum(low, 0) < 1 << 11).all()


def test_ordinary_weights_are_on_no_grid() -> None:
    layers = load_graph(_export(_clipped()), preprocess=PREPROCESS).layers
    first = layers[0]
    weight = np.asarray(first.terms[0].weight, np.float64).reshape(len(first.bias), -1)
    assert trained_grid(first, [weight], first.bias, 127, 8) is None
    on = np.rint(np.random.default_rng(0).normal(size=weight.shape) * 20)
    step = first.activation[2] / 15
    found = trained_grid(first, [on * step / 64], first.bias, 127, 8)
    assert found is not None and found.output_bits == 4 and found.scales.shift.max() == 6
    assert np.allclose(found.scales.multiplier * step, 2.0**found.scales.shift)
    assert trained_grid(first, [on * step / 64], first.bias, 30, 8) is None  # weights of too many bits
    assert trained_grid(first, [on * step / 64], first.bias, 127, 3) is None  # outputs of too many bits
    assert trained_grid(first, [on * 1e-9], first.bias, 127, 8) is None  # all would round to nothing
    last = layers[-1]
    assert isinstance(last.terms[0], Dense) and last.activation == "linear"
    flat = np.asarray(last.terms[0].weight, np.float64)
    assert trained_grid(last, [flat], last.bias, 127, None) is None
    scores = trained_grid(last, [np.rint(flat * 90 / np.abs(flat).max()) * 0.013], last.bias, 127, None)
    assert scores is not None and np.allclose(scores.scales.scale, 0.013)


def _clipped() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Hardtanh(0.0, 6.0), nn.Flatten(), nn.Linear(400, 5)).eval()


def _export(model: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.onnx.export(model, (torch.zeros(1, *SHAPE),), buffer, opset_version=17, dynamo=False)
    return buffer.getvalue()


@pytest.mark.slow
def test_few_bits_learn_digits_as_in_a_federation(mnist: ImageData, tmp_path: Path) -> None:
    images, labels = mnist.train.images, mnist.train.labels
    ordinary = build_model(ModelSpec.for_data("lenet", mnist), seed=0)
    train(ordinary, images[:2000], labels[:2000], epochs=1)
    bits = QuantizationSettings(
        input_bits=3, activation_bits=2, lane_bits={"conv1": 12, "conv2": 13, "dense1": 10, "dense2": 10}
    )
    model = quantize_aware(ordinary, bits, images[:200])
    start = evaluate(model, mnist.test.images, mnist.test.labels).accuracy
    train(model, images, labels, epochs=2)
    end = evaluate(model, mnist.test.images, mnist.test.labels).accuracy
    assert end > 0.9 and end > start + 0.02
    # What travels between clients are the floating-point tensors of the state.
    other = quantize_aware(ordinary, bits, images[:200])
    other.load_state_dict(model.state_dict())
    assert np.array_equal(predict(other, mnist.test.images), predict(model, mnist.test.images))
    compiled = compile_model(
        _onnx(plain(model), tmp_path, mnist.shape), images[:50], preprocess=PREPROCESS, input_bits=3, **ANY
    )
    session = onnxruntime.InferenceSession(compiled.reference.SerializeToString())
    scores = session.run(None, {"input": mnist.test.images})[0]
    assert np.array_equal(scores, _scores(model, mnist.test.images))


def test_the_model_that_ships_is_on_its_grid() -> None:
    record = json.loads((MODELS / "lenet_cifar10_qat.json").read_text())
    content = (MODELS / record["model"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == record["sha256"]
    noise = np.random.default_rng(0).integers(0, 256, (32, 3, 32, 32), np.uint8)
    graph = load_graph(content, preprocess=tuple(record["preprocess"]))
    integer = quantize(graph, noise, QuantizeOptions(**record["options"]))
    assert [layer.high for layer in integer.layers] == [15, 7, 15, 15, None]
    for layer, lane in zip(integer.layers, record["options"]["lane_bits"].items(), strict=True):
        assert layer.name == lane[0]
        if layer.high is not None:  # the integers of the file: weight · 2^shift
            real = np.asarray(graph.layers[integer.layers.index(layer)].terms[0].weight).reshape(
                len(layer.bias), -1
            )
            scale = 8 if layer.name == "conv1" else 1  # a step of the input is 8 bytes
            wanted = real * scale * 2.0 ** layer.shift[:, None]
            assert np.allclose(layer.terms[0].weight.reshape(real.shape), wanted, atol=1e-3)
    low, high = accumulator_bounds(integer)["dense1"]
    assert (high - np.minimum(low, 0) < 1 << 12).all()


def test_the_state_survives_fixed_point(tmp_path: Path) -> None:
    """What a federation keeps of a model are its floats in steps of 2^-16."""
    model = _trained()
    state = {
        name: torch.round(tensor * 65536) / 65536 if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)
    compiled = compile_model(
        _onnx(plain(model), tmp_path), _images(9), preprocess=PREPROCESS, input_bits=5, **ANY
    )
    session = onnxruntime.InferenceSession(compiled.reference.SerializeToString())
    images = _images(100, 6)
    assert np.array_equal(session.run(None, {"input": images})[0], _scores(model, images))


def test_training_is_reproducible() -> None:
    first, second = _trained().state_dict(), _trained().state_dict()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_bits": 0}, "input_bits is 0"), ({"lane_bits": 23}, "lane_bits is 23"),
        ({"weight_bits": {"conv1": 9}}, "weight_bits is 9"), ({"activation_bits": True}, "activation_bits is True"),
        ({"row_sparsity": {"conv1": 1.0}}, "row_sparsity of conv1"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        QuantizationSettings(**wrong)


def test_what_cannot_be_quantized_is_named() -> None:
    images, default = _images(8), QuantizationSettings()
    linear = [nn.Flatten(), nn.Linear(288, 4)]
    for layers, message in [
        ([nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.ReLU()], "'1' is a BatchNorm2d"),
        ([nn.Flatten(), nn.Linear(288, 9), nn.Linear(9, 4)], "'1' must be followed by ReLU"),
        ([*linear, nn.ReLU()], "must end in"),
        ([nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), *linear], "conv1 pads normalised pixels"),
        ([nn.Conv2d(2, 2, 3, dilation=2)], "no dilation"),
        ([nn.Flatten()], "must end in"),
    ]:
        with pytest.raises(QuantizationError, match=message):
            quantize_aware(nn.Sequential(*layers), default, images)
    with pytest.raises(QuantizationError, match=r"conv7; the layers are dense1"):
        quantize_aware(nn.Sequential(*linear), QuantizationSettings(lane_bits={"conv7": 12}), images)
    with pytest.raises(QuantizationError, match="no images"):
        quantize_aware(nn.Sequential(*linear), default, images[:0])
    with pytest.raises(QuantizationError, match=r"needs an nn\.Sequential"):
        quantize_aware(nn.Linear(3, 3), default, images)
    with pytest.raises(QuantizationError, match="what quantize_aware makes"):
        plain(nn.Sequential(*linear))  # type: ignore[arg-type]
