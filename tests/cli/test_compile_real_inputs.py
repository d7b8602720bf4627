"""`fedvm compile` on a table of real numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from test_cli import call
from torch import nn

from fedvm.audit.recipe import CompileRecipe, read_recipe, write_recipe
from fedvm.compiler import CompiledModel, compile_model
from fedvm.pipeline.onnx_model import Request, local_program, prepare


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    normal = network[0]
    assert isinstance(normal, nn.BatchNorm1d) and normal.running_var is not None
    normal.running_var.copy_(torch.tensor([1.0, 1e4, 1e-2]))
    path = tmp_path / "table.onnx"
    torch.onnx.export(network, (torch.zeros(1, 3),), str(path), dynamo=False, input_names=["x"])
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(200, 3)) * [1, 100, 0.1]
    path = tmp_path / "table.csv"
    np.savetxt(path, values, delimiter=",", header="a,b,c", comments="")
    return path


def test_a_range_for_each_column(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, table: Path
) -> None:
    out = tmp_path / "program"
    status, printed, err = call(
        capsys, "compile", str(model), "--calibration", str(table), "--out", str(out), "--check"
    )
    assert status == 0 and "EVM gas" in printed and "0 unlike ONNX Runtime" in err
    manifest = json.loads((out / "manifest.json").read_text())
    small, large, least = manifest["input"]["scale"]
    assert 50 < large / small < 200 and 5 < small / least < 20
    status, _, err = call(
        capsys, "compile", str(model), "--calibration", str(table), "--out", str(out), "--check"
    )
    assert status == 0 and "all code hashes are equal" in err


def test_input_range(capsys: pytest.CaptureFixture[str], model: Path, table: Path) -> None:
    compile_ = ["compile", str(model), "--calibration", str(table)]
    status, printed, _ = call(capsys, *compile_, "--input-range=-4:4,-400:400,-1:1", "--emit", "manifest")
    assert status == 0 and json.loads(printed)["input"]["offset"] == [-4, -400, -1]
    for text, message in (
        ("0-1", "give LOW:HIGH"), ("1:0", "the smaller first"), ("0:1,0:1", "has 2 values"), ("0:nan", "finite"),
    ):  # fmt: skip
        status, _, err = call(capsys, *compile_, f"--input-range={text}")
        assert status == 2 and message in err, text
    status, _, err = call(capsys, *compile_, "--input-range=0:1", "--scale", "1")
    assert status == 2 and "one of them" in err


def test_bad_cells_are_named(capsys: pytest.CaptureFixture[str], model: Path, table: Path) -> None:
    table.write_text(table.read_text() + "1,?,2\n")
    status, _, err = call(capsys, "compile", str(model), "--calibration", str(table))
    assert status == 2 and "line 202, column b" in " ".join(err.split())


def test_numbers_are_asked_about_as_the_reference_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, table: Path
) -> None:
    out = str(tmp_path / "program")
    assert call(capsys, "compile", str(model), "--calibration", str(table), "--out", out)[0] == 0
    compiled = CompiledModel.load(Path(out))
    rows = np.loadtxt(table, delimiter=",", skiprows=1).astype(np.float32)[:4]
    expected = local_program(compiled).predict_many(compiled.quantize_input(rows)).scores
    np.savetxt(tmp_path / "few.csv", rows, delimiter=",", header="a,b,c", comments="", fmt="%.9g")
    status, printed, _ = call(
        capsys, "predict", "--values", str(tmp_path / "few.csv"), "--run", out, "--json"
    )
    answers = [json.loads(line) for line in printed.splitlines()]
    assert status == 0 and [answer["scores"] for answer in answers] == expected.tolist()

    one = ",".join(f"{value:.9g}" for value in rows[1])
    status, printed, _ = call(capsys, "predict", f"--values={one}", "--run", out, "--json")
    assert status == 0 and json.loads(printed)["scores"] == expected[1].tolist()
    status, _, err = call(capsys, "predict", "--values=0,1e6,0", "--run", out)
    assert status == 0 and "number 2 is beyond" in err and "number 1" not in err
    for text, message in (
        ("1,2", "2 numbers, the model takes 3"),
        ("1,nan,2", "finite"),
        ("none.csv", "neither a file nor numbers"),
    ):
        status, _, err = call(capsys, "predict", f"--values={text}", "--run", out)
        assert status == 2 and message in err, text
    status, _, err = call(capsys, "predict", "x.png", "--run", out)
    assert status == 2 and "give numbers with --values" in err
    for both in (["x.png", "--values=1,2,3"], []):
        status, _, err = call(capsys, "predict", *both, "--run", out)
        assert status == 2 and "give images or --values" in err


def test_open_sizes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    path, axes = tmp_path / "open.onnx", {"x": {0: "N", 2: "H", 3: "W"}}
    torch.onnx.export(network, (torch.zeros(1, 1, 8, 8),), str(path), dynamo=False, input_names=["x"],
                      dynamic_axes=axes)  # fmt: skip
    command = ["compile", str(path), "--emit", "manifest"]
    status, printed, _ = call(capsys, *command, "--input-shape", "1,6,9")
    assert status == 0 and json.loads(printed)["input"]["shape"] == [1, 6, 9]
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (30, 1, 5, 7), dtype=np.uint8))
    status, printed, _ = call(
        capsys, *command, "--calibration", str(tmp_path / "x.npy"), "--min-correlation", "0"
    )
    assert status == 0 and json.loads(printed)["input"]["shape"] == [1, 5, 7]
    status, _, err = call(capsys, *command)
    assert status == 2 and "axis 2 is H" in err
    for text in ("1,H,W", "1,,2", "0,1,1", ""):
        status, _, err = call(capsys, *command, f"--input-shape={text}")
        assert status == 2 and "such as 3,64,64" in err, text


@pytest.fixture
def two_outputs(model: Path) -> str:
    """The model with a second output "squashed"; the name of the first."""
    proto = onnx.load(model)
    (output,) = proto.graph.output
    squashed = onnx.helper.make_tensor_value_info("squashed", onnx.TensorProto.FLOAT, [1, 2])
    proto.graph.node.append(onnx.helper.make_node("Sin", [output.name], ["squashed"]))
    proto.graph.output.append(squashed)
    onnx.save(proto, model)
    return output.name


def test_an_output_is_chosen_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, table: Path, two_outputs: str
) -> None:
    out = tmp_path / "program"
    compile_ = ["compile", str(model), "--calibration", str(table), "--min-agreement", "0", "--out", str(out)]
    status, _, err = call(capsys, *compile_)
    assert status == 2 and f"several outputs ({two_outputs}, squashed)" in " ".join(err.split())
    status, _, err = call(capsys, *compile_, "--output", "scores")
    assert status == 2 and "no output 'scores'" in err
    status, _, err = call(capsys, *compile_, "--output", "squashed", "--check")
    assert status == 0 and "0 unlike ONNX Runtime" in err
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["options"]["output"] == "squashed"
    assert sum("table" in row["op"] for row in manifest["layers"]) == 1


def test_a_recipe_names_the_output(model: Path, table: Path, two_outputs: str) -> None:
    request = Request(model, table, output="squashed", min_agreement=0)
    prepared = prepare(request)
    recipe = CompileRecipe("", prepared.calibration.shape, None, (), 0, prepared.options)
    held = read_recipe(write_recipe(prepared.onnx, recipe))
    again = compile_model(
        prepared.onnx, prepared.calibration, **held.arguments(), min_agreement=0, min_correlation=0
    )
    assert again.codes == prepared.compiled.codes
