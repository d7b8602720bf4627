"""A client's update: difference, clip, quantize, commit, sign; and the coordinator's check of the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedvm.federation.errors import CommitmentError
from fedvm.federation.keys import account_of
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import (
    Domain,
    EncodingError,
    Place,
    Rules,
    Submission,
    Update,
    int32_from_bytes,
    max_sum_squares,
    quantize_update,
    sign_update,
    to_bytes,
    update_tree,
)
from fedvm.protocol.address import to_address
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS
from fedvm.protocol.vector import IntVector
from fedvm.store.unixfs import cid_of

PPM = 1_000_000

Quantizer = Callable[[NDArray[np.float64], Rules], IntVector]
"""From a float difference of shape (elements,) and the rules to the int32 update."""


@dataclass(frozen=True)
class Attestation:
    """What a client says of its training: examples, validation accuracy (0..1) and mean validation loss, how many
    distinct labels its examples have, and the ε of differential privacy that it has spent in this federation.

    Attested, not proved. None means that the app does not measure a value. It is then signed as accuracy 0, the largest
    loss, 0 labels or ε = 0, which claims nothing.
    """

    examples: int
    accuracy: float | None
    loss: float | None
    labels: int | None = None
    epsilon: float | None = None

    @property
    def accuracy_ppm(self) -> int:
        """Accuracy in parts per million, rounded down; 0 for one that is not finite."""
        return int(self.accuracy * PPM) if self.accuracy is not None and math.isfinite(self.accuracy) else 0

    @property
    def loss_micros(self) -> int:
        """Loss in millionths, rounded up; the largest value for a loss that is not finite or too large."""
        return NOT_ATTESTED_LOSS if self.loss is None else _micros(self.loss)

    @property
    def epsilon_micros(self) -> int:
        """ε in millionths, rounded up; the largest value for one that is not finite or too large."""
        return 0 if self.epsilon is None else _micros(self.epsilon)


@dataclass(frozen=True)
class SignedUpdate(Submission):
    """A member's update at its client: what is submitted, and the int32 vector (elements,) that it commits to."""

    vector: IntVector

    @property
    def submission(self) -> Submission:
        """The update without its vector."""
        return Submission(self.member, self.update, self.signature)


Fingerprint = tuple[bytes, int, bytes]
"""What identifies a vector in its place: root and Σd² of its sum tree, and the binary CID a store keeps it under."""


def fingerprint(vector: IntVector, place: Place) -> Fingerprint:
    """Of an update, int32 (n,), in its place; clients state the CID and need no store.

    Raises EncodingError if the vector cannot be encoded.
    """
    return _fingerprint(to_bytes(vector), place)


@lru_cache(maxsize=1)
def _fingerprint(data: bytes, place: Place) -> Fingerprint:
    # Cached: a process that simulates clients commits to an update and then checks the same one.
    tree = update_tree(int32_from_bytes(data, len(data) // 4), place)
    return tree.root, tree.sum_squares, cid_of(data).binary


@lru_cache(maxsize=16)
def norm_bound(rules: Rules) -> float:
    """The largest float L2 bound whose integer form is within the rules, in real units."""
    bound = math.ldexp(math.sqrt(rules.max_sum_squares), -rules.fraction_bits)
    while max_sum_squares(bound, rules.fraction_bits) > rules.max_sum_squares:
        bound = math.nextafter(bound, 0.0)
    return bound


def clip_and_quantize(difference: NDArray[np.float64], rules: Rules) -> IntVector:
    """Clip to the rules' norm and round toward zero, so that an honest update always passes the rule."""
    return quantize_update(difference, norm_bound(rules), rules.fraction_bits)


def commit(
    vector: IntVector,
    terms: RoundTerms,
    attestation: Attestation,
    private_key: str,
    member: str | None = None,
) -> SignedUpdate:
    """Commit to an update in its place and sign it with a key (hex). It is the member's own key, unless `member` names
    the member (checksummed) that appointed it.

    Raises EncodingError if a stated value does not fit its field (a negative count of examples, say).
    """
    signs_for = to_address(member or account_of(private_key).address, "member")
    root, total, cid = fingerprint(vector, terms.domain.place(terms.round, signs_for))
    update = Update(
        round=terms.round,
        rules_hash=terms.rules.digest(),
        base_root=terms.base_root,
        update_root=root,
        sum_squares=total,
        elements=int(vector.size),
        fraction_bits=terms.rules.fraction_bits,
        examples=attestation.examples,
        accuracy_ppm=attestation.accuracy_ppm,
        loss_micros=attestation.loss_micros,
        labels=attestation.labels or 0,
        epsilon_micros=attestation.epsilon_micros,
        deadline=terms.deadline,
        cid=cid,
    )
    return SignedUpdate(signs_for, update, sign_update(update, terms.domain, private_key), vector)


def check_commitment(signed: SignedUpdate, domain: Domain) -> None:
    """Check that the vector matches the statement: root, sum of squares, length, CID.

    The contract judges the signature and the rules, so that a refusal is recorded. But a statement about other data
    must not reach the contract, since nobody could fetch what was committed to.
    Raises CommitmentError naming the member and the value.
    """
    update = signed.update
    if signed.vector.size != update.elements:
        raise CommitmentError(
            f"{signed.member} states {update.elements} elements but sent {signed.vector.size}"
        )
    try:
        root, total, cid = fingerprint(signed.vector, domain.place(update.round, signed.member))
    except EncodingError as error:
        raise CommitmentError(f"the update of {signed.member} cannot be encoded: {error}") from error
    if (root, total) != (update.update_root, update.sum_squares):
        raise CommitmentError(f"the update that {signed.member} sent is not the one it committed to")
    if cid != update.cid:
        raise CommitmentError(f"the CID that {signed.member} states is not that of the update it sent")


def _micros(value: float) -> int:
    if not math.isfinite(value):
        return NOT_ATTESTED_LOSS
    return min(max(math.ceil(value * PPM), 0), NOT_ATTESTED_LOSS)
