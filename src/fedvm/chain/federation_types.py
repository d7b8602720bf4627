"""The Federation contract's structs and events, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from fedvm.chain.decoding import snake_case
from fedvm.chain.events import Place, RawEvent, as_told
from fedvm.protocol import Commitment, Refusal, Rules, Security, Submission, Update
from fedvm.protocol.address import Address
from fedvm.protocol.commitments import peak_heights


class RoundState(IntEnum):
    """Where a round stands; the contract's enum."""

    NONE = 0
    OPEN = 1
    SUBMITTED = 2
    PROPOSED = 3
    FINAL = 4
    FAILED = 5

    @property
    def is_over(self) -> bool:
        """Final or failed: nothing changes any more."""
        return self in (RoundState.FINAL, RoundState.FAILED)


@dataclass(frozen=True)
class Premises:
    """What a proposal is computed from: number and total weight of a round's updates, hash of their mountain range
    (`CommitmentTree.digest`)."""

    accepted: int
    total_weight: int
    range: bytes


@dataclass(frozen=True)
class Proposal:
    """The proposed result of a round: what it was computed from, roots (32 bytes) of aggregation, aggregate and model,
    and the model's binary CID. anchor: number and hash of a block at which the chain was read, one of the latest 256;
    who did not make the roll-up itself names one, since it answers for all of that. The hash 0 names none."""

    premises: Premises
    aggregation_root: bytes
    aggregate_root: bytes
    model_root: bytes
    cid: bytes
    anchor: tuple[int, bytes] = (0, bytes(32))

    def as_tuple(self) -> tuple[int, int, bytes, int, bytes, bytes, bytes, bytes, bytes]:
        """The fields in the struct's order, as web3 takes a struct."""
        on = self.premises
        roots = self.aggregation_root, self.aggregate_root, self.model_root
        return on.accepted, on.total_weight, on.range, *self.anchor, *roots, self.cid


@dataclass(frozen=True)
class Round:
    """A round as the contract stores it; times in Unix seconds, roots 32 bytes each.

    ``until``: after this time anyone can end the present state; if the round was rolled up and its model can be
    disputed, anyone can propose from then on, and fail it so much later (`FederationContract.fails_after`).
    ``opened_in``: number of a block. ``asked``: whether data behind the latest proposal were asked for. ``waiting``:
    updates that members submitted themselves and that are neither included nor given up. The last three fields are
    those of the latest proposal, whether or not it was rejected. ``last_member``, ``total_weight`` and
    ``aggregate_root`` are kept while the round is neither final nor failed, and zero afterwards; `RoundFinal` has the
    last two.
    """

    state: RoundState
    opened_at: int
    deadline: int
    until: int
    opened_in: int
    attempt: int
    asked: bool
    waiting: int
    rolled_up: bool
    last_member: Address
    accepted: int
    total_weight: int
    model_root: bytes
    aggregate_root: bytes
    aggregation_root: bytes

    @classmethod
    def of(cls, value: Any) -> Round:
        return cls(RoundState(value[0]), *value[1:])


@dataclass(frozen=True)
class FederationCreated:
    owner: Address
    coordinator: Address
    rules_hash: bytes
    rules: Rules
    model_root: bytes
    model_cid: bytes
    open_membership: bool
    at: Place


@dataclass(frozen=True)
class SecuritySet:
    security: Security
    disputes: Address
    at: Place


@dataclass(frozen=True)
class RulesAdopted:
    """New rules are in force for future rounds."""

    rules_hash: bytes
    rules: Rules
    at: Place


@dataclass(frozen=True)
class MemberAdded:
    member: Address
    at: Place


@dataclass(frozen=True)
class MemberRemoved:
    member: Address
    at: Place


@dataclass(frozen=True)
class CoordinatorReplaced:
    previous: Address
    coordinator: Address
    at: Place


@dataclass(frozen=True)
class SuccessorNamed:
    """Somebody else coordinates from the next round on."""

    successor: Address
    at: Place


@dataclass(frozen=True)
class RoundOpened:
    round: int
    base_root: bytes
    seed: bytes
    rules_hash: bytes
    deadline: int
    at: Place


@dataclass(frozen=True)
class UpdateAccepted:
    """Together with the round's base and rules, this event holds every field that was signed."""

    round: int
    member: Address
    update_root: bytes
    weight: int
    examples: int
    accuracy_ppm: int
    loss_micros: int
    labels: int
    epsilon_micros: int
    sum_squares: int
    deadline: int
    cid: bytes
    signature: bytes
    at: Place

    @property
    def commitment(self) -> Commitment:
        """The commitment to it that the contract keeps."""
        return Commitment(self.member, self.weight, self.update_root, self.sum_squares)

    @property
    def capped(self) -> bool:
        """Whether the rules' cap made the weight smaller than the claimed examples."""
        return self.weight < self.examples

    @property
    def accuracy(self) -> float:
        """The attested accuracy, 0 … 1."""
        return self.accuracy_ppm / 1e6

    @property
    def loss(self) -> float:
        """The attested loss."""
        return self.loss_micros / 1e6

    @property
    def epsilon(self) -> float:
        """The ε of differential privacy that the member says it has spent; 0: no claim."""
        return self.epsilon_micros / 1e6

    def update(self, rules: Rules, base_root: bytes) -> Update:
        """The statement that the member signed."""
        return Update(
            round=self.round,
            rules_hash=rules.digest(),
            base_root=base_root,
            update_root=self.update_root,
            sum_squares=self.sum_squares,
            elements=rules.elements,
            fraction_bits=rules.fraction_bits,
            examples=self.examples,
            accuracy_ppm=self.accuracy_ppm,
            loss_micros=self.loss_micros,
            labels=self.labels,
            epsilon_micros=self.epsilon_micros,
            deadline=self.deadline,
            cid=self.cid,
        )


@dataclass(frozen=True)
class SubmittedDirectly:
    """An update that its member submitted itself, and that waits to be included; an event of `DirectSubmissions`."""

    round: int
    member: Address
    submission: Submission
    at: Place


@dataclass(frozen=True)
class Included:
    """A waiting update was taken in, or refused; an event of `DirectSubmissions`."""

    round: int
    member: Address
    reason: Refusal
    at: Place


@dataclass(frozen=True)
class VectorForfeited:
    """A waiting update was given up, since its member did not post the vector; an event of `DirectSubmissions`."""

    round: int
    member: Address
    at: Place


@dataclass(frozen=True)
class UpdateRefused:
    """``member`` is the member that the coordinator named; that it signed is known only for reasons after
    BAD_SIGNATURE."""

    round: int
    member: Address
    reason: Refusal
    update_root: bytes
    cid: bytes
    at: Place


@dataclass(frozen=True)
class RollupSubmitted:
    """All updates of a round were submitted at once; an event of the federation's `Rollups`. judged_at: the time in
    Unix seconds with which the updates' deadlines were compared; peaks: the largest first; cid: binary, of the file
    with the records.
    """

    round: int
    records_root: bytes
    records: int
    accepted: int
    total_weight: int
    judged_at: int
    peaks: tuple[bytes, ...]
    cid: bytes
    at: Place

    @property
    def peaks_by_height(self) -> dict[int, bytes]:
        """Peaks of the mountain range, one for each bit of the number of updates that count."""
        return dict(zip(peak_heights(self.accepted), self.peaks, strict=True))


@dataclass(frozen=True)
class RoundProposed:
    round: int
    model_root: bytes
    aggregate_root: bytes
    attempt: int
    aggregation_root: bytes
    total_weight: int
    until: int
    proposer: Address
    cid: bytes
    at: Place


@dataclass(frozen=True)
class ChallengeExtended:
    round: int
    until: int
    at: Place


@dataclass(frozen=True)
class ProposalRejected:
    round: int
    challenger: Address
    attempt: int
    at: Place


@dataclass(frozen=True)
class RoundFinal:
    round: int
    model_root: bytes
    aggregate_root: bytes
    total_weight: int
    accepted: int
    attempt: int
    at: Place


@dataclass(frozen=True)
class RoundFailed:
    round: int
    by: Address
    accepted: int
    at: Place


FederationEvent = (
    FederationCreated
    | SecuritySet
    | RulesAdopted
    | MemberAdded
    | MemberRemoved
    | CoordinatorReplaced
    | SuccessorNamed
    | RoundOpened
    | SubmittedDirectly
    | Included
    | VectorForfeited
    | UpdateAccepted
    | UpdateRefused
    | RollupSubmitted
    | RoundProposed
    | ChallengeExtended
    | ProposalRejected
    | RoundFinal
    | RoundFailed
)

EVENT_TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        FederationCreated,
        SecuritySet,
        RulesAdopted,
        MemberAdded,
        MemberRemoved,
        CoordinatorReplaced,
        SuccessorNamed,
        RoundOpened,
        SubmittedDirectly,
        Included,
        VectorForfeited,
        UpdateAccepted,
        UpdateRefused,
        RollupSubmitted,
        RoundProposed,
        ChallengeExtended,
        ProposalRejected,
        RoundFinal,
        RoundFailed,
    )
}


def typed_event(event: RawEvent) -> FederationEvent:
    """The dataclass of a decoded event whose name is in ``EVENT_TYPES``. Raises MalformedEvent where a value is none
    that the contract can have told."""
    with as_told(event.name, event.at.tx_hash):
        return _typed(event)


def _typed(event: RawEvent) -> FederationEvent:
    fields = event.fields
    if event.name in ("FederationCreated", "RulesAdopted"):
        fields["rules"] = rules_of(fields["rules"])
    elif event.name == "SecuritySet":
        fields["security"] = security_of(fields["security"])
    elif event.name == "UpdateAccepted":
        fields |= {snake_case(name): value for name, value in fields.pop("attested").items()}
    elif event.name == "SubmittedDirectly":
        fields["submission"] = submission_of(fields["submission"])
    elif event.name == "RollupSubmitted" and len(fields["peaks"]) != len(peak_heights(fields["accepted"])):
        raise ValueError(f"{len(fields['peaks'])} peaks are not those of {fields['accepted']} updates")
    elif event.name == "UpdateRefused":
        fields["reason"] = Refusal(fields["reason"])
    typed: FederationEvent = EVENT_TYPES[event.name](**fields, at=event.at)
    return typed


def rules_of(value: Any) -> Rules:
    """The contract's ``Rules`` struct, as web3 decodes it (tuple, or mapping within events)."""
    values = value.values() if hasattr(value, "values") else value
    return Rules(*values)


def submission_of(value: Any) -> Submission:
    """The contract's ``Submission`` struct, as web3 decodes it (tuple, or mapping within events)."""
    member, update, signature = value.values() if hasattr(value, "values") else value
    fields = update.values() if hasattr(update, "values") else update
    return Submission(member, Update(*fields), signature)


def security_of(value: Any) -> Security:
    """The contract's ``Security`` struct, as web3 decodes it (tuple, or mapping within events)."""
    return Security(*(value.values() if hasattr(value, "values") else value))
