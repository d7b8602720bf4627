"""Lotus's Ethereum RPC over a local chain of tipsets: what it answers, refuses and limits.

After lotus, node/impl/eth and gateway. Beside Ethereum's methods it has `fedvm_advance` and `fedvm_reorganise`, by
which a rehearsal makes epochs pass and tipsets leave the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fedvm.devnet import rpc_format as fmt
from fedvm.devnet.lotus import answers
from fedvm.devnet.lotus.chain import Tipset, TipsetChain
from fedvm.devnet.lotus.machine import Message, Outcome
from fedvm.devnet.lotus.pool import MessageRefused
from fedvm.devnet.rpc import INVALID_PARAMS, UNKNOWN_METHOD, RpcError
from fedvm.evm.limits import BLOCK_GAS_LIMIT

LOG_RANGE: Final = 2_880
MAX_LOGS: Final = 10_000
MAX_TOPICS: Final = 4
ESTIMATE_ROOM: Final = 1.25
MAX_FEE_HISTORY: Final = 1_024
GATEWAY_RECEIPTS: Final = 20


@dataclass(frozen=True)
class Lookback:
    """How far back a public gateway looks. receipts, state: in epochs; None: as far as the chain goes."""

    receipts: int | None = GATEWAY_RECEIPTS
    state: int | None = 2_880


class LotusRpc:
    """Answers one request after another; give it to a server."""

    def __init__(self, chain: TipsetChain, lookback: Lookback | None = None) -> None:
        self._chain, self._lookback = chain, lookback or Lookback()
        self._methods: dict[str, Callable[..., Any]] = {
            "web3_clientVersion": lambda: "lotus-like/fedvm",
            "net_version": lambda: str(chain.chain_id),
            "net_listening": lambda: True,
            "eth_chainId": lambda: hex(chain.chain_id),
            "eth_syncing": lambda: False,
            "eth_accounts": lambda: [],
            "eth_protocolVersion": lambda: "0x41",
            "eth_blockNumber": lambda: hex(chain.latest.epoch),
            "eth_gasPrice": lambda: hex(chain.head.base_fee + chain.premium()),
            "eth_maxPriorityFeePerGas": lambda: hex(chain.premium()),
            "eth_feeHistory": self._fee_history,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockTransactionCountByNumber": lambda at: hex(len(self._tipset(at, strict=True).done)),
            "eth_getBalance": lambda a, at="latest": hex(
                chain.machine.balance(self._state(at).root, fmt.address(a))
            ),
            "eth_getCode": lambda a, at="latest": fmt.data(
                chain.machine.code(self._state(at).root, fmt.address(a))
            ),
            "eth_getStorageAt": lambda a, slot, at="latest": fmt.data(
                chain.machine.storage(self._state(at).root, fmt.address(a), fmt.quantity(slot)).to_bytes(
                    32, "big"
                )
            ),
            "eth_getTransactionCount": self._transaction_count,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_sendRawTransaction": lambda raw: fmt.data(chain.push(fmt.unhex(raw))),
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getLogs": self._logs,
            "fedvm_advance": self._advance,
            "fedvm_reorganise": lambda depth: hex(chain.reorganise(fmt.quantity(depth))),
        }

    def answer(self, request: Any) -> dict[str, Any]:
        """The response to one JSON-RPC request."""
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return {
                "jsonrpc": "2.0",
                "id": None,
                "error": {"code": -32600, "message": "not a JSON-RPC request"},
            }
        response: dict[str, Any] = {"jsonrpc": "2.0", "id": request.get("id")}
        method, handler = request["method"], self._methods.get(request["method"])
        try:
            if handler is None:
                raise RpcError(UNKNOWN_METHOD, f"method '{method}' not found")
            with self._chain.lock:
                response["result"] = handler(*(request.get("params") or ()))
        except RpcError as error:
            response["error"] = error.body
        except MessageRefused as error:
            response["error"] = {
                "code": answers.ANY,
                "message": f"mpool push: failed to push message: {error}",
            }
        except fmt.InvalidParams as error:
            response["error"] = {"code": INVALID_PARAMS, "message": f"{method}: {error}"}
        except TypeError as error:
            response["error"] = {
                "code": INVALID_PARAMS,
                "message": f"wrong param count for {method}: {error}",
            }
        return response

    # Blocks

    def _tipset(self, at: Any, *, strict: bool = False) -> Tipset:
        chain = self._chain
        if isinstance(at, dict):
            if at.get("blockHash"):
                return self._tipset_by_hash(at["blockHash"])
            at = at.get("blockNumber", "latest")
        match at:
            case "earliest":
                raise RpcError(answers.ANY, 'block param "earliest" is not supported')
            case "pending":
                return chain.head
            case "latest" | None:
                return chain.latest
            case "safe" | "finalized":
                return chain.finalized
        epoch = fmt.quantity(at)
        if epoch > chain.head.epoch - 1:
            raise RpcError(answers.ANY, "requested a future epoch (beyond 'latest')")
        tipset = chain.at(epoch)
        if strict and tipset.epoch != epoch:
            raise RpcError(answers.NULL_ROUND, f"requested epoch was a null round ({epoch})")
        return tipset

    def _tipset_by_hash(self, block_hash: Any) -> Tipset:
        wanted = fmt.unhex(block_hash)
        found = next((t for t in reversed(self._chain.tipsets) if t.hash == wanted), None)
        if found is None:
            raise RpcError(answers.ANY, f"cannot load tipset by hash {block_hash}: ipld: could not find")
        return found

    def _state(self, at: Any) -> Tipset:
        """The tipset after which a state is read."""
        tipset = self._tipset(at)
        limit = self._lookback.state
        if limit is not None and self._chain.head.epoch - tipset.epoch > limit:
            hours = limit * self._chain.block_time // 3600
            raise RpcError(
                answers.ANY, f"bad tipset height: lookbacks of more than {hours}h0m0s are disallowed"
            )
        return tipset

    def _block_by_number(self, at: Any, full: bool = False) -> Any:
        return self._block(self._tipset(at, strict=True), full)

    def _block_by_hash(self, block_hash: Any, full: bool = False) -> Any:
        return self._block(self._tipset_by_hash(block_hash), full)

    def _block(self, tipset: Tipset, full: bool) -> Any:
        return answers.block(tipset, full, executed=tipset is not self._chain.head)

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> Any:
        wanted = fmt.quantity(count)
        if wanted > MAX_FEE_HISTORY:
            raise RpcError(answers.ANY, "block count should be smaller than 1024")
        last = self._chain.tipsets.index(self._tipset(newest))
        shown = self._chain.tipsets[max(last - wanted + 1, 0) : last + 1]
        # Execution is deferred, so the next base fee is unknown: Lotus gives the newest one twice.
        return {
            "oldestBlock": hex(shown[0].epoch if shown else 1),
            "baseFeePerGas": [hex(t.base_fee) for t in [*shown, *shown[-1:]]],
            "gasUsedRatio": [sum(d.outcome.gas_used for d in t.done) / BLOCK_GAS_LIMIT for t in shown],
            "reward": [[hex(self._chain.premium())] * len(percentiles or ()) for _ in shown],
        }

    def _advance(self, epochs: Any) -> str:
        for _ in range(fmt.quantity(epochs)):
            self._chain.tick()
        return hex(self._chain.latest.epoch)

    # Calls

    def _transaction_count(self, account: Any, at: Any = "latest") -> str:
        sender, chain = fmt.address(account), self._chain
        if at == "pending":
            return hex(chain.pool.next_nonce(sender, chain.machine.nonce(chain.head.root, sender)))
        return hex(chain.machine.nonce(self._state(at).root, sender))

    def _call(self, fields: Any, at: Any = "latest", overrides: Any = None) -> str:
        if overrides:
            raise RpcError(INVALID_PARAMS, "wrong param count: eth_call takes no state overrides")
        tipset = self._state(at)
        outcome = self._chain.machine.try_out(
            tipset.root, self._chain.surroundings(tipset), _message(fields), counted=False
        )
        return fmt.data(_succeeded(outcome).output)

    def _estimate(self, fields: Any, at: Any = None, overrides: Any = None) -> str:
        message, chain = _message(fields), self._chain
        tipset = chain.head if at is None else self._tipset(at)
        nonce = chain.machine.nonce(tipset.root, message.sender)
        waiting = [one.message for one in chain.pool.before(message.sender, nonce)]
        outcome = chain.machine.try_out(
            tipset.root, chain.surroundings(tipset), message, counted=True, before=waiting
        )
        gas = int(_succeeded(outcome).gas_used * ESTIMATE_ROOM)
        return hex(min(gas, BLOCK_GAS_LIMIT))

    # Messages

    def _transaction(self, tx_hash: Any) -> Any:
        wanted = fmt.unhex(tx_hash)
        done = self._chain.by_hash.get(wanted)
        if done is not None:
            return answers.transaction(done.signed, done)
        waiting = self._chain.pool.get(wanted)
        return None if waiting is None else answers.transaction(waiting, None)

    def _receipt(self, tx_hash: Any) -> Any:
        done = self._chain.executed(fmt.unhex(tx_hash))
        limit = self._lookback.receipts
        if done is None or (limit is not None and self._chain.head.epoch - done.tipset.epoch > limit):
            return None
        return answers.receipt(done)

    def _logs(self, query: Any) -> list[Any]:
        if not isinstance(query, dict):
            raise fmt.InvalidParams(f"{query!r} is not a filter")
        addresses = fmt.one_or_many(query.get("address"), fmt.address)
        topics = [fmt.one_or_many(topic, fmt.unhex) for topic in query.get("topics") or ()]
        if len(topics) > MAX_TOPICS:
            raise RpcError(INVALID_PARAMS, f"more than {MAX_TOPICS} topics")
        found = [
            answers.log(done, entry, done.first_log + index)
            for tipset in self._range(query)
            for done in tipset.done
            for index, entry in enumerate(done.outcome.logs)
            if (not addresses or entry.address in addresses)
            and all(
                not wanted or (position < len(entry.topics) and entry.topics[position] in wanted)
                for position, wanted in enumerate(topics)
            )
        ]
        if len(found) > MAX_LOGS:
            raise RpcError(answers.ANY, f"failed to get events for filter: too many results: {len(found)}")
        return found

    def _range(self, query: Any) -> list[Tipset]:
        chain = self._chain
        if query.get("blockHash"):
            return [self._tipset_by_hash(query["blockHash"])]
        first, last = (self._bound(query.get(name, "latest")) for name in ("fromBlock", "toBlock"))
        if first > last:
            raise RpcError(
                answers.ANY, f"invalid epoch range: from {first} must be less than or equal to {last}"
            )
        if last - first > LOG_RANGE:
            raise RpcError(
                answers.LIMIT_EXCEEDED, f"block range exceeds maximum of {LOG_RANGE} (got {last - first})"
            )
        if last >= chain.head.epoch:
            raise RpcError(
                answers.ANY,
                "cannot ask for events for a tipset at or greater than head: requested a future epoch",
            )
        return [tipset for tipset in chain.tipsets if first <= tipset.epoch <= last]

    def _bound(self, at: Any) -> int:
        if at == "earliest":
            return 0
        if at in ("latest", "", None, "pending", "safe", "finalized"):
            return self._tipset(at if at in ("safe", "finalized") else "latest").epoch
        return fmt.quantity(at)


def _message(fields: Any) -> Message:
    request = fmt.call_request(fields)
    return Message(request.sender, request.to, request.data, request.value)


def _succeeded(outcome: Outcome) -> Outcome:
    if outcome.exit_code:
        message, revert = answers.failure(outcome)
        raise RpcError(answers.EXECUTION_REVERTED, message, revert)
    return outcome
