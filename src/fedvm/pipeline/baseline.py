"""The centralised comparison, kept in `baseline.json` so that a resumed run does not train it again."""

from __future__ import annotations

import json
from dataclasses import asdict

from fedvm.learning.baseline import run_baselines
from fedvm.learning.device import resolve_device
from fedvm.learning.models import ModelSpec
from fedvm.learning.recipes import Recipe
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.data import PreparedData
from fedvm.pipeline.directory import RunDirectory, write_atomically
from fedvm.pipeline.events import Observer
from fedvm.pipeline.results import BaselineFacts


def baseline(
    config: RunConfig, data: PreparedData, directory: RunDirectory, observer: Observer
) -> BaselineFacts | None:
    """Train client 0's data alone and all clients' data together; None unless the configuration asks for
    it."""
    if not config.baseline.enabled:
        return None
    if directory.baseline.is_file():
        stored = json.loads(directory.baseline.read_text())
        return BaselineFacts(tuple(stored["one_client"]), tuple(stored["all_data"]))
    curves = run_baselines(
        data.images,
        data.partitions,
        ModelSpec.for_data(config.model.name, data.images),
        Recipe(**config.training.arguments()),
        epochs=config.baseline.epochs,
        seed=config.run.seed,
        device=resolve_device(config.training.device).type,
        progress=lambda name, done, total: observer.progress(f"baseline, {name}: epochs", done, total),
    )
    facts = BaselineFacts(curves.alone.accuracy, curves.central.accuracy)
    write_atomically(directory.baseline, json.dumps(asdict(facts)) + "\n")
    return facts
