"""A federation's life in steps that can be taken again after any error: factory, federation, rounds, a program.

Only what a run directory would hold is remembered between attempts: addresses, each kept as soon as it is known. The
rest is read from the chain, as a coordinator does that goes on where another was killed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from eth_account.signers.local import LocalAccount
from numpy.typing import NDArray
from web3 import Web3
from web3.exceptions import Web3Exception

from fedvm.chain.artifacts import FEDERATION_FACTORY, load_artifact
from fedvm.chain.call import read
from fedvm.chain.deploy import deploy_code, deploy_contract
from fedvm.chain.errors import ChainError
from fedvm.chain.factory import IMPLEMENTATIONS, OPEN_IMPLEMENTATIONS, FederationFactory
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Premises, Proposal, RoundOpened, RoundState, UpdateAccepted
from fedvm.chain.sender import Sender
from fedvm.evm.creation import creation_code
from fedvm.evm.keccak import keccak
from fedvm.federation.rule_units import contract_rules
from fedvm.federation.settings import RulesSettings, SecuritySettings
from fedvm.files import write_atomically
from fedvm.pipeline.rule_units import contract_security
from fedvm.protocol import (
    WEIGHTED_MEAN,
    Domain,
    Place,
    Rules,
    Submission,
    Update,
    model_root,
    sign_update,
    update_tree,
)
from fedvm.protocol.address import to_address
from fedvm.protocol.commitments import range_hash
from fedvm.store import Cid

ELEMENTS: Final = 100
ROUNDS: Final = 2
PROGRAM: Final = tuple(
    bytes([0x60, number, 0x60, 0x00, 0x52, 0x60, 0x20, 0x60, 0x00, 0xF3]) for number in range(3)
)
"""Contracts that return a number each."""


@dataclass(frozen=True)
class Cast:
    """Who acts. owner: also deploys the program."""

    owner: LocalAccount
    coordinator: LocalAccount
    members: tuple[LocalAccount, ...]

    @property
    def senders(self) -> tuple[str, ...]:
        """Addresses that send transactions."""
        return self.owner.address, self.coordinator.address


@dataclass(frozen=True)
class Ending:
    """What the scenario came to, without addresses: those depend on nonces, and a transaction that failed uses one."""

    model_root: bytes
    rounds: tuple[tuple[str, int, int, bytes], ...]
    accepted: tuple[tuple[int, str, int], ...]
    program: tuple[str, ...]


class Notes:
    """What a run directory would hold, in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def address(self, name: str, make: Callable[[], str]) -> str:
        if name not in self._known:
            self._known[name] = make()
            write_atomically(self._path, json.dumps(self._known))
        return self._known[name]


def play(sender: Sender, cast: Cast, notes: Notes, pause: Callable[[int], None]) -> Ending:
    """Go through the scenario from wherever it is. May raise whatever a bad network leads to; call again then. pause:
    lets the chain's time go on towards so many seconds from now."""
    sender.settle(*cast.senders)
    hashes = [keccak(load_artifact(name).bytecode) for name in IMPLEMENTATIONS]
    factory = FederationFactory(
        sender.w3,
        notes.address(
            "factory",
            lambda: str(deploy_contract(sender, cast.owner, FEDERATION_FACTORY, (hashes,)).contract_address),
        ),
        sender=sender,
    )
    address = notes.address("federation", lambda: _create(factory, cast))
    federation = FederationContract(sender.w3, address, sender=sender)
    for number in range(1, ROUNDS + 1):
        _round(federation, cast, number, pause)
    parts = [notes.address(f"part {n}", partial(_part, sender, cast, n)) for n in range(len(PROGRAM))]
    sender.settle(*cast.senders)
    return _ending(sender.w3, federation, parts)


def play_on(
    sender: Sender, cast: Cast, notes: Notes, pause: Callable[[int], None], *, seconds: float = 150
) -> Ending:
    """Play until it ends, however often it is interrupted; raises the last interruption if it does not end in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return play(sender, cast, notes, pause)
        except (ChainError, Web3Exception, OSError):
            if time.monotonic() > deadline:
                raise


def _create(factory: FederationFactory, cast: Cast) -> str:
    factory.install(cast.owner)
    address = factory.address_of(cast.owner.address)
    if not factory.w3.eth.get_code(Web3.to_checksum_address(address)):
        FederationContract.create(
            factory,
            cast.owner,
            coordinator=cast.coordinator.address,
            rules=_rules(),
            members=[member.address for member in cast.members],
            model_root=model_root(_base(0)),
            model_cid=_cid("model 0"),
            security=contract_security(SecuritySettings()),
        )
    return address


def _part(sender: Sender, cast: Cast, index: int) -> str:
    made = deploy_code(sender, cast.owner, creation_code(PROGRAM[index]), action=f"creating part {index}")
    return str(made.contract_address)


def _round(federation: FederationContract, cast: Cast, number: int, pause: Callable[[int], None]) -> None:
    if federation.current_round() < number:
        federation.open_round(cast.coordinator)
    if federation.round(number).state is RoundState.OPEN:
        if federation.round(number).accepted == 0:
            opened = federation.opening(number)
            updates = [_submission(federation, member, opened) for member in cast.members]
            federation.submit(cast.coordinator, number, updates)
        held = federation.round(number)
        peaks = range_hash(held.accepted, partial(read, federation.contract, "commitmentPeak"))
        premises = Premises(held.accepted, held.total_weight, peaks)
        roots = keccak(b"aggregation"), keccak(b"aggregate"), model_root(_base(number))
        federation.propose(cast.coordinator, number, Proposal(premises, *roots, _cid(f"model {number}")))
    while (left := _seconds_left(federation, number)) > 0:
        pause(left)
    if federation.round(number).state is RoundState.PROPOSED:
        federation.finalize_round(cast.coordinator, number)


def _seconds_left(federation: FederationContract, number: int) -> int:
    held = federation.round(number)
    if held.state is not RoundState.PROPOSED:
        return 0
    return held.until + 1 - int(federation.w3.eth.get_block("latest")["timestamp"])


def _submission(federation: FederationContract, member: LocalAccount, opened: RoundOpened) -> Submission:
    domain = Domain(federation.w3.eth.chain_id, federation.address)
    values = np.full(ELEMENTS, int(member.address, 16) % 7 - 3, dtype=np.int32)
    tree = update_tree(values, Place(domain.chain_id, domain.federation, opened.round, member.address))
    update = Update(
        round=opened.round,
        rules_hash=opened.rules_hash,
        base_root=opened.base_root,
        update_root=tree.root,
        sum_squares=tree.sum_squares,
        elements=ELEMENTS,
        fraction_bits=_rules().fraction_bits,
        examples=300,
        accuracy_ppm=900_000,
        loss_micros=400_000,
        labels=10,
        epsilon_micros=0,
        deadline=opened.deadline + 86_400,
        cid=_cid(member.address),
    )
    return Submission(to_address(member.address), update, sign_update(update, domain, member.key))


def _ending(w3: Web3, federation: FederationContract, parts: list[str]) -> Ending:
    rounds = [federation.round(number) for number in range(1, federation.current_round() + 1)]
    verdicts = [event for event in federation.events([UpdateAccepted]) if isinstance(event, UpdateAccepted)]
    return Ending(
        federation.model_root(),
        tuple((held.state.name, held.attempt, held.accepted, held.model_root) for held in rounds),
        tuple((event.round, event.member, event.weight) for event in verdicts),
        tuple(bytes(w3.eth.get_code(Web3.to_checksum_address(part))).hex() for part in parts),
    )


def effective(w3: Web3, cast: Cast, first: int) -> dict[str, int]:
    """How many transactions of each sender of the cast changed something. Read block by block, from ``first`` on.

    A call that lands where no contract is yet succeeds without an event. The owner's cannot: its nonces put what it
    creates before what it calls; but it may install twice what a reorganisation has hidden, which then does nothing.
    """
    counts, installed = dict.fromkeys(cast.senders, 0), set()
    for number in range(first, int(w3.eth.block_number) + 1):
        try:
            block = w3.eth.get_block(number, full_transactions=True)
        except Web3Exception:  # a null round
            continue
        for transaction in block["transactions"]:
            sent: Any = transaction
            if sent["from"] in counts:
                receipt = w3.eth.get_transaction_receipt(sent["hash"])
                silent, data = sent["to"] and not receipt["logs"], bytes(sent["input"])
                repeated = sent["from"] == cast.coordinator.address or data in installed
                if receipt["status"] and not (silent and repeated):
                    counts[sent["from"]] += 1
                    installed.add(data)
    return counts


def expected() -> tuple[int, int]:
    """How many such transactions owner and coordinator need."""
    return 1 + len(OPEN_IMPLEMENTATIONS) + 1 + len(PROGRAM), 4 * ROUNDS


def _rules() -> Rules:
    lenient = {"fraction_bits": 16, "min_examples": 10, "max_examples": 500, "max_sum_squares": 10**9}
    fields = {**contract_rules(RulesSettings()), **lenient, "max_loss_micros": 2**64 - 1}
    return Rules(**fields, elements=ELEMENTS, aggregator=WEIGHTED_MEAN)


def _base(number: int) -> NDArray[np.int32]:
    return np.arange(ELEMENTS, dtype=np.int32) + number


def _cid(text: str) -> bytes:
    return Cid.of_block(0x55, text.encode()).binary
