"""Keys of the embedded chain, derived from a run's seed.

They guard nothing but a simulation and are as public as the seed. Keys for real networks come from
:mod:`fedvm.chain.keys` and never touch a run directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress

from fedvm.chain.errors import ChainError
from fedvm.evm.keccak import keccak

FUNDED_ROLES: Mapping[str, int] = {"owner": 1, "coordinator": 1, "user": 4, "member": 64}
"""Role → number of accounts that own funds from genesis on."""

_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def derive_account(seed: int, role: str, index: int = 0) -> LocalAccount:
    """The account of a role: key = 1 + keccak(abi.encode("FedVM embedded account", seed, role, index)) mod
    (n − 1).

    ``seed`` and ``index`` are unsigned 256-bit integers.
    """
    if seed < 0 or index < 0 or not role:
        raise ChainError(f"seed and index must be ≥ 0 and the role named; got {seed}, {role!r}, {index}")
    preimage = encode(
        ["string", "uint256", "string", "uint256"], ["FedVM embedded account", seed, role, index]
    )
    key = 1 + int.from_bytes(keccak(preimage), "big") % (_SECP256K1_ORDER - 1)
    account: LocalAccount = Account.from_key(key.to_bytes(32, "big"))
    return account


@dataclass
class Keyring:
    """The accounts of one embedded chain, derived when first asked for."""

    seed: int
    funded: Mapping[str, int]
    _by_role: dict[tuple[str, int], LocalAccount] = field(default_factory=dict, repr=False)

    def account(self, role: str, index: int = 0) -> LocalAccount:
        key = (role, index)
        if key not in self._by_role:
            self._by_role[key] = derive_account(self.seed, role, index)
        return self._by_role[key]

    def funded_accounts(self) -> list[LocalAccount]:
        return [self.account(role, index) for role, count in self.funded.items() for index in range(count)]

    def find(self, address: str) -> LocalAccount | None:
        """The account of an address, if it was asked for before or is a funded one."""
        return self._find(address) or (self.funded_accounts() and self._find(address)) or None

    def addresses(self) -> list[ChecksumAddress]:
        return [account.address for account in self.funded_accounts()]

    def _find(self, address: str) -> LocalAccount | None:
        wanted = address.lower()
        return next((a for a in self._by_role.values() if a.address.lower() == wanted), None)
