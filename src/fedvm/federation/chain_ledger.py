"""The ledger on a real chain: the Federation contract over any web3 provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from web3.contract import Contract

from fedvm.encoding import Rules
from fedvm.federation.commitment import SignedUpdate
from fedvm.federation.ledger import (
    AcceptedUpdate,
    LedgerRound,
    RefusedUpdate,
    RoundGas,
    RoundStatus,
    Verdict,
    by_address,
)

BATCH_BYTES = 48_000
"""Calldata one `submit` may take: under FEVM's 64 KiB of a message, with room for the envelope."""
_SUBMISSION_BYTES = 900


class Refusal(IntEnum):
    """The contract's reasons, in its order."""

    None_ = 0
    NotMember = 1
    Duplicate = 2
    BadSignature = 3
    WrongRound = 4
    WrongRules = 5
    WrongBase = 6
    WrongShape = 7
    Expired = 8
    TooFewExamples = 9
    NormTooLarge = 10
    AccuracyTooLow = 11
    LossTooHigh = 12


class ChainLedger:
    """A `Ledger` over the web3 contract object; `coordinator` is an address that the provider signs for."""

    def __init__(self, contract: Contract, coordinator: str) -> None:
        self._contract = contract
        self._coordinator = coordinator
        self._w3 = contract.w3

    @property
    def chain_id(self) -> int:
        return int(self._w3.eth.chain_id)

    @property
    def address(self) -> str:
        return str(self._contract.address)

    def rules(self) -> Rules:
        return Rules(*self._contract.functions.rules().call())

    def members(self) -> tuple[str, ...]:
        return tuple(sorted(self._contract.functions.members().call(), key=by_address))

    def current_round(self) -> int:
        return int(self._contract.functions.currentRound().call())

    def round(self, number: int) -> LedgerRound:
        (state, _, deadline, _, accepted, weight, base_root, _, model_root, aggregate_root) = (
            self._contract.functions.round(number).call()
        )
        final = RoundStatus(state) is RoundStatus.FINAL
        return LedgerRound(
            number=number,
            status=RoundStatus(state),
            seed=bytes(self._contract.functions.roundSeed(number).call()),
            base_root=bytes(base_root),
            model_root=bytes(model_root),
            aggregate_root=bytes(aggregate_root),
            deadline=int(deadline),
            accepted=int(accepted),
            total_weight=int(weight),
            model_cid=bytes(self._logs("RoundFinal", round=number)[0]["args"]["cid"]) if final else b"",
        )

    def model_cid(self) -> bytes:
        final = self._logs("RoundFinal")
        if final:
            return bytes(final[-1]["args"]["cid"])
        return bytes(self._logs("FederationCreated")[0]["args"]["modelCid"])

    def model_root(self) -> bytes:
        return bytes(self._contract.functions.modelRoot().call())

    def verdicts(self, number: int) -> tuple[Verdict, ...]:
        logs = [*self._logs("UpdateAccepted", round=number), *self._logs("UpdateRefused", round=number)]
        logs.sort(key=lambda log: (log["blockNumber"], log["logIndex"]))
        return tuple(_verdict(log) for log in logs)

    def gas(self, number: int) -> RoundGas:
        submits = ("UpdateAccepted", "UpdateRefused")
        return RoundGas(
            self._gas_of(("RoundOpened",), number),
            self._gas_of(submits, number),
            self._gas_of(("RoundFinal", "RoundFailed"), number),
        )

    def now(self) -> int:
        return int(self._w3.eth.get_block("latest")["timestamp"])

    def open_round(self) -> LedgerRound:
        self._transact(self._contract.functions.openRound())
        return self.round(self.current_round())

    def submit(self, number: int, updates: Sequence[SignedUpdate]) -> None:
        ordered = sorted(updates, key=lambda signed: by_address(signed.member))
        for batch in _batches(ordered):
            submissions = [(s.member, s.update.as_tuple(), s.signature) for s in batch]
            self._transact(self._contract.functions.submit(number, submissions))

    def finalise(self, number: int, *, model_root: bytes, aggregate_root: bytes, cid: bytes) -> None:
        self._transact(self._contract.functions.finalizeRound(number, model_root, aggregate_root, cid))

    def fail(self, number: int) -> None:
        self._transact(self._contract.functions.failRound(number))

    def _transact(self, function: Any) -> None:
        sent = function.transact({"from": self._coordinator})
        self._w3.eth.wait_for_transaction_receipt(sent)

    def _logs(self, event: str, **filters: int) -> list[Any]:
        return list(self._contract.events[event].get_logs(from_block=0, argument_filters=filters))

    def _gas_of(self, events: tuple[str, ...], number: int) -> int:
        sent = {log["transactionHash"] for event in events for log in self._logs(event, round=number)}
        return sum(int(self._w3.eth.get_transaction_receipt(tx)["gasUsed"]) for tx in sent)


def _batches(updates: Sequence[SignedUpdate]) -> Iterator[Sequence[SignedUpdate]]:
    size = BATCH_BYTES // _SUBMISSION_BYTES
    for start in range(0, len(updates), size):
        yield updates[start : start + size]


def _verdict(log: Mapping[str, Any]) -> Verdict:
    args = log["args"]
    if log["event"] == "UpdateRefused":
        return RefusedUpdate(
            args["member"], Refusal(args["reason"]).name, bytes(args["updateRoot"]), bytes(args["cid"])
        )
    return AcceptedUpdate(
        member=args["member"],
        weight=args["weight"],
        examples=args["examples"],
        update_root=bytes(args["updateRoot"]),
        sum_squares=args["sumSquares"],
        accuracy_ppm=args["accuracyPpm"],
        loss_micros=args["lossMicros"],
        cid=bytes(args["cid"]),
    )
