"""Federations whose members exchange bytes: XGBoost's trees, by bagging and in turns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from flower_apps import boosters, no_trees
from flwr.app import Array, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedXgbBagging, FedXgbCyclic

from fedvm.audit.artefacts import artefacts
from fedvm.audit.booster_trees import same_trees
from fedvm.audit.findings import AuditReport
from fedvm.audit.replay import audit
from fedvm.chain.federation_types import UpdateAccepted
from fedvm.federation import Accountable, InProcessRun, fedvm_mod, open_federation, run_in_process
from fedvm.federation.byte_model import PAYLOAD, record_of
from fedvm.federation.errors import FederationStalled, SettingsError
from fedvm.pipeline.archive import fetch_car, publish_car
from fedvm.protocol import int32_from_bytes, model_root, to_bytes
from fedvm.protocol.aggregators import BoosterBagging, BoosterTurns
from fedvm.rundir.run import open_run
from fedvm.store import Cid, ContentStore
from fedvm.store.payloads import StoredPayloads, name_of

pytest.importorskip("xgboost")


def play(strategy: FedXgbBagging | FedXgbCyclic, rounds: int, mods: tuple[Mod, ...] = (), **how: Any) -> Any:
    """The strategy after its rounds, with the mod at every one of three clients. mods: before it."""
    server, made = ServerApp(), []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        wrapped = Accountable(strategy, **how)
        made.append((wrapped, wrapped.start(grid, no_trees(), num_rounds=rounds)))

    run_in_process(server, boosters([*mods, fedvm_mod]), how=InProcessRun(3, seed=1, workers=0))
    return made[0]


def audited(directory: Path) -> AuditReport:
    with open_run(directory) as run:
        return audit(run.w3, run.store, federation=run.deployment.federation, service=None)


def test_bagging_gathers_the_trees_in_the_order_of_members(tmp_path: Path) -> None:
    directory = tmp_path / "federation"
    sizes = {"min_train_nodes": 3, "min_available_nodes": 3, "fraction_evaluate": 0.0}
    wrapped, result = play(FedXgbBagging(**sizes), 2, directory=directory)
    federation = wrapped.accountability.federation
    payloads, base = StoredPayloads(federation.store), b""
    for number in (1, 2):
        accepted = [
            one for one in federation.ledger.history(number).verdicts if isinstance(one, UpdateAccepted)
        ]
        assert len(accepted) == 3 and all(one.weight == 60 for one in accepted)
        updates = [payloads.get(int32_from_bytes(federation.store.get(one.cid), 9)) for one in accepted]
        base = BoosterBagging().combined(base, updates)
    assert result.arrays["0"].numpy().tobytes() == base
    wrapped.accountability.close()
    report = audited(directory)
    assert report.clean and report.passed["model"] == 2
    assert report.aggregation == "FedXgbBagging (audit-only)"
    with open_run(directory, read_only=False) as run:  # goes on where it ended
        again, _ = play(FedXgbBagging(**sizes), 3, federation=open_federation(run))
        assert again.accountability.federation.ledger.current_round() == 3
    assert audited(directory).clean
    (directory / "store" / str(Cid.from_binary(to_bytes(name_of(base))))).unlink(missing_ok=True)
    with open_run(directory) as run:
        run.store.file_of(Cid.from_binary(to_bytes(name_of(base)))).unlink(missing_ok=True)
    assert {finding.check for finding in audited(directory).findings} == {"model"}


def test_the_trees_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fedvm.cli.entry import run as run_command

    directory = tmp_path / "federation"
    sizes = {"min_train_nodes": 3, "min_available_nodes": 3, "fraction_evaluate": 0.0}
    wrapped, _ = play(FedXgbBagging(**sizes), 2, directory=directory)
    wrapped.accountability.close()
    x = np.random.default_rng(9).normal(size=(200, 4))
    np.savetxt(tmp_path / "rows.csv", x, delimiter=",", header="a,b,c,d", comments="")
    words = ["serve", str(directory), "--calibration", str(tmp_path / "rows.csv"), "--json"]
    assert run_command(words) == 0, capsys.readouterr().out
    capsys.readouterr()
    for values, label in (("3,-1,0.5,0", 1), ("-3,1,0.5,0", 0)):
        assert run_command(["predict", f"--values={values}", "--run", str(directory), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["label"] == label
    with open_run(directory) as run:
        at = run.deployment
        report = audit(run.w3, run.store, federation=at.federation, service=at.service)
        file = run.store.get(run.model_service.version(1).onnx_cid)
        booster = StoredPayloads(run.store).get(wrapped.accountability.vector)
    assert report.clean and report.passed["onnx weights"] == 1
    assert same_trees(file, booster)
    model = onnx.load_model_from_string(file)
    for name, at_ in (("nodes_values", 0), ("class_weights", 3), ("nodes_featureids", 0)):
        changed = onnx.load_model_from_string(file)
        (one,) = (a for node in changed.graph.node for a in node.attribute if a.name == name)
        numbers = one.floats or one.ints
        numbers[at_] += 1
        assert not same_trees(changed.SerializeToString(), booster), name
    shifted = onnx.load_model_from_string(file)
    (ensemble,) = (node for node in shifted.graph.node if node.op_type == "TreeEnsembleClassifier")
    kept = [one for one in ensemble.attribute if one.name != "base_values"]
    del ensemble.attribute[:]
    ensemble.attribute.extend([*kept, onnx.helper.make_attribute("base_values", [0.7])])
    assert not same_trees(shifted.SerializeToString(), booster)
    certain = booster.replace(b'"[5E-1]"', b'"[1]"').replace(b'"5E-1"', b'"1"')
    assert certain != booster
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        same_trees(file, certain)
    del model.graph.node[:]
    with pytest.raises(ValueError, match="0 ensembles"):
        same_trees(model.SerializeToString(), booster)


def swapping(msg: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Client 0 sends other bytes than it signed."""
    reply = call_next(msg, context)
    if context.node_config["partition-id"] == 0 and reply.has_content():
        for record in reply.content.array_records.values():
            if PAYLOAD in record:
                record[PAYLOAD] = Array(np.frombuffer(b"other", np.uint8))
    return reply


def test_bytes_that_are_not_what_was_signed_do_not_count(tmp_path: Path) -> None:
    strategy = FedXgbBagging(min_train_nodes=2, min_available_nodes=3, fraction_evaluate=0.0)
    wrapped, _ = play(strategy, 1, (swapping,), directory=tmp_path / "federation")
    settlement = wrapped.accountability.outcome.settlement
    assert len(settlement.accepted) == 2
    (refused,) = settlement.refused
    assert refused.by == "coordinator" and "not those that its update names" in refused.reason


def leading_astray(msg: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Client 0 signs a tree that ends the process of whoever asks it."""
    reply = call_next(msg, context)
    if context.node_config["partition-id"] == 0 and reply.has_content():
        for key, record in list(reply.content.array_records.items()):
            data = record["0"].numpy().tobytes().replace(b'"left_children":[1', b'"left_children":[1000000')
            reply.content[key] = record_of(data)
    return reply


def test_trees_that_lead_astray_reach_no_member(tmp_path: Path) -> None:
    strategy = FedXgbBagging(min_train_nodes=2, min_available_nodes=3, fraction_evaluate=0.0)
    server, made = ServerApp(), []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        made.append(wrapped := Accountable(strategy, directory=tmp_path / "federation"))
        wrapped.start(grid, no_trees(), num_rounds=2)

    run_in_process(server, boosters([fedvm_mod, leading_astray]), how=InProcessRun(3, seed=1, workers=0))
    settlement = made[0].accountability.outcome.settlement
    assert len(settlement.accepted) == 2
    (refused,) = settlement.refused
    assert refused.by == "coordinator" and "left_children is no list" in refused.reason


def test_a_first_model_that_is_no_booster_is_refused(tmp_path: Path) -> None:
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedXgbBagging(min_train_nodes=3, min_available_nodes=3, fraction_evaluate=0.0)
        Accountable(strategy, directory=tmp_path / "federation").start(grid, record_of(b"{}"), num_rounds=1)

    with pytest.raises(SettingsError, match="cannot go on from the first model: no booster of trees"):
        run_in_process(server, boosters([fedvm_mod]), how=InProcessRun(3, seed=1, workers=0))


def test_members_do_not_load_a_model_that_leads_astray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedXgbBagging(min_train_nodes=2, min_available_nodes=3, fraction_evaluate=0.0)
        Accountable(strategy, directory=tmp_path / "federation").start(grid, record_of(b"{}"), num_rounds=1)

    called: list[bytes] = []

    def only_the_founder(self: BoosterBagging, data: bytes) -> str:
        called.append(data)
        return "" if len(called) == 1 else BoosterTurns().objection(data)

    monkeypatch.setattr(BoosterBagging, "objection", only_the_founder)
    with pytest.raises(FederationStalled, match="is not what FedXgbBagging makes: no booster of trees"):
        run_in_process(server, boosters([fedvm_mod]), how=InProcessRun(3, seed=1, workers=0))
    assert len(called) == 4


def test_what_is_published_is_enough_for_an_audit(tmp_path: Path) -> None:
    sizes = {"min_train_nodes": 3, "min_available_nodes": 3, "fraction_evaluate": 0.0}
    wrapped, _ = play(FedXgbBagging(**sizes), 2, directory=tmp_path / "federation")
    wrapped.accountability.close()
    with open_run(tmp_path / "federation") as run:
        address = run.deployment.federation
        listed = list(artefacts(run.w3, run.store, federation=address, service=None))
        assert sum(one.what.startswith("the bytes of") for one in listed) == 3 + 6
        publish_car(listed, run.store, tmp_path / "all.car")
        fetch_car(tmp_path / "all.car", tmp_path / "elsewhere")
        elsewhere = ContentStore(tmp_path / "elsewhere")
        report = audit(run.w3, elsewhere, federation=address, service=None)
    assert report.clean and report.passed["model"] == 2


def test_in_turns_one_member_trains_a_round(tmp_path: Path) -> None:
    directory = tmp_path / "federation"
    wrapped, _ = play(FedXgbCyclic(min_available_nodes=3, fraction_evaluate=0.0), 4, directory=directory)
    ledger = wrapped.accountability.federation.ledger
    trained = [one.member for number in range(1, 5) for one in ledger.history(number).accepted]
    members = sorted(ledger.members(), key=lambda member: int(member, 16))
    assert trained == [*members, members[0]]
    wrapped.accountability.close()
    assert audited(directory).clean


def test_a_model_that_is_not_the_updates_trees_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedvm.federation.coordinator.chain_ledger import ChainLedger

    directory, honest, stores = tmp_path / "federation", ChainLedger.propose, []

    def lying(self: ChainLedger, number: int, proposal: Any) -> None:
        (store,) = stores
        store.put(b"other trees")
        vector = name_of(b"other trees")
        cid = Cid.parse(store.put(to_bytes(vector))).binary
        honest(self, number, replace(proposal, model_root=model_root(vector), cid=cid))

    from fedvm.federation.coordinator import settlement

    kept = settlement.StoredPayloads

    def remembered(store: Any, writing: bool = False) -> StoredPayloads:
        stores[:] = [store]
        return kept(store, writing=writing)

    monkeypatch.setattr(settlement, "StoredPayloads", remembered)
    monkeypatch.setattr(ChainLedger, "propose", lying)
    sizes = {"min_train_nodes": 3, "min_available_nodes": 3, "fraction_evaluate": 0.0}
    wrapped, _ = play(FedXgbBagging(**sizes), 1, directory=directory)
    wrapped.accountability.close()
    (finding,) = audited(directory).findings
    assert finding.check == "model" and "audit-only" in finding.message


def test_a_model_of_bytes_is_one_array() -> None:
    assert record_of(b"abc")["0"].numpy().tolist() == [97, 98, 99]
    assert np.array_equal(name_of(b"abc"), name_of(record_of(b"abc")["0"].numpy().tobytes()))
