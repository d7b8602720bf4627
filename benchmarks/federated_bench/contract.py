"""A federation contract on an embedded chain, for a benchmark's model and clients."""

from __future__ import annotations

from pathlib import Path

from flwr.app import ArrayRecord

from fedvm.chain.federation import FederationContract
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.federation import ChainLedger, Federation, publish_model
from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.federation.engines.grid import FIRST_NODE_ID
from fedvm.federation.rule_units import contract_rules
from fedvm.federation.settings import RulesSettings, SecuritySettings
from fedvm.pipeline.rule_units import contract_security
from fedvm.protocol import WEIGHTED_MEAN, Rules
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS
from fedvm.store import Cid, ContentStore

FRACTION_BITS, MAX_NORM = 20, 20.0
MEMBERS_AT_ONCE = 1_500
"""As many member addresses as fit in a message."""


def recorded(
    chain: EmbeddedChain, directory: Path, initial: ArrayRecord, clients: int, *, quorum: int
) -> tuple[Federation, list[str]]:
    """The federation of the members 0 … clients − 1 of the chain's keyring, and their keys (hex)."""
    arrays = named_arrays(initial)
    codec = ModelCodec.for_arrays(arrays, FRACTION_BITS)
    store = ContentStore(directory / "store")
    root, cid = publish_model(store, codec.quantize(arrays))
    members = [chain.account("member", index) for index in range(clients)]
    settings = RulesSettings(
        min_clients=quorum, max_examples=10_000, max_norm=MAX_NORM, fraction_bits=FRACTION_BITS
    )
    stated = {**contract_rules(settings), "max_loss_micros": NOT_ATTESTED_LOSS}  # the app does not validate
    owner, coordinator = chain.account("owner"), chain.account("coordinator")
    contract, receipt = FederationContract.deploy(
        chain.w3,
        owner,
        coordinator=coordinator.address,
        rules=Rules(elements=codec.spec.elements, aggregator=WEIGHTED_MEAN, **stated),
        security=contract_security(SecuritySettings()),
        members=[member.address for member in members[:MEMBERS_AT_ONCE]],
        model_root=root,
        model_cid=Cid.parse(cid).binary,
    )
    for at in range(MEMBERS_AT_ONCE, clients, MEMBERS_AT_ONCE):
        contract.add_members([member.address for member in members[at : at + MEMBERS_AT_ONCE]]).send(owner)
    ledger = ChainLedger(
        contract, coordinator, first_block=receipt.block_number, pass_time=chain.advance_time, store=store
    )
    nodes = {FIRST_NODE_ID + index: member.address for index, member in enumerate(members)}
    return Federation(ledger, store, nodes), [member.key.hex() for member in members]
