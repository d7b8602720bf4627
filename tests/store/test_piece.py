"""Piece CIDs against published ones.

`FRC_0069`: the test cases of FRC-0069. `PADDED`: some of testdata/0xCC.txt of filecoin-project/go-fil-commp-hashhash,
which Lotus computed: bytes of data, all 0xCC, and the piece CID of version 1.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
from hashlib import sha256

import pytest

from fedvm.store.piece import Piece, piece_of, widened, zero_node

FOUR = b"".join(bytes([value]) * 127 for value in range(4))
FRC_0069 = [
    (b"", 127, 2, "", "bafkzcibcp4bdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy"),
    (bytes(127), 0, 2, "", "bafkzcibcaabdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy"),
    (bytes(128), 126, 3, "", "bafkzcibcpybwiktap34inmaex4wbs6cghlq5i2j2yd2bb2zndn5ep7ralzphkdy"),
    (
        FOUR,
        0,
        4,
        "baga6ea4seaqes3nobte6ezpp4wqan2age2s5yxcatzotcvobhgcmv5wi2xh5mbi",
        "bafkzcibcaaces3nobte6ezpp4wqan2age2s5yxcatzotcvobhgcmv5wi2xh5mbi",
    ),
    (
        FOUR + bytes(4 * 127),
        0,
        5,
        "baga6ea4seaqn42av3szurbbscwuu3zjssvfwbpsvbjf6y3tukvlgl2nf5rha6pa",
        "bafkzcibcaac542av3szurbbscwuu3zjssvfwbpsvbjf6y3tukvlgl2nf5rha6pa",
    ),
    (
        FOUR + bytes(4),
        504,
        5,
        "baga6ea4seaqn42av3szurbbscwuu3zjssvfwbpsvbjf6y3tukvlgl2nf5rha6pa",
        "bafkzcibd7abqlxticxolgseegik2stpfgkkuwyf6kufex3doorkvmzpjuxwe4dz4",
    ),
    (
        FOUR + bytes(5),
        503,
        5,
        "baga6ea4seaqn42av3szurbbscwuu3zjssvfwbpsvbjf6y3tukvlgl2nf5rha6pa",
        "bafkzcibd64bqlxticxolgseegik2stpfgkkuwyf6kufex3doorkvmzpjuxwe4dz4",
    ),
]
PADDED = [
    (96, 128, "baga6ea4seaqhwcjhi4krhl3ht6dewnwevkpxbepxy7p7onwgz65t52typbsysby"),
    (126, 128, "baga6ea4seaqapbh46gdnszvb7fcinevsy5bzg3b4higkh7groptswf6zas6jamy"),
    (127, 128, "baga6ea4seaqmfldjtozgne6adk7eve2vdxte7vzlivae7nzsbrawobo546zkijq"),
    (192, 256, "baga6ea4seaqkx7m2s6r4zahtlbwrs5ryvemkclwfp7nijopdd5swpdnxzjf7wkq"),
    (254, 256, "baga6ea4seaqkixbzz75uys2pcjbrbdilgjhmum72qm4xphrwav2iyel5oat4aka"),
    (255, 512, "baga6ea4seaqg7celu5y2iwbi2ra5koygvotxtzr5lj6vzvxi6gfub6mpa6niwpi"),
    (384, 512, "baga6ea4seaqhexlmnzbarsbdbdahs7e36dkq5vkdwsrttehoakrif5wiqme36lq"),
    (508, 512, "baga6ea4seaqb6ckbupixkhwp7thgb52f4en222boppajkqk7gaomkpof3lh4cei"),
    (509, 1024, "baga6ea4seaqdzbeaexq6gpbqh2tlnbz5mm5neap2kejsketkogzd6x2dx7dzkii"),
    (768, 1024, "baga6ea4seaqb6xvxaybzp6vslujjiwvgt23ckrwt7y53eddy5qmc6csnc37lwpi"),
    (1016, 1024, "baga6ea4seaqjxgfdkdu37aryhg7bqqiwizj5f6ugasftgeocabwnj4cxkgisaoq"),
    (1017, 2048, "baga6ea4seaqf3n5ob5qonkwnxfcbjzftsagbnrjfzualqvzhcylz46b7sgz6wmi"),
    (1024, 2048, "baga6ea4seaqdlpnhgsndrgjeu4p46hahlsr4lybg6du4d56ooppdpxhcofxeuoi"),
]
EMPTY = [
    (
        30,
        "baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq",
        "bafkzcibcaapao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq",
    ),
    (
        31,
        "baga6ea4seaqomqafu276g53zko4k23xzh4h4uecjwicbmvhsuqi7o4bhthhm4aq",
        "bafkzcibcaap6mqafu276g53zko4k23xzh4h4uecjwicbmvhsuqi7o4bhthhm4aq",
    ),
]
"""FRC-0069 on pieces of 32 and 64 GiB of zeros: height, and both CIDs."""


def of(data: bytes) -> Piece:
    return piece_of(io.BytesIO(data))


@pytest.mark.parametrize(("data", "padding", "height", "v1", "v2"), FRC_0069)
def test_the_cases_of_frc_0069(data: bytes, padding: int, height: int, v1: str, v2: str) -> None:
    found = of(data)
    assert (found.padding, found.height, found.data_bytes) == (padding, height, len(data))
    assert found.cid_v2 == v2 and (not v1 or found.cid_v1 == v1)


@pytest.mark.parametrize(("size", "piece_bytes", "v1"), PADDED)
def test_pieces_that_lotus_computed(size: int, piece_bytes: int, v1: str) -> None:
    found = of(b"\xcc" * size)
    assert (found.piece_bytes, found.data_bytes, found.cid_v1) == (piece_bytes, size, v1)


@pytest.mark.parametrize(("height", "v1", "v2"), EMPTY)
def test_pieces_of_zeros_too_large_to_hash(height: int, v1: str, v2: str) -> None:
    found = Piece(zero_node(height), height, 0)
    assert (found.cid_v1, found.cid_v2) == (v1, v2)
    assert found.data_bytes == (32 << height) * 127 // 128


def plain_root(data: bytes, height: int) -> bytes:
    """The tree as the specification states it: of every 127 bytes four numbers of 254 bits, and no runs."""
    level = []
    for at in range(0, 127 << height - 2, 127):
        bits = int.from_bytes(data[at : at + 127], "little")
        level += [(bits >> 254 * leaf & (1 << 254) - 1).to_bytes(32, "little") for leaf in range(4)]
    while len(level) > 1:
        hashed = (bytearray(sha256(a + b).digest()) for a, b in zip(level[::2], level[1::2], strict=True))
        level = [bytes([*node[:31], node[31] & 0x3F]) for node in hashed]
    return level[0]


RUN = 127 * 8192


@pytest.mark.parametrize("size", [1, 31, 32, 126, 5000, RUN // 2, RUN // 2 + 1, RUN, RUN + 1, 3 * RUN - 77])
def test_pieces_of_any_size_follow_the_specification(size: int) -> None:
    data = random.Random(size).randbytes(size)
    found = of(data)
    assert found.root == plain_root(data, found.height)
    assert found.data_bytes == size and found.padding < max(size, 127)


def test_a_pipe_that_gives_little_at_a_time_has_the_same_piece() -> None:
    data = random.Random(1).randbytes(2 * RUN + 1000)

    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 70_001))

    seen: list[int] = []
    assert piece_of(Trickle(data), seen.append) == of(data)
    assert seen == [RUN, 2 * RUN, len(data)]


def test_fr32_leaves_two_bits_of_every_leaf_free() -> None:
    wide = widened(b"\xff" * 127)
    assert wide.shape == (1, 128)
    assert wide.tobytes() == (b"\xff" * 31 + b"\x3f") * 4


def test_the_module_loads_nothing_large() -> None:
    code = "import sys; import fedvm.store.piece; print({'web3', 'torch', 'requests', 'eth_abi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
