"""Takes in a masked update: its file is held against what its member signed, and staged in the store."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flwr.app import Message, RecordDict

from fedvm.federation.coordinator.reception import Received
from fedvm.federation.errors import CommitmentError
from fedvm.federation.sealed.messages import MaskedReply
from fedvm.protocol import EncodingError, ProofError
from fedvm.protocol.sealed.coordinator import check_file
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.store import Store
from fedvm.store.unixfs import cid_of


@dataclass(frozen=True)
class SealedIntake:
    """Takes in the replies of a sealed round. elements: of the model; lane_bytes: of a masked vector."""

    store: Store
    epoch: Epoch
    elements: int
    lane_bytes: int

    def __call__(self, reply: Message) -> Received:
        """Check a reply and stage its file. Raises only what the store raises (for a full disk, say)."""
        node_id = reply.metadata.src_node_id
        if reply.has_error():
            return Received(node_id, RecordDict(), failure=str(reply.error.reason))
        received = Received(node_id, RecordDict(dict(reply.content.metric_records)))
        try:
            masked = MaskedReply.from_content(reply.content)
        except CommitmentError as error:
            return replace(received, failure=str(error))
        received = replace(received, submission=masked.submission)
        one = masked.submission
        try:
            if cid_of(masked.file).binary != one.masked.cid:
                raise ProofError(f"the CID that {one.member} states is not that of the file it sent")
            check_file(self.epoch, one.member, one.masked, masked.file, self.elements, self.lane_bytes)
        except (EncodingError, ProofError) as error:
            return replace(received, withheld=str(error))
        self.store.stage(masked.file)
        return received
