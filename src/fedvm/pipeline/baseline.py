"""The comparison without federating, kept in `baseline.json` so that a resumed run does not train it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TypeVar

from fedvm.federation.engines.workers import Lost, WorkerPool, forking_supported
from fedvm.federation.simulated.server import initial_model
from fedvm.files import write_atomically
from fedvm.learning.baseline import Course, run_baselines
from fedvm.learning.device import resolve_device
from fedvm.learning.errors import TrainingError
from fedvm.learning.schedule import Schedule
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.data import PreparedData
from fedvm.pipeline.events import Observer
from fedvm.pipeline.network import model_spec
from fedvm.pipeline.results import AloneRow, BaselineFacts
from fedvm.rundir.layout import RunDirectory

Item = TypeVar("Item")
Value = TypeVar("Value")


def baseline(
    config: RunConfig, data: PreparedData, played: int, directory: RunDirectory, observer: Observer
) -> BaselineFacts | None:
    """Train each client's data alone and all clients' data together, for the `played` rounds of the federation.

    None unless the configuration asks for it. Raises LearningError.
    """
    if not config.baseline.enabled:
        return None
    course = Course(
        config.training.recipe,
        Schedule.of(config.training),
        rounds=config.federation.rounds,
        played=played,
        every=config.evaluation.every,
    )
    if directory.baseline.is_file():
        kept = BaselineFacts.from_json(directory.baseline.read_text())
        if kept.rounds == course.tested:  # otherwise the run was prolonged after the baseline was trained
            return kept
    device = resolve_device(config.training.device).type
    workers = config.training.workers if device == "cpu" and forking_supported() else 1
    found = run_baselines(
        data.images,
        data.partitions,
        initial_model(model_spec(config, data.images), config.run.seed, data.calibration),
        course,
        clients=config.baseline.clients,
        seed=config.run.seed,
        device=device,
        spread=lambda function, items: spread(function, items, workers),
        progress=lambda done, total: observer.progress("baseline: networks", done, total),
    )
    facts = BaselineFacts(
        course.tested,
        found.central.accuracy,
        tuple(AloneRow(int(str(one.client)), one.examples, one.accuracy) for one in found.alone),
        len(data.partitions),
    )
    write_atomically(directory.baseline, json.dumps(asdict(facts)) + "\n")
    return facts


def spread(function: Callable[[Item], Value], items: Sequence[Item], workers: int) -> Iterator[Value]:
    """`map` in forked processes, in this one if `workers` is 1; values in the order of the items.

    Raises what `function` raises, TrainingError if a process dies.
    """
    if workers == 1:
        yield from map(function, items)
        return

    def attempt(item: Item) -> Value | Exception:
        try:
            return function(item)
        except Exception as error:
            return error

    waiting: dict[int, Value] = {}
    following = 0
    with WorkerPool(attempt, workers) as pool:
        for position, answer in pool.run(items):
            if isinstance(answer, Lost):
                raise TrainingError(f"a baseline was not trained: {answer.reason}")
            if isinstance(answer, Exception):
                raise answer
            waiting[position] = answer
            while following in waiting:
                yield waiting.pop(following)
                following += 1
