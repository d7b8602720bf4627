"""What a member of a sealed federation that has an RPC looks up on the chain, so that no coordinator can tell it of
another epoch or another close than all other members.

In each step: the federation is one of this package's contracts, sealed, on the chain that the message names.

- Enrolment: the latest epoch has the stated number and takes enrolments, under the stated sealed rules.
- Draw: the latest epoch has the stated number and is drawn; roster (its root), seed and group size are the contract's.
- Ready: all that again; bitmap and first round are the contract's, and nobody can add itself any more. Key files are
  those that their members stated, under their signature or on chain: else the coordinator could put in ciphertexts of
  its own, and know half of what edges are made from.
- Close: all that again; the round is open and not yet rolled up, the bitmaps of its close are those stated, and the
  model that it starts from is the stated base. All of it at one final block.

A client's RPC may be some blocks behind the coordinator's: what it does not find at once it looks for again, for some
polls of the chain.

The close decides: before it nothing leaves a member that opens anything, so what a reorganised chain said of draw and
ready members costs it the epoch at most. Shares cannot be taken back, so they are given for a final close alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import BlockIdentifier

from fedvm.chain.call import read
from fedvm.chain.epoch_types import EpochStanding, EpochState, ReadyAdded
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.errors import ChainError
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Round, RoundState
from fedvm.chain.networks import network_of
from fedvm.chain.rule_book import keys_in_round
from fedvm.chain.sealed_rounds import SealedRoundsContract, SealedSummary
from fedvm.federation.client.chain_check import Found, differing, genuine_federation, unequal
from fedvm.federation.errors import TermsError
from fedvm.protocol import Domain, SignatureError
from fedvm.protocol.address import Address
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.protocol.sealed.typed_data import Ready
from fedvm.protocol.verdict import signs_for
from fedvm.store.unixfs import cid_of

FINAL: Final = "finalized"


@dataclass(frozen=True)
class _Chain:
    """A genuine sealed federation on the client's own chain. Its contracts are looked up once a check."""

    federation: FederationContract

    @cached_property
    def epochs(self) -> EpochsContract:
        return EpochsContract.of(self.federation)

    @cached_property
    def rounds(self) -> SealedRoundsContract:
        return SealedRoundsContract.of(self.federation)

    def standing(self, block: BlockIdentifier) -> EpochStanding:
        return EpochStanding.of(read(self.epochs.contract, "epoch", block=block))

    def latest(self, block: BlockIdentifier) -> SealedSummary:
        return SealedSummary.of(read(self.rounds.contract, "latest", block=block))

    def now(self) -> int:
        return int(self.federation.w3.eth.get_block("latest")["timestamp"])


def check_enrolment(rpc: str, domain: Domain, number: int, rules: SealedRules) -> None:
    """Raise TermsError unless members enrol now in the epoch of this number, under these sealed rules. With the keys of
    a new epoch a member forgets those of the one before.

    rpc: as of :func:`check_draw`.
    """
    try:
        chain = _sealed(rpc, domain)

        def look() -> Found:
            standing = chain.standing("latest")
            return {
                "number": (standing.number, number),
                "state": (standing.state, EpochState.ENROLLING),
                "sealed rules": (chain.epochs.sealed_hash(), rules.digest()),
            }

        _require_none(differing(chain.federation.w3, look), f"the enrolment for epoch {number}")
    except ChainError as error:
        raise _unsaid(error) from error


def check_draw(rpc: str, draw: Draw) -> None:
    """Raise TermsError unless a draw is that of the federation's latest epoch.

    rpc: the client's own address of the chain's JSON-RPC, not the server's.
    """
    try:
        chain = _sealed(rpc, draw.domain)
        wrong = differing(chain.federation.w3, lambda: _of_draw(chain, draw, chain.standing("latest")))
        _require_none(wrong, f"the draw of epoch {draw.number}")
    except ChainError as error:
        raise _unsaid(error) from error


def check_ready(rpc: str, epoch: Epoch) -> None:
    """Raise TermsError unless these are the ready members of the federation's latest epoch, for good.

    rpc: as of :func:`check_draw`.
    """
    try:
        chain = _sealed(rpc, epoch.draw.domain)
        w3 = chain.federation.w3
        wrong = differing(w3, lambda: _of_epoch(chain, epoch, chain.standing("latest")))
        _require_none(wrong, f"who is ready in epoch {epoch.draw.number}")
        until = chain.standing("latest").until
        if differing(w3, lambda: {"time": (chain.now() > until, True)}):
            raise TermsError(
                f"members can still add themselves to those ready in epoch {epoch.draw.number}, for "
                f"{until - chain.now() + 1} s; ask again after that"
            )
    except ChainError as error:
        raise _unsaid(error) from error


def check_key_files(
    rpc: str, epoch: Epoch, member: str, files: Mapping[Address, bytes], signatures: Mapping[Address, bytes]
) -> None:
    """Raise TermsError unless the key files of those below a member in its group are the ones that they stated.

    rpc: as of :func:`check_draw`. files, signatures: by member; of one that added itself there is no signature.
    """
    group, draw = epoch.group_of(member), epoch.draw
    below = {group.members[rank] for rank in group.ready if rank < group.rank_of(member)}
    try:
        chain = _sealed(rpc, draw.domain)
        key_of = keys_in_round(chain.federation, epoch.first_round)
        added: set[tuple[Address, bytes]] = set()
        if any(mate not in signatures for mate in below & files.keys()):
            added = _added(chain, draw.number)
        for mate in below & files.keys():
            cid = cid_of(files[mate]).binary
            stated = Ready(draw.number, draw.roster_root, cid)
            if mate in signatures:
                holds = signs_for(stated.signer(draw.domain, signatures[mate]), mate, key_of)
            else:
                holds = (mate, cid) in added
            if not holds:
                raise TermsError(
                    f"the key file sent of {mate} is not one that it stated; this client sits out"
                )
    except SignatureError as error:
        raise TermsError(f"a key file is not signed by its member: {error}") from error
    except ChainError as error:
        raise _unsaid(error) from error


def check_close(rpc: str, close: Close, base_root: bytes) -> None:
    """Raise TermsError unless, at a final block, the round is closed as stated, over this base, and not yet rolled up.
    Waits for a close that is not final yet, as long as the sealed rules leave for answers.

    rpc: as of :func:`check_draw`. base_root: of the model that the round starts from, 32 bytes.
    """
    try:
        chain = _sealed(rpc, close.epoch.draw.domain)
        block = _final_with(chain, close)
        found = _of_epoch(chain, close.epoch, chain.standing(block))
        found |= _of_close(chain, close, base_root, block)
        _require_none(unequal(found), f"the close of round {close.round}")
    except ChainError as error:
        raise _unsaid(error) from error


def _of_draw(chain: _Chain, draw: Draw, standing: EpochStanding) -> Found:
    size = chain.epochs.sealed_rules().group_size
    return {
        "number": (standing.number, draw.number),
        "state": (standing.state, EpochState.DRAWN),
        "roster": ((standing.members, standing.roster_root), (len(draw.roster), draw.roster_root)),
        "seed": (standing.group_seed, draw.seed),
        "group size": (size, draw.group_size),
    }


def _of_epoch(chain: _Chain, epoch: Epoch, standing: EpochStanding) -> Found:
    return _of_draw(chain, epoch.draw, standing) | {
        "ready members": (standing.ready_hash, epoch.ready_hash),
        "first round": (standing.first_round, epoch.first_round),
    }


def _of_close(chain: _Chain, close: Close, base_root: bytes, block: BlockIdentifier) -> Found:
    latest, federation = chain.latest(block), chain.federation.contract
    standing = Round.of(read(federation, "round", close.round, block=block))
    return {
        "round": (latest.round, close.round),
        "ready members of the round": (latest.ready_hash, close.epoch.ready_hash),
        "included members": (latest.included_hash, close.included_hash),
        "state of the round": ((standing.state, standing.rolled_up), (RoundState.OPEN, False)),
        "base": (read(federation, "modelRoot", block=block), base_root),
    }


def _added(chain: _Chain, number: int) -> set[tuple[Address, bytes]]:
    """Who added itself to those ready in the latest epoch, with the binary CID of its key file."""
    told = chain.epochs.events(number, chain.standing("latest").closed_in)
    return {(event.member, event.cid) for event in told if isinstance(event, ReadyAdded)}


def _final_with(chain: _Chain, close: Close) -> int:
    """Number of a final block in which the round is closed. Raises TermsError if there is none in time."""
    seconds, w3 = chain.epochs.sealed_rules().unmask_seconds, chain.federation.w3
    until = time.monotonic() + seconds
    while True:
        number = _final(w3)
        if chain.latest(number).round == close.round:
            return number
        if differing(w3, lambda: {"round": (chain.latest("latest").round, close.round)}):
            raise TermsError(f"round {close.round} is not closed on the chain; this client gives no shares")
        if time.monotonic() > until:
            raise TermsError(
                f"the close of round {close.round} was not final after {seconds} s, which is what the sealed rules "
                "leave for answers; on this chain unmask_seconds must be more than the time to finality"
            )
        time.sleep(network_of(w3).poll_seconds)


def _final(w3: Web3) -> int:
    try:
        return int(w3.eth.get_block(FINAL)["number"])
    except (Web3Exception, KeyError, ValueError) as error:
        raise TermsError(
            f"the client's RPC names no final block ({error}); use a node that knows 'finalized'"
        ) from error


def _sealed(rpc: str, domain: Domain) -> _Chain:
    return _Chain(genuine_federation(rpc, domain, sealed=True))


def _require_none(wrong: Sequence[str], what: str) -> None:
    if wrong:
        raise TermsError(f"{what} is not on the chain as the server names it: its {', '.join(wrong)} differ")


def _unsaid(error: ChainError) -> TermsError:
    return TermsError(f"this client goes no further, for what the chain says: {error}")
