"""The example of docs/protocol.md, section 9, by hand."""

import re
from pathlib import Path

from eth_hash.auto import keccak

from fedvm.protocol import Sample, SampleTree

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()


def test_the_example_on_the_page() -> None:
    leaves = [keccak(b"\x20" + bytes([n]) * 32 + bytes([0, 0, 0, n, 10 * n, 10 * n + 1])) for n in range(3)]
    left = keccak(b"\x21" + leaves[0] + leaves[1])
    right = keccak(b"\x21" + leaves[2] + bytes(32))
    root = keccak(b"\x22" + (3).to_bytes(4) + keccak(b"\x21" + left + right))
    printed = re.search(r"have the root\n`([0-9a-f]{64})`", PAGE)
    assert printed and bytes.fromhex(printed[1]) == root
    samples = tuple(Sample(bytes([n]) * 32, n, bytes([10 * n, 10 * n + 1])) for n in range(3))
    assert SampleTree(samples).root == root
