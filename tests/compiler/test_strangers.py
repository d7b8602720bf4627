"""Networks that nobody here thought of: random ones, and ONNX's backend tests. Each compiles exactly or is refused.

`make bench-exact` tries many more of the same.
"""

from __future__ import annotations

import pytest
from exact_bench.backend import backend_cases, try_backend
from exact_bench.campaign import SECONDS
from exact_bench.judge import Verdict
from exact_bench.sandbox import Failed, Sandbox
from exact_bench.trial import try_seed

FEW, MANY = 12, 2500
"""Seeds of a block of tests."""
EVERY = 48
"""Of so many backend tests one is tried in the quick form."""


def wrong(answers) -> list[tuple[object, object]]:
    """The jobs that ended otherwise than in an exact program or in a refusal that names something."""
    return [
        (job, answer)
        for job, answer in answers
        if isinstance(answer, Failed)
        or answer.result not in ("exact", "refused")
        or not names_a_reason(answer)
    ]


def names_a_reason(verdict: Verdict) -> bool:
    """Whether a refusal is one of the compiler's errors with a sentence of its own."""
    kind, _, sentence = verdict.reason.partition(": ")
    return verdict.result != "refused" or (kind.isidentifier() and len(sentence.split()) > 3)


def try_seeds(seeds: range) -> None:
    answers = list(Sandbox(try_seed, workers=1, seconds=SECONDS).run(seeds))
    assert len(answers) == len(seeds)
    assert not wrong(answers)
    exact = [answer for _, answer in answers if answer.result == "exact"]
    assert len(exact) > 0.4 * len(seeds) and all(answer.inputs >= 40 for answer in exact)


@pytest.mark.timeout(900)
def test_random_networks_are_exact_or_refused():
    try_seeds(range(1000, 1000 + FEW))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", range(2))
def test_many_random_networks_are_exact_or_refused(block):
    try_seeds(range(10_000 + MANY * block, 10_000 + MANY * (block + 1)))


def try_backend_tests(every: int) -> None:
    answers = list(Sandbox(try_backend, workers=1, seconds=SECONDS).run(backend_cases(every)))
    assert not [(case.name, answer) for case, answer in wrong(answers)]
    assert any(answer.result == "exact" for _, answer in answers) and len(answers) > 2000 / every


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_some_of_onnx_backend_tests_are_exact_or_refused():
    try_backend_tests(EVERY)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_of_onnx_backend_tests_are_exact_or_refused():
    try_backend_tests(1)
