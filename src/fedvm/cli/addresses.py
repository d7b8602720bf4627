"""How addresses and transactions are printed: with Filecoin's form of them, and where an explorer shows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedvm.chain.networks import Network


def address_lines(address: str, network: Network) -> Iterator[str]:
    """An address (hex), then Filecoin's form of it and the explorer's page, where the network has them."""
    from fedvm.chain.filecoin_address import filecoin_address

    yield address
    if network.is_filecoin:
        yield filecoin_address(address, testnet=network.is_testnet)
    if link := network.address_link(address):
        yield link


def address_facts(address: str, network: Network) -> dict[str, Any]:
    """The same for JSON, null for what the network does not have."""
    from fedvm.chain.filecoin_address import filecoin_address

    native = filecoin_address(address, testnet=network.is_testnet) if network.is_filecoin else None
    return {"address": address, "filecoin": native, "link": network.address_link(address)}


def print_address(title: str, address: str, network: Network) -> None:
    """Print them on standard output, one below the other beside a title."""
    from rich.text import Text

    from fedvm.cli.console import out

    first, *others = address_lines(address, network)
    indent = " " * (len(title) + 2)
    out().print(Text.assemble(f"{title}  ", (first, "bold")), soft_wrap=True)
    for line in others:
        out().print(Text(indent + line, "dim"), soft_wrap=True)


def transaction_text(tx_hash: str, network: Network) -> str:
    """A transaction's hash, with the explorer's page in place of it where there is one."""
    return network.transaction_link(tx_hash) or tx_hash
