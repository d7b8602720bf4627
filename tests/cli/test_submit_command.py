"""`fedvm submit` in a round whose coordinator does not relay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedvm.chain import ChainRef, Deployment, open_run
from fedvm.chain.direct import DirectState, DirectSubmissionsContract
from fedvm.chain.embedded import open_chain
from fedvm.chain.federation import FederationContract
from fedvm.chain.keys import keep_key
from fedvm.cli.entry import run as fedvm
from fedvm.encoding import Rules, Security, model_root, to_bytes
from fedvm.federation.commitment import Attestation, commit
from fedvm.federation.kept import keep_update
from fedvm.federation.terms import RoundTerms
from fedvm.store import Cid, ContentStore

RULES = Rules(2, 1, 1000, 2**100, 150, 16, 3600, 0, 2**64 - 1)
BASE = np.arange(150, dtype=np.int32)
STAKE = 10**16


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A run whose round 1 is open, the key of its member 0, and the update that this member kept."""
    with open_chain(tmp_path, seed=3, create=True) as chain:
        members = [chain.account("member", index) for index in range(3)]
        contract, _ = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=RULES,
            security=Security(stake=STAKE),
            members=[member.address for member in members],
            model_root=model_root(BASE),
            model_cid=Cid.parse(ContentStore(tmp_path / "store").put(to_bytes(BASE))).binary,
        )
        contract.stake(members[0], STAKE)
        opened, _ = contract.open_round(chain.account("coordinator"))
        place = ChainRef("embedded", "chain.sqlite")
        Deployment(place, chain.chain_id, federation=contract.address).save(tmp_path)
        terms = RoundTerms(chain.chain_id, contract.address, 1, RULES, model_root(BASE), opened.deadline)
        signed = commit(np.ones(150, np.int32), terms, Attestation(10, 0.5, 1.0), members[0].key.hex())
        keep_key(tmp_path / "own.key", members[0])
        keep_key(tmp_path / "other.key", members[1])
        return keep_update(tmp_path / "kept", chain.chain_id, contract.address, signed)


def test_a_kept_update_is_submitted_published_and_waits(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["submit", str(kept), "--run", str(tmp_path), "--key-file", str(tmp_path / "own.key"), "--no-wait"]
    assert fedvm(call) == 0
    assert "waits to be included" in capsys.readouterr().out
    with open_run(tmp_path) as run:
        assert run.chain is not None
        member = run.chain.account("member", 0).address
        direct = DirectSubmissionsContract.of(run.federation_contract)
        assert direct.update_of(1, member).state is DirectState.WAITING
        assert run.federation_contract.round(1).waiting == 1
        (event,) = [e for e in run.federation_contract.events() if type(e).__name__ == "SubmittedDirectly"]
        assert run.store.get(event.submission.update.cid) == to_bytes(np.ones(150, np.int32))
    assert fedvm(call) == 1
    assert "AlreadySubmitted" in capsys.readouterr().err


def test_only_the_member_submits_from_here(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["submit", str(kept), "--run", str(tmp_path), "--key-file", str(tmp_path / "other.key")]
    assert fedvm(call) == 2
    assert "only the member can post" in " ".join(capsys.readouterr().err.split())
    assert fedvm(["submit", str(kept)]) == 2
    assert "--run or --rpc" in capsys.readouterr().err
