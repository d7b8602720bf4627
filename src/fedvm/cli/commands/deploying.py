"""What every command does that brings a compiled model onto a network: costs first, then the transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedvm.cli.addresses import address_facts, print_address
from fedvm.cli.commands.json_option import print_json
from fedvm.cli.commands.paying import print_batch
from fedvm.cli.commands.spending import Spending, spend

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from web3 import Web3

    from fedvm.chain.endpoint import Endpoint
    from fedvm.chain.networks import Network
    from fedvm.cli.commands.paying import Actor
    from fedvm.pipeline.onnx_model import Prepared
    from fedvm.rundir.layout import RunDirectory


def deploy_prepared(
    prepared: Prepared,
    w3: Web3,
    endpoint: Endpoint,
    payer: Actor,
    spending: Spending,
    directory: RunDirectory,
    *,
    stages: bool = False,
    as_json: bool = False,
) -> None:
    """Show what deploying costs, ask, deploy, and say where everything is; or print the transactions."""
    from fedvm.chain.networks import network_of
    from fedvm.cli.model_table import print_model
    from fedvm.pipeline.deploy_plan import plan_deployment
    from fedvm.pipeline.errors import UsageError
    from fedvm.pipeline.placing import Deployable, require_own

    if spending.unsigned:
        _print_unsigned(prepared, w3, endpoint.shown, payer.address, directory)
        return
    if not as_json:
        print_model(prepared)
    if stages and not prepared.compiled.stages:
        raise UsageError(prepared.unstaged or "one prediction fits a transaction: leave --stages out")
    if not spending.dry_run:
        require_own(directory, Deployable.of(prepared))
    steps = plan_deployment(prepared, w3, payer.address, simulate=spending.dry_run)
    asked: dict[str, Any] = {"dry_run": spending.dry_run, "yes": spending.yes, "price": spending.price}
    if not spend("Deploying", steps, w3, payer.address, **asked, as_json=as_json) or payer.account is None:
        return
    facts = _sent(prepared, w3, endpoint.shown, payer.account, directory, stages=stages)
    show_deployed(facts, prepared, network_of(w3), as_json=as_json)


def show_deployed(facts: dict[str, Any], prepared: Prepared, at: Network, *, as_json: bool) -> None:
    """Where everything is, on standard output."""
    from fedvm.cli.console import out

    if as_json:
        service = address_facts(str(facts["service"]), at)
        native = {"filecoin": service["filecoin"], "link": service["link"]}
        print_json({**facts, **native, "network": at.name, "gas": prepared.compiled.manifest["gas"]})
        return
    console = out()
    print_address("ModelService", str(facts["service"]), at)
    console.print(f"program       {facts['program']}")
    console.print(f"version       {facts['version']}")
    if prepared.federated is not None:
        lineage = prepared.federated.lineage
        console.print(f"lineage       round {lineage.round} of {lineage.federation}")
    if facts.get("session") is not None:
        console.print(f"InferenceSession  [bold]{facts['session']}[/]")
        console.print(f"staged program    {facts['staged_program']}")
    console.print(f"directory     {facts['directory']}", markup=False)


def _print_unsigned(prepared: Prepared, w3: Web3, rpc: str, wallet: str, directory: RunDirectory) -> None:
    """The transactions on standard output; the directory names what will be where."""
    from fedvm.pipeline.deploy_plan import unsigned_deployment
    from fedvm.pipeline.placing import leave
    from fedvm.rundir.deployment import ChainRef

    planned = unsigned_deployment(prepared, w3, wallet)
    at, block = ChainRef("rpc", rpc), int(w3.eth.block_number)
    chain_id = int(w3.eth.chain_id)
    leave(prepared, at, chain_id, block, directory, service=planned.service, program=planned.program)
    what = (
        f"Deploying {planned.service}, the ModelService of which {directory.path} then serves `fedvm predict`"
    )
    print_batch(planned.transactions, wallet, what)


def _sent(
    prepared: Prepared,
    w3: Web3,
    rpc: str,
    payer: LocalAccount,
    directory: RunDirectory,
    *,
    stages: bool,
) -> dict[str, Any]:
    """Deploy, and say where everything is."""
    from functools import partial

    from fedvm.cli.console import err
    from fedvm.cli.progress import CountDisplay
    from fedvm.pipeline.placing import deploy as deploy_model
    from fedvm.pipeline.staged import serve_stages

    with CountDisplay(err()) as display:
        progress = partial(display.progress, "transactions")
        served = deploy_model(prepared, w3, rpc, payer, directory, progress)
        staged = None
        if stages:
            progress = partial(display.progress, "transactions of the stages")
            staged = serve_stages(w3, payer, prepared.compiled, directory, progress)
    return {
        "service": served.service.address,
        "program": served.registered.version.program,
        "version": served.registered.id,
        "session": None if staged is None else staged.sessions.address,
        "staged_program": None if staged is None else f"0x{staged.id.hex()}",
        "directory": str(directory.path),
    }
