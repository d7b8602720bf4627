"""Keys that sign for a member: which ones do, and checks on the chain before one is appointed."""

from __future__ import annotations

from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from eth_utils.address import is_address, to_checksum_address

from fedvm.chain.errors import AddressError
from fedvm.chain.federation import FederationContract
from fedvm.chain.filecoin_address import from_filecoin, is_filecoin_text
from fedvm.chain.rule_book import NO_KEY, RuleBookContract
from fedvm.federation.errors import SettingsError
from fedvm.protocol import Domain, SignatureError
from fedvm.protocol.consent import KeyProof


@dataclass(frozen=True)
class SigningKeys:
    """Which key beside its own signs for a member in the latest round, and which in the next: checksummed addresses, ""
    for none. is_contract: the member has no key of its own."""

    member: str
    latest_round: int
    now: str
    then: str
    is_contract: bool

    def describe(self) -> str:
        """One line for the latest round and one for the next, or a single line if nothing changes."""
        if self.now == self.then and self.latest_round:
            return f"Now: {self._who(self.then)}"
        latest, following = f"In round {self.latest_round}", f"From round {self.latest_round + 1} on"
        lines = [f"{latest}: {self._who(self.now)}"] if self.latest_round else []
        return "\n".join([*lines, f"{following}: {self._who(self.then)}"])

    def _who(self, key: str) -> str:
        if self.is_contract:
            return f"{key or 'nobody'} signs for {self.member}, a contract"
        return f"{key} signs for {self.member}, beside its own key" if key else f"{self.member} signs itself"


def signing_keys(contract: FederationContract, member: str) -> SigningKeys:
    """Who signs for a member (hex address). Raises SettingsError if the text is no address."""
    address, book = checked_address("member", member), book_of(contract)
    latest = contract.current_round()
    now, then = (book.key_of(address, number) for number in (latest, latest + 1))
    return SigningKeys(
        address,
        latest,
        now and to_checksum_address(now),
        then and to_checksum_address(then),
        bool(contract.w3.eth.get_code(to_checksum_address(address))),
    )


def book_of(contract: FederationContract) -> RuleBookContract:
    """The contract that appoints keys for a federation's members."""
    return RuleBookContract(contract.w3, contract.rule_book(), sender=contract.sender)


def prove_key(contract: FederationContract, key: LocalAccount, member: str) -> bytes:
    """The key's proof, 65 bytes, that it is to sign for a member (hex address): for its next appointment and no other.

    Raises SettingsError: the text is no address, or the key is a member itself or signs for another one.
    """
    address, book = checked_address("member", member), book_of(contract)
    _require_free(contract, address, str(key.address))
    domain = Domain(contract.w3.eth.chain_id, contract.address)
    return KeyProof(address, book.key_nonce(str(key.address))).sign(domain, bytes(key.key))


def require_appointable(contract: FederationContract, member: str, key: str | None, proof: bytes) -> None:
    """Refuse an appointment that the contract would refuse, or that would be useless.

    key: hex address, None to appoint no key. proof: of the key, see `prove_key`.

    Raises SettingsError: the account is not a member; or the key is not an address, belongs to a contract or a member,
    signs for another account, or did not make the proof.
    """
    if not contract.is_member(member):
        raise SettingsError(f"{member} is no member of {contract.address}, so no key could sign for it")
    if key is None:
        return
    address = checked_address("key", key)
    if address == NO_KEY:
        raise SettingsError(
            "the zero address is no key; to have no key but the member's own, take the key back"
        )
    if contract.w3.eth.get_code(to_checksum_address(address)):
        raise SettingsError(f"{address} is a contract, which signs nothing; name the address of a key")
    _require_free(contract, member, address)
    domain = Domain(contract.w3.eth.chain_id, contract.address)
    wanted = KeyProof(member, book_of(contract).key_nonce(address))
    try:
        is_proved = wanted.signer(domain, proof) == address
    except SignatureError:
        is_proved = False
    if not is_proved:
        raise SettingsError(
            f"NotProved: {address} did not sign that it is to sign for {member}, or has since been appointed or given "
            f"up; whoever holds it makes a proof: fedvm keys prove KEY_FILE --member {member}"
        )


def _require_free(contract: FederationContract, member: str, key: str) -> None:
    """Raises SettingsError if a key (checksummed address) signs for itself or for another account than the member."""
    if key == member or contract.is_member(key):
        raise SettingsError(
            f"SignsForItself: {key} is a member, whose updates would be passed off as another's; make a key of "
            "its own: fedvm keys new"
        )
    holder = book_of(contract).appointed_by(key)
    if holder not in ("", member):
        raise SettingsError(
            f"KeyTaken: {key} signs for {holder}, until that account appoints another or the key gives itself up "
            "(fedvm keys give-up); make another key: fedvm keys new"
        )


def checked_address(name: str, text: str) -> str:
    """The text, 0x… or Filecoin's f410f… or t410f…, as a checksummed 0x address. Raises SettingsError, naming what the
    address is for, if it is none."""
    if is_filecoin_text(text):
        try:
            return from_filecoin(text)
        except AddressError as error:
            raise SettingsError(f"the {name}: {error}") from None
    if not is_address(text):
        raise SettingsError(
            f"the {name} is {text!r}, not an address (0x and 40 hexadecimal digits, or f410f… or t410f… on Filecoin)"
        )
    return str(to_checksum_address(text))
