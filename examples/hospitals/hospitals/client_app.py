"""What runs at each hospital."""

import tomllib
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedvm.federation import accountable_mod
from fedvm.federation.client.distributed_privacy import DistributedPrivacy
from hospitals.task import Net, of_hospital, train

TERMS = tomllib.loads((Path(__file__).parent.parent / "federation.toml").read_text())
NOISE = DistributedPrivacy(**TERMS["privacy"], assumed_corrupt=TERMS["sealed"]["assumed_corrupt"])

app = ClientApp(mods=[accountable_mod(privacy=NOISE)])


@app.train()
def train_on_own_patients(msg: Message, context: Context) -> Message:
    """Train the global model on this hospital's patients. Nothing of them leaves it but the masked update, and how many
    they are."""
    net = Net()
    net.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    own = of_hospital(context.node_config["partition-id"], context.node_config["num-partitions"])
    train(net, *own, steps=context.run_config["local-steps"], lr=context.run_config["lr"])
    metrics = MetricRecord({"num-examples": len(own[1])})
    return Message(RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics}), reply_to=msg)
