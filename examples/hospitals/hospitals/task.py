"""The data, the network and the training: PyTorch, no Flower."""

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

HELD_BACK = 100
"""Patients that no hospital has: for tests, and to calibrate the compiler on."""
LOW = torch.tensor([
    6.981, 9.71, 43.79, 143.5, 0.053, 0.019, 0.0, 0.0, 0.106, 0.05,
    0.112, 0.36, 0.757, 6.802, 0.002, 0.002, 0.0, 0.0, 0.008, 0.001,
    7.93, 12.02, 50.41, 185.2, 0.071, 0.027, 0.0, 0.0, 0.156, 0.055,
])  # fmt: skip
HIGH = torch.tensor([
    28.11, 39.28, 188.5, 2501.0, 0.163, 0.345, 0.427, 0.201, 0.304, 0.097,
    2.873, 4.885, 21.98, 542.2, 0.031, 0.135, 0.396, 0.053, 0.079, 0.03,
    36.04, 49.54, 251.2, 4254.0, 0.223, 1.058, 1.252, 0.291, 0.664, 0.208,
])  # fmt: skip
"""The range of each measure, as published with the data set: a hospital needs to know nobody else's patients to scale
its own."""


class Net(nn.Module):
    """30 measures of a cell sample → malignant or benign. Only the layer's weights are learnt and federated."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", LOW, persistent=False)
        self.register_buffer("span", HIGH - LOW, persistent=False)
        self.layer = nn.Linear(len(LOW), 2)

    def forward(self, measures: torch.Tensor) -> torch.Tensor:
        shares = (measures - self.low) / self.span
        return self.layer(
            2 * shares - 0.6
        )  # most patients have a third of the range: then noise in weights does least


def initial_model() -> Net:
    """The network that the first round starts from: it knows nothing."""
    net = Net()
    nn.init.zeros_(net.layer.weight)
    nn.init.zeros_(net.layer.bias)
    return net


@cache
def patients() -> tuple[np.ndarray, np.ndarray]:
    """569 real patients, which come with scikit-learn: measures [569, 30], and 0 for malignant, 1 for benign."""
    data = load_breast_cancer()
    order = np.random.default_rng(7).permutation(len(data.target))
    return data.data[order].astype(np.float32), data.target[order].astype(np.int64)


def held_back() -> tuple[np.ndarray, np.ndarray]:
    """Measures and diagnoses of the patients that no hospital has."""
    measures, diagnoses = patients()
    return measures[:HELD_BACK], diagnoses[:HELD_BACK]


def of_hospital(number: int, hospitals: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The patients of one hospital."""
    measures, diagnoses = patients()
    own = slice(HELD_BACK + number, None, hospitals)
    return torch.tensor(measures[own]), torch.tensor(diagnoses[own])


def train(net: Net, measures: torch.Tensor, diagnoses: torch.Tensor, steps: int, lr: float) -> float:
    """Train in place; the loss before the last step."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(measures), diagnoses)
        loss.backward()
        optimizer.step()
    return loss.item()


def accuracy(net: Net) -> float:
    """The share of the held-back patients that it tells right."""
    measures, diagnoses = held_back()
    with torch.no_grad():
        return float((net(torch.tensor(measures)).argmax(1).numpy() == diagnoses).mean())
