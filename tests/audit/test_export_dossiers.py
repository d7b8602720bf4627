"""Exports for regulators, registers, signers and data catalogues: valid, with the chain's figures, and marked."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import mlcroissant
import model_signing
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from exported import HOSTILE, facts_of, with_hostile_names
from markdown_it import MarkdownIt

from fedvm.cli.app import app
from fedvm.exports.annex_iv import annex_iv_files
from fedvm.exports.croissant import croissant_files
from fedvm.exports.errors import ExportError, NothingToExport
from fedvm.exports.facts import Facts
from fedvm.exports.formats import export
from fedvm.exports.model_signing import model_signing_files, signed, signing_key
from fedvm.exports.registers import register_files
from fedvm.exports.text import TO_WRITE


@pytest.fixture(scope="module")
def facts(recorded_run: Path) -> Facts:
    return facts_of(recorded_run)


def put(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_the_dossier_has_every_point_of_the_annex(facts: Facts) -> None:
    text = annex_iv_files(facts)["technical-documentation.md"].decode()
    assert re.findall(r"^## (\d)\. ", text, re.MULTILINE) == list("123456789")
    assert facts.federation is not None and facts.service is not None
    for one in facts.federation.rounds:
        for update in one.updates:
            assert update.source.tx in text
            assert update.refusal or f"| {update.examples:,} |" in text
    trial = facts.service.versions[0].trial
    assert trial is not None and f"| accuracy | all | {trial.right / trial.asked:.2%} |" in text
    assert text.count(TO_WRITE) > 10
    assert len(re.findall(r"^\d+\. <a id=", text, re.MULTILINE)) == len(set(re.findall(r"#source-\d+", text)))


def test_hostile_names_stay_text_in_the_dossier(facts: Facts) -> None:
    text = annex_iv_files(with_hostile_names(facts))["technical-documentation.md"].decode()
    page = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(text)
    assert "<script" not in page and "<img" not in page and 'href="javascript' not in page
    assert page.count("<h1") == 1 and page.count("<h2") == 10


@pytest.mark.parametrize("other", [False, True], ids=["none is named", "another is named"])
def test_nothing_is_said_of_a_federation_that_did_not_train_it(facts: Facts, other: bool) -> None:
    assert facts.federation is not None
    alone = replace(facts, federation=replace(facts.federation, address="0x" + "11" * 20) if other else None)
    text = annex_iv_files(alone)["technical-documentation.md"].decode()
    assert "nothing is known of the training" in text
    for name, data in register_files(alone).items():
        assert name == "sources.json" or "federated learning (" not in data.decode()


DUTCH_REQUIRED = [
    "name",
    "description_short",
    "organization",
    "status",
    "contact_email",
    "publication_category",
    "lang",
]
"""Required of an algorithm by the register's API 1.0, whose other fields are these."""
DUTCH_OPTIONAL = [
    "category",
    "begin_date",
    "end_date",
    "website",
    "url",
    "goal",
    "proportionality",
    "human_intervention",
    "risks",
    "lawful_basis",
    "lawful_basis_grouping",
    "process_index_url",
    "impacttoetsen_grouping",
    "impacttoetsen",
    "source_data",
    "source_data_grouping",
    "methods_and_models",
    "provider",
    "publiccode",
    "standard_version",
    "source_id",
    "tags",
    "lars",
    "publication_dt",
]
EUROCITIES_REQUIRED = [
    "standard_version",
    "lang",
    "publication_date",
    "last_change_date",
    "revision_date",
    "name",
    "organization",
    "department",
    "country",
    "contact_email",
    "description_short",
    "status",
    "decision_making_process",
    "domain",
    "area",
    "goal",
    "impact",
    "risks",
    "risk_category",
    "proportionality",
    "lawful_basis",
    "training_data",
    "source_data",
    "connected_data_sources",
    "algorithm_type",
    "type",
    "monitoring",
    "human_intervention",
    "objection_procedure",
]
UK_REQUIRED = [
    "name",
    "description",
    "contact_email",
    "organisation",
    "external_supplier",
    "external_supplier_role",
    "scope",
    "benefit",
    "model_type",
    "phase",
    "human_decisions",
    "appeals_and_review",
    "source_data_name",
    "source_data_description",
    "data_collection",
    "data_sharing_agreements",
    "data_access_and_storage",
    "impact_assessment_name",
    "risk_name",
]


def test_register_entries_have_the_fields_of_their_standards(facts: Facts) -> None:
    files = register_files(with_hostile_names(facts))
    dutch = json.loads(files["nl-algoritmeregister.json"])
    assert set(DUTCH_REQUIRED) <= set(dutch) <= {*DUTCH_REQUIRED, *DUTCH_OPTIONAL}
    assert (dutch["lang"], dutch["standard_version"]) == ("ENG", "1.0")
    cities = json.loads(files["eurocities.json"])
    assert set(EUROCITIES_REQUIRED) <= set(cities)
    assert cities["standard_version"] == "0.3.1" and UUID(cities["uuid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", cities["last_change_date"])
    assert len(cities["description_short"]) <= 150 and TO_WRITE in cities["description_short"]
    assert cities["algorithm_type"] in ("self-learning", "rule-based", "hybrid")
    british = json.loads(files["uk-atrs.json"])
    assert set(UK_REQUIRED) <= set(british)
    for entry in (dutch, cities, british):
        assert entry["name"] == HOSTILE[0] + HOSTILE[1]
        assert entry["contact_email"] == TO_WRITE  # an address is nothing that a chain knows
    trial = facts.service.versions[0].trial  # type: ignore[union-attr]
    assert trial is not None and f"{trial.right / trial.asked:.2%} of {trial.asked}" in cities["performance"]
    cited = json.loads(files["sources.json"])["sources"]
    assert cited["performance"][0]["transaction"] == trial.source.tx
    assert len(cited["decisions"]) == 2


@pytest.fixture(params=[ec.SECP256R1, ec.SECP384R1, ec.SECP521R1], ids=lambda kind: kind.name)
def key(request: pytest.FixtureRequest) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(request.param())


def verify(folder: Path) -> None:
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=folder / "public-key.pem").verify(
        folder / "model", folder / "model.sig"
    )


def test_model_signing_takes_the_signature_and_no_other_file(
    facts: Facts, key: ec.EllipticCurvePrivateKey, tmp_path: Path
) -> None:
    files = model_signing_files(facts)
    assert signed(files, key) == signed(files, key)
    folder = put(signed(files, key), tmp_path)
    verify(folder)
    assert {path.parent.name for path in folder.rglob("*") if path.is_file()} == {
        "evidence",
        "model",
        "program",
        tmp_path.name,
    }
    (folder / "model" / "model.onnx").write_bytes(b"other")
    with pytest.raises(ValueError):
        verify(folder)


def test_the_manifest_covers_what_the_chain_names(facts: Facts) -> None:
    files = model_signing_files(facts)
    version = facts.service.versions[0]  # type: ignore[union-attr]
    said = json.loads(files["statement.json"])
    digests = {one["name"]: one["digest"] for one in said["predicate"]["resources"]}
    assert digests["model.onnx"] == version.onnx_sha256
    assert {f"program/{part.account}.bin" for part in version.version.parts} < set(digests)
    assert {f"model/{name}" for name in digests} | {"statement.json"} == set(files)


def test_the_command_signs(recorded_run: Path, tmp_path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    words = ["export", "model-signing", "--run", str(recorded_run), "--to", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--key", str(tmp_path / "key.pem")])
    assert done.exit_code == 0, done.output
    verify(tmp_path / "out" / "model-signing")
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"PRIVATE" not in written


def test_a_key_without_anything_to_sign_is_refused(facts: Facts, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a key signs"):
        export(facts, ["in-toto"], tmp_path / "out", key=ec.generate_private_key(ec.SECP256R1()))
    assert not (tmp_path / "out").exists()


def test_keys_that_cannot_sign_are_refused(tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for content, why in ((b"not a key", "no private key"), (other, "another kind")):
        (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(ExportError, match=why):
            signing_key(tmp_path / "key.pem")


def test_without_the_onnx_file_nothing_is_signed(recorded_run: Path, tmp_path: Path) -> None:
    bare = facts_of(recorded_run, stored=False)
    with pytest.raises(NothingToExport, match="no store was named"):
        export(bare, ["model-signing"], tmp_path / "out")


def test_croissant_reads_the_samples_and_the_classes(facts: Facts, tmp_path: Path) -> None:
    files = croissant_files(with_hostile_names(facts))
    folder = put(files, tmp_path)
    data = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not data.metadata.ctx.issues.errors and not data.metadata.ctx.issues.warnings
    rows = list(data.records("samples"))
    assert facts.service is not None and facts.service.gate is not None
    disclosed = facts.service.gate.samples
    assert len(rows) == len(disclosed) > 0
    for row, one in zip(rows, disclosed, strict=True):
        assert (row["samples/index"], row["samples/label"]) == (one.index, one.sample.label)
        assert bytes.fromhex(row["samples/input"].decode()[2:]) == one.sample.input
        assert row["samples/transaction"].decode() == one.source.tx
    assert [row["classes/name"] for row in data.records("classes")] == list(HOSTILE)
    table = list(csv.reader(io.StringIO(files["samples.csv"].decode())))
    assert all(re.fullmatch(r"\d+|0x[0-9a-f]*", cell) for line in table[1:] for cell in line)


def test_without_disclosed_samples_there_is_no_data_set(facts: Facts) -> None:
    service = replace(facts.service, gate=None)  # type: ignore[type-var]
    with pytest.raises(NothingToExport, match="a trial"):
        croissant_files(replace(facts, service=service))
