"""The whitelist: emitted code may compute, read its input and call its own parts, and nothing else.

Code that passes is a function of its calldata alone: no storage, logs, balances, caller, block data or foreign code,
and the remaining gas is read only to be passed on completely. Opcode bytes follow the Yellow Paper, appendix H, with
EIP-145, EIP-211, EIP-3855 and EIP-5656.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fedvm.compiler.errors import CompileError
from fedvm.evm.opcodes import PUSH20, Instruction, immediate_bytes, sweep

ARITHMETIC = frozenset((*range(0x01, 0x0C), *range(0x10, 0x1E)))
INPUT_AND_OWN_CODE = frozenset((0x35, 0x36, 0x37, 0x38, 0x39))  # CALLDATA*, CODESIZE, CODECOPY
RETURN_DATA = frozenset((0x3D, 0x3E))
STACK_AND_MEMORY = frozenset((0x50, 0x51, 0x52, 0x53, 0x5E, *range(0x5F, 0xA0)))
CONTROL = frozenset(
    (0x00, 0x56, 0x57, 0x5B, 0xF3, 0xFD, 0xFE)
)  # STOP, JUMP(I), JUMPDEST, RETURN, REVERT, INVALID
ALLOWED = ARITHMETIC | INPUT_AND_OWN_CODE | RETURN_DATA | STACK_AND_MEMORY | CONTROL

STOP, GAS = 0x00, 0x5A
STATICCALL, DELEGATECALL = 0xFA, 0xF4
CALLS = (STATICCALL, DELEGATECALL)
EXTCODECOPY = 0x3C
UNLINKED = bytes(20)
"""What stands in place of a part's address before linking."""


def opcodes_of(code: bytes) -> Iterator[Instruction]:
    """The instructions of `code`, pushed bytes skipped. CompileError if the last push is cut off."""
    for instruction in sweep(code):
        width = immediate_bytes(instruction.code)
        if len(instruction.immediate) < width:
            raise CompileError(f"the code ends inside the PUSH{width} at byte {instruction.offset}")
        yield instruction


def scan(code: bytes, parts: Collection[bytes] | None = None) -> None:
    """Refuse code that is more than a function of its calldata.

    A call is allowed as `PUSH20 address, GAS, STATICCALL` (or DELEGATECALL) only: no jump can enter between the
    three, so the address is the one that stands in the code. Likewise data is read as `PUSH20 address, EXTCODECOPY`
    only, from a part whose code nobody can change. Code that begins with STOP is such data. parts: the 20-byte
    addresses it may be (None: any, for code whose parts have been checked by whoever linked it). CompileError names
    the first byte that breaks a rule.
    """
    if not code:
        raise CompileError("there is no code to scan")
    if code[0] == STOP:
        return  # a data contract: STOP ends a call at once, without a result
    ops = [Instruction(-1, 0), Instruction(-1, 0), *opcodes_of(code), Instruction(len(code), 0)]
    for before, previous, op, following in zip(ops, ops[1:], ops[2:], ops[3:], strict=False):
        if op.code in CALLS:
            if (before.code, previous.code) != (PUSH20, GAS):
                raise CompileError(f"byte {op.offset}: a call whose address is not pushed right before it")
            if parts is not None and before.immediate not in parts:
                raise CompileError(
                    f"byte {op.offset}: a call of 0x{before.immediate.hex()}, which is no part of the program"
                )
        elif op.code == EXTCODECOPY:
            if previous.code != PUSH20 or (parts is not None and previous.immediate not in parts):
                raise CompileError(f"byte {op.offset}: EXTCODECOPY of what is no part of the program")
        elif op.code == GAS:
            if previous.code != PUSH20 or following.code not in CALLS:
                raise CompileError(f"byte {op.offset}: GAS is read other than for a call of a part")
        elif op.code not in ALLOWED:
            raise CompileError(
                f"byte {op.offset}: opcode 0x{op.code:02x} is not on the whitelist of programs, which only "
                "compute on their calldata"
            )
