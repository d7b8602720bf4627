"""The block in which a contract was created, where a search for its events begins."""

from __future__ import annotations

from requests.exceptions import RequestException
from web3 import Web3
from web3.exceptions import Web3Exception


def creation_block(w3: Web3, address: str) -> int:
    """The number of the first block whose state has code at an address (hex); 0 if the node does not know old states.

    A contract of this package stays where it is, so the block is found by halving: some 25 questions.
    """
    account = Web3.to_checksum_address(address)
    low, high = 0, int(w3.eth.block_number)
    try:
        while low < high:
            middle = (low + high) // 2
            if w3.eth.get_code(account, middle):
                high = middle
            else:
                low = middle + 1
    except (Web3Exception, RequestException, ValueError):
        return 0  # a gateway that keeps the states of a day, or an epoch without a block
    return low
