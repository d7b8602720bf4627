"""A model card for the Hugging Face hub: a README.md whose metadata has a model-index.

The metadata: https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fedvm.exports.facts import Facts, GateFacts, VersionFacts
from fedvm.exports.figures import LIMITS, Figure, figures, needed_version, task_of, trained_in
from fedvm.exports.sections import evaluation_lines, lineage_lines, model_lines, training_lines
from fedvm.exports.text import References, escaped, hexadecimal, moment, source_json, to_write

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
    sources, told = References(), trained_in(facts, version)
    lines = [
        f"# {escaped(version.title)}",
        "",
        f"Version {version.number} of the model service `{facts.account(_service(facts))}`"
        f"{sources.mark(version.source)}, as of block {facts.block} of {escaped(facts.network)}, "
        f"{moment(facts.block_time)}.",
        "",
        "## Model",
        "",
        *model_lines(version),
        "",
        "## Intended use",
        "",
        to_write("what the model is for, for whom, and what it must not be used for"),
        "",
        to_write("under which licence it may be used; the metadata above has no licence yet"),
        "",
        "## Training",
        "",
        *([] if told is None else training_lines(told, sources)),
        *lineage_lines(facts, version, sources),
        "",
        to_write("what data the members hold, how it was collected and labelled, and who is missing from it"),
        "",
        "## Evaluation",
        "",
        *evaluation_lines(version, sources),
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
