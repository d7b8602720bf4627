"""Parts of documents in Markdown that several formats have: the model, its training and its evaluation."""

from __future__ import annotations

from fedvm.audit.findings import cid_text
from fedvm.exports.facts import Facts, FederationFacts, VersionFacts
from fedvm.exports.figures import figures
from fedvm.exports.text import References, escaped, hexadecimal, table


def model_lines(version: VersionFacts) -> list[str]:
    """What the version is: files, code, input and classes."""
    said, described = version.version, version.description
    rows = [
        ["ONNX file", f"`{cid_text(said.onnx_cid)}`"],
        ["SHA-256 of the ONNX file", f"`{version.onnx_sha256}`" if version.onnx_sha256 else "unknown"],
        ["SHA-256 of the integer ONNX file", f"`{said.integer_onnx_digest.hex()}`"],
        ["Program on chain", f"`{said.program}`, {len(said.parts)} contracts, {version.code_bytes:,} bytes"],
    ]
    if described is not None:
        shape = " × ".join(map(str, described.input.shape))
        rows.append(["Input", f"bytes, {shape} {escaped(described.input.layout)}"])
        rows.append(["Classes", ", ".join(map(escaped, described.classes))])
    if version.missing:
        rows.append(["Missing", escaped(version.missing)])
    return table(["what", "value"], rows)


def training_lines(told: FederationFacts, sources: References) -> list[str]:
    """Who trained by which rules, and how each round went."""
    rows = []
    for one in told.rounds:
        counted = [update for update in one.updates if not update.refusal]
        rows.append(
            [
                f"{one.number} {sources.mark(one.ended or one.opened)}",
                one.state,
                str(one.accepted),
                str(len(one.updates) - len(counted)) if not one.missing else "unknown",
                f"{one.total_weight:,}",
            ]
        )
    return [
        f"Trained by {len(told.members)} members of the federation `{told.address}`{sources.mark(told.source)}, whose "
        f"contract enforces these rules{sources.mark(told.rules[-1].source)}; rule of aggregation: "
        f"{escaped(told.aggregator)}.",
        "",
        *(f"- {sentence}" for sentence in told.rules[-1].rules.sentences()),
        "",
        *table(["round", "state", "updates that count", "refused", "total weight"], rows),
        "",
    ]


def lineage_lines(facts: Facts, version: VersionFacts, sources: References) -> list[str]:
    """From which round the version comes."""
    said = version.version
    if not said.has_lineage:
        return ["The version was registered without a lineage: the chain does not say how it was trained."]
    return [
        f"The version was made of round {said.round} of `{facts.account(said.federation)}`, model root "
        f"`{hexadecimal(said.model_root)}`{sources.mark(version.source)}."
    ]


def evaluation_lines(version: VersionFacts, sources: References) -> list[str]:
    """What the version's trial in the gate measured."""
    measured = list(figures(version))
    trial = version.trial
    if trial is None:
        return ["The service has no gate: the chain has no figure of the model's quality."]
    if not measured:
        return [f"The version's trial in the gate is {trial.state.name.lower()}{sources.mark(trial.source)}."]
    compared = ""
    if trial.rival:
        compared = (
            f" {trial.better} were got right by it alone, {trial.worse} by version {trial.rival} alone."
        )
    rows = [
        [one.name, escaped(one.part) or "all", f"{one.value:.2%}", f"{one.asked} {sources.mark(one.source)}"]
        for one in measured
    ]
    return [
        f"The gate asked {trial.asked} samples of a validation set that was committed to beforehand: "
        f"{trial.state.name.lower()}.{compared}",
        "",
        *table(["figure", "of class", "value", "samples"], rows),
    ]
