"""What a member of a sealed federation does with each message: enrol, exchange keys, seal an update, give its shares.

Everything that it is told of an epoch it holds against what it knows: its own keys, the roster's root, and, where it
has an RPC of its own, the chain. What it gives away is written down first (`sealed_state`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, MetricRecordValues, RecordDict

from fedvm.federation.client.consent import Consent
from fedvm.federation.client.sealed_state import EpochState, KeptUpdate, SealedFolder
from fedvm.federation.commitment import Attestation
from fedvm.federation.errors import TermsError
from fedvm.federation.keys import RPC, SealedHome, sealed_home
from fedvm.federation.sealed.messages import (
    REPLY,
    EdgesRequest,
    EnrolReply,
    EnrolRequest,
    KeysReply,
    KeysRequest,
    MaskedReply,
    SharesReply,
    SharesRequest,
    domain_of,
)
from fedvm.federation.terms import SEALED_ROUND, SEALED_STEP, RoundTerms
from fedvm.protocol import Domain, EncodingError, Rules
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.edges import published
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.member import (
    Masking,
    agree_edges,
    answer,
    encapsulate_to_mates,
    may_answer,
    seal,
)
from fedvm.protocol.sealed.records import SealedSubmission
from fedvm.protocol.sealed.rules import SealedRules, lane_bytes
from fedvm.protocol.sealed.typed_data import Enrol, Masked, Ready, Shares
from fedvm.protocol.vector import IntVector
from fedvm.store.unixfs import cid_of

if TYPE_CHECKING:
    from fedvm.federation.client.accountant import Releases
    from fedvm.federation.client.distributed_privacy import SealedNoise

METRICS = "metrics"


@dataclass(frozen=True)
class SealedMember:
    """A member (checksummed address) with its signing key (hex), and where it keeps its epochs.

    rpc: the client's own JSON-RPC of the chain, None if it has none; then it believes what the coordinator says of
    roster, draw and included members, which docs/privacy.md weighs. noise: what it adds to its updates.
    """

    member: Address
    private_key: str
    home: SealedHome
    rpc: str | None = None
    noise: SealedNoise | None = None

    @classmethod
    def of(
        cls, context: Context, private_key: str, member: str, noise: SealedNoise | None = None
    ) -> SealedMember:
        """The member that a node is.

        Raises:
            TermsError: the node config names no folder for the state of sealed rounds.
        """
        rpc = context.node_config.get(RPC)
        own = str(rpc) if rpc else None
        return cls(to_address(member, "member"), private_key, sealed_home(context), own, noise)

    def step(self, message: Message, consent: Consent) -> Message:
        """The answer to a message that asks for a step of an epoch or round.

        Raises:
            TermsError: the message cannot be read, contradicts what this member knows, or asks for what it does not
            agree to.
        """
        record = message.content.config_records[SEALED_STEP]
        kind = str(record.get("step"))
        steps = {
            EnrolRequest.KIND: self._enrol,
            KeysRequest.KIND: self._exchange,
            EdgesRequest.KIND: self._agree,
            SharesRequest.KIND: self._share,
        }
        if kind not in steps:
            raise TermsError(f"the server asks for the step {kind!r}, which this client does not know")
        consent.check_federation(str(record.get("federation")))
        try:
            with self._folder(domain_of(record)).alone():
                reply = steps[kind](record, consent)
        except EncodingError as error:
            raise TermsError(str(error)) from error
        return Message(RecordDict({SEALED_STEP: reply}), reply_to=message)

    def sealed_before(self, number: int, terms: RoundTerms) -> KeptUpdate | None:
        """The update that this member has sealed in the round: a repeated question gets the same bytes. None if it has
        not, and may seal one. number: of the epoch.

        Raises:
            TermsError: this member has no keys of the epoch, or the rules and its noise do not fit.
            PrivacyBudgetSpent: another update would exceed its budget.
        """
        folder = self._folder(terms.domain)
        with folder.alone():
            state = folder.load(number)
        if state.sealed == terms.round:
            return state.update
        self._spend(state, terms)
        return None

    def _spend(self, state: EpochState, terms: RoundTerms) -> tuple[Releases | None, float | None]:
        """The updates that this member has sealed once it has sealed one in the round, and the ε that it has then
        spent; None and None if it adds no noise."""
        _check_room(self.noise, terms.rules, state.sealed_rules)
        if self.noise is None:
            return None, None
        if state.epoch is None:
            raise _no_keys(state)
        group = state.epoch.group_of(self.member)
        released = self.noise.one_more(state.released, terms.round, terms.rules, group)
        return released, self.noise.privacy.spend(released)

    def seal(
        self,
        number: int,
        terms: RoundTerms,
        update: IntVector,
        said: Attestation,
        metrics: dict[str, MetricRecordValues],
    ) -> KeptUpdate:
        """Mask and sign an update d, int32 (elements,), with this member's noise, and write it down. number: of the
        epoch; metrics: what the app reported.

        Raises:
            TermsError: this member has no keys of the epoch, its group sits out, or the rules do not fit its noise.
            PrivacyBudgetSpent: the update would exceed its budget.
        """
        folder = self._folder(terms.domain)
        with folder.alone():
            before = folder.load(number)
            state = before.in_round(terms.round)
            if state.update and state.sealed == terms.round:  # by another process, while this one trained
                return state.update
            released, spent = self._spend(state, terms)
            if spent is not None:
                said = replace(said, epsilon=spent)
            kept = self._sealed_in(state, terms, update, said, metrics)
            folder.save(replace(state, update=kept, released=released), before)
        return kept

    def _sealed_in(
        self,
        state: EpochState,
        terms: RoundTerms,
        update: IntVector,
        said: Attestation,
        metrics: dict[str, MetricRecordValues],
    ) -> KeptUpdate:
        if state.epoch is None or state.edges is None:
            raise _no_keys(state)
        width = lane_bytes(terms.rules, state.sealed_rules)
        weight = terms.rules.weight(said.examples)
        group = state.epoch.group_of(self.member)
        if self.noise is None:
            values = update.astype(np.int64) * np.int64(weight)
        else:
            words, ready = self.noise.words(terms.round), len(group.ready)
            values = self.noise.privacy.privatise(update, weight, terms.rules, ready, words)
        try:
            made = seal(state.epoch, self.member, state.edges, values, width, Masking.fresh(group))
        except EncodingError as error:
            raise TermsError(str(error)) from error
        masked = Masked(
            round=terms.round,
            rules_hash=terms.rules.digest(),
            base_root=terms.base_root,
            epoch_root=state.epoch.root,
            masked_root=made.masked_root,
            seeds_root=made.seeds_root,
            examples=said.examples,
            accuracy_ppm=said.accuracy_ppm,
            loss_micros=said.loss_micros,
            labels=said.labels or 0,
            epsilon_micros=said.epsilon_micros,
            deadline=terms.deadline,
            cid=cid_of(made.file).binary,
        )
        submission = SealedSubmission(self.member, masked, masked.sign(terms.domain, self.private_key))
        return KeptUpdate(submission, made.file, made.own, metrics)

    def _enrol(self, record: ConfigRecord, consent: Consent) -> ConfigRecord:
        request = EnrolRequest.from_record(record)
        consent.check_rules(request.rules)
        request.sealed.check_with(request.rules, 0)
        _check_room(self.noise, request.rules, request.sealed)
        folder = self._folder(request.domain)
        state = folder.latest()
        if state and state.number > request.epoch:
            raise TermsError(
                f"epoch {request.epoch} is over: this client has enrolled for epoch {state.number}"
            )
        if state is None or state.number < request.epoch:
            if self.rpc:
                from fedvm.federation.client.sealed_check import check_enrolment  # web3; a phone has no RPC

                check_enrolment(self.rpc, request.domain, request.epoch, request.sealed)
            state = EpochState.begun(request.domain, self.member, request.epoch, request.sealed, state)
            folder.save(state)
        if state.sealed_rules != request.sealed:
            raise TermsError(f"the server names other sealed rules for epoch {state.number} than before")
        mine = state.public
        statement = Enrol(
            request.epoch,
            request.rules.digest(),
            request.sealed.digest(),
            mine.x25519,
            mine.mlkem,
            request.deadline,
        )
        signature = statement.sign(request.domain, self.private_key)
        return EnrolReply(self.member, mine.x25519, state.mlkem, signature).to_record()

    def _exchange(self, record: ConfigRecord, consent: Consent) -> ConfigRecord:
        request = KeysRequest.from_record(record)
        folder = self._folder(request.draw.domain)
        state = folder.load(request.draw.number)
        if state.public not in request.draw.roster:
            raise TermsError("the roster sent does not hold this client's keys")
        _check_size(request.draw, state.sealed_rules)
        if state.draw is not None and state.draw != request.draw:
            raise TermsError(f"the server tells of another draw of epoch {state.number} than before")
        if self.rpc:
            from fedvm.federation.client.sealed_check import check_draw  # web3; a phone has no RPC

            check_draw(self.rpc, request.draw)
        if state.own is None:
            own = encapsulate_to_mates(request.draw, self.member, request.mlkem)
            state = replace(state, draw=request.draw, own=own)
            folder.save(state)
        assert state.own is not None
        ready = Ready(state.number, request.draw.roster_root, cid_of(published(state.own.data)).binary)
        return KeysReply(state.own.data, ready.sign(request.draw.domain, self.private_key)).to_record()

    def _agree(self, record: ConfigRecord, consent: Consent) -> ConfigRecord:
        request = EdgesRequest.from_record(record)
        folder = self._folder(request.domain)
        state = folder.load(request.epoch)
        if state.draw is None or state.own is None:
            raise TermsError(f"this client was not told the draw of epoch {state.number}")
        epoch = Epoch(state.draw, request.first_round, request.ready)
        if state.epoch is not None:
            if state.epoch != epoch:
                raise TermsError(
                    f"the server tells of other ready members of epoch {state.number} than before"
                )
            return ConfigRecord({"agreed": True})
        if self.rpc:
            from fedvm.federation.client.sealed_check import (
                check_key_files,
                check_ready,
            )  # web3; a phone has no RPC

            check_ready(self.rpc, epoch)
            check_key_files(self.rpc, epoch, self.member, request.files, request.signatures)
        assert state.keys is not None
        folder.save(
            state.agreed(epoch, agree_edges(epoch, self.member, state.keys, state.own, request.files))
        )
        return ConfigRecord({"agreed": True})

    def _share(self, record: ConfigRecord, consent: Consent) -> ConfigRecord:
        request = SharesRequest.from_record(record)
        folder = self._folder(request.domain)
        state = folder.load(request.epoch).in_round(request.round)
        epoch, edges = state.epoch, state.edges
        if epoch is None or edges is None:
            raise _no_keys(state)
        close = Close(epoch, request.round, request.included)
        if self.rpc:
            from fedvm.federation.client.sealed_check import check_close  # web3; a phone has no RPC

            check_close(self.rpc, close, request.base_root)
        own_base = state.update.submission.masked.base_root if state.update else b""
        if state.sealed == request.round and own_base != request.base_root:
            raise TermsError("the server names another base than this client's update is for")
        # Every update counts against the budget, also of a round that fails: so the budget covers the difference, too.
        bounded = self.noise is not None and self.noise.privacy.max_epsilon is not None
        new = may_answer(close, self.member, request.base_root, state.answered, bounded=bounded)
        if new not in state.answered:
            state = replace(state, answered=(*state.answered, new))
        folder.save(state)
        group = close.epoch.group_of(self.member)
        parts = {group.rank_of(member): part for member, part in request.parts.items()}
        own = state.update.own if state.update and state.sealed == request.round else None
        shares = answer(close, self.member, edges, own, parts)
        stated = Shares.over(request.round, close.hash, shares)
        return SharesReply(shares, stated.sign(request.domain, self.private_key)).to_record()

    def _folder(self, domain: Domain) -> SealedFolder:
        return SealedFolder(self.home, domain, self.member)


def masked_content(kept: KeptUpdate) -> RecordDict:
    """The content of the reply that brings a masked update: nothing else of what was trained leaves the client."""
    masked = MaskedReply(kept.submission, kept.file).to_record()
    return RecordDict({METRICS: MetricRecord(kept.metrics), REPLY: masked})


def epoch_of(content: RecordDict) -> int:
    """The epoch in which the update of a train message is to be sealed.

    Raises:
        TermsError: the message does not say.
    """
    record = content.config_records.get(SEALED_ROUND)
    value = record.get("epoch") if record else None
    if not isinstance(value, int):
        raise TermsError("the message does not say in which epoch the update is to be sealed")
    return value


def _no_keys(state: EpochState) -> TermsError:
    return TermsError(f"no keys were agreed in epoch {state.number}; this client sits it out")


def _check_room(noise: SealedNoise | None, rules: Rules, sealed: SealedRules) -> None:
    """Raise TermsError unless a member adds noise where the rules have it, no more than they leave room for and not
    far less. All members count on each other's."""
    if noise is not None:
        noise.privacy.check_rules(rules, sealed)
    elif sealed.noise_squares:
        raise TermsError(
            "in this federation every member adds noise to its group's sum (noiseSquares), and this client's app adds "
            "none: give it the privacy settings that the federation was created with, "
            "ClientApp(mods=[accountable_mod(privacy=DistributedPrivacy(…))])"
        )


def _check_size(draw: Draw, rules: SealedRules) -> None:
    """Of groups of other sizes than the member has signed for, the sum could be that of a few, or of itself alone."""
    if draw.group_size != rules.group_size:
        raise TermsError(
            f"the server draws groups of {draw.group_size}; the sealed rules that this client signed say "
            f"{rules.group_size}"
        )
    if len(draw.roster) < rules.min_roster:
        raise TermsError(
            f"the roster sent has {len(draw.roster)} members; the sealed rules that this client signed ask for "
            f"{rules.min_roster}"
        )
