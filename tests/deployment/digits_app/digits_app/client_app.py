"""What runs at a client."""

from __future__ import annotations

from collections import OrderedDict

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from digits_app.task import load, record_of, train
from fedvm.federation import fedvm_mod

app = ClientApp(mods=[fedvm_mod])


@app.train()
def train_on_own_digits(message: Message, context: Context) -> Message:
    """Train the global model on this client's digits."""
    arrays = message.content["arrays"]
    state = OrderedDict((name, array.numpy().copy()) for name, array in arrays.items())
    images, labels = load(str(context.node_config["digits"]))
    loss = train(state, images, labels)
    metrics = MetricRecord({"num-examples": len(labels), "train-loss": loss})
    return Message(RecordDict({"arrays": record_of(state), "metrics": metrics}), reply_to=message)
