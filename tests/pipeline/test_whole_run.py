"""The whole run with its real parts: Flower apps, contracts, compiler, EVM, ONNX Runtime."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_run import small_config

from fedvm.compiler import CompiledModel
from fedvm.compiler.probe import reference_scores
from fedvm.learning.checkpoint import load_checkpoint
from fedvm.learning.errors import LearningError
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.events import Observer
from fedvm.pipeline.results import RunReport
from fedvm.pipeline.run import BY_CLASS, run_all
from fedvm.protocol import int32_from_bytes, model_root
from fedvm.rundir.errors import RunDirectoryError
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import open_run

Finished = tuple[Path, RunReport]


def test_the_contract_caps_one_liar_and_refuses_the_other(finished: Finished) -> None:
    _, report = finished
    assert [row.final for row in report.rounds] == [True, True]
    for row in report.rounds:
        by_client = {member.client: member for member in row.members}
        assert len(row.accepted) == 3 and len(row.refused) == 1
        assert by_client[1].capped and by_client[1].weight == 60
        assert by_client[1].examples == 50 * report.data.client_examples[1]
        assert by_client[2].refused == "NormTooLarge" and by_client[2].weight == 0
        assert not by_client[0].capped and by_client[0].weight == report.data.client_examples[0]


def test_the_chain_computes_what_onnx_runtime_computes(finished: Finished) -> None:
    out, report = finished
    facts = report.evaluation
    assert facts.images == 24 and facts.mismatches == 0 and facts.service_calls > 0
    assert facts.chain_accuracy == facts.integer_accuracy
    with open_run(out) as run:
        images = np.random.default_rng(3).integers(0, 256, (5, *report.data.shape), dtype=np.uint8)
        exact = reference_scores((out / "model.int.onnx").read_bytes(), images)
        assert (run.program.predict_many(images).scores == exact).all()
        assert (run.model_service.predict(images[0].tobytes()) == exact[0]).all()
        assert run.model_service.classify(images[0].tobytes()) == int(exact[0].argmax())


def test_what_is_exported_is_the_federated_model(finished: Finished) -> None:
    out, report = finished
    with open_run(out) as run:
        contract = run.federation_contract
        proposed = [event for event in contract.events() if type(event).__name__ == "RoundProposed"][-1]
        rules = contract.rules()
        vector = int32_from_bytes(run.store.get(proposed.cid), rules.elements)
        version = run.model_service.version(run.model_service.current_version())
    assert "0x" + model_root(vector).hex() == report.model.model_root
    assert version.model_root == model_root(vector) and version.round == 2
    state = load_checkpoint(out / "model.pt").model.state_dict()
    weights = np.concatenate([tensor.numpy().reshape(-1) for tensor in state.values()])
    assert np.array_equal(
        weights, np.ldexp(vector.astype(np.float64), -rules.fraction_bits).astype(np.float32)
    )
    graph = onnx.load(out / "model.onnx").graph
    assert {tensor.name for tensor in graph.initializer} >= set(state)
    assert version.integer_onnx_digest == sha256((out / "model.int.onnx").read_bytes()).digest()


def test_the_directory_holds_what_the_architecture_says(finished: Finished) -> None:
    out, report = finished
    for name in (
        "config.toml",
        "chain.sqlite",
        "store",
        "model.pt",
        "model.onnx",
        "model.int.onnx",
        "run.lock",
    ):
        assert (out / name).exists(), name
    assert CompiledModel.load(out / "program").manifest["gas"]["evm"] == report.gas.predict_estimate
    assert json.loads((out / "report.json").read_text())["model"]["model_root"] == report.model.model_root
    evaluation = report.evaluation
    right = sum(row[at] for at, row in enumerate(evaluation.confusion))
    assert sum(map(sum, evaluation.confusion)) == evaluation.images
    assert right == round(evaluation.chain_accuracy * evaluation.images)
    assert report.gate is None and len(list((out / "images" / BY_CLASS).iterdir())) == 20
    assert not list(out.rglob(".*"))  # files begun and not moved into place


def test_gas_is_the_chain_s(finished: Finished) -> None:
    out, report = finished
    with open_run(out) as run:
        asked = np.zeros(report.data.shape, np.uint8).tobytes()
        whole = run.model_service.predict_gas(asked)
    assert 0 < report.gas.predict < whole
    assert report.gas.predict == pytest.approx(report.gas.predict_estimate, rel=0.01)
    assert report.gas.rounds == sum(sum(row.gas.values()) for row in report.rounds) > 0


class _Interrupt(Observer):
    """Presses Ctrl-C when the n-th step begins. The first one, reading, comes before there is a run."""

    def __init__(self, after: int) -> None:
        self.left = after

    def step(self, title: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_interrupted_before_every_step_it_ends_the_same(
    tmp_path: Path, digits: Path, finished: Finished
) -> None:
    _, uninterrupted = finished
    config = small_config(digits, tmp_path / "run")
    interruptions = 0
    while True:
        try:
            report = run_all(config, resume=interruptions > 0, observer=_Interrupt(interruptions + 2))
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions == 5
    assert report.model.model_root == uninterrupted.model.model_root
    assert [part.code_hash for part in report.model.parts] == [
        part.code_hash for part in uninterrupted.model.parts
    ]
    assert [row.members for row in report.rounds] == [row.members for row in uninterrupted.rounds]
    assert report.gas.program_deploy == uninterrupted.gas.program_deploy


def test_a_directory_is_not_used_twice(finished: Finished, digits: Path, tmp_path: Path) -> None:
    out, _ = finished
    with pytest.raises(RunDirectoryError, match="--resume"):
        run_all(small_config(digits, out))
    with pytest.raises(RunDirectoryError, match="is no run directory"):
        run_all(small_config(digits, tmp_path / "none"), resume=True)


def test_too_few_images_for_the_calibration(tmp_path: Path, digits: Path) -> None:
    config = small_config(digits, tmp_path / "run", compiler__calibration_images=150)
    with pytest.raises(ConfigError, match=r"compiler\.calibration_images = 150"):
        run_all(config)


@pytest.mark.parametrize(
    ("override", "error", "word"),
    [
        ({"model__name": "lenett"}, LearningError, "lenet"),
        ({"data__clients": 120}, LearningError, "clients"),
        ({"rules__max_examples": 2**31}, ConfigError, "overflow"),
    ],
)
def test_bad_settings_leave_the_directory_free(
    tmp_path: Path, digits: Path, override: dict[str, object], error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        run_all(small_config(digits, tmp_path / "run", **override))
    RunDirectory(tmp_path / "run").require_free()
