"""The compiler's benchmark on networks small enough for a test: measured, checked, printed, written, drawn."""

from __future__ import annotations

import json
from pathlib import Path

import bench_compiler
import numpy as np
import onnxruntime
import pytest
import torch
from compiler_bench import plot, report
from compiler_bench.cases import UNIT, Case
from compiler_bench.contract import Program, classify_gas, compare
from compiler_bench.floor import floor_gas
from compiler_bench.measure import Measurement, PredictionDiffers, measure
from compiler_bench.naive import SolidityUnavailable, build, deploy_naive, pack
from compiler_bench.published import PUBLISHED
from compiler_bench.rows import markdown_table, read_results, write_results
from torch import nn

from fedvm.compiler import CompiledModel, compile_model
from fedvm.compiler.graph import Conv, Dense, Input, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.interpreter import run
from fedvm.learning.export import export_onnx

SHAPE = (1, 8, 8)
OPTIONS = {"activation_bits": 5}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 4))
    onnx = export_onnx(model, SHAPE, tmp_path_factory.mktemp("bench") / "model.onnx")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, *SHAPE), dtype=np.uint8)
    return Case("tiny", onnx, images[:20], images[20:], rng.integers(0, 4, 20), OPTIONS, UNIT, 5)


@pytest.fixture(scope="module")
def measured(case: Case) -> tuple[Measurement, CompiledModel]:
    return measure(case, lambda what: None)


def test_measures_what_revm_charges_and_what_onnx_runtime_scores(
    case: Case, measured: tuple[Measurement, CompiledModel]
) -> None:
    measurement, compiled = measured
    assert measurement.differential.images == 5
    assert measurement.differential.mismatches == 0
    assert measurement.gas == compiled.manifest["gas"]["evm"] == measurement.differential.gas_most
    assert measurement.macs == 2 * 9 * 36 + 18 * 4
    assert measurement.floor == pytest.approx(8 * 648 / 42 + 8 * 72 / 12)
    session = onnxruntime.InferenceSession(compiled.reference.SerializeToString())
    answers = session.run(None, {"input": case.images})[0].argmax(axis=1)
    assert measurement.integer_accuracy == (answers == case.labels).mean()
    assert measurement.agreement > 0.8


def test_counts_scores_that_differ(case: Case, measured: tuple[Measurement, CompiledModel]) -> None:
    compiled = measured[1]
    program = Program.of(compiled)
    session = onnxruntime.InferenceSession(compiled.reference.SerializeToString())
    scores = session.run(None, {"input": case.images})[0]
    scores[1, 2] += 1
    assert compare(program, case.images[:3], scores[:3], lambda n: None).mismatches == 1


def test_refuses_gas_that_was_predicted_wrongly(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def cheaper(*args: object, **options: object) -> CompiledModel:
        compiled = compile_model(*args, **options)  # type: ignore[arg-type]
        compiled.manifest["gas"]["evm"] -= 1
        return compiled

    monkeypatch.setattr("compiler_bench.measure.compile_model", cheaper)
    with pytest.raises(PredictionDiffers, match="tiny: predict takes"):
        measure(case, lambda what: None)


def test_classify_takes_the_predicted_gas(case: Case, measured: tuple[Measurement, CompiledModel]) -> None:
    answer, gas = classify_gas(Program.of(measured[1]), case.images[0])
    assert 0 <= answer < 4
    assert gas == measured[0].classify_gas


def test_tables_and_results_file_hold_every_model(
    measured: tuple[Measurement, CompiledModel], tmp_path: Path
) -> None:
    measurement = measured[0]
    table = report.results_table([measurement])
    assert f"{measurement.gas:,}" in table
    assert "41,036,311" in report.comparison_table([measurement], None)
    rows = report.all_rows([measurement], None)
    path = tmp_path / "deep" / "compiler.json"
    write_results(path, rows)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert set(content) == {"machine", "rows"}
    assert {"name": "tiny: gas", "value": measurement.gas, "unit": "gas"} in content["rows"]
    assert read_results(path) == rows
    assert len({row.name for row in rows}) == len(rows)
    assert [p.name for p in path.parent.iterdir()] == ["compiler.json"]


def test_draws_the_rows(measured: tuple[Measurement, CompiledModel], tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    plot.draw(report.all_rows([measured[0]], None), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["plot.png"]


def test_replaces_the_tables_between_marks_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("a\n<!-- bench_compiler: results -->\nold\nold\n<!-- end -->\nb\n<!-- end -->\n")
    assert report.update_document(path, {"results": "| \\1 |", "comparison": "unused"})
    wanted = "a\n<!-- bench_compiler: results -->\n| \\1 |\n<!-- end -->\nb\n<!-- end -->\n"
    assert path.read_text() == wanted
    assert not report.update_document(path, {"results": "| \\1 |"})
    assert not report.update_document(tmp_path / "none.md", {"results": ""})


def test_markdown_columns_line_up() -> None:
    lines = markdown_table(("a", "number"), [("first", "1"), ("x", "20")]).splitlines()
    assert lines == ["| a     | number |", "|-------|-------:|", "| first |      1 |", "| x     |     20 |"]


def test_floor_counts_convolutions_and_dense_layers_apart() -> None:
    layers = [{"op": "conv+pool", "macs": 420}, {"op": "depthwise", "macs": 42}, {"op": "dense", "macs": 120},
              {"op": "", "macs": 0}]  # fmt: skip
    assert floor_gas(layers) == 80 + 8 + 80


def test_published_network_has_the_macs_of_its_shape() -> None:
    assert PUBLISHED[0].macs == 13_472
    assert round(PUBLISHED[0].gas / 13_472) == 3_046


def test_missing_data_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_compiler.main(["--data", str(tmp_path / "none")]) == 2
    message = capsys.readouterr().err
    assert "none" in message
    assert "--data" in message


def integer_lenet(seed: int) -> IntegerGraph:
    """A LeNet of random integers, scaled so that activations use their range."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape)

    def layer(
        name: str, term: Conv | Dense, shape: tuple[int, int, int], shift: int, high: int | None
    ) -> IntegerLayer:
        outputs = shape[0]
        bias = rng.integers(-(2**18), 2**18, outputs)
        shifts = (
            rng.integers(shift, shift + 3, outputs) if isinstance(term, Conv) else np.full(outputs, shift)
        )
        pool = MaxPool((2, 2), (2, 2)) if isinstance(term, Conv) else None
        return IntegerLayer(name, (term,), bias, shifts, shape, np.ones(outputs), high=high, pool=pool)

    image = Input((3, 32, 32), "CHW", (3, 32, 32), np.ones(3), np.zeros(3))
    return IntegerGraph(
        image,
        (
            layer("conv1", Conv("input", weights(6, 3, 5, 5)), (6, 14, 14), 12, 63),
            layer("conv2", Conv("conv1", weights(16, 6, 5, 5)), (16, 5, 5), 10, 63),
            layer("dense1", Dense("conv2", weights(120, 400)), (120, 1, 1), 11, 63),
            layer("dense2", Dense("dense1", weights(84, 120)), (84, 1, 1), 11, 127),
            layer("dense3", Dense("dense2", weights(10, 84)), (10, 1, 1), 0, None),
        ),
    )


@pytest.mark.slow
def test_the_solidity_network_computes_the_integer_network() -> None:
    try:
        build()
    except SolidityUnavailable as error:
        pytest.skip(str(error))
    graph = integer_lenet(5)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    images = np.concatenate([images, np.zeros_like(images[:1]), np.full_like(images[:1], 255)])
    expected = run(graph, images)
    assert len({tuple(row) for row in expected.tolist()}) == len(images)
    naive = deploy_naive(graph)
    outcome = compare(naive.program, images, expected, lambda n: None)
    assert outcome.mismatches == 0
    assert 10_000_000 < outcome.gas_least <= outcome.gas_most < 40_000_000
    assert naive.deploy_gas > 12_000_000


def test_the_solidity_network_takes_no_other_shape() -> None:
    graph = integer_lenet(5)
    assert len(pack(graph)) == 61_770 + 5 * 236 + 5
    with pytest.raises(ValueError, match="five layers"):
        pack(IntegerGraph(graph.input, graph.layers[:4]))
    with pytest.raises(ValueError, match="8-bit inputs"):
        pack(IntegerGraph(graph.input, graph.layers, input_high=31))
