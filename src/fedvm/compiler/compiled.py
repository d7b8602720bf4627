"""A compiled model: its program, its exact reference, its manifest; saving, loading, linking, deploying."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from fedvm.compiler.contract import Contract
from fedvm.compiler.errors import CompileError
from fedvm.compiler.input_range import quantize_input
from fedvm.compiler.scanner import UNLINKED, scan
from fedvm.evm.gas import CODE_BYTE_GAS, creation_intrinsic_gas
from fedvm.evm.keccak import keccak
from fedvm.evm.limits import CODE_LIMIT
from fedvm.files import write_atomically

ABI: list[dict[str, Any]] = [
    {
        "type": "function", "name": "predict", "stateMutability": "view",
        "inputs": [{"name": "input", "type": "bytes", "internalType": "bytes"}],
        "outputs": [{"name": "scores", "type": "int32[]", "internalType": "int32[]"}],
    },
    {
        "type": "function", "name": "classify", "stateMutability": "view",
        "inputs": [{"name": "input", "type": "bytes", "internalType": "bytes"}],
        "outputs": [{"name": "class", "type": "uint256", "internalType": "uint256"}],
    },
    {
        "type": "error", "name": "WrongInputLength",
        "inputs": [
            {"name": "expected", "type": "uint256", "internalType": "uint256"},
            {"name": "actual", "type": "uint256", "internalType": "uint256"},
        ],
    },
    {"type": "error", "name": "MalformedInput", "inputs": []},
    {"type": "error", "name": "PartFailed", "inputs": []},
    {"type": "error", "name": "UnknownFunction", "inputs": []},
]  # fmt: skip
"""ABI of every program."""


@dataclass(frozen=True)
class Unit:
    """One contract of a program: its runtime code with zeros where addresses of parts go, and those places."""

    name: str
    code: bytes
    symbols: Mapping[str, tuple[int, ...]]

    def linked(self, addresses: Mapping[str, str]) -> bytes:
        """Runtime code with the addresses (hex, by part name) filled in; CompileError if one is missing."""
        code = bytearray(self.code)
        for symbol, offsets in self.symbols.items():
            if symbol not in addresses:
                raise CompileError(f"{self.name} calls {symbol}, whose address is not given")
            for offset in offsets:
                code[offset : offset + 20] = bytes.fromhex(addresses[symbol].removeprefix("0x"))
        return bytes(code)


def units_of(contracts: Sequence[Contract]) -> tuple[Unit, ...]:
    """Linked contracts as a program holds them."""
    return tuple(
        Unit(c.name, c.code, {symbol: tuple(at) for symbol, at in c.symbols.items()}) for c in contracts
    )


@dataclass(frozen=True)
class Deployed:
    """Where a program lies: the entry's address, the parts' in order of creation, and what creating them cost."""

    address: str
    parts: tuple[str, ...]
    gas_used: int
    transactions: tuple[str, ...]


@dataclass(frozen=True)
class CompiledModel:
    """What `compile_model` returns.

    reference: the exact integer network as ONNX (uint8 "input" `[N, *shape]` → int32 "scores"); manifest: plain data
    for JSON; units: the parts in order of creation, then the entry; listing: the disassembly; stages: if a call takes
    more than `max_gas`, the contracts of each stage, again its parts and then its entry.
    """

    reference: onnx.ModelProto
    manifest: dict[str, Any]
    units: tuple[Unit, ...]
    listing: str = ""
    stages: tuple[tuple[Unit, ...], ...] = ()

    @property
    def codes(self) -> tuple[bytes, ...]:
        """Runtime codes, unlinked, parts first, entry last."""
        return tuple(unit.code for unit in self.units)

    @property
    def abi(self) -> list[dict[str, Any]]:
        return ABI

    def asm(self) -> str:
        """The disassembly with the compiler's comments."""
        return self.listing

    def quantize_input(self, x: NDArray[Any]) -> NDArray[np.uint8]:
        """Bytes for real inputs `[N, *shape]` of a float-input model (bytes pass as they are).

        ValueError for another shape, values that are no numbers, NaN or infinity.
        """
        return quantize_input(self.manifest["input"], x)

    def link(self, parts: list[str] | tuple[str, ...]) -> tuple[bytes, ...]:
        """Runtime codes as they stand on a chain where the parts have these addresses."""
        addresses = {unit.name: address for unit, address in zip(self.units, parts, strict=False)}
        return tuple(unit.linked(addresses) for unit in self.units)

    def deploy(
        self, w3: Any, sender: str, *, on_transaction: Callable[[int, int, str], None] | None = None
    ) -> Deployed:
        """Create the parts, then the entry, with plain creation transactions of `sender`.

        w3: a web3.Web3 that can send for `sender` (unlocked, or with signing middleware). Each receipt is awaited.
        on_transaction(done, total, address) is called after each. Raises CompileError if a creation fails or the
        code that lies at the address afterwards is not the code that was sent.
        """
        creation = _Creation(w3, sender, len(self.units), on_transaction)
        *parts, entry = [creation.create(unit) for unit in self.units]
        return Deployed(entry, tuple(parts), creation.gas, tuple(creation.hashes))

    def deploy_stages(
        self, w3: Any, sender: str, *, on_transaction: Callable[[int, int, str], None] | None = None
    ) -> DeployedStages:
        """Create the contracts of all stages; arguments and errors as for `deploy`.

        CompileError if there are no stages: the model fits one call, or was compiled without `max_gas`.
        """
        if not self.stages:
            raise CompileError(
                "the program has no stages: one call is within the limit, or it was compiled without max_gas"
            )
        creation = _Creation(w3, sender, sum(map(len, self.stages)), on_transaction)
        stages = []
        for units in self.stages:
            *parts, entry = [creation.create(unit) for unit in units]
            stages.append((entry, *parts))
        return DeployedStages(tuple(stages), creation.gas, tuple(creation.hashes))

    def save(self, directory: str | Path) -> None:
        """Write model.int.onnx, manifest.json, abi.json, program.asm and one .bin a contract, each atomically."""
        target = Path(directory)
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(target / "model.int.onnx", self.reference.SerializeToString(deterministic=True))
        write_atomically(target / "abi.json", json.dumps(ABI, indent=1) + "\n")
        write_atomically(target / "program.asm", self.listing)
        for unit in (*self.units, *(unit for stage in self.stages for unit in stage)):
            write_atomically(target / f"{unit.name}.bin", unit.code)
        write_atomically(target / "manifest.json", json.dumps(self.manifest, indent=1) + "\n")

    @classmethod
    def load(cls, directory: str | Path) -> CompiledModel:
        """Read what `save` wrote; CompileError if files are missing, do not have the manifest's hashes, or hold
        code that is not on the whitelist of programs."""
        source = Path(directory)
        try:
            manifest = json.loads((source / "manifest.json").read_bytes())
            reference = (source / "model.int.onnx").read_bytes()
            units = _read_units(source, manifest["contracts"])
            stages = tuple(_read_units(source, stage["contracts"]) for stage in manifest.get("stages", ()))
            listing = (source / "program.asm").read_text()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CompileError(f"{source} holds no compiled model: {error}") from error
        if hashlib.sha256(reference).hexdigest() != manifest["reference_sha256"]:
            raise CompileError(f"{source / 'model.int.onnx'} is not the file the manifest names")
        return cls(onnx.load_model_from_string(reference), manifest, units, listing, stages)


@dataclass(frozen=True)
class DeployedStages:
    """Where the stages of a program lie: for each the addresses of its entry, then of its parts; what creating them
    cost."""

    stages: tuple[tuple[str, ...], ...]
    gas_used: int
    transactions: tuple[str, ...]


class _Creation:
    """Creates contracts one after the other and links each to those before."""

    def __init__(
        self, w3: Any, sender: str, total: int, on_transaction: Callable[[int, int, str], None] | None
    ) -> None:
        self._w3, self._sender, self._total, self._report = w3, sender, total, on_transaction
        self._addresses: dict[str, str] = {}
        self.hashes: list[str] = []
        self.gas = 0

    def create(self, unit: Unit) -> str:
        """Address of the new contract. CompileError if it is not what was sent."""
        eth = self._w3.eth
        runtime = unit.linked(self._addresses)
        sent = eth.send_transaction({"from": self._sender, "data": "0x" + creation_code(runtime).hex()})
        receipt = eth.wait_for_transaction_receipt(sent, timeout=600)
        address = receipt["contractAddress"]
        if receipt["status"] != 1 or address is None:
            raise CompileError(f"creating {unit.name} failed in transaction {sent.hex()}")
        if bytes(eth.get_code(address)) != runtime:
            raise CompileError(f"the code at {address} is not the code of {unit.name} that was sent")
        self._addresses[unit.name] = address
        self.hashes.append("0x" + bytes(sent).hex())
        self.gas += receipt["gasUsed"]
        if self._report:
            self._report(len(self.hashes), self._total, address)
        return str(address)


def _read_units(source: Path, contracts: Any) -> tuple[Unit, ...]:
    """The contracts that a manifest lists, checked against it and against the whitelist."""
    units = []
    for c in contracts:
        path = source / f"{c['name']}.bin"
        code = path.read_bytes()
        if "0x" + keccak(code).hex() != c["code_hash"]:
            raise CompileError(f"{path} is not the code the manifest names")
        scan(code, parts=(UNLINKED,))
        units.append(Unit(c["name"], code, {k: tuple(v) for k, v in c["links"].items()}))
    return tuple(units)


def creation_code(runtime: bytes) -> bytes:
    """Init code that returns `runtime`."""
    if len(runtime) > CODE_LIMIT:
        raise CompileError(f"{len(runtime)} bytes of code, a contract may have {CODE_LIMIT}")
    # PUSH2 size DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN
    head = b"\x61" + len(runtime).to_bytes(2, "big") + b"\x80\x60\x0a\x5f\x39\x5f\xf3"
    return head + runtime


def creation_gas(runtime: bytes) -> int:
    """Gas of the transaction that creates `runtime`: intrinsic (EIP-2028, EIP-3860), init code, 200 a byte."""
    init = creation_code(runtime)
    copied = -(-len(runtime) // 32)
    execution = 3 + 3 + 3 + 2 + 3 + 3 * copied + 2 + 3 * copied + copied * copied // 512
    return creation_intrinsic_gas(init) + execution + CODE_BYTE_GAS * len(runtime)
