"""The facts of a federation, folded from its events."""

from __future__ import annotations

from collections.abc import Callable

from web3 import Web3

from fedvm.chain.errors import ChainError
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import (
    CoordinatorReplaced,
    MemberAdded,
    MemberRemoved,
    RoundFinal,
    RulesAdopted,
    SecuritySet,
    UpdateAccepted,
)
from fedvm.chain.genuine import is_sealed
from fedvm.chain.history import FederationHistory, RoundHistory, Verdict
from fedvm.chain.rollups import stated_rollup
from fedvm.exports.facts import FederationFacts, MemberFacts, RoundFacts, RulesFacts, Source, UpdateFacts
from fedvm.exports.sources import Citations, Where
from fedvm.protocol import EncodingError, Rules, Security
from fedvm.protocol.address import by_address
from fedvm.protocol.aggregators import aggregator_named
from fedvm.store import Store, StoreError

_SEALED = "the round is sealed: the chain tells of sums over groups, not of members' updates"
Times = Callable[[int], int]
"""From a block's number to its time in Unix seconds."""


def federation_facts(
    w3: Web3,
    address: str,
    store: Store | None,
    first: int,
    last: int,
    time_of: Times,
    where: Where,
) -> FederationFacts | None:
    """The facts of a genuine federation at `address` (hex) by its events from block `first` to `last`; None if it was
    not created in these. store: where the files of roll-ups are, None if nobody said.

    Raises:
        ChainError: the chain cannot be read, or tells the creation in part.
    """
    contract = FederationContract(w3, address)
    cite = Citations(contract.address, "federation", where)
    history = FederationHistory(contract, first_block=first).read(last)
    created = history.created
    if created is None:
        return None
    sealed = is_sealed(w3, address)
    coordinator: str = created.coordinator
    created_source = cite.audited("FederationCreated", created.at)
    rules = [RulesFacts(created.rules, created.rules_hash, created_source)]
    members: dict[str, Source] = {}
    security: tuple[Security, Source] | None = None
    proposals = [one for told in history.rounds.values() for one in told.proposals.values()]
    changed_in = max([created.at.block_number, *(one.at.block_number for one in proposals)])
    kinds = (MemberAdded, MemberRemoved, RulesAdopted, CoordinatorReplaced, SecuritySet)
    for event in contract.events(kinds, first, last):
        changed_in = max(changed_in, event.at.block_number)
        match event:
            case MemberAdded():
                call = f"MemberAdded(member={event.member})"
                members[event.member] = cite.listed(call, event.at, "members list")
            case MemberRemoved():
                members.pop(event.member, None)
            case CoordinatorReplaced():
                coordinator = event.coordinator
            case SecuritySet():
                security = event.security, cite.audited("SecuritySet", event.at)
            case RulesAdopted():
                source = cite.listed("RulesAdopted", event.at, "rules show")
                rules.append(RulesFacts(event.rules, event.rules_hash, source))
            case _:
                pass
    if security is None:
        raise ChainError(f"{address} tells nothing of its security in the blocks {first} to {last}")
    return FederationFacts(
        address=contract.address,
        owner=created.owner,
        coordinator=coordinator,
        is_sealed=sealed,
        is_open=created.open_membership,
        aggregator=_rule_name(rules[-1].rules),
        model_root=created.model_root,
        model_cid=created.model_cid,
        created_at=time_of(created.at.block_number),
        source=created_source,
        security=security[0],
        security_source=security[1],
        rules=tuple(rules),
        members=tuple(MemberFacts(one, members[one]) for one in sorted(members, key=by_address)),
        rounds=tuple(
            facts
            for _, told in sorted(history.rounds.items())
            if (facts := _round(told, store, cite, time_of, contract.rollups(), sealed=sealed)) is not None
        ),
        changed_in=changed_in,
    )


def _round(
    told: RoundHistory, store: Store | None, cite: Citations, time_of: Times, rollups: str, *, sealed: bool
) -> RoundFacts | None:
    opened, ended, number = told.opened, told.ended, told.number
    if opened is None:
        return None
    missing = _SEALED if sealed else _take_records(told, store)
    source = cite.audited(f"RoundOpened(round={number})", opened.at, round_=number)
    final = ended if isinstance(ended, RoundFinal) else None
    state = "open"
    if ended is not None:
        state = "failed" if final is None else "final"
    elif told.proposal is not None:
        state = "proposed"
    call = f"{type(ended).__name__}(round={number})"
    return RoundFacts(
        number=number,
        state=state,
        base_root=opened.base_root,
        rules_hash=opened.rules_hash,
        opened_at=time_of(opened.at.block_number),
        opened=source,
        updates=() if sealed else tuple(_update(one, told, cite, rollups) for one in told.verdicts),
        missing=missing,
        proposals=len(told.proposals),
        accepted=final.accepted if final else 0,
        total_weight=final.total_weight if final else 0,
        model_root=final.model_root if final else b"",
        aggregate_root=final.aggregate_root if final else b"",
        model_cid=told.proposals[final.attempt].cid if final else b"",
        ended_at=0 if ended is None else time_of(ended.at.block_number),
        ended=None if ended is None else cite.audited(call, ended.at, round_=number),
    )


def _update(verdict: Verdict, told: RoundHistory, cite: Citations, rollups: str) -> UpdateFacts:
    name, number, member = type(verdict).__name__, verdict.round, verdict.member
    if told.rollup is None:
        source = cite.audited(f"{name}(round={number}, member={member})", verdict.at, round_=number)
    else:
        call = f"RollupSubmitted(round={number}), and the record of {member} in the file that it names"
        source = cite.audited(call, verdict.at, round_=number, contract=rollups)
    if not isinstance(verdict, UpdateAccepted):
        return UpdateFacts(verdict.member, verdict.cid, verdict.reason.name.lower(), source)
    return UpdateFacts(
        verdict.member,
        verdict.cid,
        "",
        source,
        weight=verdict.weight,
        examples=verdict.examples,
        accuracy_ppm=verdict.accuracy_ppm,
        loss_micros=verdict.loss_micros,
        labels=verdict.labels,
        epsilon_micros=verdict.epsilon_micros,
    )


def _take_records(told: RoundHistory, store: Store | None) -> str:
    """Read the file of a roll-up, and say why it could not be read; "" if there is none, or it was."""
    if told.rollup is None:
        return ""
    if store is None:
        return "no store was named that has the file of the round's roll-up"
    try:
        told.take_records(stated_rollup(told.rollup, store.get(told.rollup.cid)))
    except (StoreError, EncodingError) as error:
        return f"the file of the round's roll-up cannot be read: {error}"
    return ""


def _rule_name(rules: Rules) -> str:
    try:
        return aggregator_named(rules.aggregator).name
    except EncodingError:
        return f"0x{rules.aggregator.hex()}"
