"""Whether the evidence of rounds is stored where a federation asked for that: what was named, and what is there now."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field

from web3.exceptions import Web3Exception

from fedvm.audit.artefacts import round_artefacts
from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.findings import Finding, Ledger, Nature, Place
from fedvm.audit.scope import WHOLE, Scope
from fedvm.chain.errors import CallFailed, DeploymentError
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import FederationEvent, RoundFailed, RoundFinal, RoundOpened, RoundProposed
from fedvm.chain.pdp_verifier import PdpVerifier
from fedvm.chain.stored_evidence import (
    EvidenceEvent,
    EvidenceNamed,
    EvidenceRequired,
    EvidenceRule,
    StoredEvidenceContract,
)
from fedvm.protocol.address import Address
from fedvm.protocol.aggregators import is_over_bytes
from fedvm.store import MissingBlock, Store, StoreError
from fedvm.store.bundle import Bundles
from fedvm.store.piece import piece_of
from fedvm.store.warm_storage import cid_bytes


@dataclass
class EvidenceReplay:
    """Replays what one federation asks of stored evidence, and what was named for its proposals, into `ledger`."""

    reader: ChainReader
    contract: FederationContract
    store: Store
    ledger: Ledger
    scope: Scope = WHOLE
    _rule: EvidenceRule | None = None
    _live: int | None = None
    _proposals: int = 0
    _named: dict[Address, EvidenceNamed] = field(default_factory=dict)
    """By account, what it named last: it counts for a proposal of its own."""
    _counts: dict[int, tuple[EvidenceNamed, EvidenceRule]] = field(default_factory=dict)
    """By round, what was named for its latest proposal, and the rule that this was made under."""

    def run(self, first_block: int) -> None:
        """Replay everything from a block at or before the federation's creation."""
        head = self.reader.head
        book = StoredEvidenceContract.of(self.contract)
        told: list[EvidenceEvent] = list(book.events(first_block, head))
        says = book.rule(block=head)
        if not told and says is None:
            return
        events = [*told, *self.contract.events(first=first_block, last=head)]
        for event in sorted(events, key=lambda one: (one.at.block_number, one.at.log_index)):
            self._take(event)
        message = "what the events say of the storage of evidence is not what the contract says"
        self.ledger.check("standing", self._rule == says, Place(field="evidenceRule"), message)
        self._check_pieces(first_block)
        for number, (named, rule) in self._counts.items():
            if self.scope.wants(number):
                self._check_kept(number, named, rule)

    def _take(self, event: EvidenceEvent | FederationEvent) -> None:
        match event:
            case EvidenceRequired():
                place = Place(round=self._live, tx=event.at.tx_hash, event="EvidenceRequired")
                message = "the rule for the storage of evidence changed within a round"
                self.ledger.check("evidence rule", self._live is None, place, message)
                self._rule = event.rule
            case EvidenceNamed():
                self._on_named(event)
            case RoundOpened():
                self._live, self._proposals, self._named = event.round, 0, {}
            case RoundProposed():
                self._on_proposed(event)
            case RoundFinal():
                self._live = None
            case RoundFailed():
                self._live = None
                self._counts.pop(event.round, None)

    def _on_named(self, event: EvidenceNamed) -> None:
        listed = self._rule is not None and event.data_set in self._rule.data_sets
        in_time = (event.round, event.attempt) == (self._live, self._proposals)
        place = Place(round=event.round, tx=event.at.tx_hash, event="EvidenceNamed")
        message = (
            "names pieces for another proposal than the next one, or a data set that the rule does not list"
        )
        self.ledger.check("evidence", listed and in_time, place, message)
        self._named[event.proposer] = event

    def _on_proposed(self, event: RoundProposed) -> None:
        self._proposals, rule, named = event.attempt, self._rule, self._named.get(event.proposer)
        if rule is None:
            return
        stands = named is not None and (named.round, named.attempt + 1) == (event.round, event.attempt)
        place = Place(round=event.round, tx=event.at.tx_hash, event="RoundProposed")
        message = "was proposed without naming stored evidence before, as the federation asks"
        if self.ledger.check("evidence", stands, place, message) and named is not None:
            self._counts[event.round] = (named, rule)

    def _check_pieces(self, first_block: int) -> None:
        """Compute the pieces again from the artefacts of each round."""
        wanted = [number for number in self._counts if self.scope.wants(number)]
        if not wanted:
            return
        over_bytes = is_over_bytes(self.contract.rules())
        for number, cids in round_artefacts(self.contract, self.store, first_block, wanted):
            named, _ = self._counts[number]
            place = Place(round=number, tx=named.at.tx_hash)
            bundles = Bundles(self.store, cids, over_bytes=over_bytes)
            try:
                computed = sorted(cid_bytes(piece_of(io.BytesIO(car)).cid_v2) for car in bundles)
            except StoreError as error:
                self.ledger.unreadable("evidence data", place, error)
                continue
            if computed != sorted(named.cids) and bundles.missing:
                lacking = MissingBlock(
                    f"the pieces cannot be computed: the store lacks {len(bundles.missing)} artefacts of the round"
                )
                self.ledger.unreadable("evidence data", place, lacking)
                continue
            message = "the pieces that were named are not made of the round's artefacts"
            self.ledger.check("evidence data", computed == sorted(named.cids), place, message)

    def _check_kept(self, number: int, named: EvidenceNamed, rule: EvidenceRule) -> None:
        """Ask the verifier what is there now."""
        place = Place(round=number, tx=named.at.tx_hash)
        try:
            lost = list(self._lost(named, rule))
        except (CallFailed, DeploymentError, Web3Exception) as error:
            lost = [f"the verifier {rule.verifier} does not say what is there: {error}"]
        if not lost:
            self.ledger.check("evidence kept", True, place, "")
        for what in lost:
            self.ledger.findings.append(Finding("evidence kept", place, what, Nature.MISSING))

    def _lost(self, named: EvidenceNamed, rule: EvidenceRule) -> Iterable[str]:
        head, data_set = self.reader.head, named.data_set
        verifier = PdpVerifier(self.reader.w3, rule.verifier, block=head)
        if not verifier.is_live(data_set):
            yield f"data set {data_set} is not there any more"
            return
        proven = verifier.last_proven(data_set)
        if head - proven > rule.max_age:
            yield (
                f"data set {data_set} was last proved in epoch {proven:,}, {head - proven:,} epochs ago; the "
                f"federation asks for {rule.max_age:,} at most"
            )
        for piece, cid in zip(named.piece_ids, named.cids, strict=True):
            if not verifier.has_piece(data_set, piece):
                yield f"piece {piece} of data set {data_set} is not there any more"
            elif verifier.piece_cid(data_set, piece) != cid:
                yield f"piece {piece} of data set {data_set} has another CID than was named"
