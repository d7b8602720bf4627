"""Clients that collude: all of them send the same update, crafted from what each of them learnt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray

from fedvm.federation.arrays import named_arrays
from fedvm.federation.engines.flower_task import private_copy

Craft = Callable[[NDArray[np.float64], int], NDArray[np.float64]]
"""From the colluders' differences (colluders, elements) and the number of clients to the update they all send."""


def colluding_mod(craft: Craft, accomplices: tuple[int, ...]) -> Mod:
    """A mod inside the accountable one that trains for every accomplice and answers with the crafted model.

    accomplices: their partition ids, the client's own among them. Each needs the others' data, so colluders work where
    the clients are simulated, not where each client holds its own data alone.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if not message.metadata.message_type.startswith("train"):
            return call_next(message, context)
        own = int(context.node_config["partition-id"])
        before = named_arrays(next(iter(message.content.array_records.values())))
        reply, learnt = None, []
        try:
            for partition in accomplices:
                context.node_config["partition-id"] = partition
                answer = call_next(private_copy(message), context)
                if answer.has_error():
                    return answer
                learnt.append(_flat(_arrays(answer)) - _flat(before))
                reply = answer if partition == own else reply
        finally:
            context.node_config["partition-id"] = own
        if reply is None:
            raise ValueError(f"client {own} is not among its accomplices {accomplices}")
        clients = int(context.node_config["num-partitions"])
        _answer_with(reply, before, craft(np.stack(learnt), clients))
        return reply

    return mod


def _arrays(reply: Message) -> dict[str, NDArray[np.generic]]:
    return named_arrays(next(iter(reply.content.array_records.values())))


def _flat(arrays: dict[str, NDArray[np.generic]]) -> NDArray[np.float64]:
    return np.concatenate([array.astype(np.float64).ravel() for array in arrays.values()])


def _answer_with(
    reply: Message, before: dict[str, NDArray[np.generic]], difference: NDArray[np.float64]
) -> None:
    key, at = next(iter(reply.content.array_records)), 0
    crafted = {}
    for name, array in before.items():
        moved = array.astype(np.float64) + difference[at : at + array.size].reshape(array.shape)
        crafted[name] = Array(moved.astype(array.dtype))
        at += array.size
    reply.content[key] = ArrayRecord(crafted)
