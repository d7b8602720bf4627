"""JSON-RPC over HTTP to nodes and gateways that fail now and then: what may pass is tried again.

Every method that FedVM calls may be asked twice: reads change nothing, and a signed transaction counts once however
often it is sent.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import requests
from web3.types import RPCEndpoint, RPCResponse

from fedvm.chain.discreet import DiscreetProvider
from fedvm.chain.errors import BadAnswer, NetworkError
from fedvm.chain.rpc_url import shown

_LOG: Final = logging.getLogger(__name__)
_LIMITED_CODES: Final = frozenset((429, -32005, -32016, -32029, -32097))
"""Codes by which gateways say that too much was asked; -32005 has other meanings too."""
_LIMITED: Final = re.compile(
    r"rate.?limit|too many requests|request (count|rate) exceeded|capacity exceeded|slow down"
)
_TOO_MUCH_AT_ONCE: Final = re.compile(r"range|results|response size")
_ONCE: Final = ("anvil_", "evm_", "hardhat_", "fedvm_", "eth_sendTransaction")
"""Beginnings of methods that do something each time they are called."""
_PASSING_STATUS: Final = frozenset((408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529))


@dataclass(frozen=True)
class Patience:
    """For how long a request is tried again. Seconds: ``first`` and ``most`` bound the pauses, which double; ``total``
    bounds all tries together; ``asked``: the longest pause that a node may ask for by Retry-After."""

    first: float = 0.25
    most: float = 5.0
    total: float = 300.0
    asked: float = 120.0


class PatientProvider(DiscreetProvider):
    """An HTTP provider whose requests survive outages: broken connections, answers cut short, busy gateways.

    Raises NetworkError, with what was last seen, when patience ends; requests' own exceptions for what will not pass.
    """

    def __init__(
        self,
        url: str,
        patience: Patience | None = None,
        *,
        tell: Callable[[str], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(url, exception_retry_configuration=None, **options)
        self.patience = patience or Patience()
        self._tell = tell or _LOG.warning

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        if method.startswith(_ONCE):
            return super().make_request(method, params)
        patience, pause, begun = self.patience, self.patience.first, time.monotonic()
        while True:
            wanted, why = 0.0, ""
            refused: Exception | None = None
            try:
                response = super().make_request(method, params)
            except requests.RequestException as error:
                refused = error
                status = error.response.status_code if error.response is not None else None
                if status is not None and status not in _PASSING_STATUS:
                    raise
                wanted = _retry_after(error.response)
                why = f"HTTP status {status}" if status else f"{type(error).__name__}"
            except BadAnswer as error:  # of a gateway that fails for a moment, perhaps
                refused, why = error, "an answer that is none"
            else:
                if not _is_limited(response):
                    if pause > patience.first:
                        self._tell(f"{shown(str(self.endpoint_uri))} answers again")
                    return response
                why = "it limits requests"
            left = begun + patience.total - time.monotonic()
            wait = max(min(wanted, patience.asked), pause * random.uniform(0.5, 1.0))
            if wait > left:
                if isinstance(refused, BadAnswer):
                    raise refused
                raise NetworkError(self._given_up(method, why)) from refused
            self._tell(f"{shown(str(self.endpoint_uri))}: {why}; asking again in {wait:.1f} s")
            time.sleep(wait)
            pause = min(2 * pause, patience.most)

    def _given_up(self, method: str, why: str) -> str:
        return (
            f"{shown(str(self.endpoint_uri))} has not answered {method} for {self.patience.total:.0f} s ({why}); "
            "nothing is lost: run the same again later, or name another RPC address"
        )


def _is_limited(response: RPCResponse) -> bool:
    error = response.get("error")
    if not isinstance(error, dict):
        return False
    message = str(error.get("message", "")).lower()
    if _LIMITED.search(message):
        return True
    return error.get("code") in _LIMITED_CODES and not _TOO_MUCH_AT_ONCE.search(message)


def _retry_after(response: requests.Response | None) -> float:
    """Seconds that the header asks for, as a number or a date (RFC 9110, 10.2.3); 0 without a valid one."""
    text = response.headers.get("Retry-After", "") if response is not None else ""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return 0.0
