"""`make help` lists everything that there is to make."""

from __future__ import annotations

import re

from source import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_target_has_words() -> None:
    (named,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE)) == set(named.split())
    assert set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)) == set(named.split())
