"""CIDs against published ones, and against ipfs-unixfs-importer 17.1.1 (npm, JavaScript).

The importer ran with cidVersion 1, rawLeaves, fixedSize chunks of 1 MiB, balanced layout of 174 children,
which are the settings of Kubo's `ipfs add --cid-version=1 --raw-leaves --chunker=size-1048576`.
"""

import numpy as np
import pytest

from fedvm.store import Cid, InvalidCid
from fedvm.store.cid import DAG_PB, RAW
from fedvm.store.unixfs import Block, blocks_of, decode_node

MIB = 1 << 20


def pattern(size: int) -> bytes:
    """The bytes that the importer was fed: byte x is x + (x >> 8) + 7 (x >> 16) modulo 256."""
    x = np.arange(16 * MIB, dtype=np.uint32)
    period = (x + (x >> 8) + (x >> 16) * 7).astype(np.uint8).tobytes()
    return (period * (size // len(period) + 1))[:size]


def root_of(data: bytes) -> Block:
    *_, root = blocks_of(data)
    return root


@pytest.mark.parametrize(
    ("data", "text"),
    [
        # Published: the empty raw block, and "hello world" with and without a newline.
        (b"", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (b"hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (b"hello world\n", "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"),
    ],
)
def test_published_raw_cids(data: bytes, text: str) -> None:
    assert str(root_of(data).link.cid) == text


@pytest.mark.parametrize(
    ("size", "text", "tree_bytes"),
    [
        (1, "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu", 1),
        (MIB - 1, "bafkreiei6qzwrpcj3hswjxwgz54k4vbnd5kmddmmriebmxbqsiyi2kxmla", 1048575),
        (MIB, "bafkreihjgn6rq5nbhdwcxbtxajjv4atuqmuc67fcvvy2srm5l54h6y5kei", 1048576),
        (MIB + 1, "bafybeidbbx4wvacwttnm73usdw4cy3uikqozc7aeq464oou4obya43ldeq", 1048681),
        (2 * MIB, "bafybeigkn5ruw2cxuluoc4cpaxhg5sjdkubb7k7xvfhdd7tqhk7eiw3f54", 2097261),
        (3 * MIB + 5, "bafybeiesnxrpnbnauwvgjtodciviouugr4224uhe2lkfzix5mlf4v62tbe", 3145938),
        (174 * MIB, "bafybeihmw5izlwij5ay4vhplsnfpnzqb3hgckd5uzqhawx6zkcis25c4p4", 182460934),
        (174 * MIB + 1, "bafybeias2rbdqhlngjykj7em7zw4zpm2ejevaxog3femxq3trmgkkdrldi", 182461094),
    ],
)
def test_cids_of_the_other_implementation(size: int, text: str, tree_bytes: int) -> None:
    root = root_of(pattern(size))
    assert (str(root.link.cid), root.link.tree_bytes) == (text, tree_bytes)


def test_text_and_binary_forms_agree() -> None:
    cid = Cid.of_block(RAW, b"hello world")
    assert cid.binary.hex() == "01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
    assert Cid.from_binary(cid.binary) == cid == Cid.parse(str(cid))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a CID"),
        ("../../etc/passwd", "not a CID"),
        ("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", "version 0"),
        ("BAFKREIHDWDCEFGH4DQKJV67UZCMW7OJEE6XEDZDETOJUZJEVTENXQUVYKU", "canonical"),
        ("zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA", "canonical|not a CID"),
        ("bafyreihdb57fdysx5h35urvxz64ros7zvywshber7id6t6c6fek37jgyfe", "codec 0x71"),
        ("bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi", "hash function 0x1e"),
    ],
)
def test_other_cids_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidCid, match=message):
        Cid.parse(text)


@pytest.mark.parametrize(
    "data", [b"", bytes(36), b"\x01\x55\x12\x20" + bytes(31), b"\x01\x71\x12\x20" + bytes(32)]
)
def test_other_binary_cids_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidCid):
        Cid.from_binary(data)


def test_nodes_decode_to_their_links_and_nothing_else_does() -> None:
    *leaves, root = blocks_of(pattern(2 * MIB + 9))
    assert root.link.cid.codec == DAG_PB
    assert decode_node(root.data) == [leaf.link for leaf in leaves]
    for at in range(len(root.data)):
        with pytest.raises(ValueError):
            decode_node(root.data[:at])
    with pytest.raises(ValueError, match="canonical"):
        decode_node(root.data.replace(b"\x08\x02\x18", b"\x08\x01\x18"))  # a directory, not a file
