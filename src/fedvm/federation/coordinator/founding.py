"""Creating a federation: its first model in the store, its contract from a factory."""

from __future__ import annotations

from collections.abc import Sequence

from eth_account.signers.local import LocalAccount
from flwr.app import ArrayRecord
from web3 import Web3

from fedvm.chain.factory import DEFAULT_SALT, FederationFactory
from fedvm.chain.federation import FederationContract
from fedvm.chain.headers import block_header
from fedvm.chain.networks import network_of
from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.federation.byte_model import model_bytes
from fedvm.federation.coordinator.membership import publish_model
from fedvm.federation.errors import SettingsError
from fedvm.protocol import Rules, Security
from fedvm.protocol.aggregators import is_over_bytes
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.protocol.security import UNITS_A_DOUBLING, posting_seconds
from fedvm.protocol.vector import IntVector
from fedvm.store import Cid, Store
from fedvm.store.payloads import name_of

ANSWER_SECONDS = 120
"""Time for members' shares once a close is final: Flower takes a minute to see that a node is gone, and asks again."""


def first_model(initial: ArrayRecord, rules: Rules, security: Security) -> IntVector:
    """The model's state that round 1 starts from, named float tensors, in the rules' fixed point: int32 (elements,);
    of a model of bytes, its name.

    Raises SettingsError if the rules speak of another model, if members, who have a stake by `security`, could not
    post a vector of its size in time, or if questions cost too little beside the bond.
    """
    needed = posting_seconds(rules.elements)
    if security.stake and security.answer_seconds < needed:
        raise SettingsError(
            f"answer_seconds = {security.answer_seconds} is too short for {rules.elements:,} parameters: a member that "
            f"submits its update itself, and must post it on chain, needs {needed} s or loses its stake. Set "
            f"answer_seconds = {needed} or more, or stake = 0: then updates come through the coordinator alone"
        )
    if security.demand_fee < (least := -(-security.bond // UNITS_A_DOUBLING)):
        raise SettingsError(
            f"demand_fee = {security.demand_fee} wei is too low for a bond of {security.bond} wei: who asks so much "
            "that the answers do not fit the time, or that nobody else can pay, must bring as much money. Set "
            f"demand_fee = {least} or more"
        )
    arrays = named_arrays(initial)
    if is_over_bytes(rules):
        return name_of(model_bytes(arrays))
    codec = ModelCodec.for_arrays(arrays, rules.fraction_bits)
    if codec.spec.elements != rules.elements:
        raise SettingsError(
            f"the rules speak of {rules.elements} parameters, the model has {codec.spec.elements}"
        )
    return codec.quantize(arrays)


def found(
    factory: FederationFactory,
    owner: LocalAccount,
    store: Store,
    model: IntVector,
    *,
    rules: Rules,
    members: Sequence[str],
    security: Security,
    coordinator: str | None = None,
    sealed: SealedRules | None = None,
    salt: bytes = DEFAULT_SALT,
) -> tuple[FederationContract, int]:
    """The federation that `owner` opens in a factory with a salt, and the block in which its events begin.

    The address is known before the contract exists. So a process that was killed right after creating it finds it
    again. Another contract would have another address, and with it other seeds and other samples.

    model: the first one, `first_model`; goes into the store. members: their addresses (hex). coordinator: its address,
    the owner's unless given. sealed: how its rounds are sealed, None if they are open.

    Raises:
        TransactionFailed: the contract refuses a parameter.
        SettingsError: sealed rounds leave no time for answers after a close is final on this network.
        NetworkError: rounds are sealed, and the chain has no beacon by which groups could be drawn.
    """
    w3, address = factory.w3, factory.address_of(owner.address, salt)
    if w3.eth.get_code(w3.to_checksum_address(address)):
        return FederationContract(w3, address), 0
    if sealed:
        _check_chain(w3, sealed)
    root, cid = publish_model(store, model)
    contract, receipt = FederationContract.create(
        factory,
        owner,
        coordinator=coordinator or owner.address,
        rules=rules,
        members=members,
        security=security,
        sealed=sealed,
        model_root=root,
        model_cid=Cid.parse(cid).binary,
        salt=salt,
    )
    return contract, receipt.block_number


def _check_chain(w3: Web3, sealed: SealedRules) -> None:
    network = network_of(w3)
    least = network.finality_seconds + ANSWER_SECONDS
    if network.finality_seconds and sealed.unmask_seconds < least:
        raise SettingsError(
            f"sealed.unmask_seconds = {sealed.unmask_seconds} is too short for {network.name}: members give their "
            f"shares for a close in a final block alone, which takes {network.finality_seconds} s there, and then "
            f"need {ANSWER_SECONDS} s to answer. Set sealed.unmask_seconds = {least} or more"
        )
    if not network.is_filecoin:  # there drand's value is asked for, not a block's
        block_header(w3, w3.eth.block_number)
