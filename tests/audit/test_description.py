"""What a version is asked with: in the ONNX file, and held against the compiled program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from eth_account.signers.local import LocalAccount

from fedvm.audit.description import Description, read_description, write_description
from fedvm.audit.errors import DescriptionError
from fedvm.audit.replay import audit
from fedvm.devnet.embedded import open_chain
from fedvm.images.prepare import Preparation
from fedvm.learning.export import export_onnx
from fedvm.learning.models import ModelSpec, build_model
from fedvm.pipeline.onnx_model import Prepared, Request, prepare
from fedvm.pipeline.placing import deploy
from fedvm.rundir.layout import RunDirectory
from fedvm.store import ContentStore

SHAPE = (1, 6, 6)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_onnx(build_model(ModelSpec("linear", SHAPE, 3), seed=1), SHAPE, path)
    return prepare(
        Request(path, preprocess=(1 / 127.5, -1.0), classes=("cat", "dog", "owl"), title="pets", max_gas=None)
    )


def test_it_is_read_back_as_it_was_written(prepared: Prepared) -> None:
    described = write_description(prepared.onnx, prepared.description)
    again = read_description(described)
    assert again == prepared.description and again.agrees(prepared.compiled.manifest)
    assert write_description(described, again) == described
    assert again.classes == ("cat", "dog", "owl") and again.title == "pets"
    assert again.input.low == (-1.0,) and again.input.high == pytest.approx((1.0,))
    assert (again.input.unit, again.input.preparation) == ("brightness", Preparation.PHOTO)
    assert again.input.image_shape == SHAPE
    other = replace(again, classes=("dog", "cat", "owl"))
    assert write_description(prepared.onnx, other) != described


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ["cat", "dog"]}, "2 class names for 3 scores"),
        ({"classes": ["cat", "cat", "owl"]}, "two classes are called 'cat'"),
        ({"classes": ["cat", " ", "owl"]}, "no name"),
        ({"classes": ["cat", "dog\x1b[2J", "owl"]}, "printable"),
        ({"title": "x" * 300}, "printable"),
        ({"score_scale": "wide"}, "malformed"),
        ({"input": {"shape": [1]}}, "malformed"),
    ],
)
def test_what_cannot_be_is_refused(prepared: Prepared, change: dict[str, Any], words: str) -> None:
    with pytest.raises(DescriptionError, match=words):
        Description.from_json({**prepared.description.to_json(), **change})


def test_a_file_without_one_says_so(prepared: Prepared) -> None:
    with pytest.raises(DescriptionError, match="says nothing of its classes"):
        read_description(prepared.onnx)
    with pytest.raises(DescriptionError, match="not an ONNX file"):
        read_description(b"\xff\xff")
    proto = onnx.load_model_from_string(prepared.onnx)
    entry = proto.metadata_props.add()
    entry.key, entry.value = "fedvm.description", "{"
    with pytest.raises(DescriptionError, match="no JSON"):
        read_description(proto.SerializeToString())


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ({}, False),
        ({"score_scale": (1.0, 1.0, 1.0)}, True),
        ({"low": (0.0,)}, True),
        ({"shape": (1, 4, 9)}, True),
    ],
)
def test_the_audit_holds_it_against_the_program(
    tmp_path: Path, prepared: Prepared, lie: dict[str, Any], found: bool
) -> None:
    told = prepared.description
    inside = {key: value for key, value in lie.items() if key in ("low", "shape")}
    told = replace(
        told, input=replace(told.input, **inside), **{k: v for k, v in lie.items() if k not in inside}
    )
    directory = RunDirectory(tmp_path / "run")
    with open_chain(tmp_path / "chain.sqlite", seed=1, create=True) as chain:
        owner: LocalAccount = chain.account("owner")
        served = deploy(replace(prepared, description=told), chain.w3, "http://127.0.0.1:1", owner, directory)
        report = audit(
            chain.w3, ContentStore(directory.path / "store"), federation=None, service=served.service.address
        )
    assert [finding.check for finding in report.findings] == (["description"] if found else [])


def test_shares_are_the_softmax_of_what_scores_stand_for(prepared: Prepared) -> None:
    from fedvm.pipeline.shares import doubt_of, shares_of

    description = replace(prepared.description, score_scale=(0.01, 0.01, 0.01))
    shares = shares_of((400, 300, -2_000_000_000), description.score_scale)
    assert np.allclose(shares, [np.e / (1 + np.e), 1 / (1 + np.e), 0])
    assert doubt_of(shares, description.classes, blank=False) == ""
    assert doubt_of((0.45, 0.4, 0.15), description.classes, blank=False) == "dog is close to cat"
    assert doubt_of((0.48, 0.27, 0.25), description.classes, blank=False) == "no class stands out"
    assert doubt_of(shares, description.classes, blank=True) == "the picture is blank"
