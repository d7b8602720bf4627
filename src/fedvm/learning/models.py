"""Networks by name, sized from the data, initialised from a seed."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from fedvm.learning.data import ImageData, Images, Normalisation, Shape
from fedvm.learning.errors import ModelSpecError, unknown_name
from fedvm.learning.fake_quant import QuantizedLayer
from fedvm.learning.quantization import QuantizationSettings, QuantizedNetwork, quantize_aware, settle
from fedvm.learning.residual import resnet8

_NOISE = 4


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a network again: its name, the image shape (C, H, W), the class count.

    quantization: the integers it trains and computes with, None for ordinary floating point; normalisation: of the
    pixels, which a quantized network inverts.

    Raises:
        ModelSpecError: the name is unknown, or a size is impossible.
    """

    name: str
    shape: Shape
    classes: int
    quantization: QuantizationSettings | None = None
    normalisation: Normalisation = field(default_factory=Normalisation)

    def __post_init__(self) -> None:
        if self.name not in ARCHITECTURES:
            raise ModelSpecError(unknown_name("model", self.name, ARCHITECTURES))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ModelSpecError(f"the image shape must be (channels, height, width), got {self.shape}")
        if self.classes < 2:
            raise ModelSpecError(f"a classifier needs at least 2 classes, got {self.classes}")

    @classmethod
    def for_data(
        cls, name: str, data: ImageData, quantization: QuantizationSettings | None = None
    ) -> ModelSpec:
        """The spec of network `name` for the images and classes of `data`."""
        return cls(name, data.shape, data.classes, quantization, data.normalisation)


@dataclass(frozen=True)
class ModelSize:
    """Trainable elements, and multiply-accumulates per image in convolutions and dense layers."""

    parameters: int
    macs: int


def lenet(shape: Shape, classes: int) -> nn.Module:
    """Two 5×5 convolutions (6 and 16 channels) with 2×2 max-pooling, then dense 120, 84 and `classes`.

    After LeNet-5 of Y. LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86
    (1998), with ReLU and max-pooling in place of its squashing and subsampling. 62,006 parameters and 651,720
    multiply-accumulates for 3×32×32 and ten classes.

    Raises:
        ModelSpecError: the images are smaller than 16×16, so nothing is left after the second pooling.
    """
    channels, height, width = shape
    if min(height, width) < 16:
        raise ModelSpecError(
            f"lenet needs images of at least 16×16 pixels, got {height}×{width}; "
            "resize them or use model 'mlp'"
        )
    rows, columns = (((side - 4) // 2 - 4) // 2 for side in (height, width))
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 6, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16 * rows * columns, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, classes),
        )
    )


def mlp(shape: Shape, classes: int) -> nn.Module:
    """One hidden dense layer of 64 with ReLU: the smallest network worth asking a contract."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(math.prod(shape), 64),
            relu1=nn.ReLU(),
            fc2=nn.Linear(64, classes),
        )
    )


def linear(shape: Shape, classes: int) -> nn.Module:
    """One dense layer (softmax regression), with so few parameters that it still learns with noise on all of them."""
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc1=nn.Linear(math.prod(shape), classes)))


# To add a network: write a function (shape, classes) -> nn.Module and name it here.
ARCHITECTURES: Mapping[str, Callable[[Shape, int], nn.Module]] = MappingProxyType(
    {"lenet": lenet, "linear": linear, "mlp": mlp, "resnet8": resnet8}
)


def build_model(spec: ModelSpec, *, seed: int, images: Images | None = None) -> nn.Module:
    """Build and initialise a network on the CPU; the same spec, seed and images give the same weights to the bit.

    images: uint8 [N, C, H, W] on which a quantized network measures its first steps. The default is noise, which is
    enough for a network whose state is loaded afterwards.

    The network takes normalised float32 [N, C, H, W] and gives logits float32 [N, classes]. Weights are drawn
    for ReLU networks and biases start at zero (K. He et al., arXiv:1502.01852). The process's random state is left
    unchanged.

    Raises:
        ModelSpecError: the network cannot be sized for this shape.
        QuantizationError: the network cannot be quantized with these bits.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(
            seed
        )  # on the CPU; `torch.manual_seed` looks for every other device
        model = ARCHITECTURES[spec.name](spec.shape, spec.classes)
        _initialise(model)
    if spec.quantization is None:
        return model
    if images is None:
        images = np.random.default_rng(0).integers(0, 256, (_NOISE, *spec.shape), dtype=np.uint8)
    return quantize_aware(model, spec.quantization, images, normalisation=spec.normalisation)


def load_model(spec: ModelSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """The network with the tensors of `state`, on the CPU.

    A quantized network follows from the floating-point tensors alone (`quantization.settle`).
    Raises as `build_model`, and RuntimeError for a state that does not fit.
    """
    model = build_model(spec, seed=0)
    model.load_state_dict(state)
    if isinstance(model, QuantizedNetwork):
        settle(model)
    return model


def _initialise(model: nn.Module) -> None:
    # PyTorch's default draws weights with a sixth of this variance: the first rounds then hardly learn
    # (MNIST, 16 clients, 3 local epochs: 81 % instead of 93 % after round 2).
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def model_size(model: nn.Module, shape: Shape) -> ModelSize:
    """Count parameters, and multiply-accumulates by running one blank image of `shape` through `model`."""
    macs = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(
            module, nn.Conv2d | nn.Linear | QuantizedLayer
        ):  # an output sums over one row of weights
            macs += output[0].numel() * module.weight[0].numel()

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    training = model.training
    try:
        model.eval()
        device = next(model.parameters()).device
        with torch.no_grad():
            model(torch.zeros(1, *shape, device=device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    parameters = sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad)
    return ModelSize(parameters, macs)
