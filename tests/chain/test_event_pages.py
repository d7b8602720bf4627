"""Events are read in pages, and in smaller ones where a node finds a page too large."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from setup_federation import deploy_federation
from web3.exceptions import Web3RPCError

from fedvm.chain.federation_types import MemberAdded
from fedvm.chain.networks import DEVNET, connect
from fedvm.devnet.accounts import derive_account
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.devnet.lotus import rpc
from fedvm.devnet.lotus.chain import TipsetChain
from fedvm.devnet.lotus.server import LotusServer


def test_a_page_is_halved_until_the_node_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two events a request are all that this node gives; the federation's creation alone has more than that."""
    owner, *members = (derive_account(5, "user", index) for index in range(5))
    chain = TipsetChain(31415926, {bytes.fromhex(owner.address[2:]): 10**22}, started=1_800_000_000)
    monkeypatch.setattr("fedvm.chain.networks.DEVNET", replace(DEVNET, poll_seconds=0.01))
    monkeypatch.setattr("fedvm.chain.networks.NETWORKS", (replace(DEVNET, poll_seconds=0.01),))
    with LotusServer(chain, epoch_seconds=0.01) as server:
        w3 = connect(server.url)
        setup = deploy_federation(w3, owner, owner, tuple(members[:3]))
        asked: list[tuple[int, int]] = []
        before = rpc.LotusRpc._range

        def counted(self: rpc.LotusRpc, query: Any) -> Any:
            asked.append((int(query["fromBlock"], 16), int(query["toBlock"], 16)))
            if asked[-1][1] - asked[-1][0] > 4:
                raise rpc.RpcError(-32005, "block range exceeds maximum of 4")
            return before(self, query)

        monkeypatch.setattr(rpc.LotusRpc, "_range", counted)
        added = list(setup.federation.events([MemberAdded]))
        assert len(added) == 3
        assert len(asked) > 2
        monkeypatch.setattr(rpc, "MAX_LOGS", 2)
        with pytest.raises(Web3RPCError, match="too many results"):  # one block cannot be halved
            list(setup.federation.events([MemberAdded]))


def test_other_errors_are_not_asked_again(
    setup: Any, chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    before = chain.w3.provider.make_request

    def broken(method: Any, params: Any) -> Any:
        if method != "eth_getLogs":
            return before(method, params)
        asked.append(params)
        return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "the index is broken"}}

    monkeypatch.setattr(chain.w3.provider, "make_request", broken)
    with pytest.raises(Web3RPCError, match="broken"):
        list(setup.federation.events([MemberAdded]))
    assert len(asked) == 1
