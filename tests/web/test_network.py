"""A service on a network, without a run's directory: what a wallet is given to sign records the decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_pages import HtmlPage
from numpy.typing import NDArray
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


@dataclass(frozen=True)
class Network:
    """read: makes the index follow the chain."""

    url: str
    service: str
    site: Site
    image: NDArray[np.uint8]
    read: Callable[[], object]


@contextmanager
def deployed(start_anvil: Callable[..., AbstractContextManager[str]], path: Path) -> Iterator[Network]:
    """A model that was deployed on anvil, the pages of its service, and what makes the pages follow the chain."""
    export_onnx(build_model(ModelSpec("mlp", (1, 16, 16), 10), seed=4), (1, 16, 16), path / "own.onnx")
    images = np.random.default_rng(1).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    np.savez(path / "images.npz", images=images)
    out = path / "deployed"
    with start_anvil() as url:
        assert fedvm(
            ["deploy", str(path / "own.onnx"), "--rpc", url, "--out", str(out), "--scale", str(1 / 127.5),
             "--offset", "-1", "--calibration", str(path / "images.npz"), "--classes", "a,b,c,d,e,f,g,h,i,j"]
        ) == 0  # fmt: skip
        service = Deployment.load(out).service
        target, index = Target(endpoint=Endpoint(url), service=service, stores=(str(out / "store"),)), Index()
        with open_source(target) as source:
            site = Site(index, target, Renderer(static=False))
            site.source = source
            Reader(index, source).read()
            yield Network(url, str(service), site, images[0], Reader(index, source).read)
        index.close()


@pytest.mark.slow
def test_a_wallet_records_a_decision(
    start_anvil: Callable[..., AbstractContextManager[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    with deployed(start_anvil, tmp_path) as made:
        url, service, site = made.url, made.service, made.site
        headers = {"origin": "http://localhost"}
        client = TestClient(make_app(site), base_url="http://localhost", headers=headers)
        home = HtmlPage(client.get("/").text).text
        assert (
            "chain 31337" in home and "It runs on one computer" in home and "a file of this run" not in home
        )
        answer = HtmlPage(client.post("/ask", content=png(made.image)).text)
        assert "the same scores, to the last digit" in answer.text  # compiled again: there is no run's file
        assert client.post("/record", content=made.image.tobytes()).status_code == 422
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
        made.read()
        told = HtmlPage(client.get("/decisions/1").text).text
        assert w3.eth.accounts[1] in told and "Decision 1:" in told
        assert "The same answer" in client.post("/decisions/1/again").text
        assert "Everything follows" in client.post("/model/1/check").text


WALLET = """() => {
  const provider = { request: ({ method, params }) => window.wallet(method, params || []) };
  const detail = Object.freeze({ info: { uuid: "1", name: "<b>Purse</b>", icon: "", rdns: "x" }, provider });
  const announce = () => window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
  window.addEventListener("eip6963:requestProvider", announce);
}"""


@pytest.mark.slow
def test_a_browser_s_wallet_is_found_and_asked(
    start_anvil: Callable[..., AbstractContextManager[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("axe_playwright_python")
    from web_bench.axe import browser
    from web_bench.serving import served

    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    asked: list[str] = []
    with (
        deployed(start_anvil, tmp_path) as made,
        served(made.site) as address,
        playwright.sync_playwright() as player,
    ):
        chromium = browser(player)
        if chromium is None:
            pytest.skip("chromium is not installed")
        w3 = Web3(Web3.HTTPProvider(made.url))

        def wallet(method: str, params: list[Any]) -> Any:
            """A wallet that is on another chain at first, and whose user refuses the first transaction."""
            asked.append(method)
            if method == "eth_requestAccounts":
                return [w3.eth.accounts[2]]
            if method == "eth_chainId":
                return "0x1"
            if method == "wallet_switchEthereumChain":
                assert params == [{"chainId": hex(w3.eth.chain_id)}]
                return None
            assert method == "eth_sendTransaction"
            if asked.count(method) == 1:
                raise ValueError("the user said no")
            return w3.provider.make_request(method, params)["result"]  # type: ignore[arg-type]

        page = chromium.new_page()
        page.expose_function("wallet", wallet)
        page.goto(address + "/ask")
        (tmp_path / "seen.png").write_bytes(png(made.image))
        page.set_input_files("#file", str(tmp_path / "seen.png"))
        page.wait_for_selector(".wallets:has-text('No wallet was found')")
        page.evaluate(WALLET)
        page.set_input_files("#file", str(tmp_path / "seen.png"))
        button = page.get_by_role("button", name="Record with <b>Purse</b>")  # its name stays text
        button.click()
        page.wait_for_selector("#recorded:has-text('Not recorded')")
        assert "the user said no" in page.inner_text("#recorded")
        button.click()
        page.wait_for_selector("#recorded:has-text('Sent: transaction 0x')")
        made.read()
        page.goto(address + "/decisions/1")
        assert w3.eth.accounts[2] in page.inner_text("main")
        assert asked.count("wallet_switchEthereumChain") == 2
        chromium.close()
