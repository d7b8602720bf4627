"""Clients with keys and images of their own behind Flower's engines, in this process."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_run import small_config

from fedvm.chain.keys import create_key_file
from fedvm.federation import InProcessGrid, make_nodes
from fedvm.federation.engines.clients import UserConfig
from fedvm.federation.keys import DATA
from fedvm.pipeline import federate as federating
from fedvm.pipeline.client_data import save_client_data
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import config_of, tables_of
from fedvm.pipeline.data import PreparedData, prepare_data
from fedvm.pipeline.flower_app import client_app
from fedvm.pipeline.flower_project import write_app


def honest(digits: Path, out: Path, engine: str, *members: str) -> RunConfig:
    """The small run without its adversaries, whom only a simulation knows."""
    settings = tables_of(small_config(digits, out))
    del settings["adversaries"]
    settings["federation"]["engine"] = engine
    settings["deployment"]["members"] = list(members)
    return config_of(settings)


def run_config_of(app: Path) -> dict[str, str]:
    """What Flower gives every node of an app."""
    project = tomllib.loads((app / "pyproject.toml").read_text())
    return dict(project["tool"]["flwr"]["app"]["config"])


def deployed_clients(path: Path, digits: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Four clients with a key and a file of images each: their addresses, and their node configs."""
    dealt = prepare_data(honest(digits, path, "inprocess"))
    members, configs = [], []
    for index in range(4):
        key, images = path / f"{index}.key", path / f"{index}.npz"
        members.append(create_key_file(key).address)
        save_client_data(images, federating.client_data(dealt, index))
        configs.append({"fedvm-key-file": str(key), DATA: str(images)})
    return members, configs


def carry_to(path: Path, monkeypatch: pytest.MonkeyPatch, configs: Sequence[UserConfig]) -> None:
    """Runs of Flower's engines go to these nodes, in this process."""

    @contextmanager
    def deployed(config: RunConfig, data: PreparedData, *_: object) -> Iterator[InProcessGrid]:
        app = write_app(path / "app", config, data, "/no/socket")
        with InProcessGrid(make_nodes(client_app, configs), seed=99, run_config=run_config_of(app)) as grid:
            yield grid

    monkeypatch.setattr(federating, "flower_grid", deployed)
