"""What contracts draw by: drand's beacon on Filecoin, PREVRANDAO in a block's header elsewhere."""

from __future__ import annotations

from web3.contract import Contract

from fedvm.chain.call import read
from fedvm.chain.headers import block_header


def draws_by_drand(contract: Contract) -> bool:
    """Whether a contract that draws asks Filecoin's beacon, and needs no header."""
    return bool(read(contract, "drawsByDrand"))


def shown_header(contract: Contract, block: int) -> bytes:
    """What such a contract is shown of the block that draws: its header in RLP; nothing where drand does.

    Raises:
        NetworkError: the block is not there, or the chain has no beacon.
    """
    return b"" if draws_by_drand(contract) else block_header(contract.w3, block)[0]
