"""Filecoin's text form of addresses: published pairs, every damage to them, and what the EVM cannot name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedvm.chain.errors import AddressError
from fedvm.chain.filecoin_address import filecoin_address, from_filecoin, is_filecoin_text
from fedvm.federation.client.appointment import checked_address
from fedvm.federation.errors import SettingsError

PUBLISHED = [  # docs.filecoin.io, npm filecoin-address-tool, pub.dev filecoin_address
    ("0xd388ab098ed3e84c0d808776440b48f685198498", "f410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy"),
    ("0xccA92338Ef9535cB7655CfC347c36dd4E6F3663f", "f410fzsusgohpsu24w5svz7bupq3n2ttpgzr7s5jap4i"),
    ("0xd4c5fb16488aa48081296299d54b0c648c9333da", "f410f2tc7wfsirksibajjmkm5ksymmsgjgm62hjnomwa"),
]


@pytest.mark.parametrize(("address", "text"), PUBLISHED)
def test_published_pairs(address: str, text: str) -> None:
    assert filecoin_address(address, testnet=False) == text
    assert filecoin_address(address, testnet=True) == "t" + text[1:]
    for written in (text, "t" + text[1:], text.upper(), f" {text}\n"):
        assert from_filecoin(written).lower() == address.lower()


@given(st.binary(min_size=20, max_size=20), st.booleans())
def test_there_and_back(payload: bytes, testnet: bool) -> None:
    address = "0x" + payload.hex()
    assert from_filecoin(filecoin_address(address, testnet=testnet)).lower() == address


def test_every_wrong_letter_is_found() -> None:
    _, text = PUBLISHED[0]
    for place in range(6, len(text)):
        for letter in "a7q":
            if letter != text[place]:
                with pytest.raises(AddressError):
                    from_filecoin(text[:place] + letter + text[place + 1 :])


def test_actors_without_another_address() -> None:
    masked = "0xff" + "00" * 11 + f"{1234:016x}"
    assert from_filecoin("t01234").lower() == masked
    assert filecoin_address(masked, testnet=False) == "f01234"
    for text in ("f0", "f001", "f018446744073709551616", "f0x"):
        with pytest.raises(AddressError):
            from_filecoin(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("f1abjxfbp274xpdqcpuaykwkfb43omjotacm2p3za", "contracts cannot name"),
        ("f410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gm", "39 letters"),
        ("f409f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy", "39 letters"),
        ("", "39 letters"),
    ],
)
def test_what_is_no_address(text: str, says: str) -> None:
    with pytest.raises(AddressError, match=says):
        from_filecoin(text)


def test_options_take_either_form() -> None:
    address, text = PUBLISHED[0]
    assert checked_address("member", text).lower() == checked_address("member", address).lower() == address
    assert not is_filecoin_text(address) and not is_filecoin_text("0xf410")
    with pytest.raises(SettingsError, match=r"the member: .*checksum"):
        checked_address("member", text[:-1] + "a")
    with pytest.raises(SettingsError, match="f410f…"):
        checked_address("member", "0x12")
