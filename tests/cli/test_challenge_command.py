"""`fedvm challenge` on a run whose coordinator planted a wrong aggregate."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "audit"))

from court_bench import SECURITY, Court, create_court, random_updates
from lies import LIES, Lie, honest, tell

from fedvm.audit.preimages import PreimageFolder
from fedvm.chain.disputes import DataGiven, DisputesContract, Question
from fedvm.cli.entry import run as fedvm
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.run import open_run

ELEMENTS = 200


def _planted(path: Path, lie: str | None) -> tuple[Court, Lie]:
    court = create_court(path, elements=ELEMENTS, members=3)
    rng = random.Random(5)
    facts = court.open_round(random_updates(rng, 3, ELEMENTS), rng)
    about = next((about for about in LIES if about.__name__ == lie), None)
    stated = tell(about, facts, rng) if about else honest(facts)
    court.propose(stated)
    place = ChainRef("embedded", "chain.sqlite")
    Deployment(place, court.chain.chain_id, federation=court.contract.address).save(path)
    return court, stated


def _owed(path: Path) -> int:
    with open_run(path) as run:
        assert run.chain is not None
        return run.federation_contract.owed(run.chain.account("user").address)


def test_a_planted_wrong_sum_is_proved_from_what_was_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    court, lie = _planted(tmp_path, "_wrong_product_or_sum")
    PreimageFolder(tmp_path / "preimages").write(lie.preimages)
    court.chain.close()
    assert fedvm(["challenge", "--run", str(tmp_path), "--json"]) == 1
    upheld = json.loads(capsys.readouterr().out)["upheld"]
    assert upheld["fraud"] in ("WRONG_SUM", "WRONG_PRODUCT")
    assert (upheld["demands"], upheld["reward"]) == (0, SECURITY.bond // 2)
    assert _owed(tmp_path) == SECURITY.bond // 2


def test_a_planted_wrong_model_without_data_falls_for_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    court, _ = _planted(tmp_path, "_wrong_model")
    court.chain.close()
    assert fedvm(["challenge", "--run", str(tmp_path)]) == 1
    assert "missing data" in capsys.readouterr().out
    assert _owed(tmp_path) == SECURITY.bond // 2


def test_a_coordinator_answers_what_is_demanded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Updates and sums are made from the store; of the model, whose file is not there, nothing can be shown."""
    court, truth = _planted(tmp_path, None)
    for root in (truth.aggregation_root, truth.aggregate_root):
        court.disputes.demand(court.challenger, 1, Question(root, (), 1))
    court.chain.close()
    assert fedvm(["answer", "--run", str(tmp_path)]) == 0
    assert "2 questions answered, 0" in capsys.readouterr().out
    with open_run(tmp_path, read_only=False) as run:
        disputes = DisputesContract(run.w3, run.federation_contract.disputes())
        given = [one for one in disputes.events([DataGiven]) if isinstance(one, DataGiven)]
        assert {bytes(one.preimage) for one in given} == {
            truth.preimages[root] for root in (truth.aggregation_root, truth.aggregate_root)
        }
        assert run.chain is not None
        disputes.demand(run.chain.account("user"), 1, Question(truth.model_root, (), 1))
    assert fedvm(["answer", "--run", str(tmp_path)]) == 1
    assert "0 questions answered, 1" in capsys.readouterr().out
    assert fedvm(["answer", "--run", str(tmp_path), "--watch"]) == 2
    assert "leave --watch away" in capsys.readouterr().err


def test_an_honest_proposal_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    court, _ = _planted(tmp_path, None)
    court.chain.close()
    assert fedvm(["challenge", "--run", str(tmp_path)]) == 0
    assert "Nothing to challenge" in capsys.readouterr().out
    assert _owed(tmp_path) == 0
