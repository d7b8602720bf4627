"""The chain that a run stands on: one of its own, in a file, or a network; and who acts there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.creation_block import creation_block
from fedvm.chain.deployer import Deployer
from fedvm.chain.endpoint import endpoint_of
from fedvm.chain.factory import DEFAULT_SALT, FederationFactory
from fedvm.chain.networks import EMBEDDED, Network, network_of
from fedvm.chain.passing_time import fast_forward
from fedvm.chain.sender import Sender
from fedvm.devnet.accounts import derive_account
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.evm.keccak import keccak
from fedvm.federation.client.appointment import checked_address
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.network_times import check_times
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.layout import RunDirectory


@dataclass(frozen=True)
class Ground:
    """An open chain and who acts on it.

    owner owns federation and service, coordinator opens rounds; on a network both are the account that pays. members:
    keys of the simulated clients, none where the clients have their own. at: how the run's directory names the chain.
    first_block: the one before anything of the run. pass_time: lets chain time go by, None where only waiting does.
    salt: of the federation's address. federation: its address, where the run's directory names it. notes: lines for the
    console.
    """

    w3: Web3
    network: Network
    at: ChainRef
    owner: LocalAccount
    coordinator: LocalAccount
    members: tuple[LocalAccount, ...]
    salt: bytes
    federation: str | None = None
    first_block: int = 0
    pass_time: Callable[[int], None] | None = None
    embedded: EmbeddedChain | None = None
    deployer: Deployer | None = None
    notes: tuple[str, ...] = ()

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""
        return int(self.w3.eth.chain_id)

    def factory(self) -> FederationFactory:
        """The factory of the run's federation, deployed unless it is there."""
        if self.embedded is not None:
            return FederationFactory.deploy_first(self.w3, self.owner)
        return FederationFactory.shared(self.w3, self.owner)

    def pass_block(self) -> None:
        """Wait for a block, or have one mined."""
        if self.pass_time is not None:
            self.pass_time(0)
        else:
            time.sleep(max(self.network.block_seconds, 1.0))

    def addresses(self, given: Sequence[str]) -> list[str]:
        """The members' addresses, in the order of the clients: given ones, or those of the simulated clients."""
        return [checked_address("member", one) for one in given] or [str(one.address) for one in self.members]


@contextmanager
def opened_ground(
    config: RunConfig, directory: RunDirectory, account: LocalAccount | None, *, resume: bool
) -> Iterator[Ground]:
    """The chain that the configuration names. account: who pays on a network.

    Raises ConfigError for what cannot be on this network, and ChainError.
    """
    if config.network.is_embedded:
        with open_chain(directory.chain, seed=config.run.seed, create=True) as chain:
            yield _embedded(config, directory, chain)
        return
    yield _on_network(config, directory, account, resume=resume)


def _embedded(config: RunConfig, directory: RunDirectory, chain: EmbeddedChain) -> Ground:
    members = () if config.deployment.members else range(config.data.clients)
    return Ground(
        chain.w3,
        EMBEDDED,
        ChainRef("embedded", directory.chain.name),
        owner=chain.account("owner"),
        coordinator=chain.account("coordinator"),
        members=tuple(chain.account("member", index) for index in members),
        salt=DEFAULT_SALT,
        pass_time=chain.advance_time,
        embedded=chain,
    )


def _on_network(
    config: RunConfig, directory: RunDirectory, account: LocalAccount | None, *, resume: bool
) -> Ground:
    named = None if config.network.name == EMBEDDED.name else config.network.name
    endpoint = endpoint_of(named, config.network.rpc)
    assert endpoint is not None
    if account is None:
        raise ConfigError(
            "a run on a network needs the account that pays: give --account, or set PRIVATE_KEY"
        )
    began = Deployment.load(directory.path) if directory.deployment.is_file() else None
    w3 = endpoint.connect(chain_id=began.chain_id if began else None)
    network = network_of(w3)
    notes = require_suitable(config, network)
    sender = Sender(w3)
    salt = keccak(f"fedvm run {config.run.name} {config.run.seed}".encode())
    ground = Ground(
        w3,
        network,
        ChainRef("rpc", endpoint.shown),
        owner=account,
        coordinator=account,
        members=_simulated(config),
        salt=salt,
        federation=began.federation if began else None,
        first_block=began.block if began else int(w3.eth.block_number),
        pass_time=fast_forward(w3, network),
        deployer=Deployer.ensure(sender, account),
        notes=notes,
    )
    address = ground.factory().address_of(str(account.address), salt)
    if w3.eth.get_code(Web3.to_checksum_address(address)):
        if not resume:
            raise ConfigError(
                f"{account.address} has a federation of this name and seed on {network.title}: {address}. Give the run "
                "another --name or --seed, or continue it with --resume"
            )
        if began is None:
            return replace(ground, first_block=creation_block(w3, address))
    return ground


def require_suitable(config: RunConfig, network: Network) -> tuple[str, ...]:
    """Lines about the windows that the network allows, for the console.

    Raises:
        ConfigError: a window is too short there; or simulated clients, whose keys derive from the seed so that anyone
            can have them, are to act where coins are worth money, or to stake.
    """
    if not config.deployment.members and network.is_valuable:
        raise ConfigError(
            f"simulated clients have keys that follow from run.seed, which on {network.title} anyone could use: name "
            "the real clients' addresses in deployment.members, or rehearse on a testnet"
        )
    if not config.deployment.members and config.security.stake:
        raise ConfigError(
            "simulated clients own nothing on a network that they could stake: leave security.stake out"
        )
    return check_times(config, network)


def _simulated(config: RunConfig) -> tuple[LocalAccount, ...]:
    if config.deployment.members:
        return ()
    return tuple(derive_account(config.run.seed, "member", index) for index in range(config.data.clients))
