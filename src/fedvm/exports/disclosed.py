"""The samples of a committed validation set that trials have disclosed, from the transactions that asked them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hexbytes import HexBytes

from fedvm.chain.decoding import decoded_input
from fedvm.chain.gate import GateTerms, PromotionGate, SampleAsked
from fedvm.exports.facts import AskedSample
from fedvm.exports.sources import Citations
from fedvm.protocol import EncodingError, Sample
from fedvm.protocol.samples import sample_root


def disclosed_samples(
    gate: PromotionGate, terms: GateTerms, asked: Sequence[SampleAsked], cite: Citations
) -> tuple[tuple[AskedSample, ...], str]:
    """Each sample that was asked, checked against the gate's commitment; and why some could not be read, "" if all
    could. Raises ChainError if the chain cannot be read."""
    found: list[AskedSample] = []
    given: dict[str, tuple[int, Sequence[Any]]] = {}
    for event in asked:
        tx_hash = event.at.tx_hash
        if tx_hash not in given:
            given[tx_hash] = _given(gate, tx_hash)
        first, rows = given[tx_hash]
        if not first <= event.number < first + len(rows):
            continue
        sample = _checked(rows[event.number - first], event, terms)
        if sample is not None:
            call = f"SampleAsked(version={event.version}, number={event.number})"
            source = cite.audited(call, event.at, contract=gate.address)
            found.append(AskedSample(event.version, event.index, event.number, sample, event.answer, source))
    lost = len(asked) - len(found)
    return tuple(
        found
    ), f"{lost} samples that were asked cannot be read from their transactions" if lost else ""


def _given(gate: PromotionGate, tx_hash: str) -> tuple[int, Sequence[Any]]:
    """The number of the first sample that a transaction gave, and the samples; none if it called another contract."""
    name, arguments = decoded_input(
        gate.contract, bytes(gate.w3.eth.get_transaction(HexBytes(tx_hash))["input"])
    )
    return (arguments["first"], arguments["samples"]) if name == "runSamples" else (0, ())


def _checked(row: Any, event: SampleAsked, terms: GateTerms) -> Sample | None:
    try:
        sample = Sample(bytes(row["salt"]), row["label"], bytes(row["input"]))
        root = sample_root(terms.samples, event.index, sample, [bytes(one) for one in row["siblings"]])
    except EncodingError:
        return None
    return sample if root == terms.samples_root else None
