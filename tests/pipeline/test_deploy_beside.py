"""A model that is deployed on the chain of a federation's own directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord
from torch import nn
from web3 import Web3

from fedvm.audit.replay import audit
from fedvm.chain.errors import DeploymentError
from fedvm.federation import open_federation
from fedvm.learning.export import onnx_bytes
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.onnx_model import Prepared, Request, prepare
from fedvm.pipeline.placing import deploy_beside
from fedvm.pipeline.user_model import create_for_model
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.run import Run, open_run

SHAPE = (1, 4, 4)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    images = np.random.default_rng(3).integers(0, 256, (64, *SHAPE), dtype=np.uint8)
    (tmp_path / "model.onnx").write_bytes(onnx_bytes(network(), SHAPE))
    np.savez(tmp_path / "images.npz", images=images)
    request = Request(tmp_path / "model.onnx", calibration=tmp_path / "images.npz", preprocess=(1 / 255, 0.0))
    return prepare(request)


def test_what_is_deployed_answers_from_the_federations_directory(tmp_path: Path, prepared: Prepared) -> None:
    directory = tmp_path / "federation"
    config = load_config(None, {"data.clients": 2, "rules.max_examples": 100})
    create_for_model(directory, config, ArrayRecord(network().state_dict()), seed=3)
    with open_run(directory, read_only=False) as run:
        assert open_federation(run).ledger.address == run.deployment.federation
        served = deploy_beside(prepared, run)
        image = prepared.calibration[0]
        expected = prepared.compiled.reference
        with pytest.raises(DeploymentError, match=r"has a service already, 0x"):
            deploy_beside(prepared, run)
    with open_run(directory) as again:
        assert again.model_service.address == served.service.address
        scores = again.model_service.predict(image.tobytes())
        assert (scores == again.program.predict_many(image[None]).scores[0]).all()
        deployed = again.deployment
        report = audit(again.w3, again.store, federation=deployed.federation, service=deployed.service)
        assert report.clean and report.passed["compiler"] == 1
    assert (directory / "model.int.onnx").read_bytes() == expected.SerializeToString(deterministic=True)


def test_a_federation_on_a_network_is_not_for_it(tmp_path: Path, prepared: Prepared) -> None:
    at = Deployment(ChainRef("rpc", "http://127.0.0.1:1"), 314)
    with pytest.raises(DeploymentError, match="fedvm serve"):
        deploy_beside(prepared, Run(tmp_path, at, Web3(), None))
