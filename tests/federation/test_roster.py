"""Members found by message: the server knows no node beforehand, each node proves who it is."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import numpy as np
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from federation_bench import SEED, Bench, MakeBench
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import fixedclipping_mod
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp.strategy import FedAvg

from fedvm.federation import Accountable, Federation, FederationSettings, InProcessGrid, Node, fedvm_mod
from fedvm.federation.coordinator.roster import ASK_TIMES, Roster
from fedvm.federation.engines.flower_task import set_server_identity
from fedvm.federation.errors import CommitmentError, TermsError
from fedvm.federation.identity import ANSWER, Question, answer, read_answer
from fedvm.federation.keys import QUESTION
from fedvm.protocol import Domain
from fedvm.protocol.address import to_address
from fedvm.protocol.node_proof import recover_node_signer, sign_node

KEY = "0x" + "42" * 32
QUESTION_HERE = Question(Domain(31_415_926, to_address("0x" + "ab" * 20)), bytes(range(32)))
RANDOM_IDS = [9_000_000_000_000_000_001, 17, 2**64 - 1, 5_000_000_000]


def test_the_signature_is_eip_712() -> None:
    fields = {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Node": [{"name": "nodeId", "type": "uint64"}, {"name": "nonce", "type": "bytes32"}],
    }
    message = encode_typed_data(
        full_message={
            "types": fields,
            "primaryType": "Node",
            "domain": {
                "name": "FedVM",
                "version": "1",
                "chainId": QUESTION_HERE.domain.chain_id,
                "verifyingContract": QUESTION_HERE.domain.federation,
            },
            "message": {"nodeId": RANDOM_IDS[0], "nonce": QUESTION_HERE.nonce},
        }
    )
    expected = bytes(Account.sign_message(message, KEY).signature)
    assert sign_node(RANDOM_IDS[0], QUESTION_HERE.nonce, QUESTION_HERE.domain, KEY) == expected


def test_a_proof_is_good_for_one_node_nonce_federation_and_chain() -> None:
    signature = sign_node(7, QUESTION_HERE.nonce, QUESTION_HERE.domain, KEY)
    address = Account.from_key(KEY).address
    assert recover_node_signer(7, QUESTION_HERE.nonce, QUESTION_HERE.domain, signature) == address
    for node_id, nonce, domain in (
        (8, QUESTION_HERE.nonce, QUESTION_HERE.domain),
        (7, os.urandom(32), QUESTION_HERE.domain),
        (7, QUESTION_HERE.nonce, Domain(1, QUESTION_HERE.domain.federation)),
        (7, QUESTION_HERE.nonce, Domain(31_415_926, "0x" + "cd" * 20)),
    ):
        assert recover_node_signer(node_id, nonce, domain, signature) != address
    content = answer(QUESTION_HERE, 7, KEY)
    assert read_answer(QUESTION_HERE, 7, content) == address
    with pytest.raises(CommitmentError, match="another key signed"):
        read_answer(QUESTION_HERE, 8, content)
    with pytest.raises(CommitmentError, match="another key signed"):
        read_answer(replace(QUESTION_HERE, nonce=os.urandom(32)), 7, content)


def test_the_mod_answers_before_the_app_and_for_its_own_federation_only() -> None:
    set_server_identity(1)
    app = ClientApp(mods=[fedvm_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise AssertionError("the app must not see the question")

    message = Message(QUESTION_HERE.content(), dst_node_id=7, message_type="train")
    reply = app(message, Context(1, 7, {"fedvm-key": KEY}, RecordDict(), {}))
    assert read_answer(QUESTION_HERE, 7, reply.content) == Account.from_key(KEY).address
    other = {"fedvm-key": KEY, "fedvm-federation": "0x" + "cd" * 20}
    with pytest.raises(TermsError, match="signs for the federation"):
        app(message, Context(1, 7, other, RecordDict(), {}))
    broken = RecordDict(
        {QUESTION: ConfigRecord({"chain-id": "1", "federation": "0x" + "cd" * 20, "nonce": b"short"})}
    )
    with pytest.raises(TermsError, match="no nonce of 32 bytes"):
        app(Message(broken, dst_node_id=7, message_type="train"), Context(1, 7, other, RecordDict(), {}))


def with_random_ids(nodes: list[Node]) -> list[Node]:
    return [replace(node, node_id=node_id) for node, node_id in zip(nodes, RANDOM_IDS, strict=False)]


def start(bench: Bench, nodes: list[Node], rounds: int = 2) -> str:
    """Two lines around FedAvg, over nodes that the server knows nothing of. The final model's digest."""
    federation = Federation(bench.ledger, bench.store)
    strategy = Accountable(FedAvg(fraction_evaluate=0.5), federation=federation)
    with InProcessGrid(nodes, seed=1) as grid:
        strategy.start(grid, bench.initial, num_rounds=rounds)
    return "0x" + bench.ledger.model_root().hex()


def test_asking_random_nodes_gives_the_digest_of_knowing_them(make_bench: MakeBench) -> None:
    settings = FederationSettings(clients=4, rounds=2, fraction_evaluate=0.5)
    told = make_bench(4, "told").run(settings)
    asked = make_bench(4, "asked")
    digest = start(asked, with_random_ids(asked.nodes(settings)))
    assert digest == told.model_root


def lying_as(victim: str) -> Mod:
    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        reply = call_next(message, context)
        if ANSWER in reply.content.config_records:
            reply.content.config_records[ANSWER]["member"] = victim
        return reply

    return mod


def an_app(*mods: Mod) -> ClientApp:
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = ArrayRecord({"w": Array(np.zeros(2, dtype=np.float32))})
        return Message(
            RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message
        )

    return app


class Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_strangers_liars_and_plain_apps_are_left_out(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    honest = bench.nodes(FederationSettings(clients=2, rounds=1))
    nodes = [
        *honest,
        Node(1, {"fedvm-key": KEY}, an_app(fedvm_mod)),  # a key that is no member's
        Node(2, {"fedvm-key": KEY}, an_app(lying_as(bench.members[0]), fedvm_mod)),
        Node(3, {}, an_app(fedvm_mod)),  # no key: the grid draws one
        Node(4, {}, an_app()),  # knows nothing of FedVM
        Node(5_000, {"fedvm-key": bench.keys[0]}, honest[0].app),  # a second node with a member's key
        Node(
            6_000, {"fedvm-key": KEY}, an_app(fixedclipping_mod, fedvm_mod)
        ),  # a mod that wants arrays comes first
    ]
    log, logger = Log(), logging.getLogger("flwr")
    logger.addHandler(log)
    try:
        roster = Roster(bench.ledger)
        with InProcessGrid(nodes, seed=SEED) as grid:
            for _ in range(ASK_TIMES + 2):
                present = roster.present(grid)
                assert present == {
                    node.node_id: member for node, member in zip(honest, bench.members, strict=True)
                }
    finally:
        logger.removeHandler(log)
    lines = [line for line in log.lines if "left out" in line]
    assert len(lines) == 6  # each reason said once
    for node_id, reason in (
        (1, "is no member of the federation"),
        (2, "another key signed"),
        (3, "is no member of the federation"),
        (4, "add fedvm_mod"),
        (5_000, "already"),
        (6_000, "put fedvm_mod first"),
    ):
        assert any(f"Node {node_id} is left out" in line and reason in line for line in lines), reason


class ComingAndGoing(InProcessGrid):
    """A grid whose nodes are connected only while they are in `connected`; counts what it sends."""

    connected: frozenset[int] = frozenset()
    sent = 0

    def get_node_ids(self) -> list[int]:
        return sorted(self.connected)

    def send_and_receive(self, messages: list[Message], *, timeout: float | None = None) -> list[Message]:  # type: ignore[override]
        self.sent += len(messages)
        return list(super().send_and_receive(messages, timeout=timeout))


def test_nodes_come_and_go_and_each_is_asked_once(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    nodes = bench.nodes(FederationSettings(clients=3, rounds=1))
    ids = [node.node_id for node in nodes]
    roster = Roster(bench.ledger)
    with ComingAndGoing(nodes, seed=SEED) as grid:
        grid.connected = frozenset(ids[:1])
        assert list(roster.present(grid).values()) == bench.members[:1]
        grid.connected = frozenset(ids)
        assert list(roster.present(grid).values()) == bench.members
        grid.connected = frozenset(ids[1:])
        assert list(roster.present(grid).values()) == bench.members[1:]
        grid.connected = frozenset(ids)
        assert list(roster.present(grid).values()) == bench.members
        assert grid.sent == 3
        grid.connected = frozenset({1}) | frozenset(ids)  # one that never answers
        silent = Node(1, {}, an_app())
        grid._nodes[1], grid._states[1] = silent, RecordDict()
        for _ in range(ASK_TIMES + 3):
            roster.present(grid)
        assert grid.sent == 3 + ASK_TIMES


def test_of_two_nodes_of_a_member_the_one_that_came_last_is_asked(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    first, other = bench.nodes(FederationSettings(clients=2, rounds=1))
    again = replace(first, node_id=5_000)
    roster = Roster(bench.ledger)
    with ComingAndGoing([first, other, again], seed=SEED) as grid:
        grid.connected = frozenset({first.node_id, other.node_id})
        assert set(roster.present(grid)) == grid.connected
        grid.connected |= {
            again.node_id
        }  # started again, and Flower has not noticed yet that the other is gone
        assert set(roster.present(grid)) == {again.node_id, other.node_id}
        assert roster.member_of(first.node_id) == bench.members[0]  # an answer that was under way counts


def test_a_round_goes_on_without_the_nodes_that_have_left(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    nodes = bench.nodes(FederationSettings(clients=3, rounds=2))
    strategy = Accountable(FedAvg(fraction_evaluate=0.0), federation=Federation(bench.ledger, bench.store))
    with ComingAndGoing(nodes, seed=SEED) as grid:
        grid.connected = frozenset(node.node_id for node in nodes)
        strategy.start(grid, bench.initial, num_rounds=1)
        assert set(strategy.accountability.outcome.sampled) == set(bench.members)
        grid.connected = frozenset(node.node_id for node in nodes[:2])
        strategy.start(grid, bench.initial, num_rounds=2)
    assert set(strategy.accountability.outcome.sampled) == set(bench.members[:2])
    assert bench.ledger.current_round() == 2
