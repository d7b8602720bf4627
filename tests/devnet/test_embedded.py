"""The embedded chain: gas, limits, persistence, locking."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from eth_account import Account
from handmade import COUNTER, REVERT_WITH_CALLDATA, init_code
from web3 import Web3
from web3.exceptions import ContractCustomError, ContractLogicError, Web3RPCError

from fedvm.chain.errors import ChainError, ChainLocked, ChainMismatch, ChainNotFound, TransactionFailed
from fedvm.chain.sender import Sender
from fedvm.devnet.accounts import derive_account
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.devnet.ledger import CallOutcome, CallRequest, Ledger
from fedvm.devnet.rpc import EmbeddedProvider
from fedvm.evm.limits import MAX_CALLDATA_BYTES


def deploy(chain: EmbeddedChain, runtime: bytes, **overrides: object) -> str:
    owner = chain.account("owner").address
    receipt = chain.w3.eth.wait_for_transaction_receipt(
        chain.w3.eth.send_transaction({"from": owner, "data": init_code(runtime), **overrides})
    )
    assert receipt["status"] == 1
    return str(receipt["contractAddress"])


def poke(chain: EmbeddedChain, to: str, data: bytes = b"", **overrides: object) -> dict:
    sender = chain.account("owner").address
    tx_hash = chain.w3.eth.send_transaction({"from": sender, "to": to, "data": data, **overrides})
    return dict(chain.w3.eth.wait_for_transaction_receipt(tx_hash))


def test_funds_roles_and_names_itself(chain: EmbeddedChain) -> None:
    assert chain.w3.eth.chain_id == 31415926
    assert chain.w3.is_connected()
    for role, index in [("owner", 0), ("coordinator", 0), ("member", 63)]:
        assert chain.w3.eth.get_balance(chain.account(role, index).address) == 10**24
    assert chain.w3.eth.get_balance(chain.account("stranger").address) == 0
    assert len(chain.w3.eth.accounts) == 70


def test_keys_follow_from_seed_role_and_index() -> None:
    accounts = {derive_account(s, r, i).address for s in (0, 1) for r in ("owner", "member") for i in (0, 1)}
    assert len(accounts) == 8
    assert derive_account(7, "member", 3).address == derive_account(7, "member", 3).address
    with pytest.raises(ChainError, match="seed"):
        derive_account(-1, "owner")


def test_gas_is_exact_and_access_state_is_fresh_in_each_transaction(chain: EmbeddedChain) -> None:
    counter = deploy(chain, COUNTER)
    first, second, third = (poke(chain, counter) for _ in range(3))
    # By hand (EIP-2929, EIP-2200, EIP-3529): 21000, then PUSH SLOAD(cold) PUSH ADD DUP PUSH, SSTORE, DUP PUSH
    # MSTORE(+1 word), 2 PUSH, LOG1 of 32 bytes.
    around = 3 + 2100 + 3 + 3 + 3 + 3 + 3 + 3 + (3 + 3) + 3 + 3 + (375 + 375 + 8 * 32)
    assert first["gasUsed"] == 21000 + around + 20_000
    assert second["gasUsed"] == third["gasUsed"] == 21000 + around + 2_900


def test_estimate_is_enough_and_within_one_percent(chain: EmbeddedChain) -> None:
    counter = deploy(chain, COUNTER)
    owner = chain.account("owner").address
    estimate = chain.w3.eth.estimate_gas({"from": owner, "to": counter})
    used = poke(chain, counter, gas=estimate)
    assert used["status"] == 1
    assert used["gasUsed"] <= estimate <= used["gasUsed"] * 1.01


def test_revert_data_reaches_the_caller(chain: EmbeddedChain) -> None:
    thrower = deploy(chain, REVERT_WITH_CALLDATA)
    with pytest.raises(ContractCustomError) as raised:
        chain.w3.eth.call({"to": thrower, "data": "0xdeadbeef"})
    assert raised.value.data == "0xdeadbeef"
    with pytest.raises(ContractLogicError):
        chain.w3.eth.estimate_gas({"to": thrower, "data": "0x"})
    receipt = poke(chain, thrower, b"\x01", gas=100_000)
    assert receipt["status"] == 0
    assert chain.w3.eth.block_number == receipt["blockNumber"]


def test_a_failing_transaction_without_a_limit_leaves_no_trace(chain: EmbeddedChain) -> None:
    counter, thrower = deploy(chain, COUNTER), deploy(chain, REVERT_WITH_CALLDATA)
    sender, owner = Sender(chain.w3), chain.account("owner")
    head = chain.w3.eth.get_block("latest")
    for _ in range(2):
        with pytest.raises(TransactionFailed) as raised:
            sender.send(owner, {"to": thrower, "data": "0xdeadbeef"})
        assert (raised.value.data, raised.value.tx_hash) == (bytes.fromhex("deadbeef"), None)
    assert chain.w3.eth.get_block("latest") == head
    assert sender.send(owner, {"to": counter}).block_number == head["number"] + 1
    # One that the caller limits is sent as it is.
    with pytest.raises(TransactionFailed) as raised:
        sender.send(owner, {"to": thrower, "data": "0xdeadbeef", "gas": 100_000})
    assert raised.value.tx_hash is not None
    assert chain.w3.eth.block_number == head["number"] + 2


def test_an_estimate_reckons_with_calls_inside_calls(
    chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call leaves a 64th of the gas behind, so what is used is not enough."""
    writes = "".join(f"600160{slot:02x}55" for slot in range(60))
    target = deploy(chain, bytes.fromhex(writes))
    for _ in range(3):  # passes all gas on, and reverts if that fails
        call = "6000" * 5 + "73" + target[2:] + "5af1"
        target = deploy(chain, bytes.fromhex(call + "602857" + "600080fd" + "5b00"))
    owner = chain.account("owner").address
    runs: list[int] = []
    run = EmbeddedProvider._run

    def counted(provider: EmbeddedProvider, request: CallRequest, at: object) -> CallOutcome:
        runs.append(request.gas)
        return run(provider, request, at)

    monkeypatch.setattr(EmbeddedProvider, "_run", counted)
    estimate = chain.w3.eth.estimate_gas({"from": owner, "to": target})
    assert len(runs) == 2
    used = poke(chain, target, gas=estimate)
    assert used["status"] == 1
    assert used["gasUsed"] * 1.04 < estimate < used["gasUsed"] * 1.06


def test_refuses_what_filecoin_refuses(chain: EmbeddedChain) -> None:
    w3, owner = chain.w3, chain.account("owner")
    base = {"chainId": chain.chain_id, "nonce": 0, "gas": 10**6, "to": owner.address, "value": 0}
    fees = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 1}
    item = [{"address": owner.address, "storageKeys": []}]
    refused = {
        "type 1": base | {"gasPrice": 10**10, "accessList": item, "type": 1},
        "access list": base | fees | {"accessList": item},
        "chain 5": base | fees | {"chainId": 5},
        "message too large": base | fees | {"data": b"\x01" * (MAX_CALLDATA_BYTES + 1), "gas": 10**7},
    }
    for words, transaction in refused.items():
        raw = Account.sign_transaction(transaction, owner.key).raw_transaction
        with pytest.raises(Web3RPCError, match=words):
            w3.eth.send_raw_transaction(raw)
    unbound = Account.sign_transaction(
        {"nonce": 0, "gas": 21000, "gasPrice": 10**10, "to": owner.address, "value": 0}, owner.key
    )
    with pytest.raises(Web3RPCError, match="EIP-155"):
        w3.eth.send_raw_transaction(unbound.raw_transaction)
    assert w3.eth.block_number == 0
    largest = base | fees | {"data": b"\x01" * MAX_CALLDATA_BYTES, "gas": 10**7}
    w3.eth.send_raw_transaction(Account.sign_transaction(largest, owner.key).raw_transaction)
    assert w3.eth.block_number == 1


def test_code_over_24576_bytes_is_not_created(chain: EmbeddedChain) -> None:
    assert len(chain.w3.eth.get_code(deploy(chain, b"\x00" * 24_576))) == 24_576
    owner = chain.account("owner").address
    too_long = init_code(b"\x00" * 24_577)
    with pytest.raises(Web3RPCError):
        chain.w3.eth.estimate_gas({"from": owner, "data": too_long})
    receipt = chain.w3.eth.wait_for_transaction_receipt(
        chain.w3.eth.send_transaction({"from": owner, "data": too_long, "gas": 10**7})
    )
    assert receipt["status"] == 0


@pytest.mark.parametrize("name, runtime", [
    ("CALLCODE", "6000600060006000600060005af2"),
    ("BLOBHASH", "600049"),
    ("BLOBBASEFEE", "4a"),
    ("event over 8 KiB", "61200160006000a1".replace("6000a1", "a0")),
])  # fmt: skip
def test_lacks_what_the_evm_actor_lacks(chain: EmbeddedChain, name: str, runtime: str) -> None:
    contract = deploy(chain, bytes.fromhex(runtime))
    assert poke(chain, contract, gas=200_000)["status"] == 0, name


def test_an_event_of_8_kib_passes(chain: EmbeddedChain) -> None:
    assert poke(chain, deploy(chain, bytes.fromhex("6120006000a000")), gas=200_000)["status"] == 1


def test_reopening_sees_the_same_chain(tmp_path: Path) -> None:
    with open_chain(tmp_path, seed=7, create=True) as chain:
        counter = deploy(chain, COUNTER)
        receipts = [poke(chain, counter) for _ in range(5)]
        block = dict(chain.w3.eth.get_block("latest", True))
        code = chain.w3.eth.get_code(counter)
        logs = chain.w3.eth.get_logs({"fromBlock": 0, "address": counter})
    for read_only in (True, False):
        with open_chain(tmp_path, read_only=read_only) as again:
            assert dict(again.w3.eth.get_block("latest", True)) == block
            assert again.w3.eth.get_code(counter) == code == COUNTER
            assert int.from_bytes(again.w3.eth.get_storage_at(counter, 0), "big") == 5
            assert again.w3.eth.get_logs({"fromBlock": 0, "toBlock": "latest", "address": counter}) == logs
            for receipt in receipts:
                assert dict(again.w3.eth.get_transaction_receipt(receipt["transactionHash"])) == receipt
    assert [int.from_bytes(log["data"], "big") for log in logs] == [1, 2, 3, 4, 5]


def test_logs_filter_by_range_address_and_topic(chain: EmbeddedChain) -> None:
    one, two = deploy(chain, COUNTER), deploy(chain, COUNTER)
    blocks = [poke(chain, contract)["blockNumber"] for contract in (one, two, one, two)]
    get_logs = chain.w3.eth.get_logs
    topic = Web3.to_hex((2).to_bytes(32, "big"))
    assert len(get_logs({"fromBlock": 0})) == 4
    assert len(get_logs({"fromBlock": 0, "address": [one, two]})) == 4
    assert [log["blockNumber"] for log in get_logs({"fromBlock": 0, "address": one})] == blocks[::2]
    assert [log["blockNumber"] for log in get_logs({"fromBlock": 0, "topics": [topic]})] == blocks[2:]
    assert len(get_logs({"fromBlock": blocks[1], "toBlock": blocks[2]})) == 2
    assert get_logs({"fromBlock": 0, "topics": [None, topic]}) == []


def test_calls_on_an_old_block_see_the_old_state(chain: EmbeddedChain) -> None:
    counter = deploy(chain, COUNTER)
    blocks = [poke(chain, counter)["blockNumber"] for _ in range(3)]
    values = [chain.w3.eth.get_storage_at(counter, 0, block) for block in blocks]
    assert [int.from_bytes(value, "big") for value in values] == [1, 2, 3]
    with pytest.raises(Exception, match="not found"):
        chain.w3.eth.get_balance(counter, 99)


def test_a_call_changes_nothing(chain: EmbeddedChain) -> None:
    counter = deploy(chain, COUNTER)
    chain.w3.eth.call({"to": counter})
    assert int.from_bytes(chain.w3.eth.get_storage_at(counter, 0), "big") == 0


def test_time_advances_and_never_goes_back(chain: EmbeddedChain) -> None:
    before = chain.w3.eth.get_block("latest")["timestamp"]
    chain.advance_time(3600)
    after = chain.w3.eth.get_block("latest")["timestamp"]
    assert 3600 <= after - before <= 3700
    now = bytes.fromhex("4260005260206000f3")
    assert int.from_bytes(chain.w3.eth.call({"to": deploy(chain, now)}), "big") >= after
    with pytest.raises(ChainError, match="back"):
        chain.advance_time(-1)


def test_opening_what_is_not_there_or_not_a_chain(tmp_path: Path) -> None:
    with pytest.raises(ChainNotFound):
        open_chain(tmp_path)
    with pytest.raises(ChainNotFound):
        open_chain(tmp_path, read_only=True)
    with pytest.raises(ChainError, match="seed"):
        open_chain(tmp_path, create=True)
    (tmp_path / "other").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(ChainError, match="SQLite"):
        open_chain(tmp_path / "other")


def test_another_seed_is_refused(tmp_path: Path) -> None:
    open_chain(tmp_path, seed=7, create=True).close()
    with pytest.raises(ChainMismatch, match="seed 7"):
        open_chain(tmp_path, seed=8)
    open_chain(tmp_path, seed=7, create=True).close()


def test_one_writer_many_readers(tmp_path: Path) -> None:
    with open_chain(tmp_path, seed=7, create=True) as chain:
        with pytest.raises(ChainLocked, match="read_only"):
            open_chain(tmp_path)
        with open_chain(tmp_path, read_only=True) as reader:
            counter = deploy(chain, COUNTER)
            poke(chain, counter)
            assert int.from_bytes(reader.w3.eth.get_storage_at(counter, 0), "big") == 1
            with pytest.raises(Web3RPCError, match="read-only"):
                poke(reader, counter, gas=100_000)
    with pytest.raises(ChainError, match="closed"):
        chain.w3.eth.block_number  # noqa: B018


def test_another_process_may_read_but_not_write(tmp_path: Path) -> None:
    script = (
        "import sys; from fedvm.devnet.embedded import open_chain\n"
        "print(open_chain(sys.argv[1], read_only=True).w3.eth.block_number)\n"
        "open_chain(sys.argv[1])"
    )
    with open_chain(tmp_path, seed=7, create=True) as chain:
        deploy(chain, COUNTER)
        child = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert child.stdout.strip() == "1"
    assert child.returncode != 0
    assert "ChainLocked" in child.stderr


def test_a_block_that_cannot_be_written_leaves_no_trace(
    chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = deploy(chain, COUNTER)
    head = dict(chain.w3.eth.get_block("latest"))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_index_logs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            poke(chain, counter, gas=100_000)
    assert dict(chain.w3.eth.get_block("latest")) == head
    assert int.from_bytes(chain.w3.eth.get_storage_at(counter, 0), "big") == 0
    nonce = chain.w3.eth.get_transaction_count(chain.account("owner").address)
    with pytest.raises(Web3RPCError, match="nonce"):
        poke(chain, counter, gas=100_000, nonce=nonce + 1)
    assert poke(chain, counter)["blockNumber"] == head["number"] + 1


def test_threads_share_one_chain(chain: EmbeddedChain) -> None:
    counter = deploy(chain, COUNTER)
    threads = [threading.Thread(target=lambda: [poke(chain, counter) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int.from_bytes(chain.w3.eth.get_storage_at(counter, 0), "big") == 20


HERE = Path(__file__).parent
KILLED = """
import sys
sys.path[:0] = sys.argv[2:]
from test_embedded import deploy, poke, COUNTER
from fedvm.devnet.embedded import open_chain
chain = open_chain(sys.argv[1], seed=7, create=True)
counter = deploy(chain, COUNTER)
print(counter, flush=True)
while True:
    poke(chain, counter, gas=100_000)
    print(chain.w3.eth.block_number, flush=True)
"""


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("delay", [0.0, 0.013, 0.037, 0.071])
def test_kill_minus_nine_leaves_whole_blocks(tmp_path: Path, delay: float) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(HERE), str(HERE.parent / "chain")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        counter = child.stdout.readline().strip()
        for _ in range(3):
            child.stdout.readline()
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        confirmed = [int(line) for line in child.stdout if line.strip()]
    with open_chain(tmp_path) as chain:
        head = chain.w3.eth.block_number
        assert head >= max(confirmed, default=4)
        # Every block below the head is there with its transaction, receipt, log and state.
        logs = chain.w3.eth.get_logs({"fromBlock": 0, "address": counter})
        assert [log["blockNumber"] for log in logs] == list(range(2, head + 1))
        for number in range(1, head + 1):
            (tx_hash,) = chain.w3.eth.get_block(number)["transactions"]
            assert chain.w3.eth.get_transaction_receipt(tx_hash)["status"] == 1
        assert int.from_bytes(chain.w3.eth.get_storage_at(counter, 0), "big") == head - 1
        assert poke(chain, counter)["blockNumber"] == head + 1


def test_killed_while_being_created_can_be_created_again(tmp_path: Path) -> None:
    import sqlite3

    sqlite3.connect(tmp_path / "chain.sqlite").close()
    (tmp_path / "chain.sqlite").touch()
    with pytest.raises(ChainNotFound):
        open_chain(tmp_path)
    with open_chain(tmp_path, seed=7, create=True) as chain:
        assert chain.w3.eth.block_number == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_may_not_use_the_chain_and_does_not_release_it(chain: EmbeddedChain) -> None:
    child = os.fork()
    if child == 0:
        try:
            chain.w3.eth.block_number  # noqa: B018
            os._exit(1)
        except ChainError:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    script = "import sys; from fedvm.devnet.embedded import open_chain; open_chain(sys.argv[1])"
    other = subprocess.run([sys.executable, "-c", script, chain.path], capture_output=True, text=True)
    assert "ChainLocked" in other.stderr
    assert chain.w3.eth.block_number == 0
