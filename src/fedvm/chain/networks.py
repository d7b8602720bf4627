"""The networks that FedVM knows, and connections that are checked before use.

How Filecoin's RPC behaves (block time, polling, pages of logs) follows filecoin-project/lotus.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

from web3 import HTTPProvider, Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from fedvm.chain.errors import ChainMismatch, NetworkError
from fedvm.evm.limits import BLOCK_GAS_LIMIT, ETHEREUM_TRANSACTION_GAS_LIMIT

REQUEST_TIMEOUT_SECONDS: Final = 60.0
SEND_IF_SUCCESSFUL: Final = RPCEndpoint("fedvm_sendRawTransactionIfSuccessful")
"""Of the embedded chain: ``eth_sendRawTransaction`` for a transaction that is not to be included if it reverts; answers
then as ``eth_estimateGas`` does. It spares an estimate, which executes the transaction two times more."""


GasUnit = Literal["evm", "filecoin"]
"""The gas that a chain counts, as the manifest of a compiled program names it. "evm": the schedule of the Yellow Paper,
appendix G, with EIP-2929. "filecoin": some 500 times as much; the EVM runs there as a program in WebAssembly, whose
instructions are counted (ref-fvm's price list; costs of its opcodes in `fedvm.evm.opcodes`)."""


@dataclass(frozen=True)
class Network:
    """What a client must know to use a chain; times in seconds, ``log_range`` in blocks per
    ``eth_getLogs``, ``gas_unit``: which of a program's figures counts there; ``explorer``: address of a block explorer
    with pages ``/address/…`` and ``/tx/…`` (Blockscout's form), None if nobody keeps one."""

    name: str
    title: str
    chain_id: int
    currency: str
    poll_seconds: float
    resubmit_seconds: float
    receipt_timeout_seconds: float
    log_range: int | None = None
    rpc_url: str | None = None
    faucet: str | None = None
    gas_unit: GasUnit = "evm"
    explorer: str | None = None

    @property
    def is_filecoin(self) -> bool:
        return self.chain_id in (314, 314159, 31415926) and self.name != "embedded"

    @property
    def transaction_gas(self) -> int:
        """The most gas that one transaction may ask for."""
        has_large = self.is_filecoin or self.name == "embedded"
        return BLOCK_GAS_LIMIT if has_large else ETHEREUM_TRANSACTION_GAS_LIMIT


EMBEDDED: Final = Network("embedded", "in-process chain of a run", 31415926, "FIL", 0.01, 60, 60)
ANVIL: Final = Network(
    "anvil", "local anvil or Hardhat node", 31337, "ETH", 0.1, 60, 60, rpc_url="http://127.0.0.1:8545"
)
MAINNET: Final = Network(
    "filecoin",
    "Filecoin mainnet",
    314,
    "FIL",
    7,
    300,
    900,
    log_range=2_880,
    rpc_url="https://api.node.glif.io/rpc/v1",
    gas_unit="filecoin",
    explorer="https://filecoin.blockscout.com",
)
CALIBRATION: Final = Network(
    "calibration",
    "Filecoin calibration testnet",
    314159,
    "tFIL",
    7,
    300,
    900,
    log_range=2_880,
    rpc_url="https://api.calibration.node.glif.io/rpc/v1",
    faucet="https://faucet.calibnet.chainsafe-fil.io",
    gas_unit="filecoin",
    explorer="https://filecoin-testnet.blockscout.com",
)
DEVNET: Final = Network(
    "devnet",
    "local Filecoin devnet",
    31415926,
    "FIL",
    2,
    120,
    600,
    log_range=2_880,
    rpc_url="http://127.0.0.1:1234/rpc/v1",
    gas_unit="filecoin",
)

NETWORKS: Final = (EMBEDDED, ANVIL, DEVNET, CALIBRATION, MAINNET)


def find_network(name: str) -> Network:
    """The network of a name; :class:`NetworkError` lists the known ones."""
    for network in NETWORKS:
        if network.name == name:
            return network
    known = [network.name for network in NETWORKS]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f": did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}."
    raise NetworkError(
        f"unknown network {name!r}{hint} An RPC address is written http://host:port or https://host/path"
    )


def rpc_address(named: str) -> str:
    """The JSON-RPC address that a person means by a URL or by the name of a network.

    Raises:
        NetworkError: a name that is unknown, or of a network without an address.
    """
    if "://" in named:
        return named
    network = find_network(named)
    if network.rpc_url is None:
        raise NetworkError(f"{named} is the {network.title}: it has no RPC address; name its run with --run")
    return network.rpc_url


def network_of(w3: Web3) -> Network:
    """The network that ``w3`` talks to, by its chain id; an unknown chain is treated as an ordinary EVM
    chain."""
    if getattr(w3.provider, "is_embedded", False):
        return EMBEDDED
    chain_id = w3.eth.chain_id
    for network in (ANVIL, DEVNET, CALIBRATION, MAINNET):
        if network.chain_id == chain_id:
            return network
    return Network(f"chain-{chain_id}", f"chain {chain_id}", chain_id, "ETH", 2, 120, 600, log_range=2_000)


def connect(rpc_url: str, *, chain_id: int | None = None, timeout: float = REQUEST_TIMEOUT_SECONDS) -> Web3:
    """A checked connection to an Ethereum JSON-RPC endpoint (http or https).

    ``chain_id`` is the chain that must answer, if given; ``timeout`` holds for one request, in seconds.
    Raises :class:`NetworkError` (malformed URL, unreachable, no Ethereum RPC) or :class:`ChainMismatch`.
    """
    parts = urlsplit(rpc_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NetworkError(
            f"{_shown(rpc_url)} is not an RPC address; write http://host:port or https://host/path"
        )
    # web3 asks for the chain's id twice with every contract call. A connection is to one chain, so ask once.
    provider = HTTPProvider(
        rpc_url,
        request_kwargs={"timeout": timeout},
        cache_allowed_requests=True,
        cacheable_requests={RPCEndpoint("eth_chainId")},
        request_cache_validation_threshold=None,
    )
    w3 = Web3(provider)
    try:
        actual = w3.eth.chain_id
    except (OSError, Web3Exception, ValueError) as error:
        # requests' exceptions are OSErrors; their texts may quote the whole URL with a key in it.
        raise NetworkError(
            f"no Ethereum RPC answers at {_shown(rpc_url)} ({type(error).__name__}); check the address"
            + (" and that it ends in /rpc/v1" if "/rpc/" not in parts.path else "")
        ) from None
    if chain_id is not None and actual != chain_id:
        raise ChainMismatch(
            f"{_shown(rpc_url)} is chain {actual}, wanted {chain_id}; name the other endpoint"
        )
    return w3


def require_funds(w3: Web3, address: str, wei: int) -> None:
    """:class:`NetworkError` unless ``address`` owns at least ``wei`` (10^−18 of the currency)."""
    balance = w3.eth.get_balance(Web3.to_checksum_address(address))
    if balance < wei:
        network = network_of(w3)
        hint = f" at {network.faucet}" if network.faucet else ""
        raise NetworkError(
            f"{address} holds {balance / 1e18:.6g} {network.currency} on {network.title}, "
            f"{wei / 1e18:.6g} are needed; fund it{hint}"
        )


def page(network: Network, first: int, last: int) -> list[tuple[int, int]]:
    """Block ranges, both ends included, that one ``eth_getLogs`` of the network takes."""
    step = network.log_range or max(last - first + 1, 1)
    return [(start, min(start + step - 1, last)) for start in range(first, last + 1, step)]


def _shown(rpc_url: str) -> str:
    """A URL without user, password and query, where gateways put their keys."""
    parts = urlsplit(rpc_url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
