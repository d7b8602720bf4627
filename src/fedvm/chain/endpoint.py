"""The endpoint that a person means by the name of a network, by an address, or by both."""

from __future__ import annotations

from dataclasses import dataclass

from web3 import Web3

from fedvm.chain.errors import ChainMismatch, NetworkError
from fedvm.chain.networks import Network, connect, find_network
from fedvm.chain.rpc_url import shown
from fedvm.chain.transport import Patience


@dataclass(frozen=True)
class Endpoint:
    """An RPC address, and the network that must answer there; None for whichever does. patience: for how long requests
    are tried again."""

    url: str
    network: Network | None = None
    patience: Patience | None = None

    def connect(self, *, chain_id: int | None = None) -> Web3:
        """A checked connection. chain_id: of the chain that is wanted, if it is known otherwise, too.

        Raises:
            NetworkError: nothing answers there.
            ChainMismatch: another chain does.
        """
        wanted = chain_id
        if self.network is not None:
            wanted = self.network.chain_id
            if chain_id not in (None, wanted):
                raise ChainMismatch(f"{self.network.title} is chain {wanted}, wanted {chain_id}")
        return connect(self.url, chain_id=wanted, patience=self.patience)

    @property
    def shown(self) -> str:
        """Its address, as it may be printed and stored."""
        return shown(self.url)


def endpoint_of(network: str | None, rpc: str | None) -> Endpoint | None:
    """The endpoint for a network's name, an RPC address, or both: then the address must lead to that network. None for
    neither.

    Raises:
        NetworkError: the name is unknown, or of a network without an address of its own.
    """
    if rpc is not None and "://" not in rpc:
        known = find_network(rpc)
        raise NetworkError(
            f"--rpc takes an address, http://host:port or https://host/path; write --network {known.name}"
        )
    if network is None:
        return None if rpc is None else Endpoint(rpc)
    named = find_network(network)
    url = rpc or named.rpc_url
    if url is None:
        raise NetworkError(f"{network} is the {named.title}: it has no RPC address; name its run with --run")
    return Endpoint(url, named)
