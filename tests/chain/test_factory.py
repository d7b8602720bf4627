"""Opening federations through the factory, and finding them again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from setup_federation import BASE, RULES, some_cid

import conditions
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.factory import DEFAULT_SALT, FederationFactory
from fedvm.chain.federation import FederationContract
from fedvm.chain.sender import Sender
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.protocol import model_root
from fedvm.protocol.security import posting_seconds


def open_federation(
    factory: FederationFactory, chain: EmbeddedChain, role: str = "user", **changes: object
) -> FederationContract:
    parameters: dict[str, object] = {
        "coordinator": chain.account("coordinator").address,
        "rules": RULES,
        "security": conditions.security(),
        "members": [chain.account("member", index).address for index in range(2)],
        "model_root": model_root(BASE),
        "model_cid": some_cid("model 0"),
        **changes,
    }
    return FederationContract.create(factory, chain.account(role), **parameters)[0]  # type: ignore[arg-type]


def test_anyone_opens_federations_at_addresses_known_before(chain: EmbeddedChain) -> None:
    factory = FederationFactory.deploy(chain.w3, chain.account("owner"))
    user = chain.account("user")
    foreseen = [factory.address_of(user.address, salt) for salt in (DEFAULT_SALT, b"\1" * 32)]
    first = open_federation(factory, chain)
    second = open_federation(factory, chain, salt=b"\1" * 32, rules=replace(RULES, min_examples=11))
    assert [first.address, second.address] == foreseen
    assert first.owner() == user.address
    assert (first.rules().min_examples, second.rules().min_examples) == (10, 11)
    with pytest.raises(TransactionFailed, match=f"AlreadyOpened.{first.address.lower()}"):
        open_federation(factory, chain)


def test_a_federation_is_small_because_its_code_is_shared(chain: EmbeddedChain) -> None:
    factory = FederationFactory.deploy(chain.w3, chain.account("owner"))
    federation = open_federation(factory, chain)
    assert len(chain.w3.eth.get_code(chain.w3.to_checksum_address(federation.address))) == 45 + 32  # ERC-1167


def test_an_interrupted_deployment_goes_on_where_it_stopped(
    chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = chain.account("owner")
    sent: list[str] = []

    def fail_once(
        self: object, account: object, transaction: object, *, action: str, **rest: object
    ) -> object:
        sent.append(action)
        if len(sent) == 2:
            raise KeyboardInterrupt
        return send(self, account, transaction, action=action, **rest)  # type: ignore[arg-type]

    send = Sender.send
    monkeypatch.setattr(Sender, "send", fail_once)
    with pytest.raises(KeyboardInterrupt):
        FederationFactory.deploy_first(chain.w3, owner)
    factory = FederationFactory.deploy_first(chain.w3, owner)
    assert sent == [
        "creating FederationFactory",
        "installing Federation",
        "installing Federation",
        "installing Disputes",
        "installing Rollups",
        "installing RuleBook",
        "installing DirectSubmissions",
    ]
    assert FederationFactory.deploy_first(chain.w3, owner).address == factory.address
    assert len(sent) == 7
    assert open_federation(factory, chain).address == factory.address_of(chain.account("user").address)


def test_members_with_stakes_have_time_to_post_a_vector(chain: EmbeddedChain) -> None:
    """The contract reckons with the seconds that `posting_seconds` gives."""
    factory = FederationFactory.deploy(chain.w3, chain.account("owner"))
    for salt, elements in enumerate((64 * 25 * 100, 64 * 25 * 100 + 1)):
        needed, rules = posting_seconds(elements), replace(RULES, elements=elements)
        given = {"rules": rules, "salt": bytes([salt]) * 32}
        with pytest.raises(TransactionFailed, match=rf"AnswerSecondsTooShort\({needed - 1}, {needed}\)"):
            security = conditions.security(stake=1, answer_seconds=needed - 1)
            open_federation(factory, chain, security=security, **given)
        open_federation(factory, chain, security=conditions.security(stake=1, answer_seconds=needed), **given)
    given = {"rules": rules, "salt": b"\2" * 32}
    assert (
        open_federation(factory, chain, security=conditions.security(answer_seconds=60), **given).rules()
        == rules
    )


def test_anyone_joins_an_open_federation_and_leaves_with_the_stake(chain: EmbeddedChain) -> None:
    factory = FederationFactory.deploy(chain.w3, chain.account("owner"))
    stake = 10**17
    federation = open_federation(
        factory, chain, open_membership=True, members=[], security=conditions.security(stake=stake)
    )
    member = chain.account("member")
    assert federation.open_membership() and federation.members() == []
    federation.join(member.address).send(member)
    assert federation.members() == [member.address] and federation.stake_of(member.address) == stake
    with pytest.raises(TransactionFailed, match="StillMember"):
        federation.unstake().send(member)
    federation.quit().send(member)
    federation.unstake().send(member)
    assert federation.owed(member.address) == stake
    assert [type(event).__name__ for event in federation.events()][-2:] == ["MemberAdded", "MemberRemoved"]
