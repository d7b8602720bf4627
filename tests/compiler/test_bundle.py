"""Weights in files beside the model: read from its folder alone, and part of what is hashed, compiled and published."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from evm import Machine
from models import graph_model, random_bytes
from onnx import TensorProto, helper
from torch import nn

from fedvm.audit.recipe import stored_weights
from fedvm.compiler import ModelError, compile_model
from fedvm.compiler.frontend import bundle
from fedvm.compiler.frontend.bundle import self_contained
from fedvm.compiler.probe import reference_scores
from fedvm.pipeline.onnx_model import Request, prepare

WEIGHT = np.arange(8, dtype=np.float32).reshape(4, 2)


def beside(folder: Path, data: bytes | None = WEIGHT.tobytes(), name: str = "m.data", **entries: str) -> Path:
    """A model whose only weight lies in the file `name` beside it."""
    model = graph_model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT}, (1, 4))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": name} | entries).items():
        tensor.external_data.add(key=key, value=value)
    if data is not None:
        (folder / Path(name).name).write_bytes(data)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """What PyTorch's exporter writes by default."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 3)).eval()
    path = tmp_path_factory.mktemp("export") / "default.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(1, 1, 8, 8),), path, dynamo=True, verbose=False, external_data=True
        )
    assert path.with_name("default.onnx.data").exists()
    return path


def test_pytorch_default_export_compiles_to_what_one_file_does(exported):
    x = random_bytes((1, 8, 8), 60)
    compiled = compile_model(exported, x, min_agreement=0)
    whole = onnx.load(exported)  # reads the weights
    inside = compile_model(whole, x, min_agreement=0)
    assert compiled.codes == inside.codes
    assert (Machine(compiled).predict(x) == reference_scores(compiled.reference.SerializeToString(), x)).all()


def test_the_hash_covers_the_weights(tmp_path):
    x = random_bytes((4,), 30)
    hashes = set()
    for factor in (1, 2):
        path = beside(tmp_path, (factor * WEIGHT).tobytes())
        compiled = compile_model(path, x, verify=False, min_agreement=0, min_correlation=0)
        assert compiled.manifest["source_sha256"] == hashlib.sha256(self_contained(path)).hexdigest()
        hashes.add(compiled.manifest["source_sha256"])
    assert len(hashes) == 2


def test_what_would_be_published_needs_no_other_file(exported, tmp_path):
    x = random_bytes((1, 8, 8), 60)
    np.save(tmp_path / "x.npy", x)
    prepared = prepare(Request(exported, tmp_path / "x.npy", min_agreement=0.0))
    assert {w.shape for w in stored_weights(prepared.onnx).values()} >= {(40, 64), (3, 40)}
    again = compile_model(prepared.onnx, prepared.calibration, **prepared.options, min_agreement=0)
    assert again.codes == prepared.compiled.codes


def test_a_file_without_data_beside_it_stays_as_it_is(tmp_path):
    model = graph_model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT}, (1, 4)
    ).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(model)
    assert self_contained(tmp_path / "m.onnx") == self_contained(model) == model


def test_offsets_and_constants_of_nodes(tmp_path):
    path = beside(tmp_path, b"12345678" + WEIGHT.tobytes() + b"more", offset="8", length="32")
    assert (stored_weights(self_contained(path))["w"] == WEIGHT).all()
    proto = onnx.load(path, load_external_data=False)
    constant = helper.make_node("Constant", [], ["w"])
    constant.attribute.append(helper.make_attribute("value", proto.graph.initializer[0]))
    del proto.graph.initializer[:]
    proto.graph.node.insert(0, constant)
    path.write_bytes(proto.SerializeToString())
    held = onnx.load_model_from_string(self_contained(path)).graph.node[0].attribute[0].t
    assert (onnx.numpy_helper.to_array(held) == WEIGHT).all()


@pytest.mark.parametrize(
    "given", [lambda path: path.read_bytes(), lambda p: onnx.load(p, load_external_data=False)]
)
def test_without_a_path_there_is_no_folder(tmp_path, given):
    with pytest.raises(ModelError, match=r"tensor w is stored in another file: .*path"):
        self_contained(given(beside(tmp_path)))


def test_a_missing_file_is_named_with_its_place(tmp_path):
    with pytest.raises(ModelError, match=r"m\.data.*missing: put it at .*m\.data, or export"):
        self_contained(beside(tmp_path, None))


@pytest.mark.parametrize(
    "name",
    ["../m.data", "/etc/hostname", "a/../../m.data", "..\\m.data", "C:/m.data", "C:m.data", "", ".", "a\0b"],
)
def test_other_folders_are_never_read(tmp_path, name):
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "m.data").write_bytes(WEIGHT.tobytes())
    with pytest.raises(ModelError, match=r"own folder|link that leads out"):
        self_contained(beside(folder, None, name))


def test_links_and_special_files(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "m.data").write_bytes(WEIGHT.tobytes())
    (folder / "m.data").symlink_to(tmp_path / "m.data")
    with pytest.raises(ModelError, match="link that leads out"):
        self_contained(beside(folder, None))
    (folder / "m.data").unlink()
    (folder / "real").write_bytes(WEIGHT.tobytes())
    (folder / "m.data").symlink_to(folder / "real")
    assert (stored_weights(self_contained(beside(folder, None)))["w"] == WEIGHT).all()
    (folder / "m.data").unlink()
    (folder / "m.data").mkdir()
    with pytest.raises(ModelError, match=r"cannot be read|no ordinary file"):
        self_contained(beside(folder, None))
    (folder / "m.data").rmdir()
    os.mkfifo(folder / "m.data")
    with pytest.raises(ModelError, match="no ordinary file"):
        self_contained(beside(folder, None))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"offset": "1"}, "cut off"),
        ({"offset": "-4"}, "offset '-4'"),
        ({"offset": "99999999999"}, "cut off"),
        ({"length": "31"}, "takes 32 bytes, but the file gives it 31"),
        ({"length": "1e9"}, "no number of bytes"),
    ],
)
def test_offsets_and_lengths_are_checked(tmp_path, entries, words):
    with pytest.raises(ModelError, match=words):
        self_contained(beside(tmp_path, **entries))


def test_too_much_is_not_read(tmp_path, monkeypatch):
    path = beside(tmp_path)
    monkeypatch.setattr(bundle, "MAX_BYTES", path.stat().st_size + 1)
    with pytest.raises(ModelError, match="bytes"):
        self_contained(path)
