"""An ordinary Flower ClientApp in plain PyTorch, as a user of Flower would write it; nothing of FedVM in it.

All of the benchmark's sides that are Flower's run this same app. The train config says `data` (folder of arrays),
`images` (of a client), `batch` (images of a step) and `network`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from torch import nn

from federated_bench.data import share
from federated_bench.networks import NETWORKS
from federated_bench.recipe import LEARNING_RATE, MOMENTUM


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
    for batch in torch.randperm(len(truth)).split(int(str(config["batch"]))):
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
