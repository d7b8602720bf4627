"""Opens the range of a sealed round as it was stated: down to the records and submissions, or to what is wrong in it.

Known data are judged first. The rest is asked for only if nothing is wrong with these.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedvm.audit.preimages import Preimages
from fedvm.audit.sealed_case import SealedCase, StatedRecord
from fedvm.audit.vector_walk import Asked, PreimagesMissing, Trail
from fedvm.chain import sealed_proofs as proofs
from fedvm.chain.court import Evidence
from fedvm.chain.sealed_proofs import RangeNode
from fedvm.protocol import EncodingError
from fedvm.protocol.commitments import COMMITMENT_NODE
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.sealed.records import SealedRecord, SealedSubmission

_NODE_BYTES = 65


def stated_records(case: SealedCase, source: Preimages) -> Evidence | tuple[StatedRecord, ...]:
    """All records of the round in order, each right; or evidence against one, or against a node above it.

    source: what is known of the hashes stated. Raises PreimagesMissing when more must be asked for.
    """
    found: dict[int, StatedRecord] = {}
    missing: list[Asked] = []
    first = 0
    for height, peak in case.stated.peaks_by_height.items():
        wrong = _open_peak(case, source, (height, peak, first), found, missing)
        if wrong is not None:
            return wrong
        first += 1 << height
    if missing:
        raise PreimagesMissing(missing)
    return tuple(found[index] for index in range(case.stated.accepted))


def _open_peak(
    case: SealedCase,
    source: Preimages,
    at: tuple[int, bytes, int],
    found: dict[int, StatedRecord],
    missing: list[Asked],
) -> Evidence | None:
    """at: the peak's height and hash, and the index of its first record."""
    height, peak, first = at
    pending: list[tuple[int, int, bytes, tuple[bytes, ...], Trail]] = [(height, 0, peak, (), Trail(source))]
    while pending:
        level, position, stated, siblings, above = pending.pop()
        if stated == EMPTY:  # nobody can be asked for its preimage
            return proofs.malformed_range(RangeNode(height, position, b"", siblings))
        try:
            preimage, trail = above.open(stated, level + 2)  # the records' submissions are a level more
        except PreimagesMissing as one:
            missing += one.questions
            continue
        node = RangeNode(height, position, preimage, siblings)
        if level > 0:
            if len(preimage) != _NODE_BYTES or preimage[:1] != COMMITMENT_NODE:
                return proofs.malformed_range(node)
            pair = preimage[1:33], preimage[33:]
            for side in (1, 0):
                beside = (pair[1 - side], *siblings)
                pending.append((level - 1, 2 * position + side, pair[side], beside, trail))
            continue
        judged = _record(case, node, first + position, trail)
        if isinstance(judged, Evidence):
            return judged
        if isinstance(judged, StatedRecord):
            found[judged.index] = judged
        else:
            missing += judged
    return None


def _record(
    case: SealedCase, node: RangeNode, index: int, trail: Trail
) -> Evidence | StatedRecord | Sequence[Asked]:
    """What a leaf of the range holds; evidence if it is wrong, or the question for its submission."""
    try:
        record = SealedRecord.parse(node.preimage)
    except EncodingError:
        return proofs.malformed_range(node)
    if record.submission == EMPTY:
        return proofs.malformed_range(node)
    try:
        data, below = trail.open(record.submission, 1)
    except PreimagesMissing as one:
        return one.questions
    try:
        submission = SealedSubmission.parse(data)
    except EncodingError:
        return proofs.malformed_range(node, data)
    stated = StatedRecord(index, record, node.siblings, submission, below.opened)
    if case.is_right(stated):
        return stated
    return proofs.wrong_record(case.shape, stated.seat, case.roster(index))
