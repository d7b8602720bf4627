"""Creating a contract whose runtime code is known."""

from __future__ import annotations

from fedvm.evm.gas import CODE_BYTE_GAS, creation_intrinsic_gas
from fedvm.evm.limits import CODE_LIMIT


def creation_code(runtime: bytes) -> bytes:
    """Init code that returns `runtime`. Raises ValueError for more code than a contract may have."""
    if len(runtime) > CODE_LIMIT:
        raise ValueError(f"{len(runtime)} bytes of code, a contract may have {CODE_LIMIT}")
    # PUSH2 size DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN
    head = b"\x61" + len(runtime).to_bytes(2, "big") + b"\x80\x60\x0a\x5f\x39\x5f\xf3"
    return head + runtime


def creation_gas(runtime: bytes) -> int:
    """Gas of the transaction that creates `runtime`: intrinsic (EIP-2028, EIP-3860), init code, 200 a byte."""
    init = creation_code(runtime)
    copied = -(-len(runtime) // 32)
    execution = 3 + 3 + 3 + 2 + 3 + 3 * copied + 2 + 3 * copied + copied * copied // 512
    return creation_intrinsic_gas(init) + execution + CODE_BYTE_GAS * len(runtime)
