"""Only code that is a function of its calldata passes the scanner."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedvm.compiler.assembler import disassemble
from fedvm.compiler.errors import CompileError
from fedvm.compiler.scanner import ALLOWED, opcodes_of, scan
from fedvm.evm.opcodes import BY_BYTE

PART = bytes(range(1, 21))
CALL = b"\x73" + PART + b"\x5a\xfa"  # PUSH20 GAS STATICCALL
ARGUMENTS = b"\x5f\x5f\x5f\x5f"

FORBIDDEN = {
    "KECCAK256": 0x20, "ADDRESS": 0x30, "BALANCE": 0x31, "ORIGIN": 0x32, "CALLER": 0x33, "CALLVALUE": 0x34,
    "GASPRICE": 0x3A, "EXTCODESIZE": 0x3B, "EXTCODEHASH": 0x3F, "BLOCKHASH": 0x40,
    "COINBASE": 0x41, "TIMESTAMP": 0x42, "NUMBER": 0x43, "PREVRANDAO": 0x44, "GASLIMIT": 0x45, "CHAINID": 0x46,
    "SELFBALANCE": 0x47, "BASEFEE": 0x48, "BLOBHASH": 0x49, "BLOBBASEFEE": 0x4A, "SLOAD": 0x54, "SSTORE": 0x55,
    "TLOAD": 0x5C, "TSTORE": 0x5D, "LOG0": 0xA0, "LOG4": 0xA4, "CREATE": 0xF0, "CALL": 0xF1, "CALLCODE": 0xF2,
    "CREATE2": 0xF5, "SELFDESTRUCT": 0xFF,
}  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN)
def test_refuses(name):
    code = b"\x60\x00" * 7 + bytes([FORBIDDEN[name], 0x00])
    with pytest.raises(CompileError, match="byte 14: opcode 0x"):
        scan(code)
    scan(b"\x60" + bytes([FORBIDDEN[name]]) + b"\x00")  # the same byte, pushed, is a number


def test_unassigned_opcodes_are_refused():
    for byte in range(256):
        if byte not in ALLOWED and byte not in (0x5A, 0xFA, 0xF4, 0x3C):
            with pytest.raises(CompileError):
                scan(bytes([byte]))


def test_calls_of_parts_pass():
    for call in (b"\xfa", b"\xf4"):
        scan(ARGUMENTS + CALL[:-1] + call, parts=[PART])
        scan(ARGUMENTS + CALL[:-1] + call)


def test_data_of_parts_passes_and_other_data_does_not():
    read = ARGUMENTS[:3] + b"\x73" + PART + b"\x3c"  # PUSH20 EXTCODECOPY
    scan(read, parts=[PART])
    scan(read)
    with pytest.raises(CompileError, match="no part of the program"):
        scan(read, parts=[bytes(20)])
    with pytest.raises(CompileError, match="no part of the program"):
        scan(ARGUMENTS + b"\x5f\x35\x3c")  # the address comes from calldata


def test_call_of_another_contract_is_refused():
    with pytest.raises(CompileError, match="no part of the program"):
        scan(ARGUMENTS + CALL, parts=[bytes(20)])


@pytest.mark.parametrize(
    "code",
    [
        ARGUMENTS + b"\x5f\x35\x5a\xfa",  # the address comes from calldata
        ARGUMENTS + b"\x73" + PART + b"\x5b\x5a\xfa",  # a jump can bring another address
        ARGUMENTS + b"\x73" + PART + b"\x5a\x5b\xfa",
        ARGUMENTS + b"\x73" + PART + b"\x62\x01\x02\x03\xfa",  # fixed gas
        ARGUMENTS + b"\x72" + PART[:-1] + b"\x5a\xfa",
        b"\xfa",
        b"\x5a\xfa",
    ],
)
def test_calls_of_other_forms_are_refused(code):
    with pytest.raises(CompileError, match=r"pushed right before|GAS is read"):
        scan(code)


def test_data_is_read_from_parts_only():
    read = b"\x60\x20\x5f\x5f\x73" + PART + b"\x3c"
    scan(read, parts=[PART])
    scan(b"\x00\x55\xf1\xff")  # data itself
    for code in (read, b"\x60\x20\x5f\x5f\x5f\x35\x3c"):
        with pytest.raises(CompileError, match="EXTCODECOPY of what is no part"):
            scan(code, parts=[bytes(20)])


def test_gas_is_no_input():
    for code in (b"\x5a\x00", b"\x73" + PART + b"\x5a\x50", b"\x73" + PART + b"\x5a"):
        with pytest.raises(CompileError, match="GAS is read"):
            scan(code)


def test_cut_off_push_is_refused():
    for width in range(1, 33):
        scan(bytes([0x5F + width]) + bytes(width))
        with pytest.raises(CompileError, match="ends inside"):
            scan(bytes([0x5F + width]) + bytes(width - 1))


def test_no_code_is_refused():
    with pytest.raises(CompileError, match="no code"):
        scan(b"")


@given(st.lists(st.sampled_from(sorted(BY_BYTE)), max_size=40), st.randoms())
def test_walks_as_the_disassembler_does(opcodes, random):
    code = b"".join(bytes([op]) + random.randbytes(op - 0x5F if 0x60 <= op <= 0x7F else 0) for op in opcodes)
    assert [(o.offset, BY_BYTE[o.code].name, o.immediate) for o in opcodes_of(code)] == disassemble(code)
