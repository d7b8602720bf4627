"""How often a coordinator asks its chain in a round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eth_utils.abi import function_abi_to_4byte_selector
from federation_bench import Bench, MakeBench

from fedvm.chain.artifacts import FEDERATION, load_artifact
from fedvm.federation import FederationSettings

NAMES = {
    "0x" + function_abi_to_4byte_selector(entry).hex(): entry["name"]
    for entry in load_artifact(FEDERATION).abi
    if entry["type"] == "function"
}
STEPS = 5
"""Blocks that a round makes here: opening, submission, proposal, the end of the challenge window, finalisation."""


@contextmanager
def counted(bench: Bench) -> Iterator[Counter[str]]:
    """Counts the requests by method, calls of the federation by function."""
    count: Counter[str] = Counter()
    provider: Any = bench.chain.w3.provider
    ask = provider.make_request

    def counting(method: str, params: Any) -> Any:
        call = params[0] if method == "eth_call" else {}
        count[NAMES.get(str(call.get("data", call.get("input")))[:10], method)] += 1
        return ask(method, params)

    provider.make_request, provider._request_func_cache = counting, (None, None)
    try:
        yield count
    finally:
        del provider.make_request
        provider._request_func_cache = (None, None)


def test_a_round_is_asked_for_once_a_step(make_bench: MakeBench) -> None:
    bench, rounds = make_bench(3), 3
    with counted(bench) as count:
        bench.run(FederationSettings(clients=3, rounds=rounds))
    assert count["round"] == STEPS * rounds
    assert count["isMember"] == count["rules"] == count["currentRound"] == 0
    assert count["security"] == count["disputes"] == 1
    assert count["eth_getBlockByNumber"] <= 25 * rounds
    assert 0 < count["eth_getLogs"] <= 18 * rounds
