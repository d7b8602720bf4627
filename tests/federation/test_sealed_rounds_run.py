"""Sealed federations of real parts: the contracts on the embedded chain, real keys, real training, members that
fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from federation_bench import MODEL, SEED, TRAINING, Bench, MakeBench, client_data
from flwr.app import ConfigRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod

from fedvm.federation import FederationResult, FederationSettings, Node, accountable_mod
from fedvm.federation.client.app import image_client_app
from fedvm.federation.client.distributed_privacy import DistributedPrivacy
from fedvm.federation.client.sealed_state import SealedFolder
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.coordinator.sealed.epochs import ASK_TIMES
from fedvm.federation.engines.grid import make_nodes
from fedvm.federation.errors import FederationStalled, TermsError
from fedvm.federation.keys import KEY, SEALED, SealedHome
from fedvm.federation.sealed.messages import REPLY, MaskedReply
from fedvm.federation.terms import SEALED_ROUND, SEALED_STEP
from fedvm.protocol.address import to_address
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.rules import SealedRules

CLIENTS = 17
RULES = SealedRules(
    group_size=8,
    epoch_rounds=2,
    min_roster=16,
    min_groups=1,
    group_norm_ppm=1_000_000,
    noise_squares=0,
    enrol_seconds=60,
    key_seconds=60,
    unmask_seconds=60,
)
SETTINGS = FederationSettings(clients=CLIENTS, rounds=1, min_train_nodes=8)
Fault = Callable[[Message, int], Message | None]
"""From a reply and the partition it comes from to what the member sends instead; None leaves it as it is."""


def sealed_bench(make_bench: MakeBench, name: str = "sealed", **changes: Any) -> Bench:
    return make_bench(CLIENTS, name, sealed=replace(RULES, **changes), min_clients=8)


def nodes_with(
    bench: Bench,
    before: Callable[[Message, int], None] | None = None,
    after: Fault | None = None,
    privacy: DistributedPrivacy | None = None,
) -> list[Node]:
    """Nodes of the bench that raise before a message reaches FedVM, or change what leaves them. privacy: the noise that
    they add."""

    def faulty(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        partition = int(context.node_config["partition-id"])
        if before:
            before(message, partition)
        reply = call_next(message, context)
        return (after(reply, partition) if after else None) or reply

    def demanding(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        assert len(message.content.array_records) == 1  # as Flower's clipping mods have it
        return call_next(message, context)

    mods: list[Mod] = [faulty, accountable_mod(privacy=privacy), demanding]
    app = image_client_app(model=MODEL, data=client_data, training=TRAINING, seed=SEED, mods=mods)
    home = bench.path / "clients"
    return make_nodes(app, [{KEY: key, SEALED: str(home / f"{at:03}")} for at, key in enumerate(bench.keys)])


def step_of(message: Message) -> str:
    """Which step of a sealed epoch a message asks for: "round" for an update, "" for none."""
    records = message.content.config_records
    if SEALED_STEP in records:
        return str(records[SEALED_STEP]["step"])
    return "round" if SEALED_ROUND in records else ""


def absent(*faults: tuple[str, int]) -> Callable[[Message, int], None]:
    """Members that fail at a step, by partition."""

    def before(message: Message, partition: int) -> None:
        if (step_of(message), partition) in faults:
            raise ConnectionError("the network is gone")

    return before


def accepted_of(result: FederationResult) -> list[list[str]]:
    return [[one.member for one in record.accepted] for record in result.records]


def test_a_sealed_round_comes_to_the_model_of_an_open_one(make_bench: MakeBench) -> None:
    settings = replace(SETTINGS, rounds=3)  # the last in another epoch
    sealed = sealed_bench(make_bench).run(settings)
    opened = make_bench(CLIENTS, "open", min_clients=8).run(settings)
    assert [record.status for record in sealed.records] == ["final"] * 3
    assert [record.model_root for record in sealed.records] == [
        record.model_root for record in opened.records
    ]
    assert all(len(members) == CLIENTS for members in accepted_of(sealed))


def test_members_may_be_absent_at_every_step(make_bench: MakeBench) -> None:
    bench = sealed_bench(make_bench)
    # Of eight that are ready six must be included, and six must answer.
    before = absent(("enrol", 0), ("edges", 2), ("round", 3), ("shares", 5))
    result = bench.run(SETTINGS, nodes=nodes_with(bench, before))
    (record,), members = result.records, bench.members
    assert record.status == "final"
    counted = {one.member for one in record.accepted}
    assert counted == {member for at, member in enumerate(members) if at not in (0, 2, 3)}


def test_a_group_with_too_few_ready_sits_out(make_bench: MakeBench) -> None:
    bench = sealed_bench(make_bench)
    result = bench.run(SETTINGS, nodes=nodes_with(bench, absent(("enrol", 0), ("keys", 1))))
    (record,) = result.records
    assert record.status == "final" and len(record.accepted) == 8
    assert bench.members[1] not in {one.member for one in record.accepted}


@pytest.mark.slow
def test_an_epoch_in_which_no_group_is_fit_gives_way_to_the_next(make_bench: MakeBench) -> None:
    bench = sealed_bench(make_bench)

    def before(message: Message, partition: int) -> None:
        if step_of(message) == "keys" and message.content[SEALED_STEP]["epoch"] == 1 and partition < 12:
            raise ConnectionError("the network is gone")

    result = bench.run(SETTINGS, nodes=nodes_with(bench, before))
    assert set(accepted_of(result)[0]) == set(bench.members)
    sealed = bench.ledger.sealed
    assert sealed is not None and sealed.standing().number == 2


@pytest.mark.slow
def test_who_shares_no_keys_in_the_first_round_does_in_the_next(make_bench: MakeBench) -> None:
    bench, failures = sealed_bench(make_bench), iter(range(ASK_TIMES))

    def before(message: Message, partition: int) -> None:
        if step_of(message) == "edges" and partition == 2 and next(failures, None) is not None:
            raise ConnectionError("the network is gone")

    result = bench.run(replace(SETTINGS, rounds=2), nodes=nodes_with(bench, before))
    first, second = map(set, accepted_of(result))
    assert second == set(bench.members) and second - first == {bench.members[2]}
    assert bench.ledger.sealed and bench.ledger.sealed.standing().number == 1


def test_garbage_is_withheld_and_costs_nobody_else_anything(make_bench: MakeBench) -> None:
    bench = sealed_bench(make_bench)

    def spoilt(reply: Message, partition: int) -> Message | None:
        if partition == 3 and not reply.has_error() and REPLY in reply.content.config_records:
            record = reply.content.config_records[REPLY]
            file = bytearray(record["file"])  # type: ignore[arg-type]
            file[0] ^= 1
            reply.content[REPLY] = ConfigRecord({"submission": record["submission"], "file": bytes(file)})
        if partition == 4 and SEALED_STEP in reply.content.config_records:
            reply.content[SEALED_STEP] = ConfigRecord({"shares": b"1", "signature": b"2"})
        return None

    result = bench.run(SETTINGS, nodes=nodes_with(bench, after=spoilt))
    (record,) = result.records
    assert record.status == "final"
    assert bench.members[3] not in {one.member for one in record.accepted}
    assert bench.members[3] in {one.member for one in record.refused}


def test_an_update_that_could_expire_before_the_close_does_not_count(make_bench: MakeBench) -> None:
    # A record of one that has expired costs the coordinator its bond, and the time of the close is not its choice.
    bench = sealed_bench(make_bench)

    def hasty(reply: Message, partition: int) -> Message | None:
        if partition == 3 and not reply.has_error() and REPLY in reply.content.config_records:
            masked = MaskedReply.from_content(reply.content)
            early = replace(masked.submission.masked, deadline=masked.submission.masked.deadline - 1)
            signature = early.sign(bench.ledger.domain, bench.keys[3])
            submission = replace(masked.submission, masked=early, signature=signature)
            reply.content[REPLY] = replace(masked, submission=submission).to_record()
        return None

    result = bench.run(SETTINGS, nodes=nodes_with(bench, after=hasty))
    (record,) = result.records
    assert record.status == "final"
    assert bench.members[3] not in {one.member for one in record.accepted}
    assert "expires before" in {one.member: one.reason for one in record.refused}[bench.members[3]]


def test_wrong_shares_are_found_out(make_bench: MakeBench) -> None:
    bench = sealed_bench(make_bench)

    def wrong(reply: Message, partition: int) -> Message | None:
        record = reply.content.config_records.get(SEALED_STEP) if not reply.has_error() else None
        if partition == 7 and record and "shares" in record:
            # Its signature is over others, so they count as no answer.
            zeros = bytes(len(record["shares"]))  # type: ignore[arg-type]
            reply.content[SEALED_STEP] = ConfigRecord({**record, "shares": zeros})
        return None

    result = bench.run(SETTINGS, nodes=nodes_with(bench, after=wrong))
    assert [record.status for record in result.records] == ["final"]


def test_without_shares_no_sum_is_opened(make_bench: MakeBench) -> None:
    bench = sealed_bench(make_bench)
    before = absent(*[("shares", at) for at in range(CLIENTS)])
    with pytest.raises(FederationStalled):
        bench.run(replace(SETTINGS, max_failed_rounds=1), nodes=nodes_with(bench, before))
    assert bench.ledger.round(1).status.is_over


def test_too_few_members_enrol(make_bench: MakeBench) -> None:
    bench = sealed_bench(make_bench)
    before = absent(*[("enrol", at) for at in range(4)])
    with pytest.raises(FederationStalled, match="13 members enrolled"):
        bench.run(SETTINGS, nodes=nodes_with(bench, before))


@pytest.fixture
def after_a_round(make_bench: MakeBench) -> Iterator[Bench]:
    bench = sealed_bench(make_bench)
    bench.run(SETTINGS)
    yield bench


def test_a_member_answers_over_a_base_for_one_included_set_only(after_a_round: Bench) -> None:
    bench = after_a_round
    ledger: ChainLedger = bench.ledger
    sealed = ledger.sealed
    assert sealed is not None
    epoch = sealed.agreed(sealed.standing())
    member = to_address(bench.members[0])
    group = epoch.group_of(member)
    state = SealedFolder(SealedHome(bench.path / "clients" / "000", False), ledger.domain, member).load(1)
    (answered,) = state.answered
    assert answered.round == 1
    assert answered.included == tuple(group.members[rank] for rank in group.ready)
    assert state.sealed == 1 and state.edges is not None and state.edges.round == 1
    with pytest.raises(TermsError, match="have been deleted"):
        state.in_round(2).in_round(1)
    assert (bench.path / "clients" / "000").stat().st_mode & 0o077 in (0, 0o055)
    private = next((bench.path / "clients" / "000").rglob("epoch.json")).parent
    assert private.stat().st_mode & 0o077 == 0
    assert Close(epoch, 1, sealed.closed(1) or b"").hash == answered.closed_hash


@pytest.mark.slow
def test_another_coordinator_goes_on_with_the_epoch(after_a_round: Bench) -> None:
    bench = after_a_round
    result = bench.run(replace(SETTINGS, rounds=3))
    assert [record.status for record in result.records] == ["final"] * 3
    sealed = bench.ledger.sealed
    assert sealed is not None and sealed.standing().number == 2
