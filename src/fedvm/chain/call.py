"""Reading from a contract, with its errors decoded."""

from __future__ import annotations

from typing import Any

from web3.contract import Contract
from web3.exceptions import Web3Exception
from web3.types import BlockIdentifier

from fedvm.chain.decoding import plain
from fedvm.chain.errors import CallFailed
from fedvm.chain.revert import explain, revert_data


def read(contract: Contract, function: str, *arguments: Any, block: BlockIdentifier = "latest") -> Any:
    """The result of a view function, as of a block; :class:`CallFailed` with the decoded error if it reverts."""
    try:
        return plain(contract.functions[function](*arguments).call(block_identifier=block))
    except Web3Exception as error:
        raise CallFailed(
            f"{function} of {contract.address}", explain(error), data=revert_data(error)
        ) from error
