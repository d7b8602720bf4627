"""Training and evaluation."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from fedvm.learning.augment import augment
from fedvm.learning.data import ImageData
from fedvm.learning.device import deterministic, resolve_device
from fedvm.learning.errors import DataError, TrainingError
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.optimisation import CRITERIA, OPTIMIZERS
from fedvm.learning.training import evaluate, predict, train

_DIGEST = """
import hashlib, sys, numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.training import train
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (96, 3, 32, 32), np.uint8)
labels = rng.integers(0, 10, 96)
model = build_model(ModelSpec("lenet", (3, 32, 32), 10), seed=1)
result = train(model, images, labels, epochs=2, augmentation="shift_flip", seed=9)
state = b"".join(t.numpy().tobytes() for t in model.state_dict().values())
print(hashlib.sha256(state + repr(result).encode()).hexdigest())
"""


def _some(data: ImageData, count: int) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.arange(0, 4500, 4500 // count)[:count]
    return data.train.images[chosen], data.train.labels[chosen]


def _fresh(data: ImageData, name: str = "lenet") -> torch.nn.Module:
    return build_model(ModelSpec.for_data(name, data), seed=0)


def test_it_learns_digits(mnist: ImageData) -> None:
    model = _fresh(mnist)
    seen: list[tuple[int, int]] = []
    result = train(
        model,
        mnist.train.images,
        mnist.train.labels,
        epochs=2,
        normalisation=mnist.normalisation,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]
    assert (result.steps, result.examples) == (2 * 282, 4500)
    test = evaluate(model, mnist.test.images, mnist.test.labels, normalisation=mnist.normalisation)
    assert test.accuracy > 0.9 and test.loss < 0.4 and result.accuracy > 0.9
    assert test.examples == 500 and test.class_examples == (50,) * 10
    assert sum(test.class_correct) / 500 == test.accuracy
    scores = predict(model, mnist.test.images)
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(scores), torch.from_numpy(mnist.test.labels)
    )
    assert test.loss == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.slow
def test_the_same_bits_whatever_the_process_and_its_threads() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    digests = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST, threads],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(digests) == 1


def test_the_seed_decides_the_order(mnist: ImageData) -> None:
    images, labels = _some(mnist, 64)
    states = []
    for seed in (1, 1, 2):
        model = _fresh(mnist, "mlp")
        train(model, images, labels, seed=seed)
        states.append(model.state_dict()["fc1.weight"])
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_the_process_keeps_its_random_state_and_settings(mnist: ImageData) -> None:
    images, labels = _some(mnist, 32)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    train(_fresh(mnist, "mlp"), images, labels, seed=1, threads=1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_every_optimizer_and_criterion_lowers_the_loss(
    mnist: ImageData, optimizer: str, criterion: str
) -> None:
    images, labels = _some(mnist, 128)
    model = _fresh(mnist, "mlp")
    before = evaluate(model, images, labels, criterion=criterion).loss
    train(
        model,
        images,
        labels,
        epochs=8,
        optimizer=optimizer,
        criterion=criterion,
        lr=1e-3,
        momentum=0.5,
        seed=0,
    )
    assert evaluate(model, images, labels, criterion=criterion).loss < before


def test_evaluation_keeps_the_mode_and_reports_absent_classes(mnist: ImageData) -> None:
    model = _fresh(mnist, "mlp").train()
    ones = mnist.test.labels == 1
    result = evaluate(model, mnist.test.images[ones], mnist.test.labels[ones])
    assert model.training
    assert result.class_examples[1] == 50 and result.class_accuracy[0] is None
    assert result.class_accuracy[1] == result.accuracy


def test_augmentation_moves_and_mirrors_whole_images() -> None:
    images = torch.zeros(200, 1, 9, 9)
    images[:, 0, 4, 3] = 1.0
    moved = augment(images, "shift", torch.Generator().manual_seed(0))
    assert torch.all(moved.sum((1, 2, 3)) == 1)
    places = {(int(r), int(c)) for _, _, r, c in moved.nonzero()}
    assert places == {(r, c) for r in range(2, 7) for c in range(1, 6)}
    flipped = augment(images, "shift_flip", torch.Generator().manual_seed(0))
    assert {int(c) for *_, c in flipped.nonzero()} == set(range(9))
    assert augment(images, "none", torch.Generator()) is images


def test_bad_settings_are_named(mnist: ImageData) -> None:
    images, labels = _some(mnist, 32)
    model = _fresh(mnist, "mlp")
    for settings, message in (
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"criterion": "cross_entrpy"}, "did you mean 'cross_entropy'"),
        ({"augmentation": "flip"}, "unknown augmentation"),
        ({"lr": 0.0}, "learning rate must be positive"),
        ({"momentum": 1.0}, "momentum must be in"),
        ({"weight_decay": -1.0}, "weight decay"),
        ({"epochs": 0}, "at least 1, got 0"),
        ({"batch_size": 0}, "at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"device": "gpu"}, "unknown device"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(model, images, labels, **settings)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="no examples"):
        train(model, images[:0], labels[:0])
    with pytest.raises(DataError, match="labels must be"):
        train(model, images, labels[:-1])
    with pytest.raises(TrainingError, match="no examples"):
        evaluate(model, images[:0], labels[:0])


def test_divergence_is_an_error_not_a_model_of_nan(mnist: ImageData) -> None:
    images, labels = _some(mnist, 128)
    with pytest.raises(TrainingError, match=r"diverged.*lower the learning rate"):
        train(_fresh(mnist), images, labels, lr=1e6, epochs=3)


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="'cuda' is not available"):
            resolve_device("cuda")


def test_settings_come_back_after_an_error() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(KeyError), deterministic(1):
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyError
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()


def test_the_proximal_term_acts_as_its_formula_says() -> None:
    """Against the same training with μ/2 · ‖w − w₀‖² in the loss, by autograd."""
    rng = np.random.default_rng(5)
    images, labels = rng.integers(0, 256, (48, 1, 8, 8), np.uint8), rng.integers(0, 4, 48)
    spec, settings = (
        ModelSpec("mlp", (1, 8, 8), 4),
        {"batch_size": 16, "optimizer": "sgd", "lr": 0.05, "seed": 3},
    )
    start = build_model(spec, seed=2)

    def distance(model: torch.nn.Module) -> float:
        pairs = zip(model.parameters(), start.parameters(), strict=True)
        return sum(float(((a - b) ** 2).sum().detach()) for a, b in pairs)

    models = {}
    for mu in (0.0, 1.0, 3.0):
        models[mu] = build_model(spec, seed=2)
        train(models[mu], images, labels, epochs=3, proximal_mu=mu, **settings)
    assert distance(models[0.0]) > distance(models[1.0]) > distance(models[3.0]) > 0

    by_hand = build_model(spec, seed=2)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(3)
    pixels = torch.from_numpy(images).float() / 127.5 - 1
    for _ in range(3):
        for batch in torch.split(torch.randperm(48, generator=generator), 16):
            loss = torch.nn.functional.cross_entropy(by_hand(pixels[batch]), torch.from_numpy(labels)[batch])
            pairs = zip(by_hand.parameters(), start.parameters(), strict=True)
            loss = loss + 0.5 * 1.0 * sum(((a - b.detach()) ** 2).sum() for a, b in pairs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for ours, theirs in zip(models[1.0].parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    with pytest.raises(TrainingError, match="proximal"):
        train(start, images, labels, proximal_mu=-1.0)
