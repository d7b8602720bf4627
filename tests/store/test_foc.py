"""Filecoin Onchain Cloud, against a provider on the loopback: what is paid for once, and what is not believed."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from pdp_server import CHAIN, PAYEE, SERVICE, Pdp, hang_up, hang_up_after, provider, says

from fedvm.store import MissingBlock, ReadOnlyStore, StoreError, cid_of, open_store
from fedvm.store.foc import SETTINGS, OnchainCloud
from fedvm.store.http import Patience
from fedvm.store.pdp import Provider, UploadRefused, Waiting
from fedvm.store.piece import piece_of
from fedvm.store.warm_storage import Client, cid_bytes

KEY = "0x" + "41" * 32
HASTY, BRIEF = Patience(attempts=2, pause=0.01, seconds=5, rest=0), Waiting(seconds=1.0, pause=0.01)
DATA = random.Random(3).randbytes(3_000_000)


@pytest.fixture
def pdp() -> Iterator[Pdp]:
    with provider(Account.from_key(KEY).address) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return state(tmp_path, monkeypatch)


def state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    key, file = folder / "payer.key", folder / "foc.toml"
    key.write_text(KEY)
    key.chmod(0o600)
    file.write_text(f'chain_id = {CHAIN}\nservice = "{SERVICE}"\npayee = "{PAYEE}"\nkey_file = "payer.key"\n')
    monkeypatch.setenv(SETTINGS, str(file))
    return file


def store_at(pdp: Pdp) -> OnchainCloud:
    return OnchainCloud(f"foc+http://{pdp.url}", HASTY, BRIEF)


def journal_of(settings: Path) -> list[dict[str, object]]:
    (file,) = settings.parent.glob("*.journal")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_signatures_are_those_of_the_contract() -> None:
    """Made by the service's own tests in Solidity, as the SDK's fixtures have them."""
    key = "0x1234567890123456789012345678901234567890123456789012345678901234"
    client = Client(Account.from_key(key), 31337, "0x5615dEB798BB3E4dFa0139dFa1b3D433Cc23b72f")
    made = client.creation(12345, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", [("title", "TestDataSet")])
    assert made.hex().count(
        "c77965e2b6efd594629c44eb61127bc3133b65d08c25f8aa33e3021e7f46435845ab67ffbac96afc4b4671ecbd32d486"
        "9ca7fe1c0eaa5affa942d0abbfd98d601b"
    )
    pieces = [
        "bafkzcibcauan42av3szurbbscwuu3zjssvfwbpsvbjf6y3tukvlgl2nf5rha6pa",
        "bafkzcibcpybwiktap34inmaex4wbs6cghlq5i2j2yd2bb2zndn5ep7ralzphkdy",
    ]
    assert [cid_bytes(one).hex() for one in pieces] == [
        "01559120220500de6815dcb348843215a94de532954b60be550a4bec6e74555665e9a5ec4e0f3c",
        "01559120227e03642a607ef886b004bf2c1978463ae1d4693ac0f410eb2d1b7a47fe205e5e750f",
    ]
    from fedvm.store.warm_storage import _TYPES, _USED

    # The fixture is of when the nonce was called firstAdded; nothing else differs.
    types = json.loads(json.dumps({name: _TYPES[name] for name in _USED["AddPieces"]}))
    types["AddPieces"][1]["name"] = "firstAdded"
    message = {
        "clientDataSetId": 12345,
        "firstAdded": 1,
        "pieceData": [{"data": cid_bytes(one)} for one in pieces],
        "pieceMetadata": [{"pieceIndex": index, "metadata": []} for index in range(2)],
    }
    domain = {
        "name": "FilecoinWarmStorageService",
        "version": "1",
        "chainId": 31337,
        "verifyingContract": client.service,
    }
    signed = Account.from_key(key).sign_message(encode_typed_data(domain, types, message))
    assert signed.signature.hex().removeprefix("0x") == (
        "215d2d6ea06c7daad46e3e636b305885c7d09aa34420e8dbace032af03cae06224cf678da808c7f1026b08ccf51f3d5d"
        "53351b935f5eee9750b80e78caffaaa91c"
    )


def test_what_is_put_is_uploaded_proved_and_read_by_anybody(
    pdp: Pdp, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pdp.slow = 3
    store = store_at(pdp)
    small, large = store.put(b"x"), store.put(DATA)
    assert (small, large) == (str(cid_of(b"x")), str(cid_of(DATA)))
    assert [len(pieces) for pieces in pdp.data_sets.values()] == [2]  # the second is added to the same one
    assert all(len(car) >= 127 for car in pdp.parked.values())
    assert pdp.count("PUT ") == 2 and pdp.count("POST /pdp/data-sets/create-and-add") == 1
    assert store_at(pdp).put(DATA) == large and pdp.count("PUT ") == 2  # nothing is paid for twice
    monkeypatch.delenv(SETTINGS)
    reader = store_at(pdp)
    assert reader.get(large) == DATA and reader.get(small) == b"x"
    with pytest.raises(ReadOnlyStore, match=SETTINGS):
        reader.put(b"y")
    with pytest.raises(MissingBlock):
        reader.get(str(cid_of(b"never there")))
    assert isinstance(open_store(f"foc+http://{pdp.url}"), OnchainCloud)


def test_many_are_added_by_few_transactions(pdp: Pdp, settings: Path) -> None:
    store = store_at(pdp)
    for number in range(40):
        store.stage(bytes([number]) * 200)
    assert pdp.data_sets == {}
    store.sync()
    assert [len(one.pieces) for one in pdp.transactions.values()] == [32, 8]
    assert len(set(pdp.data_sets[11])) == 40
    store.sync()
    assert len(pdp.transactions) == 2


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize(
    ("begins", "misdeed"),
    [
        ("POST /pdp/piece/uploads", hang_up),
        ("POST /pdp/piece/uploads", says(503)),
        ("PUT /pdp/piece/uploads/", hang_up),
        ("PUT /pdp/piece/uploads/", hang_up_after),
        ("PUT /pdp/piece/uploads/", says(500, b"Failed to store piece data")),
        ("POST /pdp/piece/uploads/", hang_up_after),
        ("POST /pdp/piece/uploads/", says(500, b"Database error")),
        ("GET /pdp/piece", says(429, b"", {"Retry-After": "0"})),
        ("GET /pdp/data-sets/created/", hang_up),
        ("POST /pdp/data-sets/create-and-add", says(503)),
    ],
)
def test_what_fails_once_is_done_again(pdp: Pdp, settings: Path, begins: str, misdeed: object) -> None:
    pdp.misdeeds.append((begins, misdeed))  # type: ignore[arg-type]
    cid = store_at(pdp).put(DATA[:1000])
    assert not pdp.misdeeds and store_at(pdp).get(cid) == DATA[:1000]
    assert [len(pieces) for pieces in pdp.data_sets.values()] == [1] and len(pdp.transactions) == 1


@pytest.mark.parametrize(
    ("begins", "misdeed", "complaint"),
    [
        ("POST /pdp/piece/uploads", says(401, b"Unauthorized: \x1b[2Jno"), "refused an upload: 401, Unauthorized"),
        ("POST /pdp/piece/uploads", says(201, b"", {"Location": "http://elsewhere/steal"}), "refused an upload"),
        ("GET /pdp/piece", says(200, {"pieceCid": "bafkzcibother"}), "has 'bafkzcibother'"),
        ("GET /pdp/piece", says(200, b"<html>"), "and has 'None'"),
        ("GET /pdp/piece", says(500, b"Database error"), "refused to look for a piece: 500"),
        ("PUT ", says(413, b"piece data exceeds the maximum allowed size"), "takes no piece of"),
        ("POST /pdp/data-sets/create-and-add", says(201, b"", {"Location": "/nowhere"}), "refused to create"),
        ("POST /pdp/data-sets/create-and-add", says(403, b"recordKeeper address not allowed"), "not allowed"),
        ("GET /pdp/data-sets/created/", says(200, {"txStatus": "confirmed", "dataSetCreated": True, "dataSetId": "1"}),
         "does not say which"),
    ],
)  # fmt: skip
def test_what_a_provider_may_not_say_is_an_error(
    pdp: Pdp, settings: Path, begins: str, misdeed: object, complaint: str
) -> None:
    pdp.misdeeds.extend([(begins, misdeed)] * 3)  # type: ignore[list-item]
    with pytest.raises(StoreError, match=complaint) as failed:
        store_at(pdp).put(DATA[:1000])
    assert "\x1b" not in str(failed.value)
    pdp.misdeeds.clear()
    assert store_at(pdp).put(DATA[:1000]) == str(cid_of(DATA[:1000]))  # and the same goes on
    assert [len(set(pieces)) for pieces in pdp.data_sets.values()] == [1]


def test_a_piece_under_anothers_name_is_refused(pdp: Pdp) -> None:
    wrong = piece_of(io.BytesIO(DATA[:500])).cid_v2
    with pytest.raises(UploadRefused, match="Computed hash does not match"):
        Provider(f"http://{pdp.url}", HASTY, BRIEF).upload(wrong, DATA[:600])
    with pytest.raises(UploadRefused, match="127 to 1,065,353,216 bytes, not 126"):
        Provider(f"http://{pdp.url}", HASTY, BRIEF).upload(wrong, bytes(126))
    assert pdp.parked == {} and pdp.count("PUT ") == 1


def test_a_park_that_takes_too_long_is_said_and_goes_on_later(pdp: Pdp, settings: Path) -> None:
    pdp.slow = 10**6
    with pytest.raises(StoreError, match="has not parked piece"):
        store_at(pdp).put(DATA[:1000])
    for piece in pdp.working:
        pdp.working[piece] = 0
    store_at(pdp).put(DATA[:1000])
    assert len(pdp.parked) == 1 and [len(one) for one in pdp.data_sets.values()] == [1]


def test_a_refusal_of_the_chain_is_said_and_asked_again(pdp: Pdp, settings: Path) -> None:
    pdp.rejects = 1
    with pytest.raises(StoreError, match="the chain refused 0x"):
        store_at(pdp).put(DATA[:1000])
    assert store_at(pdp).put(DATA[:1000]) and [len(one) for one in pdp.data_sets.values()] == [1]
    pdp.rejects = 1
    with pytest.raises(StoreError, match="has the client deposited enough"):
        store_at(pdp).put(b"more" * 100)
    store_at(pdp).put(b"more" * 100)
    assert [len(set(one)) for one in pdp.data_sets.values()] == [2] and len(pdp.data_sets[11]) == 2


def test_an_addition_whose_answer_is_lost_is_not_made_twice(pdp: Pdp, settings: Path) -> None:
    store_at(pdp).put(b"first" * 100)
    pdp.misdeeds = [("POST /pdp/data-sets/11/pieces", hang_up_after)]
    store = store_at(pdp)
    with pytest.raises(StoreError, match="execution reverted"):  # its consent is used up
        store.put(DATA[:1000])
    store_at(pdp).sync()
    assert pdp.data_sets[11] == list(dict.fromkeys(pdp.data_sets[11])) and len(pdp.data_sets[11]) == 2
    assert len(pdp.transactions) == 2


def test_a_creation_whose_answer_is_lost_says_how_to_go_on(pdp: Pdp, settings: Path) -> None:
    pdp.misdeeds = [("POST /pdp/data-sets/create-and-add", hang_up_after)]
    with pytest.raises(StoreError, match=r'add the line \{"data_set": NUMBER\}'):
        store_at(pdp).put(DATA[:1000])
    (file,) = settings.parent.glob("*.journal")
    with file.open("a") as stream:
        stream.write('{"data_set": 11}\n')
    store_at(pdp).sync()
    store_at(pdp).put(b"more" * 100)
    assert [len(one) for one in pdp.data_sets.values()] == [2] and len(pdp.transactions) == 2


CHILD = """
import os, sys
from fedvm.store.foc import OnchainCloud
from fedvm.store.http import Patience
from fedvm.store.pdp import Waiting
store = OnchainCloud(sys.argv[1], Patience(), Waiting(60, 0.02))
for number in range(6):
    store.put(bytes([number]) * 5000)
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("requests", [2, 5, 8, 14, 21])
def test_a_killed_process_goes_on_where_it_was(pdp: Pdp, settings: Path, requests: int) -> None:
    """However far it came, each artefact is uploaded and added once."""
    command = [sys.executable, "-c", CHILD, f"foc+http://{pdp.url}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        ends = time.monotonic() + 60
        while len(pdp.requests) < requests and time.monotonic() < ends:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(0.2)  # what the provider was doing
    entries = journal_of(settings)
    asked = bool(entries) and "asking" in entries[-1]
    if (
        asked and entries[-1]["create"] and pdp.data_sets
    ):  # the answer was on its way: the one case for a person
        (file,) = settings.parent.glob("*.journal")
        with file.open("a") as stream:
            stream.write('{"data_set": 11}\n')
    ended = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=100)
    assert ended.stdout.strip() == "done", ended.stderr
    assert [len(one) for one in pdp.data_sets.values()] == [6] and len(set(pdp.data_sets[11])) == 6
    for number in range(6):
        assert store_at(pdp).get(str(cid_of(bytes([number]) * 5000))) == bytes([number]) * 5000


def test_a_line_that_was_cut_off_is_left_out_and_a_false_one_named(pdp: Pdp, settings: Path) -> None:
    store_at(pdp).put(DATA[:1000])
    (file,) = settings.parent.glob("*.journal")
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"parked": "bafkz')
    store_at(pdp).put(b"more" * 100)
    assert b"bafkz\n" not in file.read_bytes() and len(pdp.data_sets[11]) == 2
    file.write_bytes(whole + b'{"unheard": 1}\n')
    with pytest.raises(StoreError, match=r"line \d+, is no entry of a journal"):
        store_at(pdp).put(b"still more" * 100)
    file.write_bytes(whole + b'{"data_set": 1e400}\n')
    with pytest.raises(StoreError, match=r"line \d+, is no entry of a journal"):
        store_at(pdp).put(b"still more" * 100)


def test_what_the_provider_has_forgotten_does_not_stand_in_the_way(pdp: Pdp, settings: Path) -> None:
    for first in (True, False):  # with a new data set, and into one
        store = store_at(pdp)
        store.stage(b"forgotten" * 100 * (1 + first))
        pdp.parked.clear()
        with pytest.raises(StoreError, match=r"has forgotten 1 artefacts .* give the command again"):
            store.sync()
        store.put(b"another" * 100 * (1 + first))
        store.put(b"forgotten" * 100 * (1 + first))
        assert store.get(str(cid_of(b"forgotten" * 100 * (1 + first)))) == b"forgotten" * 100 * (1 + first)
    assert [len(set(one)) for one in pdp.data_sets.values()] == [4] and len(pdp.data_sets[11]) == 4


def test_a_lost_answer_is_found_in_a_data_set_of_many_pieces(pdp: Pdp, settings: Path) -> None:
    store_at(pdp).put(b"first" * 100)
    pdp.data_sets[11] += [f"bafkzcib{number:056d}" for number in range(8_000)]
    pdp.misdeeds = [("POST /pdp/data-sets/11/pieces", hang_up_after)]
    with pytest.raises(StoreError, match="execution reverted"):
        store_at(pdp).put(DATA[:1000])
    store_at(pdp).sync()
    assert store_at(pdp).put(DATA[:1000]) and len(pdp.data_sets[11]) == 8_002


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("chain_id", f"chain_id = {CHAIN}", "chain_id = 314"),
        ("service", SERVICE, "0x" + "5f" * 20),
        ("payee", PAYEE, "0x" + "9b" * 20),
        ("client", "payer.key", "other.key"),
    ],
)
def test_what_is_stored_with_other_settings_is_not_stored_with_these(
    pdp: Pdp, settings: Path, name: str, old: str, new: str
) -> None:
    store_at(pdp).put(DATA[:1000])
    other = settings.parent / "other.key"
    other.write_text("0x" + "42" * 32)
    other.chmod(0o600)
    settings.write_text(settings.read_text().replace(old, new))
    before = len(pdp.requests)
    with pytest.raises(StoreError, match=f"tells what was stored with {name} .* under another file name"):
        store_at(pdp).put(DATA[:1000])
    assert len(pdp.requests) == before


def test_two_providers_whose_names_look_alike_have_no_journal_together(settings: Path) -> None:
    with OnchainCloud("foc://a.example/x")._journal():
        pass
    with (
        pytest.raises(StoreError, match=r"with url foc://a\.example/x, and now it is foc://a-example\.x"),
        OnchainCloud("foc://a-example.x")._journal(),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("chain_id = true\nservice = ''\npayee = ''\nkey_file = ''", "chain_id is missing or malformed"),
        (f"chain_id = 1\nservice = 'x'\npayee = '{PAYEE}'\nkey_file = 'payer.key'", "service"),
        (f"chain_id = 1\nservice = '{SERVICE}'\npayee = '0x12'\nkey_file = 'payer.key'", "payee"),
        (
            f"chain_id = 1\nservice = '{SERVICE}'\npayee = '{PAYEE[:-2]}Aa'\nkey_file = 'payer.key'",
            "checksum",
        ),
        (f"chain_id = -1\nservice = '{SERVICE}'\npayee = '{PAYEE}'\nkey_file = 'payer.key'", "no chain has"),
        ("chain_id = 'x'", "must state chain_id, service, payee, key_file; chain_id"),
        ("not toml", "cannot be read"),
        (f"chain_id = 1\nservice = '{SERVICE}'\npayee = '{PAYEE}'\nkey_file = 'none.key'", "holds no key"),
    ],
)
def test_settings_that_cannot_be_are_named(pdp: Pdp, settings: Path, text: str, complaint: str) -> None:
    settings.write_text(text)
    with pytest.raises(StoreError, match=complaint):
        store_at(pdp).put(b"x" * 200)
    assert not pdp.requests


def test_a_key_that_others_may_read_is_not_used(pdp: Pdp, settings: Path) -> None:
    (settings.parent / "payer.key").chmod(0o644)
    with pytest.raises(StoreError, match="others may read"):
        store_at(pdp).put(b"x" * 200)


def test_it_is_imported_alone() -> None:
    code = "import sys, fedvm.store.foc; print(sorted({'web3', 'torch', 'flwr'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
