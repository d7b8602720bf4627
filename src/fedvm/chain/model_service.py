"""The ModelService contract, typed, on any chain web3 can reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from eth_account.signers.local import LocalAccount
from numpy.typing import NDArray
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import Web3Exception

from fedvm.chain.artifacts import MODEL_SERVICE, contract_at
from fedvm.chain.call import read
from fedvm.chain.deploy import contract_code, deploy_code
from fedvm.chain.deployer import Deployer
from fedvm.chain.errors import CallFailed, DeploymentError, MalformedEvent
from fedvm.chain.events import EventReader, Place, RawEvent
from fedvm.chain.fees import Contribution, Earnings, FeeTerms, Lineage
from fedvm.chain.gate import NO_GATE, GateTerms, PromotionGate
from fedvm.chain.headers import block_header
from fedvm.chain.prepared import PreparedCall
from fedvm.chain.revert import explain, revert_data
from fedvm.chain.sender import Receipt, Sender
from fedvm.evm.keccak import keccak

NO_FEDERATION = "0x" + "00" * 20
NO_ROOT = bytes(32)
DECISION_SECONDS = 3600
"""Within which a decision must land."""


@dataclass(frozen=True)
class ProgramPart:
    """A contract of a program, and the keccak-256 that its runtime code must have."""

    account: str
    code_hash: bytes


@dataclass(frozen=True)
class Version:
    """A version of the model; the first part is the entry contract. ``gas``: what each answer is given, in the chain's
    own gas.

    ``federation`` is the zero address, ``round`` 0 and ``model_root`` zero if the model has no lineage on
    chain.
    """

    parts: tuple[ProgramPart, ...]
    gas: int
    integer_onnx_digest: bytes
    onnx_cid: bytes
    federation: str = NO_FEDERATION
    round: int = 0
    model_root: bytes = NO_ROOT

    @property
    def program(self) -> str:
        return self.parts[0].account

    @property
    def has_lineage(self) -> bool:
        return int(self.federation, 16) != 0

    def as_tuple(self) -> tuple[Any, ...]:
        return (
            self.program,
            self.gas,
            self.federation,
            self.round,
            self.model_root,
            self.integer_onnx_digest,
            self.onnx_cid,
            [(part.account, part.code_hash) for part in self.parts],
        )

    @classmethod
    def of(cls, value: Any) -> Version:
        _, gas, federation, round_id, model_root, digest, cid, parts = value
        pinned = tuple(ProgramPart(account, bytes(code_hash)) for account, code_hash in parts)
        return cls(pinned, gas, bytes(digest), bytes(cid), federation, round_id, bytes(model_root))


@dataclass(frozen=True)
class VersionRegistered:
    id: int
    version: Version
    at: Place


@dataclass(frozen=True)
class VersionServes:
    """A version serves in place of the previous one, 0 if there was none."""

    version: int
    previous: int
    at: Place


@dataclass(frozen=True)
class Decision:
    """A recorded decision. ``input`` is None if it was longer than 4 KiB, ``scores`` if they and the input did not fit
    an event of 8 KiB; their hashes (`hash_of_scores`) always are there. ``label``: index of the greatest score, the
    first among equals."""

    id: int
    caller: str
    version: int
    input_hash: bytes
    input: bytes | None
    label: int
    scores_hash: bytes
    scores: tuple[int, ...] | None
    at: Place


class ModelService:
    """A deployed ModelService. Inputs are bytes in the ONNX model's layout; scores are int32 [outputs]."""

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.w3 = w3
        self.contract: Contract = contract_at(w3, MODEL_SERVICE, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self._events = EventReader(w3, self.contract, self.sender.network)

    @classmethod
    def deploy(
        cls, w3: Web3, account: LocalAccount, *, owner: str | None = None, gate: GateTerms | None = None
    ) -> tuple[ModelService, Receipt]:
        """Create a service; ``account`` pays, and owns it unless ``owner`` is given.

        gate: what versions must pass to serve; without one they serve as soon as they are registered. Raises
        NetworkError when no gate could draw samples on the chain.
        """
        sender = Sender(w3)
        if gate is not None and not sender.network.is_filecoin:
            block_header(w3, w3.eth.block_number)
        code = service_code(w3, owner or str(account.address), gate)
        receipt = deploy_code(sender, account, code, action=f"creating {MODEL_SERVICE}")
        assert receipt.contract_address is not None
        return cls(w3, receipt.contract_address, sender=sender), receipt

    @classmethod
    def deploy_at(
        cls, deployer: Deployer, account: LocalAccount, salt: bytes, *, gate: GateTerms | None = None
    ) -> ModelService:
        """The service that ``account`` owns at the address that follows from the salt, created unless it is there.

        Raises as :meth:`deploy`.
        """
        w3 = deployer.sender.w3
        code = service_code(w3, str(account.address), gate)
        if gate is not None and not deployer.sender.network.is_filecoin:
            block_header(w3, w3.eth.block_number)
        address, _ = deployer.create(account, code, action=f"creating {MODEL_SERVICE}", salt=salt)
        return cls(w3, address, sender=deployer.sender)

    def register(
        self, account: LocalAccount, version: Version, *, gas: int | None = None
    ) -> tuple[VersionRegistered, Receipt]:
        """Register ``version`` (owner). Without a gate it serves from now on, with one its trial begins: then the
        gate's bond is sent along. gas: limit for the transaction, estimated if None."""
        gate = self.gate()
        bond = 0 if gate is None else gate.terms().bond
        receipt = self._send(account, "register", version.as_tuple(), value=bond, gas=gas)
        (event,) = (e for e in self._events.decode(receipt.raw["logs"]) if e.name == "VersionRegistered")
        return _registered(event), receipt

    def scan_part(self, account: LocalAccount, parts: Sequence[ProgramPart], index: int) -> Receipt:
        """Have one part of a program scanned before it is registered, which then costs less gas (anyone)."""
        pinned = [(part.account, part.code_hash) for part in parts]
        return self._send(account, "scanPart", pinned, index)

    def rollback(self, version_id: int) -> PreparedCall:
        """Let a version serve again that has served before (owner)."""
        return self._prepared("rollback", version_id)

    def gate(self) -> PromotionGate | None:
        """The gate that versions must pass, None if there is none."""
        address = str(read(self.contract, "gate"))
        return None if int(address, 16) == 0 else PromotionGate(self.w3, address, sender=self.sender)

    def owner(self) -> str:
        """Checksummed address of the account that registers versions and sets fees."""
        return str(read(self.contract, "owner"))

    def current_version(self) -> int:
        """Number of the version that serves; 0 if none is registered."""
        return int(read(self.contract, "currentVersion"))

    def version_count(self) -> int:
        """How many versions are registered; their numbers begin with 1."""
        return int(read(self.contract, "versionCount"))

    def version(self, version_id: int) -> Version:
        return Version.of(read(self.contract, "version", version_id))

    def predict(self, data: bytes, *, version: int | None = None) -> NDArray[np.int32]:
        """Scores by the serving version, or by an older one."""
        if version is None:
            scores = read(self.contract, "predict", data)
        else:
            scores = read(self.contract, "predictWith", version, data)
        return np.array(scores, dtype=np.int32)

    def classify(self, data: bytes) -> int:
        """Index of the highest of the scores that `predict` gives, the first among equals."""
        return int(read(self.contract, "classify", data))

    def predict_gas(self, data: bytes) -> int:
        """Gas of a transaction that calls ``predict``, as the node estimates it."""
        call: Any = {"to": self.contract.address, "data": self.contract.encode_abi("predict", args=[data])}
        try:
            return int(self.w3.eth.estimate_gas(call))
        except Web3Exception as error:
            raise CallFailed("predict", explain(error), data=revert_data(error)) from error

    def decide(
        self,
        account: LocalAccount,
        data: bytes,
        *,
        expected_version: int | None = None,
        max_fee: int = 0,
        seconds: int = DECISION_SECONDS,
    ) -> tuple[Decision, Receipt]:
        """Predict and record it: caller, version, input (up to 4 KiB, public for ever) and scores.

        Pays the version's fee. Reverts with ``FeeTooHigh`` if that is more than ``max_fee`` wei, with
        ``VersionMismatch`` if another version than ``expected_version`` (default: the one that serves now)
        has come into service meanwhile, and with ``DeadlinePassed`` if it lands more than ``seconds`` after
        the latest block.
        """
        (decision,), receipt = self._decide(account, "decide", data, 1, expected_version, max_fee, seconds)
        return decision, receipt

    def decide_many(
        self,
        account: LocalAccount,
        inputs: Sequence[bytes],
        *,
        expected_version: int | None = None,
        max_fee: int = 0,
        seconds: int = DECISION_SECONDS,
    ) -> tuple[tuple[Decision, ...], Receipt]:
        """The same for several inputs in one transaction, all or none; ``max_fee`` for each of them."""
        count = len(inputs)
        return self._decide(account, "decideMany", list(inputs), count, expected_version, max_fee, seconds)

    def set_fee(self, version_id: int, terms: FeeTerms) -> PreparedCall:
        """Set what later decisions by a version cost (owner)."""
        return self._prepared("setFee", version_id, terms.as_tuple())

    def fee_terms(self, version_id: int) -> FeeTerms:
        """What a decision by a version costs."""
        return FeeTerms(*read(self.contract, "feeTerms", version_id))

    def collection(self, version_id: int, contribution: Contribution) -> PreparedCall:
        """Credit an update's share of a version's fees to its member (anyone may)."""
        return self._prepared("collect", version_id, *contribution.as_tuple())

    def earnings(self, version_id: int) -> Earnings:
        """What a version has earned for those who contributed to it."""
        return Earnings(*read(self.contract, "earnings", version_id))

    def shares_collected(self, version_id: int, first: int = 0) -> dict[int, int]:
        """Wei of a version's fees collected for each update, by the update's position among the accepted ones."""
        collected: Counter[int] = Counter()
        for event in self._events.fetch(["ShareCollected"], first):
            if event.args["version"] == version_id:
                collected[event.args["position"]] += event.args["amount"]
        return dict(collected)

    def owed(self, address: str) -> int:
        """Wei that an account may withdraw."""
        return int(read(self.contract, "owed", address))

    def withdrawal(self) -> PreparedCall:
        """Send whoever calls all it is owed."""
        return self._prepared("withdraw")

    def lineage(self, decision_id: int) -> Lineage:
        """Version, code, round, rules and roots behind a recorded decision."""
        return Lineage.of(read(self.contract, "lineage", decision_id))

    def decisions(self, first: int = 0, last: int | None = None) -> Iterator[Decision]:
        """Recorded decisions in order, from block ``first`` to ``last`` (None: the head)."""
        for event in self._events.fetch(["Decision"], first, last):
            yield _decision(event)

    def served(self, first: int = 0, last: int | None = None) -> Iterator[VersionServes]:
        """Changes of the serving version in order."""
        for event in self._events.fetch(["VersionServes"], first, last):
            yield VersionServes(**event.args, at=event.at)

    def versions(self, first: int = 0, last: int | None = None) -> Iterator[VersionRegistered]:
        """Registrations in order."""
        for event in self._events.fetch(["VersionRegistered"], first, last):
            yield _registered(event)

    def _decide(
        self,
        account: LocalAccount,
        function: str,
        inputs: Any,
        count: int,
        expected_version: int | None,
        max_fee: int,
        seconds: int,
    ) -> tuple[tuple[Decision, ...], Receipt]:
        expected = self.current_version() if expected_version is None else expected_version
        deadline = int(self.w3.eth.get_block("latest")["timestamp"]) + seconds
        fee = min(self.fee_terms(expected).amount, max_fee)
        arguments = (inputs, expected, max_fee, deadline)
        receipt = self._send(account, function, *arguments, value=fee * count)
        events = self._events.decode(receipt.raw["logs"])
        return tuple(_decision(event) for event in events if event.name == "Decision"), receipt

    def _prepared(self, function: str, *arguments: Any) -> PreparedCall:
        return PreparedCall(self.sender, self.contract, f"ModelService.{function}", arguments)

    def _send(
        self,
        account: LocalAccount,
        function: str,
        *arguments: Any,
        value: int = 0,
        gas: int | None = None,
    ) -> Receipt:
        return self.sender.transact(
            account, self.contract, f"ModelService.{function}", *arguments, value=value, gas=gas
        )


def hash_of_scores(scores: Sequence[int]) -> bytes:
    """keccak-256 of the scores, int32, as words of 32 bytes in a row: what a decision records of them."""
    return keccak(b"".join(score.to_bytes(32, signed=True) for score in scores))


def service_code(w3: Web3, owner: str, gate: GateTerms | None) -> bytes:
    """The init code of a service with this owner (hex address) and gate."""
    terms = NO_GATE if gate is None else gate.as_tuple()
    return contract_code(w3, MODEL_SERVICE, (owner, terms))


def pin_parts(w3: Web3, addresses: Sequence[str]) -> tuple[ProgramPart, ...]:
    """The contracts of a program with the hashes of the code that is on chain now, the entry first."""
    parts = []
    for address in addresses:
        code = bytes(w3.eth.get_code(Web3.to_checksum_address(address)))
        if not code:
            raise DeploymentError(f"no code at {address}; deploy the program before it is registered")
        parts.append(ProgramPart(Web3.to_checksum_address(address), keccak(code)))
    return tuple(parts)


def _registered(event: RawEvent) -> VersionRegistered:
    args = event.args
    parts = [tuple(p.values()) if hasattr(p, "values") else p for p in args["parts"]]
    version = Version.of(
        (
            args["program"],
            args["gas"],
            args["federation"],
            args["round"],
            args["modelRoot"],
            args["integerOnnxDigest"],
            args["onnxCid"],
            parts,
        )
    )
    if not parts or args["program"] != version.program:
        message = (
            f"what is listed as {event.name} in {event.at.tx_hash} names another program than its first part"
        )
        raise MalformedEvent(message, event.at.tx_hash)
    return VersionRegistered(args["version"], version, event.at)


def _decision(event: RawEvent) -> Decision:
    args = event.args
    recorded = bytes(args["input"])
    # An empty input means "too long to record", unless the hash is that of the empty input.
    known = recorded if recorded or keccak(b"") == bytes(args["inputHash"]) else None
    scores = tuple(args["scores"])
    return Decision(
        args["id"],
        args["caller"],
        args["version"],
        bytes(args["inputHash"]),
        known,
        args["label"],
        bytes(args["scoresHash"]),
        scores if scores else None,
        event.at,
    )
