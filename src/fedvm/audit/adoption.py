"""Whether rules that a federation adopted had been announced, as early as it promises its members."""

from __future__ import annotations

from fedvm.audit.chain_reader import ChainReader
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RulesAdopted
from fedvm.chain.rule_book import RuleBookContract, RulesAnnounced


def was_announced(
    contract: FederationContract, event: RulesAdopted, reader: ChainReader, first_block: int, notice: int
) -> bool:
    """Whether these rules stood announced for `notice` seconds. first_block: at or before the federation's creation."""
    book = RuleBookContract(contract.w3, contract.rule_book(), sender=contract.sender)
    standing: RulesAnnounced | None = None
    for other in book.events(first_block, event.at.block_number):
        if (other.at.block_number, other.at.log_index) > (event.at.block_number, event.at.log_index):
            break
        standing = other if isinstance(other, RulesAnnounced) else None
    if standing is None or standing.rules_hash != event.rules_hash:
        return False
    return reader.time(event.at.block_number) - reader.time(standing.at.block_number) >= notice
