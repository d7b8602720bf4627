"""`fedvm fetch ADDRESS`: what a federation's events name, from its stores into a folder that an audit reads."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from relayed_rpc import relayed

from fedvm.cli.app import app
from fedvm.rundir.deployment import Deployment
from fedvm.store import ContentStore


def test_an_address_and_a_store_give_what_an_audit_reads(recorded_run: Path, tmp_path: Path) -> None:
    at, to = Deployment.load(recorded_run), tmp_path / "blocks"
    assert at.federation is not None and at.service is not None
    with relayed(recorded_run) as url:
        place = ["--rpc", url, "--service", at.service, "--store", str(recorded_run / "store")]
        words = ["fetch", at.federation, *place, "--to", str(to)]
        done = CliRunner().invoke(app, [*words, "--json"])
        assert done.exit_code == 0, done.output
        first = json.loads(done.stdout)
        assert first["artefacts"] > 3 and first["bytes"] > 0
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0 and ", 0 bytes" in done.stdout  # it is all there
        shown = done.stdout.splitlines()[-1]
        assert shown.startswith("Audit with: fedvm audit --rpc") and shown.count("--store") == 1
        own = ["--rpc", url, "--federation", at.federation, "--service", at.service, "--store", str(to)]
        done = CliRunner().invoke(app, ["audit", *own, "--json"])
        assert done.exit_code == 0 and json.loads(done.stdout)["findings"] == [], done.output
        lost = next(iter(ContentStore(to)))
        (to / lost).unlink()
        done = CliRunner().invoke(app, [*words, "--json"])
        assert json.loads(done.stdout)["bytes"] > 0 and (to / lost).is_file()


def test_what_is_neither_a_file_nor_an_address_is_refused(tmp_path: Path) -> None:
    for words in (["none.car"], ["0x12"], [str(tmp_path)], []):
        done = CliRunner().invoke(app, ["fetch", *words, "--to", str(tmp_path / "blocks")])
        assert done.exit_code == 2, done.output
    (tmp_path / "x.car").write_bytes(b"")
    words = ["fetch", str(tmp_path / "x.car"), "--store", "y", "--to", str(tmp_path / "blocks")]
    assert CliRunner().invoke(app, words).exit_code == 2
