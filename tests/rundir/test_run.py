"""Runs opened from their directory, in this process and in another."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from handmade import DOUBLER, init_code, program
from setup_federation import make_setup, some_cid
from test_federation import run_round
from web3 import Web3

from fedvm.chain.deploy import deploy_code
from fedvm.chain.errors import ChainMismatch, ChainNotFound, DeploymentError
from fedvm.chain.model_service import ModelService, Version, pin_parts
from fedvm.chain.sender import Sender
from fedvm.devnet.embedded import open_chain
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.run import open_run
from fedvm.store import ContentStore

ADDRESS = "0x" + "00" * 19 + "01"


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    with open_chain(tmp_path, seed=3, create=True) as chain:
        setup = make_setup(chain)
        _, final = run_round(setup, chain)
        sender = Sender(chain.w3)
        part = deploy_code(sender, setup.owner, init_code(DOUBLER), action="part").contract_address
        assert part is not None
        entry = deploy_code(sender, setup.owner, init_code(program(part)), action="entry").contract_address
        assert entry is not None
        service, _ = ModelService.deploy(chain.w3, setup.owner)
        parts = pin_parts(chain.w3, [entry, part])
        lineage = {"federation": setup.federation.address, "round": 1, "model_root": final.model_root}
        service.register(setup.owner, Version(parts, 100_000, b"\x05" * 32, some_cid("onnx"), **lineage))
        ContentStore(tmp_path / "store").put(b"an artefact")
        Deployment(
            ChainRef("embedded", "chain.sqlite"),
            chain.chain_id,
            setup.federation.address,
            service.address,
            (entry, part),
            setup.created.block_number,
        ).save(tmp_path)
    return tmp_path


def test_everything_is_there(run_directory: Path) -> None:
    with open_run(run_directory) as run:
        assert run.w3.eth.chain_id == 31415926
        assert run.federation.functions.currentRound().call() == 1
        assert run.service.functions.predict(b"\x05").call() == [10, -5]
        assert run.model_service.predict(b"\x05").tolist() == [10, -5]
        assert run.program.predict(b"\x05").tolist() == [10, -5]
        assert run.federation_contract.current_round() == 1
        assert [run.store.get(cid) for cid in run.store] == [b"an artefact"]
        assert len(list(run.federation_contract.events(first=run.deployment.block))) == 12


@pytest.mark.slow
def test_a_decision_taken_in_another_process_is_seen(run_directory: Path) -> None:
    script = (
        "import sys\nfrom fedvm.rundir.run import open_run\n"
        "with open_run(sys.argv[1], read_only=False) as run:\n"
        "    run.model_service.decide(run.chain.account('user'), b'\\x04')\n"
    )
    subprocess.run([sys.executable, "-c", script, str(run_directory)], check=True)
    with open_run(run_directory) as run:
        (decision,) = run.model_service.decisions()
        assert decision.scores == (8, -4)


def test_deployments_are_read_back(run_directory: Path, tmp_path: Path) -> None:
    deployment = Deployment.load(run_directory)
    assert deployment.chain == ChainRef("embedded", "chain.sqlite")
    fields = json.loads((run_directory / "deployment.json").read_text())
    assert fields["chain"] == {"kind": "embedded", "path": "chain.sqlite"}
    assert fields["chainId"] == 31415926
    assert set(fields) == {
        "format",
        "chain",
        "chainId",
        "federation",
        "service",
        "program",
        "block",
        "stores",
    }
    partial = replace(
        deployment,
        service=None,
        program=(),
        chain=ChainRef("rpc", "http://127.0.0.1:8545"),
        stores=("store", "/mnt/mirror"),
    )
    partial.save(run_directory)
    assert Deployment.load(run_directory) == partial
    assert not list(run_directory.glob(".deployment*"))


def test_runs_that_did_not_get_that_far(run_directory: Path) -> None:
    replace(Deployment.load(run_directory), service=None, program=()).save(run_directory)
    with open_run(run_directory) as run:
        assert run.federation_contract.current_round() == 1
        for name in ("service", "model_service", "program"):
            with pytest.raises(DeploymentError, match="resume"):
                getattr(run, name)


def test_no_run_a_broken_one_and_a_mixed_one(
    run_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(DeploymentError, match=r"no deployment.json"):
        open_run(empty)
    good = Deployment.load(run_directory)
    good.save(empty)
    with pytest.raises(ChainNotFound):
        open_run(empty)
    replace(good, chain_id=314).save(run_directory)
    with pytest.raises(ChainMismatch, match="different runs"):
        open_run(run_directory)
    replace(good, federation=Web3.to_checksum_address(ADDRESS)).save(run_directory)
    with open_run(run_directory) as run, pytest.raises(DeploymentError, match="no code there"):
        run.federation  # noqa: B018
    fields = {**json.loads((empty / "deployment.json").read_text())}
    other = [json.dumps({**fields, "stores": wrong}) for wrong in ("store", [], [1])]
    for text in ("{", "[]", "{}", '{"format": 9}', *other):
        (run_directory / "deployment.json").write_text(text)
        with pytest.raises(DeploymentError):
            open_run(run_directory)
    with pytest.raises(DeploymentError, match="checksummed"):
        replace(good, service="0x12")


def test_sending_to_a_network_needs_no_evm() -> None:
    script = "import sys, fedvm.chain.sender; assert not {'eth', 'fedvm.devnet.ledger'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
