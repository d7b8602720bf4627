"""The sorter on the program that `fedvm compile` wrote, behind the ModelService that FedVM ships, in Ape."""

import hashlib
import json
from pathlib import Path

import ape
import pytest

CONSUMER = Path(__file__).parents[2]
EXPECTED = json.loads((CONSUMER / "program" / "expected.json").read_text())
FLOWERS = list(zip(EXPECTED["inputs"], EXPECTED["labels"], EXPECTED["scores"], strict=True))
NO_GATE = (bytes(32), 0, 0, (0, 0, 0, 0), 0, 0, 0, 0, 0)


@pytest.fixture
def owner(accounts):
    return accounts[0]


@pytest.fixture
def program(project, owner):
    return owner.deploy(project.Program)


@pytest.fixture
def service(project, owner, program):
    made = owner.deploy(project.ModelService, owner, NO_GATE)
    register(made, program, owner)
    return made


@pytest.fixture
def sorter(project, owner, program, service):
    return owner.deploy(project.FlowerSorter, program, service)


def register(service, program, owner):
    """A version without a federation: nobody trained this model together."""
    gas = json.loads((CONSUMER / "program" / "manifest.json").read_text())["gas"]["evm"] + 10_000
    onnx = b"\x01\x55\x12\x20" + hashlib.sha256((CONSUMER / "model.onnx").read_bytes()).digest()
    integers = hashlib.sha256((CONSUMER / "program" / "model.int.onnx").read_bytes()).digest()
    code = ape.chain.provider.web3.keccak(ape.chain.provider.get_code(program.address))
    nobody = "0x" + "00" * 20
    version = (program, gas, nobody, 0, bytes(32), integers, onnx, [(program, code)])
    service.register(version, sender=owner)


def test_looks_as_onnx_runtime_does(sorter):
    assert len(FLOWERS) == 30
    for flower, label, scores in FLOWERS:
        seen = sorter.look(flower)
        assert seen.species == label
        assert list(seen.scores) == scores


def test_sorts_on_record(sorter, service, owner):
    for number, (flower, label, _) in enumerate(FLOWERS[:5], start=1):
        receipt = sorter.sort(flower, 1, sender=owner)
        assert [(one.decision, one.species) for one in receipt.events.filter(sorter.Sorted)] == [
            (number, label)
        ]
    assert service.decisionCount() == 5


def test_pays_the_fee_to_the_wei(sorter, service, owner, accounts):
    service.setFee(1, (1000, accounts[5], 0), sender=owner)
    for wrong in (0, 1001):
        with ape.reverts(sorter.WrongFee, sent=wrong, fee=1000):
            sorter.sort(FLOWERS[0][0], 1, value=wrong, sender=owner)
    sorter.sort(FLOWERS[0][0], 1, value=1000, sender=owner)
    assert service.balance == 1000 and sorter.balance == 0


def test_notices_that_another_version_serves(sorter, service, program, owner):
    register(service, program, owner)
    with ape.reverts():
        sorter.sort(FLOWERS[0][0], 1, sender=owner)
