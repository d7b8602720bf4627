"""Who takes part in a round, by a rule that anyone can check from the chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import Message

from fedvm.chain.federation_types import RoundFailed
from fedvm.evm.keccak import keccak
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.errors import SettingsError
from fedvm.protocol.checks import address_bytes


def choose_members(seed: bytes, members: Iterable[str], count: int, *, purpose: str) -> tuple[str, ...]:
    """The `count` members with the smallest keccak(seed ‖ address ‖ purpose), in ascending address order.

    seed: the round's public seed, 32 bytes. purpose: "train" or "evaluate", so that the two draws differ.
    Raises SettingsError if fewer members than `count` are there.
    """
    addresses = {address_bytes("member", member): member for member in members}
    if count > len(addresses):
        raise SettingsError(f"{count} members are wanted for {purpose} but only {len(addresses)} are there")
    ranked = sorted(addresses, key=lambda address: keccak(seed + address + purpose.encode()))
    return tuple(addresses[address] for address in sorted(ranked[:count]))


def resting_members(ledger: ChainLedger, number: int) -> frozenset[str]:
    """Members that the rules make sit round `number` out (`Rules.rests_after`)."""
    return frozenset(
        update.member
        for before in ledger.rules().rests_after(number)
        if not isinstance(ledger.history(before).ended, RoundFailed)
        for update in ledger.history(before).accepted
    )


def readdressed(messages: list[Message], members: Iterable[str], nodes: Mapping[int, str]) -> list[Message]:
    """The first messages, addressed to the nodes of these members, in their order; fewer where some rest. nodes: node
    id → member."""
    node_ids = {member: node_id for node_id, member in nodes.items()}
    addressed = []
    for message, member in zip(messages, members, strict=False):
        message.metadata.dst_node_id = node_ids[member]
        addressed.append(message)
    return addressed
