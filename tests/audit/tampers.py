"""Every single change that somebody can make to what an audit reads: walked, not listed.

The walk takes every event of every contract that told one, each of its topics and each word of its data; every input
of the transactions behind them; every header; every artefact in the store; every contract's code. The first event of a
kind stands for the others.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from eth_utils.abi import event_abi_to_log_topic
from hexbytes import HexBytes
from tampered_node import Change, TamperedNode, TamperedStore, flipped, in_answer, in_logs
from web3 import Web3
from web3.contract import Contract

from fedvm.audit.artefacts import artefacts
from fedvm.audit.findings import AuditReport, Nature, Place
from fedvm.audit.run_files import RunFiles
from fedvm.chain.artifacts import FEDERATION, contract_at
from fedvm.chain.genuine import sidecars
from fedvm.chain.model_service import ModelService
from fedvm.store import Cid
from fedvm.store.cid import RAW

WORD = 32
INPUT_REGIONS = 6
"""Bytes that are changed in the input of a transaction, evenly spread."""


@dataclass
class Subject:
    """What is audited: an honest record behind a node and a store that can lie."""

    name: str
    node: TamperedNode
    store: TamperedStore
    federation: str | None
    service: str | None
    first_block: int
    directory: Path | None = None
    program: tuple[str, ...] = ()
    _before: dict[Path, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._program = self.program

    @property
    def files(self) -> RunFiles | None:
        """The run's directory, if there is one."""
        return None if self.directory is None else RunFiles(self.directory, self.program)

    def write(self, file: Path, data: bytes) -> None:
        """Change a file of the run's directory."""
        self._before[file] = file.read_bytes()
        file.write_bytes(data)

    def restore(self) -> None:
        """Take every change back."""
        self.node.change = None
        self.store.restore()
        self.program = self._program
        while self._before:
            file, data = self._before.popitem()
            file.write_bytes(data)

    @property
    def w3(self) -> Web3:
        return Web3(self.node)

    def contracts(self) -> dict[str, Contract]:
        """Every contract that is audited, by name."""
        found: dict[str, Contract] = {}
        if self.federation is not None:
            found[FEDERATION] = contract_at(self.w3, FEDERATION, self.federation)
            for name, address in sidecars(self.w3, self.federation).items():
                found[name] = contract_at(self.w3, name, address)
        if self.service is not None:
            service = ModelService(self.w3, self.service)
            found["ModelService"] = service.contract
            if (gate := service.gate()) is not None:
                found["PromotionGate"] = gate.contract
        return found


@dataclass(frozen=True)
class Tamper:
    """A change and how the audit must name it. kind: what sort of thing is changed."""

    kind: str
    what: str
    apply: Callable[[Subject], None]
    names: Callable[[AuditReport], bool]

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def walk(subject: Subject) -> Iterator[Tamper]:
    """All of them."""
    logs = first_of_each(subject)
    for log, contract, name in logs:
        yield from of_fields(log, contract, name, receipts=False)
    for log, contract, name in logs:
        yield from of_fields(log, contract, name, receipts=True)
    for log, _, name in logs:
        yield omitted(log, name)
    for log, _, name in logs:
        yield from of_transaction(subject, log, name)
        yield from of_header(subject, log, name)
    yield from of_store(subject)
    yield from of_code(subject)
    yield from of_files(subject)


def first_of_each(subject: Subject) -> list[tuple[Any, Contract, str]]:
    """The first event of each kind, its contract, and its name."""
    contracts = subject.contracts()
    named = {
        (contract.address, event_abi_to_log_topic(entry).hex()): (contract, entry["name"])
        for contract in contracts.values()
        for entry in contract.abi
        if entry["type"] == "event"
    }
    query = {
        "address": [contract.address for contract in contracts.values()],
        "fromBlock": hex(subject.first_block),
        "toBlock": "latest",
    }
    found: dict[str, tuple[Any, Contract, str]] = {}
    for log in subject.node.make_request("eth_getLogs", [query])["result"]:
        known = named.get((Web3.to_checksum_address(log["address"]), log["topics"][0][2:]))
        if known is not None:
            found.setdefault(known[1], (log, *known))
    return list(found.values())


def _same(log: Any, other: Any) -> bool:
    return (log["blockNumber"], log["logIndex"]) == (other["blockNumber"], other["logIndex"])


def of_fields(log: Any, contract: Contract, name: str, *, receipts: bool) -> Iterator[Tamper]:
    """Each indexed argument and each word of the data, changed by a bit."""
    regions = [("topic", at) for at in range(1, len(log["topics"]))]
    regions += [("data", at) for at in range(0, (len(log["data"]) - 2) // 2, WORD)]
    for part, at in regions:
        forged = _forged(log, part, at)
        fields = _different(contract, name, log, forged)
        kind = "event in the index and in the receipt" if receipts else "event in the index"
        tx = log["transactionHash"]

        def change(entries: list[Any], forged: Any = forged) -> list[Any]:
            return [forged if _same(entry, forged) else entry for entry in entries]

        def named(report: AuditReport, fields: frozenset[str] = fields, tx: str = tx) -> bool:
            found = [one.place for one in report.findings if one.place.tx == tx]
            if receipts:  # where the receipt lies as well, no field can be told from others
                return any(place.event for place in found)
            return any(place.event and (place.field in fields or not fields) for place in found)

        def apply(subject: Subject, change: Any = change) -> None:
            subject.node.change = in_logs(change, receipts=receipts)

        words = ", ".join(sorted(fields)) or "its encoding"
        yield Tamper(kind, f"{name}: {part} {at} ({words})", apply, named)


def _forged(log: Any, part: str, at: int) -> Any:
    if part == "topic":
        topics = [*log["topics"]]
        topics[at] = flipped(topics[at], WORD - 1)
        return {**log, "topics": topics}
    last = min(at + WORD, (len(log["data"]) - 2) // 2) - 1
    before = log["data"][2 + 2 * at : 2 + 2 * last + 2].rstrip("0")
    place = (
        max(at, at + -(-len(before) // 2) - 1) if before else last
    )  # of bytes, the last that is not padding
    return {**log, "data": flipped(log["data"], place)}


def _different(contract: Contract, name: str, log: Any, forged: Any) -> frozenset[str]:
    """The names of the arguments that differ, with dots; none if the forged event cannot be decoded."""
    try:
        one, other = (dict(_flat(_decoded(contract, name, each))) for each in (log, forged))
    except Exception:
        return frozenset()
    return frozenset(key for key in {**one, **other} if one.get(key) != other.get(key))


def _decoded(contract: Contract, name: str, log: Any) -> Mapping[str, Any]:
    entry = {
        "address": log["address"],
        "topics": [HexBytes(topic) for topic in log["topics"]],
        "data": HexBytes(log["data"]),
        "blockNumber": 0,
        "blockHash": HexBytes(log["blockHash"]),
        "transactionHash": HexBytes(log["transactionHash"]),
        "transactionIndex": 0,
        "logIndex": 0,
    }
    return contract.events[name]().process_log(entry)["args"]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{key}.")
        elif isinstance(item, list | tuple) and item and isinstance(item[0], Mapping):
            for index, one in enumerate(item):
                yield from _flat(one, f"{prefix}{key}[{index}].")
        else:
            yield f"{prefix}{key}", item


def omitted(log: Any, name: str) -> Tamper:
    """The event is not listed, and its receipt says nothing of it."""
    tx = log["transactionHash"]

    def apply(subject: Subject) -> None:
        def change(entries: list[Any]) -> list[Any]:
            return [entry for entry in entries if not _same(entry, log)]

        subject.node.change = in_logs(change, receipts=False)

    def named(report: AuditReport) -> bool:
        return any(
            (one.place.tx == tx and one.place.event == name)
            or one.check in ("standing", "event order", "contracts")
            for one in report.findings
        )

    return Tamper("event left out", name, apply, named)


def of_transaction(subject: Subject, log: Any, name: str) -> Iterator[Tamper]:
    """Bytes of the input of the transaction behind an event."""
    tx = log["transactionHash"]
    size = (len(subject.node.make_request("eth_getTransactionByHash", [tx])["result"]["input"]) - 2) // 2
    for at in sorted({round(step * (size - 1) / (INPUT_REGIONS - 1)) for step in range(INPUT_REGIONS)}):

        def change(result: Any, at: int = at) -> Any:
            return {**result, "input": flipped(result["input"], at)}

        def apply(subject: Subject, change: Any = change) -> None:
            subject.node.change = in_answer("eth_getTransactionByHash", tx, change)

        yield Tamper("transaction", f"byte {at} of the input behind {name}", apply, _at(tx=tx))


def of_header(subject: Subject, log: Any, name: str) -> Iterator[Tamper]:
    """Fields of the header of an event's block."""
    number = log["blockNumber"]
    for part in ("timestamp", "receiptsRoot", "mixHash", "hash"):

        def change(result: Any, part: str = part) -> Any:
            value = result[part]
            changed = hex(int(value, 16) ^ 1) if part == "timestamp" else flipped(value, 7)
            return {**result, part: changed}

        def apply(subject: Subject, change: Any = change) -> None:
            subject.node.change = in_answer("eth_getBlockByNumber", number, change)

        yield Tamper("header", f"{part} of the block of {name}", apply, _at(tx=log["transactionHash"]))


def of_store(subject: Subject) -> Iterator[Tamper]:
    """Every artefact: its first, middle and last byte changed; cut; withheld."""
    listed = artefacts(
        subject.w3,
        subject.store,
        federation=subject.federation,
        service=subject.service,
        first_block=subject.first_block,
    )
    seen: set[bytes] = set()
    for one in listed:
        if one.cid in seen:
            continue
        seen.add(one.cid)
        cid = Cid.from_binary(one.cid)
        assert cid.codec == RAW, "the small records hold artefacts of one block each"
        data = subject.store.get_block(cid)
        regions = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}
        for where, at in regions.items():
            changed = bytearray(data)
            changed[at] ^= 1
            yield _in_store(f"the {where} byte of {one.what}", str(cid), bytes(changed), one.round)
        yield _in_store(f"the end of {one.what}", str(cid), data[:-1], one.round)
        yield _in_store(f"{one.what}", str(cid), None, one.round)


def _in_store(what: str, cid: str, data: bytes | None, round_: int | None) -> Tamper:
    nature = Nature.MISSING if data is None else Nature.FALSE

    def apply(subject: Subject) -> None:
        if data is None:
            subject.store.withheld.add(cid)
        else:
            subject.store.alter(cid, data)

    def named(report: AuditReport) -> bool:
        natures = {one.nature for one in report.findings}
        return natures <= {nature, Nature.UNVERIFIED} and any(
            one.nature is nature
            and (one.place.cid == cid or cid in one.message)
            and (not round_ or one.place.round == round_)
            for one in report.findings
        )

    return Tamper("withheld artefact" if data is None else "artefact", what, apply, named)


def of_code(subject: Subject) -> Iterator[Tamper]:
    """Bytes of the code of every contract: the first, one in the middle, the last."""
    homes = {name: contract.address for name, contract in subject.contracts().items()}
    if subject.service is not None:
        service = ModelService(subject.w3, subject.service)
        for event in service.versions(first=subject.first_block):
            for index, part in enumerate(event.version.parts):
                homes[f"part {index} of version {event.id}"] = part.account
    for name, address in homes.items():
        if name in ("ModelService", "PromotionGate"):
            continue  # told by the transaction that created them, not by their code
        code = subject.node.make_request("eth_getCode", [address, "latest"])["result"]
        size = (len(code) - 2) // 2
        for at in sorted({0, size // 2, size - 1}):

            def change(result: Any, at: int = at) -> Any:
                return flipped(result, at)

            def apply(subject: Subject, address: str = address, change: Any = change) -> None:
                subject.node.change = in_answer("eth_getCode", address, change)

            def named(report: AuditReport, address: str = address, name: str = name) -> bool:
                checks = ("contracts", "code on chain")
                return any(
                    one.check in checks and address.lower() in one.message.lower() for one in report.findings
                )

            yield Tamper("code", f"byte {at} of {name}", apply, named)


def of_files(subject: Subject) -> Iterator[Tamper]:
    """Bytes of what a run leaves beside its chain and store."""
    if subject.directory is None:
        return
    home, program = subject.directory, subject.program
    names = [
        "model.onnx",
        "model.int.onnx",
        *(f"program/{file.name}" for file in (home / "program").iterdir()),
    ]
    names = [name for name in names if name.endswith((".onnx", ".bin", "manifest.json"))]
    for name in names:
        size = (home / name).stat().st_size
        for at in sorted({size // 3, size // 2, 2 * size // 3}):

            def apply(subject: Subject, name: str = name, at: int = at) -> None:
                data = bytearray((home / name).read_bytes())
                data[at] ^= 1
                subject.write(home / name, bytes(data))

            def named(report: AuditReport, name: str = name) -> bool:
                return [one.place.file for one in report.findings] == [name]

            yield Tamper("file", f"byte {at} of {name}", apply, named)
    samples = home / "gate-samples.npz"
    for part in ("inputs", "labels", "salts") if samples.is_file() else ():

        def other(subject: Subject, part: str = part) -> None:
            with np.load(samples) as held:
                arrays = {name: held[name] for name in held.files}
            arrays[part].reshape(-1)[0] ^= 1
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)
            subject.write(samples, buffer.getvalue())

        def of_samples(report: AuditReport) -> bool:
            return [one.place.file for one in report.findings] == [samples.name]

        yield Tamper("file", f"{part} of {samples.name}", other, of_samples)
    for index in range(len(program)):

        def replaced(subject: Subject, index: int = index) -> None:
            others = [*program]
            others[index] = Web3.to_checksum_address(flipped(others[index], 19))
            subject.program = tuple(others)

        def told(report: AuditReport) -> bool:
            return [one.place.file for one in report.findings] == ["deployment.json"]

        yield Tamper("file", f"program {index} of deployment.json", replaced, told)


def _at(**place: Any) -> Callable[[AuditReport], bool]:
    wanted = Place(**place)

    def named(report: AuditReport) -> bool:
        return any(wanted.tx == one.place.tx or wanted.tx in one.message for one in report.findings)

    return named


__all__ = ["Change", "Subject", "Tamper", "walk"]
