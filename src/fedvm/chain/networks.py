"""The networks that FedVM knows, and connections that are checked before use.

How Filecoin's RPC behaves (block time, polling, pages of logs) follows filecoin-project/lotus.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from fedvm.chain.errors import BadAnswer, ChainMismatch, NetworkError
from fedvm.chain.rpc_url import shown, whole
from fedvm.chain.transport import Patience, PatientProvider
from fedvm.evm.limits import BLOCK_GAS_LIMIT, ETHEREUM_TRANSACTION_GAS_LIMIT

REQUEST_TIMEOUT_SECONDS: Final = 60.0
FILECOIN_CHAIN_ID: Final = 314
_FILECOIN_CHAINS: Final = (FILECOIN_CHAIN_ID, 314159, 31415926)
SEND_IF_SUCCESSFUL: Final = RPCEndpoint("fedvm_sendRawTransactionIfSuccessful")
"""Of the embedded chain: ``eth_sendRawTransaction`` for a transaction that is not to be included if it reverts; answers
then as ``eth_estimateGas`` does. It spares an estimate, which executes the transaction two times more."""


GasUnit = Literal["evm", "filecoin"]
"""The gas that a chain counts, as the manifest of a compiled program names it. "evm": the schedule of the Yellow Paper,
appendix G, with EIP-2929. "filecoin": some 500 times as much; the EVM runs there as a program in WebAssembly, whose
instructions are counted (ref-fvm's price list; costs of its opcodes in `fedvm.evm.opcodes`)."""


@dataclass(frozen=True)
class Network:
    """What a client must know to use a chain.

    Times are seconds. block_seconds: between two blocks; 0 where blocks come with transactions. finality_seconds: after
    so long a block is not replaced any more. log_range: blocks that one ``eth_getLogs`` takes. explorer: address of a
    site that has pages ``/address/0x…`` and ``/tx/0x…``. faucet: where its coin is given away. gas_unit: which of a
    program's figures counts there. is_valuable: whether its coin costs money, so that sending asks first.
    """

    name: str
    title: str
    chain_id: int
    currency: str
    poll_seconds: float
    resubmit_seconds: float
    receipt_timeout_seconds: float
    block_seconds: float = 0
    finality_seconds: int = 0
    log_range: int | None = None
    rpc_url: str | None = None
    explorer: str | None = None
    faucet: str | None = None
    gas_unit: GasUnit = "evm"
    is_valuable: bool = False

    @property
    def is_filecoin(self) -> bool:
        return self.gas_unit == "filecoin"

    @property
    def is_local(self) -> bool:
        """Whether it runs on one computer, for trying things: nobody else has a copy."""
        return self.name in ("embedded", "anvil", "devnet")

    @property
    def is_testnet(self) -> bool:
        """Whether its f410 addresses are written t410."""
        return self.chain_id != FILECOIN_CHAIN_ID

    @property
    def transaction_gas(self) -> int:
        """The most gas that one transaction may ask for."""
        has_large = self.is_filecoin or self.name == "embedded"
        return BLOCK_GAS_LIMIT if has_large else ETHEREUM_TRANSACTION_GAS_LIMIT

    def address_link(self, address: str) -> str | None:
        """The explorer's page of an account (hex address); None if no explorer is known."""
        return f"{self.explorer}/address/{address}" if self.explorer else None

    def transaction_link(self, tx_hash: str) -> str | None:
        """The explorer's page of a transaction; None if no explorer is known."""
        return f"{self.explorer}/tx/{tx_hash}" if self.explorer else None


def _filecoin(name: str, title: str, chain_id: int, currency: str, **fields: Any) -> Network:
    """A Filecoin network: epochs of 30 s, finality by F3 within some minutes, logs of 2,880 epochs."""
    usual: dict[str, Any] = {
        "poll_seconds": 7,
        "resubmit_seconds": 300,
        "receipt_timeout_seconds": 900,
        "block_seconds": 30,
        "finality_seconds": 600,
        "log_range": 2_880,
        "gas_unit": "filecoin",
    }
    return Network(name, title, chain_id, currency, **(usual | fields))


def _ethereum(name: str, title: str, chain_id: int, **fields: Any) -> Network:
    """A network with Ethereum's slots of 12 s and finality after two epochs of 32, some blocks more for safety."""
    usual: dict[str, Any] = {
        "poll_seconds": 3,
        "resubmit_seconds": 120,
        "receipt_timeout_seconds": 600,
        "block_seconds": 12,
        "finality_seconds": 960,
        "log_range": 2_000,
    }
    return Network(name, title, chain_id, "ETH", **(usual | fields))


EMBEDDED: Final = Network("embedded", "in-process chain of a run", 31415926, "FIL", 0.01, 60, 60)
ANVIL: Final = Network(
    "anvil", "local anvil or Hardhat node", 31337, "ETH", 0.1, 60, 60, rpc_url="http://127.0.0.1:8545"
)
DEVNET: Final = _filecoin(
    "devnet",
    "local Filecoin devnet",
    31415926,
    "FIL",
    poll_seconds=2,
    resubmit_seconds=120,
    receipt_timeout_seconds=600,
    block_seconds=4,
    finality_seconds=60,
    rpc_url="http://127.0.0.1:1234/rpc/v1",
)
CALIBRATION: Final = _filecoin(
    "filecoin-calibration",
    "Filecoin calibration testnet",
    314159,
    "tFIL",
    rpc_url="https://api.calibration.node.glif.io/rpc/v1",
    explorer="https://filecoin-testnet.blockscout.com",
    faucet="https://faucet.calibnet.chainsafe-fil.io",
)
MAINNET: Final = _filecoin(
    "filecoin",
    "Filecoin mainnet",
    FILECOIN_CHAIN_ID,
    "FIL",
    rpc_url="https://api.node.glif.io/rpc/v1",
    explorer="https://filecoin.blockscout.com",
    is_valuable=True,
)
ETHEREUM: Final = _ethereum(
    "ethereum",
    "Ethereum mainnet",
    1,
    rpc_url="https://ethereum-rpc.publicnode.com",
    explorer="https://eth.blockscout.com",
    is_valuable=True,
)
SEPOLIA: Final = _ethereum(
    "sepolia",
    "Ethereum's testnet Sepolia",
    11155111,
    rpc_url="https://ethereum-sepolia-rpc.publicnode.com",
    explorer="https://eth-sepolia.blockscout.com",
    faucet="https://cloud.google.com/application/web3/faucet/ethereum/sepolia",
)
BASE: Final = _ethereum(
    "base",
    "Base, a rollup on Ethereum",
    8453,
    block_seconds=2,
    finality_seconds=1_800,  # when its batch is final on Ethereum
    rpc_url="https://mainnet.base.org",
    explorer="https://base.blockscout.com",
    is_valuable=True,
)

NETWORKS: Final = (EMBEDDED, ANVIL, DEVNET, CALIBRATION, MAINNET, SEPOLIA, BASE, ETHEREUM)


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
    for network in NETWORKS:
        if network.chain_id == chain_id and network is not EMBEDDED:
            return network
    # Of a chain that nobody described, assume what errs on the safe side: it is slow, and its coin costs money.
    return _ethereum(f"chain-{chain_id}", f"chain {chain_id}", chain_id, is_valuable=True)


def connect(
    rpc_url: str,
    *,
    chain_id: int | None = None,
    timeout: float = REQUEST_TIMEOUT_SECONDS,
    patience: Patience | None = None,
) -> Web3:
    """A checked connection to an Ethereum JSON-RPC endpoint (http or https).

    ``chain_id`` is the chain that must answer, if given; ``timeout`` holds for one request, in seconds; ``patience``
    says for how long requests are tried again, once the node has answered for the first time.
    Raises :class:`NetworkError` (malformed URL, unreachable, no Ethereum RPC) or :class:`ChainMismatch`.
    """
    address = whole(rpc_url)
    parts = _parts(address)
    # web3 asks for the chain's id twice with every contract call. A connection is to one chain, so ask once.
    provider = PatientProvider(
        address,
        Patience(total=0),
        request_kwargs={"timeout": timeout},
        cache_allowed_requests=True,
        cacheable_requests={RPCEndpoint("eth_chainId")},
        request_cache_validation_threshold=None,
    )
    w3 = Web3(provider)
    try:
        actual = w3.eth.chain_id
    except BadAnswer:
        raise
    except (OSError, Web3Exception, ValueError, NetworkError) as error:
        filecoin = chain_id in _FILECOIN_CHAINS or parts.port == 1234 or "glif" in str(parts.hostname)
        cause = error.__cause__ or error
        raise NetworkError(
            f"no Ethereum RPC answers at {shown(address)} ({type(cause).__name__}); check the address"
            + (" and that it ends in /rpc/v1" if filecoin and "/rpc/" not in parts.path else "")
        ) from None
    provider.patience = patience or Patience()
    if chain_id is not None and actual != chain_id:
        raise ChainMismatch(f"{shown(address)} is chain {actual}, wanted {chain_id}; name the other endpoint")
    return w3


def _parts(rpc_url: str) -> SplitResult:
    """The parts of an http or https URL. Raises NetworkError for anything else."""
    try:
        parts = urlsplit(rpc_url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # a port or an IPv6 address that is none
        pass
    raise NetworkError(f"{shown(rpc_url)} is not an RPC address; write http://host:port or https://host/path")


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
