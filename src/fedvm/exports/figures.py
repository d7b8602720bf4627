"""What formats about one model have in common: which version they are about, and its figures with their sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fedvm.exports.errors import NothingToExport
from fedvm.exports.facts import Facts, FederationFacts, Source, VersionFacts

LIMITS = (
    "Numbers of examples, and the accuracies and losses that members state, are signed by them and not proved.",
    "That every step followed the rules does not say that the model is good, fair or fit for a purpose.",
    "Accuracy in the gate holds for the validation set that its custodian committed to, and for no other population.",
    "The contract computes the integer model; its answers may differ from those of the ONNX file before quantization.",
)
"""What a reader must know of figures from a chain."""


@dataclass(frozen=True)
class Figure:
    """A measured share, 0 … 1, of `asked` samples; name: of what; part: the class that it is about, "" for all."""

    name: str
    part: str
    value: float
    asked: int
    source: Source


def needed_version(facts: Facts) -> VersionFacts:
    """The version that serves, or else the latest. Raises NothingToExport if there is none."""
    if facts.latest is None:
        raise NothingToExport("no version of a model is registered: deploy one, and name its --service")
    return facts.latest


def trained_in(facts: Facts, version: VersionFacts) -> FederationFacts | None:
    """The federation that made the version, as it was in the version's round; None if it is another one than was read,
    or the chain does not say."""
    told, said = facts.federation, version.version
    if told is None or not said.has_lineage or told.address != said.federation:
        return None
    return replace(told, rounds=tuple(one for one in told.rounds if one.number <= said.round))


def figures(version: VersionFacts) -> Iterator[Figure]:
    """What the version's trial measured: the accuracy, and for each class the share of its samples it got right."""
    trial = version.trial
    if trial is None or not trial.asked:
        return
    yield Figure("accuracy", "", trial.accuracy, trial.asked, trial.source)
    for label, count in enumerate(trial.classes):
        if count.asked:
            share = count.right / count.asked
            yield Figure("recall", version.class_name(label), share, count.asked, trial.source)


def task_of(version: VersionFacts) -> str:
    """The task by the names that model hubs have: of images, of rows of numbers, or of what is not known."""
    said = version.description
    if said is None:
        return "other"
    return "image-classification" if said.input.image_shape is not None else "tabular-classification"
