"""The chains of the scenario, each fresh, with actors whose keys follow from a seed.

Contracts are created by transactions of these actors, whose addresses follow from account and nonce alone. So they are
the same on every chain, also on one that has no CREATE2 deployer.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.types import RPCEndpoint, Wei

from fedvm.chain.errors import NetworkError
from fedvm.chain.factory import DEFAULT_SALT, FederationFactory
from fedvm.chain.networks import EMBEDDED, connect, network_of
from fedvm.chain.passing_time import fast_forward
from fedvm.chain.sender import Sender
from fedvm.devnet.accounts import derive_account
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.devnet.lotus.rehearsal import RehearsalTerms, rehearse
from fedvm.pipeline.ground import Ground
from fedvm.rundir.deployment import ChainRef

SEED, CLIENTS = 5, 8
FUNDS = 10**19
SPEED = 50.0
EPOCH_SECONDS = 30
ANVIL = Path(__file__).parents[2] / "contracts" / "node_modules" / ".bin" / "anvil"


@dataclass(frozen=True)
class FirstGround(Ground):
    """A ground on which the factory is the owner's first contract."""

    def factory(self) -> FederationFactory:
        """The owner's factory."""
        return FederationFactory.deploy_first(self.w3, self.owner)


@dataclass(frozen=True)
class Place:
    """A chain that is open. user: challenges, and decides. words: name it to a command."""

    name: str
    ground: FirstGround
    user: LocalAccount
    words: tuple[str, ...]


@contextmanager
def embedded(directory: Path) -> Iterator[Place]:
    """A chain in a file of the run."""
    with open_chain(directory / "chain.sqlite", seed=SEED, create=True) as chain:
        ground = _ground(chain.w3, ChainRef("embedded", "chain.sqlite"), chain.advance_time, chain)
        yield Place("embedded", ground, chain.account("user"), ("--run", str(directory)))


@contextmanager
def anvil(directory: Path) -> Iterator[Place]:
    """An anvil of one's own."""
    del directory
    found = str(ANVIL) if ANVIL.exists() else shutil.which("anvil")
    if found is None:
        raise NetworkError("anvil is not installed: run npm ci in contracts/, or leave it out (--chain)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [found, "--host", "127.0.0.1", "--port", str(port), "--silent"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            w3 = _awaited(url)
            for actor in _actors():
                w3.provider.make_request(RPCEndpoint("anvil_setBalance"), [actor, hex(FUNDS)])
            pass_time = fast_forward(w3, network_of(w3))
            assert pass_time is not None
            yield Place("anvil", _ground(w3, ChainRef("rpc", url), pass_time), _user(), ("--rpc", url))
        finally:
            process.terminate()


@contextmanager
def devnet(directory: Path) -> Iterator[Place]:
    """A chain like Filecoin's, as `fedvm devnet --like filecoin` runs it, a full node."""
    del directory
    terms = RehearsalTerms(port=0, block_time=EPOCH_SECONDS, speed=SPEED, seed=SEED, gateway=False)
    with rehearse(terms) as running:
        w3 = connect(running.url)
        sender, rich = Sender(w3), running.accounts[1]
        for actor in _actors():
            sender.send(rich, {"to": Web3.to_checksum_address(actor), "value": Wei(FUNDS)}, action="funding")

        def pass_time(seconds: int) -> None:
            epochs = ceil(seconds / EPOCH_SECONDS) + 1
            w3.provider.make_request(RPCEndpoint("fedvm_advance"), [hex(epochs)])

        at = ChainRef("rpc", running.url)
        yield Place("devnet", _ground(w3, at, pass_time), _user(), ("--rpc", running.url))


CHAINS: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "embedded": embedded,
    "anvil": anvil,
    "devnet": devnet,
}


def _ground(
    w3: Web3, at: ChainRef, pass_time: Callable[[int], None], chain: EmbeddedChain | None = None
) -> FirstGround:
    return FirstGround(
        w3,
        EMBEDDED if chain is not None else network_of(w3),
        at,
        owner=derive_account(SEED, "owner"),
        coordinator=derive_account(SEED, "coordinator"),
        members=tuple(derive_account(SEED, "member", index) for index in range(CLIENTS)),
        salt=DEFAULT_SALT,
        pass_time=pass_time,
        embedded=chain,
    )


def _user() -> LocalAccount:
    return derive_account(SEED, "user")


def _actors() -> list[str]:
    members = [derive_account(SEED, "member", index).address for index in range(CLIENTS)]
    return [
        derive_account(SEED, "owner").address,
        derive_account(SEED, "coordinator").address,
        _user().address,
        *members,
    ]


def _awaited(url: str) -> Web3:
    for _ in range(300):
        try:
            return connect(url, timeout=5)
        except NetworkError:
            time.sleep(0.1)
    raise NetworkError(f"no node answers at {url}")
