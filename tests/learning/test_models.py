"""Networks by name."""

from __future__ import annotations

import pytest
import torch

from fedvm.learning.errors import ModelSpecError
from fedvm.learning.models import ARCHITECTURES, ModelSpec, build_model, model_size


def test_lenet_has_the_published_size() -> None:
    size = model_size(build_model(ModelSpec("lenet", (3, 32, 32), 10), seed=0), (3, 32, 32))
    assert (size.parameters, size.macs) == (62_006, 651_720)


def test_resnet8_has_the_stated_size_and_federates_its_running_statistics() -> None:
    model = build_model(ModelSpec("resnet8", (3, 32, 32), 10), seed=0)
    size = model_size(model, (3, 32, 32))
    assert (size.parameters, size.macs) == (77_946, 12_501_632)
    floats = {name for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    assert {"norm.running_mean", "block3.norm2.running_var"} <= floats


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 16, 16), (2, 17, 40)])
def test_networks_fit_the_shape(name: str, shape: tuple[int, int, int]) -> None:
    model = build_model(ModelSpec(name, shape, 7), seed=0)
    assert model(torch.zeros(3, *shape)).shape == (3, 7)


def test_the_seed_decides_the_weights_and_nothing_else_does() -> None:
    spec = ModelSpec("lenet", (1, 28, 28), 10)
    torch.manual_seed(1)
    first = build_model(spec, seed=3).state_dict()
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1)), "the process's random state must be left alone"
    second, other = build_model(spec, seed=3).state_dict(), build_model(spec, seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_activations_neither_die_nor_explode_at_the_start() -> None:
    model = build_model(ModelSpec("lenet", (3, 32, 32), 10), seed=0)
    images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert 0.1 < float(model(images).std()) < 5


def test_errors() -> None:
    with pytest.raises(ModelSpecError, match="at least 16×16 pixels, got 15×40"):
        build_model(ModelSpec("lenet", (1, 15, 40), 10), seed=0)
    with pytest.raises(ModelSpecError, match="at least 8×8 pixels, got 7×40"):
        build_model(ModelSpec("resnet8", (1, 7, 40), 10), seed=0)
    with pytest.raises(ModelSpecError, match="did you mean 'lenet'"):
        ModelSpec("lenett", (1, 28, 28), 10)
    with pytest.raises(ModelSpecError, match="at least 2 classes"):
        ModelSpec("mlp", (1, 28, 28), 1)


def test_counting_leaves_the_mode_alone() -> None:
    model = build_model(ModelSpec("mlp", (1, 8, 8), 3), seed=0).train()
    assert model_size(model, (1, 8, 8)).macs == 64 * 64 + 64 * 3
    assert model.training
