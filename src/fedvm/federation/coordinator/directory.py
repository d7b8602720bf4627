"""A federation in a directory: its chain or where that is, its store, and keys for simulated clients.

`fedvm create` makes it; a ServerApp opens it with `open_federation(context)`. The layout is that of a run
directory (`chain.sqlite`, `store/`, `deployment.json`), so `fedvm audit --run` reads it; `keys/000.key` … are the
keys of the simulated clients, by partition-id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eth_account.signers.local import LocalAccount
from flwr.app import ArrayRecord, Context

from fedvm.chain.federation import FederationContract
from fedvm.chain.keys import keep_key, load_key
from fedvm.chain.networks import connect
from fedvm.devnet import CHAIN_FILE
from fedvm.devnet.embedded import open_chain
from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.coordinator.membership import Federation, publish_model
from fedvm.federation.errors import SettingsError
from fedvm.federation.keys import DIRECTORY, key_of_partition
from fedvm.protocol import Rules, Security, quantize_model
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import Run, open_run
from fedvm.store import Cid, ContentStore


def create_federation(
    path: Path,
    initial: ArrayRecord,
    *,
    rules: Rules,
    clients: int,
    seed: int,
    security: Security | None = None,
) -> str:
    """Make the directory, a chain in it, and on it the federation; return the contract's address.

    initial: the model's state that round 1 starts from, named float tensors. clients: how many members, whose
    keys derive from `seed` as all keys of the chain do. Raises SettingsError if the directory holds something or
    the rules speak of another model.
    """
    root, cid = _publish(path, initial, rules)
    with open_chain(RunDirectory(path).chain, seed=seed, create=True) as chain:
        members = [chain.account("member", index) for index in range(clients)]
        contract, receipt = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=rules,
            members=[member.address for member in members],
            model_root=root,
            model_cid=cid,
            security=security,
        )
        reference = ChainRef("embedded", CHAIN_FILE)
        Deployment(reference, chain.chain_id, contract.address, block=receipt.block_number).save(path)
    for index, member in enumerate(members):
        file = key_of_partition(path, index)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        keep_key(file, member)
    return contract.address


def create_federation_on(
    rpc: str,
    path: Path,
    initial: ArrayRecord,
    *,
    rules: Rules,
    members: Sequence[str],
    account: LocalAccount,
    security: Security | None = None,
) -> str:
    """The same on a network, over members that keep their keys to themselves; return the contract's address.

    rpc: the JSON-RPC endpoint, which the directory names from then on. members: their addresses (hex). account:
    pays, and becomes owner and coordinator. Raises as `create_federation`, and what the chain raises.
    """
    w3 = connect(rpc)
    root, cid = _publish(path, initial, rules)
    contract, receipt = FederationContract.deploy(
        w3,
        account,
        coordinator=account.address,
        rules=rules,
        members=list(members),
        model_root=root,
        model_cid=cid,
        security=security,
    )
    reference = ChainRef("rpc", rpc)
    Deployment(reference, int(w3.eth.chain_id), contract.address, block=receipt.block_number).save(path)
    return contract.address


def _publish(path: Path, initial: ArrayRecord, rules: Rules) -> tuple[bytes, bytes]:
    """Begin the directory with the first model in its store; (the model's root, its binary CID)."""
    if path.exists() and any(path.iterdir()):
        raise SettingsError(f"{path} is not empty; name another directory")
    arrays = named_arrays(initial)
    codec = ModelCodec.for_arrays(arrays, rules.fraction_bits)
    if codec.spec.elements != rules.elements:
        raise SettingsError(
            f"the rules speak of {rules.elements} parameters, the model has {codec.spec.elements}"
        )
    path.mkdir(parents=True, exist_ok=True)
    vector = quantize_model(codec.spec.flatten(arrays), rules.fraction_bits)
    root, cid = publish_model(ContentStore(RunDirectory(path).store), vector)
    return root, Cid.parse(cid).binary


def open_federation(where: Context | Path | str) -> Federation:
    """The federation in a directory, for `Accountable(..., federation=open_federation(context))`.

    where: the directory, or a ServerApp's context whose run config names it as `fedvm-directory`. A chain in the
    directory stays open, and closed to other writers, while this process runs; on a network the coordinator's key
    is `PRIVATE_KEY` of the environment or of `.env`.
    Raises SettingsError if nothing is named or the key is not the coordinator's, and what `open_run` and `load_key`
    of `fedvm.chain` raise.
    """
    if isinstance(where, Context):
        where = str(where.run_config.get(DIRECTORY) or "")
        if not where:
            raise SettingsError(
                "no federation is named: make one with `fedvm create`, then run the app with "
                f"--run-config '{DIRECTORY}=\"/path/to/it\"'"
            )
        if not Path(where).is_absolute():
            raise SettingsError(
                f"{DIRECTORY} is {where!r}; give an absolute path: Flower runs apps elsewhere"
            )
    run = open_run(where, read_only=False)
    return Federation(ledger_of(run), run.store)


def ledger_of(run: Run) -> ChainLedger:
    """The ledger of an open run's federation, for its coordinator. Raises as `open_federation`."""
    contract = run.federation_contract
    if run.chain is not None:
        coordinator, pass_time = run.chain.account("coordinator"), run.chain.advance_time
    else:
        coordinator, pass_time = load_key(), None
        if coordinator.address != contract.coordinator():
            raise SettingsError(
                f"the key is {coordinator.address}'s, but the coordinator of {contract.address} is "
                f"{contract.coordinator()}: set its key as PRIVATE_KEY"
            )
    return ChainLedger(
        contract, coordinator, first_block=run.deployment.block, pass_time=pass_time, store=run.store
    )
