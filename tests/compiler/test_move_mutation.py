"""Would the checks see a wrong move? One number of a layout or of a plan of moves is changed at a time.

A mutant is a compiler that is wrong in one place whenever it comes there: a shift, a mask or a factor of a restride, a
target bit of a squash, the place of a column in a view, the start, step, words or padding of a view, the columns of
a word, the shift of a fold. It must end the build: by the proof in `moves.py`, by the self-check in `verify.py`, or by
an error. What survives emits the same code, or other code that the proof has seen and that gives the same scores on
many more inputs.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import pytest
from evm import Machine
from exact_bench.inputs import hard_inputs
from exact_bench.stages import cut_everywhere, staged_scores
from graphs import draw_input

from fedvm.compiler import compile_integer, layout, planning, restride
from fedvm.compiler.assembler import AssemblyError
from fedvm.compiler.compiled import units_of
from fedvm.compiler.errors import CompileError, ExactnessError
from fedvm.compiler.graph import INPUT, Conv, Dense, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.interpreter import run
from fedvm.compiler.kernels import squash
from fedvm.compiler.kernels.fold import Folded
from fedvm.compiler.layout import ConvPlan, Plan
from fedvm.compiler.restride import Restride
from fedvm.compiler.view import View

INPUTS = 10
MORE = 100
"""Further inputs for a mutant that nothing has ended so far."""
Change = Callable[[random.Random, Any], Any]


def network(width: int, layout: str, seed: int) -> IntegerGraph:
    """Rows that are wider than their readers' lanes, two readers of one tensor, strides, pools and padding."""
    rng = np.random.default_rng(seed)

    def layer(name, terms, shape, high: int | None = 31, pool=None, shift=8):
        outputs = shape[0]
        shifts = np.full(outputs, 0 if high is None else shift)
        return IntegerLayer(
            name, terms, rng.integers(-900, 900, outputs), shifts, shape, np.ones(outputs), 0, high, pool
        )

    def weights(*shape):
        return rng.integers(-60, 61, shape)

    half = (width - 3) // 2 + 1
    return IntegerGraph(
        draw_input((2, 4, width), layout),
        (
            layer("a", (Conv(INPUT, weights(2, 2, 3, 3), pads=(1, 1, 1, 1), pad_value=7),), (2, 4, width), 63),
            layer("b", (Conv("a", weights(2, 2, 3, 5), pads=(1, 2, 1, 2), pad_value=3),), (2, 2, width // 2),
                  pool=MaxPool((2, 2), (2, 2)), shift=9),
            layer("c", (Conv("a", weights(1, 2, 4, 3), stride=(1, 2)),), (1, 1, half), shift=7),
            layer("scores", (Dense("b", weights(3, 2 * 2 * (width // 2))), Dense("c", weights(3, half))),
                  (3, 1, 1), None),
        ),
    )  # fmt: skip


NETWORKS = ((29, "CHW", 1), (46, "HWC", 2), (17, "CHW", 3))


@cache
def case(number: int) -> tuple[IntegerGraph, np.ndarray, np.ndarray]:
    """(network, inputs, scores)."""
    graph = network(*NETWORKS[number])
    inputs = hard_inputs(graph, INPUTS, number)
    return graph, inputs, run(graph, inputs).reshape(INPUTS, -1)


# -- what is changed --------------------------------------------------------------------------------------------------


def near(rng: random.Random, value: int) -> int:
    return value + rng.choice((-1, 1))


def moved(rng: random.Random, value: int) -> int:
    """A place in a word a bit, or some lanes, further."""
    return value + rng.choice((-40, -21, -20, -1, 1, 20, 21, 40))


def flipped(rng: random.Random, mask: int) -> int:
    return mask ^ 1 << rng.randrange(256)


def other_restride(rng: random.Random, plan: Restride) -> Restride:
    options = [replace(plan, first=near(rng, plan.first)), replace(plan, last=moved(rng, plan.last))]
    if plan.mask:
        options.append(replace(plan, mask=flipped(rng, plan.mask)))
    for number, halve in enumerate(plan.halves):
        for other in (
            replace(halve, amount=max(1, moved(rng, halve.amount))),
            replace(halve, keep=flipped(rng, halve.keep)),
            replace(halve, moved=flipped(rng, halve.moved)),
            replace(halve, clean=not halve.clean),
            replace(halve, kind=rng.choice([k for k in ("mul", "or", "split") if k != halve.kind])),
        ):
            options.append(replace(plan, halves=(*plan.halves[:number], other, *plan.halves[number + 1 :])))
    for number, scatter in enumerate(plan.scatters):
        name = rng.choice(("pick", "factor", "keep"))
        other_scatter = replace(scatter, **{name: flipped(rng, getattr(scatter, name))})
        options.append(
            replace(plan, scatters=(*plan.scatters[:number], other_scatter, *plan.scatters[number + 1 :]))
        )
    return rng.choice(options)


def other_targets(rng: random.Random, targets: dict[int, int]) -> dict[int, int]:
    column = rng.choice(sorted(targets))
    other = rng.choice((moved(rng, targets[column]), targets[rng.choice(sorted(targets))]))
    return {**targets, column: other}


def other_words(rng: random.Random, words: list[squash.Packed]) -> list[squash.Packed]:
    number = rng.randrange(len(words))
    word = words[number]
    return [*words[:number], replace(word, bits=other_targets(rng, dict(word.bits))), *words[number + 1 :]]


def other_view(rng: random.Random, view: View) -> View:
    name = rng.choice(("start", "step", "words", "stride", "top", "bottom", "pad_value", "reach"))
    return replace(view, **{name: max(0 if name != "start" else -9, near(rng, getattr(view, name)))})


def other_plan(rng: random.Random, plan: Plan) -> Plan:
    """Another number of columns or words in a layer, another meeting of taps and lanes, another view of a tensor:
    for all that write and read it, or for one of them alone."""
    number = rng.choice([i for i, one in enumerate(plan.layers) if isinstance(one, ConvPlan)])
    one = plan.layers[number]
    assert isinstance(one, ConvPlan)
    kind = rng.choice(
        (
            "columns",
            "chunks",
            "unit",
            "segments",
            "advance",
            "rows",
            "skip",
            "word",
            "taps",
            "writer",
            "reader",
            "both",
        )
    )
    if kind in ("columns", "chunks", "unit", "segments", "advance", "rows"):
        tiling = replace(one.tiling, **{kind: max(1, near(rng, getattr(one.tiling, kind)))})
        changed: Any = replace(one, tiling=tiling)
    elif kind in ("skip", "word", "taps"):
        at = rng.randrange(len(one.terms))
        term = one.terms[at]
        taps = range(near(rng, term.taps.start), term.taps.stop)
        other = replace(term, **{kind: taps if kind == "taps" else near(rng, getattr(term, kind))})
        changed = replace(one, terms=(*one.terms[:at], other, *one.terms[at + 1 :]))
    elif kind == "both":
        old = rng.choice(
            [t.view for layer in plan.layers if isinstance(layer, ConvPlan) for t in layer.terms]
        )
        return _with_view(plan, old, other_view(rng, old))
    elif kind == "reader" or not one.outputs:
        changed = replace(
            one, terms=(replace(one.terms[0], view=other_view(rng, one.terms[0].view)), *one.terms[1:])
        )
    else:
        changed = replace(one, outputs=(other_view(rng, one.outputs[0]), *one.outputs[1:]))
    return replace(plan, layers=(*plan.layers[:number], changed, *plan.layers[number + 1 :]))


def _with_view(plan: Plan, old: View, new: View) -> Plan:
    def put(value: Any) -> Any:
        """The value with the view exchanged, wherever it stands."""
        if isinstance(value, View):
            return new if value == old else value
        if isinstance(value, tuple):
            return tuple(put(one) for one in value)
        if isinstance(value, (ConvPlan, layout.DensePlan, layout.ConvTerm)):
            names = [f.name for f in fields(value) if f.name in ("terms", "outputs", "view") and f.init]
            return replace(value, **{name: put(getattr(value, name)) for name in names})
        return value

    return replace(plan, layers=put(plan.layers), input_views=put(plan.input_views))


def other_shifts(rng: random.Random, shifts: tuple[int, ...]) -> tuple[int, ...]:
    number = rng.randrange(len(shifts))
    return (*shifts[:number], moved(rng, shifts[number]), *shifts[number + 1 :])


@dataclass(frozen=True)
class Site:
    """A function of the compiler whose result is a plan of moves. staged: only stages come there."""

    name: str
    owner: Any
    function: str
    change: Change
    staged: bool = False

    def place(self, arguments: tuple[Any, ...]) -> str:
        """Where the function is wrong: at these arguments, as a list or a tuple; of a fold at a row of its view, for
        the proof takes fewer rows and channels of the same."""
        if isinstance(arguments[0], Folded):
            view = replace(arguments[0].view, channels=0, height=0)
            return repr((view, arguments[0].bits))
        return repr([tuple(one) if isinstance(one, list) else one for one in arguments])


SITES = (
    Site("restride", restride, "plan_restride", other_restride),
    Site("squash target", squash, "_targets", other_targets),
    Site("interleaved words", squash, "packed_words", other_words),
    Site("bit of a column", View, "bit", moved),
    Site("columns of a word", View, "columns", lambda rng, c: range(near(rng, c.start), c.stop)),
    Site("padding", squash, "padding_word", flipped),
    Site("layout", planning, "plan_layers", other_plan),
    Site("fold shift", Folded, "shifts", other_shifts, staged=True),
    Site("fold mask", Folded, "mask", flipped, staged=True),
)


class Wrong:
    """A function that is wrong for one of the arguments it is called with, always in the same way. With `only` None it
    is right, and collects the arguments."""

    def __init__(self, original: Callable[..., Any], site: Site, only: str | None, seed: int) -> None:
        self._original, self._site, self._only, self._seed = original, site, only, seed
        self.seen: dict[str, None] = {}
        self.pair: tuple[Any, Any] | None = None

    def __call__(self, *args: Any) -> Any:
        value = self._original(*args)
        key = self._site.place(args)
        self.seen[key] = None
        if key != self._only:
            return value
        other = self._site.change(random.Random(self._seed), value)
        self.pair = value, other
        return other


@contextmanager
def wrong(site: Site, only: str | None, seed: int) -> Iterator[Wrong]:
    """The compiler with the site's function replaced."""
    original = vars(site.owner)[site.function]
    attribute = isinstance(site.owner, type) and not callable(original)  # a property: read without a call
    modules = [module for name, module in sys.modules.items() if name.startswith("fedvm.compiler")]
    owners = [one for one in (*modules, site.owner) if vars(one).get(site.function) is original]
    faulty = Wrong(original.func if attribute else original, site, only, seed)

    def method(*args: Any) -> Any:
        return faulty(*args)

    with ExitStack() as patches:
        for one in dict.fromkeys(owners):
            patches.enter_context(
                mock.patch.object(one, site.function, property(method) if attribute else method)
            )
        yield faulty


# -- what becomes of it -----------------------------------------------------------------------------------------------


def scores(
    number: int, *, staged: bool, inputs: np.ndarray | None = None
) -> tuple[tuple[bytes, ...], np.ndarray]:
    """(codes, scores of the inputs) of a network, compiled as one program, or with a stage for every step."""
    graph, usual, _ = case(number)
    inputs = usual if inputs is None else inputs
    # one layout: a mutant of another would leave no trace
    with mock.patch.object(planning, "candidates", lambda graph, optimize: [(graph, optimize)]):
        return _scores(graph, inputs, staged)


def _scores(graph: IntegerGraph, inputs: np.ndarray, staged: bool) -> tuple[tuple[bytes, ...], np.ndarray]:
    if not staged:
        model = compile_integer(graph)
        return model.codes, Machine(model).predict(inputs)
    units = [units_of(stage.linked.contracts) for stage in cut_everywhere(graph, halve=False)]
    codes = tuple(unit.code for stage in units for unit in stage)
    return codes, staged_scores(units, inputs)


@cache
def right_codes(number: int, staged: bool) -> tuple[bytes, ...]:
    return scores(number, staged=staged)[0]


@cache
def arguments(site_number: int, number: int) -> tuple[str, ...]:
    """What the site's function is called with when the network is compiled."""
    site = SITES[site_number]
    with wrong(site, None, 0) as right:
        scores(number, staged=site.staged)
    return tuple(right.seen)


def fate(site_number: int, number: int, only: str, seed: int) -> str:
    """What ends a mutant, or why it lives on; "" if it is wrong and nothing saw it."""
    site, right = SITES[site_number], right_codes(number, SITES[site_number].staged)
    with wrong(site, only, seed) as mutant:
        try:
            codes, found = scores(number, staged=site.staged)
        except AssemblyError:
            return "killed: the build's proof"
        except ExactnessError:
            return "killed: the self-check"
        except CompileError:
            return "killed: refused"
        except Exception:  # such a compiler makes nothing
            return "killed: an error"
        if not np.array_equal(found, case(number)[2]):
            return "killed: other scores"
        if codes == right:
            return "the same code"
        more = hard_inputs(case(number)[0], MORE, seed)
        _, found = scores(number, staged=site.staged, inputs=more)
    if not np.array_equal(found, run(case(number)[0], more).reshape(MORE, -1)):
        return ""
    before, after = mutant.pair or (None, None)
    if site.name == "fold mask":
        return "a bit more that is zero" if before & after == before else ""
    return "other code that is proved"


def campaign(count: int, seed: int) -> Counter[tuple[str, str]]:
    """How many of `count` mutants met which fate, by site."""
    rng = random.Random(seed)
    fates: Counter[tuple[str, str]] = Counter()
    while fates.total() < count:
        site, number = rng.randrange(len(SITES)), rng.randrange(len(NETWORKS))
        if called := arguments(site, number):
            fates[SITES[site].name, fate(site, number, rng.choice(called), rng.randrange(2**32))] += 1
    return fates


def assert_seen(count: int, seed: int) -> None:
    fates = campaign(count, seed)
    print(
        *(f"{name}: {fate or 'NOT SEEN'} {times}" for (name, fate), times in sorted(fates.items())), sep="\n"
    )
    assert not [name for name, fate in fates if not fate]
    proved = sum(times for (_, fate), times in fates.items() if fate == "killed: the build's proof")
    assert proved > 0.6 * count
    for site in SITES:  # no kind of mistake is beyond the proof
        assert fates[site.name, "killed: the build's proof"], site.name


def test_the_networks_are_right():
    for number in range(len(NETWORKS)):
        for staged in (False, True):
            assert np.array_equal(scores(number, staged=staged)[1], case(number)[2])


@pytest.mark.slow
def test_wrong_moves_are_seen():
    assert_seen(60, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_wrong_moves_are_seen():
    assert_seen(2000, seed=2)
