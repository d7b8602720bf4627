"""A federation in a directory: its chain or the address of one, its store, and keys for simulated clients.

`fedvm create` makes it; a ServerApp opens it with `open_federation(context)`. The layout is that of a run
directory (`chain.sqlite`, `store/`, `deployment.json`), so `fedvm audit --run` reads it; `keys/000.key` … are the
keys of the simulated clients, by partition-id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eth_account.signers.local import LocalAccount
from flwr.app import ArrayRecord, Context

from fedvm.chain.endpoint import Endpoint
from fedvm.chain.factory import FederationFactory
from fedvm.chain.federation import FederationContract
from fedvm.chain.founding_plan import UnsignedFounding, unsigned_founding
from fedvm.chain.history import answerer_of
from fedvm.chain.keys import keep_key, load_key
from fedvm.devnet import CHAIN_FILE
from fedvm.devnet.accounts import derive_account
from fedvm.devnet.embedded import open_chain
from fedvm.federation.arrays import named_arrays
from fedvm.federation.byte_model import model_bytes
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.coordinator.founding import first_model, found
from fedvm.federation.coordinator.membership import Federation, publish_model
from fedvm.federation.errors import SettingsError
from fedvm.federation.keys import DIRECTORY, key_of_partition
from fedvm.protocol import Rules, Security, model_root, to_bytes
from fedvm.protocol.aggregators import is_over_bytes
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import Run, open_run
from fedvm.store import DEFAULT_STORES, Store, cid_of, open_store


def create_federation(
    path: Path,
    initial: ArrayRecord,
    *,
    rules: Rules,
    security: Security,
    clients: int,
    seed: int,
    stores: Sequence[str] = DEFAULT_STORES,
    sealed: SealedRules | None = None,
) -> str:
    """Make the directory with an embedded chain, create the federation on it, and return the contract's address.

    initial: the model's state that round 1 starts from, named float tensors. clients: the number of members; their
    keys derive from `seed`, like all keys of the chain. stores: where the artefacts go, folders (relative ones lie
    in the directory) or URLs of stores. sealed: how rounds are sealed, None if they are open.

    Raises:
        SettingsError: the directory is not empty, or the rules are for a model of another size.
        StoreError: no store is known for the URL.
    """
    members = [derive_account(seed, "member", index) for index in range(clients)]
    address = create_federation_of(
        path,
        initial,
        rules=rules,
        security=security,
        members=[member.address for member in members],
        seed=seed,
        stores=stores,
        sealed=sealed,
    )
    for index, member in enumerate(members):
        file = key_of_partition(path, index)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        keep_key(file, member)
    return address


def create_federation_of(
    path: Path,
    initial: ArrayRecord,
    *,
    rules: Rules,
    security: Security,
    members: Sequence[str],
    seed: int,
    stores: Sequence[str] = DEFAULT_STORES,
    sealed: SealedRules | None = None,
) -> str:
    """As `create_federation`, for members (hex addresses) that keep their own keys."""
    model, kept = first_model(initial, rules, security), open_store(stores, path)
    directory = _begin(path, kept, initial, rules)
    with open_chain(directory.chain, seed=seed, create=True) as chain:
        owner = chain.account("owner")
        contract, block = found(
            FederationFactory.deploy_first(chain.w3, owner),
            owner,
            kept,
            model,
            coordinator=chain.account("coordinator").address,
            rules=rules,
            members=members,
            security=security,
            sealed=sealed,
        )
        at = ChainRef("embedded", CHAIN_FILE)
        Deployment(at, chain.chain_id, contract.address, block=block, stores=tuple(stores)).save(path)
    return contract.address


def create_federation_on(
    endpoint: Endpoint,
    path: Path,
    initial: ArrayRecord,
    *,
    rules: Rules,
    security: Security,
    members: Sequence[str],
    account: LocalAccount,
    coordinator: str | None = None,
    stores: Sequence[str] = DEFAULT_STORES,
    sealed: SealedRules | None = None,
) -> str:
    """Create the federation on a network, for members that keep their own keys; return the contract's address.

    endpoint: the JSON-RPC endpoint, which the directory then names. members: their addresses (hex). account: pays, and
    becomes owner, and coordinator unless the address of another account is given. stores: as in `create_federation`.
    Raises what that raises, and ChainError.
    """
    w3, model, kept = endpoint.connect(), first_model(initial, rules, security), open_store(stores, path)
    _begin(path, kept, initial, rules)
    factory = FederationFactory.shared(w3, account)
    contract, block = found(
        factory,
        account,
        kept,
        model,
        coordinator=coordinator,
        rules=rules,
        members=members,
        security=security,
        sealed=sealed,
        salt=factory.free_salt(str(account.address)),
    )
    at = ChainRef("rpc", endpoint.shown)
    Deployment(at, int(w3.eth.chain_id), contract.address, block=block, stores=tuple(stores)).save(path)
    return contract.address


def leave_federation_on(
    endpoint: Endpoint,
    path: Path,
    initial: ArrayRecord,
    *,
    rules: Rules,
    security: Security,
    members: Sequence[str],
    owner: str,
    coordinator: str,
    stores: Sequence[str] = DEFAULT_STORES,
    sealed: SealedRules | None = None,
) -> UnsignedFounding:
    """Make the directory of a federation that a wallet (owner, hex address) creates by the transactions returned; it
    names the address that the federation will have. Arguments and errors as for `create_federation_on`."""
    w3, model, kept = endpoint.connect(), first_model(initial, rules, security), open_store(stores, path)
    parameters = FederationContract.parameters(
        owner=owner,
        coordinator=coordinator,
        rules=rules,
        security=security,
        members=members,
        model_root=model_root(model),
        model_cid=cid_of(to_bytes(model)).binary,
    )
    planned = unsigned_founding(w3, owner, parameters, sealed)
    _begin(path, kept, initial, rules)
    publish_model(kept, model)
    block = int(w3.eth.block_number)
    at = ChainRef("rpc", endpoint.shown)
    Deployment(at, int(w3.eth.chain_id), planned.federation, block=block, stores=tuple(stores)).save(path)
    return planned


def _begin(path: Path, kept: Store, initial: ArrayRecord, rules: Rules) -> RunDirectory:
    """The directory, which is made if it does not exist; a first model that is bytes goes into the store, since the
    contract only has its name. Raises SettingsError if the directory is not empty."""
    if path.exists() and any(path.iterdir()):
        raise SettingsError(f"{path} is not empty; name another directory")
    path.mkdir(parents=True, exist_ok=True)
    if is_over_bytes(rules):
        kept.put(model_bytes(named_arrays(initial)))
    return RunDirectory(path)


def open_federation(where: Context | Run | Path | str) -> Federation:
    """Open the federation in a directory, for `Accountable(..., federation=open_federation(context))`.

    where: the directory, a ServerApp's context whose run config names it as `fedvm-directory`, or a run that is open
    for writing. An embedded chain in the directory stays open while this process runs, or until the run is closed, and
    no other process can write to it meanwhile. On a network the coordinator's key is `PRIVATE_KEY`, from the
    environment or `.env`.

    Raises:
        SettingsError: no directory is named, its path is relative, or the key is not the coordinator's.
        ChainError: the chain cannot be opened or reached, the directory holds no federation (DeploymentError), or
            the key cannot be used (KeyFileError).
    """
    if isinstance(where, Context):
        where = str(where.run_config.get(DIRECTORY) or "")
        if not where:
            raise SettingsError(
                "no federation is named: write Accountable(strategy) alone to have one made, or make one with `fedvm "
                f'create`, state `{DIRECTORY} = ""` in the app\'s [tool.flwr.app.config], and run the app with '
                f"--run-config '{DIRECTORY}=\"/path/to/it\"'"
            )
        if not Path(where).is_absolute():
            raise SettingsError(
                f"{DIRECTORY} is {where!r}; give an absolute path: Flower runs apps elsewhere"
            )
    run = where if isinstance(where, Run) else open_run(where, read_only=False)
    return Federation(ledger_of(run), run.store)


def ledger_of(run: Run, account: LocalAccount | None = None, *, for_all: bool = False) -> ChainLedger:
    """The ledger of an open run's federation, for its coordinator, or for who proposes and answers in its place.

    account: the coordinator's; on a network that of `PRIVATE_KEY` unless given. for_all: whether it may be anybody's,
    not only that of who answers for the latest round. Raises as `open_federation`.
    """
    contract = run.federation_contract
    pass_time = None if run.chain is None else run.chain.advance_time
    if account is None and run.chain is not None:
        coordinator = run.chain.account("coordinator")
    else:
        coordinator = account or load_key()
        own = str(coordinator.address)
        if not for_all and own != contract.coordinator() and own != answerer_of(contract):
            raise SettingsError(
                f"the key is {coordinator.address}'s, but the coordinator of {contract.address} is "
                f"{contract.coordinator()}: name its account, or set its key as PRIVATE_KEY"
            )
    return ChainLedger(
        contract, coordinator, first_block=run.deployment.block, pass_time=pass_time, store=run.store
    )
