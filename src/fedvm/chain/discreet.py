"""An HTTP provider that tells nobody its URL, and takes for an answer only what is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from requests.exceptions import RequestException
from web3 import HTTPProvider
from web3.types import RPCEndpoint, RPCResponse

from fedvm.chain.errors import BadAnswer
from fedvm.chain.rpc_url import shown
from fedvm.jsontext import parse_json

_DATA, _QUANTITY = re.compile(r"0x([0-9a-fA-F]{2})*"), re.compile(r"0x[0-9a-fA-F]+")
_BYTES: Final = frozenset({"eth_call", "eth_getCode", "eth_sendRawTransaction"})
_ANSWERS: Final[dict[str, type]] = {
    "eth_blockNumber": str,
    "eth_call": str,
    "eth_chainId": str,
    "eth_estimateGas": str,
    "eth_feeHistory": dict,
    "eth_gasPrice": str,
    "eth_getBalance": str,
    "eth_getCode": str,
    "eth_getLogs": list,
    "eth_getTransactionCount": str,
    "eth_maxPriorityFeePerGas": str,
    "eth_sendRawTransaction": str,
}
"""What kind of result a method has, of those that always have one."""


class DiscreetProvider(HTTPProvider):
    """An HTTP provider whose errors do not quote its URL, which may hold a key.

    requests' exceptions keep their types, and the response that they carry.
    """

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """As web3's. Raises BadAnswer for what is no answer to such a question."""
        with self._discreetly(method):
            answer = super().make_request(method, params)
        self._check(method, answer)
        return answer

    @staticmethod
    def decode_rpc_response(raw_response: bytes) -> RPCResponse:
        """As web3's, for answers of any depth. Raises ValueError."""
        return cast(RPCResponse, parse_json(raw_response))

    def make_batch_request(self, batch_requests: list[tuple[RPCEndpoint, Any]]) -> Any:
        """As web3's."""
        with self._discreetly("a batch"):
            return super().make_batch_request(batch_requests)

    def _check(self, method: str, answer: Any) -> None:
        kind = _ANSWERS.get(method)
        if not isinstance(answer, dict):
            problem = "is no object"
        elif isinstance(error := answer.get("error"), dict) and isinstance(error.get("message"), str):
            return
        elif "result" not in answer:
            problem = "has no result"
        elif kind is not None and not isinstance(answer["result"], kind):
            problem = f"has a result of the kind {type(answer['result']).__name__}"
        elif kind is str and not (_DATA if method in _BYTES else _QUANTITY).fullmatch(answer["result"]):
            problem = "has a result that is not hexadecimal"
        else:
            return
        raise BadAnswer(
            f"{shown(str(self.endpoint_uri))} answers {method} with what {problem}: is it an RPC address?"
        )

    @contextmanager
    def _discreetly(self, asked: str) -> Iterator[None]:
        try:
            yield
        except RequestException as error:
            status = "" if error.response is None else f", HTTP status {error.response.status_code}"
            what = f"{type(error).__name__}{status}"
            error.args = (f"{shown(str(self.endpoint_uri))} does not answer {asked} ({what})",)
            raise error from None
        except (ValueError, AttributeError):  # neither JSON nor UTF-8, or JSON that is no object
            raise BadAnswer(
                f"{shown(str(self.endpoint_uri))} answers {asked} with what is not JSON: is it an RPC address?"
            ) from None
