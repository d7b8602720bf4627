"""LeNet in hand-written Solidity, on the same integers as the compiled one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from compiler_bench.cases import Case
from compiler_bench.contract import Differential, compare
from compiler_bench.measure import Progress, reference_scores
from compiler_bench.naive import deploy_naive
from compiler_bench.rows import Row
from fedvm.compiler import CompiledModel
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.graph import IntegerGraph
from fedvm.compiler.policy import lane_budget
from fedvm.compiler.quantize import QuantizeOptions, quantize
from fedvm.compiler.reference import build_reference

NAME = "LeNet, 8-bit, Solidity by hand"


@dataclass(frozen=True)
class Comparison:
    """What the Solidity contract costs; its gas depends a little on the image. macs: of the network."""

    differential: Differential
    deploy_gas: int
    macs: int
    compiled_gas: int

    @property
    def gas(self) -> int:
        """The least over the images."""
        return self.differential.gas_least

    def to_rows(self) -> list[Row]:
        """As rows of the results file."""
        values = [
            ("gas", self.gas, "gas"),
            ("gas per multiply-accumulate", round(self.gas / self.macs, 3), "gas/MAC"),
            ("deployment gas", self.deploy_gas, "gas"),
            ("gas over the compiled program's", round(self.gas / self.compiled_gas, 2), "×"),
            ("images run in the contract", self.differential.images, "images"),
            ("images whose scores differ from ONNX Runtime", self.differential.mismatches, "images"),
        ]
        return [Row(f"{NAME}: {name}", value, unit) for name, value, unit in values]


def compare_with_solidity(case: Case, compiled: CompiledModel, images: int, say: Progress) -> Comparison:
    """Deploy the Solidity LeNet with the integers of `compiled`, the program of `case`, and run `images` images.

    Raises SolidityUnavailable without a compiler; RuntimeError if the integers are not those of `compiled`.
    """
    say("building the Solidity network")
    naive = deploy_naive(_integers(case, compiled))
    chosen = case.images[:images]
    outcome = compare(
        naive.program,
        chosen,
        reference_scores(compiled, chosen),
        lambda n: say(f"image {n} of {images} in Solidity"),
    )
    manifest = compiled.manifest
    return Comparison(outcome, naive.deploy_gas, manifest["macs"], manifest["gas"]["evm"])


def _integers(case: Case, compiled: CompiledModel) -> IntegerGraph:
    """The integer graph that `compile_model` made and does not hand out, made again."""
    graph = load_graph(case.model, preprocess=case.preprocess)
    bits = case.options["activation_bits"]
    integers = quantize(graph, case.calibration, QuantizeOptions(8, bits, lane_budget(graph, bits)))
    reference = build_reference(integers).SerializeToString(deterministic=True)
    if hashlib.sha256(reference).hexdigest() != compiled.manifest["reference_sha256"]:
        raise RuntimeError("quantizing again gave other integers; follow compile_model's steps in _integers")
    return integers
