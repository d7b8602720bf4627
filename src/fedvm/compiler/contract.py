"""One assembled contract of a program: its code, the offsets of addresses, and the cost of running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedvm.compiler.assembler import Assembler, Section
from fedvm.compiler.errors import CompileError
from fedvm.compiler.view import WORD_BYTES
from fedvm.evm.gas import COLD_ACCOUNT_GAS, memory_filecoin, memory_gas
from fedvm.evm.limits import CODE_LIMIT


@dataclass(frozen=True)
class Contract:
    """One contract of the program. symbols: where in the code the addresses of parts go."""

    name: str
    code: bytes
    symbols: Mapping[str, list[int]]
    sections: Mapping[str, Section]
    memory_bytes: int
    listing: str

    @property
    def gas(self) -> int:
        """Gas of its opcodes and memory, without calls of other contracts."""
        return sum(s.gas for s in self.sections.values()) + memory_gas(self.memory_bytes // WORD_BYTES)

    @property
    def filecoin(self) -> float:
        """Filecoin gas of its opcodes, memory and scan, and of starting the calls of other contracts."""
        return sum(s.filecoin for s in self.sections.values()) + memory_filecoin(self.memory_bytes)

    def linked(self, addresses: Mapping[str, bytes]) -> bytes:
        """The code with the parts' 20-byte addresses filled in."""
        code = bytearray(self.code)
        for symbol, offsets in self.symbols.items():
            for offset in offsets:
                code[offset : offset + 20] = addresses[symbol]
        return bytes(code)


def assembled(name: str, a: Assembler, memory_bytes: int) -> Contract:
    """The contract that `a` holds. memory_bytes: how far it grows its memory."""
    code, symbols = a.assemble()
    return Contract(name, code, symbols, a.sections, memory_bytes, a.listing())


@dataclass(frozen=True)
class Linked:
    """An entry contract with all that it calls and reads: parts in order of creation, then the entry.

    gas: execution gas of one call (everything but the 21,000 and the calldata of a transaction); filecoin: the same
    estimated in Filecoin gas.
    """

    parts: tuple[Contract, ...]
    entry: Contract

    @property
    def contracts(self) -> tuple[Contract, ...]:
        return (*self.parts, self.entry)

    @property
    def gas(self) -> int:
        return self.entry.gas + sum(p.gas + COLD_ACCOUNT_GAS for p in self.parts)

    @property
    def need(self) -> int:
        """Gas that the entry must be given, which is more than it uses: a call can pass on at most 63/64 of the gas
        left (EIP-150)."""
        return self.gas + -(-max((p.gas for p in self.parts), default=0) // 63)

    @property
    def filecoin(self) -> int:
        return round(sum(c.filecoin for c in self.contracts))

    def require_sizes(self) -> None:
        """Raise CompileError if a contract is larger than a chain allows."""
        for contract in self.contracts:
            if len(contract.code) > CODE_LIMIT:
                raise CompileError(
                    f"contract {contract.name} has {len(contract.code)} bytes, the limit is {CODE_LIMIT}"
                )
