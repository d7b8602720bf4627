"""Updates that a client keeps, and what it submits of them itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from eth_account import Account

import conditions
from fedvm.federation.client.kept import keep_update, read_kept_update
from fedvm.federation.commitment import Attestation, SignedUpdate, commit
from fedvm.federation.errors import CommitmentError
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import Domain
from fedvm.protocol.address import to_address

DOMAIN = Domain(31_415_926, to_address("0x" + "ab" * 20))
KEY = "0x" + "42" * 32


def signed_update() -> SignedUpdate:
    rules = conditions.rules(elements=150)
    terms = RoundTerms(DOMAIN, 3, rules, b"\7" * 32, 2_000_000_000)
    return commit(np.arange(-75, 75, dtype=np.int32), terms, Attestation(10, 0.5, 1.0), KEY)


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    signed = signed_update()
    path = keep_update(tmp_path, DOMAIN, signed)
    assert path == tmp_path / DOMAIN.federation / "round-3.json"
    assert path.with_suffix(".int32").stat().st_size == 4 * 150
    kept = read_kept_update(path)
    assert kept.domain == DOMAIN
    assert kept.signed.submission == signed.submission and kept.signed.member == Account.from_key(KEY).address
    assert (kept.signed.vector == signed.vector).all()


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = keep_update(tmp_path, DOMAIN, signed_update())
    path.with_suffix(".int32").write_bytes(b"\0" * 4)
    with pytest.raises(CommitmentError, match=r"round-3\.json holds no kept update"):
        read_kept_update(path)
    for text in ("{}", "not JSON"):
        path.write_text(text)
        with pytest.raises(CommitmentError, match=r"round-3\.json holds no kept update"):
            read_kept_update(path)
    with pytest.raises(CommitmentError, match="none"):
        read_kept_update(tmp_path / "none.json")
