"""What a member of a sealed federation keeps on its own disk: keys of the epoch, edges, updates sealed, answers given.

Two rules of the protocol are about memory: a member seals a round once, and answers over one base for one included set
only. So everything is written down before it leaves the machine, by one process at a time, and what was answered over
the present base outlasts the epoch. The folder is readable by its owner alone; whoever has it can open what this member
sealed in the present round, and nothing of rounds before: their edges are deleted, and so is all that edges are made
from once they are agreed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from fedvm.federation.client.accountant import Releases
from fedvm.federation.errors import TermsError
from fedvm.federation.keys import SealedHome
from fedvm.files import write_atomically
from fedvm.jsontext import parse_json
from fedvm.protocol import Domain, EncodingError
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.sealed.deposit import Held
from fedvm.protocol.sealed.edges import Edges
from fedvm.protocol.sealed.epoch import Draw, Epoch, read_draw, read_epoch
from fedvm.protocol.sealed.keys import EpochKeys
from fedvm.protocol.sealed.member import Answered, KeyFile
from fedvm.protocol.sealed.records import SealedSubmission
from fedvm.protocol.sealed.roster import Enrolment
from fedvm.protocol.sealed.rules import SealedRules

_STATE = "epoch.json"
_LOCK = ".lock"
_UPDATE = "round-"
MOST_TURNS = 1 << 16
"""Rounds that a member goes on at once: as many as an epoch can have. Each takes a hash an edge, and none can be taken
back."""


@dataclass(frozen=True)
class KeptUpdate:
    """An update as this member sealed it. own: its own shares of its seeds. metrics: what the app reported with it."""

    submission: SealedSubmission
    file: bytes
    own: Held
    metrics: dict[str, Any]


@dataclass(frozen=True)
class EpochState:
    """A member's memory of an epoch; what comes later in it is None before. keys: its private keys, None once edges are
    agreed. public: what the roster says of it; mlkem: its raw public key. own: its key file and, until edges are
    agreed, the secrets in it. released: the updates that it has sealed with noise in this federation, all epochs
    together; None if it does not know, since it is new or has lost its folder, or if it adds no noise."""

    domain: Domain
    member: Address
    number: int
    keys: EpochKeys | None
    public: Enrolment
    mlkem: bytes
    sealed_rules: SealedRules
    draw: Draw | None = None
    own: KeyFile | None = None
    epoch: Epoch | None = None
    edges: Edges | None = None
    answered: tuple[Answered, ...] = ()
    update: KeptUpdate | None = None
    released: Releases | None = None

    @classmethod
    def begun(
        cls, domain: Domain, member: Address, number: int, sealed_rules: SealedRules, last: EpochState | None
    ) -> EpochState:
        """A new epoch, with fresh keys. last: the epoch before it, None if this member knows none. What it answered
        over the base of its last answer stays known: after rounds that fail, the same base is trained from again."""
        answered: tuple[Answered, ...] = ()
        if last and last.answered:
            base = last.answered[-1].base_root
            answered = tuple(one for one in last.answered if one.base_root == base)
        keys = EpochKeys.generate()
        public, mlkem = keys.enrolment(member), keys.mlkem_public
        state = cls(domain, member, number, keys, public, mlkem, sealed_rules, answered=answered)
        return replace(state, released=last.released) if last else state

    def agreed(self, epoch: Epoch, edges: Edges) -> EpochState:
        """The state once the edges of an epoch are agreed. What they are made from is gone with it: it would give the
        edges of all rounds again, those that are over among them."""
        assert self.own is not None
        return replace(self, epoch=epoch, edges=edges, keys=None, own=replace(self.own, kem={}))

    @property
    def sealed(self) -> int:
        """The round of the latest update, 0 if there is none."""
        return self.update.submission.masked.round if self.update else 0

    def in_round(self, number: int) -> EpochState:
        """The state with the edges of a round; those before are gone for good.

        Raises:
            TermsError: keys have not been agreed, or the round is over for this member.
        """
        if self.edges is None:
            raise TermsError(f"no keys were agreed in epoch {self.number}; this client sits it out")
        if number - self.edges.round > MOST_TURNS:
            raise TermsError(
                f"the server asks for round {number}, and this client is in round {self.edges.round}: no epoch has as "
                "many rounds"
            )
        try:
            return replace(self, edges=self.edges.advanced(number))
        except EncodingError as error:
            raise TermsError(str(error)) from error


@dataclass(frozen=True)
class SealedFolder:
    """Where a member keeps its epochs: one folder a federation and member below that of `home`."""

    home: SealedHome
    domain: Domain
    member: Address
    _folder: Path = field(init=False)

    def __post_init__(self) -> None:
        folder = self.home.path / f"{self.domain.chain_id}-{self.domain.federation}" / self.member
        object.__setattr__(self, "_folder", folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the folder for one message: of two at once each would know nothing of what the other gives away.

        Raises:
            TermsError: the folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            held = (self._folder / _LOCK).open("a")
        except OSError as error:
            raise TermsError(f"this client cannot keep its state of sealed rounds: {error}") from error
        with held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def save(self, state: EpochState, before: EpochState | None = None) -> None:
        """Write a state down, whole or not at all; the epoch before is forgotten with it. Only for who holds the folder
        (`alone`): what a process that was killed was about to write is deleted, since it has edges that are over.

        before: the state that it takes the place of, when an update is new. The file of an update before it stays, to
        be written over in the next round: to delete a file and make another takes longer than to write it. In an epoch
        without an update none stays: what was sealed before it is forgotten.

        Raises:
            TermsError: the folder cannot be written; then nothing must leave the client.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.chmod(0o700)
            kept = _beside(state)
            for name, content in kept.items():
                if not self._has(name, content) and not self._written_over(name, content, before):
                    write_atomically(self._folder / name, content, durable=self.home.durable, private=True)
            content = json.dumps(_plain(state)).encode()
            write_atomically(self._folder / _STATE, content, durable=self.home.durable, private=True)
            left = [
                old for old in self._folder.iterdir() if _is_left_behind(old.name) and old.name not in kept
            ]
            spare = _spare(left) if state.update else None
            for old in left:
                if old.name != spare:
                    old.unlink(missing_ok=True)
        except OSError as error:
            raise TermsError(f"this client cannot keep its state of sealed rounds: {error}") from error

    def _has(self, name: str, content: bytes) -> bool:
        """Whether a file is there already: most change less often than the state is written."""
        try:
            return (self._folder / name).read_bytes() == content
        except FileNotFoundError:
            return False

    def _written_over(self, name: str, content: bytes, before: EpochState | None) -> bool:
        """Whether an update could be written over one that no state names any more. Until it is whole it has no name
        that a state could have."""
        if before is None or not before.update or not name.startswith(_UPDATE):
            return False
        named = {name, _name(before.sealed)}
        spare = next((one for one in self._folder.glob(f"{_UPDATE}*") if one.name not in named), None)
        if spare is None:
            return False
        unnamed = spare.replace(self._folder / f".{name}.")
        with unnamed.open("r+b") as file:
            file.write(content)
            file.truncate()
            file.flush()
            if self.home.durable:
                os.fsync(file.fileno())
        unnamed.replace(self._folder / name)
        return True

    def load(self, number: int) -> EpochState:
        """The state of an epoch.

        Raises:
            TermsError: there is none, or it cannot be read; the client then takes no part in the epoch.
        """
        state = self.latest()
        if state is None:
            raise TermsError(f"this client has no keys of epoch {number}; it did not enrol")
        if state.number != number:
            raise TermsError(f"this client keeps epoch {state.number}, and has no keys of epoch {number}")
        return state

    def latest(self) -> EpochState | None:
        """The state of the latest epoch that this member knows, None if it knows none.

        Raises:
            TermsError: it cannot be read. What it says of answers given is not to be lost, so nothing replaces it.
        """
        path = self._folder / _STATE
        try:
            return self._state(parse_json(path.read_text()))
        except FileNotFoundError as error:
            if path.exists():
                raise TermsError(f"{error.filename} is missing beside {path}; restore it") from error
            return None
        except (OSError, KeyError, TypeError, ValueError, EncodingError) as error:
            raise TermsError(f"{path} cannot be read: {error}") from error

    def _state(self, fields: dict[str, Any]) -> EpochState:
        draw = epoch = None
        if drawn_from := fields["draw"]:
            packed = (self._folder / _roster(fields["number"])).read_bytes()
            seed = bytes.fromhex(drawn_from["seed"])
            drawn = self.domain, fields["number"], drawn_from["group_size"], packed, seed
            draw = read_draw(*drawn)
            if fields["ready"] is not None:
                epoch = read_epoch(*drawn, fields["first_round"], bytes.fromhex(fields["ready"]))
        own = edges = update = None
        if fields["own"]:
            kem = {int(rank): bytes.fromhex(one) for rank, one in fields["own"]["kem"].items()}
            own = KeyFile((self._folder / _keys(fields["number"])).read_bytes(), kem)
        if fields["edges"]:
            by_rank = {int(rank): bytes.fromhex(one) for rank, one in fields["edges"]["keys"].items()}
            edges = Edges(fields["edges"]["round"], by_rank)
        if stated := fields["update"]:
            submission = SealedSubmission.parse(bytes.fromhex(stated["submission"]))
            held = {int(rank): bytes.fromhex(one) for rank, one in stated["own"].items()}
            file = (self._folder / _name(submission.masked.round)).read_bytes()
            update = KeptUpdate(submission, file, Held(held), stated["metrics"])
        answered = tuple(
            Answered(one[0], bytes.fromhex(one[1]), bytes.fromhex(one[2]), tuple(map(to_address, one[3])))
            for one in fields["answered"]
        )
        keys = EpochKeys.from_bytes(bytes.fromhex(fields["keys"])) if fields["keys"] else None
        x25519, mlkem_hash, mlkem = (bytes.fromhex(one) for one in fields["public"])
        return EpochState(
            self.domain,
            self.member,
            fields["number"],
            keys,
            Enrolment(self.member, x25519, mlkem_hash),
            mlkem,
            SealedRules(*fields["sealed_rules"]),
            draw,
            own,
            epoch,
            edges,
            answered,
            update,
            Releases(*fields["released"]) if fields["released"] else None,
        )


def _plain(state: EpochState) -> dict[str, Any]:
    update, own, edges = state.update, state.own, state.edges
    return {
        "number": state.number,
        "keys": state.keys and state.keys.to_bytes().hex(),
        "public": [one.hex() for one in (state.public.x25519, state.public.mlkem, state.mlkem)],
        "sealed_rules": state.sealed_rules.as_tuple(),
        "draw": state.draw and _plain_draw(state.draw),
        "own": own and {"kem": _hex_by_rank(own.kem)},
        "ready": state.epoch and state.epoch.ready.hex(),
        "first_round": state.epoch and state.epoch.first_round,
        "edges": edges and {"round": edges.round, "keys": _hex_by_rank(edges.keys)},
        "answered": [
            [one.round, one.base_root.hex(), one.closed_hash.hex(), list(one.included)]
            for one in state.answered
        ],
        "update": update
        and {
            "submission": update.submission.to_bytes().hex(),
            "own": _hex_by_rank(update.own.shares),
            "metrics": update.metrics,
        },
        "released": state.released and astuple(state.released),
    }


def _hex_by_rank(values: Any) -> dict[str, str]:
    return {str(rank): one.hex() for rank, one in values.items()}


def _plain_draw(draw: Draw) -> dict[str, Any]:
    return {"group_size": draw.group_size, "seed": draw.seed.hex()}


def _beside(state: EpochState) -> dict[str, bytes]:
    """What lies in files of its own beside the state, by their names: it is long, and stays as it is for an epoch or a
    round, while the state is written in every step."""
    files = {}
    if state.draw:
        files[_roster(state.number)] = state.draw.roster_bytes
    if state.own:
        files[_keys(state.number)] = state.own.data
    if state.update:
        files[_name(state.sealed)] = state.update.file
    return files


def _roster(number: int) -> str:
    return f"epoch-{number}.roster"


def _keys(number: int) -> str:
    return f"epoch-{number}.keys"


def _name(number: int) -> str:
    return f"{_UPDATE}{number}.masked"


def _spare(left: list[Path]) -> str | None:
    """Of the files that a state does not name, the one of an update to write over: any will do."""
    return next((old.name for old in left if old.name.startswith(_UPDATE)), None)


def _is_left_behind(name: str) -> bool:
    """Whether a file is of an epoch or an update, or was being written when its process was killed."""
    return name.lstrip(".").startswith((_UPDATE, "epoch-")) or name.startswith(f".{_STATE}.")
