"""A federation in a directory: the chain, the store, and the clients' keys, for a Flower app on one machine.

`fedvm create` makes it; a ServerApp opens it with `open_federation(context)`. The layout is that of a run
directory (`chain.sqlite`, `store/`, `deployment.json`), so `fedvm audit --run` reads it; `keys/000.key` … are the
keys of the simulated clients, by partition-id.
"""

from __future__ import annotations

from pathlib import Path

from flwr.app import ArrayRecord, Context

from fedvm.chain.deployment import ChainRef, Deployment
from fedvm.chain.embedded import CHAIN_FILE, open_chain
from fedvm.chain.errors import DeploymentError
from fedvm.chain.federation import FederationContract
from fedvm.chain.keys import keep_key
from fedvm.chain.run import STORE_DIRECTORY, open_run
from fedvm.encoding import Rules, Security, quantize_model
from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.federation.chain_ledger import ChainLedger
from fedvm.federation.errors import SettingsError
from fedvm.federation.keys import DIRECTORY, key_of_partition
from fedvm.federation.membership import Federation, publish_model
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
    if path.exists() and any(path.iterdir()):
        raise SettingsError(f"{path} is not empty; name another directory")
    path.mkdir(parents=True, exist_ok=True)
    arrays = named_arrays(initial)
    codec = ModelCodec.for_arrays(arrays, rules.fraction_bits)
    if codec.spec.elements != rules.elements:
        raise SettingsError(
            f"the rules speak of {rules.elements} parameters, the model has {codec.spec.elements}"
        )
    vector = quantize_model(codec.spec.flatten(arrays), rules.fraction_bits)
    root, cid = publish_model(ContentStore(path / STORE_DIRECTORY), vector)
    with open_chain(path / CHAIN_FILE, seed=seed, create=True) as chain:
        members = [chain.account("member", index) for index in range(clients)]
        contract, receipt = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=rules,
            members=[member.address for member in members],
            model_root=root,
            model_cid=Cid.parse(cid).binary,
            security=security,
        )
        Deployment(
            ChainRef("embedded", CHAIN_FILE), chain.chain_id, contract.address, block=receipt.block_number
        ).save(path)
    for index, member in enumerate(members):
        file = key_of_partition(path, index)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        keep_key(file, member)
    return contract.address


def open_federation(where: Context | Path | str) -> Federation:
    """The federation in a directory, for `Accountable(..., federation=open_federation(context))`.

    where: the directory, or a ServerApp's context whose run config names it as `fedvm-directory`. The chain stays
    open, and closed to other writers, while this process runs.
    Raises SettingsError if nothing is named, and what `fedvm.chain.open_run` raises.
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
    if run.chain is None:
        raise DeploymentError(f"{where} lies on a network; only an embedded chain is opened from a directory")
    ledger = ChainLedger(
        run.federation_contract,
        run.chain.account("coordinator"),
        first_block=run.deployment.block,
        pass_time=run.chain.advance_time,
    )
    return Federation(ledger, run.store)
