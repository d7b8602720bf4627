"""Exports about one model: valid by their formats' own tools, with the trial's figures, and text stays text."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from exported import HOSTILE, facts_of, with_hostile_names
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from fedvm.exports.cyclonedx import cyclonedx_files
from fedvm.exports.errors import NothingToExport
from fedvm.exports.facts import Facts, TrialFacts
from fedvm.exports.model_card import model_card_files
from fedvm.exports.text import TO_WRITE, escaped

READER = MarkdownIt("gfm-like", {"linkify": False, "html": True})
"""A reader of GitHub's Markdown that passes HTML on."""


@pytest.fixture(scope="module")
def facts(recorded_run: Path) -> Facts:
    return facts_of(recorded_run)


@pytest.fixture(scope="module")
def trial(facts: Facts) -> TrialFacts:
    assert facts.service is not None and facts.service.versions[0].trial is not None
    return facts.service.versions[0].trial


@pytest.fixture(params=["as they are", "hostile", "without a store", "without a federation"])
def told(request: pytest.FixtureRequest, facts: Facts, recorded_run: Path) -> Facts:
    if request.param == "hostile":
        return with_hostile_names(facts)
    if request.param == "without a store":
        return facts_of(recorded_run, stored=False)
    return replace(facts, federation=None) if request.param == "without a federation" else facts


def test_cyclonedx_takes_the_bill(told: Facts) -> None:
    data = cyclonedx_files(told)["bom.cdx.json"].decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data) is None
    bill = json.loads(data)
    wrong = json.dumps(bill | {"bomFormat": "nine"})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(wrong) is not None


def test_the_bill_says_what_the_trial_measured(facts: Facts, trial: TrialFacts) -> None:
    hostile = json.loads(cyclonedx_files(with_hostile_names(facts))["bom.cdx.json"])
    model = hostile["metadata"]["component"]
    assert model["name"] == HOSTILE[0] + HOSTILE[1]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0] == {"type": "accuracy", "value": f"{trial.right / trial.asked:.6f}"}
    asked = [label for label, count in enumerate(trial.classes) if count.asked]
    assert [one["slice"] for one in metrics[1:]] == [HOSTILE[label] for label in asked]
    assert facts.service is not None
    assert model["hashes"][0]["content"] == facts.service.versions[0].onnx_sha256
    refs = {one["bom-ref"] for one in hostile["components"]}
    assert refs == set(hostile["dependencies"][0]["dependsOn"]) and len(refs) > 2


def test_the_hub_takes_the_card(told: Facts, trial: TrialFacts) -> None:
    files = model_card_files(told)
    card = ModelCard(files["README.md"].decode())
    assert told.latest is not None
    assert card.data.model_name == told.latest.title
    (result,) = card.data.eval_results
    assert result.metric_value == round(trial.right / trial.asked, 6)
    assert result.metric_args["transaction"] == trial.source.tx
    assert ("model.onnx" in files) == (told.latest.onnx is not None)


def test_the_card_carries_the_onnx_file_of_the_chain(facts: Facts) -> None:
    files = model_card_files(facts)
    assert sha256(files["model.onnx"]).hexdigest() in files["README.md"].decode()


def test_hostile_names_stay_text_in_the_card(facts: Facts) -> None:
    text = model_card_files(with_hostile_names(facts))["README.md"].decode()
    _, metadata, body = text.split("---\n", 2)
    assert yaml.safe_load(metadata)["model-index"][0]["name"] == HOSTILE[0] + HOSTILE[1]
    page = READER.render(body)
    assert "<script" not in page and "<img" not in page and 'javascript:alert(1)"' not in page
    assert 'evil.example/x.png"' not in page and "<!--" not in page
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("<h1") == 1
    assert TO_WRITE in page


@pytest.mark.parametrize(
    "name", [*HOSTILE, "1. one", "+ plus", "a\n# b", "~~~", "$x$", "a_b_c", "\\", "&amp;"]
)
def test_escaped_text_is_shown_as_it_is(name: str) -> None:
    shown = READER.render(f"| {escaped(name)} |\n| --- |\n| x {escaped(name)} |\n\n{escaped(name)}\n")
    expected = " ".join(name.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    expected = expected.replace('"', "&quot;")
    assert shown.count(expected) == 3
    assert "<a " not in shown and "<em>" not in shown and "<li>" not in shown and "<h" not in shown


def test_without_a_version_there_is_no_model(facts: Facts) -> None:
    bare = replace(facts, service=None)
    for files in (cyclonedx_files, model_card_files):
        with pytest.raises(NothingToExport, match="no version"):
            files(bare)
