"""A run whose artefacts are in several stores, one of another kind than a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import small_config

from fedvm.audit.replay import audit
from fedvm.pipeline.data import prepare_data
from fedvm.pipeline.events import Observer
from fedvm.pipeline.federate import federate
from fedvm.pipeline.ground import opened_ground
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import open_run
from fedvm.store import ContentStore, StoreError, open_store

sys.path.insert(0, str(Path(__file__).parent.parent / "store"))

import sqlite_store  # noqa: F401, registers itself
from ipfs_servers import serving


@pytest.fixture
def node() -> Iterator[str]:
    """The URL of an IPFS node's gateway."""
    with serving() as ipfs:
        yield ipfs.url


@pytest.mark.slow
def test_a_round_runs_and_is_audited_on_several_stores(tmp_path: Path, digits: Path, node: str) -> None:
    out, url = tmp_path / "run", f"sqlite://{tmp_path / 'artefacts.sqlite'}"
    stores = ["mirror", url, node.replace("http", "kubo")]
    config = small_config(digits, out, run__store=stores, federation__rounds=1)
    directory, store = RunDirectory(out), open_store(config.run.store, out)
    with opened_ground(config, directory, None, resume=False) as ground:
        trained = federate(config, prepare_data(config), ground, store, directory, Observer())
    assert not (out / "store").exists()
    with open_run(out) as run:
        for store in (run.store, *(open_store(one, out) for one in (*stores, node))):
            report = audit(run.w3, store, federation=run.deployment.federation, service=None)
            assert report.clean and report.passed["update data"] >= 2 and report.passed["model data"] == 2
        assert run.federation_contract.model_root() == trained.model_root
        empty = audit(run.w3, ContentStore(out / "store"), federation=run.deployment.federation, service=None)
        assert "update data" in {finding.check for finding in empty.findings}


def test_a_store_of_an_unknown_kind_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError,
        match=r"no store is known for ipfs://; known: a folder, .*http://…, .*kubo.https://…, sqlite://…",
    ):
        open_store("ipfs://127.0.0.1:5001", tmp_path)


def test_a_folder_lies_beside_the_run_unless_it_is_absolute(tmp_path: Path) -> None:
    for location, folder in (
        ("blocks", tmp_path / "run" / "blocks"),
        (str(tmp_path / "all"), tmp_path / "all"),
    ):
        store = open_store(location, tmp_path / "run")
        assert isinstance(store, ContentStore) and store.path == folder
