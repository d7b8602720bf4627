"""Each feature keeps its own eight bits, alike ones share a range, and few values are held exactly."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch
from models import export, run_float
from torch import nn

from fedvm.compiler import CalibrationError, ModelError, compile_model
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.input_range import last_axis_differs, measured, quantize_input, with_level

RNG = np.random.default_rng(0)


def mlp(features: int, classes: int = 3, *before: nn.Module) -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(*before, nn.Linear(features, 12), nn.ReLU(), nn.Linear(12, classes))


class Standardise(nn.Module):
    """What a scaler in front of a network does."""

    def __init__(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.from_numpy(mean.astype(np.float32)), requires_grad=False)
        self.deviation = nn.Parameter(torch.from_numpy(deviation.astype(np.float32)), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.deviation


def reference_scores(compiled, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(compiled.reference.SerializeToString())
    (scores,) = session.run(None, {"input": compiled.quantize_input(x)})
    return scores * compiled.manifest["output"]["scale"][0]


def real(shape: tuple[int, ...], scale: np.ndarray | float = 1.0, count: int = 200) -> np.ndarray:
    return (RNG.normal(size=(count, *shape)) * scale).astype(np.float32)


def test_features_of_different_size_keep_their_bits():
    size = 10.0 ** np.arange(-3, 5)
    x = real((8,), size)
    model = export(mlp(8, 3, Standardise(x.mean(axis=0), x.std(axis=0))), (8,))
    compiled = compile_model(model, x)
    wanted = run_float(model, x)
    error = np.sqrt(np.square(reference_scores(compiled, x) - wanted).mean()) / wanted.std()
    assert error < 0.05
    spec = compiled.manifest["input"]
    assert spec["float"] and np.allclose(spec["offset"], x.min(axis=0))
    assert compiled.manifest["options"]["input_range"][0] == spec["offset"]


def test_the_manifest_compiles_the_same_program_again():
    x = real((2, 9), np.array([[1.0], [50.0]])) + 7
    model = export(
        nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)), (2, 9)
    )
    compiled = compile_model(model, x)
    bounds = compiled.manifest["options"]["input_range"]
    again = compile_model(model, compiled.quantize_input(x), input_range=bounds)
    assert again.codes == compiled.codes and again.manifest["input"] == compiled.manifest["input"]


def test_alike_channels_share_a_range():
    pixels = np.zeros((50, 16), np.float32)
    pixels[:, 2:] = RNG.uniform(0, 1, (50, 14))
    low, high = measured(pixels, "CHW", (16, 1, 1))
    assert (low == 0).all() and (high == pixels.max()).all()
    images = real((3, 4, 4))
    low, high = measured(images, "CHW", (3, 4, 4))
    assert (low == images.min()).all() and (high == images.max()).all()


def test_few_values_are_exact():
    x = np.stack([
        RNG.integers(0, 2, 60), RNG.integers(17, 90, 60), np.round(RNG.uniform(4, 8, 60), 1), np.full(60, 3.25),
        RNG.normal(size=60) * 1e4,
    ], axis=1).astype(np.float32)  # fmt: skip
    low, high = measured(x, "CHW", (5, 1, 1))
    scale = (high - low) / 255
    held = low + np.rint((x - low) / scale) * scale
    assert np.allclose(held[:, :4], x[:, :4], rtol=0, atol=1e-5)
    assert (scale > 0).all() and (high >= x.max(axis=0)).all()


def test_features_on_the_last_axis_get_their_ranges():
    x = real((20, 3), np.array([1.0, 100.0, 1e4]))
    assert last_axis_differs(x) and not last_axis_differs(np.moveaxis(x, 1, 2))
    graph = load_graph(export(nn.Sequential(nn.Flatten(), nn.Linear(60, 2)), (20, 3)), samples=x)
    assert graph.input.shape == (3, 1, 20) and graph.input.layout == "HWC"
    assert np.allclose(graph.input.offset, x.min(axis=(0, 1)))


@pytest.mark.parametrize("shape", [(36,), (1, 4, 3, 3), (4, 9)])
def test_inputs_of_any_rank_are_quantized(shape):
    size = int(np.prod(shape))
    module = nn.Sequential(
        nn.Flatten(), nn.Unflatten(1, (4, 3, 3)), nn.Conv2d(4, 2, 2), nn.Flatten(), nn.Linear(8, 3)
    )
    model, x = export(module, shape), real(shape)
    compiled = compile_model(model, x)
    assert compiled.quantize_input(x).shape == x.shape
    wanted = run_float(model, x)
    assert np.sqrt(np.square(reference_scores(compiled, x) - wanted).mean()) < 0.05 * wanted.std()
    assert compiled.manifest["input"]["bytes"] == size


@pytest.mark.parametrize(
    ("low", "high", "value"), [(5, 10, 0), (-1, 1, 0), (0.001, 1, 0), (-4, -1, 0), (2, 3, 2.4)]
)
@pytest.mark.parametrize("dropped", [0, 4])
def test_with_level(low, high, value, dropped):
    a, b = with_level(low, high, value, dropped)
    at = (value - a) / (b - a) * 255
    kept = (at - (2**dropped - 1) / 2) / 2**dropped
    assert abs(kept - round(kept)) < 1e-9 and -1e-9 < at < 255 + 1e-9
    step = (b - a) / 255 * 2**dropped
    assert a <= low + step and b >= high - step


def test_bad_inputs_are_refused():
    model = export(mlp(4), (4,))
    for data, message in (
        (np.full((9, 4), np.nan, np.float32), "NaN"),
        (np.full((9, 4), 2.5, np.float32), "vary"),
        (np.tile(np.arange(4, dtype=np.float32), (9, 1)), "have the same values.*vary"),
        ([[1.0, 2.0], [3.0]], "no array"),
        (real((4,)).astype(np.float64) * 1e300, "gives NaN or infinity.*too large"),
        (np.array([["a"] * 4] * 9), "give uint8 or float32"),
        (real((5,)), r"\[N, 4\]"),
    ):
        with pytest.raises(CalibrationError, match=message):
            compile_model(model, data)
    for bounds in ((1, 0), ([0] * 3, [1] * 3), 3, (0, float("inf")), ([0] * 4, [1, 1, 1, 0])):
        with pytest.raises(ModelError, match="input_range"):
            compile_model(model, real((4,)), input_range=bounds)
    spec = compile_model(model, real((4,))).manifest["input"]
    for x in (real((5,)), np.full((1, 4), np.inf), np.array([["a"] * 4])):
        with pytest.raises(ValueError, match=r"shape|finite"):
            quantize_input(spec, x)
