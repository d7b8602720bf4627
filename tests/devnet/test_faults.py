"""A federation over nodes that fail ends as over one that does not; `make bench-networks` makes ten thousand faults."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from faults_bench.campaign import FUNDS, LOTUS, cast, on_anvil, on_lotus, wrong
from faults_bench.scenario import Notes, play_on

from fedvm.chain.networks import connect
from fedvm.chain.outbox import Outbox
from fedvm.chain.sender import Sender
from fedvm.devnet.lotus.chain import TipsetChain
from fedvm.devnet.lotus.rpc import Lookback, LotusRpc
from fedvm.devnet.lotus.server import LotusServer

PLAYER = Path(__file__).parents[2] / "benchmarks" / "faults_bench" / "player.py"


def test_nothing_is_lost_on_a_chain_as_filecoins(tmp_path: Path) -> None:
    result = on_lotus(tmp_path, seed=5, share=0.35)
    assert result.lost == ()
    assert result.injected.total() >= 60
    assert len(result.injected) >= 10


@pytest.mark.slow
def test_nothing_is_lost_on_anvil(
    tmp_path: Path, start_anvil: Callable[..., AbstractContextManager[str]]
) -> None:
    with start_anvil("--hardfork", "cancun") as url:
        result = on_anvil(url, tmp_path, seed=6, share=0.3)
    assert result.lost == ()
    assert result.injected.total() >= 60


@pytest.mark.slow
def test_a_process_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    seed, chance, kills = 77, random.Random(77), 0
    actors = cast(seed)
    balances = {bytes.fromhex(address[2:]): FUNDS for address in actors.senders}
    chain = TipsetChain(31415926, balances, started=int(time.time()), block_time=300, seed=seed)
    with LotusServer(chain, epoch_seconds=0.05, rpc=LotusRpc(chain, Lookback(None, None))) as server:
        command = [sys.executable, str(PLAYER), server.url, str(tmp_path), str(seed)]
        for _ in range(100):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                time.sleep(chance.uniform(0.2, 3.0))
                process.kill()
                if "done" in process.stdout.read():
                    break
                kills += 1
        sender = Sender(connect(server.url), LOTUS, outbox=Outbox(tmp_path / "sent.sqlite"))
        ending = play_on(sender, actors, Notes(tmp_path / "notes.json"), lambda _: time.sleep(0.05))
        assert kills >= 3
        assert wrong(ending, sender.w3, actors, first=0) == ()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_nothing_is_lost_in_worse_networks(tmp_path: Path, seed: int) -> None:
    assert on_lotus(tmp_path, seed, share=0.5).lost == ()
