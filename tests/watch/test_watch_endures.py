"""What does not end a watch, and what it says of it: webhooks without end, errors of any kind, a full disk."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account

from fedvm.chain.errors import NetworkError, TransactionFailed
from fedvm.store import StoreError
from fedvm.watch import acting, webhook
from fedvm.watch.acting import Actor
from fedvm.watch.errors import WatchError
from fedvm.watch.events import Event, Kind
from fedvm.watch.memory import Memory, Standing, opened_memory
from fedvm.watch.watcher import Terms, Watcher
from fedvm.watch.webhook import Webhook


@contextmanager
def dripping(first: bytes, drop: bytes) -> Iterator[tuple[str, list[int]]]:
    """A server that answers with `first`, and then a drop now and then: its URL, and an entry by connection."""
    listening, met, over = socket.create_server(("127.0.0.1", 0)), list[int](), threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            try:
                connection.sendall(first)
                while not over.wait(0.02):
                    connection.sendall(drop)
            except OSError:
                return

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            met.append(1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook", met
    finally:
        over.set()
        listening.close()


def test_a_webhook_whose_headers_never_end_does_not_hold_up_the_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "LONGEST", 0.3)
    told, waiting = list[str](), [{"event": "finding"}]
    with dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x") as (url, met):
        hook, begun = Webhook(url, told.append), time.monotonic()
        hook.deliver(waiting, taken=lambda: None)
        monkeypatch.setattr(hook, "_next", 0.0)
        hook.deliver(waiting, taken=lambda: None)
        assert time.monotonic() - begun < 5 and len(waiting) == 1
        assert len(told) == 1 and "its answer has no end" in told[0]
        assert met == [1]  # no thread more for each attempt


def test_of_a_webhooks_answer_the_status_counts_alone() -> None:
    waiting = [{"event": "finding"}]
    with dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n") as (url, _):
        begun = time.monotonic()
        Webhook(url, pytest.fail).deliver(waiting, taken=lambda: None)
        assert not waiting and time.monotonic() - begun < 5


@pytest.mark.parametrize("url", ["http://[", "http://host:99999/x", "ftp://host", "https://", "https://h:x/"])
def test_what_is_no_address_is_no_webhook(url: str) -> None:
    with pytest.raises(WatchError, match="is no address to post to"):
        Webhook(url, pytest.fail)


@pytest.mark.parametrize("number", ["1e400", '"x"', "null", "[]"])
def test_a_place_with_numbers_that_are_none_is_named(tmp_path: Path, number: str) -> None:
    point = f'{{"block": {number}, "hash": "", "round": 0}}'
    standing = f'{{"checkpoints": [{point}], "findings": [], "examined": [0, 0], "state": ""}}'
    file = tmp_path / "place.json"
    file.write_text(f'{{"format": 1, "undelivered": [], "subjects": {{"a": {standing}}}}}')
    with pytest.raises(WatchError, match="is not the place of a watch"), opened_memory(file):
        pass


class FakeLooker:
    """A looker at a pending proposal. fails: what looking, or a challenge, does; proposer: whose proposal it is."""

    def __init__(self, name: str, account: Any, fails: Callable[[], Any], proposer: str = "") -> None:
        self.standing, self.looks, self._fails = Standing(), 0, fails
        self.is_pending = self.is_suspicious = True
        contract = SimpleNamespace(
            current_round=lambda: 1, round=lambda number: SimpleNamespace(attempt=1), proposer=proposer
        )
        self.subject = SimpleNamespace(name=name, run=SimpleNamespace(federation_contract=contract))

    def look(self) -> None:
        self.looks += 1
        self._fails()

    def challenger(self, account: Any) -> Any:
        return SimpleNamespace(challenge=self._fails)


@pytest.fixture(autouse=True)
def _proposals_are_whose_the_looker_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "answerer_of", lambda contract: contract.proposer)


def failing(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "shown"),
    [(StoreError("the store is gone"), "the store is gone"), (KeyError("https://rpc/key"), "KeyError")],
)
def test_a_challenge_that_fails_in_any_way_is_told_and_not_begun_again_at_once(
    error: Exception, shown: str
) -> None:
    told, account = list[Event](), Account.create()
    begun = list[int]()

    def challenge() -> None:
        begun.append(1)
        raise error

    actor = Actor(FakeLooker("a", account, challenge), account, told.append)  # type: ignore[arg-type]
    actor.act()
    actor.wait()
    actor.act()
    actor.wait()
    assert begun == [1]
    (event,) = told
    assert event.kind is Kind.CHALLENGE and event.text.endswith(shown) and "https" not in event.text


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (TransactionFailed("answering", "insufficient funds"), 1),
        (StoreError("no such block"), 1),
        (NetworkError("the node is away"), 0),
    ],
)
def test_what_prevents_answers_is_urgent_once_unless_it_is_an_outage(
    monkeypatch: pytest.MonkeyPatch, error: Exception, times: int
) -> None:
    told, account = list[Event](), Account.create()
    ledger = SimpleNamespace(current_round=lambda: 1, answer_questions=lambda number: failing(error)())
    monkeypatch.setattr(acting, "ledger_of", lambda run, account: ledger)
    actor = Actor(FakeLooker("a", account, lambda: None, account.address), account, told.append)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(type(error)):
            actor.act()
    assert [one.kind for one in told] == [Kind.UNANSWERED] * times
    assert all(str(error) in one.text for one in told)


@pytest.mark.parametrize("error", [StoreError("gone"), KeyError("x"), RuntimeError("y"), NetworkError("z")])
def test_one_subject_does_not_end_the_watch_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    shown = list[Event]()
    watcher = Watcher([], Memory(tmp_path / "place.json"), Terms(every=0.01), show=shown.append)
    lookers = [FakeLooker("bad", None, failing(error)), FakeLooker("good", None, lambda: None)]
    watcher._lookers = lookers  # type: ignore[assignment]
    follow_for(watcher, 3, monkeypatch)
    assert lookers[1].looks == 3
    (event,) = shown
    assert event.kind is Kind.OUTAGE and event.subject == "bad"


def test_a_full_disk_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, looker = list[Event](), FakeLooker("good", None, lambda: None)
    watcher = Watcher([], Memory(tmp_path / "place.json"), Terms(every=0.01), show=shown.append)
    watcher._lookers = [looker]  # type: ignore[list-item]
    monkeypatch.setattr(Memory, "save", lambda self: failing(OSError(28, "No space left on device"))())
    follow_for(watcher, 3, monkeypatch)
    assert looker.looks == 3
    (event,) = shown
    assert event.kind is Kind.OUTAGE and "No space left on device" in event.text


def follow_for(watcher: Watcher, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow, until so many pauses."""
    left = [times]

    def pause(seconds: float) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr("fedvm.watch.watcher.time.sleep", pause)
    with pytest.raises(KeyboardInterrupt):
        watcher.follow()
