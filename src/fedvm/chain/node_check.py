"""What a node can do of what FedVM asks of one: found out by asking it, without sending anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from fedvm.chain.create2 import DEPLOYER
from fedvm.chain.errors import NetworkError
from fedvm.chain.networks import Network, network_of
from fedvm.chain.revert import explain
from fedvm.evm.limits import BLOCK_GAS_LIMIT

_NOBODY: Final = "0x00000000000000000000000000000000000fed00"
_ANSWER: Final = 42
_RETURNS_42: Final = "0x602a5f5260205ff3"
"""PUSH1 42, MSTORE at 0, RETURN of a word; with PUSH0 (EIP-3855)."""
_MODERN: Final = "0x5f5f5f5e5f5f5d5f5ff3"
"""MCOPY (EIP-5656), TSTORE (EIP-1153) and RETURN of nothing, as code that creates a contract."""
_RANGES: Final = (100_000, 10_000, 5_000, 2_880, 2_000, 1_000, 500, 100, 10)
_SAMPLE_BLOCKS: Final = 20
_STILL_SECONDS: Final = 300
Found = TypeVar("Found")


@dataclass(frozen=True)
class Capability:
    """One thing that was asked of a node. value: for programs, None if it cannot be had; found: for people; good:
    whether FedVM can work with it; needed: whether it must."""

    name: str
    value: Any
    found: str
    good: bool = True
    needed: bool = True


def examine_node(w3: Web3, network: Network | None = None) -> Iterator[Capability]:
    """Ask a node what FedVM will ask of it. Each answer is yielded as it comes; a question that a node refuses or fails
    is one that it cannot answer."""
    network = network or network_of(w3)
    yield _chain(w3, network)
    yield _software(w3)
    head, problem = _asked(lambda: _numbers(w3.eth.get_block("latest")))
    if head is None:
        yield Capability("head", None, f"no latest block: {problem}", good=False)
        return
    number, timestamp, limit = head
    yield _head(number, timestamp, network)
    yield _pace(w3, number, timestamp, network)
    yield _gas_limit(limit, network)
    yield _fees(w3, network)
    yield _finalized(w3, number, network)
    yield _logs(w3, number, network)
    yield _opcodes(w3)
    yield _overrides(w3)
    yield _tracing(w3)
    yield _deployer(w3)


def _numbers(block: Any) -> tuple[int, int, int]:
    return int(block["number"]), int(block["timestamp"]), int(block["gasLimit"])


def _asked(ask: Callable[[], Found]) -> tuple[Found | None, str]:
    """The answer, or why there is none."""
    try:
        return ask(), ""
    except Web3Exception as error:
        return None, explain(error)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, str(error) if isinstance(error, NetworkError) else type(error).__name__


def _chain(w3: Web3, network: Network) -> Capability:
    actual = int(w3.eth.chain_id)
    return Capability("chain", actual, f"{actual}, {network.title}", good=actual == network.chain_id)


def _software(w3: Web3) -> Capability:
    version, problem = _asked(lambda: w3.client_version)
    return Capability("software", version, version or f"not told: {problem}", needed=False)


def _head(number: int, timestamp: int, network: Network) -> Capability:
    age = int(time.time()) - timestamp
    allowed = max(_STILL_SECONDS, 20 * network.block_seconds)
    found = f"block {number:,}, {age} s old"
    if network.block_seconds and not -60 <= age <= allowed:
        found += ": the node is behind, or this clock is wrong; rounds end by the chain's time"
        return Capability("head", {"number": number, "age_seconds": age}, found, good=False)
    return Capability("head", {"number": number, "age_seconds": age}, found)


def _pace(w3: Web3, number: int, timestamp: int, network: Network) -> Capability:
    back = min(number, _SAMPLE_BLOCKS)
    before = None
    while back and before is None:  # an epoch may have no block
        earlier = number - back
        before, _ = _asked(partial(w3.eth.get_block, earlier))
        back -= before is None
    if not before or timestamp == int(before["timestamp"]):
        usual = f"{network.block_seconds:g} s usually" if network.block_seconds else "with transactions"
        return Capability("block time", None, f"not measured; {usual}", needed=False)
    seconds = (timestamp - int(before["timestamp"])) / back
    return Capability("block time", seconds, f"{seconds:.3g} s over the last {back} blocks", needed=False)


def _gas_limit(limit: int, network: Network) -> Capability:
    most = min(limit, network.transaction_gas)
    return Capability("gas limit", most, f"{most:,} for one transaction, {limit:,} for a block")


def _fees(w3: Web3, network: Network) -> Capability:
    history, problem = _asked(lambda: w3.eth.fee_history(_SAMPLE_BLOCKS, "latest", []))
    if history is None:
        return Capability("fees", None, f"no eth_feeHistory, by which fees are set: {problem}", good=False)
    base = [int(fee) for fee in history["baseFeePerGas"]]
    found = f"base fee {base[-1] / 1e9:.6g} nano{network.currency}, {max(base) / 1e9:.6g} at most lately"
    return Capability("fees", {"base_fee": base[-1], "highest": max(base)}, found)


def _finalized(w3: Web3, number: int, network: Network) -> Capability:
    block, problem = _asked(lambda: w3.eth.get_block("finalized"))
    if block is None:
        found = f"no finalized block ({problem}); {network.finality_seconds} s are waited for instead"
        return Capability("finality", None, found, good=False, needed=False)
    behind = number - int(block["number"])
    return Capability("finality", behind, f"{behind:,} blocks behind the head", needed=False)


def _logs(w3: Web3, number: int, network: Network) -> Capability:
    problem = ""
    for span in _RANGES:
        if span > number + 1 and span != _RANGES[-1]:
            continue
        first = max(number - span + 1, 0)
        query: Any = {"address": Web3.to_checksum_address(_NOBODY), "fromBlock": first, "toBlock": number}
        answer, problem = _asked(partial(w3.eth.get_logs, query))
        if answer is not None:
            taken = min(span, number + 1)
            small = network.log_range is not None and taken < min(network.log_range, number + 1)
            found = f"{taken:,} blocks of events in one answer"
            if small:
                found += (
                    f", though {network.title} is read {network.log_range:,} at a time: name another node"
                )
            return Capability("events", taken, found, good=not small)
    return Capability("events", None, f"events cannot be read: {problem}", good=False)


def _opcodes(w3: Web3) -> Capability:
    call: Any = {"data": _MODERN, "gas": 10**6}
    answer, problem = _asked(lambda: w3.eth.call(call))
    if answer is None:
        return Capability("opcodes", False, f"no PUSH0, MCOPY or TSTORE: {problem}", good=False)
    return Capability("opcodes", True, "PUSH0, MCOPY, TSTORE")


def _overrides(w3: Web3) -> Capability:
    at = Web3.to_checksum_address(_NOBODY)
    call: Any = {"to": at, "data": "0x", "gas": min(10**6, BLOCK_GAS_LIMIT)}
    state: Any = {at: {"code": _RETURNS_42}}
    answer, _ = _asked(lambda: w3.eth.call(call, "latest", state))
    works = answer is not None and int.from_bytes(bytes(answer)) == _ANSWER
    found = "eth_call takes another state" if works else "not in eth_call; nothing here needs them"
    return Capability("state overrides", works, found, needed=False)


def _tracing(w3: Web3) -> Capability:
    def trace() -> Any:
        call = {"to": _NOBODY, "data": "0x"}
        answer = w3.provider.make_request(RPCEndpoint("debug_traceCall"), [call, "latest", {}])
        return answer["result"]

    works = _asked(trace)[0] is not None
    return Capability(
        "tracing", works, "debug_traceCall" if works else "none; nothing here needs it", needed=False
    )


def _deployer(w3: Web3) -> Capability:
    code, _ = _asked(lambda: w3.eth.get_code(Web3.to_checksum_address(DEPLOYER)))
    there = bool(code)
    found = f"at {DEPLOYER}" if there else f"not at {DEPLOYER} yet; fedvm deploy puts it there"
    return Capability("CREATE2 deployer", there, found, needed=False)
