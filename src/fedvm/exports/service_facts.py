"""The facts of a model service: its versions, its gate, and the decisions that it recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from web3 import Web3

from fedvm.audit.description import read_description
from fedvm.audit.errors import DescriptionError, RecipeError
from fedvm.audit.recipe import read_recipe
from fedvm.chain.artifacts import MODEL_SERVICE, contract_at
from fedvm.chain.events import EventReader
from fedvm.chain.gate import (
    ClassCount,
    GateFixed,
    PromotionGate,
    SampleAsked,
    TrialDrawn,
    TrialEnded,
    TrialOpened,
    TrialState,
)
from fedvm.chain.model_service import ModelService, VersionRegistered
from fedvm.chain.networks import network_of
from fedvm.exports.disclosed import disclosed_samples
from fedvm.exports.facts import (
    DecisionFacts,
    GateFacts,
    ServedFacts,
    ServiceFacts,
    TrialFacts,
    VersionFacts,
)
from fedvm.exports.sources import Citations, Where
from fedvm.store import Store, StoreError

Times = Callable[[int], int]
"""From a block's number to its time in Unix seconds."""


def service_facts(
    w3: Web3,
    address: str,
    store: Store | None,
    first: int,
    last: int,
    time_of: Times,
    where: Where,
) -> ServiceFacts | None:
    """The facts of a genuine service at `address` (hex) by its events from block `first` to `last`; None if it was
    created later. store: where the ONNX files are, None if nobody said.

    Raises:
        ChainError: the chain cannot be read.
    """
    service = ModelService(w3, address)
    cite = Citations(service.address, "service", where)
    transfers = list(
        EventReader(w3, contract_at(w3, MODEL_SERVICE, address), network_of(w3)).fetch(
            ("OwnershipTransferred",), first, last
        )
    )
    if not transfers:
        return None
    gate = service.gate()
    trials: dict[int, TrialFacts] = {}
    told = None
    if gate is not None:
        told, trials = _gate(gate, cite, first, last)
    served = tuple(
        ServedFacts(
            one.version,
            one.previous,
            time_of(one.at.block_number),
            cite.listed(f"VersionServes(version={one.version})", one.at, "service versions"),
        )
        for one in service.served(first, last)
    )
    versions = tuple(
        _version(w3, event, store, cite, time_of, trials.get(event.id))
        for event in service.versions(first, last)
    )
    by_number = {one.number: one for one in versions}
    return ServiceFacts(
        address=service.address,
        owner=str(transfers[-1].args["newOwner"]),
        source=cite.listed("OwnershipTransferred", transfers[-1].at, "service versions"),
        versions=versions,
        served=served,
        gate=told,
        decisions=tuple(
            DecisionFacts(
                one,
                time_of(one.at.block_number),
                by_number[one.version].class_name(one.label),
                cite.listed(f"Decision(id={one.id})", one.at, "decisions"),
            )
            for one in service.decisions(first, last)
        ),
    )


def _version(
    w3: Web3,
    event: VersionRegistered,
    store: Store | None,
    cite: Citations,
    time_of: Times,
    trial: TrialFacts | None,
) -> VersionFacts:
    onnx = description = recipe = None
    missing = "no store was named that has the ONNX file"
    if store is not None:
        try:
            onnx = store.get(event.version.onnx_cid)
            recipe = read_recipe(onnx)
            description = read_description(onnx)
            missing = ""
        except (StoreError, RecipeError, DescriptionError) as error:
            missing = str(error)
    return VersionFacts(
        number=event.id,
        version=event.version,
        registered_at=time_of(event.at.block_number),
        source=cite.audited(f"VersionRegistered(version={event.id})", event.at),
        codes={
            part.account: bytes(w3.eth.get_code(Web3.to_checksum_address(part.account)))
            for part in event.version.parts
        },
        onnx=onnx,
        description=description,
        recipe=recipe,
        missing=missing,
        trial=trial,
    )


def _gate(
    gate: PromotionGate, cite: Citations, first: int, last: int
) -> tuple[GateFacts, dict[int, TrialFacts]]:
    terms, fixed = gate.terms(), None
    events = list(gate.events(first=first, last=last))
    asked: dict[int, Counter[tuple[int, bool]]] = {}
    opened: dict[int, TrialOpened] = {}
    trials: dict[int, TrialFacts] = {}
    for event in events:
        call = f"{type(event).__name__}(version={getattr(event, 'version', 0)})"
        match event:
            case GateFixed():
                fixed = cite.audited("GateFixed", event.at, contract=gate.address)
            case TrialOpened():
                opened[event.version] = event
                source = cite.audited(call, event.at, contract=gate.address)
                trials[event.version] = TrialFacts(TrialState.REGISTERED, 0, 0, 0, 0, event.rival, (), source)
            case TrialDrawn():
                source = cite.audited(call, event.at, contract=gate.address)
                rival = opened[event.version].rival
                trials[event.version] = TrialFacts(TrialState.DRAWN, 0, 0, 0, 0, rival, (), source)
            case SampleAsked():
                right = event.answer == event.label
                asked.setdefault(event.version, Counter())[event.label, right] += 1
            case TrialEnded():
                counts = asked.get(event.version, Counter())
                trials[event.version] = TrialFacts(
                    event.outcome,
                    event.asked,
                    event.right,
                    event.better,
                    event.worse,
                    opened[event.version].rival,
                    tuple(
                        ClassCount(counts[label, True] + counts[label, False], counts[label, True])
                        for label in range(terms.classes)
                    ),
                    cite.audited(call, event.at, contract=gate.address),
                )
    assert fixed is not None  # a gate tells of its terms in its constructor
    asked_samples = [one for one in events if isinstance(one, SampleAsked)]
    samples, missing = disclosed_samples(gate, terms, asked_samples, cite)
    return GateFacts(gate.address, terms, fixed, samples, missing), trials
