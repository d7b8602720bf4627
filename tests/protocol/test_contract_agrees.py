"""A federation computes the same rules hash and typed-data digest, in a real EVM, as a clone with its own domain."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from test_typed_data import anything

from fedvm.chain.call import read
from fedvm.chain.federation import FederationContract
from fedvm.devnet.embedded import open_chain
from fedvm.protocol import Domain, Rules, Update, update_digest

RULES = Rules(2, 1, 400, (5 * 2**16) ** 2, 64, 16, 3600, 100_000, 5_000_000)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FederationContract, Domain]]:
    with open_chain(tmp_path_factory.mktemp("agrees"), seed=2, create=True) as chain:
        contract, _ = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=RULES,
            members=[chain.account("member", index).address for index in range(4)],
            model_root=b"\x07" * 32,
            model_cid=b"\x01\x55\x12\x20" + bytes(32),
        )
        yield contract, Domain(chain.chain_id, contract.address)


def test_rules_hash(federation: tuple[FederationContract, Domain]) -> None:
    contract, _ = federation
    assert contract.rules_hash() == RULES.digest()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(update=anything)
def test_update_digest(federation: tuple[FederationContract, Domain], update: Update) -> None:
    contract, domain = federation
    assert read(contract.contract, "hashUpdate", update.as_tuple()) == update_digest(update, domain)
