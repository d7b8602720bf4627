"""Clients that fail in chosen rounds, in the ways that clients fail."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from federation_bench import MODEL, SEED, TRAINING, Bench, client_data
from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod

from fedvm.federation import Node, fedvm_mod
from fedvm.federation.client.app import image_client_app
from fedvm.federation.engines.grid import make_nodes
from fedvm.federation.keys import KEY

Faults = Mapping[tuple[int, int], str]
"""(round, partition) → "raises", "dies" (with its process) or "hangs"."""


def faulty_nodes(bench: Bench, faults: Faults) -> list[Node]:
    """Honest clients of the bench, but for these faults while training."""
    app = image_client_app(
        model=MODEL, data=client_data, training=TRAINING, seed=SEED, mods=[_failing(faults), fedvm_mod]
    )
    return make_nodes(app, [{KEY: key} for key in bench.keys])


def _failing(faults: Faults) -> Mod:
    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if message.metadata.message_type == "train":
            round_ = int(message.content.config_records["config"]["server-round"])  # type: ignore[arg-type]
            fault = faults.get((round_, int(context.node_config["partition-id"])))
            if fault == "raises":
                raise ConnectionError("the network is gone")
            if fault == "dies":
                os._exit(9)
            if fault == "hangs":
                time.sleep(3600)
        return call_next(message, context)

    return mod
