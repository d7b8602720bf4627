"""`fedvm watch` over JSON-RPC, on anvil: a lying coordinator, an outage, a kill, a restart, a reorganisation."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from proposed_round import CHALLENGER, COORDINATOR, SECONDS, SECURITY, Gateway, Proposed, propose
from web3.types import RPCEndpoint

from fedvm.chain.endpoint import Endpoint
from fedvm.chain.errors import unless_done
from fedvm.chain.federation_types import RoundState
from fedvm.chain.networks import connect
from fedvm.rundir.run import open_run
from fedvm.watch.events import Event, Kind
from fedvm.watch.look import Looker
from fedvm.watch.memory import Standing
from fedvm.watch.subject import Subject


@contextmanager
def proposed_on(path: Path, url: str, wrong_by: int) -> Iterator[Proposed]:
    gateway = Gateway(url)
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    try:
        yield propose(path, connect(url), gateway, wrong_by=wrong_by)
    finally:
        gateway.shutdown()
        gateway.server_close()


class Hook(http.server.ThreadingHTTPServer):
    """A webhook that keeps what is posted, or refuses it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.refuses, self.taken = True, list[dict[str, Any]]()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/a-secret-that-is-long"


class _Take(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.refuses:
            self.server.taken.append(json.loads(body))
        self.send_response(503 if self.server.refuses else 204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class Watch:
    """A running `fedvm watch`, and what it has said so far."""

    def __init__(self, path: Path, *more: str, key: Any = None) -> None:
        command = [
            sys.executable,
            "-c",
            "from fedvm.cli import main; main()",
            "watch",
            "--run",
            str(path),
            "--json",
        ]
        command += [
            "--every",
            "0.2",
            "--place",
            str(path / "place.json"),
            "--preimages",
            str(path / "preimages"),
        ]
        pipe = subprocess.PIPE
        if key is not None:
            file = path / "account.key"
            file.write_text("0x" + key.key.hex().removeprefix("0x"))
            file.chmod(0o600)
            command += ["--key-file", str(file)]
        self.process = subprocess.Popen(
            [*command, *more], stdout=pipe, stderr=pipe, text=True, env=dict(os.environ)
        )
        self.lines, self.said = list[dict[str, Any]](), ""
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._hear, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def _hear(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < deadline and self.process.poll() is None, (self.lines, self.said)
            time.sleep(0.05)

    def kinds(self) -> list[str]:
        return [one["event"] for one in self.lines]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
def test_a_liar_is_found_through_an_outage_and_a_kill_and_brought_down(
    tmp_path: Path, start_anvil: Callable[..., AbstractContextManager[str]]
) -> None:
    with start_anvil() as url, proposed_on(tmp_path, url, wrong_by=1) as proposed:
        hook = Hook()
        # Nothing is sent without an account. A killed watch tells a webhook that was away what it had found.
        watch = Watch(tmp_path, "--webhook", hook.url, "--metrics-port", "0")
        watch.until(lambda: "finding" in watch.kinds() and "webhook" in watch.kinds())
        watch.until(lambda: "/metrics" in watch.said)
        metrics = re.search(r"http://127\.0\.0\.1:\d+/metrics", watch.said)
        assert metrics is not None

        def figure(name: str) -> float:
            with urllib.request.urlopen(metrics[0]) as answer:
                page = answer.read().decode()
            found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
            assert found is not None, page
            return float(found[1])

        subject = proposed.contract.address
        watch.until(lambda: figure(f'fedvm_watch_up{{subject="{subject}"}}') == 1)
        assert figure("fedvm_watch_webhook_undelivered") == 1
        assert "a-secret" not in watch.said + json.dumps(watch.lines)
        watch.kill()
        assert proposed.contract.round(1).state is RoundState.PROPOSED and not hook.taken

        hook.refuses = False
        proposed.gateway.down = False
        watch = Watch(tmp_path, "--webhook", hook.url)
        watch.until(lambda: hook.taken)
        assert [one["event"] for one in hook.taken] == ["finding"] and watch.kinds() == []
        proposed.gateway.down = True
        watch.until(lambda: "outage" in watch.kinds())
        time.sleep(1)
        assert watch.kinds() == ["outage"]
        proposed.gateway.down = False
        watch.until(lambda: watch.kinds() == ["outage", "recovered"])
        watch.kill()

        watch = Watch(tmp_path, "--webhook", hook.url, key=CHALLENGER)
        watch.until(lambda: "challenge" in watch.kinds())
        (event,) = [one for one in watch.lines if one["event"] == "challenge"]
        assert event["upheld"] and event["fraud"] == "WRONG_MEAN", event
        watch.until(lambda: "cleared" in watch.kinds())
        watch.kill()
        assert proposed.contract.round(1).state is RoundState.SUBMITTED
        assert proposed.contract.owed(CHALLENGER.address) > 0
        hook.shutdown()


@pytest.mark.slow
def test_a_coordinators_account_answers(
    tmp_path: Path, start_anvil: Callable[..., AbstractContextManager[str]]
) -> None:
    with start_anvil() as url, proposed_on(tmp_path, url, wrong_by=0) as proposed:
        watch = Watch(tmp_path, key=COORDINATOR)
        try:
            due = proposed.demand(proposed.roots[0])
            assert proposed.answered_at(proposed.roots[0]) < due
            watch.until(lambda: watch.kinds() == ["answer"])
            for file in (tmp_path / "store").iterdir():
                file.unlink()
            proposed.demand(proposed.roots[2])
            watch.until(lambda: "unanswered" in watch.kinds())
        finally:
            watch.kill()


@pytest.mark.slow
def test_a_reorganisation_is_told_once_and_what_came_of_it(
    tmp_path: Path, start_anvil: Callable[..., AbstractContextManager[str]]
) -> None:
    with start_anvil() as url, proposed_on(tmp_path, url, wrong_by=0) as proposed:
        told: list[Event] = []
        looker = Looker(
            Subject("s", lambda: open_run(tmp_path, endpoint=Endpoint(url))),
            Standing(),
            told.append,
            preimages=tmp_path / "none",
        )
        proposed.let_pass(5)
        looker.look()
        proposed.let_pass(SECURITY.challenge_seconds + 1)
        proposed.contract.finalize_round(CHALLENGER, 1)
        looker.look()
        assert [one.kind for one in told] == [Kind.ROUND] and looker.standing.audited_round == 1
        ask = proposed.w3.provider.make_request
        assert "error" not in ask(RPCEndpoint("anvil_reorg"), [2, []])
        looker.look()
        assert [one.kind for one in told] == [Kind.ROUND, Kind.REORGANISATION]
        assert looker.standing.audited_round == 0
        looker.look()
        assert len(told) == 2
        proposed.let_pass(SECURITY.challenge_seconds + 1)
        with unless_done("WrongState"):  # the sender sees to it that what vanished comes back
            proposed.contract.finalize_round(COORDINATOR, 1)
        looker.look()
        assert [one.kind for one in told][2:] == [Kind.ROUND] and not looker.standing.findings
