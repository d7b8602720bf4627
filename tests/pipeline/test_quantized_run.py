"""Clients that train on the integers of the contract: from the config file to the audit, the same in every engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deployed import carry_to, deployed_clients
from small_run import small_config

from fedvm.audit.replay import audit
from fedvm.learning.checkpoint import load_checkpoint
from fedvm.learning.errors import QuantizationError
from fedvm.learning.fake_quant import QuantizedLayer
from fedvm.learning.quantization import QuantizedNetwork
from fedvm.learning.training import predict
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import config_of, load_config, tables_of
from fedvm.pipeline.data import prepare_data
from fedvm.pipeline.network import model_spec
from fedvm.pipeline.results import RunReport
from fedvm.pipeline.run import run_all
from fedvm.rundir.run import open_run
from fedvm.rundir.target import Target
from fedvm.web.export import export

FEW_BITS = {
    "training__quantization_aware": True,
    "training__epochs": 6,
    "compiler__input_bits": 4,
    "compiler__weight_bits": 4,
    "compiler__activation_bits": 3,
}
Finished = tuple[Path, RunReport]


def few_bits(
    digits: Path, out: Path, *members: str, engine: str = "inprocess", **changes: object
) -> RunConfig:
    """The small run on few bits, without adversaries."""
    settings = tables_of(small_config(digits, out, **FEW_BITS, **changes))
    del settings["adversaries"]
    settings["federation"]["engine"] = engine
    settings["deployment"]["members"] = list(members)
    return config_of(settings)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Finished:
    out = tmp_path_factory.mktemp("quantized") / "run"
    return out, run_all(few_bits(digits, out))


def test_the_contract_computes_what_the_clients_trained(quantized: Finished) -> None:
    out, report = quantized
    facts = report.evaluation
    assert report.model.quantization_aware and facts.mismatches == 0
    assert facts.float_accuracy == facts.chain_accuracy > 0.5
    model = load_checkpoint(out / "model.pt").model
    assert isinstance(model, QuantizedNetwork)
    scores = [layer for layer in model if isinstance(layer, QuantizedLayer)][-1]
    images = np.random.default_rng(4).integers(0, 256, (60, *report.data.shape), dtype=np.uint8)
    steps = predict(model, images) / 2.0 ** scores.log2_step.detach().double().numpy()
    with open_run(out) as run:
        assert np.array_equal(run.program.predict_many(images).scores, np.rint(steps))
    export(Target(run=out), out / "site")
    assert "the integers that the clients trained" in (out / "site" / "model.html").read_text()


def test_few_bits_cost_less(quantized: Finished, finished: Finished) -> None:
    _, report = quantized
    _, eight = finished
    assert report.gas.predict < 0.9 * eight.gas.predict
    assert report.gas.program_deploy < 0.85 * eight.gas.program_deploy


def test_the_audit_finds_the_trained_parameters_in_the_file(quantized: Finished) -> None:
    out, _ = quantized
    with open_run(out) as run:
        found = audit(run.w3, run.store, federation=run.deployment.federation, service=run.deployment.service)
    assert found.findings == () and found.passed["onnx weights"] == found.passed["code hashes"] == 1


@pytest.mark.slow
def test_deployed_clients_come_to_the_same_model(
    quantized: Finished, tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, configs = deployed_clients(tmp_path, digits)
    carry_to(tmp_path, monkeypatch, configs)
    config = few_bits(digits, tmp_path / "there", *members, engine="deployment")
    assert run_all(config).model.model_root == quantized[1].model.model_root


@pytest.mark.slow
def test_few_bits_learn_as_well_as_eight(tmp_path: Path) -> None:
    """Within 2 points on 500 images that nobody trained on, for a fifth less gas."""
    common = {
        "data.clients": 4,
        "model.name": "mlp",
        "training.lr": 0.015,
        "training.schedule": "cosine",
        "federation.rounds": 6,
        "evaluation.every": 6,
        "compiler.input_bits": 4,
    }
    few = {"training.quantization_aware": True, "compiler.weight_bits": 3, "compiler.activation_bits": 4}
    reports = [
        run_all(load_config(None, {**common, **bits, "run.out": str(tmp_path / name)}))
        for name, bits in {"eight": {"compiler.input_bits": 8}, "few": few}.items()
    ]
    eight, few_bits_of = (report.evaluation for report in reports)
    assert few_bits_of.images == 500 and few_bits_of.mismatches == 0
    assert few_bits_of.chain_accuracy > eight.chain_accuracy - 0.02 and eight.chain_accuracy > 0.88
    assert reports[1].gas.predict < 0.8 * reports[0].gas.predict


@pytest.mark.slow
def test_flower_s_simulation_comes_to_the_same_model(
    quantized: Finished, tmp_path: Path, digits: Path
) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'fedvm[simulation]'")
    config = few_bits(digits, tmp_path / "there", engine="flower-simulation")
    assert run_all(config).model.model_root == quantized[1].model.model_root


def test_sums_are_as_wide_as_the_compiler_makes_them(digits: Path, tmp_path: Path) -> None:
    config = few_bits(digits, tmp_path / "run")
    settings = model_spec(config, prepare_data(config).images).quantization
    assert settings is not None and settings.lane_bits == {"dense1": 16, "dense2": 22}


def test_a_network_that_cannot_be_trained_so_is_refused_before_anything_is_written(
    tmp_path: Path, digits: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(QuantizationError, match="a BatchNorm2d, which cannot be quantized"):
        run_all(few_bits(digits, out, model__name="resnet8"))
    assert not out.exists() or not any(path for path in out.iterdir() if path.name != "run.lock")
