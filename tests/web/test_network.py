"""A service on a network, without a run's directory: what a wallet is given to sign records the decision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from html_pages import HtmlPage
from starlette.testclient import TestClient
from web3 import Web3

from fedvm.chain.endpoint import Endpoint
from fedvm.cli.entry import run as fedvm
from fedvm.images.encode import png
from fedvm.learning.export import export_onnx
from fedvm.learning.models import ModelSpec, build_model
from fedvm.rundir.deployment import Deployment
from fedvm.rundir.target import Target
from fedvm.web.app import make_app
from fedvm.web.database import Index
from fedvm.web.render import Renderer
from fedvm.web.site import Site
from fedvm.web.source import open_source
from fedvm.web.sync import Reader

ANVIL_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


@pytest.mark.slow
def test_a_wallet_records_a_decision(
    start_anvil: Callable[..., AbstractContextManager[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    export_onnx(build_model(ModelSpec("mlp", (1, 16, 16), 10), seed=4), (1, 16, 16), tmp_path / "own.onnx")
    images = np.random.default_rng(1).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    out = tmp_path / "deployed"
    with start_anvil() as url:
        assert fedvm(
            ["deploy", str(tmp_path / "own.onnx"), "--rpc", url, "--out", str(out), "--scale", str(1 / 127.5),
             "--offset", "-1", "--calibration", str(tmp_path / "images.npz"), "--classes", "a,b,c,d,e,f,g,h,i,j"]
        ) == 0  # fmt: skip
        service = Deployment.load(out).service
        target, index = Target(endpoint=Endpoint(url), service=service, stores=(str(out / "store"),)), Index()
        with open_source(target) as source:
            site = Site(index, target, Renderer(static=False))
            site.source = source
            Reader(index, source).read()
            headers = {"origin": "http://localhost"}
            client = TestClient(make_app(site), base_url="http://localhost", headers=headers)
            home = HtmlPage(client.get("/").text).text
            assert (
                "chain 31337" in home and "Everybody can read it" in home and "a file of this run" not in home
            )
            answer = HtmlPage(client.post("/ask", content=png(images[0])).text)
            assert (
                "the same scores, to the last digit" in answer.text
            )  # compiled again: there is no run's file
            assert client.post("/record", content=images[0].tobytes()).status_code == 422
            (call,) = [attrs for _, attrs in answer.tags if "data-call" in attrs]
            w3 = Web3(Web3.HTTPProvider(url))
            assert int(call["data-chain"], 16) == w3.eth.chain_id and call["data-to"] == service
            sent = w3.eth.send_transaction(
                {
                    "from": w3.eth.accounts[1],
                    "to": call["data-to"],
                    "data": call["data-call"],
                    "value": int(call["data-value"], 16),
                }
            )
            assert w3.eth.wait_for_transaction_receipt(sent)["status"] == 1
            Reader(index, source).read()
            told = HtmlPage(client.get("/decisions/1").text).text
            assert w3.eth.accounts[1] in told and "Decision 1:" in told
            assert "The same answer" in client.post("/decisions/1/again").text
            assert "Everything follows" in client.post("/model/1/check").text
        index.close()
