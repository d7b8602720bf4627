"""The integer LeNet in hand-written Solidity (`solidity/NaiveLeNet.sol`): built, deployed and run in revm.

The compiler is the one the contracts are built with (npm's `solc` behind contracts/tools/solc); what comes out is
used here and nowhere else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyrevm import EVM

from compiler_bench.contract import Program
from fedvm.compiler.graph import Dense, IntegerGraph
from fedvm.evm.creation import creation_code

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "benchmarks" / "solidity" / "NaiveLeNet.sol"
SOLC = REPOSITORY / "contracts" / "tools" / "solc"
SETTINGS = {
    "optimizer": {"enabled": True, "runs": 1_000_000},
    "evmVersion": "cancun",
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
    "outputSelection": {"*": {"*": ["evm.bytecode.object"]}},
}
PART_BYTES = 24_575
"""Bytes of a data contract after its first, STOP."""
SHAPES = ((6, 3, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84))
"""Of the weights the source is written for."""
DEPLOYER = "0x" + "11" * 20


class SolidityUnavailable(RuntimeError):
    """No Solidity compiler here; the message says how to get one."""


@dataclass(frozen=True)
class NaiveProgram:
    """The deployed comparison: its codes in revm and what creating all four contracts costs."""

    program: Program
    deploy_gas: int


def deploy_naive(graph: IntegerGraph) -> NaiveProgram:
    """Build the Solidity source and deploy it with the numbers of `graph`.

    Raises SolidityUnavailable, and ValueError if `graph` is not a LeNet with 8-bit inputs and weights.
    """
    blob = pack(graph)
    evm = EVM(spec_id="CANCUN", gas_limit=2**60)
    runtimes = [b"\0" + blob[start : start + PART_BYTES] for start in range(0, len(blob), PART_BYTES)]
    addresses, gas = [], 0
    for runtime in runtimes:
        address, spent = _create(evm, creation_code(runtime))
        addresses.append(address)
        gas += spent
    arguments = b"".join(bytes.fromhex(a.removeprefix("0x")).rjust(32, b"\0") for a in addresses)
    entry, spent = _create(evm, build() + arguments)
    codes = dict(zip(addresses, runtimes, strict=True))
    codes[entry] = bytes(evm.get_code(entry) or b"")
    return NaiveProgram(Program(codes, entry), gas + spent)


def _create(evm: EVM, code: bytes) -> tuple[str, int]:
    """(address, gas of the transaction) of a contract made by `code`."""
    address = evm.deploy(DEPLOYER, code)
    assert evm.result is not None
    return address, evm.result.gas_used


def build() -> bytes:
    """Creation code of the source, without constructor arguments."""
    if shutil.which("node") is None or not (REPOSITORY / "contracts" / "node_modules" / "solc").is_dir():
        raise SolidityUnavailable("no Solidity compiler: run `make contracts` once (npm ci in contracts/)")
    request = {
        "language": "Solidity",
        "sources": {SOURCE.name: {"content": SOURCE.read_text(encoding="utf-8")}},
        "settings": SETTINGS,
    }
    done = subprocess.run(
        [str(SOLC), "--standard-json"], input=json.dumps(request), capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise SolidityUnavailable(f"{SOLC.name} failed: {done.stderr.strip()}")
    answer = json.loads(done.stdout)
    errors = [e["formattedMessage"] for e in answer.get("errors", []) if e["severity"] == "error"]
    if errors:
        raise SolidityUnavailable("\n".join(errors))
    return bytes.fromhex(answer["contracts"][SOURCE.name]["NaiveLeNet"]["evm"]["bytecode"]["object"])


def pack(graph: IntegerGraph) -> bytes:
    """The numbers of the network in the order in which the source reads them."""
    weights, outputs, highs = b"", b"", b""
    if graph.input_shift or len(graph.layers) != len(SHAPES):
        raise ValueError("NaiveLeNet.sol is a LeNet with five layers and 8-bit inputs; this graph is not")
    for layer, shape in zip(graph.layers, SHAPES, strict=True):
        (term,) = layer.terms
        weight = np.asarray(term.weight, np.int64)
        pooled = layer.pool is not None and layer.pool.kernel == layer.pool.stride == (2, 2)
        if weight.shape != shape or isinstance(term, Dense) == pooled or np.abs(weight).max() > 127:
            raise ValueError(
                f"layer {layer.name!r} with weights {weight.shape} is not NaiveLeNet.sol's {shape}"
            )
        weights += weight.astype(np.int8).tobytes()
        for bias, shift in zip(layer.bias, layer.shift, strict=True):
            outputs += int(bias).to_bytes(4, "big", signed=True) + int(shift).to_bytes(1, "big")
        highs += bytes([layer.high or 0])
    return weights + outputs + highs
