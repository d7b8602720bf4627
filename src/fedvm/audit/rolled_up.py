"""What a round that was rolled up comes to, for whoever proposes it in its coordinator's place.

Who proposes over a roll-up answers for all that this states, with its own bond. So the roll-up, and the proposal to be,
are judged as by a challenger before anything is sent: whatever could be proved wrong, or asked for in vain, is an
error here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from fedvm.audit.errors import AuditError
from fedvm.audit.pending_round import round_over
from fedvm.audit.proposal_fraud import find_fraud
from fedvm.audit.rollup_fraud import rollup_case
from fedvm.audit.sealed_case import sealed_case
from fedvm.audit.sealed_fraud import SealedFraud
from fedvm.audit.vector_walk import PreimagesMissing
from fedvm.chain.court import Evidence
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Premises, Proposal
from fedvm.chain.genuine import is_sealed
from fedvm.protocol import EncodingError, ProofError, SignatureError, model_root, to_bytes
from fedvm.protocol.aggregation import CountedUpdate, aggregation_tree
from fedvm.protocol.commitments import commitment_tree
from fedvm.protocol.mean import weighted_mean
from fedvm.protocol.preimages import by_hash, of_rollup
from fedvm.protocol.sealed.recomputation import recompute
from fedvm.protocol.sealed.records import SealedFile
from fedvm.protocol.trees import aggregate_root
from fedvm.protocol.vector import IntVector, SumVector
from fedvm.store import Store, StoreError, cid_of
from fedvm.store.masked import StoredMasked

_ANCHOR_DEPTH: Final = 64
"""Blocks below the head of what a proposal names as read: deep enough to stand, and recent for 192 more blocks."""


@dataclass(frozen=True)
class Result:
    """What a round comes to: the proposal that says so, the sums S int64 (n,), and the new model int32 (n,)."""

    proposal: Proposal
    sums: SumVector
    model: IntVector


def rolled_up_result(contract: FederationContract, store: Store, number: int, first_block: int) -> Result:
    """What the latest round comes to, which was rolled up for the weighted mean. first_block: at or before the
    federation's creation.

    Raises AuditError if the store lacks something of it, or if the roll-up is false: who proposed over it would lose
    its bond.
    """
    judged = _sealed_result if is_sealed(contract.w3, contract.address) else _open_result
    try:
        return judged(contract, store, number, first_block)
    except PreimagesMissing as missing:
        raise AuditError(
            f"{len(missing.questions)} parts of the roll-up of round {number} are in no store that was named; who "
            "proposed over it could not show them, and would lose its bond: fetch them first"
        ) from missing
    except StoreError as error:
        raise AuditError(f"round {number} cannot be computed: {error}; fetch what it lacks first") from error
    except (EncodingError, ProofError, SignatureError) as error:
        raise AuditError(
            f"the roll-up of round {number} does not follow: {error}; do not propose over it"
        ) from error


def _open_result(contract: FederationContract, store: Store, number: int, first_block: int) -> Result:
    case = rollup_case(contract, number, first_block)
    if case is None:
        raise AuditError(f"no roll-up of round {number} is told of; search from an earlier block")
    known = by_hash(of_rollup(store.get(case.stated.cid))).get
    rollup = case.examine(known)
    if isinstance(rollup, Evidence):
        raise _false(number, rollup)
    pending = round_over(contract, store, number, first_block=first_block, rollup=rollup)
    pairs = zip(pending.commitments, pending.published, strict=True)
    counted = [CountedUpdate(commitment, tree.vector) for commitment, tree in pairs]
    tree, made = aggregation_tree(counted), weighted_mean(pending.base.vector.astype("int32"), counted)
    premises = Premises(len(counted), made.total_weight, commitment_tree(pending.commitments).digest())
    result = _result(contract, premises, tree.root, made.sums, made.model, case.stated.at.block_number)
    said = result.proposal
    judged = replace(
        pending,
        aggregation_root=said.aggregation_root,
        aggregate_root=said.aggregate_root,
        model_root=said.model_root,
    )
    if (evidence := find_fraud(judged, known)) is not None:
        raise _false(number, evidence)
    return result


def _sealed_result(contract: FederationContract, store: Store, number: int, first_block: int) -> Result:
    case = sealed_case(contract, store, number, first_block)
    file = SealedFile.parse(store.get(case.stated.cid))
    terms, counting = case.terms, tuple(group.group.number for group in case.counting)
    vectors = StoredMasked(store, case.close, file, terms.base.size, terms.lane_bytes)
    made = recompute(case.close, counting, file, vectors, terms)
    premises = Premises(len(file.records), file.total_weight, file.range.digest())
    sums, model = made.aggregate.sums, made.aggregate.model
    result = _result(contract, premises, made.root, sums, model, case.stated.at.block_number)
    said = result.proposal
    stands = replace(
        case.round,
        aggregation_root=said.aggregation_root,
        aggregate_root=said.aggregate_root,
        model_root=said.model_root,
    )
    evidence = SealedFraud(replace(case, round=stands), store).find(lambda wanted: None)
    if evidence is not None:
        raise _false(number, evidence)
    return result


def _result(
    contract: FederationContract,
    premises: Premises,
    root: bytes,
    sums: SumVector,
    model: IntVector,
    rolled_up_in: int,
) -> Result:
    cid = cid_of(to_bytes(model)).binary
    proposal = Proposal(
        premises, root, aggregate_root(sums), model_root(model), cid, _anchor(contract, rolled_up_in)
    )
    return Result(proposal, sums, model)


def _anchor(contract: FederationContract, rolled_up_in: int) -> tuple[int, bytes]:
    """A block at or after that of the roll-up: on another history a proposal reverts."""
    head = int(contract.w3.eth.block_number)
    block = contract.w3.eth.get_block(max(rolled_up_in, head - _ANCHOR_DEPTH))
    return int(block["number"]), bytes(block["hash"])


def _false(number: int, evidence: Evidence) -> AuditError:
    what = evidence.fraud.name.replace("_", " ").lower()
    return AuditError(
        f"the roll-up of round {number} is false ({what}): who proposed over it would lose its bond; let the round run "
        "out"
    )
