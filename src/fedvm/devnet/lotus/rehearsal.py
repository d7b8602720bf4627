"""A local Filecoin chain to rehearse on: funded accounts, epochs that pass, and faults on the way if wanted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from eth_account.signers.local import LocalAccount

from fedvm.chain.errors import NetworkError
from fedvm.devnet.accounts import derive_account
from fedvm.devnet.faults import FaultPlan, FaultyProxy
from fedvm.devnet.lotus.chain import TipsetChain, Weather
from fedvm.devnet.lotus.rpc import GATEWAY_RECEIPTS, Lookback, LotusRpc
from fedvm.devnet.lotus.server import LotusServer
from fedvm.evm.limits import FILECOIN_DEVNET_CHAIN_ID

FUNDS_ATTOFIL: Final = 10**21
"""What each account owns."""
MOST_ACCOUNTS: Final = 256
LEAST_RECEIPT_SECONDS: Final = 60
"""By the clock on the wall."""


@dataclass(frozen=True)
class RehearsalTerms:
    """block_time: seconds of an epoch by the chain's clock; speed: times which that clock is faster than the one on the
    wall; null_rounds, faults: shares of epochs and requests, 0 to 1; gateway: whether receipts and state are told
    as briefly as by public gateways; port: of the RPC, 0 for a free one."""

    port: int = 1234
    block_time: int = 30
    speed: float = 10.0
    accounts: int = 4
    seed: int = 0
    null_rounds: float = 0.05
    faults: float = 0.0
    gateway: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.block_time <= 3_600:
            raise NetworkError(f"an epoch has 1 to 3600 seconds, not {self.block_time}; Filecoin's has 30")
        if not 0 < self.speed <= 100_000:
            raise NetworkError(
                f"the speed is more than 0 and at most 100000, not {self.speed}; 1 is Filecoin's own"
            )
        if not 0 <= self.null_rounds <= 0.9 or not 0 <= self.faults <= 0.9:
            raise NetworkError("the shares of null rounds and of faults are 0 to 0.9")
        if not 1 <= self.accounts <= MOST_ACCOUNTS:
            raise NetworkError(f"1 to {MOST_ACCOUNTS} accounts, not {self.accounts}")


@dataclass(frozen=True)
class Rehearsal:
    """A chain that runs. url: of its RPC, or of what stands before it and makes faults."""

    url: str
    chain: TipsetChain
    accounts: tuple[LocalAccount, ...]
    plan: FaultPlan


@contextmanager
def rehearse(terms: RehearsalTerms) -> Iterator[Rehearsal]:
    """A local Filecoin chain while the context lasts; nothing of it is kept. Raises NetworkError if the port is
    in use."""
    accounts = tuple(derive_account(terms.seed, "user", index) for index in range(terms.accounts))
    chain = TipsetChain(
        FILECOIN_DEVNET_CHAIN_ID,
        {bytes.fromhex(account.address[2:]): FUNDS_ATTOFIL for account in accounts},
        started=int(time.time()),
        block_time=terms.block_time,
        weather=Weather(null_rounds=terms.null_rounds),
        seed=terms.seed,
    )
    # Whoever looks every other second should see a receipt, however fast epochs pass.
    receipts = max(GATEWAY_RECEIPTS, int(LEAST_RECEIPT_SECONDS * terms.speed / terms.block_time))
    rpc = LotusRpc(chain, Lookback(receipts) if terms.gateway else Lookback(None, None))
    plan = FaultPlan(terms.faults, terms.seed, reorganise=chain.reorganise)
    epoch_seconds = terms.block_time / terms.speed
    with ExitStack() as stack:
        try:
            inner = LotusServer(
                chain, epoch_seconds=epoch_seconds, port=0 if terms.faults else terms.port, rpc=rpc
            )
            url = stack.enter_context(inner).url
            if terms.faults:
                url = stack.enter_context(FaultyProxy(url, plan, port=terms.port)).url
        except OSError as error:
            raise NetworkError(
                f"port {terms.port} cannot be used ({error.strerror}); end what listens there, or choose another one"
            ) from error
        yield Rehearsal(url, chain, accounts, plan)
