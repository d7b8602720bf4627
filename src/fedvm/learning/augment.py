"""Random shifts and mirror images of a batch, to make few images go further."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fedvm.learning.errors import TrainingError, unknown_name

# What each name does: (pixels of shift each way, mirror left to right).
AUGMENTATIONS = {"none": (0, False), "shift": (2, False), "shift_flip": (4, True)}


def augment(images: Tensor, name: str, generator: torch.Generator) -> Tensor:
    """Shift each image of a batch by a random offset (edges repeated) and mirror half of them.

    `shift` (±2 pixels) suits digits and text, which a mirror image would change; `shift_flip` (±4 pixels)
    suits photographs: after K. He et al., "Deep residual learning" (arXiv:1512.03385), section 4.2.

    Args:
        images: float [N, C, H, W].
        name: `none`, `shift` or `shift_flip`.
        generator: a CPU generator; two draws per batch, three with flipping.

    Raises:
        TrainingError: unknown name.
    """
    if name not in AUGMENTATIONS:
        raise TrainingError(unknown_name("augmentation", name, AUGMENTATIONS))
    reach, mirror = AUGMENTATIONS[name]
    if not reach:
        return images
    count, _, height, width = images.shape
    down = torch.randint(0, 2 * reach + 1, (count, 1), generator=generator)
    right = torch.randint(0, 2 * reach + 1, (count, 1), generator=generator)
    rows = down + torch.arange(height)
    columns = right + torch.arange(width)
    if mirror:
        flipped = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    padded = functional.pad(images, (reach,) * 4, mode="replicate").permute(0, 2, 3, 1)
    # One gather for the batch: [N, H, W, C] indexed by image, row and column.
    index = (torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :])
    picked: Tensor = padded[tuple(part.to(images.device) for part in index)]
    return picked.permute(0, 3, 1, 2).contiguous()
