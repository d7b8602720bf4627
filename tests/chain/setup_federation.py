"""A real federation of three members on a chain, and signed updates for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from eth_account.signers.local import LocalAccount
from web3 import Web3

import conditions
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundOpened
from fedvm.chain.sender import Receipt
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.protocol import (
    Domain,
    Place,
    Submission,
    Update,
    model_root,
    sign_update,
    update_tree,
)
from fedvm.store import Cid

ELEMENTS = 100
RULES = conditions.rules(
    elements=ELEMENTS,
    min_examples=10,
    max_examples=500,
    max_sum_squares=10**9,
    min_accuracy_ppm=100_000,
    max_loss_micros=5_000_000,
)
BASE = np.arange(ELEMENTS, dtype=np.int32)


def some_cid(text: str) -> bytes:
    return Cid.of_block(0x55, text.encode()).binary


@dataclass(frozen=True)
class Setup:
    w3: Web3
    federation: FederationContract
    created: Receipt
    owner: LocalAccount
    coordinator: LocalAccount
    members: tuple[LocalAccount, ...]

    def submission(self, member: LocalAccount, opened: RoundOpened, *, signer: LocalAccount | None = None,
                   **changes: object) -> Submission:  # fmt: skip
        domain = Domain(self.w3.eth.chain_id, self.federation.address)
        values = np.full(ELEMENTS, int(member.address, 16) % 7 - 3, dtype=np.int32)
        place = Place(domain.chain_id, domain.federation, opened.round, member.address)
        tree = update_tree(values, place)
        update = Update(
            round=opened.round,
            rules_hash=opened.rules_hash,
            base_root=opened.base_root,
            update_root=tree.root,
            sum_squares=tree.sum_squares,
            elements=ELEMENTS,
            fraction_bits=RULES.fraction_bits,
            examples=300,
            accuracy_ppm=900_000,
            loss_micros=400_000,
            labels=10,
            epsilon_micros=0,
            deadline=opened.deadline,
            cid=some_cid(member.address),
        )
        update = replace(update, **changes)
        return Submission(member.address, update, sign_update(update, domain, (signer or member).key))


def make_setup(chain: EmbeddedChain, members: int = 3) -> Setup:
    accounts = tuple(chain.account("member", index) for index in range(members))
    return deploy_federation(chain.w3, chain.account("owner"), chain.account("coordinator"), accounts)


def deploy_federation(
    w3: Web3, owner: LocalAccount, coordinator: LocalAccount, members: tuple[LocalAccount, ...]
) -> Setup:
    federation, receipt = FederationContract.deploy(
        w3,
        owner,
        coordinator=coordinator.address,
        rules=RULES,
        security=conditions.security(),
        members=[member.address for member in members],
        model_root=model_root(BASE),
        model_cid=some_cid("model 0"),
    )
    return Setup(w3, federation, receipt, owner, coordinator, members)
