"""What deploying a model will take, step by step, before anything is sent; and a try of it that sends nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from requests.exceptions import RequestException
from web3 import Web3
from web3.exceptions import Web3Exception

from fedvm.chain.artifacts import MODEL_SERVICE, load_artifact
from fedvm.chain.costs import PlannedStep, Step, creation
from fedvm.chain.deployer import RUNTIME, Deployer
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.model_service import ProgramPart, service_code
from fedvm.chain.program import program_addresses
from fedvm.chain.revert import explain, revert_data
from fedvm.chain.sender import Sender
from fedvm.chain.unsent import UnsentTransaction, unsent, unsent_of
from fedvm.evm.creation import creation_code
from fedvm.evm.keccak import keccak
from fedvm.pipeline.answer_gas import serving_gas
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.onnx_model import Prepared
from fedvm.pipeline.placing import Deployable
from fedvm.pipeline.serve import SCANNED_AT_ONCE, service_salt, version_of

_REGISTER_EVM, _PART_EVM, _BYTE_EVM = 300_000, 80_000, 32
"""Measured: registering takes 25 to 38 gas for a byte of code and 80,000 for a part, which it scans."""
_REGISTER_FILECOIN, _BYTE_FILECOIN = 20_000_000, 5_900
"""Measured on actors v18: 927 M for a program of 158 KB."""


@dataclass(frozen=True)
class _Creation:
    title: str
    address: str
    init_code: bytes
    runtime_bytes: int
    salt: bytes


def plan_deployment(
    prepared: Prepared, w3: Web3, owner: str, *, simulate: bool = False
) -> tuple[PlannedStep, ...]:
    """The steps for an owner (hex address), in order.

    simulate: run every creation by `eth_call`, and raise TransactionFailed where one would fail. The registration
    depends on what is created before it, so its gas is computed, not asked for.
    """
    sender = Sender(w3)
    deployer, steps = Deployer.find(sender, owner), []
    if deployer is None:
        steps.append(PlannedStep(creation("CREATE2 deployer", [len(RUNTIME)])))
    found = deployer or Deployer(sender, "0x" + "00" * 20)
    for one in _creations(prepared, found, w3, owner):
        done = deployer is not None and bool(w3.eth.get_code(Web3.to_checksum_address(one.address)))
        size = one.runtime_bytes
        step = creation(one.title, [size], init_bytes=len(one.init_code) - size)
        planned = PlannedStep(step, done=done)
        if deployer is not None:
            planned = replace(planned, address=one.address)
            if not done:
                planned = replace(planned, estimate=_asked(deployer, one, owner, simulate=simulate))
        steps.append(planned)
    units = prepared.compiled.units
    code_bytes = sum(len(unit.code) for unit in units)
    register = Step(
        "register the version",
        _REGISTER_EVM + _PART_EVM * len(units) + _BYTE_EVM * code_bytes,
        _REGISTER_FILECOIN + _BYTE_FILECOIN * code_bytes,
    )
    return (*steps, PlannedStep(register))


@dataclass(frozen=True)
class UnsignedDeployment:
    """Transactions for a wallet to send in this order, and what is where afterwards (checksummed addresses). program:
    the entry first."""

    transactions: tuple[UnsentTransaction, ...]
    service: str
    program: tuple[str, ...]


def unsigned_deployment(prepared: Prepared, w3: Web3, owner: str) -> UnsignedDeployment:
    """The transactions by which a wallet (hex address) deploys a model and owns its service. What is on the chain
    already is left out.

    Raises:
        UsageError: the chain has no common CREATE2 deployer, without which no address is known beforehand.
    """
    sender, chain_id = Sender(w3), int(w3.eth.chain_id)
    deployer = Deployer.find(sender, owner)
    if deployer is None:
        raise UsageError(
            f"the CREATE2 deployer is not on {sender.network.title}: have an account deploy something with fedvm "
            "deploy first, which puts it there"
        )
    transactions = []
    for one in _creations(prepared, deployer, w3, owner):
        if not w3.eth.get_code(Web3.to_checksum_address(one.address)):
            call: Any = deployer.call(one.init_code, one.salt)
            transactions.append(unsent_of(chain_id, call, f"creating {one.title}"))
    service = one.address  # the last one
    planned = program_addresses(deployer, prepared.compiled.units).values()
    *parts, entry = (ProgramPart(address, keccak(code)) for address, code in planned)
    gas = serving_gas(prepared.compiled.manifest["gas"], sender.network, None, tried=False)
    cid = Deployable.of(prepared).onnx_cid.binary
    lineage = prepared.federated.lineage if prepared.federated else None
    version = version_of(prepared.compiled, (entry, *parts), gas, cid, lineage)
    register = w3.eth.contract(
        address=Web3.to_checksum_address(service), abi=load_artifact(MODEL_SERVICE).abi
    )
    if sum(len(unit.code) for unit in prepared.compiled.units) > SCANNED_AT_ONCE:
        pinned = [(part.account, part.code_hash) for part in version.parts]
        transactions += [unsent(register, "scanPart", pinned, index) for index in range(len(pinned))]
    transactions.append(unsent(register, "register", version.as_tuple()))
    return UnsignedDeployment(tuple(transactions), service, tuple(part.account for part in version.parts))


def _creations(prepared: Prepared, deployer: Deployer, w3: Web3, owner: str) -> list[_Creation]:
    made = [
        _Creation(f"contract {name}", address, creation_code(runtime), len(runtime), bytes(32))
        for name, (address, runtime) in program_addresses(deployer, prepared.compiled.units).items()
    ]
    salt = service_salt(Deployable.of(prepared).onnx_cid.binary)
    code = service_code(w3, Web3.to_checksum_address(owner), None)
    address = deployer.address_of(code, salt)
    size = len(load_artifact(MODEL_SERVICE).runtime_code)
    return [*made, _Creation("ModelService", address, code, size, salt)]


def _asked(deployer: Deployer, one: _Creation, owner: str, *, simulate: bool) -> int | None:
    call: Any = {"from": Web3.to_checksum_address(owner), **deployer.call(one.init_code, one.salt)}
    w3 = deployer.sender.w3
    try:
        if simulate:
            answer = bytes(w3.eth.call(call))
            if answer != bytes.fromhex(one.address[2:]):
                raise TransactionFailed(f"creating {one.title}", "the deployer answers with another address")
        return int(w3.eth.estimate_gas(call))
    except (Web3Exception, RequestException, ValueError) as error:
        if simulate and isinstance(error, Web3Exception):
            raise TransactionFailed(
                f"creating {one.title}", explain(error), data=revert_data(error)
            ) from error
        return None
