"""Which artefacts an audit reads, listed without an audit: so that they can be published for one elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from web3 import Web3

from fedvm.audit.errors import AuditError, RecipeError
from fedvm.audit.recipe import read_recipe
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundFailed
from fedvm.chain.genuine import deviations, is_sealed, service_deviations
from fedvm.chain.history import FederationHistory, RoundHistory
from fedvm.chain.model_service import ModelService
from fedvm.chain.rollups import stated_rollup
from fedvm.chain.sealed_rounds import SealedRollupSubmitted, SealedRoundsContract
from fedvm.protocol import EncodingError
from fedvm.protocol.aggregators import NAME_ELEMENTS, is_over_bytes
from fedvm.protocol.sealed.records import SealedFile
from fedvm.store import Cid, Store, StoreError


@dataclass(frozen=True)
class Artefact:
    """An artefact that an audit reads. cid: binary, as it was signed or recorded, which may be none. what: in words.
    round: the one that made it, 0 for the first model, None for a version's."""

    cid: bytes
    what: str
    round: int | None
    is_model: bool = False


def artefacts(
    w3: Web3, store: Store, *, federation: str | None, service: str | None, first_block: int = 0
) -> Iterator[Artefact]:
    """What `fedvm.audit.replay.audit` reads of these contracts from the store, in the order of the chain: models,
    updates, the files of roll-ups, ONNX files and calibration images.

    Roll-ups and ONNX files are read from the store to learn what belongs to them; of one that the store lacks only the
    file itself is listed. first_block: at or before the creation of both.

    Raises:
        AuditError: a contract is not this package's, so an audit reads nothing of it.
        ChainError: the chain cannot be read.
    """
    if federation is not None:
        _require(deviations(w3, federation))
        yield from _of_federation(FederationContract(w3, federation), store, first_block)
    if service is not None:
        _require(service_deviations(w3, service, first_block=first_block))
        yield from _of_service(ModelService(w3, service), store, first_block)


def round_artefacts(
    contract: FederationContract, store: Store, first_block: int, rounds: Collection[int]
) -> Iterator[tuple[int, set[bytes]]]:
    """The binary CIDs of what `artefacts` lists of each of these rounds, and of the model that it trains from."""
    base = b""
    listed = groupby(_of_federation(contract, store, first_block), key=lambda one: one.round)
    for number, group in listed:
        of_round = list(group)
        if number in rounds:
            yield int(number or 0), {one.cid for one in of_round} | {base}
        base = next((one.cid for one in of_round if one.is_model), base)


def _require(deviations: Iterator[str]) -> None:
    for deviation in deviations:
        raise AuditError(f"{deviation}. Check the address and the network")


def _of_federation(contract: FederationContract, store: Store, first_block: int) -> Iterator[Artefact]:
    listed = _of_history(contract, store, first_block)
    yield from _with_bytes(listed, store) if is_over_bytes(contract.rules()) else listed


def _with_bytes(listed: Iterator[Artefact], store: Store) -> Iterator[Artefact]:
    """Each vector of a federation over bytes, and the bytes that it names."""
    for one in listed:
        yield one
        with suppress(StoreError):
            if len(name := store.get(one.cid)) == 4 * NAME_ELEMENTS:
                yield Artefact(name, f"the bytes of {one.what}", one.round, is_model=one.is_model)


def _of_history(contract: FederationContract, store: Store, first_block: int) -> Iterator[Artefact]:
    history = FederationHistory(contract, first_block=first_block).read()
    if history.created is not None:
        yield Artefact(history.created.model_cid, "the first model", 0, is_model=True)
    sealed: dict[int, bytes] = {}
    if is_sealed(contract.w3, contract.address):
        for event in SealedRoundsContract.of(contract).events(first=first_block):
            if isinstance(event, SealedRollupSubmitted):
                sealed[event.round] = event.cid
    for number, told in sorted(history.rounds.items()):
        yield from _of_records(told, store)
        if number in sealed:
            yield from _of_sealed_file(number, sealed[number], store)
        for one in told.accepted:
            yield Artefact(one.cid, f"the update of {one.member} in round {number}", number)
        if told.proposal is not None and not isinstance(told.ended, RoundFailed):
            yield Artefact(told.proposal.cid, f"the model of round {number}", number, is_model=True)


def _of_records(told: RoundHistory, store: Store) -> Iterator[Artefact]:
    """The file of a round's roll-up, from which the history takes the round's verdicts."""
    if told.rollup is None:
        return
    yield Artefact(told.rollup.cid, f"the roll-up of round {told.number}", told.number)
    try:
        told.take_records(stated_rollup(told.rollup, store.get(told.rollup.cid)))
    except (StoreError, EncodingError):
        return


def _of_sealed_file(number: int, cid: bytes, store: Store) -> Iterator[Artefact]:
    yield Artefact(cid, f"the file of round {number}", number)
    try:
        submissions = SealedFile.parse(store.get(cid)).parsed
    except (StoreError, EncodingError):
        return
    for one in submissions:
        yield Artefact(one.masked.cid, f"the masked update of {one.member} in round {number}", number)


def _of_service(service: ModelService, store: Store, first_block: int) -> Iterator[Artefact]:
    for event in service.versions(first=first_block):
        yield Artefact(event.version.onnx_cid, f"the ONNX file of version {event.id}", None)
        try:
            recipe = read_recipe(store.get(event.version.onnx_cid))
            calibration = Cid.parse(recipe.calibration).binary
        except (StoreError, RecipeError):
            continue
        yield Artefact(calibration, f"the calibration images of version {event.id}", None)
