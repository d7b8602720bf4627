"""A model card for the Hugging Face hub: a README.md whose metadata has a model-index.

The metadata: https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fedvm.audit.findings import cid_text
from fedvm.exports.facts import Facts, FederationFacts, GateFacts, VersionFacts
from fedvm.exports.figures import LIMITS, Figure, figures, needed_version, task_of
from fedvm.exports.text import References, escaped, hexadecimal, moment, source_json, table, to_write

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_DECIMALS: Final = 6


def model_card_files(facts: Facts) -> dict[str, bytes]:
    """`README.md`, and `model.onnx` if a store has it. Raises NothingToExport without a version."""
    version = needed_version(facts)
    files = {"README.md": f"---\n{_metadata(facts, version)}---\n\n{_body(facts, version)}".encode()}
    return files if version.onnx is None else {**files, "model.onnx": version.onnx}


def _metadata(facts: Facts, version: VersionFacts) -> str:
    """The YAML between the two lines of dashes."""
    from huggingface_hub import ModelCardData

    measured = [one for one in figures(version) if not one.part]
    gate = None if facts.service is None else facts.service.gate
    results = [_result(one, gate, version) for one in measured if gate is not None]
    card = ModelCardData(
        model_name=version.title,
        library_name="onnx",
        pipeline_tag=None if version.description is None else task_of(version),
        tags=["fedvm", "federated-learning", "onnx"],
        eval_results=results or None,
    )
    return card.to_yaml() + "\n"


def _result(figure: Figure, gate: GateFacts, version: VersionFacts) -> EvalResult:
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type=task_of(version),
        dataset_type="committed-validation-samples",
        dataset_name=f"Validation samples committed to in {gate.address}",
        dataset_args={"samples_root": hexadecimal(gate.terms.samples_root), "asked": figure.asked},
        metric_type=figure.name,
        metric_name=figure.name.capitalize(),
        metric_value=round(figure.value, _DECIMALS),
        metric_args=source_json(figure.source),
    )


def _body(facts: Facts, version: VersionFacts) -> str:
    sources = References()
    lines = [
        f"# {escaped(version.title)}",
        "",
        f"Version {version.number} of the model service `{facts.account(_service(facts))}`"
        f"{sources.mark(version.source)}, as of block {facts.block} of {escaped(facts.network)}, "
        f"{moment(facts.block_time)}.",
        "",
        *_model(version),
        "",
        "## Intended use",
        "",
        to_write("what the model is for, for whom, and what it must not be used for"),
        "",
        "## Training",
        "",
        *([] if facts.federation is None else _training(facts.federation, sources)),
        *_lineage(facts, version, sources),
        "",
        to_write("what data the members hold, how it was collected and labelled, and who is missing from it"),
        "",
        "## Evaluation",
        "",
        *_evaluation(version, sources),
        "",
        "## Limitations",
        "",
        *(f"- {limit}" for limit in LIMITS),
        f"- {to_write('biases and risks that are known of the data and the use')}",
        "",
        *sources.section(),
    ]
    return "\n".join(lines) + "\n"


def _service(facts: Facts) -> str:
    assert facts.service is not None
    return facts.service.address


def _model(version: VersionFacts) -> list[str]:
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
    return ["## Model", "", *table(["what", "value"], rows)]


def _training(told: FederationFacts, sources: References) -> list[str]:
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


def _lineage(facts: Facts, version: VersionFacts, sources: References) -> list[str]:
    said = version.version
    if not said.has_lineage:
        return ["The version was registered without a lineage: the chain does not say how it was trained."]
    return [
        f"The version was made of round {said.round} of `{facts.account(said.federation)}`, model root "
        f"`{hexadecimal(said.model_root)}`{sources.mark(version.source)}."
    ]


def _evaluation(version: VersionFacts, sources: References) -> list[str]:
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
