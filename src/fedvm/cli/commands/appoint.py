"""`fedvm keys appoint`: let another key than its own sign a member's updates; `fedvm keys of`: which key signs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.federation_options import (
    FederationOption,
    RpcOption,
    RunOption,
    named_federation,
)
from fedvm.cli.commands.json_option import JsonOption, print_json

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from fedvm.chain.federation import FederationContract

APPOINT_EPILOG = """Examples:

- `fedvm keys appoint 0x… --rpc https://… --federation 0x… --key-file member.key` what `fedvm keys new` printed

- `fedvm keys appoint --none --run runs/net --key-file member.key` take it back

- `fedvm keys appoint 0x… --rpc https://… --federation 0x… --member 0x… --unsigned` for a wallet that is a contract
"""
OF_EPILOG = "Example: `fedvm keys of 0x… --rpc https://… --federation 0x…`"


def appoint(
    key: Annotated[
        str | None,
        typer.Argument(metavar="ADDRESS", help="Address of the key, as `fedvm keys new` prints it."),
    ] = None,
    none: Annotated[
        bool, typer.Option("--none", help="Instead of ADDRESS: take back the key that was appointed.")
    ] = False,
    run: RunOption = None,
    rpc: RpcOption = None,
    federation: FederationOption = None,
    key_file: Annotated[
        Path | None,
        typer.Option(help="The member's own key, which sends the transaction and pays; else PRIVATE_KEY."),
    ] = None,
    unsigned: Annotated[
        bool,
        typer.Option(
            "--unsigned", help="Send nothing: print the transaction for the member's wallet, as JSON."
        ),
    ] = False,
    member: Annotated[
        str | None, typer.Option(help="With --unsigned: the member, the wallet that will send it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let another key than the member's own sign its updates, from the next round on.

    So the key that holds the stake need not lie on the machine that trains, and a wallet that is a contract can be a
    member. The client then names the member in its node config, `fedvm-member="0x…"`, beside its own key. A member has
    one appointed key at a time; appointing another replaces it. In a round that is open, the earlier key still signs.

    **Appoint only a key that you hold.** Whoever holds it has its updates counted as the member's, which pays for
    bad ones with its stake. A key belongs for ever to the first account that appoints it.

    If the member is a contract, no key can send its transactions: with --unsigned the transaction is printed (chainId,
    to, value, data), and the contract sends it in its own way. `fedvm keys of` shows whether it did.
    """
    from fedvm.chain.keys import load_key, read_key_file
    from fedvm.federation.client.appointment import book_of, checked_address

    if (key is None) != none:
        raise typer.BadParameter("give the address of a key, or --none to have none but the member's own")
    if unsigned != (member is not None) or (unsigned and key_file is not None):
        raise typer.BadParameter("--unsigned goes with --member, the wallet, and with no key")
    # The key is looked for before the chain, so that a missing key is reported at once.
    account = None if unsigned else read_key_file(key_file) if key_file is not None else load_key()
    who = checked_address("member", member or "") if account is None else str(account.address)
    wanted = None if key is None else checked_address("key", key)
    with named_federation(run, rpc, federation, read_only=account is None) as contract:
        if not _needed(contract, who, wanted, as_json):
            return
        if account is None:
            print_json(book_of(contract).unsent_appointment(wanted).as_json())
        else:
            _send(contract, account, wanted, as_json)


def _needed(contract: FederationContract, who: str, wanted: str | None, as_json: bool) -> bool:
    """Say which key signs for `who`, and what another would mean; False if the wanted one (None: its own) does already.

    Raises as `require_appointable`.
    """
    from fedvm.cli.console import err
    from fedvm.federation.client.appointment import require_appointable, signing_keys

    require_appointable(contract, who, wanted)
    keys = signing_keys(contract, who)
    err().print(keys.describe(), markup=False)
    if keys.then == (wanted or ""):
        err().print("That is so already; nothing is sent.")
        if as_json:
            print_json({**asdict(keys), "gas": 0})
        return False
    if wanted is not None:
        err().print(
            f"[bold yellow]Whoever holds {wanted} will sign for {who}[/], which answers for it with its stake. "
            "Be sure that it is yours."
        )
    return True


def _send(contract: FederationContract, account: LocalAccount, wanted: str | None, as_json: bool) -> None:
    """Appoint the key, and say from when on it signs. Raises ChainError."""
    from fedvm.cli.console import err, out
    from fedvm.federation.client.appointment import book_of, signing_keys

    book, who = book_of(contract), str(account.address)
    err().print(f"{who} sends appointKey to {book.address}", markup=False)
    appointed, receipt = book.appoint_key(account, wanted)
    if as_json:
        print_json({**asdict(signing_keys(contract, who)), "gas": receipt.gas_used})
        return
    out().print(
        f"From round {appointed.from_round} on {appointed.key or 'no key but its own'} signs for "
        f"{appointed.member} ({receipt.gas_used:,} gas).",
        markup=False,
    )
    if wanted is not None:
        out().print(f'Its client\'s node config: fedvm-member="{appointed.member}"', markup=False)


def of(
    member: Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of a member.")],
    run: RunOption = None,
    rpc: RpcOption = None,
    federation: FederationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print which key signs for a member now, and which from the next round on."""
    from fedvm.cli.console import err, out
    from fedvm.federation.client.appointment import signing_keys

    with named_federation(run, rpc, federation, read_only=True) as contract:
        keys = signing_keys(contract, member)
        if as_json:
            print_json({**asdict(keys), "is_member": contract.is_member(keys.member)})
            return
        out().print(keys.describe(), markup=False)
        if not contract.is_member(keys.member):
            err().print(f"But {keys.member} is no member of {contract.address}.", markup=False)
