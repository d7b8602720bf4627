"""Keeps artefacts on Filecoin Onchain Cloud: a provider holds them, proves that it does, and is paid on chain.

Each artefact is a CAR of its own, known to Filecoin by its piece CID; the data set asks the provider to index the CARs'
blocks, so they are read from it as from any gateway of IPFS. What was uploaded and added is written to a journal beside
the client's settings before and after each step, so a killed process pays for nothing twice.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import secrets
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from eth_account import Account

from fedvm.jsontext import parse_json
from fedvm.protocol import EncodingError
from fedvm.protocol.address import to_address
from fedvm.store.bundle import car_of
from fedvm.store.errors import ReadOnlyStore, StoreError
from fedvm.store.gateway import TrustlessGateway
from fedvm.store.http import Patience
from fedvm.store.interface import HeldPieces
from fedvm.store.pdp import Provider, Waiting
from fedvm.store.piece import piece_of
from fedvm.store.unixfs import cid_of
from fedvm.store.warm_storage import Client, Metadata, both

SETTINGS: Final = "FEDVM_FOC"
"""Names the file with the client's settings, in the environment."""
_INDEXED: Final = "withIPFSIndexing"
_BATCH: Final = 32
"""Pieces that are added by one transaction of the provider; its extra data are bounded by the contract."""
_KEYS: Final = {"chain_id": int, "service": str, "payee": str, "key_file": str}


@dataclass
class _Pending:
    """An addition that was asked for. create: whether with a data set. transaction: "" while no answer came."""

    pieces: tuple[str, ...]
    extra: bytes
    create: bool
    transaction: str = ""


@dataclass
class _State:
    """What a journal says. owner: whose it is; parked: piece by artefact; added: pieces; pending: what was asked for
    last."""

    owner: dict[str, Any] | None = None
    client_data_set: int | None = None
    data_set: int | None = None
    parked: dict[str, str] = field(default_factory=dict)
    added: set[str] = field(default_factory=set)
    pending: _Pending | None = None

    def take(self, entry: dict[str, Any]) -> None:
        """Follow one line."""
        match entry:
            case {"owner": dict(owner)}:
                self.owner = owner
            case {"parked": piece, "artefact": artefact}:
                self.parked[str(artefact)] = str(piece)
            case {"client_data_set": number}:
                self.client_data_set = int(number)
            case {"asking": pieces, "extra": extra, "create": create}:
                self.pending = _Pending(tuple(pieces), bytes.fromhex(extra), bool(create))
            case {"transaction": transaction} if self.pending:
                self.pending.transaction = str(transaction)
            case {"data_set": number}:
                self.data_set = int(number)
            case {"added": pieces}:
                self.added |= set(pieces)
                self.pending = None
            case {"dropped": _}:
                self.pending = None
            case {"lost": pieces}:
                gone = set(pieces)
                self.parked = {
                    artefact: piece for artefact, piece in self.parked.items() if piece not in gone
                }
                self.pending = None
            case {"refused": _}:
                if self.pending and self.pending.create:
                    self.client_data_set = None
                self.pending = None
            case _:
                raise ValueError(f"a line that says nothing: {str(entry)[:80]}")


class OnchainCloud:
    """The provider at `foc://HOST[:PORT][/PATH]`; `foc+http://` for one without TLS. It can be read by anybody, and
    written with the settings in the file that the environment names as `FEDVM_FOC`."""

    def __init__(self, url: str, patience: Patience | None = None, waiting: Waiting | None = None) -> None:
        scheme, _, rest = url.partition("://")
        at = f"{'http' if scheme.endswith('+http') else 'https'}://{rest}"
        self._provider = Provider(at, patience, waiting)
        self._gateway = TrustlessGateway(at, patience)
        self._url = url

    def put(self, data: bytes) -> str:
        """Have the provider keep `data`, in the client's data set, and return its CID.

        Raises:
            ReadOnlyStore: there are no settings. StoreError: they are malformed, or the provider refuses.
        """
        cid = self.stage(data)
        self.sync()
        return cid

    def stage(self, data: bytes) -> str:
        """Upload `data`; the provider may forget it unless `sync` follows. Raises as `put`."""
        root = cid_of(data)
        with self._journal() as journal:
            if str(root) not in journal.state.parked:
                car = car_of([(root, data)])
                piece = piece_of(io.BytesIO(car)).cid_v2
                self._provider.upload(piece, car)
                journal.write({"parked": piece, "artefact": str(root)})
        return str(root)

    def sync(self) -> None:
        """Have all that was staged added to the data set, which is created with the first. Raises as `put`."""
        if SETTINGS not in os.environ:
            return  # nothing can have been staged
        with self._journal() as journal:
            self._settle(journal)
            while waiting := [
                one for one in dict.fromkeys(journal.state.parked.values()) if one not in journal.state.added
            ]:
                self._ask(journal, tuple(waiting[:_BATCH]))
                self._settle(journal)

    def hold(self, cars: Iterable[bytes]) -> HeldPieces:
        """Have CARs kept as pieces of the data set, one each; what it has is not sent again. Raises as `put`."""
        wanted = set[str]()
        for car in cars:
            piece = piece_of(io.BytesIO(car)).cid_v2
            wanted.add(piece)
            with self._journal() as journal:
                if piece not in journal.state.parked:
                    self._provider.upload(piece, car)
                    journal.write({"parked": piece, "artefact": piece})
        self.sync()
        with self._journal() as journal:
            data_set = journal.state.data_set
        if data_set is None:
            raise StoreError(f"{self._url} was given nothing to hold, and has no data set of this client yet")
        listed = self._provider.piece_ids(data_set)
        if lost := wanted - listed.keys():
            raise StoreError(
                f"{self._url} has added piece {min(lost)} to data set {data_set} and does not list it: ask the provider"
            )
        return HeldPieces(data_set, tuple(sorted((listed[one], one) for one in wanted)))

    def get(self, cid: str | bytes) -> bytes:
        """The file of a CID, of at most 1 GiB, every block checked. Raises as `TrustlessGateway.get`."""
        return self._gateway.get(cid)

    @contextmanager
    def _journal(self) -> Iterator[_Journal]:
        named = os.environ.get(SETTINGS)
        if not named:
            raise ReadOnlyStore(
                f"{self._url} can only be read: name a file with the client's settings as {SETTINGS} to write to it, "
                "or a store beside it"
            )
        with _Journal(Path(named), self._url).opened() as journal:
            yield journal

    def _ask(self, journal: _Journal, pieces: Sequence[str]) -> None:
        """Write down what is asked for, before anybody is asked."""
        client, state = journal.client, journal.state
        create = state.data_set is None
        if state.client_data_set is None:
            journal.write({"client_data_set": secrets.randbits(256)})
        assert state.client_data_set is not None
        number, metadata = state.client_data_set, [(_INDEXED, "")]
        own: list[tuple[str, Metadata]] = [(piece, metadata) for piece in pieces]
        extra = client.addition(number, secrets.randbits(256), own)
        if create:
            extra = both(client.creation(number, journal.payee, metadata), extra)
        journal.write({"asking": list(pieces), "extra": extra.hex(), "create": create})

    def _settle(self, journal: _Journal) -> None:
        """Bring what was asked for to its end, also if the process was killed meanwhile. The same consent is shown
        again, which counts once, however often a provider sends it."""
        state, pending = journal.state, journal.state.pending
        if pending is None:
            return
        if not pending.transaction and state.data_set is not None:
            if self._provider.pieces(state.data_set) >= set(pending.pieces):
                journal.write({"added": list(pending.pieces)})
                return
            if pending.create:  # somebody has stated the data set, so none is created any more
                journal.write({"dropped": "creation"})
                return
        if not pending.transaction:
            journal.write({"transaction": self._requested(journal, pending)})
        if pending.create and state.data_set is None:
            made = self._provider.created(pending.transaction)
            if made is None:
                self._refused(journal, pending)
            journal.write({"data_set": made})
        assert state.data_set is not None
        if not self._provider.added(state.data_set, pending.transaction):
            self._refused(journal, pending)
        journal.write({"added": list(pending.pieces)})

    def _requested(self, journal: _Journal, pending: _Pending) -> str:
        try:
            if not pending.create:
                assert journal.state.data_set is not None
                return self._provider.add(journal.state.data_set, pending.pieces, pending.extra)
            return self._provider.create_and_add(journal.client.service, pending.pieces, pending.extra)
        except StoreError as error:
            self._forgotten(journal, pending, error)
            if not pending.create:
                raise
            raise StoreError(
                f"{error}. If an earlier attempt has created the data set, its number is in the provider's explorer: "
                f'add the line {{"data_set": NUMBER}} to {journal.file}'
            ) from error

    def _forgotten(self, journal: _Journal, pending: _Pending, refusal: StoreError) -> None:
        """Give up pieces that the provider no longer has, so that they do not stand in the way of all others for ever.
        Raises StoreError if there are any."""
        lost = []
        with suppress(StoreError):
            lost = [piece for piece in pending.pieces if self._provider.has(piece) is False]
        if lost:
            names = [artefact for artefact, piece in journal.state.parked.items() if piece in lost]
            journal.write({"lost": lost})
            raise StoreError(
                f"{self._url} has forgotten {len(names)} artefacts that were uploaded and not added in time, "
                f"{names[0]} the first: give the command again that stored them"
            ) from refusal

    def _refused(self, journal: _Journal, pending: _Pending) -> None:
        transaction = pending.transaction
        journal.write({"refused": transaction})
        raise StoreError(
            f"the chain refused {transaction}, by which {self._url} wanted to add {len(pending.pieces)} pieces: has "
            "the client deposited enough, and approved the service? Then give the same command again"
        )


class _Journal:
    """The client's settings, and the file beside them that says what was done at one provider."""

    def __init__(self, settings: Path, url: str) -> None:
        try:
            stated = tomllib.loads(settings.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{settings}, named as {SETTINGS}, cannot be read: {error}") from error
        for key, kind in _KEYS.items():
            if type(stated.get(key)) is not kind:
                raise StoreError(f"{settings} must state {', '.join(_KEYS)}; {key} is missing or malformed")
        try:
            service, payee = (to_address(stated[key], key) for key in ("service", "payee"))
        except EncodingError as error:
            raise StoreError(f"{settings}: {error}") from error
        if not 0 < stated["chain_id"] < 1 << 256:
            raise StoreError(f"{settings}: chain_id is {stated['chain_id']}, which no chain has")
        key_file = settings.parent / stated["key_file"]
        try:
            if key_file.stat().st_mode & 0o077:
                raise StoreError(f"others may read {key_file}: make it yours alone (chmod 600)")
            account = Account.from_key(key_file.read_text(encoding="utf-8").strip())
        except (OSError, ValueError):
            raise StoreError(f"{key_file} holds no key, or cannot be read") from None  # quotes nothing of it
        self.client = Client(account, stated["chain_id"], stated["service"])
        self.payee, self.state = stated["payee"], _State()
        self._owner = {
            "url": url,
            "chain_id": stated["chain_id"],
            "service": service,
            "payee": payee,
            "client": str(account.address),
        }
        host = "".join(letter if letter.isalnum() else "-" for letter in url.partition("://")[2])
        self.file = settings.with_name(f"{settings.stem}.{host}.journal")

    @contextmanager
    def opened(self) -> Iterator[_Journal]:
        """One process at a time."""
        self.file.touch(mode=0o600)
        with self.file.open("r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            self._stream = stream
            self._read()
            if self.state.owner is None:
                self.write({"owner": self._owner})
            self._require_own()
            yield self

    def _require_own(self) -> None:
        """Raise StoreError if the journal is of something else than the settings: what is stored there, and paid for by
        somebody else, is not stored here."""
        assert self.state.owner is not None
        for name, value in self._owner.items():
            if (held := self.state.owner.get(name)) != value:
                raise StoreError(
                    f"{self.file} tells what was stored with {name} {str(held)[:80]}, and now it is {value}: name a "
                    f"copy of the settings under another file name as {SETTINGS}"
                )

    def write(self, entry: dict[str, Any]) -> None:
        """One line, on the disk when this returns."""
        self.state.take(entry)
        self._stream.write(json.dumps(entry).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _read(self) -> None:
        end = 0
        for number, line in enumerate(self._stream, start=1):
            if not line.endswith(b"\n"):
                break  # the process was killed while it wrote this, so nothing followed from it
            try:
                self.state.take(parse_json(line))
            except (ValueError, TypeError, ArithmeticError) as error:
                raise StoreError(
                    f"{self.file}, line {number}, is no entry of a journal: {error}; mend it, or take the line out if "
                    "what it tells of may be paid for again"
                ) from error
            end += len(line)
        self._stream.seek(end)
        self._stream.truncate()
