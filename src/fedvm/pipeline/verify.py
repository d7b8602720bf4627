"""Whether the code at an address is a model: it is compiled again, and held against the chain contract by contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from web3 import Web3

from fedvm.audit.errors import RecipeError
from fedvm.audit.recipe import calibration_images, read_recipe
from fedvm.chain.create2 import DEPLOYER
from fedvm.chain.deployer import Deployer
from fedvm.chain.errors import CallFailed, DeploymentError
from fedvm.chain.genuine import service_deviations
from fedvm.chain.model_service import ModelService
from fedvm.chain.program import program_addresses
from fedvm.chain.sender import Sender
from fedvm.compiler import CompiledModel, compile_model
from fedvm.compiler.frontend.bundle import self_contained
from fedvm.evm.keccak import keccak
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.onnx_model import Request, prepare
from fedvm.store import DEFAULT_STORES, Store, StoreError, open_store


@dataclass(frozen=True)
class VerifiedContract:
    """A contract of the program: its name in the compiled model, its address, and what is wrong with it, "" if it is
    the model's."""

    name: str
    address: str
    problem: str


@dataclass(frozen=True)
class Verified:
    """What was found at an address. version: that it was looked up by, 0 for a program's own address; contracts: in the
    order in which a program is created, the entry last; problems: of the service."""

    address: str
    version: int
    contracts: tuple[VerifiedContract, ...]
    problems: tuple[str, ...] = ()

    @property
    def first_difference(self) -> VerifiedContract | None:
        """The first contract that is not the model's; None if all are."""
        return next((one for one in self.contracts if one.problem), None)

    @property
    def holds(self) -> bool:
        """Whether the code there is the model."""
        return self.first_difference is None and not self.problems


def compiled_again(request: Request, store: Store | None = None) -> CompiledModel:
    """The program of the request's file: by the file's own recipe where it has one and the inputs that it names are
    found (in the store, or the one beside the file), else as the request says.

    Raises as `prepare`.
    """
    onnx = self_contained(request.model)
    try:
        recipe = read_recipe(onnx)
        inputs = calibration_images(store or open_store(DEFAULT_STORES, request.model.parent), recipe)
    except (RecipeError, StoreError):
        return prepare(request).compiled
    return compile_model(onnx, inputs, **recipe.arguments(), verify=False, min_agreement=0, min_correlation=0)


def verify_model(
    w3: Web3, address: str, compiled: CompiledModel, *, version: int | None = None, first_block: int = 0
) -> Verified:
    """Hold the code at an address (checksummed) against a compiled model.

    address: of a ModelService, whose version is looked at (the one that serves unless given), or of the entry contract
    of a program that was created through the common deployer. first_block: at or before the creation of the service.

    Raises:
        DeploymentError: there is no code.
        UsageError: the service has no such version.
    """
    if not w3.eth.get_code(Web3.to_checksum_address(address)):
        raise DeploymentError(
            f"no code is at {address} on chain {w3.eth.chain_id}: check address and network"
        )
    service = ModelService(w3, address)
    try:
        count, serving = service.version_count(), service.current_version()
    except CallFailed:
        return _program(w3, address, compiled)
    number = version or serving
    if not 1 <= number <= count:
        raise UsageError(f"{address} has {count} versions, and {number or 'none'} is asked for or serves")
    entry, *parts = (part.account for part in service.version(number).parts)
    problems = tuple(service_deviations(w3, address, first_block=first_block))
    return Verified(address, number, _compared(w3, compiled, [*parts, entry]), problems)


def _program(w3: Web3, entry: str, compiled: CompiledModel) -> Verified:
    """A program by its entry alone: where its parts are follows from the model, if the common deployer made them."""
    planned = program_addresses(Deployer(Sender(w3), DEPLOYER), compiled.units)
    *_, expected = (address for address, _ in planned.values())
    if expected != entry:
        name = compiled.units[-1].name
        text = (
            f"the model's entry contract would be at {expected}, had the common deployer created it; name the "
            "ModelService that serves the program instead"
        )
        return Verified(entry, 0, (VerifiedContract(name, entry, text),))
    return Verified(entry, 0, _compared(w3, compiled, [address for address, _ in planned.values()]))


def _compared(w3: Web3, compiled: CompiledModel, addresses: Sequence[str]) -> tuple[VerifiedContract, ...]:
    """Each contract, in the order of creation."""
    if len(addresses) != len(compiled.units):
        last = addresses[-1]
        text = f"{len(addresses)} contracts are registered, the model has {len(compiled.units)}"
        return (VerifiedContract(compiled.units[-1].name, last, text),)
    linked = compiled.link(list(addresses[:-1]))
    found = []
    for unit, address, expected in zip(compiled.units, addresses, linked, strict=True):
        code = bytes(w3.eth.get_code(Web3.to_checksum_address(address)))
        found.append(VerifiedContract(unit.name, address, _difference(code, expected)))
    return tuple(found)


def _difference(code: bytes, expected: bytes) -> str:
    """How code differs from what is expected, "" if it does not."""
    if code == expected:
        return ""
    if not code:
        return "no code is there"
    shared = next((at for at, (a, b) in enumerate(zip(code, expected, strict=False)) if a != b), None)
    where = "one ends where the other goes on" if shared is None else f"they differ from byte {shared:,} on"
    return (
        f"{len(code):,} bytes with hash 0x{keccak(code).hex()[:16]}…, the model's are {len(expected):,} with hash "
        f"0x{keccak(expected).hex()[:16]}…; {where}"
    )
