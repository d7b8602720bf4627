"""Bytes that vectors name, and vectors that name none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedvm.store import ContentStore, MissingBlock
from fedvm.store.payloads import StoredPayloads, name_of


def test_a_vector_names_bytes_or_none(tmp_path: Path) -> None:
    payloads = StoredPayloads(ContentStore(tmp_path), writing=True)
    assert payloads.get(payloads.put(b"a model")) == b"a model"
    with pytest.raises(MissingBlock):
        payloads.get(name_of(b"never there"))
    for nothing in (np.zeros(9, np.int32), np.full(9, -1, np.int32), name_of(b"a model")[::-1].copy()):
        assert payloads.get(nothing) == b""
