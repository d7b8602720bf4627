"""A whole sealed round, recomputed from public data alone: what a coordinator does, and an auditor again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fedvm.protocol.address import Address
from fedvm.protocol.aggregators import RoundFacts, aggregator_named
from fedvm.protocol.errors import EncodingError, ProofError, SignatureError
from fedvm.protocol.mean import Aggregate
from fedvm.protocol.refusal import Refusal
from fedvm.protocol.rules import Rules
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate
from fedvm.protocol.sealed.aggregation_fold import (
    GroupSubtotal,
    group_subtotal,
    sealed_aggregate,
    sealed_fold,
)
from fedvm.protocol.sealed.close import Close, GroupClose, SeedName
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.records import SealedFile, SealedRecord, SealedSubmission
from fedvm.protocol.sealed.rules import SealedRules, lane_bytes
from fedvm.protocol.sealed.unmasking import check_seed, unmask
from fedvm.protocol.trees import model_root
from fedvm.protocol.vector import IntVector
from fedvm.protocol.verdict import attested_checks, signs_for


@dataclass(frozen=True)
class Recomputed:
    """The result of a round. root: the ``aggregationRoot``, 32 bytes. groups: the nodes of the counting groups."""

    root: bytes
    groups: tuple[GroupSubtotal, ...]
    aggregate: Aggregate


@dataclass(frozen=True, eq=False)
class Terms:
    """What a round goes by. base: the model it starts from, int32 (n,). key_of: the key that a member had appointed for
    the round, "" if none."""

    rules: Rules
    sealed: SealedRules
    base: IntVector
    key_of: Callable[[str], str]

    @cached_property
    def lane_bytes(self) -> int:
        """k."""
        return lane_bytes(self.rules, self.sealed)

    @cached_property
    def base_root(self) -> bytes:
        """Root of the base, 32 bytes."""
        return model_root(self.base)

    def result(self, round_: int, groups: Sequence[GroupSubtotal]) -> Recomputed:
        """What the counting groups of a round, in their order, come to by the aggregator that the rules name.

        Raises:
            EncodingError: there are no groups, or the aggregator is not known.
            RangeError: the new model leaves int32.
        """
        top, facts = sealed_fold(groups), RoundFacts(round_, self.rules.fraction_bits)
        rule = aggregator_named(self.rules.aggregator)
        aggregate = sealed_aggregate(rule, self.base, groups, top, facts)
        return Recomputed(top.hash, tuple(groups), aggregate)


def check_submission(one: SealedSubmission, epoch: Epoch, round_: int, terms: Terms) -> None:
    """Check what a member signed against the rules, as the contract judges a record.

    Raises:
        SignatureError: neither the member nor its appointed key signed.
        EncodingError: a statement breaks the rules; the message names it.
    """
    masked, rules = one.masked, terms.rules
    signer = masked.signer(epoch.draw.domain, one.signature)
    if not signs_for(signer, one.member, terms.key_of):
        raise SignatureError(
            f"the update of {one.member} was signed by {signer}, neither the member nor its key"
        )
    if masked.epoch_root != epoch.root:
        raise EncodingError(
            f"the update of {one.member} is for another epoch, or another set of ready members"
        )
    checks = (
        (masked.round == round_, Refusal.WRONG_ROUND),
        (masked.rules_hash == rules.digest(), Refusal.WRONG_RULES),
        (masked.base_root == terms.base_root, Refusal.WRONG_BASE),
        (masked.examples >= rules.min_examples, Refusal.TOO_FEW_EXAMPLES),
        *attested_checks(masked, rules),
    )
    for holds, reason in checks:
        if not holds:
            raise EncodingError(f"the update of {one.member} breaks the rules: {reason.label}")


def recompute(
    close: Close, counting: Sequence[int], file: SealedFile, vectors: Mapping[int, MaskedFile], terms: Terms
) -> Recomputed:
    """The round that its published file makes, with the vectors of one group in memory at a time.

    counting: the groups that count, ascending. vectors: the masked updates by place, held against their submissions by
    ``coordinator.check_file``; each is asked for when its group is added up.

    Raises:
        ProofError: the file contradicts the close, a submission, a commitment, or the bound on a group's norm.
        EncodingError: a submission breaks the rules.
        SignatureError: a submission is not signed by its member.
        RangeError: the new model leaves int32.
    """
    height, groups = close.epoch.draw.grouping.height, []
    for number, updates in zip(counting, counted_updates(close, counting, file, vectors, terms), strict=True):
        node = group_subtotal(updates, height, terms.lane_bytes)
        bound = terms.rules.max_sum_squares
        if not terms.sealed.norm_allows(node.squares, node.weight, node.included, bound):
            raise ProofError(
                f"the sum of group {number} is too long: Σ S² is {node.squares}; leave the group out"
            )
        groups.append(node)
    return terms.result(close.round, groups)


def counted_updates(
    close: Close, counting: Sequence[int], file: SealedFile, vectors: Mapping[int, MaskedFile], terms: Terms
) -> Iterator[list[UnmaskedUpdate]]:
    """The updates of the counting groups as ``sealed_tree`` takes them, group by group. Raises as :func:`recompute`."""
    groups = _counting_groups(close, counting, terms)
    expected = [group.group.first + rank for group in groups for rank in group.included]
    if len(expected) < terms.rules.min_clients:
        raise ProofError(f"{len(expected)} updates count; the rules ask for {terms.rules.min_clients}")
    if [record.place for record in file.records] != expected or len(file.submissions) != len(expected):
        raise ProofError("the records are not those of the included members of the counting groups")
    for record, one in zip(file.records, file.parsed, strict=True):
        _check_record(record, one, close, terms)
    records = {record.place: record for record in file.records}
    for group, seeds in zip(groups, _seeds(groups, file.seeds), strict=True):
        yield [
            _unmasked(close, group, records[group.group.first + rank], vectors, seeds, terms)
            for rank in group.included
        ]


def _counting_groups(close: Close, counting: Sequence[int], terms: Terms) -> list[GroupClose]:
    if len(counting) < terms.sealed.min_groups:
        raise ProofError(f"{len(counting)} groups count; the rules ask for {terms.sealed.min_groups}")
    if list(counting) != sorted(set(counting)) or not set(counting) <= set(range(len(close.groups))):
        raise ProofError(
            f"the counting groups {list(counting)} are not some of {len(close.groups)} in ascending order"
        )
    groups = [close.groups[number] for number in counting]
    for group in groups:
        if not group.is_open:
            raise ProofError(f"group {group.group.number} counts, but is not fit or void")
    return groups


def make_record(one: SealedSubmission, place: int, rules: Rules) -> SealedRecord:
    """The record of an update that counts."""
    return SealedRecord(place, rules.weight(one.masked.examples), one.digest())


def _check_record(record: SealedRecord, one: SealedSubmission, close: Close, terms: Terms) -> None:
    member: Address = close.epoch.draw.seats[record.place].member
    if one.member != member:
        raise ProofError(f"place {record.place} is that of {member}, the submission is of {one.member}")
    if record != make_record(one, record.place, terms.rules):
        raise ProofError(f"the record of place {record.place} does not follow from its submission")
    check_submission(one, close.epoch, close.round, terms)


def _seeds(groups: Sequence[GroupClose], seeds: Sequence[bytes]) -> list[dict[SeedName, bytes]]:
    wanted = sum(len(group.wanted) for group in groups)
    if len(seeds) != wanted:
        raise ProofError(f"the file reveals {len(seeds)} seeds; the counting groups take {wanted}")
    left = iter(seeds)
    return [{name: next(left) for name in group.wanted} for group in groups]


def _unmasked(
    close: Close,
    group: GroupClose,
    record: SealedRecord,
    vectors: Mapping[int, MaskedFile],
    seeds: Mapping[SeedName, bytes],
    terms: Terms,
) -> UnmaskedUpdate:
    file = vectors.get(record.place)
    if file is None:
        raise ProofError(f"the masked update of place {record.place} is missing; fetch it")
    rank = record.place - group.group.first
    context = close.epoch.draw.domain.place(close.round, group.group.members[rank]).context(terms.base.size)
    for other in (rank, *group.absent):
        check_seed((rank, other), seeds[rank, other], file.commitments[other], context)
    return UnmaskedUpdate(
        record.weight, unmask(group, rank, file.lanes, seeds, terms.lane_bytes), record.digest()
    )
