"""Pure programs handed to revm: same output, same gas, same warm addresses as in py-evm."""

from __future__ import annotations

from typing import Any

import pytest
from handmade import DOUBLER, init_code, program
from web3.exceptions import ContractCustomError

from fedvm.chain.deploy import deploy_code
from fedvm.chain.sender import Sender
from fedvm.devnet import vm
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.devnet.native import MIN_CODE_BYTES, is_pure, run_natively
from fedvm.evm.calls import PREDICT, encode_call

PADDING = b"\x00" * MIN_CODE_BYTES


def forwarder(program_address: str, part: str) -> bytes:
    """Static-calls the program twice with its own calldata, then reads the balance of the part."""
    call = "366000600037" + "60006000366000" + "73" + program_address[2:] + "5afa50"
    return bytes.fromhex(call * 2 + "73" + part[2:] + "31" + "50" + "3d600060003e" + "3d6000f3")


@pytest.fixture
def parts(chain: EmbeddedChain) -> tuple[str, str]:
    part = create(chain, DOUBLER)
    return create(chain, program(part) + PADDING), part


def create(chain: EmbeddedChain, runtime: bytes) -> str:
    made = deploy_code(Sender(chain.w3), chain.account("owner"), init_code(runtime), action="test contract")
    assert made.contract_address is not None
    return made.contract_address


class Watch:
    """Counts messages that were handed over, or hands none over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.handed_over = 0
        self.enabled = True
        monkeypatch.setattr(vm, "run_natively", self)

    def __call__(self, state: Any, message: Any) -> Any:
        outcome = run_natively(state, message) if self.enabled else None
        self.handed_over += outcome is not None
        return outcome


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def gas_both_ways(chain: EmbeddedChain, watch: Watch, to: str, data: bytes) -> tuple[int, int]:
    sender, user = Sender(chain.w3), chain.account("user")
    used = []
    for enabled in (True, False):
        watch.enabled = enabled
        used.append(sender.send(user, {"to": to, "data": data, "gas": 10**6}).gas_used)
    watch.enabled = True
    return used[0], used[1]


@pytest.mark.parametrize("data", [b"\x01", b"\x00\x00", bytes(range(256)) * 3])
def test_direct_calls_cost_the_same(
    chain: EmbeddedChain, watch: Watch, parts: tuple[str, str], data: bytes
) -> None:
    calldata = encode_call(PREDICT, data)
    native, slow = gas_both_ways(chain, watch, parts[0], calldata)
    assert native == slow
    assert watch.handed_over == 1
    outputs = []
    for enabled in (True, False):
        watch.enabled = enabled
        outputs.append(chain.w3.eth.call({"to": parts[0], "data": calldata}))
    assert outputs[0] == outputs[1] != b""


def test_warm_addresses_go_in_and_come_out(
    chain: EmbeddedChain, watch: Watch, parts: tuple[str, str]
) -> None:
    through = create(chain, forwarder(*parts))
    native, slow = gas_both_ways(chain, watch, through, encode_call(PREDICT, b"\x05"))
    assert native == slow
    assert watch.handed_over == 2


def test_failures_are_py_evms(chain: EmbeddedChain, watch: Watch, parts: tuple[str, str]) -> None:
    empty = encode_call(PREDICT, b"")
    with pytest.raises(ContractCustomError) as raised:
        chain.w3.eth.call({"to": parts[0], "data": empty})
    assert raised.value.data == "0xdeadbeef"
    through = create(chain, forwarder(*parts))
    native, slow = gas_both_ways(chain, watch, through, empty)
    assert native == slow
    assert watch.handed_over == 0


def test_too_little_gas_fails_alike(chain: EmbeddedChain, watch: Watch, parts: tuple[str, str]) -> None:
    calldata = encode_call(PREDICT, b"\x05")
    results = []
    for enabled in (True, False):
        watch.enabled = enabled
        for gas in range(24_300, 24_700, 20):
            tx_hash = chain.w3.eth.send_transaction(
                {"from": chain.account("user").address, "to": parts[0], "data": calldata, "gas": gas}
            )
            receipt = chain.w3.eth.get_transaction_receipt(tx_hash)
            results.append((receipt["status"], receipt["gasUsed"]))
    half = len(results) // 2
    assert results[:half] == results[half:]
    assert {status for status, _ in results} == {0, 1}


@pytest.mark.parametrize("name, opcode", [
    ("SLOAD", 0x54), ("SSTORE", 0x55), ("TLOAD", 0x5C), ("CALLER", 0x33), ("ORIGIN", 0x32), ("ADDRESS", 0x30),
    ("CALLVALUE", 0x34), ("TIMESTAMP", 0x42), ("NUMBER", 0x43), ("BALANCE", 0x31), ("SELFBALANCE", 0x47),
    ("GASPRICE", 0x3A), ("BLOCKHASH", 0x40), ("CHAINID", 0x46), ("LOG0", 0xA0), ("CREATE", 0xF0),
    ("CALL", 0xF1),
    ("CREATE2", 0xF5), ("SELFDESTRUCT", 0xFF), ("EXTCODEHASH", 0x3F), ("an unassigned one", 0x0C),
])  # fmt: skip
def test_what_depends_on_more_than_code_and_input_is_not_pure(name: str, opcode: int) -> None:
    assert not is_pure(bytes([0x60, 0x00, opcode])), name
    assert is_pure(bytes([0x60, opcode]))  # as an immediate it is a number
    assert is_pure(bytes([0x00, opcode]))  # behind STOP it is data


def test_a_program_that_reads_storage_or_time_is_left_to_py_evm(chain: EmbeddedChain, watch: Watch) -> None:
    clock = create(chain, bytes.fromhex("4260005260206000f3") + PADDING)
    assert int.from_bytes(chain.w3.eth.call({"to": clock}), "big") > 1_700_000_000
    # An impure part makes the whole impure.
    impure_part = create(chain, bytes.fromhex("60005450") + DOUBLER)
    entry = create(chain, program(impure_part) + PADDING)
    assert chain.w3.eth.call({"to": entry, "data": encode_call(PREDICT, b"\x04")})[64:96][-1] == 8
    assert watch.handed_over == 0


def test_an_address_from_calldata_is_left_to_py_evm(
    chain: EmbeddedChain, watch: Watch, parts: tuple[str, str]
) -> None:
    """The code does not name what it calls, so nothing is known of it beforehand."""
    runtime = bytes.fromhex("6020600060206000" + "600035" + "5afa50" + "60206000f3") + PADDING
    indirect = create(chain, runtime)
    native, slow = gas_both_ways(chain, watch, indirect, bytes(12) + bytes.fromhex(parts[1][2:]))
    assert native == slow
    assert watch.handed_over == 0
