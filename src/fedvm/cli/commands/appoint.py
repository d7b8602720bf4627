"""`fedvm keys appoint`: let another key than its own sign a member's updates; `fedvm keys prove` and `give-up`: what
the key says to that; `fedvm keys of`: which key signs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.sending import Sending, sent_to_federation

APPOINT_EPILOG = """Examples:

- `fedvm keys appoint 0x… --proof 0x… --network NAME --federation 0x… --key-file member.key` what `fedvm keys new` and
`fedvm keys prove` printed

- `fedvm keys appoint --none --run runs/net --key-file member.key` take it back

- `fedvm keys appoint 0x… --proof 0x… --network NAME --federation 0x… --from 0x… --unsigned` for a wallet that is a
contract
"""
PROVE_EPILOG = "Example: `fedvm keys prove client.key --member 0x… --network NAME --federation 0x…`"
GIVE_UP_EPILOG = "Example: `fedvm keys give-up --key-file client.key --network NAME --federation 0x…`"
OF_EPILOG = "Example: `fedvm keys of 0x… --network NAME --federation 0x…`"


@sent_to_federation(by_owner=False)
def appoint(
    sending: Sending,
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

    If the member is a contract, no key can send its transactions: with `--unsigned --from MEMBER` the transaction is
    printed, and the contract sends it in its own way. `fedvm keys of` shows whether it did.
    """
    from fedvm.federation.client.appointment import checked_address

    if (key is None) != none:
        raise typer.BadParameter("give the address of a key, or --none to have none but the member's own")
    if (proof is None) != none:
        raise typer.BadParameter(
            "a key is appointed with its --proof, see `fedvm keys prove`; --none needs none"
        )
    wanted = None if key is None else checked_address("key", key)
    _appoint(sending, wanted, _bytes_of(proof))


def _appoint(sending: Sending, wanted: str | None, proof: bytes) -> None:
    from fedvm.cli.console import err, out
    from fedvm.federation.client.appointment import signing_keys
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        keys = signing_keys(contract, actor.address)
        if keys.then == (wanted or ""):
            err().print(keys.describe(), markup=False)
            err().print("That is so already; nothing is sent.")
            if sending.as_json:
                print_json({**asdict(keys), "gas": 0})
            return
        plan = plans.appoint_key(contract, actor.address, wanted, proof)
        err().print(keys.describe(), markup=False)
        if wanted is not None:
            err().print(
                f"[bold yellow]Whoever holds {wanted} will sign for {actor.address}[/], which answers for it with its "
                "stake. Be sure that it is yours."
            )
        sent = sending.carry_out(actor, plan, after=lambda: asdict(signing_keys(contract, actor.address)))
        if sent and wanted is not None and not sending.as_json:
            out().print(f'Its client\'s node config: fedvm-member="{actor.address}"', markup=False)


def _bytes_of(proof: str | None) -> bytes:
    """The bytes of a proof, none for None. Raises BadParameter if it is not hexadecimal."""
    try:
        return bytes.fromhex((proof or "").removeprefix("0x"))
    except ValueError:
        raise typer.BadParameter("--proof is not what `fedvm keys prove` prints, 65 bytes in hex") from None


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


@sent_to_federation(by_owner=False)
def give_up(sending: Sending) -> None:
    """Let a key sign for nobody from the next round on, whoever appointed it, and make its unused proofs void.

    The key itself sends this, and its account pays. In a round that is open it still signs. Then another member can
    appoint it, or its account become a member itself. The member takes a key back with `fedvm keys appoint --none`.
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.give_up_key(contract, actor.address), key=actor.address)


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
