"""Why a masked update may not count, judged again as `SealedRounds` judges a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedvm.protocol import Domain, Refusal, Rules, SignatureError
from fedvm.protocol.sealed.records import SealedSubmission
from fedvm.protocol.sealed.typed_data import Masked
from fedvm.protocol.verdict import attested_checks, signs_for


@dataclass(frozen=True)
class Expected:
    """What an update of a round must state. base_root, epoch_root: 32 bytes; closed_at: Unix seconds."""

    rules: Rules
    round: int
    base_root: bytes
    epoch_root: bytes
    closed_at: int

    def refusal(self, masked: Masked) -> Refusal:
        """Why the rules do not take an update; who signed it is not looked at."""
        checks = (
            (masked.round == self.round, Refusal.WRONG_ROUND),
            (masked.rules_hash == self.rules.digest(), Refusal.WRONG_RULES),
            ((masked.base_root, masked.epoch_root) == (self.base_root, self.epoch_root), Refusal.WRONG_BASE),
            (self.closed_at <= masked.deadline, Refusal.EXPIRED),
            (masked.examples >= self.rules.min_examples, Refusal.TOO_FEW_EXAMPLES),
            *attested_checks(masked, self.rules),
        )
        return next((reason for holds, reason in checks if not holds), Refusal.NONE)


def signer_of(one: SealedSubmission, domain: Domain) -> str:
    """Checksummed address of the key that signed, "" if no key can have."""
    try:
        return one.masked.signer(domain, one.signature)
    except SignatureError:
        return ""


def is_signed(one: SealedSubmission, domain: Domain, key_of: Callable[[str], str]) -> bool:
    """Whether the member or the key that it appointed signed."""
    return signs_for(signer_of(one, domain), one.member, key_of)
