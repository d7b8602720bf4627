"""Whether a federation, or a model service, is what this package's contracts make: code, address, sidecars.

The code of a clone says nothing of what is stored in it: init code of one's own can store a false court and leave the
code of a true clone behind. Addresses can say it. The address that CREATE2 gives is the hash of who deploys, of the
init code, and of a salt; so a federation at the address of a true clone's init code, of true implementations, began
empty, and could be initialised by its factory alone, once. What the factory initialised it with can be read, all of it.
So not even the factory need be trusted.

A model service is created by a transaction of its own, or through a CREATE2 deployer; either holds the init code that
ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hexbytes import HexBytes
from web3 import Web3

from fedvm.chain.artifacts import (
    DIRECT_SUBMISSIONS,
    DISPUTES,
    EPOCHS,
    FEDERATION,
    MODEL_SERVICE,
    ROLLUPS,
    RULE_BOOK,
    SEALED_COURT,
    SEALED_DISPUTES,
    SEALED_ROUNDS,
    contract_at,
    load_artifact,
)
from fedvm.chain.call import read
from fedvm.chain.create2 import clone_address, clone_code, cloned_by, create2_address
from fedvm.chain.errors import CallFailed, DeploymentError
from fedvm.chain.events import EventReader
from fedvm.chain.factory import implementation_address
from fedvm.chain.federation_types import rules_of, security_of
from fedvm.chain.networks import network_of
from fedvm.protocol import EncodingError, Rules, Security
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.sealed.rules import SealedRules

_OPEN_SIDECARS: Final = {
    DISPUTES: "disputes",
    ROLLUPS: "rollups",
    RULE_BOOK: "ruleBook",
    DIRECT_SUBMISSIONS: "directSubmissions",
}
"""The view of the federation that tells where its sidecar is."""
_SEALED_SIDECARS: Final = {
    SEALED_DISPUTES: "disputes",
    SEALED_ROUNDS: "rollups",
    RULE_BOOK: "ruleBook",
    EPOCHS: "directSubmissions",
}
"""The same of a federation whose rounds are sealed."""


def require_genuine(w3: Web3, federation: str) -> None:
    """Raise DeploymentError, saying what is wrong, unless the federation is one of this package's contracts."""
    for deviation in deviations(w3, federation):
        raise DeploymentError(f"{deviation}: sign nothing for it, and deposit nothing")


def deviations(w3: Web3, federation: str) -> Iterator[str]:
    """What is not as this package's factory makes it, a sentence each without its full stop; none if it is genuine.

    federation: its address (hex), of an open or a sealed one. It asks the chain some 20 times.
    """
    address = to_address(federation)
    clone = cloned_by(bytes(w3.eth.get_code(w3.to_checksum_address(address))))
    if clone is None or len(clone[1]) != 32:
        yield f"{address} on chain {w3.eth.chain_id} is not a federation: no factory's clone is there"
        return
    implementation, place = clone
    contract = contract_at(w3, FEDERATION, address)
    try:
        factory = to_address(str(read(contract, "factory")))
        if implementation != implementation_address(factory, FEDERATION):
            yield f"{address} runs the code at {implementation}, which is not the Federation of this version of FedVM"
        elif address != clone_address(factory, place, implementation, place):
            yield f"{address} was not made by its factory {factory}: its maker could write into it what it liked"
        else:
            yield from _sidecar_deviations(w3, address, factory)
    except (CallFailed, DeploymentError) as error:
        yield f"{address} does not answer as a federation does: {error}"


def is_sealed(w3: Web3, federation: str) -> bool:
    """Whether the rounds of a federation are sealed, which never changes. It says so of a genuine one alone."""
    address = to_address(federation)
    contract = contract_at(w3, FEDERATION, address)
    factory = to_address(str(read(contract, "factory")))
    expected = clone_address(factory, _salt(address), implementation_address(factory, SEALED_ROUNDS))
    return to_address(str(read(contract, "rollups"))) == expected


def sidecars(w3: Web3, federation: str) -> dict[str, Address]:
    """The contracts beside a federation, by their names. It says so of a genuine one alone."""
    contract, sealed = contract_at(w3, FEDERATION, to_address(federation)), is_sealed(w3, federation)
    found = {
        name: to_address(str(read(contract, view)))
        for name, view in (_SEALED_SIDECARS if sealed else _OPEN_SIDECARS).items()
    }
    if sealed:
        # The federation has no view of it; its roll-ups have.
        factory = to_address(str(read(contract, "factory")))
        found[SEALED_COURT] = clone_address(
            factory, _salt(to_address(federation)), implementation_address(factory, SEALED_COURT)
        )
    return found


def service_deviations(w3: Web3, service: str, *, first_block: int = 0) -> Iterator[str]:
    """What is not as the ModelService of this package makes it, a sentence each; none if it is genuine.

    service: its address (hex). first_block: a block at or before its creation.
    """
    address = to_address(service)
    contract = contract_at(w3, MODEL_SERVICE, address)
    events = EventReader(w3, contract, network_of(w3))
    first = next(events.fetch(("OwnershipTransferred",), first_block), None)
    if first is None:
        yield f"{address} tells from block {first_block} on nothing of its creation as a ModelService"
        return
    transaction = HexBytes(first.at.tx_hash)
    sent, code = w3.eth.get_transaction(transaction), load_artifact(MODEL_SERVICE).bytecode
    data, to = bytes(sent["input"]), sent.get("to")
    if to is None:
        receipt = w3.eth.get_transaction_receipt(transaction)
        is_ours = str(receipt["contractAddress"]) == address and data.startswith(code)
    else:
        # What a deployer does need not be known: the address of CREATE2 is the hash of the init code that ran.
        salt, init_code = data[:32], data[32:]
        is_ours = init_code.startswith(code) and create2_address(str(to), salt, init_code) == address
    if not is_ours:
        yield (
            f"{address} was created by {first.at.tx_hash}, which does not hold the ModelService of this version of "
            "FedVM: its maker could write into it what it liked"
        )


def _sidecar_deviations(w3: Web3, federation: Address, factory: Address) -> Iterator[str]:
    contract = contract_at(w3, FEDERATION, federation)
    rules, security = rules_of(read(contract, "rules")), security_of(read(contract, "security"))
    given = {
        "federation": federation,
        "elements": rules.elements,
        "answerSeconds": security.answer_seconds,
        "demandFee": security.demand_fee,
        "bond": security.bond,
    }
    found, wrong = sidecars(w3, federation), False
    sealed = SEALED_COURT in found
    if sealed:
        given["court"] = found[SEALED_COURT]
    for name, address in found.items():
        for deviation in _clone_deviations(w3, name, address, factory, given):
            wrong = True
            yield deviation
    if sealed and not wrong:
        yield from _sealed_rules_deviations(w3, found[EPOCHS], rules, security)


def _clone_deviations(
    w3: Web3, name: str, found: Address, factory: Address, given: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with a federation's contract ``name`` at ``found``. given: what it is initialised with."""
    federation = given["federation"]
    if found != clone_address(factory, _salt(federation), implementation_address(factory, name)):
        yield f"the {name} of {federation} is {found}, which its factory {factory} did not make for it"
        return
    # The address says what was deployed there; a node that gives other code says what is not so.
    if bytes(w3.eth.get_code(w3.to_checksum_address(found))) != clone_code(
        implementation_address(factory, name)
    ):
        yield f"the {name} of {federation} at {found} has other code than its factory deploys"
        return
    clone = contract_at(w3, name, found)
    for parameter in _initialised_with(name):
        value = read(clone, parameter)
        if value != given[parameter]:
            yield f"the {name} of {federation} was initialised with {parameter} = {value}, not {given[parameter]}"


def _sealed_rules_deviations(w3: Web3, epochs: Address, rules: Rules, security: Security) -> Iterator[str]:
    """Whether sealed rounds are possible under the rules: a false factory could show others to the contract."""
    contract = contract_at(w3, EPOCHS, epochs)
    try:
        sealed = SealedRules(*read(contract, "sealedRules"))
        sealed.check_with(rules, security.open_seconds)
    except EncodingError as error:
        yield f"the {EPOCHS} at {epochs} was initialised with rules that no sealed federation can have: {error}"
        return
    if read(contract, "sealedHash") != sealed.digest():
        yield f"the {EPOCHS} at {epochs} states another hash of its rules than theirs"


def _salt(federation: Address) -> bytes:
    return bytes(12) + bytes.fromhex(federation[2:])


def _initialised_with(name: str) -> list[str]:
    """Names of what a sidecar is initialised with and keeps; it has a view of each. Of a struct it may keep a part."""
    abi = load_artifact(name).abi
    views = {one["name"] for one in abi if one.get("type") == "function" and not one["inputs"]}
    inputs: list[dict[str, Any]] = next(one["inputs"] for one in abi if one.get("name") == "initialize")
    fields = [field for one in inputs for field in one.get("components", [one])]
    return [found for field in fields if (found := field["name"].rstrip("_")) in views]
