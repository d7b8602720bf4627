"""A small residual network, for photographs that are too difficult for LeNet."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from fedvm.learning.data import Shape
from fedvm.learning.errors import ModelSpecError


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch normalisation, added to the input, then ReLU.

    float [N, C, H, W] to [N, outputs, ⌈H/stride⌉, ⌈W/stride⌉]. If the shape changes, a 1×1 convolution adapts the
    input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)
        self.relu2 = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        inner = self.relu1(self.norm1(self.conv1(inputs)))
        added: Tensor = self.relu2(self.norm2(self.conv2(inner)) + self.shortcut(inputs))
        return added


def resnet8(shape: Shape, classes: int) -> nn.Module:
    """A 3×3 convolution and three residual blocks (16, 32 and 64 channels), average pooling, one dense layer.

    The image-classification reference of MLPerf Tiny (C. Banbury et al., arXiv:2106.07597) after K. He et
    al., arXiv:1512.03385: 77,946 parameters and 12.5 million multiply-accumulates for 3×32×32 and ten
    classes. Batch normalisation's running means and variances are federated like weights.

    Raises:
        ModelSpecError: the images are smaller than 8×8.
    """
    channels, height, width = shape
    if min(height, width) < 8:
        raise ModelSpecError(
            f"resnet8 needs images of at least 8×8 pixels, got {height}×{width}; resize them or use model 'mlp'"
        )
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels, 16, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(16),
            relu=nn.ReLU(),
            block1=ResidualBlock(16, 16, 1),
            block2=ResidualBlock(16, 32, 2),
            block3=ResidualBlock(32, 64, 2),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64, classes),
        )
    )
