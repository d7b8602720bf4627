from dataclasses import fields, replace

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st
from make_vectors import TYPES

import conditions
from fedvm.protocol import (
    Domain,
    EncodingError,
    RangeError,
    Rules,
    SignatureError,
    Update,
    recover_signer,
    sign_update,
    update_digest,
    verify_update_signature,
)

KEY = "0x" + "11" * 32
MEMBER = Account.from_key(KEY).address
DOMAIN = Domain(31415926, "0x" + "fe" * 20)
UPDATE = Update(
    1, bytes(32), b"\x01" * 32, b"\x02" * 32, 5, 64, 16, 100, 900_000, 300_000, 10, 0, 2_000_000_000, b"\x01U"
)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def uint(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


word = st.binary(min_size=32, max_size=32)
anything = st.builds(
    Update,
    uint(64), word, word, word, uint(128), uint(64), uint(8), uint(32), uint(32), uint(64), uint(32),
    uint(64), uint(64), st.binary(min_size=1, max_size=64),
)  # fmt: skip
domains = st.builds(Domain, uint(256), st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex()))


@given(anything, domains)
def test_the_digest_is_eth_accounts(update: Update, domain: Domain) -> None:
    names = [field["name"] for field in TYPES["Update"]]
    message = {
        "types": {name: TYPES[name] for name in ("EIP712Domain", "Update")},
        "primaryType": "Update",
        "domain": {
            "name": "FedVM",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": domain.federation,
        },
        "message": dict(zip(names, update.as_tuple(), strict=True)),
    }
    signable = encode_typed_data(full_message=message)
    assert (domain.separator(), update.struct_hash()) == (signable.header, signable.body)
    signature = sign_update(update, domain, KEY)
    assert signature == Account.sign_message(signable, KEY).signature
    assert recover_signer(update, domain, signature) == MEMBER


CHANGED = {
    "round": 2, "rules_hash": b"\x09" * 32, "base_root": b"\x09" * 32, "update_root": b"\x09" * 32,
    "sum_squares": 6, "elements": 65, "fraction_bits": 17, "examples": 101, "accuracy_ppm": 900_001,
    "loss_micros": 300_001, "labels": 11, "epsilon_micros": 1, "deadline": 2_000_000_001, "cid": b"\x01V",
}  # fmt: skip


def test_every_field_is_signed() -> None:
    signature = sign_update(UPDATE, DOMAIN, KEY)
    assert set(CHANGED) == {field.name for field in fields(Update)}
    for name, value in CHANGED.items():
        with pytest.raises(SignatureError, match="was signed by"):
            verify_update_signature(replace(UPDATE, **{name: value}), DOMAIN, signature, MEMBER)
    for domain in (Domain(1, DOMAIN.federation), Domain(DOMAIN.chain_id, "0x" + "fd" * 20)):
        with pytest.raises(SignatureError, match="was signed by"):
            verify_update_signature(UPDATE, domain, signature, MEMBER)
    verify_update_signature(UPDATE, DOMAIN, signature, MEMBER)
    verify_update_signature(UPDATE, DOMAIN, signature, MEMBER.lower())


def test_the_malleable_twin_is_refused() -> None:
    signature = sign_update(UPDATE, DOMAIN, KEY)
    s = ORDER - int.from_bytes(signature[32:64])
    twin = signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]])
    with pytest.raises(SignatureError, match="upper half"):
        recover_signer(UPDATE, DOMAIN, twin)


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (b"", "65 bytes"),
        (bytes(64), "65 bytes"),
        (bytes(65), "v is 0"),
        (bytes(64) + b"\x1b", "no key"),
        (b"\xff" * 32 + bytes(31) + b"\x01\x1b", "no key"),
    ],
)
def test_malformed_signatures_are_refused(signature: bytes, message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        recover_signer(UPDATE, DOMAIN, signature)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"round": -1}, RangeError, "round is -1"),
        ({"sum_squares": 2**128}, RangeError, "outside uint128"),
        ({"fraction_bits": 256}, RangeError, "outside uint8"),
        ({"examples": 2.0}, EncodingError, "examples must be an integer, not float"),
        ({"accuracy_ppm": True}, EncodingError, "not bool"),
        ({"base_root": bytes(31)}, EncodingError, "base_root must hold 32 bytes, not 31"),
        ({"base_root": "0x00"}, EncodingError, "base_root must be bytes"),
        ({"cid": b""}, EncodingError, "cid must be a binary CIDv1"),
        ({"cid": bytes(65)}, EncodingError, "cid must be a binary CIDv1"),
    ],
)
def test_fields_are_checked(change: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(UPDATE, **change)


def test_rules_are_checked_and_every_one_is_hashed() -> None:
    rules = conditions.rules(min_clients=1, min_examples=2, max_examples=3)
    hashes = {rules.digest()}
    for field in fields(Rules):
        other: object = b"\x01" * 32 if field.name == "aggregator" else 99
        hashes.add(replace(rules, **{field.name: other}).digest())
    assert len(hashes) == 1 + len(fields(Rules))
    with pytest.raises(RangeError, match=r"rules\.min_clients is 4294967296, outside uint32"):
        replace(rules, min_clients=2**32)
    with pytest.raises(EncodingError, match=r"rules\.aggregator must hold 32 bytes, not 2"):
        replace(rules, aggregator=b"\x01\x01")
    assert [rules.weight(examples) for examples in (1, 3, 50)] == [1, 3, 3]


@given(st.data(), st.integers(2, 40), st.integers(1, 1000))
def test_no_update_exceeds_its_share(data: st.DataObject, clients: int, least: int) -> None:
    lowest = -(-1_000_000 // clients)  # the share of each when all weigh the same
    share = data.draw(st.integers(lowest, 999_999))
    rules = conditions.rules(min_clients=clients, min_examples=least, max_examples=2**20, max_share_ppm=share)
    assert rules.max_weight >= least
    assert replace(rules, max_share_ppm=lowest - 1).max_weight < least
    examples = data.draw(st.lists(st.integers(least, 2**32 - 1), min_size=clients, max_size=clients + 3))
    weights = [rules.weight(count) for count in examples]
    assert all(weight * 1_000_000 <= share * sum(weights) for weight in weights)
    # The bound is the best there is: one more would exceed the share among the least the others can weigh.
    over, others = rules.max_weight + 1, (clients - 1) * least
    assert rules.max_weight == 2**20 or over * 1_000_000 > share * (over + others)


def test_without_a_share_the_cap_is_that_of_the_examples() -> None:
    assert conditions.rules(max_examples=500).max_weight == 500


def test_the_digest_has_the_eip_712_prefix() -> None:
    assert update_digest(UPDATE, DOMAIN) == keccak(b"\x19\x01" + DOMAIN.separator() + UPDATE.struct_hash())
