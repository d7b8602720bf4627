"""A compiled model: its program, exact reference and manifest; how to save, load and link it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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
from fedvm.evm.keccak import keccak
from fedvm.evm.program_abi import ABI as ABI
from fedvm.files import write_atomically
from fedvm.jsontext import parse_json


@dataclass(frozen=True)
class Unit:
    """One contract of a program: its runtime code with zeros where the addresses of parts go, and the offsets of these
    zeros."""

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
    """The linker's contracts as units of a compiled model."""
    return tuple(
        Unit(c.name, c.code, {symbol: tuple(at) for symbol, at in c.symbols.items()}) for c in contracts
    )


@dataclass(frozen=True)
class CompiledModel:
    """What `compile_model` returns.

    reference: the exact integer network as ONNX, from uint8 "input" `[N, *shape]` to int32 "scores".
    manifest: gas, hashes, sizes, options and quality, as plain data for JSON.
    units: the program's contracts: the parts in the order in which they are created, then the entry.
    listing: the disassembly.
    stages: if a call takes more than `max_gas`, the contracts of each stage, its parts and then its entry; else empty.
    """

    reference: onnx.ModelProto
    manifest: dict[str, Any]
    units: tuple[Unit, ...]
    listing: str = ""
    stages: tuple[tuple[Unit, ...], ...] = ()

    @property
    def codes(self) -> tuple[bytes, ...]:
        """Runtime codes of the units, not yet linked: the parts first, the entry last."""
        return tuple(unit.code for unit in self.units)

    @property
    def abi(self) -> list[dict[str, Any]]:
        return ABI

    def asm(self) -> str:
        """The disassembly with the compiler's comments."""
        return self.listing

    def quantize_input(self, x: NDArray[Any]) -> NDArray[np.uint8]:
        """The bytes, uint8 `[N, *shape]`, that stand for real inputs `[N, *shape]`; uint8 is returned unchanged.

        Raises:
            ValueError: another shape; values that are not numbers, NaN or infinite; or real numbers although the
                model takes bytes.
        """
        return quantize_input(self.manifest["input"], x)

    def real_scores(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """The real numbers that scores `[N, O]` stand for: what the ONNX file's output is before its head, in its shape
        `[N, *output shape]`.

        Raises:
            ValueError: another number of scores.
        """
        output = self.manifest["output"]
        tensor, order = output["tensor"], output["order"]
        if np.ndim(scores) != 2 or np.shape(scores)[1] != output["scores"]:
            raise ValueError(f"the scores are {list(np.shape(scores))}; give [N, {output['scores']}]")
        scale = np.broadcast_to(np.reshape(output["scale"], (-1, 1, 1)), tensor).transpose(order)
        return np.asarray(scores * scale.reshape(1, -1), np.float64).reshape(-1, *output["shape"])

    def link(self, parts: list[str] | tuple[str, ...]) -> tuple[bytes, ...]:
        """Runtime codes as they are on a chain where the parts have these addresses (hex), in the order of the units.

        Raises:
            CompileError: the address of a part is missing.
        """
        addresses = {unit.name: address for unit, address in zip(self.units, parts, strict=False)}
        return tuple(unit.linked(addresses) for unit in self.units)

    def save(self, directory: str | Path) -> None:
        """Write model.int.onnx, manifest.json, abi.json, program.asm and one .bin per contract, each atomically."""
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
        """Read what `save` wrote.

        Raises:
            CompileError: files are missing, do not match the manifest's hashes, or hold code with opcodes that
                programs may not use.
        """
        source = Path(directory)
        try:
            manifest = parse_json((source / "manifest.json").read_bytes())
            reference = (source / "model.int.onnx").read_bytes()
            units = _read_units(source, manifest["contracts"])
            stages = tuple(_read_units(source, stage["contracts"]) for stage in manifest.get("stages", ()))
            listing = (source / "program.asm").read_text()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CompileError(f"{source} holds no compiled model: {error}") from error
        if hashlib.sha256(reference).hexdigest() != manifest["reference_sha256"]:
            raise CompileError(f"{source / 'model.int.onnx'} is not the file the manifest names")
        return cls(onnx.load_model_from_string(reference), manifest, units, listing, stages)


def _read_units(source: Path, contracts: Any) -> tuple[Unit, ...]:
    """The contracts that a manifest lists, checked against its hashes and the whitelist of opcodes."""
    units = []
    for c in contracts:
        path = source / f"{c['name']}.bin"
        code = path.read_bytes()
        if "0x" + keccak(code).hex() != c["code_hash"]:
            raise CompileError(f"{path} is not the code the manifest names")
        scan(code, parts=(UNLINKED,))
        units.append(Unit(c["name"], code, {k: tuple(v) for k, v in c["links"].items()}))
    return tuple(units)
