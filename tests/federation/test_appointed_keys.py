"""A member whose updates another key signs, one that it appointed: a contract wallet, or a stake kept apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account
from federation_bench import Bench, MakeBench
from flwr.app import Context, RecordDict

from fedvm.audit.replay import audit
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation import FederationContract
from fedvm.chain.rule_book import RuleBookContract
from fedvm.federation import FederationSettings, Node
from fedvm.federation.errors import CommitmentError, TermsError
from fedvm.federation.identity import Question, answer, read_answer
from fedvm.federation.keys import member_from_node_config
from fedvm.protocol import Domain
from fedvm.protocol.address import to_address
from fedvm.protocol.consent import KeyProof

KEY = "0x" + "42" * 32
ADDRESS = str(Account.from_key(KEY).address)
CLIENTS, BEHIND = 3, 1


def book_of(bench: Bench) -> RuleBookContract:
    contract = FederationContract(bench.chain.w3, bench.ledger.address)
    return RuleBookContract(bench.chain.w3, contract.rule_book())


def appoint(bench: Bench, index: int) -> None:
    """Have a member appoint the key, with the key's proof of its next appointment."""
    book, member = book_of(bench), bench.chain.account("member", index)
    proof = KeyProof(member.address, book.key_nonce(ADDRESS)).sign(bench.ledger.domain, KEY)
    book.appoint_key(member, ADDRESS, proof)


def nodes_with_the_key(bench: Bench, settings: FederationSettings) -> list[Node]:
    nodes = bench.nodes(settings)
    config = {**nodes[BEHIND].config, "fedvm-key": KEY, "fedvm-member": bench.members[BEHIND]}
    nodes[BEHIND] = replace(nodes[BEHIND], config=config)
    return nodes


@pytest.mark.parametrize("submission", ["commitments", "rollup"])
def test_updates_count_from_the_round_after_the_appointment_on(
    make_bench: MakeBench, submission: str
) -> None:
    bench = make_bench(CLIENTS)
    settings = FederationSettings(clients=CLIENTS, rounds=1, submission=submission)  # type: ignore[arg-type]
    member = bench.members[BEHIND]
    first = bench.run(settings, nodes=nodes_with_the_key(bench, settings))
    assert [(one.member, one.reason) for one in first.records[0].refused] == [(member, "BadSignature")]
    assert bench.ledger.key_of(member) == ""
    appoint(bench, BEHIND)
    assert bench.ledger.key_of(member) == ADDRESS
    longer = replace(settings, rounds=2)
    second = bench.run(longer, nodes=nodes_with_the_key(bench, longer))
    assert {one.member for one in second.records[-1].accepted} == set(bench.members)
    report = audit(bench.chain.w3, bench.store, federation=bench.ledger.address, service=None)
    assert not report.findings and report.passed["signature"] == 2 * CLIENTS - 1


def test_a_key_is_appointed_by_one_member(make_bench: MakeBench) -> None:
    bench = make_bench(CLIENTS)
    book, members = book_of(bench), [bench.chain.account("member", index) for index in range(CLIENTS)]
    appoint(bench, 0)
    with pytest.raises(TransactionFailed, match="KeyTaken"):
        appoint(bench, 1)
    with pytest.raises(TransactionFailed, match="NotProved"):
        book.appoint_key(members[0], ADDRESS, bytes(65))
    book.appoint_key(members[0], None)
    assert book.key_of(members[0].address, 1) == ""
    appoint(bench, 1)
    assert book.key_of(members[1].address, 1) == book.key_of(members[1].address, 7) == ADDRESS


def test_a_node_proves_the_member_that_appointed_its_key() -> None:
    question = Question(Domain(31_415_926, to_address("0x" + "ab" * 20)), bytes(range(32)))
    member = str(Account.from_key("0x" + "43" * 32).address)
    content = answer(question, 7, KEY, member)
    appointed = {member: ADDRESS}
    assert read_answer(question, 7, content, lambda who: appointed.get(who, "")) == member
    for key_of in (lambda who: "", lambda who: member):
        with pytest.raises(CommitmentError, match="has not appointed"):
            read_answer(question, 7, content, key_of)
    with pytest.raises(CommitmentError, match="it says it is nobody"):
        read_answer(question, 7, answer(question, 7, KEY, "nobody"), lambda who: ADDRESS)


def test_a_node_names_its_member_in_its_config() -> None:
    def named(**config: str) -> str:
        return member_from_node_config(Context(1, 7, dict(config), RecordDict(), {}), KEY)

    other = "0x" + "ab" * 20
    assert named() == ADDRESS and named(**{"fedvm-member": other}).lower() == other
    with pytest.raises(TermsError, match="fedvm-member is 0x12, not the address"):
        named(**{"fedvm-member": "0x12"})
