"""The file of a masked update: the vector, the commitments to its seeds, and the deposit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedvm.protocol.errors import ShapeError
from fedvm.protocol.sealed.deposit import deposit_bytes
from fedvm.protocol.sealed.epoch import Group
from fedvm.protocol.sealed.masks import Lanes, from_bytes, to_bytes


@dataclass(frozen=True)
class MaskedFile:
    """lanes: the masked vector, uint64 (n,). commitments: to the seeds, 32 bytes each, by rank of a ready member."""

    lanes: Lanes
    commitments: Mapping[int, bytes]
    deposit: bytes

    def to_bytes(self, lane_bytes: int) -> bytes:
        """k bytes a lane, big-endian ‖ the commitments of ready members in order of rank ‖ the deposit."""
        commitments = b"".join(self.commitments[rank] for rank in sorted(self.commitments))
        return to_bytes(self.lanes, lane_bytes) + commitments + self.deposit

    @classmethod
    def parse(cls, data: bytes, group: Group, elements: int, lane_bytes: int) -> MaskedFile:
        """The file of a member of a group.

        Raises:
            ShapeError: it has another length than such a file.
        """
        deposit = read_deposit(data, group, elements, lane_bytes)
        vector, hashes = elements * lane_bytes, 32 * len(group.ready)
        starts = range(vector, vector + hashes, 32)
        commitments = {rank: data[at : at + 32] for rank, at in zip(group.ready, starts, strict=True)}
        return cls(from_bytes(data[:vector], elements, lane_bytes), commitments, deposit)


def read_deposit(data: bytes, group: Group, elements: int, lane_bytes: int) -> bytes:
    """The deposit of a member's file alone. Raises ShapeError as `MaskedFile.parse`."""
    hashes = 32 * len(group.ready)
    expected = elements * lane_bytes + hashes + deposit_bytes(group)
    if len(data) != expected:
        raise ShapeError(
            f"a masked update of {elements} lanes of {lane_bytes} bytes among {len(group.ready)} ready takes "
            f"{expected} bytes, the file has {len(data)}"
        )
    return data[elements * lane_bytes + hashes :]
