"""`fedvm keys appoint`: let another key than its own sign a member's updates; `fedvm keys prove` and `give-up`: what
the key says to that; `fedvm keys of`: which key signs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.signing import AccountOption, KeyFileOption, Signing

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from fedvm.chain.federation import FederationContract

APPOINT_EPILOG = """Examples:

- `fedvm keys appoint 0x… --proof 0x… --network NAME --federation 0x… --key-file member.key` what `fedvm keys new` and
`fedvm keys prove` printed

- `fedvm keys appoint --none --run runs/net --key-file member.key` take it back

- `fedvm keys appoint 0x… --proof 0x… --network NAME --federation 0x… --member 0x… --unsigned` for a wallet that is a
contract
"""
PROVE_EPILOG = "Example: `fedvm keys prove client.key --member 0x… --network NAME --federation 0x…`"
GIVE_UP_EPILOG = "Example: `fedvm keys give-up client.key --network NAME --federation 0x…`"
OF_EPILOG = "Example: `fedvm keys of 0x… --network NAME --federation 0x…`"


@placed("federation")
def appoint(
    place: Place,
    key: Annotated[
        str | None,
        typer.Argument(metavar="ADDRESS", help="Address of the key, as `fedvm keys new` prints it."),
    ] = None,
    none: Annotated[
        bool, typer.Option("--none", help="Instead of ADDRESS: take back the key that was appointed.")
    ] = False,
    proof: Annotated[
        str | None, typer.Option(help="What `fedvm keys prove` printed where the key lies: 65 bytes in hex.")
    ] = None,
    account: AccountOption = None,
    key_file: KeyFileOption = None,
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

    The key must agree: `fedvm keys prove` makes the --proof on the machine where the key lies. A proof serves once, for
    this member and federation. So nobody can take another's key. A key signs for one account at a time, and can leave
    it (`fedvm keys give-up`).

    **Appoint only a key that you hold.** Whoever holds it has its updates counted as the member's, which pays for
    bad ones with its stake.

    If the member is a contract, no key can send its transactions: with --unsigned the transaction is printed (chainId,
    to, value, data), and the contract sends it in its own way. `fedvm keys of` shows whether it did.
    """
    from fedvm.federation.client.appointment import book_of, checked_address

    if (key is None) != none:
        raise typer.BadParameter("give the address of a key, or --none to have none but the member's own")
    if (proof is None) != none:
        raise typer.BadParameter(
            "a key is appointed with its --proof, see `fedvm keys prove`; --none needs none"
        )
    signing = Signing(account, key_file)
    if unsigned != (member is not None) or (unsigned and signing.is_named):
        raise typer.BadParameter("--unsigned goes with --member, the wallet, and with no key")
    # The key is looked for before the chain, so that a missing key is reported at once.
    sender = None if unsigned else signing.load()
    who = checked_address("member", member or "") if sender is None else str(sender.address)
    wanted = None if key is None else checked_address("key", key)
    proved = _bytes_of(proof)
    with place.opened(read_only=sender is None) as run:
        contract = run.federation_contract
        if not _needed(contract, who, wanted, proved, as_json):
            return
        if sender is None:
            print_json(book_of(contract).unsent_appointment(wanted, proved).as_json())
        else:
            _send(contract, sender, wanted, proved, as_json)


def _bytes_of(proof: str | None) -> bytes:
    """The bytes of a proof, none for None. Raises BadParameter if it is not hexadecimal."""
    try:
        return bytes.fromhex((proof or "").removeprefix("0x"))
    except ValueError:
        raise typer.BadParameter("--proof is not what `fedvm keys prove` prints, 65 bytes in hex") from None


def _needed(contract: FederationContract, who: str, wanted: str | None, proof: bytes, as_json: bool) -> bool:
    """Say which key signs for `who`, and what another would mean; False if the wanted one (None: its own) does already.

    Raises as `require_appointable`.
    """
    from fedvm.cli.console import err
    from fedvm.federation.client.appointment import require_appointable, signing_keys

    keys = signing_keys(contract, who)
    is_so = keys.then == (wanted or "")
    if not is_so:
        require_appointable(contract, who, wanted, proof)
    err().print(keys.describe(), markup=False)
    if is_so:
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


def _send(
    contract: FederationContract, account: LocalAccount, wanted: str | None, proof: bytes, as_json: bool
) -> None:
    """Appoint the key, and say from when on it signs. Raises ChainError."""
    from fedvm.cli.console import err, out
    from fedvm.federation.client.appointment import book_of, signing_keys

    book, who = book_of(contract), str(account.address)
    err().print(f"{who} sends appointKey to {book.address}", markup=False)
    appointed, receipt = book.appoint_key(account, wanted, proof)
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


@placed("federation")
def prove(
    place: Place,
    key_file: Annotated[Path, typer.Argument(help="The key, in a file that `fedvm keys new` made.")],
    member: Annotated[str, typer.Option(help="Address of the member that the key is to sign for.")],
    as_json: JsonOption = False,
) -> None:
    """Print a key's proof that it is to sign for a member, which the member gives to `fedvm keys appoint`.

    Nothing is sent, and the key needs no funds. The proof serves for one appointment, by this member in this
    federation.
    """
    from fedvm.chain.keys import read_key_file
    from fedvm.federation.client.appointment import prove_key

    key = read_key_file(key_file)
    with place.opened(read_only=True) as run:
        contract = run.federation_contract
        proof = "0x" + prove_key(contract, key, member).hex()
    if as_json:
        print_json({"key": str(key.address), "member": member, "proof": proof})
    else:
        print(proof)


@placed("federation")
def give_up(
    place: Place,
    key_file: Annotated[Path, typer.Argument(help="The key; its account pays.")],
    as_json: JsonOption = False,
) -> None:
    """Let a key sign for nobody from the next round on, whoever appointed it, and make its unused proofs void.

    In a round that is open it still signs. Then another member can appoint it, or its account become a member itself.
    The member takes a key back with `fedvm keys appoint --none`.
    """
    from fedvm.chain.keys import read_key_file
    from fedvm.cli.console import out
    from fedvm.federation.client.appointment import book_of

    key = read_key_file(key_file)
    with place.opened(read_only=False) as run:
        contract = run.federation_contract
        book = book_of(contract)
        member, following = book.appointed_by(str(key.address)), contract.current_round() + 1
        receipt = book.give_up_key(key)
    if as_json:
        print_json({"key": str(key.address), "member": member, "round": following, "gas": receipt.gas_used})
    else:
        no_more = f" and no more for {member}" if member else ""
        out().print(
            f"From round {following} on {key.address} signs for nobody{no_more} ({receipt.gas_used:,} gas).",
            markup=False,
        )


@placed("federation")
def of(
    place: Place,
    member: Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of a member.")],
    as_json: JsonOption = False,
) -> None:
    """Print which key signs for a member now, and which from the next round on."""
    from fedvm.cli.console import err, out
    from fedvm.federation.client.appointment import signing_keys

    with place.opened(read_only=True) as run:
        contract = run.federation_contract
        keys = signing_keys(contract, member)
        if as_json:
            print_json({**asdict(keys), "is_member": contract.is_member(keys.member)})
            return
        out().print(keys.describe(), markup=False)
        if not contract.is_member(keys.member):
            err().print(f"But {keys.member} is no member of {contract.address}.", markup=False)
