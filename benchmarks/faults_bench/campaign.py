"""Many runs of the scenario over nodes that fail: how many faults were injected, and how many runs ended otherwise than
the undisturbed one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import Wei

from faults_bench.scenario import Cast, Ending, Notes, effective, expected, play_on
from fedvm.chain.errors import ChainError
from fedvm.chain.networks import ANVIL, DEVNET, Network, connect
from fedvm.chain.outbox import Outbox
from fedvm.chain.sender import Sender
from fedvm.chain.transport import Patience
from fedvm.devnet.accounts import derive_account
from fedvm.devnet.faults import Fault, FaultPlan, FaultyProxy
from fedvm.devnet.lotus.chain import TipsetChain, Weather
from fedvm.devnet.lotus.rpc import Lookback, LotusRpc
from fedvm.devnet.lotus.server import LotusServer
from fedvm.evm.limits import FILECOIN_DEVNET_CHAIN_ID

EPOCH_SECONDS: Final = 0.02
FUNDS: Final = 10**22
MAX_DEPTH: Final = 3
QUICK: Final = Patience(first=0.002, most=0.05, total=30, asked=0.01)
LOTUS: Final = replace(DEVNET, poll_seconds=0.01, resubmit_seconds=0.6, receipt_timeout_seconds=6)
"""The local chain, on which time passes fast."""


class NodeSilent(Exception):
    """The node itself has stopped answering, with or without faults: the run says nothing about its client."""


@dataclass(frozen=True)
class Result:
    """injected: faults by kind; lost: what is wrong with the end, empty if nothing."""

    injected: Counter[Fault]
    lost: tuple[str, ...]
    seconds: float


def cast(seed: int) -> Cast:
    """Actors of a run; their keys are as public as the seed."""
    members = tuple(derive_account(seed, "member", index) for index in range(3))
    return Cast(derive_account(seed, "owner"), derive_account(seed, "coordinator"), members)


def on_lotus(folder: Path, seed: int, share: float) -> Result:
    """One run on a chain as Filecoin's, some of whose requests meet faults."""
    actors = cast(seed)
    balances = {bytes.fromhex(address[2:]): FUNDS for address in actors.senders}
    weather = Weather(null_rounds=0.1, held=0.05 if share else 0.0, held_epochs=15, lost=0.5, finality=8)
    chain = TipsetChain(
        FILECOIN_DEVNET_CHAIN_ID, balances, started=int(time.time()), weather=weather, seed=seed
    )
    plan = FaultPlan(share, seed, late=0.03, depth=MAX_DEPTH, retry_after=0, reorganise=chain.reorganise)
    rpc = LotusRpc(chain, Lookback(None, None))

    def pause(seconds: int) -> None:
        for _ in range(seconds // chain.block_time + 1):
            chain.tick()

    with (
        LotusServer(chain, epoch_seconds=EPOCH_SECONDS, rpc=rpc) as server,
        FaultyProxy(server.url, plan) as proxy,
    ):
        return _run(folder, actors, LOTUS, server.url, proxy, pause)


def on_anvil(url: str, folder: Path, seed: int, share: float) -> Result:
    """One run on an anvil that is fresh, or at least does not know the actors."""
    actors, direct = cast(seed), connect(url, timeout=10, patience=Patience(total=0))

    def ask(method: str, *parameters: Any) -> Any:
        return direct.provider.make_request(method, list(parameters))  # type: ignore[arg-type]

    rich = direct.eth.accounts[0]
    for address in actors.senders:
        direct.eth.send_transaction(
            {"from": rich, "to": Web3.to_checksum_address(address), "value": Wei(FUNDS // 10)}
        )
    ask(
        "anvil_mine", hex(4 * MAX_DEPTH)
    )  # a balance that is set, or a block that is young, does not survive a reorganisation

    def reorganise(depth: int) -> int:
        """anvil lets the last blocks go, and does not remember their transactions."""
        return depth if "error" not in ask("anvil_reorg", depth, []) else 0

    def pause(seconds: int) -> None:
        ask("evm_increaseTime", seconds)
        ask("evm_mine")

    plan = FaultPlan(share, seed, late=0.03, depth=MAX_DEPTH, retry_after=0, reorganise=reorganise)
    network = replace(ANVIL, poll_seconds=0.01, resubmit_seconds=0.6, receipt_timeout_seconds=6)
    with FaultyProxy(url, plan) as proxy:
        try:
            return _run(folder, actors, network, url, proxy, pause)
        except (ChainError, Web3Exception, OSError) as error:
            try:
                direct.eth.get_block("latest")
            except (ChainError, Web3Exception, OSError) as silence:
                raise NodeSilent("anvil does not answer any more") from silence
            raise error


def _run(folder: Path, actors: Cast, network: Network, direct: str, proxy: FaultyProxy, pause: Any) -> Result:
    begun, node = time.monotonic(), connect(direct)
    first = int(node.eth.block_number)
    with _sender(proxy, network, folder / "sent.sqlite") as sender:
        notes = Notes(folder / "notes.json")
        play_on(sender, actors, notes, pause)
        # The last faults may have undone the last steps; what counts is what is there when they are over.
        proxy.plan.share = 0.0
        ending = play_on(sender, actors, notes, pause)
    lost = wrong(ending, node, actors, first)
    return Result(proxy.plan.injected, lost, time.monotonic() - begun)


@contextmanager
def _sender(proxy: FaultyProxy, network: Network, outbox: Path) -> Iterator[Sender]:
    share, proxy.plan.share = proxy.plan.share, 0.0
    w3 = connect(proxy.url, timeout=5, patience=QUICK)
    proxy.plan.share = share
    box = Outbox(outbox)
    try:
        yield Sender(w3, network, outbox=box)
    finally:
        box.close()


def wrong(ending: Ending, w3: Web3, actors: Cast, first: int) -> tuple[str, ...]:
    """What distinguishes an end from the undisturbed one, of a run that began at block ``first``."""
    sent = effective(w3, actors, first)
    found = [
        f"{name} changed something {sent[address]} times instead of {count}"
        for name, address, count in zip(("owner", "coordinator"), actors.senders, expected(), strict=True)
        if sent[address] != count
    ]
    if [state for state, *_ in ending.rounds] != ["FINAL"] * len(ending.rounds) or len(ending.rounds) != 2:
        found.append(f"rounds {ending.rounds}")
    return tuple(found)
