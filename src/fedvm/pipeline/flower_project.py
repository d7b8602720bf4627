"""Writes the directory that Flower packs and sends to SuperLink and SuperNodes: the app of one run."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import tomli_w

import fedvm
from fedvm.federation.settings import Engine
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import dump_config
from fedvm.pipeline.data import PreparedData
from fedvm.pipeline.network import model_spec

CONFIG, MODEL, SOCKET = "fedvm-config", "fedvm-model", "fedvm-socket"
"""Keys of the app's run config: the run's TOML text; the model's sizes as JSON; where `fedvm run` listens."""

_MODULE = '''"""{does}"""

from fedvm.pipeline.flower_app import {app}

app = {app}
'''


def write_app(directory: Path, config: RunConfig, data: PreparedData, socket: str) -> Path:
    """Write the app of a run into `directory` and return it.

    It is a few lines that import `fedvm.pipeline.flower_app`, so every node needs this version of FedVM. The
    configuration it carries is seen by every client.
    """
    # A simulated client reads these from another working directory.
    if config.data.path is not None:
        config = replace(config, data=replace(config.data, path=config.data.path.resolve()))
    if config.federation.engine == Engine.FLOWER_SIMULATION:
        config = replace(config, run=replace(config.run, out=config.out.resolve()))
    package = directory / "fedvm_run"
    package.mkdir(parents=True, exist_ok=True)
    normalisation = data.images.normalisation
    quantization = model_spec(config, data.images).quantization
    model = {
        "shape": list(data.images.shape),
        "classes": data.images.classes,
        "scale": normalisation.scale,
        "offset": normalisation.offset,
        "quantization": None if quantization is None else asdict(quantization),
    }
    project = {
        "project": {
            "name": "fedvm-run",
            "version": "1.0.0",
            "license": "Apache-2.0",
            "dependencies": [f"fedvm=={fedvm.__version__}"],
        },
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "fedvm",
                    "components": {
                        "serverapp": "fedvm_run.server:app",
                        "clientapp": "fedvm_run.client:app",
                    },
                    "config": {CONFIG: dump_config(config), MODEL: json.dumps(model), SOCKET: socket},
                }
            }
        },
    }
    (directory / "pyproject.toml").write_text(tomli_w.dumps(project), encoding="utf-8")
    (package / "__init__.py").write_text('"""A run of FedVM."""\n', encoding="utf-8")
    server = _MODULE.format(does="Carries the grid to `fedvm run`.", app="server_app")
    (package / "server.py").write_text(server, encoding="utf-8")
    client = _MODULE.format(does="Trains as the run says.", app="client_app")
    (package / "client.py").write_text(client, encoding="utf-8")
    return directory
