"""What every command does that brings a compiled model onto a network: costs first, then the transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from fedvm.cli.addresses import address_facts, print_address
from fedvm.cli.commands.json_option import print_json
from fedvm.cli.commands.signing import Signing
from fedvm.cli.commands.spending import Spending, spend

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from web3 import Web3

    from fedvm.chain.endpoint import Endpoint
    from fedvm.chain.networks import Network
    from fedvm.pipeline.onnx_model import Prepared
    from fedvm.rundir.layout import RunDirectory


@dataclass(frozen=True)
class Payer:
    """Who pays: the account, None if its key is not needed, and its address."""

    account: LocalAccount | None
    address: str

    @classmethod
    def named(cls, spending: Spending, signing: Signing, *, stages: bool = False) -> Payer:
        """Raises BadParameter for options that do not go together, and what loading a key raises."""
        from fedvm.federation.client.appointment import checked_address

        if spending.sender is None:
            if spending.unsigned:
                raise typer.BadParameter("--unsigned goes with --from, the wallet that will send")
            account = signing.load()
            return cls(account, str(account.address))
        if signing.is_named or spending.dry_run == spending.unsigned:
            raise typer.BadParameter("--from goes with --dry-run or with --unsigned, and without a key")
        if spending.unsigned and stages:
            raise typer.BadParameter(
                "a program in stages cannot be printed with --unsigned: leave --stages out"
            )
        return cls(None, checked_address("sender", spending.sender))


def deploy_prepared(
    prepared: Prepared,
    w3: Web3,
    endpoint: Endpoint,
    payer: Payer,
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
    from fedvm.cli.console import err
    from fedvm.pipeline.deploy_plan import unsigned_deployment
    from fedvm.pipeline.placing import leave
    from fedvm.rundir.deployment import ChainRef

    planned = unsigned_deployment(prepared, w3, wallet)
    at, block = ChainRef("rpc", rpc), int(w3.eth.block_number)
    chain_id = int(w3.eth.chain_id)
    leave(prepared, at, chain_id, block, directory, service=planned.service, program=planned.program)
    err().print(
        f"{len(planned.transactions)} transactions for {wallet} to send in this order. Then {planned.service} is the "
        f"ModelService, and {directory.path} serves `fedvm predict`.",
        markup=False,
    )
    print_json([one.as_json() for one in planned.transactions])


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
