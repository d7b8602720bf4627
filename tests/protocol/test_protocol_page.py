"""Every hash printed in docs/protocol.md is one that the shared vectors hold, so the page cannot drift."""

import re
from pathlib import Path

from eth_hash.auto import keccak
from make_vectors import PATH

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()


def test_hashes_on_the_page_are_in_the_vectors() -> None:
    hashes = re.findall(r"0x[0-9a-f]{64}", PAGE)
    vectors = PATH.read_text()
    assert len(hashes) == 31
    assert [h for h in hashes if h not in vectors] == []


def test_the_printed_preimage_hashes_to_the_printed_leaf() -> None:
    block = re.search(r"these 61 bytes:\n\n```\n(.*?)```", PAGE, re.DOTALL)
    leaf = re.search(r"leaf 1 +0x([0-9a-f]{64})", PAGE)
    assert block and leaf
    preimage = bytes.fromhex(re.sub(r"[^0-9a-f]", "", block[1]))
    assert len(preimage) == 61
    assert keccak(preimage).hex() == leaf[1]
