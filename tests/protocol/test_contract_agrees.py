"""A federation computes the same rules hash and typed-data digest, in a real EVM, as a clone with its own domain."""

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from test_typed_data import UPDATE, anything

import conditions
from fedvm.chain.artifacts import FEDERATION, load_artifact
from fedvm.chain.call import read
from fedvm.chain.federation import FederationContract
from fedvm.devnet.embedded import open_chain
from fedvm.protocol import Domain, RangeError, Update, update_digest

RULES = conditions.rules(max_examples=400, min_accuracy_ppm=100_000)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FederationContract, Domain]]:
    with open_chain(tmp_path_factory.mktemp("agrees"), seed=2, create=True) as chain:
        contract, _ = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=RULES,
            security=conditions.security(),
            members=[chain.account("member", index).address for index in range(4)],
            model_root=b"\x07" * 32,
            model_cid=b"\x01\x55\x12\x20" + bytes(32),
        )
        yield contract, Domain(chain.chain_id, contract.address)


STRUCTS = {"rules": RULES, "security": conditions.security(), "hashUpdate": UPDATE}
"""By the federation's function that gives or takes the struct: a value of ours."""


@pytest.mark.parametrize(("function", "value"), STRUCTS.items(), ids=STRUCTS)
def test_a_struct_has_the_contract_s_fields_in_its_order_and_widths(function: str, value: Any) -> None:
    entry = next(one for one in load_artifact(FEDERATION).abi if one.get("name") == function)
    components = (entry["inputs"] or entry["outputs"])[0]["components"]
    ours = [field.name for field in fields(value)]
    assert [re.sub(r"_(.)", lambda after: after[1].upper(), name) for name in ours] == [
        one["name"] for one in components
    ]
    for name, component in zip(ours, components, strict=True):
        if component["type"].startswith("uint"):
            most = 2 ** int(component["type"].removeprefix("uint")) - 1
            assert getattr(replace(value, **{name: most}), name) == most
            with pytest.raises(RangeError):
                replace(value, **{name: most + 1})


def test_rules_hash(federation: tuple[FederationContract, Domain]) -> None:
    contract, _ = federation
    assert contract.rules_hash() == RULES.digest()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(update=anything)
def test_update_digest(federation: tuple[FederationContract, Domain], update: Update) -> None:
    contract, domain = federation
    assert read(contract.contract, "hashUpdate", update.as_tuple()) == update_digest(update, domain)
