"""`fedvm answer --watch` over JSON-RPC, on anvil: in time, through an outage, and until it is told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from proposed_round import CHALLENGER, COORDINATOR, SECONDS, SECURITY, Gateway, Proposed, propose

from fedvm.chain.networks import connect


@pytest.fixture
def proposed(tmp_path: Path, start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[Proposed]:
    with start_anvil() as url:
        gateway = Gateway(url)
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        try:
            yield propose(tmp_path, connect(url), gateway)
        finally:
            gateway.shutdown()
            gateway.server_close()


class Watching:
    """A running `fedvm answer --watch`, and what it has said on standard error so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.said = process, ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def until(self, text: str) -> None:
        deadline = time.monotonic() + SECONDS
        while text not in self.said:
            assert time.monotonic() < deadline and self.process.poll() is None, self.said
            time.sleep(0.05)

    def ends_with(self) -> int:
        status = self.process.wait(timeout=SECONDS)
        self._listener.join()
        return status


@contextmanager
def watching(path: Path) -> Iterator[Watching]:
    command = [sys.executable, "-c", "from fedvm.cli import main; main()", "answer", "--run", str(path)]
    environment = {**os.environ, "PRIVATE_KEY": "0x" + COORDINATOR.key.hex().removeprefix("0x")}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, "--watch", "--every", "0.2"],
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=environment,
        # A shell that starts the tests in the background has them ignore SIGINT, and what they start too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            watched = Watching(process)
            watched.until("Watching the proposal of round 1")
            yield watched
        finally:
            process.kill()


def test_it_answers_in_time_outlasts_an_outage_and_ends_when_told(proposed: Proposed) -> None:
    with watching(proposed.path) as watched:
        due = proposed.demand(proposed.roots[0])
        assert proposed.answered_at(proposed.roots[0]) < due

        proposed.gateway.down = True
        due = proposed.demand(proposed.roots[1])
        watched.until("asking again")
        assert "ConnectionError" in watched.said and watched.process.poll() is None
        proposed.gateway.down = False
        watched.until("answers again")
        assert proposed.answered_at(proposed.roots[1]) < due
        watched.until("Questions answered so far: 2.")

        watched.process.send_signal(signal.SIGINT)
        assert watched.ends_with() == 130
        said = " ".join(watched.said.split())
        assert "Interrupted. Round 1: 2 questions answered, 0 open." in said
        assert "fedvm answer --run" in said and "Traceback" not in said


@pytest.mark.slow
def test_it_ends_by_itself_when_the_proposal_is_final(proposed: Proposed) -> None:
    with watching(proposed.path) as watched:
        proposed.let_pass(SECURITY.challenge_seconds + 1)
        proposed.contract.finalize_round(CHALLENGER, 1)
        assert watched.ends_with() == 0
        assert watched.process.stdout is not None
        assert "Round 1: 0 questions answered, 0" in watched.process.stdout.read()


@pytest.mark.slow
def test_it_tells_of_what_it_cannot_answer_and_that_the_proposal_fell_for_it(proposed: Proposed) -> None:
    for file in (proposed.path / "store").iterdir():
        file.unlink()
    with watching(proposed.path) as watched:
        proposed.demand(proposed.roots[2])
        watched.until("Questions that the store cannot answer: 1.")
        proposed.let_pass(SECURITY.challenge_seconds + SECURITY.answer_seconds + 1)
        proposed.disputes.reject_unanswered(CHALLENGER, 1, proposed.roots[2], 1)
        assert watched.ends_with() == 1
        assert "The proposal of round 1 has fallen" in watched.said
