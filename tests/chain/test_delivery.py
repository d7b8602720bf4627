"""Sending on a chain as Filecoin's: killed processes, reorganisations, replacements, nodes without receipts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from handmade import COUNTER, init_code
from web3 import Web3
from web3.exceptions import Web3RPCError

from fedvm.chain.delivery import Delivery
from fedvm.chain.errors import ChainError, NetworkError, TransactionFailed
from fedvm.chain.networks import DEVNET, connect
from fedvm.chain.outbox import STATE_VARIABLE, Outbox, State, outbox_of
from fedvm.chain.sender import Receipt, Sender
from fedvm.devnet.accounts import derive_account
from fedvm.devnet.lotus import rpc
from fedvm.devnet.lotus.chain import TipsetChain, Weather
from fedvm.devnet.lotus.rpc import Lookback, LotusRpc
from fedvm.devnet.lotus.server import LotusServer

USER = derive_account(5, "user")
OTHER = derive_account(5, "user", 1)
HASTY = replace(DEVNET, poll_seconds=0.01, resubmit_seconds=0.4, receipt_timeout_seconds=2)
SenderMaker = Callable[[], Sender]


@pytest.fixture
def chain() -> TipsetChain:
    balances = {bytes.fromhex(account.address[2:]): 10**22 for account in (USER, OTHER)}
    return TipsetChain(31415926, balances, started=1_800_000_000, weather=Weather(null_rounds=0.2, lost=1.0))


@pytest.fixture
def url(chain: TipsetChain) -> Iterator[str]:
    with LotusServer(chain, epoch_seconds=0.01, rpc=LotusRpc(chain, Lookback(200, None))) as server:
        yield server.url


@pytest.fixture
def new_sender(url: str, tmp_path: Path) -> SenderMaker:
    """A sender as of another process each time: they share the outbox's file alone."""
    return lambda: Sender(connect(url), HASTY, outbox=Outbox(tmp_path / "sent.sqlite"))


class Killed(BaseException):
    """Stands for SIGKILL."""


def killed_while_waiting(sender: Sender, monkeypatch: pytest.MonkeyPatch, **transaction: Any) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Delivery, "_landed", die)
        with pytest.raises(Killed):
            sender.send(USER, transaction, action="doing")  # type: ignore[arg-type]


def nonce_of(sender: Sender) -> int:
    return int(sender.w3.eth.get_transaction_count(USER.address))


def test_a_killed_process_sends_nothing_twice(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_while_waiting(new_sender(), monkeypatch, data=init_code(COUNTER))
    again = new_sender()
    receipt = again.send(USER, {"data": init_code(COUNTER)}, action="doing")
    assert nonce_of(again) == 1
    assert again.w3.eth.get_code(Web3.to_checksum_address(str(receipt.contract_address)))
    # Who has heard of it and asks again means another one.
    assert again.send(USER, {"data": init_code(COUNTER)}).contract_address != receipt.contract_address
    assert nonce_of(again) == 2


def test_what_was_written_down_but_never_left_is_sent(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Delivery, "_push", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            new_sender().send(USER, {"to": OTHER.address, "value": 3})
    sender = new_sender()
    sender.settle(USER.address)
    assert nonce_of(sender) == 1
    assert sender.w3.eth.get_balance(OTHER.address) == 10**22 + 3
    assert sender.send(USER, {"to": OTHER.address, "value": 3}).gas_used > 0
    assert nonce_of(sender) == 1


def test_another_transaction_comes_behind_the_one_that_was_left(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_while_waiting(new_sender(), monkeypatch, to=OTHER.address, value=1)
    sender = new_sender()
    receipt = sender.send(USER, {"to": OTHER.address, "value": 2})
    assert sender.w3.eth.get_transaction(receipt.raw["transactionHash"])["nonce"] == 1
    assert sender.w3.eth.get_balance(OTHER.address) == 10**22 + 3


def test_receipts_are_kept_when_the_node_has_forgotten_them(
    chain: TipsetChain, new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_while_waiting(new_sender(), monkeypatch, to=OTHER.address, value=1)
    sender = new_sender()
    sender.settle(USER.address)  # writes the receipt down
    for _ in range(300):
        chain.tick()
    assert new_sender().send(USER, {"to": OTHER.address, "value": 1}, action="doing").block_number < 290
    killed_while_waiting(new_sender(), monkeypatch, to=OTHER.address, value=2)
    for _ in range(300):
        chain.tick()
    with pytest.raises(
        NetworkError, match=r"doing: was sent before as 0x\w+, and its nonce 1 is used.*look it up"
    ):
        new_sender().send(USER, {"to": OTHER.address, "value": 2}, action="doing")


def test_what_a_reorganisation_undoes_lands_again_under_its_nonce(
    chain: TipsetChain, new_sender: SenderMaker
) -> None:
    sender = new_sender()
    made = sender.send(USER, {"data": init_code(COUNTER)})
    counter = Web3.to_checksum_address(str(made.contract_address))
    with chain.lock:
        chain.weather = replace(chain.weather, finality=10_000)
        chain.reorganise(sum(tipset.epoch >= made.block_number for tipset in chain.tipsets))
    assert sender.w3.eth.get_transaction_count(USER.address) == 0
    # The next transaction needs the contract that is not there any more.
    receipt = sender.send(OTHER, {"to": counter, "data": b""})
    assert receipt.raw["logs"]
    assert sender.w3.eth.get_code(counter)
    assert nonce_of(sender) == 1


def test_a_hanging_transaction_is_replaced_and_all_hashes_are_kept(
    chain: TipsetChain, new_sender: SenderMaker, tmp_path: Path
) -> None:
    chain.weather = replace(chain.weather, held=1.0, held_epochs=10_000)
    sender = new_sender()

    class CalmLater(Outbox):
        """After the first try, the weather is fine."""

        def add(self, entry: Any) -> None:
            super().add(entry)
            if len(self.of_nonce(USER.address, 0)) == 2:
                chain.weather = replace(chain.weather, held=0.0)

    sender = Sender(sender.w3, HASTY, outbox=CalmLater(tmp_path / "sent.sqlite"))
    receipt = sender.send(USER, {"to": OTHER.address, "value": 1})
    first, second = Outbox(tmp_path / "sent.sqlite").of_nonce(USER.address, 0)
    assert receipt.tx_hash == second.hash
    assert (first.state, second.state) == (State.WAITING, State.LANDED)
    assert second.premium > 1.25 * first.premium
    assert not Outbox(tmp_path / "sent.sqlite").waiting(USER.address)


def test_gives_up_with_all_hashes_and_goes_on_later(chain: TipsetChain, new_sender: SenderMaker) -> None:
    calm, chain.weather = chain.weather, replace(chain.weather, held=1.0, held_epochs=100_000)
    with pytest.raises(NetworkError, match=r"may still land as 0x\w+, 0x\w+, 0x\w+"):
        new_sender().send(USER, {"to": OTHER.address, "value": 1})
    chain.weather = calm
    chain.pool.held.clear()
    sender = new_sender()
    sender.send(USER, {"to": OTHER.address, "value": 1})
    assert nonce_of(sender) == 1


def test_an_estimate_that_falls_short_is_raised(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "ESTIMATE_ROOM", 0.85)
    sender = new_sender()
    receipt = sender.send(USER, {"data": init_code(COUNTER)})
    assert nonce_of(sender) == 2
    assert receipt.contract_address
    with pytest.raises(TransactionFailed, match="out of gas"):  # the caller's own limit is the caller's
        sender.send(USER, {"data": init_code(COUNTER), "gas": 20_000_000})


def test_another_wallet_that_sends_from_the_account(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = new_sender()
    foreign = Account.sign_transaction(
        {
            **{"type": 2, "chainId": 31415926, "nonce": 0, "gas": 10**7, "to": OTHER.address, "value": 5},
            **{"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9},
        },
        USER.key,
    )
    before = Delivery._push

    def overtaken(self: Delivery, entry: Any) -> Any:
        if not sender.w3.eth.get_transaction_count(USER.address, "pending"):
            sender.w3.eth.send_raw_transaction(foreign.raw_transaction)
        return before(self, entry)

    monkeypatch.setattr(Delivery, "_push", overtaken)
    with pytest.raises(NetworkError, match="another transaction has used nonce 0"):
        sender.send(USER, {"to": OTHER.address, "value": 1})
    assert sender.w3.eth.get_balance(OTHER.address) == 10**22 + 5
    sender.send(USER, {"to": OTHER.address, "value": 1})
    assert nonce_of(sender) == 2


def test_a_call_where_no_contract_is(new_sender: SenderMaker) -> None:
    sender = new_sender()
    with pytest.raises(TransactionFailed, match="no contract at 0x"):
        sender.send(USER, {"to": OTHER.address, "data": "0x12345678"}, action="calling")
    assert nonce_of(sender) == 0


def test_several_at_once_and_until_they_are_final(new_sender: SenderMaker, tmp_path: Path) -> None:
    sender = new_sender()
    receipts = sender.send_all(
        USER, [{"to": OTHER.address, "value": 1}, {"to": OTHER.address, "value": 2}], action="paying"
    )
    assert nonce_of(sender) == 2
    sender.wait_until_final(receipts[-1])
    assert Outbox(tmp_path / "sent.sqlite").landed() == []


def test_a_refusal_ends_it_and_leaves_nothing_behind(new_sender: SenderMaker) -> None:
    sender = new_sender()
    with pytest.raises(NetworkError, match="are needed"):
        sender.send(USER, {"to": OTHER.address, "value": 10**22})
    with pytest.raises(TransactionFailed, match="GasLimit"):
        sender.send(USER, {"to": OTHER.address, "gas": 100_000})
    sender.send(USER, {"to": OTHER.address, "value": 1})
    assert nonce_of(sender) == 1


def refusing(sender: Sender, monkeypatch: pytest.MonkeyPatch, words: str, *, passed_on: bool) -> None:
    """Let the node answer the next transactions with an error."""
    before = sender.w3.eth.send_raw_transaction

    def refuse(raw: Any) -> Any:
        if passed_on:
            before(raw)
        raise Web3RPCError(words)

    monkeypatch.setattr(sender.w3.eth, "send_raw_transaction", refuse)


def test_after_a_refusal_a_killed_process_sends_nothing_twice(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        sender = new_sender()
        refusing(sender, patch, "too many pending messages", passed_on=False)
        with pytest.raises(TransactionFailed, match="too many pending"):
            sender.send(USER, {"to": OTHER.address, "value": 5})
    killed_while_waiting(
        new_sender(), monkeypatch, to=OTHER.address, value=1
    )  # with the nonce that was refused
    sender = new_sender()
    while nonce_of(sender) < 1:
        time.sleep(0.01)
    sender.send(USER, {"to": OTHER.address, "value": 1})
    assert nonce_of(sender) == 1
    assert sender.w3.eth.get_balance(OTHER.address) == 10**22 + 1


def test_what_a_gateway_passes_on_and_says_it_refuses(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = new_sender()
    with monkeypatch.context() as patch:
        refusing(sender, patch, "context deadline exceeded", passed_on=True)
        assert sender.send(USER, {"to": OTHER.address, "value": 1}).gas_used > 0
    # Nor is it forgotten when it seems to be nowhere, and lands later.
    with monkeypatch.context() as patch:
        refusing(sender, patch, "context deadline exceeded", passed_on=True)
        patch.setattr(Delivery, "_has_it", lambda *_: False)
        with pytest.raises(TransactionFailed, match="deadline exceeded"):
            sender.send(USER, {"to": OTHER.address, "value": 2})
    while nonce_of(sender) < 2:
        time.sleep(0.01)
    again = new_sender()
    assert again.send(USER, {"to": OTHER.address, "value": 2}).gas_used > 0
    assert nonce_of(again) == 2


def test_of_several_none_is_sent_twice_after_one_hangs(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    three: list[Any] = [{"to": OTHER.address, "value": value} for value in (1, 2, 2)]
    landed = Delivery._landed

    def hangs(self: Delivery, order: Any) -> Any:
        if order.nonce == 2:
            raise NetworkError("hangs")
        return landed(self, order)

    with monkeypatch.context() as patch, pytest.raises(NetworkError, match="hangs"):
        patch.setattr(Delivery, "_landed", hangs)
        new_sender().send_all(USER, three, action="paying")
    sender = new_sender()
    assert len({one.tx_hash for one in sender.send_all(USER, three, action="paying")}) == 3
    assert nonce_of(sender) == 3


def test_a_first_try_that_failed_is_not_the_answer_to_a_later_call(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rpc, "ESTIMATE_ROOM", 0.85)
        new_sender().send(USER, {"data": init_code(COUNTER)})
    sender = new_sender()
    assert sender.send(USER, {"data": init_code(COUNTER)}).contract_address
    assert nonce_of(sender) == 3


def test_the_outbox_of_a_new_local_chain_is_new(url: str, tmp_path: Path) -> None:
    w3 = connect(url)
    first = outbox_of(w3, tmp_path)
    assert first.path.stat().st_mode & 0o777 == 0o600
    assert outbox_of(w3, tmp_path).path == first.path
    later = TipsetChain(31415926, {}, started=1_800_000_001)
    with LotusServer(later, epoch_seconds=0) as server:
        assert outbox_of(connect(server.url), tmp_path).path != first.path


def test_what_was_tried_on_a_copy_of_a_network_is_not_sent_to_the_network(
    start_anvil: Callable[..., AbstractContextManager[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    account = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
    with start_anvil("--chain-id", "314") as tried:
        Sender(connect(tried)).send(account, {"to": OTHER.address, "value": 1})
    with start_anvil("--chain-id", "314") as there:
        sender = Sender(connect(there))
        sender.settle(OTHER.address)
        assert sender.w3.eth.get_balance(OTHER.address) == 0
        assert outbox_of(sender.w3).path == outbox_of(connect(there)).path


def test_an_outbox_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(ChainError, match="cannot keep sent transactions in"):
        Outbox(tmp_path / "broken.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(ChainError, match="FEDVM_STATE_DIR"):
        Outbox(tmp_path / "file" / "sent.sqlite")


def test_a_node_that_asks_for_a_premium_beyond_all_measure(
    new_sender: SenderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = new_sender()
    with monkeypatch.context() as patch:
        patch.setattr(type(sender.w3.eth), "max_priority_fee", 10**13)
        with pytest.raises(NetworkError, match=r"premium of 10,000,000,000,000 wei.*it was not sent"):
            sender.send(USER, {"data": init_code(COUNTER)})
    assert nonce_of(sender) == 0
    assert sender.send(USER, {"data": init_code(COUNTER)}).contract_address


def test_the_lock_keeps_other_senders_away(
    new_sender: SenderMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedvm.chain.outbox.LOCK_SECONDS", 0.2)
    other = Outbox(tmp_path / "sent.sqlite")
    with other.sending(USER.address), pytest.raises(NetworkError, match="another process has been sending"):
        new_sender().send(USER, {"to": OTHER.address})
    with sqlite3.connect(tmp_path / "sent.sqlite") as db:
        assert db.execute("SELECT count(*) FROM sent").fetchone() == (0,)


def test_a_caller_that_failed_before_it_took_note_gets_the_same_contract(new_sender: SenderMaker) -> None:
    """As when a reorganisation undid another transaction, whose fate interrupts the caller."""
    sender = new_sender()
    seen: list[str] = []

    def interrupted(receipt: Receipt) -> None:
        seen.append(str(receipt.contract_address))
        raise TransactionFailed("another", "came to something else", tx_hash="0x" + "11" * 32)

    with pytest.raises(TransactionFailed, match="another failed"):
        sender.send(USER, {"data": init_code(COUNTER)}, until=interrupted)
    assert sender.send(USER, {"data": init_code(COUNTER)}).contract_address == seen[0]
    assert nonce_of(sender) == 1
    assert sender.send(USER, {"data": init_code(COUNTER)}).contract_address != seen[0]
