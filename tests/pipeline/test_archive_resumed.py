"""Publishing and fetching that end in the middle and go on: the same bytes, and nothing read twice."""

from __future__ import annotations

import fcntl
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedvm.audit.artefacts import Artefact
from fedvm.pipeline.archive import MissingArtefacts, fetch_artefacts, publish_car
from fedvm.pipeline.errors import UsageError
from fedvm.store import ContentStore, CorruptBlock, MissingBlock, cid_of

CHANCE = random.Random(7)
LARGE = CHANCE.randbytes((2 << 20) + 5)
DATA = [CHANCE.randbytes(700), LARGE, LARGE[: 1 << 20], CHANCE.randbytes(3000), LARGE[::-1]]
"""The third is a leaf of the second, so it is there before its turn."""
LISTED = [Artefact(cid_of(data).binary, f"number {index}", index) for index, data in enumerate(DATA)]


class Counting:
    """A store that counts what is read, and stops at one artefact."""

    def __init__(
        self, inner: ContentStore, stop: bytes | None = None, error: type[BaseException] = KeyboardInterrupt
    ):
        self.inner, self.stop, self.error, self.read = inner, stop, error, list[str]()

    def get(self, cid: str | bytes) -> bytes:
        if self.stop is not None and cid == cid_of(self.stop).binary:
            raise self.error
        data = self.inner.get(cid)
        self.read.append(str(cid_of(data)))
        return data

    def put(self, data: bytes) -> str:
        return self.inner.put(data)

    stage = put

    def sync(self) -> None:
        self.inner.sync()


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    made = ContentStore(tmp_path / "store")
    for data in DATA:
        made.put(data)
    return made


@pytest.fixture
def whole(store: ContentStore, tmp_path: Path) -> bytes:
    publish_car(LISTED, store, tmp_path / "whole.car")
    return (tmp_path / "whole.car").read_bytes()


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_what_was_written_is_not_read_again(
    store: ContentStore, whole: bytes, tmp_path: Path, stop: int
) -> None:
    file = tmp_path / "x.car"
    with pytest.raises(KeyboardInterrupt):
        publish_car(LISTED, Counting(store, DATA[stop]), file)
    assert not file.exists() and (tmp_path / ".x.car.part").stat().st_size > 0
    reading = Counting(store)
    publish_car(LISTED, reading, file)
    assert file.read_bytes() == whole and not (tmp_path / ".x.car.part").exists()
    rest = [str(cid_of(data)) for data in DATA[stop:] if data is not DATA[2]]
    assert reading.read == rest


def test_wherever_it_was_cut_off_the_same_bytes_come(
    store: ContentStore, whole: bytes, tmp_path: Path
) -> None:
    file, part = tmp_path / "x.car", tmp_path / ".x.car.part"
    for cut in (0, 1, 40, 330, 400, 1000, 1 << 20, len(whole) - 1, len(whole)):
        part.write_bytes(whole[:cut])
        publish_car(LISTED, store, file)
        assert file.read_bytes() == whole
    damaged = bytearray(whole)
    damaged[1 << 20] ^= 1  # what follows the damage is written anew
    part.write_bytes(bytes(damaged) + b"and more than there was")
    publish_car(LISTED, store, file)
    assert file.read_bytes() == whole
    publish_car(LISTED[:2], store, tmp_path / "two.car")
    part.write_bytes((tmp_path / "two.car").read_bytes())  # of other artefacts
    publish_car(LISTED, store, file)
    assert file.read_bytes() == whole


def test_what_is_missing_is_all_named_and_put_in_its_place_later(
    store: ContentStore, whole: bytes, tmp_path: Path
) -> None:
    for data in (DATA[0], DATA[3]):
        store.file_of(cid_of(data)).unlink()
    with pytest.raises(MissingArtefacts, match=r"lacks 2 artefacts .*number 0.*number 3"):
        publish_car(LISTED, store, tmp_path / "x.car")
    store.put(DATA[0])
    store.put(DATA[3])
    publish_car(LISTED, store, tmp_path / "x.car")
    assert (tmp_path / "x.car").read_bytes() == whole


def test_two_processes_do_not_write_one_file(store: ContentStore, tmp_path: Path) -> None:
    with (tmp_path / ".x.car.part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process writes this file now"):
            publish_car(LISTED, store, tmp_path / "x.car")
    publish_car(LISTED, store, tmp_path / "x.car")


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_archive_resumed import LISTED
from fedvm.pipeline.archive import publish_car
from fedvm.store import ContentStore

class Slow(ContentStore):
    def get(self, cid, **more):
        print("reading", flush=True)
        time.sleep(0.1)
        return super().get(cid, **more)

publish_car(LISTED, Slow(Path(sys.argv[1]) / "store"), Path(sys.argv[1]) / "x.car")
"""


@pytest.mark.slow
@pytest.mark.parametrize("reads", [1, 3])
def test_a_killed_process_leaves_what_the_next_one_goes_on_from(
    store: ContentStore, whole: bytes, tmp_path: Path, reads: int
) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(reads):
            assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "x.car").exists()
    publish_car(LISTED, store, tmp_path / "x.car")
    assert (tmp_path / "x.car").read_bytes() == whole


def test_artefacts_are_fetched_once(store: ContentStore, tmp_path: Path) -> None:
    to = tmp_path / "blocks"
    with pytest.raises(KeyboardInterrupt):
        fetch_artefacts(LISTED, Counting(store, DATA[3]), to)
    reading, seen = Counting(store), list[tuple[int, int]]()
    done = fetch_artefacts(LISTED, reading, to, progress=lambda *at: seen.append(at))
    assert reading.read == [str(cid_of(data)) for data in DATA[3:]]
    assert seen == [(index, 5) for index in range(6)]
    assert done.artefacts == 5 and done.bytes == len(DATA[3]) + len(DATA[4])
    kept = ContentStore(to)
    assert [kept.get(str(cid_of(data))) for data in DATA] == DATA


@pytest.mark.parametrize("error", [MissingBlock, CorruptBlock])
def test_what_cannot_be_fetched_is_named_and_the_rest_is_kept(
    store: ContentStore, tmp_path: Path, error: type[Exception]
) -> None:
    with pytest.raises(MissingArtefacts, match=r"lacks 1 artefacts .*number 1"):
        fetch_artefacts(LISTED, Counting(store, LARGE, error), tmp_path / "blocks")
    kept = ContentStore(tmp_path / "blocks")
    assert kept.get(str(cid_of(DATA[4]))) == DATA[4] and not kept.has(str(cid_of(LARGE)))
