"""No command of `fedvm` signs, pays or proves for a federation that its factory did not make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from false_court import false_federation_code
from setup_federation import RULES, make_setup

from fedvm.chain.deploy import deploy_code
from fedvm.chain.keys import keep_key
from fedvm.chain.sender import Sender
from fedvm.cli.entry import run as fedvm
from fedvm.devnet.embedded import open_chain
from fedvm.federation.client.kept import keep_update
from fedvm.federation.commitment import Attestation, commit
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import Domain
from fedvm.protocol.address import to_address
from fedvm.rundir.deployment import ChainRef, Deployment


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """An update for a false federation in its round 1, and a run's directory that names this federation."""
    with open_chain(tmp_path, seed=3, create=True) as chain:
        setup, maker = make_setup(chain), chain.account("coordinator")
        opened, _ = setup.federation.open_round(maker)
        code = false_federation_code(setup.federation, maker.address)
        made = deploy_code(Sender(chain.w3), maker, code, action="cloning").contract_address
        domain = Domain(chain.chain_id, to_address(str(made)))
        Deployment(ChainRef("embedded", "chain.sqlite"), chain.chain_id, federation=domain.federation).save(
            tmp_path
        )
        member = setup.members[0]
        keep_key(tmp_path / "own.key", member)
        terms = RoundTerms(domain, 1, RULES, opened.base_root, opened.deadline)
        signed = commit(np.ones(RULES.elements, np.int32), terms, Attestation(10, 0.5, 1.0), member.key.hex())
        return keep_update(tmp_path / "kept", domain, signed)


@pytest.mark.parametrize("command", ["join", "stake", "submit", "challenge", "audit"])
def test_the_command_says_what_is_wrong(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    run, key = ["--run", str(tmp_path)], ["--key-file", str(tmp_path / "own.key")]
    calls = {
        "join": ["members", "join", *run, *key],
        "stake": ["members", "stake", "5", *run, *key, "--dry-run"],
        "submit": ["submit", str(kept), *run, *key, "--no-wait"],
        "challenge": ["challenge", *run],
        "audit": ["audit", *run],
    }
    assert fedvm(calls[command]) == (1 if command == "audit" else 2)
    told = capsys.readouterr()
    assert "was not made by its factory" in " ".join((told.out + told.err).split())
