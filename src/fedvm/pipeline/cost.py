"""The size and cost of a run's network, estimated before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.compiler import compile_model
from fedvm.compiler.defaults import Optimize
from fedvm.federation.simulated.server import initial_model
from fedvm.learning.export import onnx_bytes
from fedvm.learning.models import ModelSize, model_size
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.data import PreparedData
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.network import model_spec

_DEPLOY_GAS: dict[Optimize, int] = {"run": 750, "deploy": 240}
"""Gas of deploying one parameter, about: benchmarks/results/compiler.json has 700 to 1,030 of LeNet, MLP and ResNet-8
compiled to run, 240 of LeNet compiled to deploy."""
_MOST_MACS = 5_000_000
"""A network of more is not compiled for a forecast: that would take longer than people like to wait."""
_FORECAST_IMAGES = 16


@dataclass(frozen=True)
class Forecast:
    """Size and cost of the initial network, found by compiling it; the trained one costs nearly the same. layers: the
    kinds of layers, in order; contracts: number of contracts that the code fills; gas, filecoin_gas: of one prediction.
    """

    layers: tuple[str, ...]
    contracts: int
    gas: int
    filecoin_gas: int
    deploy_gas: int

    def describe(self) -> str:
        """A line for the console."""
        return (
            f"one prediction: about {_rounded(self.gas)} EVM gas, {_rounded(self.filecoin_gas)} gas on Filecoin; "
            f"deployment: about {_rounded(self.deploy_gas)} gas in {self.contracts} contracts "
            f"({', '.join(self.layers)})"
        )


def size_of(config: RunConfig, data: PreparedData) -> ModelSize:
    """Parameters and multiply-accumulates of the run's network for these images.

    Raises:
        ConfigError: deploying the network would take more gas than `compiler.max_deploy_gas`.
    """
    network = initial_model(model_spec(config, data.images), config.run.seed, data.calibration)
    size = model_size(network, data.images.shape)
    gas, limit = size.parameters * _DEPLOY_GAS[config.compiler.optimize], config.compiler.max_deploy_gas
    if gas > limit:
        channels, height, width = data.images.shape
        raise ConfigError(
            f"the network {config.model.name} for images of {height}×{width} pixels in {channels} channels has "
            f"{size.parameters:,} parameters: deploying it would take about {_rounded(gas)} gas, more than "
            f"compiler.max_deploy_gas = {limit:,}. Use smaller images or another --model, or allow it with "
            "--max-deploy-gas"
        )
    return size


def forecast(config: RunConfig, data: PreparedData, size: ModelSize) -> Forecast | None:
    """The cost of the initial network, compiled with a few calibration images; None if it is too big to be compiled for
    this.

    Raises:
        CompileError: this network can never be compiled.
    """
    if size.macs > _MOST_MACS:
        return None
    network = initial_model(model_spec(config, data.images), config.run.seed, data.calibration)
    scale, bits = data.images.normalisation, config.compiler
    compiled = compile_model(
        onnx_bytes(network, data.images.shape),
        data.calibration[:_FORECAST_IMAGES],
        preprocess=(scale.scale, scale.offset),
        weight_bits=bits.weight_bits,
        activation_bits=bits.activation_bits,
        input_bits=bits.input_bits,
        optimize=bits.optimize,
        min_agreement=0,  # what an untrained network says is not worth a refusal
        min_correlation=0,
    )
    gas = compiled.manifest["gas"]
    return Forecast(
        layers=tuple(str(row["op"]) for row in compiled.manifest["layers"] if row["op"]),
        contracts=len(compiled.manifest["contracts"]),
        gas=int(gas["evm"]),
        filecoin_gas=int(gas["filecoin"]),
        deploy_gas=int(gas["deploy"]),
    )


def _rounded(number: int) -> str:
    """A number with two digits and a unit, since an estimate is no more precise."""
    for unit, word in ((10**9, " G"), (10**6, " M"), (1_000, ",000")):
        if number >= unit:
            value = number / unit
            digits = f"{value:.1f}" if value < 10 and word != ",000" else f"{value:,.0f}"
            return f"{digits}{word}"
    return str(number)
