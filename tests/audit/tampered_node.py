"""A node and a store that lie in one place, over a chain and a store that do not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from web3 import Web3
from web3.providers.base import JSONBaseProvider

from fedvm.store import Cid, ContentStore

Change = Callable[[str, Any, Any], Any]
"""From a method, its parameters and the true result to the result that is given."""


class TamperedNode(JSONBaseProvider):
    """Answers as another provider, whose chain must stand still: answers are remembered. change: what it lies about."""

    is_embedded = True

    def __init__(self, true: Any) -> None:
        super().__init__()
        self._true, self._known = true, dict[str, Any]()
        self.change: Change | None = None

    def make_request(self, method: Any, params: Any) -> Any:
        key = json.dumps([method, params], default=str)
        if key not in self._known:
            self._known[key] = self._true.make_request(method, params)
        answer = self._known[key]
        if self.change is None or answer.get("result") is None:
            return answer
        return {**answer, "result": self.change(method, params, answer["result"])}

    def is_connected(self, show_traceback: bool = False) -> bool:
        return True


class TamperedStore(ContentStore):
    """The blocks of a folder, but for those that lie in another, or are withheld."""

    def __init__(self, path: Path, altered: Path) -> None:
        super().__init__(path)
        altered.mkdir(exist_ok=True)
        self._altered = ContentStore(altered)
        self.withheld: set[str] = set()

    def alter(self, cid: str, data: bytes) -> None:
        """Give other bytes for a block."""
        self._altered.file_of(cid).write_bytes(data)

    def restore(self) -> None:
        """Give what is there again."""
        self.withheld.clear()
        for file in self._altered.path.iterdir():
            file.unlink()

    def file_of(self, cid: Cid | str) -> Path:
        altered = self._altered.file_of(cid)
        if str(cid) in self.withheld:
            return altered  # which is not there
        return altered if altered.exists() else super().file_of(cid)


def flipped(text: str, at: int) -> str:
    """Hexadecimal data with the lowest bit of one byte changed."""
    data = bytearray.fromhex(text[2:])
    data[at] ^= 1
    return "0x" + data.hex()


def in_logs(change: Callable[[list[Any]], list[Any]], *, receipts: bool) -> Change:
    """Lie about events: in what is listed, and in receipts, too."""

    def lie(method: str, params: Any, result: Any) -> Any:
        if method == "eth_getLogs":
            return change(copy.deepcopy(result))
        if receipts and method == "eth_getTransactionReceipt":
            return {**result, "logs": change(copy.deepcopy(result["logs"]))}
        return result

    return lie


def in_answer(method: str, first: str, change: Callable[[Any], Any]) -> Change:
    """Lie in the answers to one method about one thing, its first parameter."""

    def lie(asked: str, params: Any, result: Any) -> Any:
        about = str(params[0]).lower() if params else ""
        return change(copy.deepcopy(result)) if (asked, about) == (method, first.lower()) else result

    return lie


def web3_of(node: TamperedNode) -> Web3:
    """A web3 over the node that asks it for every block anew."""
    return Web3(node)
