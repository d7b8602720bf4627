"""What runs at a client."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from quickstart.task import Net, load_data, test, train

app = ClientApp()


@app.train()
def train_on_own_images(msg: Message, context: Context) -> Message:
    """Train the global model on this client's images."""
    model = Net()
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    train_data, test_data = load_data(
        context.node_config["partition-id"], context.node_config["num-partitions"]
    )
    train_loss = train(model, train_data, context.run_config["local-epochs"], context.run_config["lr"])
    loss, accuracy = test(model, test_data)
    metrics = {
        "num-examples": len(train_data.dataset),
        "train-loss": train_loss,
        "validation-loss": loss,
        "validation-accuracy": accuracy,
    }
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate_on_own_images(msg: Message, context: Context) -> Message:
    """Evaluate the global model on images this client did not train on."""
    model = Net()
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    _, test_data = load_data(context.node_config["partition-id"], context.node_config["num-partitions"])
    loss, accuracy = test(model, test_data)
    metrics = MetricRecord({"num-examples": len(test_data.dataset), "loss": loss, "accuracy": accuracy})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)
