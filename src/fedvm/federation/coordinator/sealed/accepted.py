"""The updates that count of a sealed round, from its published file."""

from __future__ import annotations

from fedvm.chain.events import Place
from fedvm.chain.federation_types import UpdateAccepted
from fedvm.protocol.sealed.records import SealedFile


def accepted_of(number: int, file: SealedFile) -> tuple[UpdateAccepted, ...]:
    """The updates that count, as the events of an open round would tell of them. Of a sealed one the root is that of
    the masked vector, and nothing is known of its own norm."""
    nowhere = Place(0, "0x" + "00" * 32, 0)
    return tuple(
        UpdateAccepted(
            round=number,
            member=one.member,
            update_root=one.masked.masked_root,
            weight=record.weight,
            examples=one.masked.examples,
            accuracy_ppm=one.masked.accuracy_ppm,
            loss_micros=one.masked.loss_micros,
            labels=one.masked.labels,
            epsilon_micros=one.masked.epsilon_micros,
            sum_squares=0,
            deadline=one.masked.deadline,
            cid=one.masked.cid,
            signature=one.signature,
            at=nowhere,
        )
        for record, one in zip(file.records, file.parsed, strict=True)
    )
