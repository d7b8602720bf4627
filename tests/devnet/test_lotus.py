"""The local Filecoin chain answers, refuses and counts as Lotus does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lotus_chain import CALM, FUNDS, STARTED, Node, new_chain, signed, user, weathered

from fedvm.chain.receipts import transaction_hash
from fedvm.devnet.lotus.rpc import Lookback, LotusRpc
from fedvm.evm.creation import creation_code
from fedvm.evm.limits import BLOCK_GAS_LIMIT

REVERTS = bytes.fromhex("63deadbeef5f526004601cfd")  # PUSH4 0xdeadbeef … REVERT(28, 4)
EMITS = bytes.fromhex("602a5f52600160205fa100")  # LOG1(0, 32, topic 1)


def created(node: Node, code: bytes, nonce: int = 0, account: int = 0) -> str:
    tx_hash = node.ask(
        "eth_sendRawTransaction", signed(user(account), to=None, nonce=nonce, data=creation_code(code))
    )
    node.ask("fedvm_advance", 2)
    address: str = node.ask("eth_getTransactionReceipt", tx_hash)["contractAddress"]
    return address


def test_latest_is_the_heads_parent_and_execution_is_deferred() -> None:
    chain = new_chain()
    node = Node(chain)
    tx_hash = node.ask("eth_sendRawTransaction", signed(user(), value=7))
    assert node.ask("eth_getTransactionReceipt", tx_hash) is None
    chain.tick()  # it is in the head now, whose messages count once the head has a child
    head = chain.head.epoch
    assert int(node.ask("eth_blockNumber"), 16) == head - 1
    assert node.ask("eth_getTransactionReceipt", tx_hash) is None
    assert node.ask("eth_getTransactionByHash", tx_hash)["blockNumber"] == hex(head)
    assert int(node.ask("eth_getBalance", user(9).address), 16) == 0
    assert node.error("eth_getBlockByNumber", hex(head), False)["message"] == (
        "requested a future epoch (beyond 'latest')"
    )
    chain.tick()
    receipt = node.ask("eth_getTransactionReceipt", tx_hash)
    assert (receipt["status"], receipt["blockNumber"]) == ("0x1", hex(head))
    assert (receipt["cumulativeGasUsed"], set(receipt["logsBloom"][2:])) == ("0x0", {"f"})
    assert int(node.ask("eth_getBalance", user(9).address), 16) == 7
    block = node.ask("eth_getBlockByNumber", "latest", False)
    assert (int(block["number"], 16), int(block["timestamp"], 16)) == (head, STARTED + 30 * head)
    assert block["gasLimit"] == hex(BLOCK_GAS_LIMIT)


def test_fees_are_paid_by_filecoins_rule() -> None:
    chain = new_chain()
    node = Node(chain)
    tx_hash = node.ask("eth_sendRawTransaction", signed(user()))
    node.ask("fedvm_advance", 2)
    receipt = node.ask("eth_getTransactionReceipt", tx_hash)
    used, base = int(receipt["gasUsed"], 16), chain.by_hash[bytes.fromhex(tx_hash[2:])].tipset.base_fee
    assert used == 2_089_765  # a message without data and return
    burnt = 200_000_000 - used  # far over-estimated: all of the rest is burnt
    assert (
        FUNDS - int(node.ask("eth_getBalance", user().address), 16)
        == base * (used + burnt) + 10**6 * 200_000_000
    )


def test_null_rounds_are_errors_by_number_but_not_for_state() -> None:
    chain = new_chain()
    node = Node(chain)
    with weathered(chain, null_rounds=1.0):
        node.ask("fedvm_advance", 2)
    node.ask("fedvm_advance", 2)
    null = chain.head.epoch - 2
    assert node.error("eth_getBlockByNumber", hex(null), False) == {
        "code": 12,
        "message": f"requested epoch was a null round ({null})",
    }
    assert int(node.ask("eth_getBalance", user().address, hex(null)), 16) == FUNDS
    history = node.ask("eth_feeHistory", "0x2", "latest", [])
    assert len(history["baseFeePerGas"]) == 3
    assert history["baseFeePerGas"][1] == history["baseFeePerGas"][2]  # the next one is not known


def test_reverts_and_their_data_as_lotus_formats_them() -> None:
    node = Node(new_chain())
    thrower = created(node, REVERTS)
    for method in ("eth_call", "eth_estimateGas"):
        error = node.error(method, {"from": user().address, "to": thrower})
        assert (error["code"], error["data"]) == (11, "0xdeadbeef")
        assert error["message"].startswith(
            "message execution failed (exit=[33], revert reason=[0xdeadbeef], vm error=["
        )
        assert "(RetCode=33)" in error["message"]


def test_a_message_with_too_little_gas_uses_all_of_it_and_changes_nothing() -> None:
    node = Node(new_chain())
    data = creation_code(EMITS)
    tx_hash = node.ask("eth_sendRawTransaction", signed(user(), to=None, data=data, gas=30_000_000))
    node.ask("fedvm_advance", 2)
    receipt = node.ask("eth_getTransactionReceipt", tx_hash)
    assert (receipt["status"], receipt["contractAddress"]) == ("0x0", None)
    assert int(receipt["gasUsed"], 16) == 30_000_000
    assert node.ask("eth_getTransactionCount", user().address) == "0x1"


def test_deployments_cost_what_was_measured_on_mainnet() -> None:
    """172 M for a contract of 24,576 bytes, by the figures of which others follow."""
    node = Node(new_chain())
    code = bytes([0x5B]) * 24_576
    estimate = int(
        node.ask("eth_estimateGas", {"from": user().address, "data": "0x" + creation_code(code).hex()}), 16
    )
    assert estimate / 1.25 == pytest.approx(172e6, rel=0.05)


@pytest.mark.parametrize("changes, words", [
    ({"nonce": 6}, "unfulfilled nonce gap"),
    ({"gas": BLOCK_GAS_LIMIT + 1}, "'GasLimit' field"),
    ({"gas": 2_000_000}, "'GasLimit' field"),
    ({"maxFeePerGas": 7, "maxPriorityFeePerGas": 7}, "gas fee cap too low"),
    ({"value": FUNDS}, "not enough funds"),
    ({"data": bytes(65_400)}, "message too big"),
    ({"chainId": 314}, "chain id mismatch"),
    ({"accessList": [{"address": "0x" + "11" * 20, "storageKeys": []}]}, "access list"),
    ({"type": 1, "accessList": [], "maxFeePerGas": None, "maxPriorityFeePerGas": None, "gasPrice": 10**9},
     "unsupported transaction type"),
])  # fmt: skip
def test_the_pool_refuses(changes: dict[str, object], words: str) -> None:
    node = Node(new_chain())
    error = node.error("eth_sendRawTransaction", signed(user(), **changes))
    assert error["code"] == 1
    assert words in error["message"]


def test_replacement_takes_a_quarter_more_premium() -> None:
    node = Node(new_chain())
    first = node.ask("eth_sendRawTransaction", signed(user(), value=1))
    assert "already exists" in node.error("eth_sendRawTransaction", signed(user(), value=1))["message"]
    refused = node.error("eth_sendRawTransaction", signed(user(), value=2, maxPriorityFeePerGas=1_250_000))
    assert "increase GasPremium to 1250001 from 1250000" in refused["message"]
    assert "too low GasPremium" in refused["message"]
    second = node.ask("eth_sendRawTransaction", signed(user(), value=2, maxPriorityFeePerGas=1_250_001))
    node.ask("fedvm_advance", 2)
    assert node.ask("eth_getTransactionReceipt", first) is None
    assert node.ask("eth_getTransactionReceipt", second)["status"] == "0x1"
    late = node.error("eth_sendRawTransaction", signed(user(), value=3, maxPriorityFeePerGas=10**8))
    assert "minimum expected nonce is 1: message nonce too low" in late["message"]


def test_pending_counts_what_waits_and_a_gap_waits_too() -> None:
    node = Node(new_chain())
    node.ask("eth_sendRawTransaction", signed(user(), nonce=2))
    assert node.ask("eth_getTransactionCount", user().address, "pending") == "0x0"
    node.ask("fedvm_advance", 2)
    assert node.ask("eth_getTransactionCount", user().address) == "0x0"
    for nonce in (0, 1):
        node.ask("eth_sendRawTransaction", signed(user(), nonce=nonce))
    assert node.ask("eth_getTransactionCount", user().address, "pending") == "0x3"
    node.ask("fedvm_advance", 2)
    assert node.ask("eth_getTransactionCount", user().address) == "0x3"


def test_logs_have_limits() -> None:
    chain = new_chain()
    node = Node(chain)
    emitter = created(node, EMITS)
    tx_hash = node.ask("eth_sendRawTransaction", signed(user(), nonce=1, to=emitter))
    node.ask("fedvm_advance", 2)
    latest = int(node.ask("eth_blockNumber"), 16)
    (log,) = node.ask("eth_getLogs", {"address": emitter, "fromBlock": "0x0", "toBlock": hex(latest)})
    assert (log["transactionHash"], log["topics"]) == (tx_hash, ["0x" + "00" * 31 + "01"])
    other = {"topics": ["0x" + "00" * 32], "fromBlock": "0x0", "toBlock": hex(latest)}
    assert node.ask("eth_getLogs", other) == []
    beyond = node.error("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(latest + 1)})
    assert "at or greater than head" in beyond["message"]
    wide = node.error("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(2_881)})
    assert (wide["code"], wide["message"]) == (-32005, "block range exceeds maximum of 2880 (got 2881)")
    assert node.error("eth_getLogs", {"topics": [None] * 5})["code"] == -32602


def test_a_gateway_looks_back_so_far() -> None:
    node = Node(new_chain(), Lookback(receipts=20, state=100))
    tx_hash = node.ask("eth_sendRawTransaction", signed(user()))
    node.ask("fedvm_advance", 20)
    assert node.ask("eth_getTransactionReceipt", tx_hash) is not None
    node.ask("fedvm_advance", 2)
    assert node.ask("eth_getTransactionReceipt", tx_hash) is None
    node.ask("fedvm_advance", 100)
    assert "lookbacks of more than" in node.error("eth_getBalance", user().address, "0x2")["message"]


def test_a_reorganisation_takes_receipts_away_and_stops_at_what_is_final() -> None:
    chain = new_chain()
    node = Node(chain)
    node.ask("fedvm_advance", 3)
    tx_hash = node.ask("eth_sendRawTransaction", signed(user()))
    node.ask("fedvm_advance", 2)
    before = node.ask("eth_getTransactionReceipt", tx_hash)
    height = chain.head.epoch
    assert node.ask("fedvm_reorganise", 2) == "0x2"
    assert chain.head.epoch == height + 1
    assert node.ask("eth_getTransactionReceipt", tx_hash) is None
    node.ask("fedvm_advance", 1)
    after = node.ask("eth_getTransactionReceipt", tx_hash)
    assert after["blockHash"] != before["blockHash"]
    node.ask("fedvm_advance", 20)
    final = node.ask("eth_getBlockByNumber", "finalized", False)
    assert int(final["number"], 16) == chain.latest.epoch - CALM.finality
    assert int(node.ask("fedvm_reorganise", 100), 16) < 10
    assert node.ask("eth_getBlockByNumber", final["number"], False)["hash"] == final["hash"]


def test_what_no_node_remembers_is_gone() -> None:
    chain = new_chain()
    node = Node(chain)
    node.ask("fedvm_advance", 3)
    tx_hash = node.ask("eth_sendRawTransaction", signed(user()))
    node.ask("fedvm_advance", 2)
    with weathered(chain, lost=1.0):
        node.ask("fedvm_reorganise", 2)
    node.ask("fedvm_advance", 5)
    assert node.ask("eth_getTransactionByHash", tx_hash) is None
    assert node.ask("eth_getTransactionCount", user().address, "pending") == "0x0"


@pytest.mark.parametrize("method, parameters, words", [
    ("eth_getBlockByNumber", ["earliest", False], "not supported"),
    ("eth_call", [{}, "latest", {"0x" + "00" * 20: {}}], "no state overrides"),
    ("debug_traceTransaction", ["0x"], "not found"),
    ("eth_getBalance", ["0x12"], "not an address"),
    ("eth_getBalance", [], "param count"),
    ("eth_getBlockByHash", ["0x" + "11" * 32, False], "could not find"),
    ("eth_feeHistory", ["0x401", "latest", []], "smaller than 1024"),
])  # fmt: skip
def test_what_lotus_does_not_answer(method: str, parameters: list[object], words: str) -> None:
    assert words in Node(new_chain()).error(method, *parameters)["message"]


def test_requests_that_are_none() -> None:
    rpc = LotusRpc(new_chain())
    for nonsense in (None, [], "eth_chainId", {"method": 5}):
        assert rpc.answer(nonsense)["error"]["code"] == -32600


def test_malformed_parameters_are_refused_as_such() -> None:
    rpc = LotusRpc(new_chain())
    odd: list[Any] = [5, "0xzz", [[]], {"value": "-0x1"}, {"from": 5}, {"topics": 5}, "0x" + "f" * 80, None]
    for method in ("eth_call", "eth_estimateGas", "eth_getLogs", "eth_getBalance", "eth_getStorageAt"):
        for params in [[one] for one in odd] + [["0x" + "11" * 20, one] for one in odd] + [{"a": 1}, 5]:
            answer = rpc.answer({"id": 1, "method": method, "params": params})
            assert ("result" in answer) != ("error" in answer)


def test_the_beacon_of_an_epoch_that_has_come_is_known() -> None:
    node = Node(new_chain())
    node.ask("fedvm_advance", 5)
    latest = int(node.ask("eth_blockNumber"), 16)
    precompile = "0xfe" + 37 * "0" + "6"

    def value(epoch: int) -> Any:
        return node.ask("eth_call", {"to": precompile, "data": f"0x{epoch:064x}"}, "latest")

    assert len({value(latest - 1), value(latest - 2), value(latest - 1)}) == 2
    assert len(value(latest - 1)) == 66
    assert "error" in str(
        node.error("eth_call", {"to": precompile, "data": f"0x{latest + 9:064x}"}, "latest")
    )


def test_what_is_said_of_a_transaction_has_its_hash() -> None:
    chain = new_chain()
    node = Node(chain)
    raw = signed(user(), to=user(1).address, value=5)
    tx_hash = node.ask("eth_sendRawTransaction", raw)
    waiting = node.ask("eth_getTransactionByHash", tx_hash)
    for _ in range(3):
        chain.tick()
    for told in (waiting, node.ask("eth_getTransactionByHash", tx_hash)):
        found = transaction_hash(told)
        assert found is not None and "0x" + found.hex() == tx_hash


def test_blockhash_of_a_null_round_is_that_of_the_tipset_before() -> None:
    chain = new_chain(replace(CALM, null_rounds=0.4))
    for _ in range(40):
        chain.tick()
    node, latest = Node(chain), chain.latest
    epochs = {one.epoch for one in chain.tipsets}
    assert len(epochs) < latest.epoch
    for number in range(max(latest.epoch - 20, 1), latest.epoch):
        # NUMBER-relative code: PUSH4 number, BLOCKHASH, then return the word.
        code = b"\x63" + number.to_bytes(4) + bytes.fromhex("4060005260206000f3")
        told = node.ask("eth_call", {"data": "0x" + code.hex()}, "latest")
        assert told == "0x" + chain.at(number).hash.hex()
