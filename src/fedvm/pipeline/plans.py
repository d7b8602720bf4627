"""What owners and members can do on chain, each as a plan: said in a sentence, priced, and then sent or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from web3.exceptions import Web3Exception

from fedvm.chain.epochs import EpochsContract
from fedvm.chain.errors import CallFailed, DeploymentError, TransactionFailed
from fedvm.chain.federation import FederationContract
from fedvm.chain.fees import FeeTerms
from fedvm.chain.gate import TrialState
from fedvm.chain.genuine import is_sealed, require_genuine
from fedvm.chain.model_service import ModelService
from fedvm.chain.networks import network_of, require_funds
from fedvm.chain.pdp_verifier import PdpVerifier
from fedvm.chain.prepared import PreparedCall
from fedvm.chain.rule_book import Announced, RuleBookContract
from fedvm.chain.sender import Cost, Receipt
from fedvm.chain.stored_evidence import EvidenceRule, StoredEvidenceContract
from fedvm.federation.client.appointment import book_of, checked_address, require_appointable
from fedvm.pipeline.call_advice import advice_on, utc
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.rule_units import require_sealable, rules_in_settings
from fedvm.protocol import Rules
from fedvm.protocol.rules import PPM

_NOBODY = "0x" + 40 * "0"
_UINT96 = 2**96


@dataclass(frozen=True)
class Plan:
    """One transaction, and what it does in a sentence. owner: address of the contract's owner."""

    sentence: str
    call: PreparedCall
    owner: str

    def check(self, account: str) -> Cost:
        """What it would cost an account (hex address) now, whatever that owns.

        Raises UsageError with a way out where the contract would refuse it, and what `PreparedCall.cost` raises.
        """
        with self._advised():
            return self.call.cost(account)

    def afford(self, account: str) -> Cost:
        """The same, where the account must own what it costs. Raises NetworkError, too, if it does not."""
        w3 = self.call.sender.w3
        require_funds(w3, account, self.call.value)
        cost = self.check(account)
        require_funds(w3, account, cost.value + cost.fee)
        return cost

    def send(self, account: LocalAccount) -> Receipt:
        """Send it, and wait for success. Raises as `check`, and NetworkError."""
        with self._advised():
            return self.call.send(account)

    @contextmanager
    def _advised(self) -> Iterator[None]:
        try:
            yield
        except TransactionFailed as error:
            if (advice := advice_on(error, self.owner)) is None:
                raise
            raise UsageError(advice) from error


# Rules


def announce(federation: FederationContract, rules: Rules) -> Plan:
    """Announce other rules. Raises UsageError if a sealed federation cannot have them."""
    security = federation.security()
    if is_sealed(federation.w3, federation.address):
        require_sealable(EpochsContract.of(federation).sealed_rules(), rules, security.open_seconds)
    seconds = security.notice_seconds
    at = utc(int(federation.w3.eth.get_block("latest")["timestamp"]) + seconds)
    changes = ", ".join(f"{key} {old} → {new}" for key, old, new in changes_of(federation.rules(), rules))
    return Plan(
        f"The owner announces other rules ({changes}), in place of any announced before. Until about {at}, "
        f"{_duration(seconds)} from now, members can leave; after that anyone can adopt the rules between rounds, "
        "for 14 days",
        book_of(federation).announce(rules),
        federation.owner(),
    )


def adopt(federation: FederationContract) -> Plan:
    """Adopt what is announced."""
    book = book_of(federation)
    announced = _announced(book).rules
    changes = ", ".join(f"{key} {old} → {new}" for key, old, new in changes_of(federation.rules(), announced))
    return Plan(
        f"The announced rules come into force from round {federation.current_round() + 1} on "
        f"({changes or 'no change'}). Clients that pin another rules' hash refuse to sign from then on",
        book.adopt(),
        federation.owner(),
    )


def cancel(federation: FederationContract) -> Plan:
    """Take an announcement back."""
    book = book_of(federation)
    at = utc(_announced(book).adoptable_at)
    return Plan(
        f"The owner takes the announced rules back, which could be adopted from {at} on; those in force stay",
        book.cancel(),
        federation.owner(),
    )


Stated = int | float | str | None
"""What a setting of the rules is."""


def changes_of(present: Rules, other: Rules) -> list[tuple[str, Stated, Stated]]:
    """By which settings two rules differ: (key, present value, other value), in a configuration's units."""
    old, new = rules_in_settings(present), rules_in_settings(other)
    changes: list[tuple[str, Stated, Stated]] = [
        (key, old[key], new[key]) for key in old if old[key] != new[key]
    ]
    if present.aggregator != other.aggregator:
        changes.append(("aggregator", "0x" + present.aggregator.hex(), "0x" + other.aggregator.hex()))
    return changes


def require_evidence(federation: FederationContract, rule: EvidenceRule | None) -> Plan:
    """Have the evidence of rounds stored where a PDP verifier can tell, or need it not be any more.

    Raises UsageError for a rule that the contract would refuse, and for data sets that the verifier does not know.
    """
    book = StoredEvidenceContract.of(federation)
    following = federation.current_round() + 1
    if rule is None:
        if book.rule() is None:
            raise UsageError("the federation asks for no stored evidence: there is nothing to take back")
        sentence = f"From round {following} on results are taken without stored evidence"
        return Plan(sentence, book.require(None), federation.owner())
    dead = [one for one in rule.data_sets if not _is_live(federation, rule.verifier, one)]
    if dead:
        raise UsageError(
            f"{rule.verifier} knows no live data set {dead[0]}: store something with the provider first, which creates "
            "one, and name the number that it has"
        )
    listed = ", ".join(map(str, rule.data_sets))
    asked = ", and only over pieces that proofs are asked of already" if rule.challenged else ""
    return Plan(
        f"From round {following} on a result is taken only while the PDP verifier {rule.verifier} says that the "
        f"round's evidence lies in data set {listed}, last proved at most {rule.max_age:,} epochs (blocks) before"
        f"{asked}. A round for which it does not say so fails at its deadline, and everybody has back what was locked "
        "up",
        book.require(rule),
        federation.owner(),
    )


def _is_live(federation: FederationContract, verifier: str, data_set: int) -> bool:
    try:
        return PdpVerifier(federation.w3, verifier).is_live(data_set)
    except (CallFailed, DeploymentError, Web3Exception) as error:
        raise UsageError(
            f"{verifier} is no PDP verifier on this network: {error}. docs/storage.md has where Filecoin's is"
        ) from error


def _announced(book: RuleBookContract) -> Announced:
    announced = book.announced()
    if announced is None:
        raise UsageError("no rules are announced. Announce some: fedvm rules announce")
    return announced


# Members


def add_members(federation: FederationContract, members: Sequence[str]) -> Plan:
    """Invite members."""
    added = _addresses("member", members)
    stake = federation.security().stake
    needs = f"; each must put {money(federation, stake)} at stake before its updates count" if stake else ""
    return Plan(
        f"{', '.join(added)} {'become members' if len(added) > 1 else 'becomes a member'} from round "
        f"{federation.current_round() + 1} on, {federation.member_count() + len(added)} in all{needs}",
        federation.add_members(added),
        federation.owner(),
    )


def remove_member(federation: FederationContract, member: str) -> Plan:
    """Put a member out."""
    address = checked_address("member", member)
    rest = federation.member_count() - 1
    return Plan(
        f"{address} signs no more updates from round {federation.current_round() + 1} on; {rest} members stay, of whom "
        f"{federation.rules().min_clients} are needed. Its stake stays its own, to be taken back by it",
        federation.remove_member(address),
        federation.owner(),
    )


def join(federation: FederationContract, who: str) -> Plan:
    """Become a member of a federation that is open. Raises DeploymentError if it is not one of our contracts."""
    require_genuine(federation.w3, federation.address)
    call = federation.join(who)
    return Plan(
        f"{who} becomes a member, and pays in {money(federation, call.value)} of stake, which it loses for an update "
        "that is proved bad",
        call,
        federation.owner(),
    )


def quit_membership(federation: FederationContract, who: str) -> Plan:
    """End a membership."""
    return Plan(
        f"{who} is no member any more; its stake of {money(federation, federation.stake_of(who))} stays until it is "
        "taken back (fedvm members unstake)",
        federation.quit(),
        federation.owner(),
    )


def stake(federation: FederationContract, who: str, amount: int | None) -> Plan:
    """Put money at stake; None for what is lacking. Raises DeploymentError if it is not one of our contracts."""
    require_genuine(federation.w3, federation.address)
    needed, present = federation.security().stake, federation.stake_of(who)
    if amount is None and present >= needed:
        raise UsageError(
            f"{who} has {present} wei at stake, and {needed} are needed: nothing is lacking. To add more say how much"
        )
    call = federation.stake(needed - present if amount is None else _wei("the stake", amount))
    return Plan(
        f"{who} puts {money(federation, call.value)} more at stake, {money(federation, present + call.value)} in all, "
        f"of {money(federation, needed)} that are needed; it loses them for an update that is proved bad",
        call,
        federation.owner(),
    )


def unstake(federation: FederationContract, who: str) -> Plan:
    """Take a stake back."""
    return Plan(
        f"{who} takes its stake of {money(federation, federation.stake_of(who))} back, and its updates no longer "
        "count; fedvm members withdraw then fetches the money. If a rolled-up round is still open, this only announces "
        "it: give the same command again when that round is over",
        federation.unstake(),
        federation.owner(),
    )


def withdraw(federation: FederationContract, who: str, to: str | None = None) -> Plan:
    """Fetch what is owed, or have it sent to another account (hex address)."""
    amount = money(federation, federation.owed(who))
    if to is None:
        return Plan(f"{who} fetches {amount} that it is owed", federation.withdraw(), federation.owner())
    receiver = checked_address("receiver", to)
    sentence = f"{who} has {amount} that it is owed sent to {receiver}, whose own they are then"
    return Plan(sentence, federation.withdraw(receiver), federation.owner())


# Keys of members


def appoint_key(federation: FederationContract, who: str, key: str | None, proof: bytes) -> Plan:
    """Let a key (hex address) sign for a member; None: none but its own. Raises SettingsError for what the contract
    would refuse or would serve nobody."""
    require_appointable(federation, who, key, proof)
    return Plan(
        f"From round {federation.current_round() + 1} on {key or 'no key but its own'} signs for {who}",
        book_of(federation).appointment(key, proof),
        federation.owner(),
    )


def give_up_key(federation: FederationContract, key: str) -> Plan:
    """Let a key (hex address) sign for nobody."""
    book = book_of(federation)
    member = book.appointed_by(key)
    no_more = f" and no more for {member}" if member else ""
    return Plan(
        f"From round {federation.current_round() + 1} on {key} signs for nobody{no_more}",
        book.giving_up(),
        federation.owner(),
    )


# Coordinator


def replace_coordinator(federation: FederationContract, coordinator: str) -> Plan:
    """Have another account coordinate."""
    new, old = checked_address("coordinator", coordinator), federation.coordinator()
    if new == _NOBODY:
        raise UsageError("the zero address can open no round: name the account that shall coordinate")
    if new == old:
        raise UsageError(f"{new} is the coordinator already: name another account")
    number = federation.current_round()
    live = number > 0 and not federation.round(number).state.is_over
    since = f"from the next round on; {old} brings round {number} to its end" if live else "from now on"
    return Plan(
        f"{new} opens rounds and proposes in place of {old}, {since}; it needs "
        f"{money(federation, federation.security().bond)} for the bond of a proposal (fedvm coordinator deposit)",
        federation.replace_coordinator(new),
        federation.owner(),
    )


def deposit(federation: FederationContract, who: str, amount: int) -> Plan:
    """Pay in for bonds."""
    return Plan(
        f"{who} pays in {money(federation, _wei('the deposit', amount))} for bonds, "
        f"{money(federation, federation.owed(who) + amount)} in all; it can withdraw what no bond holds",
        federation.deposit(amount),
        federation.owner(),
    )


# Versions of a service


@dataclass(frozen=True)
class VersionRow:
    """A version of a service: where it comes from, what it costs, and how it stands ("serves", "has served" or how its
    trial stands). federation: address, "" for none; gas: what each answer is given; fee in wei;
    updates' and treasury's earnings in wei."""

    id: int
    state: str
    program: str
    gas: int
    federation: str
    round: int
    fee: int
    treasury: str
    treasury_ppm: int
    earned_per_update: int


def versions(service: ModelService) -> list[VersionRow]:
    """All versions that were registered, in order."""
    return [_row(service, number) for number in range(1, service.version_count() + 1)]


def rollback(service: ModelService, number: int) -> Plan:
    """Let an older version serve again."""
    _require_version(service, number)
    current = service.current_version()
    if number == current:
        raise UsageError(f"version {number} serves already. fedvm service versions lists the others")
    return Plan(
        f"Version {number} serves in place of version {current} from now on; decisions that expect another version are "
        f"refused, and each costs {money(service, service.fee_terms(number).amount)}",
        service.rollback(number),
        service.owner(),
    )


def set_fee(
    service: ModelService, number: int, amount: int, treasury: str | None, treasury_share: float | None
) -> Plan:
    """Set what decisions by a version cost; of treasury and share (0 … 1), None for what they are, at first the owner's
    address and nothing."""
    _require_version(service, number)
    before, owner = service.fee_terms(number), service.owner()
    known = before.treasury if int(before.treasury, 16) else owner
    ppm = before.treasury_ppm if treasury_share is None else round(treasury_share * PPM)
    kept = known if treasury is None else checked_address("treasury", treasury)
    terms = FeeTerms(_wei("the fee", amount), kept, ppm)
    rest = f"{ppm / 10_000:g} % goes to {kept}, the rest in equal shares to the updates that counted in its round"
    if not service.version(number).has_lineage:
        rest = f"all of it goes to {kept}, since the version comes from no federation"
    return Plan(
        f"Each later decision by version {number} costs {money(service, amount)} (now {before.amount} wei)"
        + (f"; {rest}" if amount else ""),
        service.set_fee(number, terms),
        owner,
    )


def money(contract: FederationContract | ModelService, wei: int) -> str:
    """An amount with its currency, where it is more than dust."""
    currency = network_of(contract.w3).currency
    return f"{wei:,} wei" if wei < 10**12 else f"{wei:,} wei ({wei / 1e18:.6g} {currency})"


def _row(service: ModelService, number: int) -> VersionRow:
    version, terms = service.version(number), service.fee_terms(number)
    return VersionRow(
        number,
        _standing(service, number),
        version.program,
        version.gas,
        version.federation if version.has_lineage else "",
        version.round,
        terms.amount,
        terms.treasury if int(terms.treasury, 16) else "",
        terms.treasury_ppm,
        service.earnings(number).per_update,
    )


def _standing(service: ModelService, number: int) -> str:
    if number == service.current_version():
        return "serves"
    gate = service.gate()
    state = TrialState.PASSED if gate is None else gate.trial(number).state
    return "has served" if state is TrialState.PASSED else f"trial {state.name.lower()}"


def _require_version(service: ModelService, number: int) -> None:
    count = service.version_count()
    if not 1 <= number <= count:
        there = f"versions 1 to {count} are" if count > 1 else "version 1 alone is" if count else "none is"
        raise UsageError(f"there is no version {number}: {there} registered (fedvm service versions)")


def _addresses(name: str, texts: Sequence[str]) -> list[str]:
    addresses = [checked_address(name, text) for text in texts]
    if len(set(addresses)) != len(addresses):
        raise UsageError("an address is named twice: name each once")
    if _NOBODY in addresses:
        raise UsageError("the zero address is nobody's: leave it out")
    return addresses


def _wei(what: str, amount: int) -> int:
    if not 0 <= amount < _UINT96:
        raise UsageError(f"{what} is {amount} wei; it must be between 0 and 2^96 − 1")
    return amount


def _duration(seconds: int) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds} seconds"
