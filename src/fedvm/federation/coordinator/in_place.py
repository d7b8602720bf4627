"""A federation made when an app's first round begins: of the nodes that are there, from the app's own initial arrays.

Its chain lies in a directory of this machine, with the coordinator's and the owner's keys; each client keeps its own
key (`fedvm.federation.keys.draw_key`). Its rules demand nothing that an ordinary app does not do.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message_type import MessageType
from flwr.common import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from fedvm.chain.errors import ChainError
from fedvm.federation.arrays import named_arrays
from fedvm.federation.coordinator.directory import create_federation_of, ledger_of
from fedvm.federation.coordinator.flower_rules import rule_of
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.roster import ASK_SECONDS, ASK_TIMES, Roster, ask_nodes
from fedvm.federation.engines.grid import InProcessGrid
from fedvm.federation.errors import SettingsError
from fedvm.federation.reproducible import derive_seed
from fedvm.federation.rule_units import contract_rules
from fedvm.federation.settings import RulesSettings, SecuritySettings
from fedvm.federation.terms import SHAPES
from fedvm.protocol import Domain, EncodingError, Rules, Security, VectorSpec
from fedvm.protocol.address import Address, by_address, to_address
from fedvm.protocol.aggregators import NAME_ELEMENTS
from fedvm.protocol.security import posting_seconds
from fedvm.protocol.vector import MAX_FRACTION_BITS
from fedvm.rundir.run import Run, open_run

HOME = "FEDVM_HOME"
"""Environment variable: the folder below which federations are made that no directory was named for."""
_NOBODY = Domain(0, to_address("0x" + "00" * 20))
"""In whose name nodes are asked before there is a federation."""
_MOST_EXAMPLES, _WEIGHT_LIMIT, _ROOM = 1_000_000, 2**32, 4
_MOST_BITS, _BITS_WITHOUT_VALUES, _HEADROOM = 24, 20, 128
_WAIT_SECONDS = 1.0
_ROUND_SECONDS = 86_400
"""No app's client is to be too slow for the contract; the app has its own time-out."""


@dataclass(frozen=True)
class Founded:
    """A federation that was made: its members' nodes, the open directory, and the model of its first round."""

    initial: ArrayRecord
    federation: Federation
    roster: Roster
    run: Run


@dataclass(frozen=True)
class InPlace:
    """How to make a federation in place.

    directory: where, a new folder of `FEDVM_HOME` (by default `~/.fedvm`) unless given. fraction_bits: of the fixed
    point, chosen from the app's initial arrays unless given. seed: fixes the chain's keys; follows from the grid's
    unless given, or is drawn where that has none.

    Raises:
        SettingsError: fraction_bits is out of range.
    """

    directory: Path | None = None
    fraction_bits: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.fraction_bits is not None and not 1 <= self.fraction_bits <= MAX_FRACTION_BITS:
            raise SettingsError(f"fraction_bits is {self.fraction_bits}; give 1 to {MAX_FRACTION_BITS}")

    def found(self, grid: Grid, strategy: FedAvg, initial: ArrayRecord, config: ConfigRecord) -> Founded:
        """Wait for as many nodes as the strategy wants, ask them for their keys, and make the federation.

        An app whose initial arrays are empty, since only clients know the model's shape, starts from zeros in the shape
        that a client trains. config: of the first round's train messages.

        Raises:
            SettingsError: no node proves a key, the model has nothing to federate, or the directory is not empty.
        """
        dressed = ConfigRecord({**config, "server-round": 0})
        dressing = RecordDict({strategy.arrayrecord_key: initial, strategy.configrecord_key: dressed})
        proved = _proved_keys(grid, max(strategy.min_available_nodes, strategy.min_train_nodes), dressing)
        members = sorted(set(proved.values()), key=by_address)
        arrays, rule = named_arrays(initial), rule_of(strategy)
        floats = (one for one in arrays.values() if np.issubdtype(one.dtype, np.floating))
        if not rule.over_bytes and not any(one.size for one in floats):
            dressed["server-round"] = 1
            initial = _shapes(grid, proved, dressing)
            arrays = named_arrays(initial)
        elements = NAME_ELEMENTS if rule.over_bytes else VectorSpec.from_arrays(arrays).elements
        bits = self.fraction_bits or fraction_bits_for({} if rule.over_bytes else arrays)
        rules = rules_as_met(strategy, elements=elements, members=len(members), fraction_bits=bits)
        directory = self.directory or _new_directory()
        seed = secrets.randbits(128) if self.seed is None else self.seed
        if self.seed is None and isinstance(grid, InProcessGrid):
            seed = derive_seed(grid.seed, "federation")
        security = _security(rules.elements)
        address = create_federation_of(
            directory, initial, rules=rules, security=security, members=members, seed=seed
        )
        log(INFO, "Federation %s of %d clients: %s", address, len(members), directory.resolve())
        log(INFO, "\t└──> look at it with: fedvm audit --run %s", directory.resolve())
        run = open_run(directory, read_only=False)
        ledger = ledger_of(run)
        assert run.chain is not None
        owner = run.chain.account("owner")

        def admit(new: Sequence[Address]) -> None:
            try:
                run.federation_contract.add_members(new).send(owner)
            except ChainError as error:  # in a round, or too many for the rules
                log(WARNING, "%d new clients are left out for now: %s", len(new), error)

        roster = Roster(ledger, proved=proved, admit=admit)
        return Founded(initial, Federation(ledger, run.store), roster, run)


def rules_as_met(strategy: FedAvg, *, elements: int, members: int, fraction_bits: int) -> Rules:
    """Rules that demand nothing of an app but what its strategy does: the quorum is the strategy's least number of
    clients, every example counts (up to a million a client), no metric need be attested, and no update is too long."""
    rule = rule_of(strategy)
    quorum = 1 if rule.takes_turns else max(1, min(strategy.min_train_nodes, members))
    most = max(1, min(_MOST_EXAMPLES, (_WEIGHT_LIMIT - 1) // (_ROOM * members)))
    settings = RulesSettings(
        min_clients=quorum, max_examples=most, fraction_bits=fraction_bits, round_seconds=_ROUND_SECONDS
    )
    fields = contract_rules(settings) | {"max_sum_squares": longest_sum_squares(elements)}
    return Rules(elements=elements, aggregator=rule.identifier, **fields)


def longest_sum_squares(elements: int) -> int:
    """Σd² of the longest update of int32, or the most that the contract can hold: no update exceeds it."""
    return min(2**128 - 1, elements << 62)


def fraction_bits_for(arrays: Mapping[str, NDArray[Any]]) -> int:
    """Fixed-point bits for a model: room for values 128 times as large as its largest, or as 1, and at most 24 bits,
    what a float32 near 1 has. A model of zeros tells nothing of its scale; 20 bits leave it room to 2,048."""
    floats = [array for array in arrays.values() if np.issubdtype(array.dtype, np.floating) and array.size]
    largest = max((float(np.abs(array.astype(np.float64)).max()) for array in floats), default=0.0)
    if largest == 0:
        return _BITS_WITHOUT_VALUES
    if not math.isfinite(largest):
        raise SettingsError("the app's initial arrays hold values that are not finite")
    bits = min(_MOST_BITS, 31 - math.ceil(math.log2(_HEADROOM * max(1.0, largest))))
    if bits < 1:
        raise SettingsError(
            f"the app's initial arrays hold values of {largest:.3g}, too large for int32: let the app scale its model"
        )
    return bits


def _security(elements: int) -> Security:
    settings = asdict(SecuritySettings())
    return Security(
        **{**settings, "answer_seconds": max(settings["answer_seconds"], posting_seconds(elements))}
    )


def _new_directory() -> Path:
    home = Path(os.environ.get(HOME) or Path.home() / ".fedvm")
    return home / "runs" / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def _shapes(grid: Grid, node_ids: Iterable[int], content: RecordDict) -> ArrayRecord:
    """Zeros in the shapes that the first of the nodes trains that says so; their values are not taken from it, so that
    none chooses the first model."""
    asked = RecordDict({**dict(content), SHAPES: ConfigRecord()})
    reasons = []
    for node_id in node_ids:
        replies = list(
            grid.send_and_receive([Message(asked, node_id, MessageType.TRAIN)], timeout=ASK_SECONDS)
        )
        if not replies or replies[0].has_error():
            reasons.append(f"node {node_id}: {replies[0].error.reason if replies else 'it did not answer'}")
            continue
        try:
            (record,) = replies[0].content.array_records.values()
            trained = named_arrays(record)
            VectorSpec.from_arrays(trained)
        except (EncodingError, TypeError, ValueError) as error:
            reasons.append(f"node {node_id}: {error}")
            continue
        log(
            INFO,
            "The app's initial arrays are empty: round 1 starts from zeros in the shapes that clients train",
        )
        return ArrayRecord({name: Array(np.zeros_like(array)) for name, array in trained.items()})
    raise SettingsError(
        "the app's initial arrays are empty, and no node could say which it trains: "
        f"{'; '.join(reasons[:3])}. Start from arrays of the shapes that clients return"
    )


def _proved_keys(grid: Grid, wanted: int, dressing: RecordDict) -> dict[int, Address]:
    """Node id → member, once `wanted` nodes have proved a key, and of all that are there then."""
    proved: dict[int, Address] = {}
    reasons: dict[int, str] = {}
    asked: dict[int, int] = {}
    while True:
        connected = sorted(grid.get_node_ids())
        ready = [node for node in connected if node not in proved and asked.get(node, 0) < ASK_TIMES]
        for one in ask_nodes(grid, _NOBODY, ready, may_draw=True, dressing=dressing) if ready else ():
            asked[one.node_id] = asked.get(one.node_id, 0) + 1
            if one.member is None:
                reasons[one.node_id] = one.reason
            elif one.member not in proved.values():
                proved[one.node_id] = one.member
            else:
                asked[one.node_id], reasons[one.node_id] = ASK_TIMES, f"another node is {one.member} already"
        waiting = [node for node in connected if node not in proved and asked.get(node, 0) < ASK_TIMES]
        if waiting:
            continue
        if len(proved) >= wanted:
            break
        if connected and not proved:
            said = "; ".join(f"node {node}: {reasons[node]}" for node in connected[:3] if node in reasons)
            raise SettingsError(f"no connected node can take part: {said}")
        log(INFO, "Waiting for nodes to connect: %d connected (minimum required: %d).", len(proved), wanted)
        time.sleep(_WAIT_SECONDS)
    for node, reason in reasons.items():
        if node not in proved:
            log(WARNING, "Node %d is left out: %s", node, reason)
    return proved
