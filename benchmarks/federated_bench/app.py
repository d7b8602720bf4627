"""An ordinary Flower ClientApp in plain PyTorch, as a user of Flower would write it; nothing of FedVM in it.

All sides of the benchmark run this same app. The train config says `data` (folder of arrays), `images` (of a
client) and `network`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from torch import nn

from federated_bench.data import share

BATCH_SIZE, LEARNING_RATE, MOMENTUM = 32, 0.02, 0.9


class Net(nn.Module):
    """The network of Flower's PyTorch tutorials: LeNet for CIFAR-10, 62,006 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


class Block(nn.Module):
    """A basic block of ResNet-18: He et al. 2016, arXiv:1512.03385."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 for images of 32×32, 11.2 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = (64, 64, 128, 128, 256, 256, 512, 512)
        self.first = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.blocks = nn.Sequential(
            *(
                Block(before, width, 2 if width != before else 1)
                for before, width in zip((64, *widths), widths, strict=False)
            )
        )
        self.last = nn.Linear(512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.blocks(self.first(x)).mean((2, 3)))


NETWORKS: Mapping[str, type[nn.Module]] = MappingProxyType({"lenet": Net, "resnet18": ResNet18})


def make_app(mods: Sequence[Mod] = ()) -> ClientApp:
    """The app; FedVM adds its mod and nothing else."""
    app = ClientApp(mods=list(mods))
    app.train()(train)
    return app


def train(message: Message, context: Context) -> Message:
    """One local epoch of SGD with momentum."""
    config = message.content["config"]
    images, labels = share(
        str(config["data"]), int(str(context.node_config["partition-id"])), int(str(config["images"]))
    )
    pixels = torch.from_numpy(images).float().div_(127.5).sub_(1.0)
    truth = torch.from_numpy(labels)
    net = NETWORKS[str(config["network"])]()
    net.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True)
    loss_of = nn.CrossEntropyLoss()
    total = 0.0
    for batch in torch.randperm(len(truth)).split(BATCH_SIZE):
        optimizer.zero_grad()
        loss = loss_of(net(pixels[batch]), truth[batch])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    content = RecordDict(
        {
            "arrays": ArrayRecord(net.state_dict()),
            "metrics": MetricRecord({"num-examples": len(truth), "train_loss": total / len(truth)}),
        }
    )
    return Message(content, reply_to=message)
