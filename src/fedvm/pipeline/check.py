"""Step 7: held-out images through the contract's code, score by score against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedvm.chain.model_service import ModelService
from fedvm.chain.revm import RevmProgram
from fedvm.compiler.probe import reference_scores
from fedvm.learning.data import ImageData
from fedvm.learning.training import evaluate
from fedvm.pipeline.results import MOST_CONFUSED, EvaluationFacts, Prediction

SERVICE_CALLS = 4
_EXAMPLES = 12


@dataclass(frozen=True)
class Checked:
    """The facts, the images of their examples (uint8 `[C, H, W]`), and the gas of each prediction."""

    facts: EvaluationFacts
    images: tuple[NDArray[np.uint8], ...]
    gas: NDArray[np.int64]


def check_predictions(
    data: ImageData,
    wanted: int,
    model: torch.nn.Module,
    reference: bytes,
    program: RevmProgram,
    service: ModelService,
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Run the program's code, as it is on the chain, on the first `wanted` held-out images (or all). model: the PyTorch
    network, for its accuracy on the same images; reference: bytes of `model.int.onnx`. The first `SERVICE_CALLS` images
    are also sent by `eth_call` to ModelService's predict and classify, and count as mismatches if the answers differ.
    """
    images, labels = data.test.images[:wanted], data.test.labels[:wanted]
    outcome = program.predict_many(images, progress)
    exact = reference_scores(reference, images)
    differ = (outcome.scores != exact).any(axis=1)
    calls = min(SERVICE_CALLS, len(images))
    for index in range(calls):
        asked = images[index].tobytes()
        scores, label = service.predict(asked), service.classify(asked)
        differ[index] |= bool((scores != exact[index]).any()) or label != int(np.argmax(exact[index]))
    predicted = outcome.scores.argmax(axis=1)
    floating = evaluate(model, images, labels, normalisation=data.normalisation)
    shown = _examples(labels, predicted)
    facts = EvaluationFacts(
        images=len(images),
        mismatches=int(differ.sum()),
        service_calls=calls,
        float_accuracy=floating.accuracy,
        integer_accuracy=float((exact.argmax(axis=1) == labels).mean()),
        chain_accuracy=float((predicted == labels).mean()),
        examples=tuple(
            Prediction(
                int(n), int(labels[n]), int(predicted[n]), tuple(int(score) for score in outcome.scores[n])
            )
            for n in shown
        ),
        confusion=_confusion(labels, predicted, outcome.scores.shape[1]),
    )
    return Checked(facts, tuple(images[n] for n in shown), outcome.gas)


def _confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> tuple[tuple[int, ...], ...]:
    if classes > MOST_CONFUSED:
        return ()
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return tuple(tuple(row) for row in counts.tolist())


def _examples(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> list[int]:
    """The first image of each class, then the first images that were classified wrongly, in the order of the test
    set."""
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)][:_EXAMPLES]
    wrong = [int(n) for n in np.flatnonzero(labels != predicted) if int(n) not in firsts]
    return firsts + wrong[: max(2, _EXAMPLES - len(firsts))]
