"""An ordinary Flower ClientApp in plain PyTorch, as a user of Flower would write it; nothing of FedVM in it.

All sides of the benchmark run this same app. The train config says `data` (folder of arrays) and `images` (of a
client).
"""

from __future__ import annotations

from collections.abc import Sequence

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


def make_app(mods: Sequence[Mod] = ()) -> ClientApp:
    """The app; FedVM adds its mod and nothing else."""
    app = ClientApp(mods=list(mods))
    app.train()(train)
    return app


def train(message: Message, context: Context) -> Message:
    """One local epoch of SGD with momentum."""
    config = message.content["config"]
    images, labels = share(
        str(config["data"]), int(context.node_config["partition-id"]), int(config["images"])
    )
    pixels = torch.from_numpy(images).float().div_(127.5).sub_(1.0)
    truth = torch.from_numpy(labels)
    net = Net()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
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
