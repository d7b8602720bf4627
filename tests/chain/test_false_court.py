"""A federation of the true code, whose maker is its court: the check of its address, the audit and a client see it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from false_court import FalseFactory, false_federation_code, storing_init_code
from handmade import init_code
from setup_federation import BASE, RULES, Setup, deploy_federation, some_cid
from web3 import Web3
from web3.contract import Contract

import conditions
from fedvm.audit.replay import audit
from fedvm.chain.artifacts import (
    DIRECT_SUBMISSIONS,
    DISPUTES,
    FEDERATION,
    MODEL_SERVICE,
    ROLLUPS,
    RULE_BOOK,
    load_artifact,
)
from fedvm.chain.deploy import deploy_code
from fedvm.chain.errors import DeploymentError, TransactionFailed
from fedvm.chain.factory import FederationFactory, implementation_address
from fedvm.chain.federation import FederationContract
from fedvm.chain.gate import NO_GATE
from fedvm.chain.genuine import deviations, require_genuine, service_deviations
from fedvm.chain.model_service import ModelService
from fedvm.chain.sender import Sender
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.federation.client.chain_check import check_on_chain
from fedvm.federation.errors import TermsError
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import Domain, model_root
from fedvm.protocol.address import to_address
from fedvm.store import ContentStore

PLACE = b"\7" * 32
SIDECARS = (DISPUTES, ROLLUPS, RULE_BOOK, DIRECT_SUBMISSIONS)


@pytest.fixture
def factory(chain: EmbeddedChain) -> FalseFactory:
    return FalseFactory.deploy(chain.w3, chain.account("user"))


def parameters(chain: EmbeddedChain, elements: int = RULES.elements) -> tuple[Any, ...]:
    attacker = chain.account("user").address
    members = [chain.account("member", index).address for index in range(3)]
    rules = (*RULES.as_tuple()[:4], elements, *RULES.as_tuple()[5:])
    security, cid = conditions.security().as_tuple(), some_cid("model 0")
    return (attacker, attacker, rules, security, False, members, model_root(BASE), cid)


class Made:
    """A federation that a false factory makes as the true one does, but for what a test changes."""

    def __init__(self, factory: FalseFactory, place: bytes = PLACE) -> None:
        self.factory = factory
        self.federation = factory.clone(FEDERATION, place, place)
        salt = bytes(12) + bytes.fromhex(self.federation.address[2:])
        self.sidecars = {name: factory.clone(name, salt) for name in SIDECARS}

    def initialise(self, chain: EmbeddedChain, **changes: Any) -> str:
        """changes: other addresses of sidecars, or another length for one."""
        given = [changes.get(name, self.sidecars[name].address) for name in SIDECARS]
        self._call(self.sidecars[RULE_BOOK], self.federation.address)
        self._call(self.federation, parameters(chain), tuple(given))
        elements = changes.get("elements", RULES.elements)
        security = conditions.security(**changes.get("security", {})).as_tuple()
        self._call(self.sidecars[DISPUTES], self.federation.address, elements, security)
        self._call(self.sidecars[ROLLUPS], self.federation.address, elements)
        if not changes.get("forgotten"):
            self._call(
                self.sidecars[DIRECT_SUBMISSIONS],
                self.federation.address,
                elements,
                changes.get("answer", conditions.security().answer_seconds),
            )
        return self.federation.address

    def _call(self, target: Contract, *arguments: Any) -> None:
        self.factory.call(target, "initialize", *arguments)


def test_the_factorys_federation_is_genuine(setup: Setup) -> None:
    assert list(deviations(setup.w3, setup.federation.address)) == []
    assert list(deviations(setup.w3, setup.federation.address.lower())) == []
    require_genuine(setup.w3, setup.federation.address)


def test_whoever_makes_it_right_may_have_made_it(chain: EmbeddedChain, factory: FalseFactory) -> None:
    made = Made(factory).initialise(chain)
    assert list(deviations(chain.w3, made)) == []


def test_no_true_clone_of_a_stranger_can_be_initialised(setup: Setup, chain: EmbeddedChain) -> None:
    attacker, sender = chain.account("user"), Sender(chain.w3)
    code = bytes(chain.w3.eth.get_code(chain.w3.to_checksum_address(setup.federation.address)))
    clone = deploy_code(sender, attacker, init_code(code), action="cloning").contract_address
    assert clone is not None
    false = FederationContract(chain.w3, clone).contract
    data = false.encode_abi("initialize", args=[parameters(chain), (attacker.address,) * 4])
    with pytest.raises(TransactionFailed, match="NotFactory"):
        sender.send(attacker, {"to": false.address, "data": data}, action="initialising")
    (found,) = deviations(chain.w3, clone)
    assert "was not made by its factory" in found


def test_the_audit_names_a_clone_that_was_written_into(
    setup: Setup, chain: EmbeddedChain, tmp_path: Path
) -> None:
    attacker = chain.account("user")
    code = false_federation_code(setup.federation, attacker.address)
    made = deploy_code(Sender(chain.w3), attacker, code, action="cloning").contract_address
    assert made is not None
    false = FederationContract(chain.w3, made)
    # All that one sees of it is right: code, rules, its maker and model; only the court is another.
    assert chain.w3.eth.get_code(chain.w3.to_checksum_address(made)) == chain.w3.eth.get_code(
        chain.w3.to_checksum_address(setup.federation.address)
    )
    assert (false.rules_hash(), false.owner()) == (setup.federation.rules_hash(), setup.owner.address)
    assert false.disputes() == attacker.address

    (found,) = deviations(chain.w3, made)
    assert "was not made by its factory" in found
    report = audit(chain.w3, ContentStore(tmp_path), federation=made, service=None)
    assert [(one.check, one.message) for one in report.findings] == [("contracts", found)]
    with pytest.raises(DeploymentError, match="sign nothing"):
        require_genuine(chain.w3, made)


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("name", SIDECARS)
def test_a_sidecar_of_its_makers_own_is_named(chain: EmbeddedChain, factory: FalseFactory, name: str) -> None:
    other = Made(factory, b"\x08" * 32)
    others = other.sidecars[name].address
    if name != RULE_BOOK:  # the one that the federation itself asks
        attacker = chain.account("user").address
        made = Made(factory).initialise(chain, **{name: attacker})
        assert [*deviations(chain.w3, made)] == [
            f"the {name} of {made} is {attacker}, which its factory {factory.address} did not make for it"
        ]
    swapped = Made(factory, b"\x09" * 32).initialise(chain, **{name: others})
    assert [*deviations(chain.w3, swapped)] == [
        f"the {name} of {swapped} is {others}, which its factory {factory.address} did not make for it"
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"elements": 1}, ["elements = 1", "elements = 1", "elements = 1"]),
        ({"answer": 1}, ["answerSeconds = 1"]),
        ({"security": {"bond": 1}}, ["bond = 1"]),
        ({"security": {"answer_seconds": 61, "demand_fee": 2}}, ["answerSeconds = 61", "demandFee = 2"]),
        ({"forgotten": True}, ["federation = 0x0000", "elements = 0", "answerSeconds = 0"]),
    ],
)
def test_a_sidecar_with_other_parameters_is_named(
    chain: EmbeddedChain, factory: FalseFactory, changes: dict[str, Any], told: list[str]
) -> None:
    made = Made(factory).initialise(chain, **changes)
    found = list(deviations(chain.w3, made))
    assert len(found) == len(told)
    assert all(part in one for part, one in zip(told, found, strict=True))


def test_other_code_is_named(chain: EmbeddedChain, setup: Setup) -> None:
    nobody = chain.account("nobody").address
    true = FederationFactory.deploy(chain.w3, chain.account("owner"))
    implementation = implementation_address(true.address, FEDERATION)
    for address in (nobody, true.address, implementation, setup.federation.disputes()):
        (found,) = deviations(chain.w3, address)
        assert "is not a federation" in found and address in found


def test_a_client_with_an_rpc_signs_for_no_false_court(anvil: Web3, anvil_url: str) -> None:
    accounts = [Account.create() for _ in range(5)]
    for account in accounts:
        anvil.provider.make_request("anvil_setBalance", [account.address, hex(10**21)])  # type: ignore[arg-type]
    owner, coordinator, *members = accounts
    setup = deploy_federation(anvil, owner, coordinator, tuple(members))
    opened, _ = setup.federation.open_round(coordinator)
    terms = RoundTerms(
        Domain(31337, to_address(setup.federation.address)),
        opened.round,
        RULES,
        opened.base_root,
        opened.deadline,
    )
    check_on_chain(anvil_url, terms, sealed=False)
    for changes, told in (
        ({"rules": replace(RULES, min_examples=11)}, "its rules differ"),
        ({"base_root": b"\1" * 32}, "its base differ"),
        ({"deadline": opened.deadline + 1}, "its deadline differ"),
        ({"round": 2}, "its deadline, state differ"),
        ({"domain": replace(terms.domain, chain_id=1)}, "chain"),
    ):
        with pytest.raises(TermsError, match=told):
            check_on_chain(anvil_url, replace(terms, **changes), sealed=False)  # type: ignore[arg-type]

    code = false_federation_code(setup.federation, coordinator.address)
    made = deploy_code(Sender(anvil), coordinator, code, action="cloning").contract_address
    false = replace(terms, domain=Domain(31337, to_address(str(made))))
    with pytest.raises(TermsError, match="was not made by its factory"):
        check_on_chain(anvil_url, false, sealed=False)


def test_the_audit_names_a_service_that_was_written_into(chain: EmbeddedChain, tmp_path: Path) -> None:
    owner, attacker = chain.account("owner"), chain.account("user")
    service, receipt = ModelService.deploy(chain.w3, owner)
    assert list(service_deviations(chain.w3, service.address)) == []
    report = audit(chain.w3, ContentStore(tmp_path), federation=None, service=service.address)
    assert report.clean and report.passed["contracts"] == 1
    late = list(service_deviations(chain.w3, service.address, first_block=receipt.block_number + 1))
    assert len(late) == 1 and "nothing of its creation" in late[0]

    code = storing_init_code(chain.w3, service.address, {owner.address: attacker.address})
    made = deploy_code(Sender(chain.w3), attacker, code, action="copying").contract_address
    assert made is not None and ModelService(chain.w3, made).owner() == attacker.address
    (found,) = service_deviations(chain.w3, made)
    assert "which does not hold the ModelService" in found
    report = audit(chain.w3, ContentStore(tmp_path), federation=None, service=made)
    assert [(one.check, one.message) for one in report.findings] == [("contracts", found)]


def test_a_service_that_a_contract_created_does_not_show_its_init_code(
    chain: EmbeddedChain, factory: FalseFactory
) -> None:
    owner = chain.account("owner").address
    contract = chain.w3.eth.contract(
        abi=load_artifact(MODEL_SERVICE).abi, bytecode=load_artifact(MODEL_SERVICE).bytecode
    )
    data = contract.constructor(owner, NO_GATE).data_in_transaction
    made = factory.create(bytes(32), bytes.fromhex(data[2:]))
    (found,) = service_deviations(chain.w3, made)
    assert "which does not hold the ModelService" in found
