"""Clients that misbehave, to show and test what the rules catch. Each simulates one lie.

Only clients that `[adversaries]` of a run's file names are simulated so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from eth_account import Account
from flwr.app import ConfigRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray

from fedvm.federation.client.mod import accountable_mod
from fedvm.federation.commitment import Quantizer, clip_and_quantize
from fedvm.federation.keys import key_from_node_config
from fedvm.federation.metrics import MetricNames, number
from fedvm.federation.reproducible import derive_seed
from fedvm.federation.simulated.attacks import a_little_is_enough, free_rider, gaussian, scaling, sign_flip
from fedvm.federation.simulated.collusion import Craft, colluding_mod
from fedvm.federation.terms import RECORD
from fedvm.learning.data import Split
from fedvm.protocol import Rules
from fedvm.protocol.vector import IntVector

CLAIMED_EXAMPLES_FACTOR = 50
EXPLOSION_FACTOR = 1_000.0


@dataclass(frozen=True)
class Adversary:
    """How a client misbehaves: what it does to its labels, its app's replies, its update, its messages.

    craft: for clients that collude, what they all send.
    """

    summary: str
    labels: Callable[[Split], Split] | None = None
    inner: Sequence[Mod] = ()
    quantizer: Quantizer = clip_and_quantize
    outer: Sequence[Mod] = ()
    craft: Craft | None = None

    def mods(self, accomplices: tuple[int, ...] = ()) -> list[Mod]:
        """The mods of this client's app, outermost first. accomplices: the partitions of all that collude."""
        collusion = [colluding_mod(self.craft, accomplices)] if self.craft else []
        return [*self.outer, accountable_mod(quantizer=self.quantizer), *collusion, *self.inner]


def _inflate_examples(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    reply = call_next(message, context)
    name = MetricNames().examples
    if not reply.has_error() and message.metadata.message_type.startswith("train"):
        for metrics in reply.content.metric_records.values():
            metrics[name] = int(number(metrics, name) or 0) * CLAIMED_EXAMPLES_FACTOR
    return reply


def _explode(difference: NDArray[np.float64], rules: Rules) -> IntVector:
    """Scale the update far over the norm bound instead of clipping it; what leaves int32 is saturated."""
    scaled = np.ldexp(difference * EXPLOSION_FACTOR, rules.fraction_bits)
    limits = np.iinfo(np.int32)
    exploded: IntVector = np.trunc(np.clip(scaled, limits.min, limits.max)).astype(np.int32)
    return exploded


def _replay(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Answer with the first update this client ever signed, whatever the round."""
    reply = call_next(message, context)
    if reply.has_error() or RECORD not in reply.content.config_records:
        return reply
    arrays_key = next(iter(reply.content.array_records))
    if "replayed-arrays" in context.state:
        reply.content[arrays_key] = context.state["replayed-arrays"]
        reply.content[RECORD] = context.state["replayed-record"]
    else:
        context.state["replayed-arrays"] = reply.content[arrays_key]
        record = reply.content.config_records[RECORD]
        context.state["replayed-record"] = ConfigRecord(dict(record))
    return reply


def _sign_as_member_with_another_key(
    message: Message, context: Context, call_next: ClientAppCallable
) -> Message:
    """State the client's own address, but sign with another key."""
    reply = call_next(message, context)
    if not reply.has_error() and RECORD in reply.content.config_records:
        own = Account.from_key(key_from_node_config(context)).address
        reply.content.config_records[RECORD]["signature"] = _foreign_signature(reply, str(own))
    return reply


def _foreign_signature(reply: Message, seed_text: str) -> bytes:
    """A well-formed signature by a key that is not a member's, over other data."""
    key = derive_seed("bad signature", seed_text).to_bytes(32)
    record = reply.content.config_records[RECORD]
    digest = bytes.fromhex(f"{derive_seed(str(record['update'])):064x}")
    return bytes(Account.unsafe_sign_hash(digest, key).signature)


def _shift_labels(images: Split) -> Split:
    """The same images, each with the label of the next class: what is learnt from them is wrong."""
    return replace(images, labels=(images.labels + 1) % (int(images.labels.max()) + 1))


def _mirror_labels(images: Split) -> Split:
    """The same images, class c labelled as the c-th from the end."""
    return replace(images, labels=int(images.labels.max()) - images.labels)


ADVERSARIES: Mapping[str, Adversary] = MappingProxyType(
    {
        "inflated_examples": Adversary("claims 50 times its examples", inner=(_inflate_examples,)),
        "exploded_update": Adversary("scales its update 1000-fold and does not clip it", quantizer=_explode),
        "bad_signature": Adversary("signs with a key not its own", outer=(_sign_as_member_with_another_key,)),
        "replay": Adversary("sends its first update again and again", outer=(_replay,)),
        "low_quality": Adversary("trains on wrong labels", labels=_shift_labels),
        "sign_flip": Adversary(
            "sends the opposite of what it learnt, as long as it may", quantizer=sign_flip
        ),
        "scaling": Adversary("stretches its update to the norm bound", quantizer=scaling),
        "label_flip": Adversary("trains on mirrored labels", labels=_mirror_labels),
        "gaussian": Adversary("sends noise, as long as it may", quantizer=gaussian),
        "colluding": Adversary("sends what all colluders agreed on", craft=a_little_is_enough),
        "free_rider": Adversary("sends nothing and claims its examples", quantizer=free_rider),
    }
)
